// /ws and /api/ws on the wire: reference/container/70, driven by the package `ws`.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before } from 'node:test';
import { WebSocket } from 'ws';

import { test } from '../lib/test.mjs';
import { Agent, sanitized } from './helper.mjs';
import { Channel } from './channel.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

const open = (path = '/ws', options) => Channel.open(agent, path, options);

// Runs with an open channel.
const channelTest = (name, run) => test(name, async () => {
  const channel = await open();
  try { await run(channel); } finally { channel.close(); }
});

// A handshake by hand: the status line and the body.
function rawUpgrade(path, fields, method = 'GET') {
  return new Promise((done, fail) => {
    const socket = net.connect(agent.port, '127.0.0.1');
    let text = '';
    socket.on('data', (data) => { text += data; });
    socket.on('error', fail);
    socket.on('close', () => done({ status: Number(text.split(' ')[1]), body: text.split('\r\n\r\n')[1] ?? '', text }));
    socket.end(`${method} ${path} HTTP/1.1\r\nHost: x\r\n${fields.map((f) => `${f}\r\n`).join('')}\r\n`);
  });
}

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
const UPGRADE = ['Connection: Upgrade', 'Upgrade: WebSocket'];

test('both paths upgrade, and answer the same', async () => {
  for (const path of ['/ws', '/api/ws']) {
    const channel = await open(path);
    const { timestamp, ...answer } = (await channel.request('GET', '/api/ping')).body;
    assert.deepEqual(answer.success, true);
    assert.match(timestamp, /Z$/);
    channel.close();
  }
});

test('a handshake that fails is 503 with its text, and other requests to these paths are 404', async () => {
  for (const fields of [[...UPGRADE, 'Sec-WebSocket-Version: 13'], [...UPGRADE, KEY, 'Sec-WebSocket-Version: 8']]) {
    const { status, body } = await rawUpgrade('/ws', [...fields, 'Content-Length: 0']);
    assert.deepEqual([status, body], [503, 'WebSocket upgrade failed']);
  }
  for (const path of ['/ws', '/api/ws', '/ws/pty', '/rpc']) assert.equal((await agent.get(path)).status, 404, path);
  const elsewhere = await rawUpgrade('/api/ping2', [...UPGRADE, KEY, 'Sec-WebSocket-Version: 13', 'Connection: close']);
  assert.equal(elsewhere.status, 404);
  assert.equal(JSON.parse(elsewhere.body).code, 'UNKNOWN_ERROR');
});

channelTest('a response has the status, the parsed body, done, and nothing else', async (channel) => {
  const answer = await channel.request('POST', '/api/execute', { command: 'echo hi; exit_code() { return 3; }; exit_code' });
  assert.deepEqual(Object.keys(answer).sort(), ['body', 'done', 'id', 'status', 'type']);
  assert.deepEqual([answer.type, answer.status, answer.done, answer.body.stdout, answer.body.exitCode], ['response', 200, true, 'hi', 3]);
});

channelTest('errors are ordinary responses with the body of the HTTP route', async (channel) => {
  const over = await channel.request('POST', '/api/read', { path: '/workspace/none' });
  const plain = await agent.post('/api/read', { path: '/workspace/none' });
  delete over.body.timestamp;
  delete plain.json.timestamp;
  assert.deepEqual([over.status, over.body], [plain.status, plain.json]);
  const nowhere = await channel.request('GET', '/api/nowhere');
  assert.deepEqual([nowhere.status, nowhere.body.code, nowhere.done], [404, 'UNKNOWN_ERROR', true]);
});

channelTest('a body that is no JSON is left out', async (channel) => {
  const answer = await channel.request('GET', '/');
  assert.equal(answer.status, 200);
  assert.ok(!('body' in answer));
});

channelTest('a method that is absent is GET, and a POST without a body has an empty one', async (channel) => {
  channel.send({ type: 'request', id: 'm', path: '/api/ping' });
  assert.equal((await channel.answer('m')).status, 200);
  assert.ok((await channel.request('POST', '/api/execute')).status >= 400);
  /* Whose body is ignored. */
  assert.equal((await channel.request('GET', '/api/ping', { any: 1 })).status, 200);
});

channelTest('what a request lacks is a protocol error with its id', async (channel) => {
  for (const [more, words] of [[{}, /path/], [{ path: 5 }, /path/], [{ path: '/api/ping', method: 'TRACE' }, /method/],
    [{ path: '/api/ping', method: 7 }, /method/], [{ path: 'x y' }, /path/]]) {
    channel.send({ type: 'request', id: 'bad', ...more });
    const { message, ...error } = await channel.answer('bad');
    assert.deepEqual(error, { type: 'error', id: 'bad', code: 'INTERNAL_ERROR', status: 500 });
    assert.match(message, words);
  }
});

channelTest('what is no request is a protocol error without an id', async (channel) => {
  for (const text of ['no json', '{"type":', '']) {
    channel.socket.send(text);
    const { message, ...error } = await channel.next();
    assert.deepEqual(error, { type: 'error', code: 'PARSE_ERROR', status: 400 });
    assert.equal(typeof message, 'string');
  }
  for (const value of [null, [], 'text', 5, {}, { type: 'cancel' }, { type: 'hello', id: 'x' }]) {
    channel.send(value);
    const { message, ...error } = await channel.next();
    assert.deepEqual(error, { type: 'error', code: 'INVALID_REQUEST', status: 400 }, JSON.stringify(value));
    assert.equal(typeof message, 'string');
  }
  assert.equal((await channel.request('GET', '/api/ping')).status, 200);
});

channelTest('a request without an id gets an answer without one', async (channel) => {
  channel.send({ type: 'request', method: 'GET', path: '/api/ping' });
  const answer = await channel.next();
  assert.ok(!('id' in answer));
  assert.equal(answer.status, 200);
});

channelTest('binary messages are read as text, broken ones are refused', async (channel) => {
  channel.socket.send(Buffer.from(JSON.stringify({ type: 'request', id: 'bin', path: '/api/ping' })), { binary: true });
  assert.equal((await channel.answer('bin')).status, 200);
  channel.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: true });
  assert.equal((await channel.next()).code, 'PARSE_ERROR');
});

channelTest('fragmented messages are put together', async (channel) => {
  const text = JSON.stringify({ type: 'request', id: 'frag', method: 'POST', path: '/api/execute', body: { command: 'echo gr\u00fc\u00df' } });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 7)
    channel.socket.send(bytes.subarray(at, at + 7), { binary: false, fin: at + 7 >= bytes.length });
  assert.equal((await channel.answer('frag')).body.stdout, 'gr\u00fc\u00df');
});

channelTest('a slow request delays no other, and answers come as they are ready', async (channel) => {
  const order = [];
  const ask = (id, command) => channel.request('POST', '/api/execute', { command, sessionId: id }).then(() => order.push(id));
  await Promise.all([ask('slow', 'sleep 0.6'), ask('quick', 'true'), ask('middle', 'sleep 0.2')]);
  assert.deepEqual(order, ['quick', 'middle', 'slow']);
});

test('the same id on two connections is not confused', async () => {
  const channels = await Promise.all([open(), open()]);
  channels.forEach((channel, i) => channel.send({ type: 'request', id: 'same', method: 'POST', path: '/api/execute',
    body: { command: `echo ${i}`, sessionId: `s${i}` } }));
  const answers = await Promise.all(channels.map((channel) => channel.answer('same')));
  assert.deepEqual(answers.map((a) => a.body.stdout), ['0', '1']);
  channels.forEach((channel) => channel.close());
});

channelTest('HTTP and WebSocket share everything', async (channel) => {
  await agent.post('/api/session/create', { id: 'shared', env: { FROM: 'http' } });
  const over = await channel.request('POST', '/api/execute', { command: 'echo $FROM; export BACK=ws', sessionId: 'shared' });
  assert.equal(over.body.stdout, 'http');
  assert.equal((await agent.run('echo $BACK', { session: 'shared' })).stdout, 'ws');
});

channelTest('headers mean what they mean over HTTP, and cannot frame', async (channel) => {
  channel.send({ type: 'request', id: 'h', method: 'POST', path: '/api/execute', body: { command: 'true' },
    headers: { 'x-session-id': 'by-header', 'content-length': '3', 'transfer-encoding': 'chunked', host: 'evil', n: 5 } });
  const answer = await channel.answer('h');
  assert.deepEqual([answer.status, answer.body.sessionId], [200, 'by-header']);
  channel.send({ type: 'request', id: 'inject', path: '/api/ping', headers: { 'x-a': 'b\r\nX-Session-Id: c' } });
  assert.deepEqual([(await channel.answer('inject')).code], ['INTERNAL_ERROR']);
});

channelTest('a path may hold what has to be escaped', async (channel) => {
  assert.equal((await channel.request('GET', '/api/ping?x=a b"<>#frag')).status, 200);
  assert.equal((await channel.request('GET', '/api/process/gr\u00fc \u00df')).body.code === 'NOT_FOUND', false);
});

channelTest('internal routes cannot be reached', async (channel) => {
  for (const [method, path] of [['POST', '/berm/v1/configure'], ['POST', '/berm/v1/exec'], ['GET', '/berm/v1/file?path=/etc/passwd'],
    ['PUT', '/berm/v1/file?path=/tmp/x'], ['GET', '/ws']])
    assert.equal((await channel.request(method, path, {})).status, 404, path);
  const before = (await agent.run('env | sort')).stdout;
  channel.send({ type: 'request', id: 'env', method: 'POST', path: '/api/execute', body: { command: 'true' },
    headers: { 'Berm-Environment': 'eyJBIjoiQiJ9', 'X-Berm-Environment': 'eyJBIjoiQiJ9' } });
  assert.equal((await channel.answer('env')).status, 200);
  await agent.post('/api/session/delete', { sessionId: 'default' });
  assert.equal((await agent.run('env | sort')).stdout, before);
});

channelTest('a body that its route refuses has an answer with the id', async (channel) => {
  channel.socket.send('{"type":"request","id":"dup","method":"POST","path":"/api/execute","body":{"command":"a","command":"b"}}');
  assert.equal((await channel.answer('dup')).status, 400);
  channel.socket.send('{"type":"request","id":"type","method":"POST","path":"/api/execute","body":{"command":5}}');
  assert.equal((await channel.answer('type')).status, 400);
});

channelTest('fifteen megabytes go in, and fifty come out', async (channel) => {
  const content = 'y'.repeat(15 << 20);
  assert.equal((await channel.request('POST', '/api/write', { path: '/workspace/big', content })).status, 200);
  const answer = await channel.request('POST', '/api/execute', { command: 'head -c 50000000 /dev/zero | tr "\\0" z' });
  assert.equal(answer.body.stdout.length, 50000000);
  assert.equal((await channel.request('POST', '/api/execute', { command: 'stat -c %s /workspace/big' })).body.stdout, String(15 << 20));
});

test('a message over sixteen megabytes ends the connection with 1009', async () => {
  const channel = await open();
  channel.socket.send('z'.repeat((16 << 20) + 1));
  const [code] = await once(channel.socket, 'close');
  assert.equal(code, 1009);
});

channelTest('a cancel of nothing, or of what is no stream, changes nothing', async (channel) => {
  channel.send({ type: 'cancel', id: 'unknown' });
  const answer = channel.request('POST', '/api/execute', { command: 'sleep 0.2; echo done' }, { id: 'plain' });
  channel.send({ type: 'cancel', id: 'plain' });
  assert.equal((await answer).body.stdout, 'done');
  assert.equal(channel.unclaimed.length, 0);
});

test('requests that are running when the connection ends run to their end', async () => {
  const channel = await open();
  await channel.start('POST', '/api/execute', { command: 'sleep 0.2; echo yes > /tmp/survived', sessionId: 'survivor' });
  await channel.request('GET', '/api/ping'); // the one before it has been read
  channel.close();
  const { stdout } = await agent.run('cat /tmp/survived', { session: 'survivor' }); // waits its turn
  assert.equal(stdout, 'yes');
});

test('our close is answered with the code that the client gave', async () => {
  const channel = await open();
  channel.socket.close(3000, 'idle');
  const [code] = await once(channel.socket, 'close');
  assert.equal(code, 3000);
});

test('connections may come and go, each a fresh one', async () => {
  for (let i = 0; i < 100; i++) {
    const channel = await open();
    assert.equal((await channel.request('GET', '/api/ping')).status, 200);
    channel.close();
  }
  const { stdout } = await agent.run('ls /proc/1/fd | wc -l');
  assert.ok(Number(stdout) < 60, `${stdout} descriptors`);
});

test('too many requests of one client at once are refused one by one', async () => {
  const channel = await open();
  const sent = 1100;
  for (let i = 0; i < sent; i++)
    channel.send({ type: 'request', id: `n${i}`, method: 'POST', path: '/api/execute', body: { command: 'true', sessionId: 'many' } });
  const answers = await Promise.all([...Array(sent).keys()].map((i) => channel.answer(`n${i}`)));
  for (const answer of answers)
    assert.ok(answer.status === 200 || /too many requests|descriptors|Too many open files/.test(answer.message), JSON.stringify(answer));
  assert.ok(answers.filter((a) => a.status === 200).length > 100);
  assert.equal((await channel.request('GET', '/api/ping')).status, 200);
  channel.close();
});

test('a client that asks and does not read is paused, and others are not held up', async () => {
  const asked = sanitized ? 25 : 100;
  await agent.run('head -c 4000000 /dev/zero | tr "\\0" q > /tmp/q');
  const channel = await open();
  channel.socket.pause();
  for (let i = 0; i < asked; i++) {
    /* After the first ones nothing can be written any more, and nothing more is begun. */
    if (i === 10) for (let n = 0; n < 20; n++) await agent.run('true');
    channel.send({ type: 'request', id: `q${i}`, method: 'POST', path: '/api/read', body: { path: '/tmp/q' } });
  }
  for (let i = 0; i < 20; i++) assert.equal((await agent.run('echo fine')).stdout, 'fine');
  const rss = Number(/VmRSS:\s+(\d+)/.exec((await agent.run('cat /proc/1/status')).stdout)?.[1] ?? 0);
  channel.socket.resume();
  const answers = await Promise.all([...Array(asked).keys()].map((i) => channel.answer(`q${i}`)));
  for (const answer of answers) assert.equal(answer.body.content.length, 4000000);
  assert.ok(sanitized || rss < 200000, `${rss} kB`);
  channel.close();
});
