// Routing, the error layout and hostile requests: reference/container/00, 80 and 85.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Agent } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

test('the routes about the server itself', async () => {
  const greeting = await agent.get('/');
  assert.deepEqual([greeting.status, greeting.headers['content-type']], [200, 'text/plain; charset=utf-8']);
  const ping = (await agent.get('/api/ping')).json;
  assert.deepEqual([ping.success, ping.status, ping.message, typeof ping.timestamp], [true, 'healthy', 'pong', 'string']);
  assert.deepEqual(await agent.get('/api/version').then((r) => [r.json.success, r.json.version]), [true, 'unknown']);
  const commands = (await agent.get('/api/commands')).json;
  assert.deepEqual([commands.success, commands.availableCommands, commands.count], [true, [], 0]);
});

test('the version comes from the environment', async () => {
  const other = await Agent.start({ env: { SANDBOX_VERSION: '0.12.7' } });
  try { assert.equal((await other.get('/api/version')).json.version, '0.12.7'); } finally { await other.stop(); }
});

test('CORS headers are there once, also on errors', async () => {
  for (const path of ['/', '/api/ping', '/api/nope', '/api/process/list']) {
    const { headers } = await agent.get(path);
    assert.equal(headers['access-control-allow-origin'], '*');
    assert.equal(headers['access-control-allow-methods'], 'GET, POST, PUT, DELETE, OPTIONS');
    assert.equal(headers['access-control-allow-headers'], 'Content-Type, Authorization, X-Session-Id, X-Sandbox-Id, X-Trace-Id');
  }
});

test('the head of a stream of events', async () => {
  const stream = await agent.request('POST', '/api/execute/stream', { command: 'true' });
  assert.deepEqual(['content-type', 'cache-control', 'connection', 'transfer-encoding'].map((name) => stream.headers[name]), ['text/event-stream', 'no-cache', 'keep-alive', 'chunked']);
  const last = await agent.request('POST', '/api/execute/stream', { command: 'true' }, { headers: { Connection: 'close' } });
  assert.equal(last.headers.connection, 'close');
});

test('no route is 404 with UNKNOWN_ERROR', async () => {
  for (const [method, path] of [['GET', '/api/health'], ['GET', '/api/ping/'], ['POST', '/api/ping'], ['GET', '/api/execute'], ['OPTIONS', '/api/execute'], ['PATCH', '/api/ping'],
    ['GET', '/api/process/a/b/c'], ['GET', '/ws'], ['GET', '/ws/pty?sessionId=x'], ['GET', '/rpc'], ['POST', '/API/execute'], ['GET', '//'], ['POST', '/api/expose-port']]) {
    const reply = await agent.request(method, path);
    assert.equal(reply.status, 404, `${method} ${path}`);
    const { timestamp, message, ...rest } = reply.json;
    assert.ok(timestamp && message);
    assert.deepEqual(rest, { code: 'UNKNOWN_ERROR', context: {}, httpStatus: 404 });
  }
  assert.equal((await agent.request('HEAD', '/api/nope')).status, 404);
});

test('query strings do not matter for the route', async () => {
  assert.equal((await agent.get('/api/ping?x=/y&z')).status, 200);
});

const whole = (text) => {
  const end = text.indexOf('\r\n\r\n');
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, Math.max(0, end)))?.[1];
  return length !== undefined && Buffer.byteLength(text.slice(end + 4)) >= Number(length);
};

// The first answer; with `toTheEnd` all that comes until the connection is closed.
async function raw(bytes, { unix = false, toTheEnd = false } = {}) {
  const socket = unix ? net.connect(agent.socketPath) : net.connect(agent.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(bytes);
  let text = '';
  socket.on('error', () => {});
  await new Promise((done) => {
    socket.on('close', done);
    socket.on('data', (data) => {
      text += data;
      if (!toTheEnd && whole(text)) done();
    });
  });
  socket.destroy();
  return text;
}

test('a WebSocket upgrade that cannot be made is a 503', async () => {
  for (const path of ['/ws', '/api/ws', '/rpc'])
    assert.match(await raw(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n`), /^HTTP\/1\.1 503 [^]*WebSocket upgrade failed/);
  assert.match(await raw('GET /api/nope HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'), /^HTTP\/1\.1 404 /);
});

test('what the HTTP parser refuses is answered in the same layout', async () => {
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'nonsense\r\n\r\n', 'POST /api/execute HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n',
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(70000)}\r\n\r\n`, 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n']) {
    const reply = await raw(bytes);
    assert.match(reply, /^HTTP\/1\.1 4\d\d /);
    const body = JSON.parse(reply.slice(reply.indexOf('\r\n\r\n') + 4));
    assert.deepEqual([body.code, body.context, body.httpStatus], ['VALIDATION_FAILED', {}, Number(reply.slice(9, 12))]);
  }
});

test('bodies that are no JSON object are refused, and the connection lives on', async () => {
  const bodies = ['', '{', '[]', 'null', '"x"', '5', '{"command":"x"', '{"command":"x",}', "{'command':'x'}", '{"command":"x"} x', '{"a":1,"a":2}', '\ufeff{}',
    Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), '['.repeat(100000), '{"a":'.repeat(1000) + '1' + '}'.repeat(1000), '{"a":01}', '{"a":NaN}', '{"a":"\t"}'];
  for (const route of ['/api/execute', '/api/read', '/api/write', '/api/mkdir', '/api/list-files', '/api/move']) {
    for (const body of bodies) {
      const reply = await agent.post(route, body);
      assert.equal(reply.status, 400, `${route} ${body.toString().slice(0, 40)}`);
      assert.equal(reply.json.code, 'VALIDATION_FAILED');
      assert.match(reply.json.message, /^Failed to parse request body:/);
      assert.equal('stack' in reply.json.context, false);
    }
  }
});

test('half a character in a string is U+FFFD, as in upstream', async () => {
  const text = await agent.post('/api/write', '{"path":"/tmp/half","content":"a\\ud83d","sessionId":"half"}');
  assert.equal(text.status, 200, text.text);
  assert.equal((await agent.post('/api/read', { path: '/tmp/half', sessionId: 'half' })).json.content, 'a\ufffd');
  assert.equal((await agent.run('printf %s "\ud83d\ude00|\ude00"', { session: 'half' })).stdout, '\u{1f600}|\ufffd');
});

test('wrong types are 400 with the name of the field', async () => {
  for (const [body, field] of [[{ sessionId: 5 }, 'sessionId'], [{ cwd: 5 }, 'cwd'], [{ timeoutMs: '5' }, 'timeoutMs'], [{ env: 'x' }, 'env'], [{ env: { A: [] } }, 'env'], [{ background: 'x' }, 'background'],
    [{ sessionId: 'a\0b' }, 'sessionId'], [{ cwd: '/a\0b' }, 'cwd'], [{ env: { 'A\0': 'x' } }, 'env'], [{ env: { A: 'x\0' } }, 'env']]) {
    const reply = await agent.post('/api/execute', { command: ':', ...body });
    assert.equal(reply.status, 400, JSON.stringify(body));
    assert.equal(reply.json.context.validationErrors[0].field, field);
    assert.equal(typeof reply.json.suggestion, 'string');
  }
});

test('numbers of all kinds as a time limit', async () => {
  for (const timeoutMs of [1e3, 1500.5, 1e15, 1e300, 9007199254740993]) assert.equal((await agent.run(':', { timeoutMs })).status, 200);
  for (const timeoutMs of [-1, -1e300, 0.4]) assert.match((await agent.run('sleep 0.05', { session: 'limits', timeoutMs })).message, /timeout after 0ms/);
});

test('unknown members and headers do not matter', async () => {
  const reply = await agent.post('/api/execute', { command: 'echo x', nope: { deep: [1] }, origin: 'internal' }, { headers: { 'X-Sandbox-Id': 'x', 'X-Trace-Id': 'tr_0', 'Content-Type': 'text/plain' } });
  assert.equal(reply.json.stdout, 'x');
});

test('a body over 128 MiB is refused', async () => {
  const text = await raw(`POST /api/write HTTP/1.1\r\nHost: a\r\nContent-Length: ${129 * 1024 * 1024}\r\n\r\n{`);
  assert.match(text, /^HTTP\/1\.1 413 /);
  assert.equal(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)).httpStatus, 413);
});

test('pipelined requests are answered in order', async () => {
  const one = (command) => { const body = JSON.stringify({ command }); return `POST /api/execute HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`; };
  const text = await raw(one('sleep 0.2; echo first') + one('echo second') + 'GET /api/ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', { toTheEnd: true });
  assert.match(text, /"stdout":"first"[^]*"stdout":"second"[^]*"pong"/);
});

test('half requests and lost connections cost nothing', async () => {
  await Promise.all([...Array(30)].map(async (_, i) => {
    const socket = net.connect(agent.port, '127.0.0.1');
    await once(socket, 'connect');
    const body = JSON.stringify({ command: 'sleep 0.1; echo x', sessionId: `lost-${i}` });
    const bytes = `POST /api/execute HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(bytes.slice(0, Math.floor((bytes.length * (i + 1)) / 30)));
    await new Promise((done) => setTimeout(done, 20));
    socket.destroy();
  }));
  assert.equal((await agent.run('echo alive')).stdout, 'alive');
});
