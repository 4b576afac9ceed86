// /api/process/...: reference/container/20, and 90-surprises A19 to A24, B1, B22.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS, logsAtOnce, sanitized, sleep, textOf } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start({ env: { FROM_IMAGE: 'image' } }); });
after(() => agent.stop());

let counter = 0;
const fresh = () => `fresh-${counter++}`;
const kill = (id, query = '') => agent.request('DELETE', `/api/process/${id}${query}`);
const alive = async (pid) => (await agent.run(`kill -0 ${pid} 2>/dev/null && grep -qv ') Z' /proc/${pid}/stat`, { session: SESSIONLESS })).exitCode === 0;
async function until(condition, ms = 60000) {
  for (const end = Date.now() + ms; ; await sleep(10)) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `not within ${ms} ms: ${condition}`);
  }
}
const logs = async (id) => (await agent.get(`/api/process/${id}/logs`)).json;
const logsAtEnd = async (id) => {
  await agent.ended(id);
  return logs(id);
};

test('start answers with an id and a pid, and the process is listed as running at once', async () => {
  const reply = await agent.post('/api/process/start', { command: 'sleep 60' });
  assert.equal(reply.status, 200);
  const { processId, pid, timestamp, ...rest } = reply.json;
  assert.deepEqual(rest, { success: true, command: 'sleep 60' });
  assert.match(processId, /^proc_\d{13}_[a-z0-9]{6}$/);
  assert.ok(Number.isInteger(pid));
  assert.match(timestamp, /Z$/);
  const list = (await agent.get('/api/process/list')).json;
  const entry = list.processes.find((p) => p.id === processId);
  const { startTime, ...members } = entry;
  assert.deepEqual(members, { id: processId, pid, command: 'sleep 60', status: 'running' });
  assert.match(startTime, /^\d{4}-.*Z$/);
  assert.equal(list.success, true);
  await kill(processId);
});

test('A23: the logs of a short command are whole right after its start', async () => {
  for (let i = 0; i < 20; i++) {
    for (const sessionId of [undefined, SESSIONLESS]) {
      let id;
      const { stdoutOffset, stderrOffset, timestamp, ...rest } = await logsAtOnce(
        async () => (id = await agent.process(`echo hello ${i}; echo err >&2`, { sessionId })), logs, ({ stdout, stderr }) => stdout && stderr);
      assert.deepEqual(rest, { success: true, processId: id, stdout: `hello ${i}\n`, stderr: 'err\n' });
    }
  }
});

test('a record tells status, times and exit code', async () => {
  const cases = [['true', 'completed', 0], ['exit 3', 'failed', 3], ['(exit 137)', 'killed', 137], ['exit 143', 'killed', 143], ['(exit 124)', 'failed', 124],
    ['kill -9 $BASHPID', 'killed', 137], ['kill -INT $BASHPID; exec sh -c "kill -USR1 \\$\\$"', 'failed', 138]];
  for (const [command, status, exitCode] of cases) {
    const record = await agent.ended(await agent.process(command));
    const { id, pid, startTime, endTime, ...rest } = record;
    assert.deepEqual(rest, { command, status, exitCode });
    assert.ok(Date.parse(endTime) >= Date.parse(startTime));
  }
});

test('the list is filtered by status, running ones come first, and an unknown status is an empty list', async () => {
  const session = fresh();
  const done = await agent.process('true', { sessionId: session });
  await agent.ended(done);
  const running = await agent.process('sleep 60', { sessionId: session });
  const ids = async (query) => (await agent.get(`/api/process/list${query}`)).json.processes.map((p) => p.id);
  const all = await ids('');
  assert.ok(all.indexOf(running) < all.indexOf(done));
  assert.deepEqual(await ids('?status=running'), [running]);
  assert.ok((await ids('?status=completed')).includes(done));
  assert.deepEqual(await ids('?status=nonsense'), []);
  const entry = (await agent.get('/api/process/list')).json.processes.find((p) => p.id === done);
  assert.deepEqual(Object.keys(entry).sort(), ['command', 'exitCode', 'id', 'pid', 'startTime', 'status']);
  await kill(running);
});

test('unknown ids are PROCESS_NOT_FOUND, in every route', async () => {
  for (const [method, path] of [['GET', ''], ['GET', '/logs'], ['GET', '/stream'], ['DELETE', '']]) {
    const { status, json } = await agent.request(method, `/api/process/no-such${path}`);
    assert.deepEqual([status, json.code, json.context], [404, 'PROCESS_NOT_FOUND', { processId: 'no-such' }]);
    assert.match(json.message, /not found/i);
    assert.equal(typeof json.suggestion, 'string');
  }
  assert.equal((await agent.get('/api/process/')).status, 404);
  assert.equal((await agent.get('/api/process/a%20b')).json.context.processId, 'a%20b');
});

test('B22: an id of the client is taken as it is, whatever it looks like, and no file has its name', async () => {
  for (const id of ['../../tmp/evil', 'with space', 'ü', 'x'.repeat(5000)]) {
    assert.equal(await agent.process('echo x', { processId: id }), id);
    assert.ok((await agent.get('/api/process/list')).json.processes.some((p) => p.id === id));
  }
  assert.equal((await agent.run('ls -a /tmp | grep evil')).exitCode, 1);
});

test('an id that is used again means the new process', async () => {
  const id = fresh();
  const session = fresh();
  await agent.process('echo first', { processId: id });
  assert.equal((await logsAtEnd(id)).stdout, 'first\n');
  await agent.process('echo second; sleep 60', { processId: id, sessionId: session });
  await until(async () => (await logs(id)).stdout === 'second\n');
  const pid = (await agent.record(id)).pid;
  await agent.process('echo third', { processId: id });
  assert.equal((await logsAtEnd(id)).stdout, 'third\n');
  assert.equal((await agent.get('/api/process/list')).json.processes.filter((p) => p.id === id).length, 1);
  assert.ok(await alive(pid));
  await agent.post('/api/session/delete', { sessionId: session }); // the one that nobody can name goes with its session
  await until(async () => !(await alive(pid)));
});

test('execute with background answers like start', async () => {
  for (const sessionId of [undefined, SESSIONLESS]) {
    const { status, json } = await agent.post('/api/execute', { command: 'echo bg', background: true, sessionId });
    const { processId, pid, timestamp, ...rest } = json;
    assert.deepEqual([status, rest], [200, { success: true, command: 'echo bg' }]);
    assert.equal((await logsAtEnd(processId)).stdout, 'bg\n');
  }
});

test('A8: the shape of the output is by lines in a session and raw without one', async () => {
  assert.equal((await logsAtEnd(await agent.process("printf 'a\\0b\\nx'"))).stdout, 'ab\nx\n');
  assert.equal((await logsAtEnd(await agent.process("printf 'a\\0b\\nx'", { sessionId: SESSIONLESS }))).stdout, 'a\0b\nx');
});

test('the session of start comes from the body only (A35), and a blank one is an error', async () => {
  const id = fresh();
  await agent.run('where=here', { session: id });
  const reply = await agent.post('/api/process/start', { command: 'echo [$where]' }, { headers: { 'X-Session-Id': id } });
  assert.equal((await logsAtEnd(reply.json.processId)).stdout, '[]\n');
  for (const sessionId of ['', ' ']) {
    const { status, json } = await agent.post('/api/process/start', { command: 'x', sessionId });
    assert.deepEqual([status, json.code, json.context.command], [500, 'STREAM_START_ERROR', 'x']);
  }
});

test('errors of start', async () => {
  for (const command of ['', ' ', undefined]) {
    const { status, json } = await agent.post('/api/process/start', { command });
    assert.deepEqual([status, json.code, json.context], [400, 'INVALID_COMMAND', {}]);
  }
  const { status, json } = await agent.post('/api/process/start', { command: 'x', sessionId: SESSIONLESS, cwd: '/nowhere', processId: 'never' });
  assert.deepEqual([status, json.code], [500, 'STREAM_START_ERROR']);
  const record = await agent.record('never');
  assert.equal(record.status, 'error');
  assert.equal('exitCode' in record || 'pid' in record, false);
  assert.match((await logs('never')).stderr, /working directory/);
  assert.equal((await agent.post('/api/process/start', { command: 'x', env: [] })).json.code, 'VALIDATION_FAILED');
  assert.equal((await agent.post('/api/process/start', { command: 'x', logLimit: 5 })).json.code, 'VALIDATION_FAILED');
});

test('a name of a variable that no shell takes is a process with status error', async () => {
  const { status, json } = await agent.post('/api/process/start', { command: 'echo ran', env: { '1A': 'x' } });
  assert.equal(status, 200);
  const record = await agent.record(json.processId);
  assert.deepEqual([record.status, 'exitCode' in record], ['error', false]);
  assert.match((await logs(json.processId)).stderr, /Invalid environment variable name/);
  const events = await (await agent.events('GET', `/api/process/${json.processId}/stream`)).rest();
  assert.deepEqual([events.at(-1).type, 'exitCode' in events.at(-1)], ['exit', false]);
});

test('A5: the time limit counts without a session only: 124, failed, and a line on stderr', async () => {
  const id = await agent.process('echo begun; printf open >&2; sleep 60 & sleep 60', { sessionId: SESSIONLESS, timeoutMs: 5000 });
  const record = await agent.ended(id);
  assert.deepEqual([record.status, record.exitCode], ['failed', 124]);
  const { stdout, stderr } = await logs(id);
  assert.equal(stdout, 'begun\n');
  /* bash may get to say that a child was terminated before it is. */
  assert.match(stderr, /^open(Terminated)?\nCommand timed out after 5000ms\n$/);
  const other = await agent.process('sleep 0.3; echo late', { timeoutMs: 50 });
  assert.equal((await agent.ended(other)).exitCode, 0);
});

test('A24: any session sees, kills and waits for the processes of another', async () => {
  const id = await agent.process('sleep 60', { sessionId: fresh() });
  await agent.run('true', { session: fresh() });
  assert.equal((await agent.record(id)).status, 'running');
  assert.equal((await kill(id)).status, 200);
});

test('a running process does not hold its session', async () => {
  const session = fresh();
  const id = await agent.process('sleep 60', { sessionId: session });
  const begun = Date.now();
  assert.equal((await agent.run('echo free', { session })).stdout, 'free');
  assert.ok(Date.now() - begun < 30000);
  await kill(id);
});

// --- kill ---

test('A19: killing twice is COMMAND_NOT_FOUND with the id as command', async () => {
  const id = await agent.process('sleep 60');
  const reply = await kill(id);
  assert.deepEqual([reply.status, reply.json.success, reply.json.processId], [200, true, id]);
  assert.deepEqual([(await agent.record(id)).status, (await agent.record(id)).exitCode], ['killed', 143]);
  const again = await kill(id);
  assert.deepEqual([again.status, again.json.code, again.json.context], [404, 'COMMAND_NOT_FOUND', { command: id }]);
});

for (const sessionId of [undefined, SESSIONLESS]) {
  const where = sessionId ? 'without a session' : 'in a session';

  test(`A20: a kill takes four levels of shells and a background child, ${where}`, async () => {
    const tag = `600.${counter++}`;
    const id = await agent.process(`bash -c "bash -c \\"bash -c 'sleep ${tag} & sleep ${tag}; true'; true\\"; true"; true`, { sessionId });
    const count = async () => Number((await agent.run(`grep -lz "^${tag}$" /proc/[0-9]*/cmdline | wc -l`, { session: SESSIONLESS })).stdout);
    await until(async () => (await count()) === 2);
    await kill(id);
    assert.equal(await count(), 0);
    assert.equal((await agent.record(id)).status, 'killed');
  });

  test(`A20: what ignores SIGTERM is killed after five seconds: killed, 137, ${where}`, async () => {
    const id = await agent.process("bash -c 'trap \"\" TERM; echo up; while :; do :; done'", { sessionId });
    await until(async () => (await logs(id)).stdout === 'up\n');
    const begun = Date.now();
    assert.equal((await kill(id)).status, 200);
    const took = Date.now() - begun;
    assert.ok(took >= 4000 && took < 20000, `${took}`);
    const record = await agent.record(id);
    assert.deepEqual([record.status, record.exitCode], ['killed', 137]);
  });

  test(`a process that ends well on SIGTERM keeps its code and is killed all the same, ${where}`, async () => {
    const id = await agent.process("trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done", { sessionId });
    await until(async () => (await logs(id)).stdout === 'up\n');
    await kill(id);
    assert.equal((await logs(id)).stdout, 'up\nbye\n');
    const record = await agent.record(id);
    assert.deepEqual([record.status, record.exitCode], ['killed', 5]);
  });
}

test('without a session a kill also finds orphans of its session', async () => {
  const id = await agent.process('(sleep 61 & sleep 61 & echo $!) ; sleep 60', { sessionId: SESSIONLESS });
  const pid = await until(async () => (await logs(id)).stdout.trim());
  await kill(id);
  assert.equal(await alive(pid), false);
});

// Ways of becoming a daemon: nothing that goes up from it, no group and no session leads to who started it.
const daemons = {
  'setsid and a second fork': (tag) => `(setsid bash -c "sleep ${tag} & exit" </dev/null >/dev/null 2>&1 &)`,
  'daemon(3), which also changes to a clean environment': (tag) =>
    `python3 -c 'import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\nos.closerange(0, 64)\nos.execve("/bin/sleep", ["sleep", "${tag}"], {})'`,
  'nohup': (tag) => `(nohup setsid sleep ${tag} </dev/null >/dev/null 2>&1 &)`,
  'a daemon of a daemon that takes no SIGTERM': (tag) =>
    `(setsid bash -c 'trap "" TERM HUP; (setsid bash -c "sleep ${tag} & sleep ${tag} & exit" &); sleep ${tag}' </dev/null >/dev/null 2>&1 &)`,
};
const withTag = async (tag) => (await agent.run(`grep -lz "^${tag}$" /proc/[0-9]*/cmdline | wc -l`, { session: SESSIONLESS })).stdout.trim();
const ends = {
  'its kill': async (id) => assert.equal((await kill(id)).status, 200),
  'its kill by SIGKILL': async (id) => assert.equal((await kill(id, '?signal=KILL')).status, 200),
  'kill-all': async () => assert.equal((await agent.request('DELETE', '/api/process/kill-all')).status, 200),
  'the end of its session': async (id, session) => {
    assert.equal((await agent.post('/api/session/delete', { sessionId: session })).status, 200);
    await agent.ended(id);
  },
};

for (const [how, daemon] of Object.entries(daemons)) {
  for (const [end, stop] of Object.entries(ends)) {
    for (const sessionless of [false, true]) {
      if (sessionless && end === 'the end of its session') continue;
      test(`${how}: ${end} takes it along, ${sessionless ? 'without a session' : 'in a session'}`, async () => {
        const tag = `600.${counter++}`, session = sessionless ? SESSIONLESS : fresh();
        const id = await agent.process(`${daemon(tag)}; sleep 600.99`, { sessionId: session });
        const other = await agent.process(`${daemons.nohup('601.5')}; sleep 600.98`, { sessionId: end === 'kill-all' ? session : fresh() });
        const expected = how.includes('daemon of a daemon') ? '3' : '1';
        await until(async () => (await withTag(tag)) === expected && (await withTag('601.5')) === '1');
        const begun = Date.now();
        await stop(id, session);
        assert.ok(Date.now() - begun < 14000);
        assert.equal(await withTag(tag), '0');
        assert.equal((await agent.record(id)).status, 'killed');
        assert.equal(await withTag('601.5'), end === 'kill-all' ? '0' : '1'); // it belongs to somebody else
        if (end !== 'kill-all') await kill(other);
        assert.equal(await withTag('601.5'), '0');
      });
    }
  }
}

test('a daemon that goes on forking while it is killed is ended with what it has made', async () => {
  for (const sessionId of [fresh(), SESSIONLESS]) {
    const tag = `600.${counter++}`;
    const id = await agent.process(`(setsid bash -c 'while :; do (setsid sleep ${tag} &); sleep 0.005; done' >/dev/null 2>&1 &); sleep 600.99`, { sessionId });
    await until(async () => Number(await withTag(tag)) > 20);
    assert.equal((await kill(id)).status, 200);
    const left = await withTag(tag);
    assert.equal(left, '0');
  }
});

test('a signal of one\'s choice reaches daemons, too', async () => {
  const id = await agent.process(`(setsid bash -c 'trap "echo got it; exit" USR1; echo up; while :; do sleep 0.02; done' &); trap : USR1; while :; do sleep 0.02; done`, { sessionId: fresh() });
  await until(async () => (await logs(id)).stdout === 'up\n');
  await agent.post(`/api/process/${id}/signal`, { signal: 'USR1' });
  await until(async () => (await logs(id)).stdout === 'up\ngot it\n');
  await kill(id);
});

test('what a process has left behind at its own end lives on, and so do the daemons of commands', async () => {
  const session = fresh(), tag = `600.${counter++}`;
  await agent.ended(await agent.process(daemons.nohup(tag), { sessionId: session }));
  await agent.run(daemons.nohup(tag), { session });
  await until(async () => (await withTag(tag)) === '2');
  await agent.post('/api/session/delete', { sessionId: session });
  await agent.request('DELETE', '/api/process/kill-all');
  assert.equal(await withTag(tag), '2');
  await agent.run(`kill $(grep -lz "^${tag}$" /proc/[0-9]*/cmdline | cut -d/ -f3)`, { session: SESSIONLESS });
});

test('a kill does not wait for the lock of the session', async () => {
  const session = fresh();
  const id = await agent.process('sleep 60', { sessionId: session });
  const go = await agent.gate();
  const busy = agent.run(`${go.wait}; echo done`, { session });
  assert.equal((await kill(id)).status, 200);
  await go.open();
  assert.equal((await busy).stdout, 'done');
});

test('kill-all takes all at once, also stubborn ones, and counts them', async () => {
  await agent.request('DELETE', '/api/process/kill-all');
  const ids = [];
  for (let i = 0; i < 12; i++) ids.push(await agent.process('sleep 60', { sessionId: i % 2 ? SESSIONLESS : fresh() }));
  for (let i = 0; i < 3; i++) ids.push(await agent.process("trap '' TERM; echo up; while :; do sleep 1; done", { sessionId: fresh() }));
  for (const id of ids.slice(-3)) await until(async () => (await logs(id)).stdout === 'up\n');
  const begun = Date.now();
  const { status, json } = await agent.request('DELETE', '/api/process/kill-all');
  assert.deepEqual([status, json.cleanedCount], [200, 15]);
  assert.ok(Date.now() - begun < 14000); // not 5 seconds each
  for (const id of ids) assert.equal((await agent.record(id)).status, 'killed');
  assert.deepEqual((await agent.get('/api/process/list?status=running')).json.processes, []);
  assert.equal((await agent.request('DELETE', '/api/process/kill-all')).json.cleanedCount, 0);
});

test('deleting a session kills its processes, whose streams get their end', async () => {
  const session = fresh();
  const id = await agent.process('trap "" TERM; echo up; sleep 60', { sessionId: session });
  const other = await agent.process('sleep 60', { sessionId: fresh() });
  const reader = await agent.events('GET', `/api/process/${id}/stream`);
  await agent.post('/api/session/delete', { sessionId: session });
  assert.equal((await reader.rest()).at(-1).type, 'exit');
  assert.deepEqual([(await agent.record(id)).status, (await agent.record(id)).exitCode], ['killed', 137]);
  assert.equal((await agent.record(other)).status, 'running');
  await kill(other);
});

test('A22: what has ended stays, also when its session is gone', async () => {
  const session = fresh();
  const id = await agent.process('echo kept', { sessionId: session });
  await agent.ended(id);
  await agent.post('/api/session/delete', { sessionId: session });
  assert.equal((await logs(id)).stdout, 'kept\n');
  assert.equal((await kill(id)).json.code, 'COMMAND_NOT_FOUND');
});

// --- streams ---

test('a log stream replays, goes on live, and ends with exit', async () => {
  const go = await agent.gate();
  const id = await agent.process(`echo one; echo two; echo bad >&2; ${go.wait}; echo three; exit 4`);
  await until(async () => {
    const { stdout, stderr } = await logs(id);
    return stdout === 'one\ntwo\n' && stderr === 'bad\n';
  });
  const reader = await agent.events('GET', `/api/process/${id}/stream`);
  assert.equal(reader.headers['content-type'], 'text/event-stream');
  const replayed = [await reader.next(), await reader.next(), await reader.next()];
  await go.open();
  const events = [...replayed, ...await reader.rest()].map(({ timestamp, offset, ...e }) => e);
  assert.deepEqual(events, [
    { type: 'process_info', processId: id, command: (await agent.record(id)).command, status: 'running' },
    { type: 'stdout', data: 'one\ntwo\n', processId: id },
    { type: 'stderr', data: 'bad\n', processId: id },
    { type: 'stdout', data: 'three\n', processId: id },
    { type: 'exit', processId: id, exitCode: 4, data: 'Process failed with exit code 4' }]);
  const replay = (await (await agent.events('GET', `/api/process/${id}/stream`)).rest()).map((e) => [e.type, e.data]);
  assert.deepEqual(replay.slice(1, 3), [['stdout', 'one\ntwo\nthree\n'], ['stderr', 'bad\n']]);
});

test('nothing is lost or told twice between replay and live', async () => {
  const id = await agent.process('for ((i = 0; i < 20000; i++)); do echo $i; done');
  const readers = [];
  for (let i = 0; i < 8; i++) {
    readers.push(agent.events('GET', `/api/process/${id}/stream`).then((r) => r.rest()));
    await sleep(5);
  }
  const want = Array.from({ length: 20000 }, (_, i) => `${i}\n`).join('');
  for (const events of await Promise.all(readers)) {
    assert.equal(textOf(events, 'stdout'), want);
    assert.equal(events.at(-1).type, 'exit');
  }
});

test('?from= goes on where a stream was left, by the offsets of its events', async () => {
  const go = await agent.gate();
  const id = await agent.process(`echo a; echo b >&2; ${go.wait}; echo c; echo d >&2; sleep 0.3; echo e`);
  const first = await agent.events('GET', `/api/process/${id}/stream`);
  const offsets = { stdout: 0, stderr: 0 };
  let seen = '';
  while (!(seen.includes('a') && seen.includes('b'))) {
    const event = await first.next();
    if (event.offset !== undefined) { offsets[event.type] = event.offset; seen += event.data; }
  }
  first.close();
  const second = await agent.events('GET', `/api/process/${id}/stream?from=${offsets.stdout},${offsets.stderr}`);
  await go.open();
  const rest = await second.rest();
  assert.deepEqual([textOf(rest, 'stdout'), textOf(rest, 'stderr'), rest.at(-1).type], ['c\ne\n', 'd\n', 'exit']);
  const some = (await agent.get(`/api/process/${id}/logs?from=2,99`)).json;
  assert.deepEqual([some.stdout, some.stderr, some.stdoutOffset, some.stderrOffset], ['c\ne\n', '', 6, 4]);
  for (const from of ['x', '1,y', '-1', '']) assert.equal((await agent.get(`/api/process/${id}/stream?from=${from}`)).status, 400, from);
});

test('what the bounded log has lost is marked, in logs and in streams', async () => {
  const id = await agent.process('seq 100000', { logLimit: 65536 });
  await agent.ended(id);
  const all = Array.from({ length: 100000 }, (_, i) => `${i + 1}\n`).join('');
  const { stdout, stdoutOffset, stdoutTruncated } = await logs(id);
  assert.equal(stdoutOffset, all.length);
  assert.equal(stdoutTruncated, all.length - 65536);
  assert.equal(stdout, all.slice(-65536));
  const events = await (await agent.events('GET', `/api/process/${id}/stream`)).rest();
  assert.deepEqual([events[1].type, events[1].stream, events[1].bytes], ['truncated', 'stdout', all.length - 65536]);
  assert.equal(textOf(events, 'stdout'), all.slice(-65536));
});

test('races of streams leave the server and the session as they were', async () => {
  const session = fresh();
  const endless = await agent.process('while :; do echo x; done', { sessionId: session });
  for (let i = 0; i < 5; i++) {
    const reader = await agent.events('GET', `/api/process/${endless}/stream`);
    await reader.next();
    reader.close();
  }
  await Promise.all([1, 2, 3].map(async () => {
    const reader = await agent.events('GET', `/api/process/${endless}/stream`);
    for (let i = 0; i < 3; i++) await reader.next();
    reader.close();
  }));
  for (let i = 0; i < 10; i++) {
    const reader = await agent.events('GET', `/api/process/${await agent.process('sleep 0.01', { sessionId: session })}/stream`);
    await sleep(i * 2);
    reader.close();
  }
  assert.equal((await agent.run('echo alive', { session })).stdout, 'alive');
  await kill(endless);
});

test('a reader that does not read stops neither the process nor the other readers, and still gets the end', async () => {
  const id = await agent.process('head -c 40000000 /dev/zero | tr "\\0" a | fold -w 99; echo fin >&2', { sessionId: SESSIONLESS });
  const slow = await agent.events('GET', `/api/process/${id}/stream`);
  slow.response.pause();
  const fast = await (await agent.events('GET', `/api/process/${id}/stream`)).rest();
  assert.equal(textOf(fast, 'stdout').length, 40000000 + Math.ceil(40000000 / 99) - 1 + (40000000 % 99 ? 0 : 0));
  assert.equal(textOf(fast, 'stderr'), 'fin\n');
  assert.equal((await agent.record(id)).status, 'completed');
  const late = await slow.rest();
  assert.equal(textOf(late, 'stdout').length, textOf(fast, 'stdout').length);
  assert.equal(late.at(-1).exitCode, 0);
});

test('a hundred megabytes of logs are kept, served whole, and do not make the agent fat', async () => {
  const rss = async () => Number((await agent.run("awk '/^VmRSS/{print $2}' /proc/1/status", { session: SESSIONLESS })).stdout);
  const id = await agent.process('head -c 100000000 /dev/zero | tr "\\0" b', { sessionId: SESSIONLESS });
  await agent.ended(id, 60000);
  const { stdout } = await logs(id);
  assert.equal(stdout.length, 100000000);
  if (!sanitized) assert.ok((await rss()) < 4096, `${await rss()} KiB`);
});

test('the records of hundreds of processes are whole, and do not make the agent fat', async () => {
  const mine = await Agent.start();
  try {
    const rss = async () => Number((await mine.run("awk '/^VmRSS/{print $2}' /proc/1/status", { session: SESSIONLESS })).stdout);
    const start = (i, more) => mine.process(`printf 'out ${i}'; printf 'err ${i}' >&2; exit ${i % 3}`, { processId: `p${i}`, sessionId: SESSIONLESS, ...more });
    const before = await rss();
    for (let i = 0; i < 600; i += 6) await Promise.all([0, 1, 2, 3, 4, 5].map((k) => start(i + k)));
    for (let i = 594; i < 600; i++) await mine.ended(`p${i}`);
    if (!sanitized) assert.ok((await rss()) - before < 220, `${before} to ${await rss()} KiB`); // half a kilobyte each would be 300
    const list = (await mine.get('/api/process/list')).json.processes;
    assert.deepEqual(list.map((p) => p.id).sort(), Array.from({ length: 600 }, (_, i) => `p${i}`).sort());
    for (const i of [0, 1, 2, 300, 599, 0]) {
      const { id, command, status, exitCode, startTime, endTime, ...rest } = await mine.record(`p${i}`);
      assert.deepEqual([id, command, status, exitCode], [`p${i}`, `printf 'out ${i}'; printf 'err ${i}' >&2; exit ${i % 3}`, i % 3 ? 'failed' : 'completed', i % 3]);
      assert.ok(Date.parse(endTime) >= Date.parse(startTime));
      assert.deepEqual(Object.keys(rest), ['pid']);
      const { stdout, stderr } = (await mine.get(`/api/process/p${i}/logs`)).json;
      assert.deepEqual([stdout, stderr], [`out ${i}`, `err ${i}`]);
      const events = await (await mine.events('GET', `/api/process/p${i}/stream?from=4`)).rest();
      assert.deepEqual([textOf(events, 'stdout'), events.at(-1).exitCode], [`${i}`, i % 3]);
    }
    assert.equal((await mine.get('/api/process/list?status=failed')).json.processes.length, 400);
    // An id that is used again means the new process, also when the old one is far away.
    await start(5, { processId: 'p7' });
    assert.equal((await mine.ended('p7')).exitCode, 2);
    assert.equal((await mine.get('/api/process/list')).json.processes.length, 600);
    assert.equal((await mine.request('DELETE', '/api/process/p10')).json.code, 'COMMAND_NOT_FOUND');
  } finally {
    await mine.stop();
  }
});

// --- ours: stdin and signals ---

for (const sessionId of [undefined, SESSIONLESS]) {
  const where = sessionId ? 'without a session' : 'in a session';

  test(`stdin is written and closed, ${where}`, async () => {
    const id = await agent.process('while read -r line; do echo "got $line"; done; echo end', { sessionId, stdin: true });
    const put = (body) => agent.post(`/api/process/${id}/stdin`, body);
    assert.deepEqual((await put({ data: 'one\n' })).json.processId, id);
    await until(async () => (await logs(id)).stdout === 'got one\n');
    assert.equal((await put({ data: Buffer.from('two\nthree\n').toString('base64'), encoding: 'base64' })).status, 200);
    assert.equal((await put({ data: 'x', encoding: 'rot13' })).status, 400);
    assert.equal((await put({ close: true })).status, 200);
    await agent.ended(id);
    assert.equal((await logs(id)).stdout, 'got one\ngot two\ngot three\nend\n');
    assert.equal((await put({ data: 'x' })).json.code, 'COMMAND_NOT_FOUND');
  });

  test(`stdin that is closed at once, and a megabyte that is read slowly, ${where}`, async () => {
    const empty = await agent.process('wc -c', { sessionId, stdin: true });
    await agent.post(`/api/process/${empty}/stdin`, { close: true });
    await agent.ended(empty);
    assert.equal((await logs(empty)).stdout, '0\n');
    const big = await agent.process('sleep 0.3; md5sum', { sessionId, stdin: true });
    assert.equal((await agent.post(`/api/process/${big}/stdin`, { data: 'q'.repeat(1 << 20), close: true })).status, 200);
    await agent.ended(big);
    assert.match((await logs(big)).stdout, /^[0-9a-f]{32}/);
  });

  test(`a signal of one's choice reaches the tree and nothing more happens, ${where}`, async () => {
    const id = await agent.process("trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done", { sessionId });
    await until(async () => (await logs(id)).stdout === 'up\n');
    const reply = await agent.post(`/api/process/${id}/signal`, { signal: 'SIGHUP' });
    assert.ok(reply.json.signalled >= 1);
    await until(async () => (await logs(id)).stdout === 'up\nhup\n');
    assert.equal((await agent.record(id)).status, 'running');
    for (const signal of ['SIGNOTHING', 0, 65, null, {}]) assert.equal((await agent.post(`/api/process/${id}/signal`, { signal })).status, 400);
    assert.equal((await kill(id, '?signal=9')).status, 200);
    assert.equal((await agent.record(id)).exitCode, 137);
    assert.equal((await agent.post(`/api/process/${id}/signal`, { signal: 1 })).status, 404);
  });
}

test('a kill with a signal of one\'s choice', async () => {
  const id = await agent.process("trap 'echo int; exit 9' USR2; echo up; while :; do sleep 0.05; done");
  await until(async () => (await logs(id)).stdout === 'up\n');
  assert.equal((await kill(id, '?signal=SIGBAD')).status, 400);
  await kill(id, '?signal=USR2');
  assert.deepEqual([(await logs(id)).stdout, (await agent.record(id)).exitCode], ['up\nint\n', 9]);
});

test('bytes for a process without stdin are refused', async () => {
  const id = await agent.process('sleep 60');
  assert.equal((await agent.post(`/api/process/${id}/stdin`, { data: 'x' })).status, 400);
  await kill(id);
});

test('A18: without asking for it stdin is at its end', async () => {
  for (const sessionId of [undefined, SESSIONLESS]) assert.equal((await logsAtEnd(await agent.process('cat; echo eof', { sessionId }))).stdout, 'eof\n');
});

test('a process that closes or fills its output ends by its exit alone', async () => {
  for (const sessionId of [SESSIONLESS, undefined]) {
    const [closed, go] = [await agent.gate(), await agent.gate()];
    const id = await agent.process(`exec >&- 2>&-; echo >${closed.path}; ${go.wait}; exit 6`, { sessionId });
    await agent.run(closed.wait, { session: SESSIONLESS });
    assert.equal((await agent.record(id)).status, 'running');
    await go.open();
    assert.equal((await agent.ended(id)).exitCode, 6);
  }
});

test('a session whose FIFOs are deleted under it can start processes again', async () => {
  const session = fresh();
  await agent.run('rm -rf /dev/shm/.b*', { session });
  const events = await agent.stream('echo back', { sessionId: session });
  assert.ok(events.at?.(-1).exitCode === 0 || (await agent.stream('echo back', { sessionId: session })).at(-1).exitCode === 0);
});

test('two hundred processes at once, with a stream each', async () => {
  const ids = await Promise.all(Array.from({ length: 200 }, (_, i) => agent.process(`echo ${i}; sleep 0.2; exit ${i % 100}`, { sessionId: i % 2 ? SESSIONLESS : `many-${i % 10}` })));
  const all = await Promise.all(ids.map(async (id) => (await agent.events('GET', `/api/process/${id}/stream`)).rest()));
  all.forEach((events, i) => assert.deepEqual([textOf(events, 'stdout'), events.at(-1).exitCode], [`${i}\n`, i % 100]));
});
