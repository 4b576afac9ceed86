/* Preview URLs and tunnels: what is promised about them, with a real server in a real sandbox. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const skip = whyNoDaemon();

/* Answers with what it was asked; /slow sends an event, and the next one when /go has been asked for. */
const SERVER = `
import http.server, json, socketserver, threading, sys
go = threading.Event()
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def answer(self, body, status=200, headers=()):
        self.send_response(status)
        for k, v in headers: self.send_header(k, v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.path == '/go':
            go.set()
            return self.answer(b'gone')
        if self.path == '/slow':
            self.send_response(200)
            self.send_header('Content-Type', 'text/event-stream')
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for text in (b'data: 1\\n\\n', b'data: 2\\n\\n'):
                self.wfile.write(b'%x\\r\\n%s\\r\\n' % (len(text), text))
                self.wfile.flush()
                go.wait(10)
                go.clear()
            return self.wfile.write(b'0\\r\\n\\r\\n')
        if self.path == '/redirect':
            return self.answer(b'', 302, [('Location', '/elsewhere'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')])
        if self.path == '/broken':
            return self.answer(b'mine', 503)
        self.answer(json.dumps({'path': self.path, 'headers': [[k.lower(), v] for k, v in self.headers.items()]}).encode(), 200, [('Content-Type', 'application/json')])
    def do_POST(self):
        n = int(self.headers['Content-Length'])
        self.answer(self.rfile.read(n)[::-1])
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    def server_bind(self): # HTTPServer's looks its own name up
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]
    address_family = __import__('socket').AF_INET6 if sys.argv[2] == '::1' else __import__('socket').AF_INET
S((sys.argv[2], int(sys.argv[1])), H).serve_forever()
`;

describe('previews and tunnels', { skip }, () => {
  let daemon, api;

  /* A request to the daemon's own address with another Host. */
  async function visit(url, { method = 'GET', headers = {}, body } = {}) {
    const { host, pathname, search } = new URL(url);
    const request = http.request({ host: '127.0.0.1', port: daemon.port, method, path: pathname + search, agent: false,
      headers: { host, ...headers } });
    request.end(body);
    return collect((await once(request, 'response'))[0]);
  }

  async function serve(id, port, address = '127.0.0.1') {
    await api.put(`/v1/sandbox/${id}/file/workspace/server.py`, SERVER);
    await api.exec(id, `nohup python3 server.py ${port} ${address} >/dev/null 2>&1 &`);
    const hex = port.toString(16).toUpperCase();
    await until('the server listens', async () =>
      (await api.exec(id, `cat /proc/net/tcp /proc/net/tcp6`)).out.includes(`:${hex} `));
  }

  const expose = (id, body) => api.post(`/v1/sandbox/${id}/ports`, body);

  before(async () => {
    daemon = await new Daemon({ env: { BERM_SANDBOX_IMAGE: 'base' }, options: ['--sandbox-image', 'base'] }).start(); /* which has Python */
    api = new Api(daemon);
    await serve('app', 8080);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('an exposed port is served under a host name of its own', async () => {
    const exposed = await expose('app', { port: 8080, token: 'abc_1', name: 'web' });
    assert.equal(exposed.status, 200);
    assert.equal(exposed.json.url, `http://8080-app-abc_1.localhost:${daemon.port}/`);
    assert.deepEqual([exposed.json.port, exposed.json.name, exposed.json.token], [8080, 'web', 'abc_1']);
    const answer = await visit(`${exposed.json.url}a%20b?q=1`);
    assert.equal(answer.status, 200);
    assert.equal(answer.json.path, '/a%20b?q=1');
    const fields = Object.fromEntries(answer.json.headers);
    assert.equal(fields.host, 'localhost:8080');
    assert.equal(fields['x-forwarded-host'], `8080-app-abc_1.localhost:${daemon.port}`);
    assert.equal(fields['x-forwarded-proto'], 'http');
    assert.equal(fields['x-forwarded-for'], '127.0.0.1');
    assert.equal(fields['x-original-url'], `http://8080-app-abc_1.localhost:${daemon.port}/a%20b?q=1`);
    assert.equal(fields['x-sandbox-name'], 'app');
    assert.ok(!('x-berm-environment' in fields) && !Object.keys(fields).some((name) => name.startsWith('berm-')));
  });

  test('a random token is kept when the port is exposed again, and another one replaces it', async () => {
    const first = (await expose('app', { port: 8081 })).json;
    assert.match(first.token, /^[a-z0-9]{16}$/);
    assert.equal((await expose('app', { port: 8081 })).json.token, first.token);
    assert.equal((await expose('app', { port: 8081, token: 'mine' })).json.token, 'mine');
    assert.equal((await visit(first.url)).status, 404);
    const taken = await expose('app', { port: 8082, token: 'mine' });
    assert.deepEqual([taken.status, taken.json.code], [409, 'conflict']);
    assert.match(taken.json.error, /already in use by port 8081/);
  });

  test('a wrong token and an unknown port are refused alike', async () => {
    await expose('app', { port: 8080, token: 'abc_1' });
    for (const name of ['8080-app-abc_2', '8080-app-abc', '9999-app-abc_1', '8080-nobody-abc_1', 'nobody', '8080-app-abc_1.x']) {
      const answer = await visit(`http://${name}.localhost:${daemon.port}/`);
      assert.equal(answer.status, 404, name);
      assert.deepEqual(answer.json, { error: 'Access denied: Invalid token or port not exposed', code: 'INVALID_TOKEN' });
    }
  });

  test('no name below the domain is the API', async () => {
    const answer = await visit(`http://x.localhost:${daemon.port}/v1/sandboxes`);
    assert.deepEqual([answer.status, answer.json.code], [404, 'INVALID_TOKEN']);
  });

  test('bodies, redirects, cookies and errors of the application pass unchanged', async () => {
    const { url } = (await expose('app', { port: 8080, token: 'abc_1' })).json;
    const body = Buffer.alloc(3 << 20, 'abcdefg');
    const reversed = await visit(url, { method: 'POST', body, headers: { 'content-length': body.length } });
    assert.ok(reversed.bytes.equals(Buffer.from(body).reverse()));
    const redirect = await visit(`${url}redirect`);
    assert.deepEqual([redirect.status, redirect.headers.location, redirect.headers['set-cookie']], [302, '/elsewhere', ['a=1', 'b=2']]);
    const broken = await visit(`${url}broken`);
    assert.deepEqual([broken.status, broken.text], [503, 'mine']);
    const head = await visit(url, { method: 'HEAD' });
    assert.equal(head.status, 501); /* what Python's server says to it */
  });

  test('what a client says about other hops is not believed', async () => {
    const { url } = (await expose('app', { port: 8080, token: 'abc_1' })).json;
    const answer = await visit(url, { headers: { 'x-forwarded-for': '6.6.6.6', forwarded: 'for=6.6.6.6', 'x-sandbox-name': 'other',
      'x-forwarded-host': 'evil', connection: 'x-private', 'x-private': '1', cookie: 'session=1' } });
    const fields = answer.json.headers;
    assert.deepEqual(fields.filter(([, value]) => /6\.6\.6\.6|other|evil/.test(value)), []);
    assert.deepEqual(fields.filter(([name]) => name === 'x-private'), []);
    assert.deepEqual(fields.filter(([name]) => name === 'cookie'), [['cookie', 'session=1']]);
  });

  test('events arrive one by one, through a preview and through a tunnel', async () => {
    for (const base of [(await expose('app', { port: 8080, token: 'abc_1' })).json.url, `${(await api.post('/v1/sandbox/app/tunnel/8080')).json.url}/`]) {
      const request = http.get({ host: '127.0.0.1', port: daemon.port, path: '/slow', headers: { host: new URL(base).host }, agent: false });
      const [response] = await once(request, 'response');
      const pieces = response[Symbol.asyncIterator]();
      assert.equal((await pieces.next()).value.toString(), 'data: 1\n\n', base);
      await visit(`${base}go`); /* the second one is sent after the first has come */
      assert.equal((await pieces.next()).value.toString(), 'data: 2\n\n', base);
      assert.ok((await pieces.next()).done);
    }
    assert.equal((await api.delete('/v1/sandbox/app/tunnel/8080')).status, 204);
  });

  test('a server on ::1 is reached as well, and none is a 502', async () => {
    await serve('app', 8090, '::1');
    assert.equal((await visit((await expose('app', { port: 8090 })).json.url)).status, 200);
    const { url } = (await expose('app', { port: 8099 })).json;
    const answer = await visit(url);
    assert.deepEqual([answer.status, answer.text], [502, 'Nothing answers on port 8099 of the sandbox\n']);
  });

  test('bad ports, tokens and ids are told with their field', async () => {
    for (const [body, field] of [[{ port: 80 }, 'port'], [{ port: 3000 }, 'port'], [{ port: 65536 }, 'port'], [{ port: 'x' }, 'port'], [{}, 'port'],
      [{ port: 8080, token: '' }, 'token'], [{ port: 8080, token: 'A' }, 'token'], [{ port: 8080, token: 'a'.repeat(17) }, 'token'],
      [{ port: 8080, name: 'n'.repeat(64) }, 'name'], [{ port: 8080, expiresIn: 0 }, 'expiresIn']]) {
      const answer = await expose('app', body);
      assert.deepEqual([answer.status, answer.json.context.field], [400, field], JSON.stringify(body));
    }
    const long = 'a'.repeat(42);
    const answer = await expose(long, { port: 8080 });
    assert.equal(answer.status, 400);
    assert.match(answer.json.error, /do not fit: .* one label of a host name/);
    await api.delete(`/v1/sandbox/${long}`);
  });

  test('listing shows what answers; unexposing is idempotent', async () => {
    await api.exec('listed', ['true']);
    await expose('listed', { port: 9002, token: 'b' });
    await expose('listed', { port: 9001, token: 'a', name: 'first' });
    const { ports } = (await api.get('/v1/sandbox/listed/ports')).json;
    assert.deepEqual(ports.map(({ port, name, token, status }) => ({ port, name, token, status })),
      [{ port: 9001, name: 'first', token: 'a', status: 'active' }, { port: 9002, name: undefined, token: 'b', status: 'active' }]);
    for (let i = 0; i < 2; i++) assert.equal((await api.delete('/v1/sandbox/listed/ports/9001')).status, 204);
    assert.deepEqual((await api.get('/v1/sandbox/listed/ports')).json.ports.map((p) => p.port), [9002]);
    assert.equal((await visit(`http://9001-listed-a.localhost:${daemon.port}/`)).status, 404);
    assert.deepEqual((await api.get('/v1/sandbox/neverwas/ports')).json, { ports: [] });
    assert.equal((await api.get('/v1/sandbox/neverwas')).status, 404);
    await api.delete('/v1/sandbox/listed');
  });

  test('a preview expires when it was asked to', async () => {
    const { url, expiresAt } = (await expose('app', { port: 8080, token: 'soon', expiresIn: 8 })).json; // time enough to be asked for on a busy machine
    assert.ok(Date.parse(expiresAt) > Date.now());
    assert.equal((await visit(url)).status, 200);
    await until('it has expired', async () => (await visit(url)).status === 404);
    assert.deepEqual((await api.get('/v1/sandbox/app/ports')).json.ports.filter((p) => p.port === 8080), []);
  });

  test('a preview of an older run is stale until it is exposed again, and starts nothing', async () => {
    await serve('stale', 8080);
    const { url } = (await expose('stale', { port: 8080, token: 'tok' })).json;
    assert.equal((await visit(url)).status, 200);
    await api.put('/v1/sandbox/stale', { sleepAfter: 1 });
    await until('it sleeps', async () => (await api.get('/v1/sandbox/stale')).json.state === 'sleeping');
    const stale = { error: 'Preview URL is stale because the sandbox runtime is not active', code: 'STALE_PREVIEW_URL' };
    assert.deepEqual([(await visit(url)).status, (await visit(url)).json], [410, stale]);
    assert.equal((await api.get('/v1/sandbox/stale')).json.state, 'sleeping');
    assert.equal((await visit(url.replace('-tok', '-kot'))).status, 404);
    await api.put('/v1/sandbox/stale', { sleepAfter: 3600 });
    await serve('stale', 8080);
    assert.equal((await visit(url)).status, 410);
    assert.deepEqual((await api.get('/v1/sandbox/stale/ports')).json.ports, []);
    assert.equal((await expose('stale', { port: 8080 })).json.url, url);
    assert.equal((await visit(url)).status, 200);
    await api.delete('/v1/sandbox/stale');
    assert.equal((await visit(url)).status, 404);
  });

  test('without a wildcard name there is a path, in a sandbox of the browser', async () => {
    const { path } = (await expose('app', { port: 8080, token: 'abc_1' })).json;
    assert.equal(path, '/preview/app/8080/abc_1/');
    const answer = await api.get(`${path}x/y?z=1`);
    assert.equal(answer.json.path, '/x/y?z=1');
    assert.equal(Object.fromEntries(answer.json.headers)['x-forwarded-prefix'], '/preview/app/8080/abc_1');
    assert.match(answer.headers['content-security-policy'], /^sandbox /);
    assert.equal((await api.get('/preview/app/8080/abc_1')).json.path, '/');
    for (const wrong of ['/preview/app/8080/abc_2/', '/preview/app/8080', '/preview/', '/preview/app/x/abc_1/']) {
      assert.deepEqual([(await api.get(wrong)).status, (await api.get(wrong)).json.code], [404, 'INVALID_TOKEN'], wrong);
    }
  });

  test('a quick tunnel is idempotent, has no token, and a new name after its end', async () => {
    const first = await api.post('/v1/sandbox/app/tunnel/8080');
    assert.equal(first.status, 200);
    assert.match(first.json.id, /^quick-[0-9a-z]{20}$/);
    assert.equal(first.json.url, `http://${first.json.hostname}:${daemon.port}`);
    assert.match(first.json.hostname, /^[a-z][a-z0-9]{25}\.localhost$/);
    assert.equal(first.json.port, 8080);
    assert.ok(Math.abs(Date.parse(first.json.createdAt) - Date.now()) < 60000);
    assert.deepEqual((await api.post('/v1/sandbox/app/tunnel/8080', {})).json, first.json);
    const answer = await visit(`${first.json.url}/t`);
    assert.equal(answer.json.path, '/t');
    assert.equal(Object.fromEntries(answer.json.headers).host, new URL(first.json.url).host);
    assert.deepEqual((await api.get('/v1/sandbox/app/tunnels')).json, { tunnels: [first.json] });
    const other = await api.post('/v1/sandbox/app/tunnel/8080', { name: 'other' });
    assert.deepEqual([other.status, other.json.code], [502, 'tunnel_error']);
    assert.match(other.json.error, /^tunnel failed: .*different options/);
    for (let i = 0; i < 2; i++) assert.equal((await api.delete('/v1/sandbox/app/tunnel/8080')).status, 204);
    assert.equal((await visit(first.json.url)).status, 404);
    const second = (await api.post('/v1/sandbox/app/tunnel/8080')).json;
    assert.ok(second.id !== first.json.id && second.hostname !== first.json.hostname);
  });

  test('a named tunnel keeps its name over runs, a quick one ends with its run', async () => {
    await serve('named', 8080);
    const named = (await api.post('/v1/sandbox/named/tunnel/8080', { name: 'my-app' })).json;
    const quick = (await api.post('/v1/sandbox/named/tunnel/8081')).json;
    assert.deepEqual([named.hostname, named.name], ['my-app.localhost', 'my-app']);
    assert.equal((await visit(named.url)).status, 200);
    const clash = await api.post('/v1/sandbox/app/tunnel/8085', { name: 'my-app' });
    assert.deepEqual([clash.status, clash.json.code], [502, 'tunnel_error']);
    await api.put('/v1/sandbox/named', { sleepAfter: 1 });
    await until('it sleeps', async () => (await api.get('/v1/sandbox/named')).json.state === 'sleeping');
    assert.equal((await visit(named.url)).status, 410);
    assert.deepEqual((await api.get('/v1/sandbox/named/tunnels')).json.tunnels.map((t) => t.id), [named.id]);
    await api.put('/v1/sandbox/named', { sleepAfter: 3600 });
    await serve('named', 8080);
    assert.equal((await visit(named.url)).status, 200);
    assert.notEqual((await api.post('/v1/sandbox/named/tunnel/8081')).json.id, quick.id);
    await api.delete('/v1/sandbox/named');
    assert.equal((await visit(named.url)).status, 404);
  });

  test('bad ports and names of tunnels are told before any work', async () => {
    for (const port of ['80', '3000', '65536', '1.5', 'x', '-1']) {
      const answer = await api.post(`/v1/sandbox/untouched/tunnel/${port}`);
      assert.deepEqual([answer.status, answer.json.code], [400, 'invalid_request'], port);
    }
    for (const name of ['', 'A', 'a.b', '-a', 'a-', 'a'.repeat(64), 5]) {
      const answer = await api.post('/v1/sandbox/untouched/tunnel/8080', { name });
      assert.deepEqual([answer.status, answer.json.code], [400, 'invalid_request'], String(name));
    }
    assert.equal((await api.get('/v1/sandbox/untouched')).status, 404);
  });

  test('previews and tunnels outlive the daemon', async () => {
    const preview = (await expose('app', { port: 8080, token: 'abc_1' })).json;
    const tunnel = (await api.post('/v1/sandbox/app/tunnel/8080')).json;
    await daemon.end('SIGKILL');
    await daemon.start();
    api.close();
    api = new Api(daemon);
    for (const url of [preview.url, tunnel.url]) assert.equal((await visit(url)).status, 200);
  });
});
