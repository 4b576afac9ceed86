// The published SDK over its RPC transport: what only that has, and how it treats its connection.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { Agent, sleep } from '../agent/helper.mjs';
import { test } from '../lib/test.mjs';
import { Sdk } from './lib/sandbox.mjs';

let agent;
let sdk;
let sandbox;

before(async () => {
  agent = await Agent.start({ env: { SANDBOX_VERSION: '0.12.10' } });
  sdk = await Sdk.open({ origin: `http://127.0.0.1:${agent.port}` }, { transport: 'rpc' });
  sandbox = sdk.sandbox;
});
after(async () => {
  await sdk.close();
  await agent.stop();
});

async function collect(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('a file is written from a stream and read as one', async () => {
  const bytes = new Uint8Array(3 << 20).map((_, i) => i * 7);
  const source = new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 100000) controller.enqueue(bytes.subarray(at, at + 100000));
      controller.close();
    },
  });
  await sandbox.writeFile('/workspace/new/dir/bytes.bin', source);
  const read = await sandbox.readFile('/workspace/new/dir/bytes.bin', { encoding: 'none' });
  assert.deepEqual([read.size, read.mimeType], [bytes.length, 'application/octet-stream']);
  assert.ok((await collect(read.content)).equals(Buffer.from(bytes)));
  await assert.rejects(sandbox.readFile('/workspace/none', { encoding: 'none' }), { code: 'FILE_NOT_FOUND' });
});

test('errors are the SDK\'s types, with context and status', async () => {
  await assert.rejects(sandbox.readFile('/workspace/none'), (error) => {
    assert.deepEqual([error.code, error.httpStatus, error.context.path, error.context.operation],
      ['FILE_NOT_FOUND', 404, '/workspace/none', 'file.read']);
    return true;
  });
  assert.equal(await sandbox.getProcess('none'), null);
});

test('output is heard while a command runs', async () => {
  const heard = [];
  const result = await sandbox.exec('echo one; sleep 0.2; echo two >&2', { stream: true, onOutput: (kind, data) => heard.push([kind, data.trim()]) });
  /* They come from two pipes, which have no order. */
  assert.deepEqual([result.exitCode, heard.sort()], [0, [['stderr', 'two'], ['stdout', 'one']]]);
});

test('a tunnel without cloudflared fails at once and by name', async () => {
  await assert.rejects(sandbox.tunnels.get(8080), (error) => {
    assert.equal(error.code, 'CLOUDFLARED_NOT_FOUND');
    assert.equal(error.context.binary, 'cloudflared');
    return true;
  });
  assert.deepEqual(await sandbox.tunnels.list(), []);
});

// Whether the object has a connection, by the only thing that tells: the control server's sockets.
const connections = async () => {
  const text = (await agent.run('cat /proc/net/tcp', { session: 'counting' })).stdout;
  const port = agent.port.toString(16).toUpperCase().padStart(4, '0');
  return text.split('\n').filter((line) => line.includes(`:${port} `) && / 01 /.test(line)).length;
};

test('after everything is answered the SDK closes its idle connection, and comes back', async () => {
  await sandbox.exec('cd /tmp; export KEPT=here');
  const gate = await agent.gate();
  const reader = (await sandbox.execStream(`echo x; ${gate.wait}`)).getReader();
  await reader.read();
  const busy = await connections(); // while it cannot be idle, for it is closed after a second of that
  await gate.open();
  while (!(await reader.read()).done);
  for (let i = 0; i < 2400 && (await connections()) >= busy; i++) await sleep(25);
  assert.ok((await connections()) < busy, 'the connection stays open: something was not released');
  assert.equal((await sandbox.exec('pwd; echo $KEPT')).stdout, '/tmp\nhere');
});

test('five files of thirty-one megabytes at once, and the sandbox answers after them', async () => {
  const content = 'x'.repeat(31 << 20);
  await Promise.all(Array.from({ length: 5 }, (_, i) => sandbox.writeFile(`/workspace/burst-${i}`, content)));
  assert.equal((await sandbox.exec('stat -c %s /workspace/burst-*')).stdout, Array(5).fill(31 << 20).join('\n'));
});

test('many calls at once are all answered', async () => {
  const all = await Promise.all(Array.from({ length: 300 }, (_, i) => sandbox.writeFile(`/workspace/many-${i}`, `${i}`)));
  assert.ok(all.every((r) => r.success));
  assert.equal((await sandbox.exec('cat /workspace/many-* | wc -c')).stdout.trim(), String(10 + 180 + 600));
});
