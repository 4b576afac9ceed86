// The agent as pid 1: orphans, signals, its own protection, the command line.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { Agent, binary, SESSIONLESS, sleep } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());
const sh = async (command, more) => (await agent.run(command, { session: SESSIONLESS, ...more })).stdout;

test('orphans are reaped', async () => {
  await sh('for i in $(seq 50); do (sleep 0.1 &) ; done; (setsid sleep 0.1 >/dev/null &)');
  assert.equal(await sh('while ps -eo stat=,comm= | grep -E "^Z|sleep$"; do sleep 0.05; done >/dev/null; echo none'), 'none\n');
});

test('nothing inside can kill, stop or trace the agent', async () => {
  for (const signal of ['TERM', 'INT', 'KILL', 'STOP', 'HUP', 'USR1', 'SEGV', 'CHLD', 'PIPE'])
    await sh(`kill -${signal} 1`);
  assert.equal(await sh('head -c 1 /proc/1/mem 2>&1 | wc -c; echo done').then((s) => s.includes('done')), true);
  assert.equal(await sh('ls -l /proc/1/exe >/dev/null 2>&1; echo alive'), 'alive\n');
  assert.equal((await agent.get('/api/ping')).status, 200);
});

test('children start with default signals, an empty mask and their own limits', async () => {
  for (const command of ['grep -E "^Sig(Blk|Ign)" /proc/self/status', 'grep -E "^Sig(Blk|Ign)" /proc/self/status # in bash'])
    assert.equal(await sh(command), 'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
  const own = (await readFile('/proc/self/limits', 'utf8')).match(/Max open files\s+(\d+)/)[1];
  assert.equal(await sh('ulimit -n'), `${own}\n`);
});

test('a process is the leader of its own session and group', async () => {
  const [pid, pgid, sid] = (await sh('ps -o pid=,pgid=,sid= -p $$')).trim().split(/\s+/);
  assert.deepEqual([pgid, sid], [pid, pid]);
});

test('where no process can be started the error says so, and the agent lives on', { skip: process.getuid() !== 0 }, async () => {
  const other = await Agent.start({ nproc: 3 });
  try {
    for (const session of ['a', 'b']) assert.equal((await other.run('echo x', { session })).stdout, 'x');
    const third = await other.run('echo x', { session: 'c' });
    assert.deepEqual([third.status, third.code, third.context.sessionId], [500, 'INTERNAL_ERROR', 'c']);
    for (const command of ['ls', 'echo $x']) {
      const reply = await other.run(command, { session: SESSIONLESS });
      assert.deepEqual([reply.status, reply.code], [500, 'COMMAND_EXECUTION_ERROR']);
      assert.match(reply.context.stderr, /Resource temporarily unavailable/);
    }
    const refused = await other.exec({ argv: ['ls'] });
    assert.deepEqual([refused.status, refused.json.code], [500, 'COMMAND_EXECUTION_ERROR']);
    assert.equal((await other.post('/api/read', { path: '/bin/true' })).json.mimeType, 'application/x-sharedlib');
    await other.post('/api/session/delete', { sessionId: 'a' });
    assert.equal((await other.run('echo $x', { session: SESSIONLESS })).status, 200);
  } finally { await other.stop(); }
});

test('two hundred sessions at once', async () => {
  const many = await Promise.all([...Array(200)].map((_, i) => agent.run('echo $$', { session: `many-${i}` })));
  assert.equal(new Set(many.map((r) => r.stdout)).size, 200);
  await Promise.all(many.map((_, i) => agent.post('/api/session/delete', { sessionId: `many-${i}` })));
});

test('descriptors and files do not pile up', async () => {
  const count = () => sh('ls /proc/1/fd | wc -l; ls -A /dev/shm/.b* | wc -l').then((s) => s.trim().split('\n').map(Number));
  const work = async () => {
    for (let i = 0; i < 20; i++) {
      await agent.run('sleep 0 & /bin/true', { session: 'pile' });
      await agent.run('exit 1', { session: `pile-${i}` });
      await agent.run(`: ${'x'.repeat(5000)}`, { session: 'pile' });
      await sh('echo x; (exit 2)');
      await agent.post('/api/read', { path: '/etc/passwd' });
      await agent.exec({ argv: ['cat'] }, { stdin: 'x' });
    }
    await agent.post('/api/session/delete', { sessionId: 'pile' });
  };
  await work();
  await sleep(100); // the shells that were ended go
  const before = await count();
  await work();
  await work();
  for (const deadline = Date.now() + 60000; ; await sleep(20)) {
    const [fds, files] = await count();
    if (fds <= before[0] + 2 && files <= before[1]) break;
    assert.ok(Date.now() < deadline, `${before} -> ${fds} ${files}`);
  }
});

test('SIGTERM from outside ends everything with status 0', async () => {
  const other = await Agent.start();
  await other.run('sleep 1000 & echo');
  process.kill(await other.hostPid(), 'SIGTERM');
  const [code] = await other.exited;
  assert.equal(code, 0);
  await other.stop();
});

test('the memory of an idle agent stays below 1 MiB', { skip: Boolean(process.env.ASAN_OPTIONS) }, async () => {
  const other = await Agent.start();
  try {
    const status = await readFile(`/proc/${await other.hostPid()}/status`, 'utf8');
    const rss = Number(status.match(/VmRSS:\s+(\d+)/)[1]);
    assert.ok(rss < 1024, `${rss} kB`);
  } finally { await other.stop(); }
});

test('a command on the command line runs beside the server', async () => {
  const other = await Agent.start({ command: ['sh', '-c', 'echo $SANDBOX_STARTED >/tmp/started; exit 0'] });
  try {
    assert.equal((await other.run('until [ -s /tmp/started ]; do sleep 0.01; done; cat /tmp/started; echo $SANDBOX_STARTED')).stdout, 'true\ntrue');
  } finally { await other.stop(); }
});

const gate = 'until [ -e /tmp/go ]; do sleep 0.05; done';
for (const [command, code] of [[['sh', '-c', `${gate}; exit 7`], 7], [['sh', '-c', `${gate}; kill -9 $$`], 137]]) {
  test(`the end of "${command.at(-1)}" is the agent's, with ${code}`, async () => {
    const other = await Agent.start({ command });
    other.run('touch /tmp/go', { session: SESSIONLESS }).catch(() => {}); // it may end before it answers
    const [status] = await other.exited;
    assert.equal(status, code);
    await other.stop();
  });
}

test('wrong options are told on stderr with status 2', () => {
  for (const args of [['--nope'], ['--listen-port'], ['--listen-port', 'x'], ['--listen-port', '70000'], ['--keep-alive-ms'], ['--keep-alive-ms', '0']]) {
    const run = spawnSync(binary, args, { encoding: 'utf8' });
    assert.equal(run.status, 2);
    assert.match(run.stderr, /^berm-agent: .*\nusage:/);
  }
});

test('a port that is taken ends the start with status 1', () => {
  const run = spawnSync(binary, ['--listen-port', String(agent.port)], { encoding: 'utf8', timeout: 60000 });
  assert.equal(run.status, 1);
  assert.match(run.stderr, /start_failed/);
});
