/* The daemon as a server: itself, and clients that misbehave. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, image, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('the server', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = await new Daemon({ env: { BERM_LOG_LEVEL: 'info' } }).start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  /* Sends bytes on a connection of its own; what came back until the end. */
  const raw = async (bytes) => {
    const socket = net.connect(daemon.port, '127.0.0.1');
    let text = '';
    socket.on('data', (piece) => (text += piece));
    socket.on('error', () => {});
    socket.end(bytes);
    await once(socket, 'close');
    return text;
  };

  test('metrics are Prometheus text', async () => {
    await api.exec('metrics', ['true']);
    const response = await api.get('/metrics');
    assert.equal(response.status, 200);
    assert.match(response.headers['content-type'], /^text\/plain; version=0\.0\.4/);
    for (const line of response.text.trim().split('\n'))
      assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+)$/);
    assert.match(response.text, /^berm_http_requests_total\{route="exec",status="2xx"\} 1$/m);
    assert.match(response.text, /^berm_sandboxes\{state="running"\} 1$/m);
    assert.match(response.text, /^berm_http_request_seconds_count\{route="exec"\} 1$/m);
  });

  test('images and host are told', async () => {
    const { images } = (await api.get('/v1/images')).json;
    const ours = images.find((entry) => entry.name === image);
    assert.match(ours.digest, /^sha256:[0-9a-f]{64}$/);
    assert.ok(ours.sizeBytes > 0 && ours.default === true);
    const host = (await api.get('/v1/host')).json;
    assert.equal(typeof host.version, 'string');
    assert.ok(Object.values(host.features).every((value) => typeof value === 'boolean'));
    assert.ok(host.ceiling.memoryBytes > 0);
  });

  test('each request is one line of the log, at its end, with its id', async () => {
    const response = await api.get('/v1/sandbox/logged/running');
    const ours = () => daemon.log('request').filter((entry) => entry.id === response.headers['berm-request-id']);
    await until('the line is written', () => ours().length > 0);
    const lines = ours();
    assert.equal(lines.length, 1);
    assert.deepEqual([lines[0].route, lines[0].status, lines[0].sandbox, lines[0].complete], ['sandbox.running', '200', 'logged', 'true']);
    assert.ok(Number(lines[0].us) > 0);
  });

  test('requests may be pipelined and are answered in order', async () => {
    const text = await raw(['a', 'b', 'c'].map((id) => `GET /v1/sandbox/${id}/running HTTP/1.1\r\nHost: localhost\r\n\r\n`).join('') +
      'GET /nope HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404']);
  });

  test('malformed requests get an error of our layout and the connection ends', async () => {
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 'BAD\r\n\r\n', '\x16\x03\x01\x02\x00\x01\r\n\r\n',
      'POST /v1/sandbox HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n', 'GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n']) {
      const text = await raw(bytes);
      assert.match(text, /^HTTP\/1\.1 400 /, JSON.stringify(bytes));
      assert.equal(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)).code, 'invalid_request');
    }
    const large = await raw(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40000)}\r\n\r\n`);
    assert.match(large, /^HTTP\/1\.1 431 /);
    assert.match(large, /"code":"headers_too_large"/);
  });

  test('noise from strangers changes nothing for others', async () => {
    const noise = Array.from({ length: 50 }, (_, i) => raw(Buffer.from(Array.from({ length: 200 }, (__, j) => (i * 31 + j * 17) & 255))));
    const sockets = Array.from({ length: 50 }, () => net.connect(daemon.port, '127.0.0.1').on('error', () => {}));
    for (const socket of sockets) socket.write('POST /v1/sandbox/noise/exec HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{');
    assert.equal((await api.exec('metrics', ['echo', 'undisturbed'])).out, 'undisturbed\n');
    await Promise.all(noise);
    for (const socket of sockets) socket.destroy();
    assert.equal((await api.get('/health')).status, 200);
  });

  test('deeply nested and huge documents are refused', async () => {
    const path = '/v1/sandbox/json/exec';
    assert.equal((await api.post(path, '['.repeat(100000))).status, 400);
    assert.equal((await api.post(path, `{"argv":["${'x'.repeat(1100000)}"]}`, { agent: false })).status, 413);
    assert.equal((await api.post(path, Buffer.from('{"argv":["\xff"]}', 'latin1'))).status, 400);
  });
});

describe('the end of the server', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = await new Daemon({ options: ['--drain-timeout', '300ms'] }).start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('a command that outlasts the drain timeout: its stream ends with an error event', async () => {
    const running = api.exec('slow', ['sh', '-c', 'echo begun; touch begun; sleep 100']);
    await until('the command runs', async () => (await api.exec('slow', ['test', '-e', 'begun'])).code === 0);
    /* One of the agent's own routes ends in the words of that. */
    const response = await fetch(`${daemon.url}/v1/sandbox/slow/container/api/execute/stream`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ command: 'echo begun; touch begun2; sleep 100' }) });
    const passed = response.text();
    await until('the other runs', async () => (await api.exec('slow', ['test', '-e', 'begun2'])).code === 0);
    const ended = daemon.end();
    const events = (await passed).split('\n\n').filter(Boolean).map((event) => JSON.parse(/^data: (.*)$/m.exec(event)[1]));
    assert.deepEqual(events.map((event) => event.type), ['start', 'stdout', 'error']);
    assert.equal(events.at(-1).code, 'exec_transport_error');
    const { out, failure, terminals } = await running;
    assert.equal(out, 'begun\n');
    assert.equal(terminals, 1);
    assert.equal(failure.code, 'exec_transport_error');
    assert.deepEqual(await ended, [0, null]);
  });
});
