// Comments in event streams that are silent: of issue 3, on every route that streams.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS } from './helper.mjs';

const EVERY = 60;
let agent;
before(async () => { agent = await Agent.start({ args: ['--keep-alive-ms', String(EVERY)] }); });
after(() => agent.stop());

// The blocks of a stream as they come, until `enough(blocks)`.
async function blocks(path, body, enough, { method = 'POST', unix = false } = {}) {
  const response = await agent.request(method, path, body, { onResponse: true, unix });
  assert.equal(response.statusCode, 200);
  let text = '';
  for await (const piece of response) {
    text += piece;
    if (enough(text.split('\n\n').slice(0, -1))) break; // which closes it
  }
  return text.split('\n\n').slice(0, -1);
}
const comments = (all) => all.filter((block) => block.startsWith(':'));
const afterThree = (all) => comments(all).length >= 3;

const silent = async () => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
};

for (const [name, path, body] of [
  ['execute/stream in a session', '/api/execute/stream', { command: 'sleep 10' }],
  ['execute/stream without one', '/api/execute/stream', { command: 'sleep 10', sessionId: SESSIONLESS }],
  ['watch', '/api/watch', { path: '/workspace' }],
  ['port-watch', '/api/port-watch', { port: silent, mode: 'tcp' }],
]) {
  test(`a silent stream has comments: ${name}`, async () => {
    const all = await blocks(path, { ...body, ...(body.port ? { port: await body.port() } : {}) }, afterThree);
    assert.deepEqual([...new Set(comments(all))], [': keep-alive']);
  });
}

test('a silent stream has comments: process stream', async () => {
  const id = await agent.process('sleep 10', { sessionId: SESSIONLESS });
  await blocks(`/api/process/${id}/stream`, undefined, afterThree, { method: 'GET' });
  await agent.request('DELETE', `/api/process/${id}`);
});

for (const sessionId of [undefined, 's']) {
  test(`a silent stream has comments: exec, ${sessionId ? 'in a session' : 'without a session'}`, async () => {
    const all = await blocks('/berm/v1/exec', { command: 'echo a; sleep 0.35; echo b', sessionId }, () => false, { unix: true });
    const kinds = all.map((block) => (block.startsWith(':') ? ':' : block.split('\n')[0]));
    assert.ok(comments(all).length >= 3, kinds.join());
    assert.deepEqual(kinds.filter((kind) => kind !== ':'), ['event: stdout', 'event: stdout', 'event: exit']);
  });
}
