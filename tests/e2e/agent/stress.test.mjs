// Many things at once.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

test('eight sessions, each with its own state, keep theirs apart', async () => {
  await Promise.all([...Array(8).keys()].map(async (s) => {
    const session = `s${s}`;
    await agent.run(`n=0; me=${s}`, { session });
    for (let i = 1; i <= 60; i++) {
      const reply = await agent.run(i % 3 ? 'n=$((n+1)); echo $me $n' : 'n=$((n+1)); /bin/echo $me $n; echo $me >&2; (exit $me)', { session });
      assert.equal(reply.stdout, `${s} ${i}`);
      if (i % 3 === 0) assert.deepEqual([reply.stderr, reply.exitCode], [`${s}`, s]);
    }
  }));
});

test('sessions, sessionless commands, files and dying shells, all mixed', async () => {
  await Promise.all([...Array(8).keys()].map(async (k) => {
    for (let i = 0; i < 25; i++) {
      const session = `mix${(k + i) % 5}`;
      const kind = (k * 7 + i) % 6;
      if (kind === 0) assert.ok([200, 410].includes((await agent.run('kill -9 $$', { session })).status));
      if (kind === 1) assert.ok([200, 410].includes((await agent.run('sleep 0.01 & echo x', { session })).status));
      if (kind === 2) assert.equal((await agent.run('echo $((1+1))', { session: SESSIONLESS })).stdout, '2\n');
      if (kind === 3) assert.ok([200, 410].includes((await agent.post('/api/write', { path: `/tmp/mix/${k}`, content: `${i}`, sessionId: session })).status));
      if (kind === 4) assert.ok([200, 500].includes((await agent.post('/api/session/delete', { sessionId: session })).status));
      if (kind === 5) assert.equal((await agent.exec({ argv: ['echo', 'x'] })).stdout.toString(), 'x\n');
    }
  }));
  assert.equal((await agent.run('echo calm', { session: 'afterwards' })).stdout, 'calm');
});

test('output of several megabytes from several sessions at once', async () => {
  const replies = await Promise.all([...Array(4).keys()].map((s) => agent.run(`head -c 5000000 /dev/zero | tr '\\0' ${s}`, { session: `big${s}` })));
  replies.forEach((reply, s) => assert.ok(reply.stdout.length === 5000000 && /^(.)\1*$/.test(reply.stdout) && reply.stdout[0] === `${s}`));
});

test('hundreds of commands that wait for one session all run, once each', async () => {
  const replies = await Promise.all([...Array(300).keys()].map((i) => agent.run(`echo ${i}; seen="$seen ${i}"`, { session: 'queue' })));
  replies.forEach((reply, i) => assert.equal(reply.stdout, `${i}`));
  const seen = (await agent.run('echo $seen', { session: 'queue' })).stdout.split(' ').map(Number);
  assert.deepEqual(seen.sort((a, b) => a - b), [...Array(300).keys()]);
});

test('more output than the limit is a clear error, and the session stays', async () => {
  const status = await agent.run("awk '/MemTotal/ { print $2 }' /proc/meminfo", { session: SESSIONLESS });
  const limit = Math.min(512 * 1024 * 1024, (Number(status.stdout) * 1024) / 4);
  const tooMuch = `head -c ${Math.ceil(limit) + 100000000} /dev/zero`;
  for (const session of [SESSIONLESS, 'over']) {
    const reply = await agent.run(tooMuch, { session });
    assert.deepEqual([reply.status, reply.code], [500, 'COMMAND_EXECUTION_ERROR']);
    assert.match(reply.message, /larger than the limit/);
  }
  assert.equal((await agent.run('echo fine', { session: 'over' })).stdout, 'fine');
});
