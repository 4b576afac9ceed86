/* The console's files, its login, and what an attacker in the same browser, or on the same site, gets of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { WebSocket } from 'ws';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const skip = whyNoDaemon();
const LIFE = 12 * 3600;

/* A browser that shows a page of `origin`, as far as the daemon can tell. */
class Visitor {
  constructor(api, host, scheme = 'http') {
    Object.assign(this, { api, host, origin: `${scheme}://${host}` });
  }

  call(method, path, { body, headers = {}, cookie = this.cookie } = {}) {
    const unsafe = method !== 'GET';
    const all = { host: this.host, 'sec-fetch-site': 'same-origin', ...(unsafe ? { origin: this.origin } : {}), ...(cookie ? { cookie } : {}), ...headers };
    for (const [name, value] of Object.entries(all)) if (value === null) delete all[name];
    return this.api.call(method, path, { body, headers: all });
  }

  async login(key, options = {}) {
    const answer = await this.call('POST', '/v1/login', { body: { key }, ...options });
    const [field] = answer.headers['set-cookie'] ?? [];
    if (field) this.cookie = field.split(';')[0];
    return { ...answer, field };
  }
}

const listed = async (visitor, options) => (await visitor.call('GET', '/v1/sandboxes', options)).status;

describe('the files of the console', { skip }, () => {
  let daemon, api;

  before(async () => {
    daemon = await new Daemon({ poolSize: 0 }).start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('the page allows its own files and nothing else, and is framed by nobody', async () => {
    const { status, headers, text } = await api.get('/');
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(headers['cache-control'], 'no-cache');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cross-origin-opener-policy'], 'same-origin');
    const policy = Object.fromEntries(headers['content-security-policy'].split('; ').map((part) => {
      const at = part.indexOf(' ');
      return [part.slice(0, at), part.slice(at + 1)];
    }));
    assert.equal(policy['default-src'], "'none'");
    assert.equal(policy['script-src'], `127.0.0.1:${daemon.port}/console/`);
    assert.equal(policy['style-src'], policy['script-src']);
    const numeric = await api.get('/', { headers: { host: '[::1]:8787' } }); /* which no policy can name */
    assert.match(numeric.headers['content-security-policy'], /script-src 'self'; /);
    assert.equal(policy['frame-ancestors'], "'none'");
    assert.equal(policy['base-uri'], "'none'");
    assert.equal(policy['form-action'], "'none'");
    assert.equal(policy['require-trusted-types-for'], "'script'");
    assert.doesNotMatch(headers['content-security-policy'], /unsafe|https?:|\*/);
    assert.doesNotMatch(text, /<script(?![^>]*src="console\/)|<style|\son\w+=|https?:\/\/(?!www\.w3\.org)/);
  });

  test('files are compressed once, never change under their name, and are not sent twice', async () => {
    const page = (await api.get('/')).text;
    const [script] = page.match(/console\/app-\w+\.js/);
    const packed = await api.get(`/${script}`, { headers: { 'accept-encoding': 'br, gzip;q=0.5' } });
    const plain = await api.get(`/${script}`, { headers: { 'accept-encoding': 'gzip;q=0, br' } });
    assert.deepEqual([packed.headers['content-encoding'], plain.headers['content-encoding']], ['gzip', undefined]);
    assert.ok(gunzipSync(packed.bytes).equals(plain.bytes));
    assert.equal(packed.headers.vary, 'Accept-Encoding');
    assert.match(packed.headers['cache-control'], /immutable/);
    assert.notEqual(packed.headers.etag, plain.headers.etag);
    const again = await api.get(`/${script}`, { headers: { 'accept-encoding': 'gzip', 'if-none-match': `"x", ${packed.headers.etag}` } });
    assert.deepEqual([again.status, again.bytes.length], [304, 0]);
    assert.equal((await api.get('/', { headers: { 'if-none-match': '"older"' } })).status, 200);
    assert.equal((await api.call('HEAD', `/${script}`)).bytes.length, 0);
  });

  test('before the terminal it is less than 300 KB, compressed', async () => {
    const page = await api.get('/', { headers: { 'accept-encoding': 'gzip' } });
    const names = (await api.get('/')).text.match(/console\/[\w-]+\.(js|css)/g);
    let total = page.bytes.length;
    for (const name of names) total += (await api.get(`/${name}`, { headers: { 'accept-encoding': 'gzip' } })).bytes.length;
    assert.ok(names.length >= 2 && total < 300 * 1024, `${total} bytes`);
  });

  test('there are no other files', async () => {
    for (const path of ['/console/', '/console/../etc/passwd', '/console/app.js', '/console/%2e%2e/health', '/index.html'])
      assert.equal((await api.get(path)).status, 404, path);
    assert.equal((await api.post('/', '')).status, 404);
  });

  test('without keys nobody logs in, and pages elsewhere are kept out', async () => {
    const visitor = new Visitor(api, `localhost:${daemon.port}`);
    assert.deepEqual((await visitor.call('GET', '/v1/login')).json, { required: false, loggedIn: true });
    assert.equal((await visitor.login('anything-at-all-here')).status, 409);
    assert.equal(await listed(visitor), 200);
    for (const site of ['same-site', 'cross-site'])
      assert.equal(await listed(visitor, { headers: { 'sec-fetch-site': site } }), 401, site);
    assert.equal(await listed(visitor, { headers: { 'sec-fetch-site': 'none' } }), 200);
  });
});

describe('the login of the console', { skip }, () => {
  let daemon, api, key, keyId, visitor;

  before(async () => {
    daemon = await new Daemon({ poolSize: 0 }).start();
    api = new Api(daemon);
    ({ key, id: keyId } = (await api.post('/v1/keys', { label: 'console' })).json);
    visitor = new Visitor(api, `localhost:${daemon.port}`);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('a key opens a session, its cookie is the key for every route, and logging out ends it', async () => {
    assert.equal(await listed(visitor), 401);
    assert.deepEqual((await visitor.call('GET', '/v1/login')).json, { required: true, loggedIn: false });
    const { status, field, headers } = await visitor.login(key);
    assert.equal(status, 200);
    assert.match(field, new RegExp(`^berm-session=[a-z2-7]{52}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${LIFE}$`));
    assert.equal(headers['cache-control'], 'no-store');
    assert.deepEqual((await visitor.call('GET', '/v1/login')).json, { required: true, loggedIn: true });
    assert.equal(await listed(visitor), 200);
    assert.equal((await visitor.call('POST', '/v1/sandbox')).status, 200);
    assert.equal((await visitor.call('GET', '/v1/keys')).json.keys.length, 1);

    const { cookie } = visitor;
    const out = await visitor.call('POST', '/v1/logout');
    assert.equal(out.status, 200);
    assert.match(out.headers['set-cookie'][0], /^berm-session=; .*Max-Age=0$/);
    assert.equal(await listed(visitor, { cookie }), 401);
  });

  test('a wrong key, a guessed cookie and a broken body open nothing', async () => {
    assert.equal((await visitor.login('berm_notakeynotakeynotakey')).status, 401);
    assert.equal((await visitor.call('POST', '/v1/login', { body: '{' })).status, 400);
    assert.equal((await visitor.call('POST', '/v1/login', { body: '[]' })).status, 400);
    assert.equal((await visitor.call('POST', '/v1/login', { body: { key: 5 } })).status, 400);
    assert.equal((await visitor.call('POST', '/v1/login', { body: { key: 'x'.repeat(5000) } })).status, 413);
    for (const cookie of ['berm-session=', 'berm-session', `berm-session=${'a'.repeat(52)}`, `berm-session=${key}`, '__Host-berm-session=x'])
      assert.equal(await listed(visitor, { cookie }), 401, cookie);
    await visitor.login(key);
    assert.equal(await listed(visitor, { headers: { authorization: 'Bearer berm_wrong' } }), 401, 'a wrong key is not made good by a cookie');
  });

  test('pages elsewhere cannot use the cookie, whatever the browser adds', async () => {
    await visitor.login(key);
    const preview = `http://8080-abc-token.localhost:${daemon.port}`;
    for (const origin of ['null', 'http://evil.example', preview, `https://localhost:${daemon.port}`, 'http://localhost:1', null])
      assert.equal((await visitor.call('POST', '/v1/sandbox', { headers: { origin } })).status, 401, origin);
    for (const site of ['same-site', 'cross-site', 'unknown']) {
      assert.equal((await visitor.call('POST', '/v1/sandbox', { headers: { 'sec-fetch-site': site } })).status, 401, site);
      assert.equal(await listed(visitor, { headers: { 'sec-fetch-site': site } }), 401, site);
    }
    /* An old browser tells the Origin only; over plain http to another machine none tells Sec-Fetch-Site. */
    assert.equal((await visitor.call('POST', '/v1/sandbox', { headers: { 'sec-fetch-site': null } })).status, 200);
    assert.equal(await listed(visitor, { headers: { 'sec-fetch-site': null } }), 200);
    assert.equal(await listed(visitor, { headers: { 'sec-fetch-site': null, origin: 'http://evil.example' } }), 401);
  });

  test('pages elsewhere cannot log somebody in or out', async () => {
    await visitor.login(key);
    for (const headers of [{ origin: 'http://evil.example' }, { origin: null }, { 'sec-fetch-site': 'same-site' }]) {
      const login = await visitor.call('POST', '/v1/login', { body: { key }, headers });
      assert.deepEqual([login.status, login.json.code, login.headers['set-cookie']], [403, 'forbidden', undefined]);
      assert.equal((await visitor.call('POST', '/v1/logout', { headers })).status, 403);
    }
    assert.equal(await listed(visitor), 200);
  });

  test('a WebSocket of another page is refused', async () => {
    const { id } = (await visitor.call('POST', '/v1/sandbox')).json;
    await visitor.login(key);
    async function upgrade(origin) {
      const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}/v1/sandbox/${id}/pty`,
        { headers: { host: visitor.host, cookie: visitor.cookie, ...(origin ? { origin } : {}) } });
      socket.on('error', () => {});
      const [response] = await Promise.race([once(socket, 'unexpected-response').then(([, answer]) => [answer]), once(socket, 'upgrade')]);
      socket.terminate();
      return response.statusCode;
    }
    for (const origin of [undefined, 'null', 'http://evil.example', `http://8080-${id}-token.localhost:${daemon.port}`])
      assert.equal(await upgrade(origin), 401, origin);
    assert.equal(await upgrade(visitor.origin), 101);
  });

  test('a cookie that somebody else has set neither logs in nor out, and is never taken over', async () => {
    const planted = `berm-session=${'b'.repeat(52)}`;
    const { field } = await visitor.login(key, { cookie: planted });
    assert.ok(!field.includes('bbbb'), 'the daemon chooses');
    assert.equal(await listed(visitor, { cookie: planted }), 401);
    /* Tossed by a preview of the same site: browsers send both, in an order that the attacker may choose. */
    assert.equal(await listed(visitor, { cookie: `${planted}; ${visitor.cookie}` }), 200);
    assert.equal(await listed(visitor, { cookie: `${visitor.cookie}; ${planted}; a=1` }), 200);
    assert.equal(await listed(visitor, { cookie: `${`${planted}; `.repeat(31)}${visitor.cookie}` }), 200);
    assert.equal(await listed(visitor, { cookie: `${`${planted}; `.repeat(32)}${visitor.cookie}` }), 401, 'there is a bound');
    const before = visitor.cookie;
    await visitor.login(key);
    assert.notEqual(visitor.cookie, before);
    assert.equal(await listed(visitor, { cookie: before }), 401, 'logging in ends the session one came with');
  });

  test('over https the cookie has the prefix that no other host can set', async () => {
    const secure = new Visitor(api, 'berm.example', 'https');
    const { field } = await secure.login(key);
    assert.match(field, /^__Host-berm-session=[a-z2-7]{52}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+; Secure$/);
    assert.equal(await listed(secure), 200);
    assert.equal((await secure.call('POST', '/v1/sandbox')).status, 200);
    assert.equal((await secure.call('POST', '/v1/sandbox', { headers: { origin: 'http://berm.example' } })).status, 401);
  });

  test('the session ends with the key that opened it', async () => {
    const other = (await api.post('/v1/keys', { label: 'other' }, { headers: { authorization: `Bearer ${key}` } })).json;
    const guest = new Visitor(api, visitor.host);
    await guest.login(other.key);
    await visitor.login(key);
    assert.equal(await listed(guest), 200);
    assert.equal((await visitor.call('DELETE', `/v1/keys/${other.id}`)).status, 204);
    assert.equal(await listed(guest), 401);
    assert.equal(await listed(visitor), 200);
    assert.ok(keyId);
  });

  test('neither key nor token is in the log', async () => {
    await visitor.login(key);
    const text = daemon.lines.join('\n');
    assert.match(text, /login/);
    assert.ok(!text.includes(key) && !text.includes(visitor.cookie.split('=')[1]));
  });
});

const SERVER = `
import http.server, json
class H(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        self.send_response(200)
        for name, value in (('Set-Cookie', 'berm-session=evil; Path=/'), ('Set-Cookie', 'mine=1'), ('Clear-Site-Data', '"cookies"'),
                            ('Content-Type', 'text/html'), ('Content-Security-Policy', "script-src *")):
            self.send_header(name, value)
        body = json.dumps([[k.lower(), v] for k, v in self.headers.items()]).encode()
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(('127.0.0.1', 8080), H).serve_forever()
`;

describe('sandboxes and the cookie of the console', { skip }, () => {
  let daemon, api, visitor, id, preview;

  before(async () => {
    daemon = await new Daemon({ poolSize: 0, options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    api.key = (await api.post('/v1/keys', {})).json.key;
    visitor = new Visitor(new Api(daemon), `localhost:${daemon.port}`);
    await visitor.login(api.key);
    id = await api.newId();
    await api.put(`/v1/sandbox/${id}/file/workspace/server.py`, SERVER);
    await api.exec(id, 'nohup python3 server.py >/dev/null 2>&1 &');
    await until('the server listens', async () => (await api.exec(id, 'cat /proc/net/tcp')).out.includes(':1F90 '));
    preview = (await api.post(`/v1/sandbox/${id}/ports`, { port: 8080 })).json;
  });
  after(async () => {
    api.close();
    visitor.api.close();
    await daemon.stop();
  });

  const cookies = (answer) => Object.fromEntries(answer.json ?? JSON.parse(answer.text)).cookie;

  test('a preview on the daemon\'s own address gets no cookie of the console, and sets none', async () => {
    const answer = await visitor.call('GET', preview.path, { cookie: `${visitor.cookie}; theirs=1` });
    assert.equal(cookies(answer), 'theirs=1');
    assert.equal(answer.headers['set-cookie'], undefined);
    assert.equal(answer.headers['clear-site-data'], undefined);
    assert.match(answer.headers['content-security-policy'], /^sandbox /);
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
  });

  test('a preview under its own name gets none either; its own cookies are its own', async () => {
    const answer = await visitor.call('GET', '/', { headers: { host: new URL(preview.url).host } });
    assert.equal(cookies(answer), undefined);
    assert.deepEqual(answer.headers['set-cookie'], ['mine=1']);
  });

  test('a client that asks for a preview with its key does not give it to the sandbox', async () => {
    const host = new URL(preview.url).host;
    for (const [path, headers] of [[preview.path, {}], ['/', { host }]]) {
      const field = async (authorization) => Object.fromEntries(JSON.parse((await visitor.call('GET', path, { headers: { ...headers, authorization } })).text)).authorization;
      for (const key of [`Bearer ${api.key}`, `bearer   ${api.key}`]) assert.equal(await field(key), undefined, path);
      for (const own of ['Bearer another', 'Basic eDp5', `Bearer ${api.key}x`]) assert.equal(await field(own), own, path);
    }
  });

  test('no login exists under the name of a preview', async () => {
    const host = new URL(preview.url).host;
    const guest = new Visitor(visitor.api, host);
    const login = await guest.login(api.key);
    assert.equal(login.field, undefined);
    assert.equal(await listed(guest, { cookie: visitor.cookie }), 200); /* of the sandbox's own server ... */
    assert.ok(!(await guest.call('GET', '/v1/sandboxes', { cookie: visitor.cookie })).text.includes('"sandboxes"')); /* ... not of the API */
  });

  test('what the control server of a sandbox answers has no origin and sets no cookie', async () => {
    const answer = await visitor.call('GET', `/v1/sandbox/${id}/container/api/ping`);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-security-policy'], 'sandbox');
    assert.equal(answer.headers['x-content-type-options'], 'nosniff');
  });
});
