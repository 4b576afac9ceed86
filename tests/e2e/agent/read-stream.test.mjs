// POST /api/read/stream: reference/container/30, and 90-surprises A26 to A28, B20.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

const put = (path, content) => agent.post('/api/write', { path, content: Buffer.from(content).toString('base64'), encoding: 'base64' });
const read = async (path, more = {}) => (await agent.events('POST', '/api/read/stream', { path, ...more })).rest();

test('a small text is metadata, one chunk, complete', async () => {
  await put('/workspace/a.txt', 'héllo\n');
  const reader = await agent.events('POST', '/api/read/stream', { path: 'a.txt' });
  assert.deepEqual([reader.status, reader.headers['content-type']], [200, 'text/event-stream']);
  assert.deepEqual(await reader.rest(), [
    { type: 'metadata', mimeType: 'text/plain', size: 7, isBinary: false, encoding: 'utf-8' },
    { type: 'chunk', data: 'héllo\n' }, { type: 'complete', bytesRead: 7 }]);
});

test('A27: chunks are 65535 bytes, and each base64 chunk decodes by itself', async () => {
  const bytes = Buffer.alloc(200000, 'abcdefg');
  await put('/workspace/b.png', bytes);
  const events = await read('b.png');
  assert.deepEqual(events[0], { type: 'metadata', mimeType: 'image/png', size: 200000, isBinary: true, encoding: 'base64' });
  const chunks = events.slice(1, -1).map((e) => e.data);
  assert.deepEqual(chunks.map((c) => Buffer.from(c, 'base64').length), [65535, 65535, 65535, 3395]);
  assert.ok(chunks.slice(0, 3).every((c) => c.length === 87380 && !c.includes('=')));
  assert.ok(Buffer.concat(chunks.map((c) => Buffer.from(c, 'base64'))).equals(bytes));
  assert.deepEqual(events.at(-1), { type: 'complete', bytesRead: 200000 });
});

test('a character split between two chunks goes into the later one, and an incomplete last one is U+FFFD', async () => {
  await put('/workspace/c.txt', Buffer.concat([Buffer.alloc(65534, 'x'), Buffer.from('€y'), Buffer.from([0xe2, 0x82])]));
  const events = await read('c.txt');
  assert.deepEqual(events.slice(1).map((e) => e.data?.length ?? e.bytesRead), [65534, 2, 1, 65540]);
  assert.equal(events[2].data + events[3].data, '€y\ufffd');
});

test('a byte order mark is stripped and counted, an empty file has no chunk', async () => {
  await put('/workspace/d.txt', '\ufeffbom');
  assert.deepEqual((await read('d.txt')).slice(1), [{ type: 'chunk', data: 'bom' }, { type: 'complete', bytesRead: 6 }]);
  await put('/workspace/e.txt', '');
  assert.deepEqual((await read('e.txt')).slice(1), [{ type: 'complete', bytesRead: 0 }]);
});

test('a name that says nothing is asked of file(1)', async () => {
  await put('/workspace/script', '#!/bin/sh\necho\n');
  assert.deepEqual((await read('script'))[0], { type: 'metadata', mimeType: 'text/x-shellscript', size: 15, isBinary: false, encoding: 'utf-8' });
});

test('A28: whatever goes wrong is an error event in a stream with status 200', async () => {
  await agent.run('mkdir -p /workspace/dir; mkfifo /workspace/fifo');
  for (const [path, text] of [['/no/such', /not found/], ['dir', /not found/], ['fifo', /not found/], ['/dev/null', /not found/], ['', /non-empty/], [undefined, /non-empty/], ['a\0b', /NUL/], ['x'.repeat(4097), /4096/]]) {
    const reader = await agent.events('POST', '/api/read/stream', { path });
    assert.equal(reader.status, 200);
    const events = await reader.rest();
    assert.deepEqual([events.length, events[0].type], [1, 'error'], path);
    assert.match(events[0].error, text);
  }
  await agent.run('exit 1', { session: 'dead' });
  const pid = (await agent.run('echo $$', { session: 'dead' })).stdout;
  await agent.run(`kill -9 ${pid}; while kill -0 ${pid} 2>/dev/null; do :; done`, { session: SESSIONLESS });
  const events = await read('a.txt', { sessionId: 'dead' });
  assert.deepEqual([events.length, events[0].type], [1, 'error']);
  assert.equal((await read(' ', { sessionId: ' ' }))[0].type, 'error');
});

test('paths are relative to where the session is', async () => {
  await agent.run('mkdir -p /tmp/here; cd /tmp/here; echo in >f.txt', { session: 'there' });
  assert.equal((await read('f.txt', { sessionId: 'there' }))[1].data, 'in\n');
  assert.equal((await read('f.txt', { sessionId: SESSIONLESS }))[0].type, 'error');
});

test('B20: /proc is read to its end although it has no size', async () => {
  const events = await read('/proc/version');
  assert.ok(events.slice(1, -1).length === 1);
});

test('a large file arrives whole while the session is free, and a client that leaves is no trouble', async () => {
  await agent.run('head -c 30000000 /dev/zero | tr "\\0" z >/workspace/big.txt');
  const slow = await agent.events('POST', '/api/read/stream', { path: 'big.txt', sessionId: 'default' });
  assert.equal((await slow.next()).type, 'metadata');
  assert.equal((await agent.run('echo free')).stdout, 'free');
  const left = await agent.events('POST', '/api/read/stream', { path: 'big.txt' });
  await left.next();
  left.close();
  let n = 0;
  let last;
  for (let event; (event = await slow.next()); last = event) n += event.data?.length ?? 0;
  assert.deepEqual([n, last], [30000000, { type: 'complete', bytesRead: 30000000 }]);
});
