// port-watch: reference/container/50, 90 (A50, E6).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { freePort } from '../lib/ports.mjs';
import { Agent, SESSIONLESS, sleep } from './helper.mjs';
import { EventReader } from './sse.mjs';

let agent;
const open = [];
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());
afterEach(async () => {
  for (const thing of open.splice(0)) thing();
});

const watch = async (body) => {
  const reader = await EventReader.open(agent, '/api/port-watch', body);
  open.push(() => reader.close());
  return reader;
};
const listen = async (server, port = 0, host = '127.0.0.1') => {
  server.listen(port, host);
  await once(server, 'listening');
  open.push(() => { server.close(); server.closeAllConnections?.(); });
  return server.address().port;
};
const httpServer = (handler, port, host) => listen(http.createServer(handler), port, host);
const tcpServer = (handler) => {
  const sockets = new Set();
  open.push(() => sockets.forEach((s) => s.destroy()));
  return listen(net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    handler(socket);
  }));
};
const until = async (condition) => {
  for (const deadline = Date.now() + 60000; !condition(); await sleep(5)) assert.ok(Date.now() < deadline, String(condition));
};

test('an HTTP server that is there is ready at once, with its status', async () => {
  const seen = [];
  const port = await httpServer((request, response) => { seen.push([request.method, request.url, request.headers.host]); response.end('x'); });
  const w = await watch({ port });
  assert.equal(w.status, 200);
  assert.equal(w.response.headers['content-type'], 'text/event-stream');
  assert.deepEqual(await w.end(), [{ type: 'watching', port }, { type: 'ready', port, statusCode: 200 }]);
  assert.deepEqual(seen, [['GET', '/', `localhost:${port}`]]);
});

test('tcp only connects and tells no status', async () => {
  let connections = 0;
  const port = await tcpServer(() => connections++);
  assert.deepEqual(await (await watch({ port, mode: 'tcp' })).end(), [{ type: 'watching', port }, { type: 'ready', port }]);
  await until(() => connections === 1);
});

test('a server that comes later is noticed soon, whatever the interval', async () => {
  for (const mode of ['tcp', 'http']) {
    const port = await freePort();
    const w = await watch({ port, mode, interval: 10000 });
    await w.event({ type: 'watching' });
    await httpServer((request, response) => response.end(), port);
    const from = Date.now();
    await w.event({ type: 'ready' });
    assert.ok(Date.now() - from < 8000, `${Date.now() - from}`);
  }
});

test('either address family counts', async () => {
  const port = await httpServer((request, response) => response.end(), 0, '::1');
  for (const mode of ['tcp', 'http']) await (await watch({ port, mode })).event({ type: 'ready' });
});

test('the path is sent as it should be, and the status must lie in the range', async () => {
  const seen = [];
  let status = 503;
  const port = await httpServer((request, response) => { seen.push(request.url); response.writeHead(status).end(); });
  const w = await watch({ port, path: 'health x?a=b#c', interval: 100 });
  await until(() => seen.length >= 3);
  assert.equal(w.events.length, 1);
  status = 204;
  assert.equal((await w.event({ type: 'ready' })).statusCode, 204);
  assert.equal(seen[0], '/health%20x?a=b');
  status = 404;
  assert.equal((await (await watch({ port, statusMin: 404, statusMax: 404 })).event({ type: 'ready' })).statusCode, 404);
  status = 400;
  const none = await watch({ port, interval: 100 });
  const count = seen.length;
  await until(() => seen.length >= count + 2);
  assert.equal(none.events.length, 1);
});

test('what answers is asked in the rhythm of the interval, which is at least 100 ms', async () => {
  const times = [];
  const port = await httpServer((request, response) => { times.push(Date.now()); response.writeHead(500).end(); });
  const begun = Date.now(); // we may be late to see one and in time for the next: only the beginning is sure
  await watch({ port, interval: 1 });
  await until(() => times.length >= 6);
  times.forEach((time, i) => assert.ok(time - begun >= 95 * i, `${begun}: ${times.join()}`));
});

test('redirects are followed on this machine: relative, absolute, to another port; a loop is not ready', async () => {
  const target = await httpServer((request, response) => response.writeHead(request.url === '/end' ? 201 : 404).end());
  let loops = 0;
  const port = await httpServer((request, response) => {
    loops += request.url === '/loop';
    const to = { '/': '/a/b', '/a/b': 'c?x', '/a/c?x': `http://localhost:${target}/end`, '/loop': '/loop', '/out': 'https://example.com/', '/bare': undefined }[request.url];
    response.writeHead(302, to ? { Location: to } : {}).end();
  });
  assert.equal((await (await watch({ port })).event({ type: 'ready' })).statusCode, 201);
  assert.equal((await (await watch({ port, path: '/out' })).event({ type: 'ready' })).statusCode, 302);
  assert.equal((await (await watch({ port, path: '/bare' })).event({ type: 'ready' })).statusCode, 302);
  const loop = await watch({ port, path: '/loop', interval: 100 });
  await until(() => loops > 25); // more than one round of 21
  assert.deepEqual(loop.events, [{ type: 'watching', port }]);
});

test('whatever a hostile server does, the agent goes on and the watch can be cancelled', async () => {
  const ports = [], connections = new Map();
  let sent = 0, endless;
  for (const handler of [
    (s) => s.write('SSH-2.0-x\r\n'), (s) => s.end(), (s) => s.resetAndDestroy(), () => {},
    (s) => { const t = setInterval(() => s.write('x'), 1).unref(); s.on('close', () => clearInterval(t)); },
    endless = (s) => { // a head without an end
      s.write('HTTP/1.1 200 OK\r\n');
      const more = () => { while (!s.destroyed && s.write('X: y\r\n'.repeat(1000))) sent += 6000; };
      s.on('drain', more);
      more();
    },
    (s) => s.write('HTTP/1.1 100 Continue\r\n\r\n'.repeat(100000)),
    (s) => s.write('HTTP/1.1 302 Found\r\nLocation: ' + 'x'.repeat(60000) + '\r\n\r\n'),
  ]) ports.push(await tcpServer((s) => { connections.set(handler, (connections.get(handler) ?? 0) + 1); handler(s); }));
  const readers = await Promise.all(ports.map((port) => watch({ port, interval: 100, statusMax: 301 })));
  await until(() => connections.size === 8 && [...connections.values()].filter((n) => n > 1).length >= 4);
  for (const w of readers) assert.deepEqual(w.events.map((e) => e.type), ['watching'], JSON.stringify(w.events));
  assert.equal((await agent.get('/api/ping')).status, 200);
  assert.ok(sent < 12e6 * connections.get(endless), `${sent} bytes in ${connections.get(endless)} heads`);
});

test('an untidy head is understood', async () => {
  const port = await tcpServer((s) => s.end('HTTP/1.0 200\nX : y\n folded\n\nbody'));
  assert.equal((await (await watch({ port })).event({ type: 'ready' })).statusCode, 200);
});

// --- with a process ---

const start = async (command, more = {}) => (await agent.post('/api/process/start', { command, sessionId: SESSIONLESS, ...more })).json.processId;

test('the end of the process ends the watch, with its exit code', async () => {
  const port = await freePort();
  for (const [command, exitCode] of [['sleep 0.2; exit 9', 9], ['sleep 0.2; kill -9 $$', 137]]) {
    const processId = await start(command);
    const w = await watch({ port, processId, interval: 10000 });
    assert.deepEqual((await w.end()).at(-1), { type: 'process_exited', port, exitCode });
  }
  const ended = await start('exit 3');
  await (await EventReader.open(agent, '/api/port-watch', { port, processId: ended })).event({ type: 'process_exited', exitCode: 3 });
  assert.deepEqual((await (await watch({ port, processId: ended })).end()).at(-1), { type: 'process_exited', port, exitCode: 3 });
});

test('an unknown process is an error in the stream', async () => {
  assert.deepEqual(await (await watch({ port: 8123, processId: 'nope' })).end(),
    [{ type: 'watching', port: 8123 }, { type: 'error', port: 8123, error: 'Process not found' }]);
});

test('a process that serves is ready, and goes on', async () => {
  const port = await freePort();
  const processId = await start(`exec python3 -m http.server ${port} --bind 127.0.0.1 --directory /workspace`);
  assert.equal((await (await watch({ port, processId })).event({ type: 'ready' })).statusCode, 200);
  assert.equal((await agent.get(`/api/process/${processId}`)).json.process.status, 'running');
  await agent.request('DELETE', `/api/process/${processId}`);
});

// --- requests ---

test('what is no port is told in the stream, other nonsense is refused', async () => {
  for (const port of [0, -1, 65536, 1.5]) {
    const events = await (await watch({ port })).end();
    assert.deepEqual(events.map((e) => [e.type, e.port]), [['watching', port], ['error', port]]);
  }
  for (const body of [{}, { port: '80' }, { port: null }, { port: 1e300 }, { port: 80, mode: 5 }, { port: 80, path: {} }, { port: 80, statusMin: 'x' }, { port: 80, interval: [] }, { port: 80, processId: 7 },
    { port: 80, path: 'x'.repeat(10000) }]) {
    const { status, json } = await agent.post('/api/port-watch', body);
    assert.deepEqual([status, json.code], [400, 'VALIDATION_FAILED'], JSON.stringify(body).slice(0, 80));
  }
});

test('the port of the agent itself may be watched', async () => {
  await (await watch({ port: agent.port })).event({ type: 'ready' });
});

test('a watch that is cancelled leaves nothing behind', async () => {
  const count = async () => Number((await agent.run('ls /proc/1/fd | wc -l', { session: SESSIONLESS })).stdout);
  const port = await tcpServer(() => {});
  const before = await count();
  for (let i = 0; i < 20; i++) {
    const w = await watch({ port });
    await w.event({ type: 'watching' });
    w.close();
  }
  const deadline = Date.now() + 60000;
  while (await count() > before + 1) assert.ok(Date.now() < deadline);
});
