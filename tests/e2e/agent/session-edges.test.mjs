/*
 * What upstream's unit tests of the container require of sessions beyond its end-to-end suites (the last part of
 * 95-e2e-requirements.md) and no other file here holds.
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { test } from '../lib/test.mjs';
import { Agent, SESSIONLESS } from './helper.mjs';

let agent;
let count = 0;
const fresh = () => `edge-${++count}`;

before(async () => {
  agent = await Agent.start();
});
after(() => agent.stop());

const run = async (session, command, more = {}) => {
  const reply = await agent.run(command, { session, ...more });
  return [reply.exitCode, reply.stdout, reply.stderr];
};

test('a directory that was deleted under its session, or made a link, is no end of it', async () => {
  const session = fresh();
  await run(session, 'mkdir -p /tmp/under/deep; cd /tmp/under/deep');
  await run(SESSIONLESS, 'rm -rf /tmp/under/deep');
  assert.equal((await run(session, 'echo still here'))[1], 'still here');
  assert.deepEqual(await run(session, 'cd /tmp/under; pwd'), [0, '/tmp/under', '']);
  await run(SESSIONLESS, 'mv /tmp/under /tmp/elsewhere; ln -s /tmp/elsewhere /tmp/under');
  assert.deepEqual((await run(session, 'touch made; ls /tmp/elsewhere')).slice(0, 2), [0, 'made']);
  assert.deepEqual((await run(session, 'cd /tmp/under && ls')).slice(0, 2), [0, 'made']);
});

test('values of variables stay as they are, also when they come back after a command that had others', async () => {
  const session = fresh();
  const odd = '$(touch /tmp/ran) `touch /tmp/ran` "double" \'single\' \\ $HOME * \t end';
  assert.equal((await agent.post('/api/session/create', { id: session, env: { ODD: odd } })).status, 200);
  const shown = async (more) => (await run(session, 'printf %s "$ODD"', more))[1];
  assert.equal(await shown(), odd);
  assert.equal(await shown({ env: { ODD: 'another $(touch /tmp/ran)' } }), 'another $(touch /tmp/ran)');
  assert.equal(await shown(), odd);
  assert.equal((await run(session, 'test -e /tmp/ran'))[0], 1);
});

test('here-documents, with and without quotes, leave the next command alone', async () => {
  const session = fresh();
  assert.equal((await run(session, "V=5; cat <<'A'; cat <<B\n$V `x`\nA\n$V $((V + 1))\nB"))[1], '$V `x`\n5 6');
  assert.equal((await run(session, 'echo next $V'))[1], 'next 5');
  assert.equal((await run(session, "cat > /tmp/doc <<'END'\nline 1\n\nEND\nwc -l </tmp/doc"))[1], '2');
});

test('five first uses of a name at once are of one session', async () => {
  const session = fresh();
  const pids = await Promise.all(Array.from({ length: 5 }, () => run(session, 'echo $$')));
  assert.equal(new Set(pids.map(([, pid]) => pid)).size, 1);
  assert.equal((await agent.get('/api/session/list')).json.data.filter((id) => id === session).length, 1);
});

test('a session that has ended may be made anew; deleting one is told once', async () => {
  const session = fresh();
  assert.equal((await agent.post('/api/execute', { command: 'exit 9', sessionId: session })).status, 410);
  assert.equal((await agent.post('/api/session/create', { id: session, env: { NEW: '1' } })).status, 200);
  assert.equal((await run(session, 'echo $NEW'))[1], '1');
  assert.equal((await agent.post('/api/session/delete', { sessionId: session })).status, 200);
  const again = await agent.post('/api/session/delete', { sessionId: session });
  assert.deepEqual([again.status, again.json.code, again.json.message], [500, 'INTERNAL_ERROR', `Session '${session}' not found`]);
});

test('names of variables that are none are refused, also for taking one away', async () => {
  const session = fresh();
  for (const name of ['1A', 'A-B', 'A B', '', 'Ä', 'A=B', 'A;touch /tmp/ran']) {
    const reply = await agent.post('/api/execute', { command: 'true', sessionId: session, env: { [name]: 'x' } });
    assert.ok(reply.status >= 400, name);
    assert.match(reply.json.message, /environment variable name/i, name);
  }
  assert.equal((await run(session, 'test -e /tmp/ran'))[0], 1);
  assert.equal((await run(session, 'echo $_A1', { env: { _A1: 'ok' } }))[1], 'ok');
});

test('what looks dangerous is nothing to be refused: paths, commands and hosts are the sandbox\'s', async () => {
  for (const path of ['/etc/passwd', '/workspace/../etc/hostname', '/proc/self/status', '/workspace/./a/../b']) {
    const reply = await agent.post('/api/exists', { path, sessionId: 'x' });
    assert.deepEqual([reply.status, reply.json.path], [200, path]);
  }
  assert.equal((await run(fresh(), ':() { :; }; echo "rm -rf / ; sudo; mkfs" | cat'))[0], 0);
  for (const path of ['a\0b', `/${'a'.repeat(4096)}`]) assert.equal((await agent.post('/api/exists', { path, sessionId: 'x' })).status, 400);
});

test('a stream whose session is destroyed has a last event, and one that is destroyed twice is destroyed', async () => {
  const session = fresh();
  const stream = agent.post('/api/execute/stream', { command: 'echo begun; sleep 600', sessionId: session });
  while (!(await agent.get('/api/process/list')).json.processes.some(({ status, command }) => status === 'running' && command === 'echo begun; sleep 600'));
  await agent.post('/api/session/delete', { sessionId: session });
  const events = [...(await stream).text.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json));
  const last = events.at(-1);
  assert.equal(last.type, 'complete');
  assert.notEqual(last.exitCode, 0);
});
