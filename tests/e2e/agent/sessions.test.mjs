// /api/session/*: reference/container/10, section 2.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Channel } from './channel.mjs';
import { Agent, SESSIONLESS } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());
const create = (body) => agent.post('/api/session/create', body);
const remove = (sessionId) => agent.post('/api/session/delete', { sessionId });

test('create answers the id and the placement id', async () => {
  const reply = await create({ id: 'one', env: { SECRET: 'x' }, cwd: '/tmp', name: 'n', isolation: true });
  assert.equal(reply.status, 200);
  const { timestamp, ...rest } = reply.json;
  assert.equal(typeof timestamp, 'string');
  assert.deepEqual(rest, { success: true, data: { id: 'one' }, containerPlacementId: null });
  assert.equal((await agent.run('pwd; echo $SECRET', { session: 'one' })).stdout, '/tmp\nx');
});

test('a second create of a live session is 409', async () => {
  await create({ id: 'twice' });
  const reply = await create({ id: 'twice' });
  assert.equal(reply.status, 409);
  assert.equal(reply.json.code, 'SESSION_ALREADY_EXISTS');
  assert.deepEqual(reply.json.context, { sessionId: 'twice', containerPlacementId: null });
  assert.match(reply.json.suggestion, /twice/);
});

test('of two creates at once one wins', async () => {
  const replies = await Promise.all([...Array(5)].map(() => create({ id: 'race' })));
  assert.deepEqual(replies.map((r) => r.status).sort(), [200, 409, 409, 409, 409]);
});

test('the placement id comes from the environment', async () => {
  const other = await Agent.start({ env: { CLOUDFLARE_PLACEMENT_ID: 'place' } });
  try {
    assert.equal((await other.post('/api/session/create', { id: 'a' })).json.containerPlacementId, 'place');
    assert.equal((await other.post('/api/session/create', { id: 'a' })).json.context.containerPlacementId, 'place');
  } finally { await other.stop(); }
});

test('an empty, missing or bad body makes a session with an id of its own', async () => {
  for (const body of [undefined, '', '{', 'null', '[]', {}]) {
    const reply = await create(body);
    assert.equal(reply.status, 200);
    assert.match(reply.json.data.id, /^session_\d+_[0-9a-f]{12}$/);
  }
});

test('wrong types are refused with the field', async () => {
  for (const [body, field] of [[{ id: 5 }, 'id'], [{ id: 'x', env: [] }, 'env'], [{ id: 'x', env: { A: 1 } }, 'env'], [{ id: 'x', cwd: 1 }, 'cwd'],
    [{ id: 'x', commandTimeoutMs: '5' }, 'commandTimeoutMs'], [{ id: '  ' }, 'id'], [{ id: 'a\0b' }, 'id'], [{ id: 'x', env: { 'A=B': '' } }, 'env']]) {
    const reply = await create(body);
    assert.equal(reply.status, 400, JSON.stringify(body));
    assert.equal(reply.json.code, 'VALIDATION_FAILED');
    assert.equal(reply.json.context.validationErrors[0].field, field);
  }
});

test('a bad directory is the home directory, silently', async () => {
  assert.equal((await create({ id: 'lost', cwd: '/no/such' })).status, 200);
  assert.equal((await agent.run('pwd; echo ${OLDPWD-unset}', { session: 'lost' })).stdout, '/root\nunset');
  await create({ id: 'relative', cwd: '.' });
  assert.equal((await agent.run('pwd', { session: 'relative' })).stdout, '/workspace');
});

test('a session whose shell has died is replaced', async () => {
  await create({ id: 'phoenix' });
  const { stdout: pid } = await agent.run('echo $$', { session: 'phoenix' });
  await agent.killed(pid);
  assert.equal((await create({ id: 'phoenix', cwd: '/etc' })).status, 200);
  assert.equal((await agent.run('pwd', { session: 'phoenix' })).stdout, '/etc');
});

test('list has all sessions in the order of their creation', async () => {
  const other = await Agent.start();
  try {
    assert.deepEqual((await other.get('/api/session/list')).json.data, []);
    await other.post('/api/session/create', { id: 'b' });
    await other.run(':', { session: 'a' });
    await other.post('/api/exists', { path: '/', sessionId: 'c' });
    await other.run(':', { session: SESSIONLESS });
    const reply = await other.get('/api/session/list');
    assert.deepEqual([reply.json.success, reply.json.data], [true, ['b', 'a', 'c']]);
  } finally { await other.stop(); }
});

test('the first call\'s directory becomes that of a session it makes', async () => {
  assert.equal((await agent.run('pwd', { session: 'implicit', cwd: '/etc' })).stdout, '/etc');
  assert.equal((await agent.run('pwd', { session: 'implicit' })).stdout, '/etc');
});

test('delete ends the shell and forgets its state', async () => {
  const { stdout: pid } = await agent.run('kept=1; echo $$', { session: 'gone' });
  const reply = await remove('gone');
  assert.equal(reply.status, 200);
  assert.deepEqual([reply.json.success, reply.json.sessionId], [true, 'gone']);
  assert.equal((await agent.run(`kill -0 ${pid}`, { session: SESSIONLESS })).exitCode, 1);
  assert.equal((await agent.get('/api/session/list')).json.data.includes('gone'), false);
  assert.equal((await agent.run('echo [$kept]', { session: 'gone' })).stdout, '[]');
});

test('delete of an unknown session is 500, of none 400', async () => {
  const reply = await remove('never');
  assert.equal(reply.status, 500);
  assert.equal(reply.json.code, 'INTERNAL_ERROR');
  assert.deepEqual(reply.json.context, { sessionId: 'never', originalError: 'Session not found' });
  for (const body of [{}, { sessionId: '' }, { sessionId: 5 }, '{', '']) {
    const bad = await agent.post('/api/session/delete', body);
    assert.equal(bad.status, 400);
    assert.equal(bad.json.code, 'VALIDATION_FAILED');
  }
});

test('delete waits for the command that runs; of what waits behind it the first is told', async () => {
  const [runs, go] = [await agent.gate(), await agent.gate()];
  const command = agent.run(`echo >${runs.path}; ${go.wait}; echo done`, { session: 'queue' });
  await agent.run(runs.wait, { session: SESSIONLESS });
  const channel = await Channel.open(agent); // which keeps their order
  const requests = [['/api/session/delete', {}], ['/api/execute', { command: 'echo first' }], ['/api/execute', { command: 'echo second' }]]
    .map(([path, body]) => channel.request('POST', path, { sessionId: 'queue', ...body }));
  assert.equal((await channel.request('GET', '/api/ping')).status, 200); // so they have arrived
  const early = await Promise.race([...requests, 'none']);
  assert.equal(early, 'none', 'an answer while the command runs');
  await go.open();
  assert.equal((await command).stdout, 'done');
  const [deleted, first, second] = (await Promise.all(requests)).map(({ status, body }) => ({ status, ...body }));
  channel.close();
  assert.equal(deleted.status, 200);
  assert.deepEqual([first.status, first.code], [410, 'SESSION_TERMINATED']);
  assert.equal(typeof first.context.exitCode, 'number');
  assert.equal(second.stdout, 'second');
});

test('delete is prompt while an abandoned command runs, and that command goes no further', async () => {
  const go = await agent.gate();
  await agent.run(`${go.wait}; touch /tmp/never`, { session: 'wedged', timeoutMs: 50 });
  assert.equal((await remove('wedged')).status, 200); // the gate is still shut
  const nobody = await agent.run(`timeout 0.5 sh -c 'echo >${go.path}'`, { session: SESSIONLESS });
  assert.equal(nobody.exitCode, 124, 'somebody still waits at the gate');
  assert.equal((await agent.run('test -e /tmp/never', { session: SESSIONLESS })).exitCode, 1);
});

test('delete kills a shell that ignores SIGTERM', async () => {
  const deaf = await agent.gate();
  await agent.run(`trap '' TERM; echo >${deaf.path}; while :; do :; done`, { session: 'stubborn', timeoutMs: 50 });
  await agent.run(deaf.wait, { session: SESSIONLESS });
  const began = Date.now();
  assert.equal((await remove('stubborn')).status, 200);
  const took = Date.now() - began;
  assert.ok(took >= 900 && took < 30000, `${took} ms`);
});

test('what a session left running in the background lives on', async () => {
  const { stdout: pid } = await agent.run('sleep 30 >/dev/null & echo $!', { session: 'daemon' });
  await remove('daemon');
  assert.equal((await agent.run(`kill ${pid}`, { session: SESSIONLESS })).exitCode, 0);
});

test('a session that only touched files has no shell', async () => {
  await agent.post('/api/write', { path: 'x', content: '', sessionId: 'files-only' });
  assert.equal((await remove('files-only')).status, 200);
});

test('the reserved id makes a session that cannot be reached', async () => {
  assert.equal((await create({ id: SESSIONLESS })).status, 200);
  await agent.run('x=1', { session: SESSIONLESS });
  assert.equal((await agent.run('echo [$x]', { session: SESSIONLESS })).stdout, '[]\n');
});
