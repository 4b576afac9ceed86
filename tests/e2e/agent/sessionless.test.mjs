// POST /api/execute without a session: reference/container/10, section 3.2.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start({ env: { FROM_IMAGE: 'image' } }); });
after(() => agent.stop());
const run = (command, more) => agent.run(command, { session: SESSIONLESS, ...more });

test('output is exact but for bytes that are no UTF-8', async () => {
  const reply = await run("printf 'a\\0b\\xff\\n\\n'; printf 'e\\n' >&2");
  assert.deepEqual([reply.stdout, reply.stderr, reply.sessionId], ['a\0b\ufffd\n\n', 'e\n', SESSIONLESS]);
});

test('nothing is kept', async () => {
  await run('cd /tmp; export A=1');
  assert.equal((await run('pwd; echo $A')).stdout, '/workspace\n\n');
  assert.equal((await agent.get('/api/session/list')).json.data.includes(SESSIONLESS), false);
});

for (const [command, code] of [['exit 3', 3], ['kill -9 $$', 137], ['kill $$', 143], ['nosuchcmd', 127], ['false', 1], ['/etc/passwd', 126],
  ['if then fi', 2], ['sleep 0', 0], ['ls /nope', 2]]) {
  test(`"${command}" gives exit code ${code}`, async () => {
    const reply = await run(command);
    assert.equal(reply.status, 200);
    assert.equal(reply.exitCode, code);
    assert.equal(reply.success, code === 0);
  });
}

test('env and cwd, without forcing a locale', async () => {
  assert.equal((await run('echo "$A" $FROM_IMAGE ${LANG-none} ${NIL-unset}; pwd', { env: { A: "a 'b", NIL: null }, cwd: '/etc' })).stdout,
    "a 'b image none unset\n/etc\n");
  assert.equal((await run('pwd', { cwd: 'sub' })).status, 500);
  await run('mkdir /workspace/sub');
  assert.equal((await run('pwd', { cwd: 'sub' })).stdout, '/workspace/sub\n');
});

test('names of variables are not held to the shell rules', async () => {
  assert.equal((await run('env | grep ^a-b', { env: { 'a-b': 'x' } })).stdout, 'a-b=x\n');
  assert.equal((await agent.post('/api/execute', { command: ':', sessionId: SESSIONLESS, env: { 'a=b': 'x' } })).status, 400);
});

test('a missing directory is an error', async () => {
  for (const command of ['echo $x', 'ls']) {
    const reply = await run(command, { cwd: '/nope' });
    assert.equal(reply.status, 500);
    assert.equal(reply.code, 'COMMAND_EXECUTION_ERROR');
    assert.equal(reply.context.command, command);
    assert.match(reply.context.stderr, /\/nope/);
  }
});

test('a time-out is a reply with 124, what was written, and the group killed', async () => {
  const reply = await run("printf partial; printf half >&2; sleep 600 | cat", { timeoutMs: 5000 });
  assert.equal(reply.status, 200);
  assert.deepEqual([reply.success, reply.exitCode, reply.stdout], [false, 124, 'partial']);
  /* bash may get to say that a child was terminated before it is. */
  assert.match(reply.stderr, /^half(Terminated)?\nCommand timed out after 5000ms$/);
  await run('while pgrep -x sleep >/dev/null; do :; done');
  assert.equal((await run('sleep 9', { timeoutMs: 100 })).stderr, 'Command timed out after 100ms');
  assert.equal((await run('sleep 9; :', { timeoutMs: 0 })).exitCode, 124);
});

test('a command that ignores SIGTERM is killed after five seconds', async () => {
  const began = Date.now();
  const reply = await run("trap '' TERM; while :; do sleep 0.1; done", { timeoutMs: 100 });
  const took = Date.now() - began;
  assert.equal(reply.exitCode, 124);
  assert.ok(took >= 5000 && took < 20000, `${took} ms`);
});

test('the reply waits for everybody who holds the output', async () => {
  const began = Date.now();
  const reply = await run('(sleep 5.5; echo late) & echo now', { timeoutMs: 5000 }); // the limit is the command's, which ends before
  assert.ok(Date.now() - began >= 5500);
  assert.deepEqual([reply.exitCode, reply.stdout], [0, 'now\nlate\n']);
});

test('stdin is at its end, and there is no other descriptor', async () => {
  assert.equal((await run('cat')).stdout, '');
  assert.equal((await run('ls /proc/self/fd')).stdout, '0\n1\n2\n3\n');
});

test('calls run beside each other', async () => {
  // Each ends when all have begun.
  const all = [...Array(8).keys()].map((i) => run(`touch /tmp/beside-${i}; until [ $(ls /tmp/beside-* | wc -l) = 8 ]; do sleep 0.02; done; echo ${i}`));
  assert.deepEqual((await Promise.all(all)).map((reply) => reply.stdout), [...Array(8).keys()].map((i) => `${i}\n`));
});

test('commands that are run without bash come out as with it', async () => {
  const env = { A: '1', SHLVL: '4', OLDPWD: '/nope', _: 'old' };
  const sorted = (text) => text.split('\n').sort().join('\n');
  const [direct, shell] = [await run('env', { env }), await run('env #', { env })];
  assert.equal(sorted(direct.stdout), sorted(shell.stdout));
  await run("printf '#!/nope/interpreter\\n' >/tmp/no-interpreter; printf 'echo script' >/tmp/no-format; chmod +x /tmp/no-*; ln -s /tmp /workspace/link");
  for (const command of ['ls /nope', 'nosuch -x', '/tmp/no-interpreter', '/tmp/no-format', '/tmp', './nope', 'uname -a', '  id   -u  ', 'date +%Y',
    'awk', 'expr 1 + 2', 'printenv PWD', 'pwd', 'time ls', 'A=1', 'kill -l 9', '[', 'test 1 = 1', 'seq 3', 'readlink /proc/self/cwd', 'sh -c exit']) {
    for (const cwd of [undefined, '/workspace/link']) {
      const plain = await run(command, { cwd });
      const bash = await run(`${command} #`, { cwd });
      if (command === 'time ls') continue;
      assert.deepEqual([plain.exitCode, plain.stdout, plain.stderr], [bash.exitCode, bash.stdout, bash.stderr], command);
    }
  }
});

test('a variable that makes bash run code is left to bash', async () => {
  await run("echo 'echo from BASH_ENV' >/tmp/bash-env");
  assert.equal((await run('id -u', { env: { BASH_ENV: '/tmp/bash-env' } })).stdout, 'from BASH_ENV\n0\n');
  assert.equal((await run('id -u', { env: { 'BASH_FUNC_id%%': '() { echo mine; }' } })).stdout, 'mine\n');
});

test('commands longer than an argument may be', async () => {
  const text = 'x'.repeat(300000);
  assert.equal((await run(`cat <<'END' | wc -c; ls /proc/self/fd | wc -l\n${text}\nEND\n`)).stdout, '300001\n4\n');
  assert.equal((await run(`: ${text}; exit 7`)).exitCode, 7);
});

test('50 MB of output come whole', async () => {
  const reply = await run("head -c 50000000 /dev/zero | tr '\\0' x");
  assert.equal(reply.stdout.length, 50000000);
});

test('a client that goes away changes nothing', async () => {
  const abort = new AbortController();
  const [runs, go, done] = [await agent.gate(), await agent.gate(), await agent.gate()];
  const command = `echo >${runs.path}; ${go.wait}; echo >${done.path}`;
  const reply = agent.post('/api/execute', { command, sessionId: SESSIONLESS }, { signal: abort.signal });
  await run(runs.wait);
  abort.abort();
  await assert.rejects(reply);
  await go.open();
  assert.equal((await run(`${done.wait}; echo went on`)).stdout, 'went on\n');
});
