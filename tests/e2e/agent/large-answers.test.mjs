// What an answer of tens of megabytes costs the agent: it is held once, whoever takes it and however slowly. (A list is
// held once more while it is made: its route does not send parts.)
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before } from 'node:test';
import { newWebSocketRpcSession } from 'capnweb';
import { WebSocket } from 'ws';

import { test } from '../lib/test.mjs';
import { Agent, SESSIONLESS, sanitized, sleep } from './helper.mjs';

globalThis.WebSocket ??= WebSocket;

const MiB = 1 << 20;
const SIZE = 32 * MiB; // the most that a read answers
const NAMES = 45000; /* of 200 characters, each told three times: as much as the others */
const ODD = ['["]\\\\', '][', '\\"[['];
let agent, pid;
before(async () => {
  agent = await Agent.start();
  pid = await agent.hostPid();
  await agent.run(`head -c ${SIZE} /dev/urandom > /tmp/bytes; yes 'a "line" of text\\' | head -c ${SIZE} > /tmp/text; mkdir /tmp/many; cd /tmp/many; seq -f '%0200.0f' ${NAMES} | xargs touch; touch '["]\\\\' '][' '\\"[['`, { session: SESSIONLESS });
});
after(() => agent.stop());

const memory = async (what) => Number((await readFile(`/proc/${pid}/status`, 'utf8')).match(new RegExp(`${what}:\\s+(\\d+)`))[1]) * 1024;

async function connect(path) {
  const ws = new WebSocket(`ws://127.0.0.1:${agent.port}${path}`, { perMessageDeflate: false, maxPayload: 1 << 30 });
  await once(ws, 'open');
  return ws;
}

// What the agent's memory grows by at its highest while the answer of `ask` waits for a client that does not read.
async function peakOf(ws, ask, size) {
  const idle = await memory('VmRSS');
  await writeFile(`/proc/${pid}/clear_refs`, '5'); // VmHWM begins anew
  const answer = ask();
  ws.pause();
  const deadline = Date.now() + 60000;
  while (!sanitized && (await memory('VmRSS')) - idle < size * 0.9) {
    assert.ok(Date.now() < deadline, 'the answer did not come together');
    await sleep(5);
  }
  ws.resume();
  const result = await answer;
  return { result, peak: (await memory('VmHWM')) - idle };
}

const held = (peak, size, times = 1) => sanitized || assert.ok(peak < size * (times + 0.1) + 2 * MiB, `${(peak / MiB).toFixed(1)} MiB for an answer of ${(size / MiB).toFixed(1)}`);

async function given() { // what the answers took is given back
  if (sanitized) return; // it keeps what was freed, to find who uses it
  for (const deadline = Date.now() + 60000; (await memory('VmRSS')) > 8 * MiB; await sleep(10)) assert.ok(Date.now() < deadline, 'memory stays');
}

const bodies = {
  'a file of bytes': { path: '/api/read', body: { path: '/tmp/bytes', encoding: 'base64' }, size: SIZE * 4 / 3, call: (api) => api.files.readFile('/tmp/bytes', SESSIONLESS, { encoding: 'base64' }),
    check: async (got) => assert.equal((await agent.run(`sha256sum < /tmp/bytes`, { session: SESSIONLESS })).stdout.split(' ')[0],
      (await import('node:crypto')).createHash('sha256').update(Buffer.from(got.content, 'base64')).digest('hex')) },
  'a file of text': { path: '/api/read', body: { path: '/tmp/text' }, size: SIZE * 22 / 18, call: (api) => api.files.readFile('/tmp/text', SESSIONLESS, { encoding: 'utf-8' }),
    check: (got) => { assert.equal(got.content.length, SIZE); assert.equal(got.content, 'a "line" of text\\\n'.repeat(SIZE / 18).padEnd(SIZE, 'a "line" of text\\\n')); } },
  'the output of a command': { path: '/api/execute', body: { command: 'cat /tmp/text', sessionId: SESSIONLESS }, size: SIZE * 22 / 18, call: (api) => api.commands.execute('cat /tmp/text', SESSIONLESS),
    check: (got) => assert.equal(got.stdout.length, SIZE) },
  'a list of files': { path: '/api/list-files', body: { path: '/tmp/many', sessionId: SESSIONLESS }, size: NAMES * 850, times: 2, call: (api) => api.files.listFiles('/tmp/many', SESSIONLESS),
    check: (got) => {
      const names = [...Array.from({ length: NAMES }, (_, i) => `${i + 1}`.padStart(200, '0')), ...ODD].sort();
      assert.deepEqual(got.files.map((file) => file.name).sort(), names);
      assert.ok(got.files.every((file) => file.absolutePath === `/tmp/many/${file.name}`));
      assert.deepEqual([got.count, got.success], [names.length, true]);
    } },
};

for (const [name, { path, body, size, times, call, check }] of Object.entries(bodies)) {
  test(`${name} of 32 MiB is held ${times ? 'twice' : 'once'} on its way over /ws`, async () => {
    const ws = await connect('/ws');
    const { result, peak } = await peakOf(ws, async () => {
      ws.send(JSON.stringify({ type: 'request', id: 'big', method: 'POST', path, body }));
      return JSON.parse((await once(ws, 'message'))[0].toString());
    }, size);
    assert.deepEqual([result.id, result.status, result.done], ['big', 200, true]);
    await check(result.body);
    held(peak, size, times);
    ws.terminate();
    await given();
  });

  test(`${name} of 32 MiB is held ${times ? 'twice' : 'once'} on its way over /rpc`, async () => {
    const ws = await connect('/rpc');
    const api = newWebSocketRpcSession(ws);
    const { result, peak } = await peakOf(ws, async () => call(api), size);
    await check(result);
    held(peak, size, times);
    ws.close();
    await given();
  });
}

test('a client that goes away leaves nothing of a large answer behind', async () => {
  for (const path of ['/ws', '/rpc']) {
    const ws = await connect(path);
    if (path === '/ws') ws.send(JSON.stringify({ type: 'request', id: 'big', method: 'POST', path: '/api/read', body: bodies['a file of bytes'].body }));
    else newWebSocketRpcSession(ws).files.readFile('/tmp/bytes', SESSIONLESS, { encoding: 'base64' }).then(() => {}, () => {});
    ws.pause();
    while ((await memory('VmRSS')) < SIZE) await sleep(5);
    ws.terminate();
    await given();
  }
});

test('a part of a list that is not there yet can be used in the next call', async () => {
  const ws = await connect('/rpc');
  const api = newWebSocketRpcSession(ws);
  const list = api.files.listFiles('/tmp/many', SESSIONLESS);
  const path = list.files[7].absolutePath;
  const found = await api.files.exists(path, SESSIONLESS);
  assert.deepEqual([found.exists, found.path], [true, (await list).files[7].absolutePath]);
  assert.equal((await list).files.length, NAMES + ODD.length);
  ws.close();
});

test('a part of a large result that is not there yet can be used in the next call', async () => {
  const ws = await connect('/rpc');
  const api = newWebSocketRpcSession(ws);
  await agent.run('head -c 2000000 /dev/zero | tr "\\0" q > /tmp/part', { session: SESSIONLESS });
  const read = api.files.readFile('/tmp/part', SESSIONLESS, { encoding: 'utf-8' });
  const written = await api.files.writeFile('/tmp/copy', read.content, SESSIONLESS);
  assert.equal(written.success, true);
  assert.equal((await agent.run('cmp /tmp/part /tmp/copy && stat -c %s /tmp/copy', { session: SESSIONLESS })).stdout.trim(), '2000000');
  assert.equal(await read.path, '/tmp/part');
  assert.equal((await read).content.length, 2000000);
  ws.close();
});
