// POST /api/execute/stream: reference/container/10, section 4, and 90-surprises.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS, sleep, textOf } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start({ env: { FROM_IMAGE: 'image' } }); });
after(() => agent.stop());

let counter = 0;
const fresh = () => `fresh-${counter++}`;
const shape = (events) => events.map(({ timestamp, ...event }) => event);

test('a stream is start, output, complete, each with a timestamp and no member more', async () => {
  const reader = await agent.events('POST', '/api/execute/stream', { command: 'echo out; echo err >&2; (exit 7)' });
  assert.equal(reader.status, 200);
  assert.equal(reader.headers['content-type'], 'text/event-stream');
  assert.equal(reader.headers['cache-control'], 'no-cache');
  const events = await reader.rest();
  for (const event of events) assert.match(event.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const [start, ...more] = shape(events);
  assert.deepEqual(start, { type: 'start', command: 'echo out; echo err >&2; (exit 7)' });
  assert.deepEqual(more.pop(), { type: 'complete', exitCode: 7 });
  assert.deepEqual(more.sort((a, b) => (a.type < b.type ? -1 : 1)), [{ type: 'stderr', data: 'err\n' }, { type: 'stdout', data: 'out\n' }]);
});

test('in a session each line is an event and the last one gets its newline', async () => {
  assert.deepEqual(shape(await agent.stream("printf ' a \\r\\n\\nb\\0c\\n'; printf '\\xff'; printf d")).slice(1), [
    { type: 'stdout', data: ' a \r\n' }, { type: 'stdout', data: '\n' }, { type: 'stdout', data: 'bc\n' },
    { type: 'stdout', data: '\ufffdd\n' }, { type: 'complete', exitCode: 0 }]);
});

test('a line comes when its newline does, not before', async () => {
  const reader = await agent.events('POST', '/api/execute/stream', { command: 'printf half; sleep 0.3; echo; sleep 30' });
  assert.equal((await reader.next()).type, 'start');
  assert.equal((await reader.next()).data, 'half\n');
  reader.close();
});

test('without a session the bytes are what they are, and characters are never split', async () => {
  assert.deepEqual(shape(await agent.stream("printf missing", { sessionId: SESSIONLESS })).slice(1),
    [{ type: 'stdout', data: 'missing' }, { type: 'complete', exitCode: 0 }]);
  const events = await agent.stream("printf '\\xc3'; sleep 0.2; printf '\\xa9\\0'; printf '\\xc3'", { sessionId: SESSIONLESS });
  assert.equal(textOf(events, 'stdout'), '\u00e9\0\ufffd');
});

test('output comes while the command runs', async () => {
  for (const sessionId of [undefined, SESSIONLESS]) {
    const gates = [await agent.gate(), await agent.gate(), await agent.gate()];
    const command = gates.map((gate, i) => `echo ${i + 1}; ${gate.wait}`).join('; ');
    const reader = await agent.events('POST', '/api/execute/stream', { command, sessionId });
    assert.equal((await reader.next()).type, 'start');
    for (const [i, gate] of gates.entries()) {
      const { type, data } = await reader.next(); // the next one is not written before
      assert.deepEqual([type, data], ['stdout', `${i + 1}\n`]);
      await gate.open();
    }
    assert.deepEqual((await reader.rest()).map(({ type }) => type), ['complete']);
  }
});

test('an unknown command is 127 with its message, false is 1, a child that a signal ends is 128 and its number', async () => {
  for (const sessionId of [undefined, SESSIONLESS]) {
    const events = await agent.stream('no-such-command-x', { sessionId });
    assert.match(textOf(events, 'stderr'), /not found/);
    assert.equal(events.at(-1).exitCode, 127);
    assert.equal((await agent.stream('false', { sessionId })).at(-1).exitCode, 1);
    assert.equal((await agent.stream("sh -c 'kill -9 $$'", { sessionId })).at(-1).exitCode, 137);
  }
});

test('B1: a bare exit ends the stream with its code, and the session lives on', async () => {
  const session = fresh();
  await agent.run('kept=1', { session });
  for (const [command, code] of [['exit 3', 3], ['exit', 0], ['exit 300', 44], ['set -e; false; echo no', 1], ['exec sh -c "exit 6"', 6], ['kill -9 $BASHPID', 137]]) {
    const events = await agent.stream(command, { sessionId: session });
    assert.deepEqual(shape(events).at(-1), { type: 'complete', exitCode: code }, command);
    assert.equal(textOf(events, 'stdout'), '');
  }
  assert.equal((await agent.run('echo $kept', { session })).stdout, '1');
});

test('B1: a directory that is not there is told on stderr with code 1', async () => {
  const events = await agent.stream('echo ran', { cwd: "/no/it's" });
  assert.deepEqual(shape(events).slice(1), [
    { type: 'stderr', data: "Failed to change directory to '/no/it'\\''s'\n" }, { type: 'complete', exitCode: 1 }]);
});

test('B2: a syntax error is code 2 with the message of bash, at once, and the session lives on', async () => {
  const session = fresh();
  await agent.run('kept=1', { session });
  for (const command of ['if then fi', "echo 'open", 'echo "open', 'case x in']) {
    const begun = Date.now();
    const events = await agent.stream(command, { sessionId: session });
    assert.equal(events.at(-1).exitCode, 2, command);
    assert.match(textOf(events, 'stderr'), /syntax error|unexpected EOF/);
    assert.ok(Date.now() - begun < 20000);
  }
  assert.equal((await agent.run('echo $kept', { session })).stdout, '1');
});

test('it sees the directory, variables, functions and options of its session and changes none of them', async () => {
  const session = fresh();
  await agent.run('cd /tmp; plain=1; export E=2; f() { echo from f $1; }; set -o pipefail; umask 027', { session });
  const events = await agent.stream('pwd; echo $plain $E; f x; set -o | grep pipefail | tr -d "\\t "; umask; cd /; plain=9; export E=9 NEW=1', { sessionId: session });
  assert.equal(textOf(events, 'stdout'), '/tmp\n1 2\nfrom f x\npipefailon\n0027\n');
  assert.equal((await agent.run('pwd; echo $plain $E [$NEW]', { session })).stdout, '/tmp\n1 2 []');
});

test('a directory and variables for one command, literally, in and without a session', async () => {
  const env = { A: '$(id) `x` "\'\n', B: '', C: null };
  const command = 'pwd; printf "%s|" "$A" "${B-unset}" "${C-unset}"; echo';
  for (const sessionId of [fresh(), SESSIONLESS]) {
    const events = await agent.stream(command, { sessionId, cwd: '/tmp', env });
    assert.equal(textOf(events, 'stdout'), `/tmp\n${env.A}||unset|\n`, sessionId);
  }
});

test('B4: nothing of it is in the shell: no job, no variable, no trap, the same $!', async () => {
  const session = fresh();
  const look = 'echo "[$!]"; jobs; trap -p; set | cut -d= -f1 | grep -vE "^(_|PIPESTATUS|BASH_LINENO)$"; ls /proc/self/fd | wc -l';
  await agent.run("trap 'echo bye' EXIT; sleep 30 & :", { session });
  const before_ = (await agent.run(look, { session })).stdout;
  await agent.stream('true', { sessionId: session });
  await agent.stream('echo $A; pwd', { sessionId: session, cwd: '/tmp', env: { A: 'x' } });
  const background = await agent.process('sleep 30', { sessionId: session, stdin: true });
  assert.equal((await agent.run(look, { session })).stdout, before_);
  assert.equal((await agent.run('wait -n 2>/dev/null & echo ok', { session })).stdout, 'ok');
  await agent.request('DELETE', `/api/process/${background}`);
  await agent.post('/api/session/delete', { sessionId: session });
});

test('what a session has set (-x, -u, -e, noclobber, a DEBUG trap) does not break it', async () => {
  const session = fresh();
  await agent.run("set -u; set -o noclobber; shopt -s expand_aliases; alias eval='echo alias'; builtin() { echo function; }; unset -f builtin; trap 'echo trapped' DEBUG; set -T", { session });
  const events = await agent.stream('echo $((40 + 2))', { sessionId: session });
  assert.match(textOf(events, 'stdout'), /42\n/);
  assert.equal(events.at(-1).exitCode, 0);
  const traced = fresh();
  await agent.run('set -x', { session: traced });
  assert.equal(textOf(await agent.stream('echo hi', { sessionId: traced }), 'stderr').replace(/^\++ /, '+ '), '+ echo hi\n');
  const strict = fresh();
  await agent.run('set -e', { session: strict });
  assert.equal((await agent.stream('false; echo no', { sessionId: strict })).at(-1).exitCode, 1);
  assert.equal((await agent.run('echo alive', { session: strict })).stdout, 'alive');
});

test('A5: the time limit of the body is not for streams', async () => {
  for (const sessionId of [undefined, SESSIONLESS]) {
    const events = await agent.stream('sleep 0.3; echo late', { sessionId, timeoutMs: 50 });
    assert.equal(textOf(events, 'stdout'), 'late\n');
    assert.equal(events.at(-1).exitCode, 0);
  }
});

test('A11: it is a process: listed, with an id, killed by kill-all, and the session is free meanwhile', async () => {
  const session = fresh();
  const reader = await agent.events('POST', '/api/execute/stream', { command: 'echo in; sleep 60', sessionId: session });
  assert.equal((await reader.next()).type, 'start');
  assert.equal((await reader.next()).data, 'in\n');
  const listed = (await agent.get('/api/process/list')).json.processes.find((p) => p.command === 'echo in; sleep 60');
  assert.match(listed.id, /^proc_\d{13}_[a-z0-9]{6}$/);
  assert.equal(listed.status, 'running');
  assert.equal((await agent.run('echo free', { session })).stdout, 'free');
  assert.equal((await agent.get(`/api/process/${listed.id}/logs`)).json.stdout, 'in\n');
  assert.ok((await agent.request('DELETE', '/api/process/kill-all')).json.cleanedCount >= 1);
  const rest = [];
  for (let event; (event = await reader.next());) rest.push(event);
  assert.equal(rest.at(-1).exitCode, 143);
  /* bash may still say that what it waited for was terminated. */
  assert.ok(rest.slice(0, -1).every((event) => event.type === 'stderr'), JSON.stringify(rest));
});

test('A12: a client that goes away does not stop the command', async () => {
  for (const sessionId of [fresh(), SESSIONLESS]) {
    const file = `/tmp/survivor-${counter++}`;
    const reader = await agent.events('POST', '/api/execute/stream', { command: `echo go; sleep 0.4; echo more; touch ${file}`, sessionId });
    await reader.next();
    reader.close();
    for (const until = Date.now() + 60000; (await agent.run(`test -e ${file}`)).exitCode !== 0; await sleep(20)) assert.ok(Date.now() < until);
  }
});

test('A18: stdin is at its end', async () => {
  for (const sessionId of [undefined, SESSIONLESS])
    assert.equal(textOf(await agent.stream('cat; read x || echo eof', { sessionId }), 'stdout'), 'eof\n');
});

test('in a session what a leftover child writes after the end is dropped and the stream ends; without one it is waited for', async () => {
  const go = await agent.gate();
  assert.equal(textOf(await agent.stream(`(${go.wait}; echo late) & echo now`), 'stdout'), 'now\n');
  await go.open();
  assert.equal(textOf(await agent.stream('(sleep 0.3; echo late) & echo now', { sessionId: SESSIONLESS }), 'stdout'), 'now\nlate\n');
});

test('a blank, missing or wrong command is INVALID_COMMAND before anything starts', async () => {
  for (const command of ['', '  \n', undefined, 7, 'a\0b']) {
    const { status, json } = await agent.events('POST', '/api/execute/stream', { command });
    assert.deepEqual([status, json.code, json.context], [400, 'INVALID_COMMAND', {}]);
  }
});

test('a bad directory without a session, and a blank session id, are STREAM_START_ERROR', async () => {
  for (const more of [{ sessionId: SESSIONLESS, cwd: '/nowhere' }, { sessionId: '  ' }]) {
    const { status, json } = await agent.events('POST', '/api/execute/stream', { command: 'echo x', ...more });
    assert.deepEqual([status, json.code, json.context.command], [500, 'STREAM_START_ERROR', 'echo x']);
    assert.equal(typeof json.context.stderr, 'string');
  }
});

test('a dead session is told once with 410', async () => {
  const session = fresh();
  const pid = (await agent.run('echo $$', { session })).stdout;
  await agent.run(`kill -9 ${pid}`, { session: SESSIONLESS });
  for (const until = Date.now() + 60000; (await agent.run(`kill -0 ${pid}`, { session: SESSIONLESS })).exitCode === 0;) assert.ok(Date.now() < until);
  const { status, json } = await agent.events('POST', '/api/execute/stream', { command: 'echo x', sessionId: session });
  assert.deepEqual([status, json.code, json.context], [410, 'SESSION_TERMINATED', { sessionId: session, exitCode: 137 }]);
  assert.equal(textOf(await agent.stream('echo x', { sessionId: session }), 'stdout'), 'x\n');
});

/* A session whose shell is held up before its next command. */
async function heldUp() {
  const session = fresh();
  const gate = await agent.gate();
  const { stdout: pid } = await agent.run(`trap '${gate.wait}' USR1; echo $$`, { session });
  await agent.run(`kill -USR1 ${pid}`, { session: SESSIONLESS });
  return { session, gate, pid };
}

test('C14: the head does not wait for the shell, the start event does', async () => {
  const { session, gate } = await heldUp();
  const stream = await agent.events('POST', '/api/execute/stream', { command: 'echo x', sessionId: session });
  assert.deepEqual([stream.status, stream.headers['content-type']], [200, 'text/event-stream']);
  await gate.open();
  assert.deepEqual((await stream.rest()).map((e) => e.type), ['start', 'stdout', 'complete']);
});

test('C14: a client that leaves behind the head changes nothing, and a shell that ends then is a code', async () => {
  const left = await heldUp();
  const stream = await agent.events('POST', '/api/execute/stream', { command: 'touch /tmp/run-all-the-same', sessionId: left.session });
  stream.close();
  await left.gate.open();
  await agent.run('until [ -e /tmp/run-all-the-same ]; do sleep 0.01; done');

  const killed = await heldUp();
  const doomed = await agent.events('POST', '/api/execute/stream', { command: 'echo never', sessionId: killed.session });
  await agent.run(`kill -9 ${killed.pid}`, { session: SESSIONLESS });
  assert.deepEqual((await doomed.rest()).map(({ type, command, exitCode }) => [type, command ?? exitCode]), [['start', 'echo never'], ['complete', 137]]);
  assert.equal((await agent.run('echo fresh', { session: killed.session })).stdout, 'fresh');
});

test('C6: a name of a variable that no shell takes is a failure with a code, as upstream only without one', async () => {
  const events = await agent.stream('echo ran', { env: { 'A-B': 'x' } });
  assert.equal(textOf(events, 'stdout'), '');
  assert.match(textOf(events, 'stderr'), /Invalid environment variable name/);
  assert.ok(events.at(-1).exitCode > 0);
});

test('the session comes from body, field or query, as for execute', async () => {
  const id = fresh();
  await agent.run('where=here', { session: id });
  const reply = await agent.post('/api/execute/stream', { command: 'echo $where' }, { headers: { 'X-Session-Id': id } });
  assert.match(reply.text, /"data":"here\\n"/);
});

test('a megabyte on one line and a million short lines arrive whole', async () => {
  const long = await agent.stream('head -c 1000000 /dev/zero | tr "\\0" x');
  assert.equal(textOf(long, 'stdout'), 'x'.repeat(1000000) + '\n');
  const lines = await agent.stream('seq 200000');
  assert.equal(textOf(lines, 'stdout'), Array.from({ length: 200000 }, (_, i) => `${i + 1}\n`).join(''));
  assert.equal(lines.at(-1).exitCode, 0);
});

test('a long command goes through a file and says the same', async () => {
  const text = 'y'.repeat(300000);
  for (const sessionId of [undefined, SESSIONLESS])
    assert.equal(textOf(await agent.stream(`printf %s '${text}' | wc -c`, { sessionId }), 'stdout').trim(), '300000');
});
