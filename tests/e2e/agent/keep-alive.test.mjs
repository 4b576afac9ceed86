// Comments in event streams that are silent: of issue 3, on every route that streams.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freePort } from '../lib/ports.mjs';
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

for (const [name, path, body] of [
  ['execute/stream in a session', '/api/execute/stream', { command: 'sleep 10' }],
  ['execute/stream without one', '/api/execute/stream', { command: 'sleep 10', sessionId: SESSIONLESS }],
  ['watch', '/api/watch', { path: '/workspace' }],
  ['port-watch', '/api/port-watch', { port: freePort, mode: 'tcp' }],
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

test('a silent stream has comments: code that runs', async () => {
  const made = await agent.post('/api/contexts', { language: 'javascript' });
  assert.equal(made.status, 200, made.text);
  const all = await blocks('/api/execute/code', { context_id: made.json.contextId, code: 'await new Promise((done) => setTimeout(done, 10000))' }, afterThree);
  assert.deepEqual([...new Set(comments(all))], [': keep-alive']);
  await agent.request('DELETE', `/api/contexts/${made.json.contextId}`);
});

test('the comment comes when the stream has been silent for so long, not in a rhythm of its own', async () => {
  // An event every quarter of that time leaves no silence to break.
  const command = `for i in {1..13}; do echo $i; sleep ${EVERY * 10 / 4 / 1000}; done; sleep ${EVERY * 10 * 3 / 1000}`;
  const slower = await Agent.start({ args: ['--keep-alive-ms', String(EVERY * 10)] });
  try {
    const response = await slower.request('POST', '/api/execute/stream', { command, sessionId: SESSIONLESS }, { onResponse: true });
    const told = [];
    for await (const piece of response) {
      for (const block of piece.toString().split('\n\n')) if (block) told.push([Date.now(), block.startsWith(':') ? ':' : JSON.parse(block.slice(6)).type]);
      if (told.filter(([, kind]) => kind === ':').length >= 2) break;
    }
    const last = told.findLastIndex(([, kind]) => kind === 'stdout');
    assert.deepEqual(told.slice(0, last + 1).map(([, kind]) => kind), ['start', ...Array(13).fill('stdout')]);
    const silence = told[last + 1][0] - told[last][0];
    assert.ok(silence > EVERY * 10 * 0.9 && silence < EVERY * 10 * 1.6, `${silence} ms`);
  } finally {
    await slower.stop();
  }
});

for (const sessionId of [undefined, 's']) {
  test(`a silent stream has comments: exec, ${sessionId ? 'in a session' : 'without a session'}`, async () => {
    const all = await blocks('/berm/v1/exec', { command: 'echo a; sleep 0.35; echo b', sessionId }, () => false, { unix: true });
    const kinds = all.map((block) => (block.startsWith(':') ? ':' : block.split('\n')[0]));
    assert.ok(comments(all).length >= 3, kinds.join());
    assert.deepEqual(kinds.filter((kind) => kind !== ':'), ['event: stdout', 'event: stdout', 'event: exit']);
  });
}
