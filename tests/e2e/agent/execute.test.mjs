// POST /api/execute in a session: reference/container/10, sections 1 to 3.1.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Channel } from './channel.mjs';
import { Agent, SESSIONLESS, sleep } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start({ env: { FROM_IMAGE: 'image', SANDBOX_VERSION: '0.12.7' } }); });
after(() => agent.stop());

let counter = 0;
const fresh = () => `fresh-${counter++}`;

test('the reply has exactly the documented members', async () => {
  const reply = await agent.post('/api/execute', { command: 'echo out; echo err >&2; exit_code() { return 5; }; exit_code', sessionId: 's' });
  assert.equal(reply.status, 200);
  assert.equal(reply.headers['content-type'], 'application/json');
  const { timestamp, ...rest } = reply.json;
  assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(rest, { success: false, exitCode: 5, stdout: 'out', stderr: 'err', duration: 0, sessionId: 's',
    command: 'echo out; echo err >&2; exit_code() { return 5; }; exit_code' });
});

test('the session id is echoed only if one was given', async () => {
  const reply = await agent.post('/api/execute', { command: ':' });
  assert.equal('sessionId' in reply.json, false);
  assert.equal((await agent.post('/api/execute', { command: ':', sessionId: '' })).json.sessionId, undefined);
});

test('the session comes from the body, then X-Session-Id, then the query, never from a bearer token', async () => {
  const id = fresh();
  await agent.run('where=here', { session: id });
  const ask = (path, headers) => agent.post(path, { command: 'echo $where' }, { headers });
  assert.equal((await ask('/api/execute', { 'X-Session-Id': id })).json.stdout, 'here');
  assert.equal((await ask(`/api/execute?session=${id}`)).json.stdout, 'here');
  assert.equal((await ask(`/api/execute?sessionId=${id}`)).json.stdout, 'here');
  assert.equal((await ask('/api/execute', { Authorization: `Bearer ${id}` })).json.stdout, '');
});

test('one trailing newline goes, nothing else', async () => {
  assert.equal((await agent.run('echo hi')).stdout, 'hi');
  assert.equal((await agent.run("printf 'a\\n\\n'")).stdout, 'a\n');
  assert.equal((await agent.run('printf b')).stdout, 'b');
  assert.equal((await agent.run("printf 'x\\r\\n' >&2")).stderr, 'x\r');
});

test('NUL bytes go and bytes that are no UTF-8 become U+FFFD', async () => {
  assert.equal((await agent.run("printf 'a\\0b\\xffc\\0'")).stdout, 'ab\ufffdc');
  assert.equal((await agent.run("printf 'a\\n\\0'")).stdout, 'a');
});

test('state stays between commands', async () => {
  const session = fresh();
  await agent.run("cd /tmp; export E=1; plain=2; f() { echo from f; }; set -o pipefail; umask 027; shopt -s expand_aliases; alias hey='echo hey'", { session });
  assert.equal((await agent.run('pwd; echo $E $plain; f; set -o | grep pipefail; umask; hey', { session })).stdout,
    '/tmp\n1 2\nfrom f\npipefail       \ton\n0027\nhey');
  assert.equal((await agent.run('sleep 100 & echo $!', { session })).exitCode, 0);
  assert.equal((await agent.run('jobs | wc -l; kill $!', { session })).stdout, '1');
});

test('a session starts in /workspace with the image, session and locale environment', async () => {
  const session = fresh();
  await agent.post('/api/session/create', { id: session, env: { FROM_SESSION: 'yes', LANG: 'xx', SKIPPED: null } });
  assert.equal((await agent.run('pwd; echo $FROM_IMAGE $FROM_SESSION $LANG $LC_ALL $SANDBOX_VERSION ${SKIPPED-unset}', { session })).stdout,
    '/workspace\nimage yes C.UTF-8 C.UTF-8 0.12.7 unset');
});

test('nothing of ours is in the shell', async () => {
  const session = fresh();
  const script = 'declare -p | cut -d= -f1 | sort; declare -F; alias; trap -p; echo "$0 $-"; shopt; set -o';
  const ours = (await agent.run(script, { session })).stdout;
  const plain = (await agent.run(`bash --norc <<'END'\n${script}\nEND`, { session: fresh() })).stdout;
  const lines = (text) => text.split('\n').filter((l) => !/PIPESTATUS|BASH_LINENO|BASH_ARGC|BASH_ARGV|BASH_SOURCE|declare -x _$|declare -- _$|OLDPWD/.test(l));
  assert.deepEqual(lines(ours).filter((l) => !lines(plain).includes(l)), [lines(ours).find((l) => l.startsWith('bash '))]);
  assert.match(ours, /bash hB/);
});

test('a command sees stdin, stdout and stderr and no other descriptor', async () => {
  assert.equal((await agent.run('ls /proc/self/fd')).stdout, '0\n1\n2\n3'); // 3 is the directory that ls reads
  assert.equal((await agent.run('readlink /proc/self/fd/0')).stdout, '/dev/null');
});

test("the user's traps stay, and an EXIT trap does not run between commands", async () => {
  const session = fresh();
  await agent.run("trap 'echo bye >>/tmp/bye' EXIT; trap 'echo usr1' USR1", { session });
  assert.equal((await agent.run('trap -p', { session })).stdout, "trap -- 'echo bye >>/tmp/bye' EXIT\ntrap -- 'echo usr1' SIGUSR1");
  assert.equal((await agent.run('test -e /tmp/bye; echo $?', { session })).stdout, '1');
});

test('a DEBUG trap that writes does not confuse the end of a command', async () => {
  const session = fresh();
  await agent.run("trap 'printf \"0\\n7 $BASH_COMMAND\"' DEBUG", { session });
  for (let i = 0; i < 5; i++) assert.equal((await agent.run('(exit 3)', { session })).exitCode, 3);
});

test('set -x shows the command, not our wrapper', async () => {
  const session = fresh();
  await agent.run('set -x', { session });
  assert.equal((await agent.run('echo hi', { session })).stderr, '++ echo hi');
  assert.equal((await agent.run('set +x', { session })).stderr, '++ set +x');
});

for (const [command, code] of [['exit 7', 7], ['exit 300', 44], ['exit', 0], ['false; exit', 1], ['set -e; (exit 9)', 9], ['exec true', 0],
  ['exec bash -c "exit 6"', 6], ['kill -9 $$', 137], ['kill $$', 143]]) {
  test(`"${command}" ends the session with 410 and ${code}`, async () => {
    const session = fresh();
    await agent.run('kept=1', { session });
    const reply = await agent.run(command, { session });
    assert.equal(reply.status, 410);
    assert.equal(reply.code, 'SESSION_TERMINATED');
    assert.deepEqual(reply.context, { sessionId: session, exitCode: code });
    assert.match(reply.message, /shell exited/);
    assert.match(reply.message, new RegExp(`exit code: ${code}\\b`));
    assert.match(reply.suggestion, new RegExp(`${code}`));
    assert.equal(reply.httpStatus, 410);
    assert.equal((await agent.run('echo [$kept]', { session })).stdout, '[]');
  });
}

test('errexit that is on ends the session at a later failure', async () => {
  const session = fresh();
  assert.equal((await agent.run('set -e', { session })).status, 200);
  const reply = await agent.run('(exit 4)', { session });
  assert.equal(reply.status, 410);
  assert.equal(reply.context.exitCode, 4);
});

for (const [name, command, stderr] of [
  ['a syntax error', 'if then fi', /syntax error/],
  ['an unterminated quote', 'echo "abc', /unexpected EOF/],
  ['an unterminated single quote', "echo 'abc", /unexpected EOF/],
  ['an unterminated substitution', 'echo $(ls', /unexpected EOF/],
  ['a lone closing brace', '}', /syntax error/],
]) {
  test(`${name} is exit code 2 and the session lives on`, async () => {
    const session = fresh();
    await agent.run('kept=1', { session });
    const reply = await agent.run(command, { session, timeoutMs: 5000 });
    assert.equal(reply.status, 200);
    assert.equal(reply.exitCode, 2);
    assert.match(reply.stderr, stderr);
    assert.equal((await agent.run('echo $kept', { session })).stdout, '1');
  });
}

test('an unterminated here-document is taken as it is', async () => {
  const reply = await agent.run('cat <<END\nfoo');
  assert.equal(reply.exitCode, 0);
  assert.equal(reply.stdout, 'foo');
  assert.match(reply.stderr, /here-document/);
});

test('here-documents, comments and lines without end work', async () => {
  assert.equal((await agent.run("cat <<'END'\n$x '\"` \\\nEND\n")).stdout, "$x '\"` \\");
  assert.equal((await agent.run('echo a # comment')).stdout, 'a');
  assert.equal((await agent.run('echo a \\')).stdout, 'a \\');
  assert.equal((await agent.run('echo a\n\n\n')).stdout, 'a');
  assert.equal((await agent.run("echo 'it'\\''s'")).stdout, "it's");
});

test('return at the top level is an error that the session survives', async () => {
  const reply = await agent.run('return 4');
  assert.equal(reply.exitCode, 2);
  assert.match(reply.stderr, /return/);
});

test('exec >file is undone after the command', async () => {
  const session = fresh();
  assert.equal((await agent.run('exec >/tmp/redirected 2>&1; echo x', { session })).stdout, '');
  assert.equal((await agent.run('echo back; cat /tmp/redirected', { session })).stdout, 'back\nx');
});

test('exec on the descriptors that bash uses itself does no harm', async () => {
  const session = fresh();
  for (const fd of [10, 11, 12, 255]) assert.equal((await agent.run(`exec ${fd}>/tmp/fd; echo ok`, { session, timeoutMs: 5000 })).stdout, 'ok');
  assert.equal((await agent.run('exec 1>&-; exec 2>&-', { session, timeoutMs: 5000 })).exitCode, 0);
  assert.equal((await agent.run('echo on', { session })).stdout, 'on');
});

test('a background child does not hold the command up and its later output goes nowhere', async () => {
  const session = fresh();
  const [go, done] = [await agent.gate(), await agent.gate()];
  const first = await agent.run(`(${go.wait}; echo late; echo late >&2; echo >${done.path}) & echo started`, { session });
  assert.equal(first.stdout, 'started');
  const next = agent.run(`${done.wait}; echo second`, { session });
  await go.open();
  const second = await next;
  assert.equal(second.stdout, 'second');
  assert.equal(second.stderr, '');
});

test('a background child that writes for ever blocks nobody', async () => {
  const session = fresh();
  assert.equal((await agent.run('yes & echo $! >/tmp/yes.pid; echo started', { session })).status, 200);
  for (let i = 0; i < 5; i++) assert.equal((await agent.run(`echo ${i}`, { session })).stdout, `${i}`);
  assert.equal((await agent.run('kill $(cat /tmp/yes.pid); wait; echo done', { session })).stdout, 'done');
});

for (const command of ['cat', 'read x; echo "[$x]"', 'grep foo', 'head -1', 'python3 -c "import sys; print(len(sys.stdin.read()))"']) {
  test(`stdin of "${command}" is at its end`, async () => {
    assert.equal((await agent.run(command, { timeoutMs: 10000 })).status, 200);
  });
}

test('127, 126 and 128 + signal', async () => {
  const missing = await agent.run('nosuchcmd');
  assert.equal(missing.exitCode, 127);
  assert.match(missing.stderr, /^bash: line \d+: nosuchcmd: command not found$/);
  assert.equal((await agent.run('touch /tmp/plain; /tmp/plain')).exitCode, 126);
  const killed = await agent.run('bash -c "kill -9 \\$\\$"');
  assert.equal(killed.exitCode, 137);
  assert.match(killed.stderr, /Killed/);
});

test('an empty command is accepted, a missing or wrong one is not', async () => {
  assert.deepEqual([(await agent.run('')).exitCode, (await agent.run('')).stdout], [0, '']);
  for (const command of [undefined, null, 5, [], {}]) {
    const reply = await agent.post('/api/execute', { command });
    assert.equal(reply.status, 400);
    assert.equal(reply.json.code, 'INVALID_COMMAND');
    assert.deepEqual(reply.json.context, {});
  }
  assert.equal((await agent.post('/api/execute', { command: 'echo a\0b' })).status, 400);
});

test('cwd of one command', async () => {
  const session = fresh();
  await agent.run('mkdir -p /tmp/sub/dir "/tmp/it\'s"; cd /tmp', { session });
  assert.equal((await agent.run('pwd; cd /usr', { session, cwd: '/etc' })).stdout, '/etc');
  assert.equal((await agent.run('pwd', { session })).stdout, '/tmp');
  assert.equal((await agent.run('pwd', { session, cwd: 'sub/dir' })).stdout, '/tmp/sub/dir');
  assert.equal((await agent.run('pwd', { session, cwd: "/tmp/it's" })).stdout, "/tmp/it's");
  assert.equal((await agent.run('CDPATH=/usr; mkdir -p lib; cd /tmp', { session })).exitCode, 0);
  assert.equal((await agent.run('pwd', { session, cwd: 'lib' })).stdout, '/tmp/lib');
  const bad = await agent.run('echo ran', { session, cwd: "/no/such it's" });
  assert.equal(bad.status, 200);
  assert.deepEqual([bad.exitCode, bad.stdout, bad.stderr], [1, '', "Failed to change directory to '/no/such it'\\''s'"]);
  assert.equal((await agent.run('pwd', { session })).stdout, '/tmp');
});

test('cwd keeps the name of a link, survives a changed PWD, and a function called cd', async () => {
  const session = fresh();
  await agent.run('mkdir -p /tmp/real; ln -sfn /tmp/real /tmp/link; cd /tmp/link; cd() { echo mine; }', { session });
  assert.equal((await agent.run('pwd', { session, cwd: '/etc' })).stdout, '/etc');
  assert.equal((await agent.run('pwd', { session })).stdout, '/tmp/link');
  await agent.run('PWD=/bogus', { session });
  await agent.run(':', { session, cwd: '/etc' });
  assert.equal((await agent.run('/bin/pwd', { session })).stdout, '/tmp/real');
});

test('env of one command is set, literal, and put back', async () => {
  const session = fresh();
  await agent.run("export A=old; B=plain; declare -a L=(1 '2 3'); declare -i N=4; unset U", { session });
  const env = { A: "q'uo\"te $x `id` \\ \n new", B: 'b', L: 'l', N: 'n n', U: 'u', NIL: null };
  const inside = await agent.run('printf "%s|" "$A" "$B" "$L" "$N" "$U" "${NIL-unset}"; export A=again U=again; env | grep -c "^[ABLNU]="', { session, env });
  assert.equal(inside.stdout, `${env.A}|b|l|n n|u|unset|5`);
  assert.equal((await agent.run('declare -p A B L N; echo ${U-unset}', { session })).stdout,
    'declare -x A="old"\ndeclare -- B="plain"\ndeclare -a L=([0]="1" [1]="2 3")\ndeclare -i N="4"\nunset');
});

test('env of one command reaches what bash does with PATH and the locale', async () => {
  const session = fresh();
  await agent.run("mkdir -p /tmp/p1 /tmp/p2; for p in p1 p2; do printf '#!/bin/sh\\necho %s\\n' $p >/tmp/$p/tool; chmod +x /tmp/$p/tool; done; PATH=/tmp/p1:$PATH; tool", { session });
  assert.equal((await agent.run('tool', { session, env: { PATH: '/tmp/p2:/usr/bin:/bin' } })).stdout, 'p2');
  assert.equal((await agent.run('tool', { session })).stdout, 'p1');
  assert.equal((await agent.run('x=é; echo ${#x}', { session, env: { LC_ALL: 'C' } })).stdout, '2');
  assert.equal((await agent.run('x=é; echo ${#x}', { session })).stdout, '1');
});

test('env works under set -u and set -e, and next to a read-only variable', async () => {
  const session = fresh();
  await agent.run('set -ue; readonly RO=1', { session });
  assert.equal((await agent.run('echo $NEW', { session, env: { NEW: 'x', RO: '2' } })).stdout, 'x');
  assert.equal((await agent.run('echo ${NEW-gone} $RO', { session })).stdout, 'gone 1');
});

test('an invalid name of a variable runs nothing', async () => {
  for (const name of ['1A', 'a-b', 'a b', 'é']) {
    const reply = await agent.run('touch /tmp/ran', { env: { [name]: 'x' } });
    assert.equal(reply.status, 500);
    assert.equal(reply.code, 'COMMAND_EXECUTION_ERROR');
    assert.match(reply.message, /Invalid environment variable name/);
    assert.equal(reply.context.command, 'touch /tmp/ran');
    assert.equal(typeof reply.context.stderr, 'string');
  }
  assert.equal((await agent.run('test -e /tmp/ran')).exitCode, 1);
  assert.equal((await agent.run(':', { env: { A: 5 } })).status, 400);
});

test('a time-out is an error, frees the lock, and the command runs on', async () => {
  const session = fresh();
  const go = await agent.gate();
  const command = `${go.wait}; touch /tmp/went-on`;
  const reply = await agent.run(command, { session, timeoutMs: 200 });
  assert.equal(reply.status, 500);
  assert.equal(reply.code, 'COMMAND_EXECUTION_ERROR');
  assert.match(reply.message, /Command timeout after 200ms$/);
  assert.deepEqual(reply.context, { command, stderr: 'Command timeout after 200ms' });
  assert.equal((await agent.post('/api/write', { path: '/tmp/meanwhile', content: 'x', sessionId: session })).status, 200);
  const next = agent.run('ls /tmp/went-on', { session });
  await go.open();
  assert.equal((await next).stdout, '/tmp/went-on');
});

test('a command behind an abandoned one has its own clock and runs all the same', async () => {
  const session = fresh();
  const go = await agent.gate();
  await agent.run(go.wait, { session, timeoutMs: 50 });
  const reply = await agent.run('echo x >>/tmp/second-abandoned', { session, timeoutMs: 50 });
  assert.equal(reply.status, 500);
  await go.open();
  assert.equal((await agent.run('cat /tmp/second-abandoned', { session })).stdout, 'x');
});

test('a shell that can report nothing any more is ended and told at once, not when time is up', async () => {
  const ways = {
    'a function called builtin': 'echo lost; builtin() { :; }',
    'echo that is no builtin any more': 'enable -n echo',
    'builtin that is none': 'enable -n builtin',
    'commands that are read but not run': 'set -n',
    'a trap that has every command skipped': 'shopt -s extdebug; trap "test 1 = 2" DEBUG',
  };
  for (const [name, command] of Object.entries(ways)) {
    const session = fresh();
    await agent.run('x=5', { session });
    const reply = await agent.run(command, { session, timeoutMs: 60000 });
    assert.deepEqual([reply.status, reply.code, reply.context.exitCode], [410, 'SESSION_TERMINATED', 137], name);
    assert.equal((await agent.run('echo "[$x]"', { session })).stdout, '[]', name);
  }
});

test('a shell that can report nothing any more: what is started in it, streamed from it, or waits behind it', async () => {
  const session = fresh();
  const silenced = async () => { // by a trap between two commands, so that no command is told of it
    const go = await agent.gate();
    await agent.run(`trap 'builtin() { :; }' USR1; (${go.wait}; kill -USR1 $$; echo >/tmp/silenced) >/dev/null 2>&1 &`, { session });
    await go.open();
    await agent.run('until [ -e /tmp/silenced ]; do sleep 0.02; done; rm /tmp/silenced', { session: SESSIONLESS });
  };
  for (const path of ['/api/process/start', '/api/execute/stream']) {
    await silenced();
    const first = agent.post(path, { command: 'echo never', sessionId: session });
    const behind = agent.run('echo next', { session });
    if (path.endsWith('/start')) assert.deepEqual([(await first).status, (await first).json?.code], [410, 'SESSION_TERMINATED']);
    else assert.match((await first).text, /^data: \{"type":"start",.*\n\ndata: \{"type":"complete","exitCode":137,.*\n\n$/); // its head was there
    assert.equal((await behind).stdout, 'next');
  }
  // What bash itself can tell is told; with a directory or variables of its own it cannot.
  const disabled = fresh();
  await agent.run('enable -n eval', { session: disabled });
  const reply = await agent.run('echo never', { session: disabled });
  assert.deepEqual([reply.status, reply.exitCode, reply.stdout], [200, 1, '']);
  assert.match(reply.stderr, /builtin: eval: not a shell builtin/);
  assert.equal((await agent.run('echo never', { session: disabled, cwd: '/', timeoutMs: 60000 })).code, 'SESSION_TERMINATED');

  const abandoned = fresh();
  assert.match((await agent.run('sleep 0.5; builtin() { :; }', { session: abandoned, timeoutMs: 100 })).message, /timeout/);
  assert.equal((await agent.run('echo behind', { session: abandoned, timeoutMs: 60000 })).code, 'SESSION_TERMINATED');
});

test('a slow command is asked after, which nobody sees', async () => {
  const session = fresh();
  assert.equal((await agent.run('sleep 0.7; echo slow', { session })).stdout, 'slow');
  await agent.run('sleep 0.4', { session, timeoutMs: 350 });
  assert.equal((await agent.run('sleep 0.3; builtin() { echo mine >&2; command builtin "$@"; }', { session })).exitCode, 0);
  assert.equal((await agent.run('sleep 0.6; echo "$?"', { session })).stdout, '0');
});

test('timeoutMs 0 fails at once', async () => {
  const reply = await agent.run('sleep 0.3', { session: fresh(), timeoutMs: 0 });
  assert.equal(reply.status, 500);
  assert.match(reply.message, /timeout after 0ms/);
});

test("a session's own limit counts, and one call's limit does not become the session's", async () => {
  const limited = fresh();
  await agent.post('/api/session/create', { id: limited, commandTimeoutMs: 150 });
  assert.match((await agent.run('sleep 0.5', { session: limited })).message, /timeout after 150ms/);
  await sleep(500);
  assert.equal((await agent.run('sleep 0.4', { session: limited, timeoutMs: 5000 })).status, 200);
  const session = fresh();
  await agent.run(':', { session, timeoutMs: 100 });
  assert.equal((await agent.run('sleep 0.3; echo done', { session })).stdout, 'done');
});

test('COMMAND_TIMEOUT_MS limits session commands', async () => {
  const other = await Agent.start({ env: { COMMAND_TIMEOUT_MS: '150' } });
  try {
    assert.match((await other.run('sleep 1')).message, /timeout after 150ms/);
  } finally { await other.stop(); }
});

test('commands of one session run in order, those of others beside them', async () => {
  const session = fresh();
  const channel = await Channel.open(agent); // two connections have no order
  const order = await Promise.all([...Array(10).keys()].map((i) =>
    channel.request('POST', '/api/execute', { command: `sleep ${i ? 0 : 0.4}; echo ${i} >>/tmp/order`, sessionId: session })));
  channel.close();
  assert.ok(order.every(({ body }) => body.exitCode === 0), JSON.stringify(order));
  assert.equal((await agent.run('cat /tmp/order', { session })).stdout, '0\n1\n2\n3\n4\n5\n6\n7\n8\n9');
  const go = await agent.gate();
  const slow = agent.run(`${go.wait}; echo slow`, { session });
  assert.equal((await agent.run('echo beside', { session: fresh() })).stdout, 'beside');
  await go.open();
  assert.equal((await slow).stdout, 'slow');
});

test('a file operation waits for the command before it', async () => {
  const session = fresh();
  const [runs, go] = [await agent.gate(), await agent.gate()];
  const command = agent.run(`echo >${runs.path}; ${go.wait}; echo from command >/tmp/ordered`, { session });
  await agent.run(runs.wait, { session: SESSIONLESS });
  const write = agent.post('/api/write', { path: '/tmp/ordered', content: 'from write', sessionId: session });
  await go.open();
  await Promise.all([command, write]);
  assert.equal((await agent.run('cat /tmp/ordered', { session })).stdout, 'from write');
});

test('a shell that died between commands is told once', async () => {
  const session = fresh();
  const { stdout: pid } = await agent.run('echo $$', { session });
  await agent.killed(pid);
  const reply = await agent.run('echo x', { session });
  assert.equal(reply.status, 410);
  assert.equal(reply.context.exitCode, 137);
  assert.equal((await agent.run('echo x', { session })).stdout, 'x');
});

test('a blank session id is an error', async () => {
  const reply = await agent.run('echo x', { session: ' \t ' });
  assert.equal(reply.status, 500);
  assert.equal(reply.code, 'COMMAND_EXECUTION_ERROR');
});

test('any other text is a session id', async () => {
  for (const id of ['a/b', '../../x', 'with space', "it's", 'é漢', 'x'.repeat(3000)]) {
    await agent.run('here=1', { session: id });
    assert.equal((await agent.run('echo $here', { session: id })).stdout, '1');
  }
});

test('long commands work, with every character', async () => {
  const text = ("it's \"quoted\" $HOME `id` \\ \t é漢 #".repeat(40000) + 'end').slice(0, 900000);
  const reply = await agent.run(`cat <<'THE_END' | wc -c; echo done\n${text}\nTHE_END\n\n`);
  assert.equal(reply.stdout, `${Buffer.byteLength(text) + 1}\ndone`);
  const padded = await agent.run(`echo ${'x'.repeat(5000)} | wc -c; (exit 3)`);
  assert.deepEqual([padded.stdout, padded.exitCode], ['5001', 3]);
});

test('50 MB of output come whole', async () => {
  const reply = await agent.run("head -c 50000000 /dev/zero | tr '\\0' x");
  assert.equal(reply.stdout.length, 50000000);
  const both = await agent.run("head -c 3000000 /dev/zero | tr '\\0' a; head -c 3000000 /dev/zero | tr '\\0' b >&2");
  assert.deepEqual([both.stdout.length, both.stderr.length], [3000000, 3000000]);
});

test('removing the directory of our FIFOs does no harm', async () => {
  const session = fresh();
  await agent.run(':', { session });
  await agent.run('rm -rf /dev/shm/.b* /tmp/*', { session });
  assert.equal((await agent.run('echo still here', { session })).stdout, 'still here');
  assert.equal((await agent.run('sleep 0.05 & echo and again', { session })).stdout, 'and again');
  assert.equal((await agent.run('echo and again', { session })).stdout, 'and again');
});
