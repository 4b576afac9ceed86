/*
 * E4 of the catalogue: hostile pages, visitors and neighbours of previews, and what is believed of who asks. Two
 * sandboxes, a and b, each with a server that answers with whatever bytes it is asked for.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const skip = whyNoDaemon();

/* /raw/BASE64URL is answered with those bytes; everything else with the head that came. */
const SERVER = `
import base64, socket, sys, threading
def serve(c):
    data = b''
    while True:
        while b'\\r\\n\\r\\n' not in data:
            piece = c.recv(65536)
            if not piece: return c.close()
            data += piece
        head, data = data.split(b'\\r\\n\\r\\n', 1)
        path = head.split(b' ')[1]
        if path.startswith(b'/raw/'):
            c.sendall(base64.urlsafe_b64decode(path[5:]))
        else:
            body = sys.argv[1].encode() + b'\\n' + head
            c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)
s = socket.create_server(('127.0.0.1', 8080))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
`;

describe('hostile previews and visitors', { skip }, () => {
  let daemon, api;

  /* All that comes back for bytes on a connection of their own, until it ends or `enough` has come. */
  async function exchange(bytes, enough = () => false) {
    const socket = net.connect(daemon.port, '127.0.0.1');
    let text = '';
    socket.on('error', () => {});
    socket.write(bytes);
    await new Promise((resolve) => {
      socket.on('data', (piece) => {
        text += piece.toString('latin1');
        if (enough(text)) resolve();
      });
      socket.on('close', resolve);
    });
    socket.destroy();
    return { text, status: Number(text.slice(9, 12)), body: text.slice(text.indexOf('\r\n\r\n') + 4) };
  }

  const get = (host, path = '/', fields = '') => exchange(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${fields}\r\n`);
  const raw = (bytes) => `/raw/${Buffer.from(bytes).toString('base64url').padEnd(Math.ceil(Buffer.byteLength(bytes) / 3) * 4, '=')}`;
  const name = (sandbox, token = `tok${sandbox}`) => `8080-${sandbox}-${token}.localhost:${daemon.port}`;

  async function serve() {
    for (const id of ['a', 'b']) {
      await api.put(`/v1/sandbox/${id}/file/workspace/server.py`, SERVER);
      await api.exec(id, `nohup python3 server.py ${id} >/dev/null 2>&1 &`);
      await until('the server listens', async () => (await api.exec(id, 'cat /proc/net/tcp')).out.includes(':1F90 '));
      assert.equal((await api.post(`/v1/sandbox/${id}/ports`, { port: 8080, token: `tok${id}` })).status, 200);
    }
  }

  before(async () => {
    daemon = await new Daemon({ env: { BERM_SANDBOX_IMAGE: 'base' }, options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    await serve();
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('a token is all of it or nothing, and refusals do not differ', async () => {
    const good = await get(name('a'));
    assert.equal(good.status, 200);
    const answers = await Promise.all(['tok', 'toka1', 'TOKA', 'tokb', 'toka%00', '', 'toka-', '-toka', '0'.repeat(16), '_'].map((token) => get(name('a', token))));
    const bodies = new Set(answers.filter(({ status }) => status !== 400).map(({ status, body }) => `${status} ${body}`));
    /* Host names are compared without case; what is no host name at all is a bad request. */
    const upper = answers[2];
    assert.equal(upper.status, 404);
    assert.equal(bodies.size, 1, [...bodies].join('\n'));
  });

  test("one sandbox's token opens no port of another", async () => {
    assert.equal((await get(name('a', 'tokb'))).status, 404);
    assert.equal((await get(name('b', 'toka'))).status, 404);
    assert.match((await get(name('b'))).body, /^b\n/);
  });

  test('one connection may visit both, and each answers for itself', async () => {
    const request = (id) => `GET / HTTP/1.1\r\nHost: ${name(id)}\r\n\r\n`;
    const { text } = await exchange(request('a') + request('b') + request('a') + `GET / HTTP/1.1\r\nHost: ${name('b')}\r\nConnection: close\r\n\r\n`);
    assert.deepEqual([...text.matchAll(/\r\n\r\n([ab])\nGET/g)].map((match) => match[1]), ['a', 'b', 'a', 'b']);
  });

  test('there is one host, and it is the Host field', async () => {
    const spoofed = `X-Forwarded-Host: ${name('b')}\r\nX-Original-URL: http://${name('b')}/\r\nForwarded: host="${name('b')}"\r\nX-Host: ${name('b')}\r\n`;
    assert.match((await get(name('a'), '/', spoofed)).body, /^a\n/);
    for (const [what, bytes] of [
      ['two Host fields', `GET / HTTP/1.1\r\nHost: ${name('a')}\r\nHost: ${name('b')}\r\n\r\n`],
      ['another authority in the target', `GET http://${name('b')}/ HTTP/1.1\r\nHost: ${name('a')}\r\n\r\n`],
      ['user information', `GET / HTTP/1.1\r\nHost: ${name('a')}@evil.example\r\n\r\n`],
      ['a path', `GET / HTTP/1.1\r\nHost: ${name('a')}/x\r\n\r\n`],
      ['a blank', `GET / HTTP/1.1\r\nHost: ${name('a')} ${name('b')}\r\n\r\n`],
      ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
    ])
      assert.equal((await exchange(bytes)).status, 400, what);
    const session = http2.connect(`http://127.0.0.1:${daemon.port}`);
    const stream = session.request({ ':path': '/', ':authority': name('a'), host: name('b') });
    const [headers] = await once(stream, 'response');
    assert.equal(headers[':status'], 400);
    session.destroy();
  });

  test('no name below the domain, however it is written, is the API', async () => {
    for (const host of ['x.localhost', 'x.localhost.', 'X.LOCALHOST', 'a.b.localhost', '8080-a-toka.localhost.', 'v1.localhost:1'])
      for (const path of ['/v1/sandboxes', '/health', '//v1/sandboxes', '/%2e%2e/v1/sandboxes']) {
        const { status, body } = await get(host, path);
        assert.ok(status === 404 || status === 400 || body.startsWith('a\n') || status === 401, `${host} ${path}: ${status}`);
        assert.ok(!body.includes('"sandboxes"') && !body.includes('"version"'), `${host} ${path}: ${body}`);
      }
  });

  test('below /preview/ no path leads out, and the page is of no origin', async () => {
    const answer = await get(`localhost:${daemon.port}`, '/preview/a/8080/toka/../../../../v1/sandboxes');
    assert.equal(answer.status, 200);
    assert.match(answer.body, /^a\nGET \/\.\.\/\.\.\/\.\.\/\.\.\/v1\/sandboxes /);
    /* What browsers keep for an origin: NEL would have them report every later URL of the API, keys and tokens in it, to whom Report-To names. */
    const kept = ['NEL: {"report_to":"evil","max_age":9999}', 'Report-To: {"group":"evil","endpoints":[{"url":"https://evil.example/"}]}', 'Reporting-Endpoints: evil="https://evil.example/"',
      'Strict-Transport-Security: max-age=0', 'Alt-Svc: h2="evil.example:443"', 'Accept-CH: Sec-CH-UA-Model', 'Critical-CH: Sec-CH-UA-Model', 'Set-Login: logged-out', 'Expect-CT: max-age=0', 'Public-Key-Pins: x',
      'WWW-Authenticate: Basic realm="Your API key, please"'];
    const hostile = await get(`localhost:${daemon.port}`, `/preview/a/8080/toka${raw(
      `HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: berm=1\r\nService-Worker-Allowed: /\r\nContent-Security-Policy: default-src *\r\nClear-Site-Data: "*"\r\n${kept.join('\r\n')}\r\nX-Own: passes\r\n\r\n`)}`);
    assert.equal(hostile.status, 200);
    assert.match(hostile.text, /\r\nX-Own: passes\r\n/i);
    for (const field of kept) assert.ok(!hostile.text.toLowerCase().includes(`\n${field.split(':')[0].toLowerCase()}:`), field);
    assert.match(hostile.text, /\r\nContent-Security-Policy: sandbox [^\r]*\r\n/i);
    assert.doesNotMatch(hostile.text, /allow-same-origin|Set-Cookie|Service-Worker-Allowed|Clear-Site-Data|default-src/i);
    assert.equal((await get(`localhost:${daemon.port}`, '/preview/a/8080/tokb/')).status, 404);
    assert.equal((await get(`localhost:${daemon.port}`, '/preview/b/8080/toka/')).status, 404);
  });

  test('a cookie belongs to the host that set it, whatever Domain it names', async () => {
    const { text } = await get(name('a'), raw('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: s=1; Domain=localhost; Path=/\r\nSet-Cookie: t=2;domain=.localhost\r\n\r\n'));
    assert.match(text, /\r\nSet-Cookie: s=1; Path=\/\r\n/i);
    assert.match(text, /\r\nSet-Cookie: t=2\r\n/i);
    assert.doesNotMatch(text, /domain/i);
  });

  test('also in the answer to an upgrade, which under the API\'s address sets none', async () => {
    const switching = raw('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: s=1; Domain=localhost; Path=/\r\nStrict-Transport-Security: max-age=0\r\nX-Own: passes\r\n\r\n');
    const upgrade = (host, path) => exchange(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
      (text) => text.includes('\r\n\r\n'));
    const named = await upgrade(name('a'), switching);
    assert.equal(named.status, 101);
    assert.match(named.text, /\r\nSet-Cookie: s=1; Path=\/\r\n/i);
    assert.match(named.text, /\r\nX-Own: passes\r\n/i);
    assert.doesNotMatch(named.text, /domain/i);
    const below = await upgrade(`localhost:${daemon.port}`, `/preview/a/8080/toka${switching}`);
    assert.equal(below.status, 101);
    assert.match(below.text, /\r\nX-Own: passes\r\n/i);
    assert.doesNotMatch(below.text, /Set-Cookie|Strict-Transport-Security/i);
  });

  test('an answer that could be read in two ways is no answer, and poisons no other visitor', async () => {
    for (const [what, bytes] of [
      ['a length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
      ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n'],
      ['a bare line feed', 'HTTP/1.1 200 OK\nX: y\r\n\r\n'],
      ['a folded field', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
      ['no status', 'HTTP/1.1 OK\r\n\r\n'],
      ['an upgrade that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'],
    ]) {
      const { status, text } = await get(name('a'), raw(bytes));
      assert.equal(status, 502, `${what}: ${text}`);
    }
    const second = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
    for (let i = 0; i < 5; i++) {
      await get(name('a'), raw(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n${second}`));
      assert.match((await get(name('a'))).body, /^a\nGET \/ /);
    }
  });

  test('a request that could be read in two ways reaches no sandbox', async () => {
    const inner = `GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    for (const fields of [
      'Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
      'Transfer-Encoding: xchunked\r\n', 'Transfer-Encoding : chunked\r\n', 'Content-Length: +5\r\n', 'Content-Length: 5\r\nContent-Length: 6\r\n',
      'X: y\nTransfer-Encoding: chunked\r\n', 'X: a\r\n b\r\n',
    ]) {
      const { status } = await exchange(`POST / HTTP/1.1\r\nHost: ${name('a')}\r\n${fields}\r\n0\r\n\r\n${inner}`);
      assert.ok(status === 400 || status === 501, `${fields}: ${status}`);
    }
  });

  test('redirects are the page\'s own; the edge itself sends nobody elsewhere', async () => {
    for (const path of ['//evil.example', '/\\evil.example', '/?next=https://evil.example', '/preview//evil.example/']) {
      const { text } = await get(`localhost:${daemon.port}`, path);
      assert.doesNotMatch(text, /^Location:.*evil/im, path);
    }
    const { text } = await get(name('a'), raw('HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n'));
    assert.match(text, /\r\nLocation: \/x\r\n/);
  });

  test('who says to be asked for somebody else is not on this machine', async () => {
    const list = (fields) => get(`localhost:${daemon.port}`, '/v1/sandboxes', fields);
    assert.equal((await list('')).status, 200);
    for (const fields of ['X-Forwarded-For: 203.0.113.9\r\n', 'X-Forwarded-For: 127.0.0.1\r\n', 'Forwarded: for=127.0.0.1\r\n', 'Via: 1.1 somebody\r\n'])
      assert.equal((await list(fields)).status, 401, fields);
  });

  test('what a visitor says of the way is replaced', async () => {
    const { body } = await get(name('a'), '/', 'X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=203.0.113.9;proto=https\r\nX-Real-IP: 203.0.113.9\r\nX-Forwarded-Port: 443\r\n');
    assert.doesNotMatch(body, /203\.0\.113\.9|https|:\s*443\b/); // 443 as a whole value: the edge's own port may hold these digits
    assert.match(body, /\r\nX-Forwarded-For: 127\.0\.0\.1\r\n/);
    assert.match(body, /\r\nX-Forwarded-Proto: http\r\n/);
    assert.match(body, /\r\nForwarded: for=127\.0\.0\.1;host="8080-a-toka\.localhost:\d+";proto=http\r\n/);
  });

  test('a proxy that the operator named is believed', async () => {
    await daemon.end();
    api.close();
    await daemon.start(['--trusted-proxies', '127.0.0.1']);
    api = new Api(daemon);
    const list = (fields) => get(`localhost:${daemon.port}`, '/v1/sandboxes', fields);
    assert.equal((await list('')).status, 401); /* it does not say for whom */
    assert.equal((await list('X-Forwarded-For: 203.0.113.9\r\n')).status, 401);
    assert.equal((await list('X-Forwarded-For: 127.0.0.1, 203.0.113.9\r\n')).status, 401);
    assert.equal((await list('X-Forwarded-For: 127.0.0.2\r\n')).status, 200);
    const { body } = await get(name('a'), '/', 'X-Forwarded-For: 192.0.2.1, 2001:db8::7\r\nX-Forwarded-Proto: https\r\n');
    assert.match(body, /\r\nX-Forwarded-For: 2001:db8::7\r\n/);
    assert.match(body, /\r\nX-Forwarded-Proto: https\r\n/);
    assert.match(body, /\r\nForwarded: for="\[2001:db8::7\]";host="[^"]*";proto=https\r\n/);
    await until('it is logged', () => daemon.log('request').some((entry) => entry.client === '2001:db8::7'));
  });

  test('a preview of a run that has ended is stale, and a new sandbox of that name does not answer for it', async () => {
    await daemon.end();
    api.close();
    await daemon.start();
    api = new Api(daemon);
    assert.equal((await get(name('b'))).status, 200);
    await api.delete('/v1/sandbox/b');
    assert.ok([404, 410].includes((await get(name('b'))).status));
    await api.put('/v1/sandbox/b/file/workspace/server.py', SERVER);
    await api.exec('b', 'nohup python3 server.py new >/dev/null 2>&1 &');
    await until('the server listens', async () => (await api.exec('b', 'cat /proc/net/tcp')).out.includes(':1F90 '));
    const { status, body } = await get(name('b'));
    assert.ok([404, 410].includes(status), `${status}`);
    assert.doesNotMatch(body, /\bnew\b/); // a word: it may be in a token
  });
});
