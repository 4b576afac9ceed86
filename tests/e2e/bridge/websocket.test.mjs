/* WebSockets through the daemon: the control server's routes and the bridge's terminal. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe } from 'node:test';
import { WebSocket } from 'ws';

import { Channel } from '../agent/channel.mjs';
import { TerminalClient } from '../agent/terminal-client.mjs';
import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('WebSockets through the daemon', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let id;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-sleep-after', '2s'] }).start();
    api = new Api(daemon);
    id = await api.newId();
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  const channel = (path = '/ws') => Channel.open(daemon, `/v1/sandbox/${id}/container${path}`);
  const terminal = (query = {}, headers) => TerminalClient.open(daemon, query, { path: `/v1/sandbox/${id}/pty`, headers });

  /* Until the answer's head: its status and body. */
  async function refused(path, headers = {}) {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}${path}`, { headers });
    socket.on('error', () => {});
    const [, response] = await once(socket, 'unexpected-response');
    const pieces = [];
    for await (const piece of response) pieces.push(piece);
    const text = Buffer.concat(pieces).toString();
    socket.terminate();
    return { status: response.statusCode, text };
  }

  test('the routes answer over a WebSocket, and streams come event by event', async () => {
    const ws = await channel();
    const answer = await ws.request('POST', '/api/execute', { command: 'echo hi; pwd', sessionId: 's' });
    assert.deepEqual([answer.status, answer.body.stdout], [200, 'hi\n/workspace']);
    const stream = ws.start('POST', '/api/execute/stream', { command: 'echo out', sessionId: 's' });
    const types = [];
    for (let event = await ws.event(stream); event.type === 'stream'; event = await ws.event(stream)) types.push(JSON.parse(event.data).type);
    assert.deepEqual(types, ['start', 'stdout', 'complete']);
    ws.close();
  });

  test('a refused upgrade is passed on as it is', async () => {
    const path = `/v1/sandbox/${id}/container`;
    assert.equal((await refused(`${path}/nowhere`)).status, 404);
    assert.deepEqual(await refused(`${path}/ws/pty`), { status: 400, text: 'sessionId query parameter required' });
    const plain = await api.get(`${path}/ws`, { headers: { connection: 'Upgrade', upgrade: 'websocket' }, agent: false });
    assert.deepEqual([plain.status, plain.text], [503, 'WebSocket upgrade failed']);
    assert.equal((await refused(`${path}/berm/v1/exec`)).status, 404);
    assert.equal((await refused(`${path}/%62erm/v1/exec`)).status, 404);
  });

  test('other protocols are not changed to', async () => {
    const answer = await api.get(`/v1/sandbox/${id}/container/api/ping`, { headers: { connection: 'Upgrade', upgrade: 'h2c' }, agent: false });
    assert.equal(answer.status, 200);
  });

  test('internal routes stay out of reach', async () => {
    const ws = await channel('/api/ws');
    assert.equal((await ws.request('POST', '/berm/v1/exec', {})).status, 404);
    ws.close();
  });

  test('a terminal of a session is kept, one without a session is not', async () => {
    const first = await terminal({ session: 'kept', cols: '90', rows: '20' });
    await first.message('ready');
    assert.equal(await first.run('stty size; X=mine; pwd'), '20 90\n/workspace');
    first.close();
    const second = await terminal({ session: 'ignored' }, { 'Session-Id': 'kept' });
    await second.message('ready');
    assert.equal(await second.run('echo $X'), 'mine');
    second.keys('exit 4\r');
    assert.deepEqual(await second.message('exit'), { type: 'exit', code: 4 });
    assert.equal((await second.end()).code, 1000);

    const [a, b] = await Promise.all([terminal(), terminal()]);
    await Promise.all([a.message('ready'), b.message('ready')]);
    await a.run('Y=a; sleep 500 & echo $! > /workspace/pid');
    assert.equal(await b.run('echo ${Y-unset}'), 'unset');
    a.close();
    await until('the end of what ran in it', async () => (await api.exec(id, ['bash', '-c', 'kill -0 $(cat pid)'])).code === 1);
    b.close();
    await until('their sessions', async () => {
      const { json } = await api.get(`/v1/sandbox/${id}/container/api/session/list`);
      return !JSON.stringify(json).includes('pty-');
    });
  });

  test('what is wrong with a terminal request is said before the upgrade', async () => {
    const path = `/v1/sandbox/${id}/pty`;
    const without = await api.get(path);
    assert.deepEqual([without.status, without.json.error], [400, 'WebSocket upgrade required']);
    for (const [query, words] of [['cols=x', 'cols and rows must be valid numbers'], ['rows=1e', 'cols and rows must be valid numbers'],
      ['session=a%2Fb', 'Invalid session ID format']]) {
      const { status, text } = await refused(`${path}?${query}`);
      assert.equal(status, 400);
      assert.ok(text.includes(words), text);
    }
    assert.equal((await refused(path, { 'Session-Id': '../x' })).status, 400);
    const noKey = await api.get(path, { headers: { connection: 'Upgrade', upgrade: 'websocket' }, agent: false });
    assert.deepEqual([noKey.status, noKey.json.code], [502, 'exec_transport_error']);
    assert.match(noKey.json.error, /terminal failed/);
    const bad = await terminal({ shell: 'no such/shell' });
    assert.match((await bad.message('error')).message, /no such\/shell/);
    assert.equal((await bad.end()).code, 1011);
  });

  test('frames that come with the request are not lost', async () => {
    const socket = net.connect(daemon.port, '127.0.0.1');
    const text = '{"type":"request","id":"early","path":"/api/ping"}';
    const frame = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
    socket.write(Buffer.concat([Buffer.from(`GET /v1/sandbox/${id}/container/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n` +
      'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'), frame]));
    let got = '';
    while (!got.includes('"id":"early"')) got += (await once(socket, 'data'))[0].toString('latin1');
    assert.match(got, /^HTTP\/1\.1 101 /);
    assert.match(got, /s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
    socket.destroy();
  });

  test('an open WebSocket keeps the sandbox awake, and its end lets it sleep', async () => {
    const ws = await channel();
    await ws.request('POST', '/api/execute', { command: 'echo $$ > /tmp/mark', sessionId: 'awake' });
    const state = async () => (await api.get(`/v1/sandbox/${id}`)).json.state;
    const end = Date.now() + 4000;
    await until('four seconds', () => Date.now() > end);
    assert.equal(await state(), 'running');
    assert.equal((await ws.request('POST', '/api/execute', { command: 'cat /tmp/mark', sessionId: 'awake' })).body.exitCode, 0);
    ws.close();
    await until('its sleep', async () => (await state()) !== 'running');
  });

  test('web pages of other origins are refused, as for any request', async () => {
    const { status } = await refused(`/v1/sandbox/${id}/container/ws`, { origin: 'http://evil.example' });
    assert.equal(status, 401);
  });

  test('the end of the sandbox ends its WebSockets', async () => {
    const ws = await channel();
    await ws.request('GET', '/api/ping');
    const closed = once(ws.socket, 'close');
    await api.delete(`/v1/sandbox/${id}`);
    await closed;
  });

  test('a reader that stops holds up nobody, and megabytes go through', async () => {
    const ws = await channel();
    const other = await channel();
    await ws.request('POST', '/api/execute', { command: 'head -c 6000000 /dev/zero | tr "\\0" x > /workspace/f.txt' });
    ws.socket.pause();
    const ids = [...Array(10)].map(() => ws.start('POST', '/api/read', { path: '/workspace/f.txt' }));
    for (let i = 0; i < 20; i++) assert.equal((await other.request('GET', '/api/ping')).status, 200);
    ws.socket.resume();
    for (const one of ids) assert.equal((await ws.answer(one)).body.content.length, 6000000);
    ws.close();
    other.close();
  });
});
