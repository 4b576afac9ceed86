// The extension "limits" of a command and its receipt "usage": src/agent/child/limit.h, docs/api.md.
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { Agent, sleep } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

const MiB = 1024 * 1024;
const SPIN = 'while :; do :; done';
const run = async (command, limits = {}, more = {}) => (await agent.post('/api/execute', { command, limits, ...more })).json;
const alive = async (mark) => (await run(`grep -slz -e ${mark.slice(0, 1)}[${mark.slice(1, 2)}]${mark.slice(2)} /proc/[0-9]*/cmdline | wc -l`)).stdout.trim();

// Like `sleep`, but told from all others by its argument, in a session of its own and with no parent left.
const daemonised = (mark) => `(setsid sleep 10${mark} >/dev/null 2>&1 &) ; sleep 0.1`;

test('the receipt of a command that ends by itself', async () => {
  const reply = await run('echo out; exit 3');
  assert.deepEqual([reply.exitCode, reply.stdout, reply.sessionId], [3, 'out\n', undefined]);
  const { cpuMs, maxRss, ioBytes, netBytes, reason, ...rest } = reply.usage;
  assert.deepEqual(rest, {});
  assert.ok(cpuMs >= 1 && cpuMs < 1000, `${cpuMs}`);
  assert.ok(maxRss > 500000 && maxRss < 1024 * MiB, `${maxRss}`);
  assert.equal(typeof ioBytes, 'number');
  assert.ok(netBytes === null || netBytes >= 0, `${netBytes}`); // here the network is everybody's: bridge/exec looks at figures
  assert.equal(reason, 'exited');
});

test('without limits there is no receipt, in a session and without one', async () => {
  assert.equal('usage' in (await agent.run('true')), false);
  assert.equal('usage' in (await agent.run('true', { session: '__DISABLE_SESSION__' })), false);
  assert.equal((await agent.exec({ argv: ['true'] })).events.at(-1).data, '{"exit_code":0}');
});

test('usage counts what children and orphans have used', async () => {
  const reply = await run(`python3 -c 'x = bytearray(100 << 20)'; (for i in {1..60000}; do :; done) & wait; dd if=/dev/zero of=/tmp/f bs=64k count=16 conv=fsync 2>/dev/null`);
  assert.equal(reply.usage.reason, 'exited');
  assert.ok(reply.usage.maxRss > 100 * MiB, `${reply.usage.maxRss}`);
  assert.ok(reply.usage.cpuMs >= 20, `${reply.usage.cpuMs}`);
});

test('cpuMs: a loop is ended, also one that no parent waits for', async () => {
  for (const command of [SPIN, `${SPIN} & ${SPIN} & wait`, `(setsid bash -c '${SPIN}' &); sleep 20`]) {
    const reply = await run(command, { cpuMs: 150 });
    assert.equal(reply.exitCode, 137, command);
    assert.equal(reply.usage.reason, 'cpuMs', command);
    assert.ok(reply.usage.cpuMs >= 150 && reply.usage.cpuMs < 5000, `${reply.usage.cpuMs}`);
  }
});

test('cpuMs: waiting costs nothing', async () => {
  const reply = await run('sleep 0.4', { cpuMs: 250 });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [0, 'exited']);
});

test('memory: one process, and several together', async () => {
  const grow = (mib) => `python3 -c 'import time; x = bytearray(${mib} << 20); time.sleep(20)'`;
  let reply = await run(grow(400), { memory: 100 * MiB });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [137, 'memory']);
  reply = await run(`${grow(60)} & ${grow(60)} & wait`, { memory: 100 * MiB });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [137, 'memory']);
});

test('memory: what processes share counts once', async () => {
  const reply = await run(`python3 -c '
import os, time
x = bytearray(50 << 20)
for i in range(4):
    if os.fork() == 0: time.sleep(0.3); os._exit(0)
for i in range(4): os.wait()'`, { memory: 120 * MiB });
  assert.deepEqual([reply.exitCode, reply.usage.reason, reply.stderr], [0, 'exited', '']);
});

test('pids: more than that at once', async () => {
  let reply = await run('for i in 1 2 3 4 5 6; do sleep 20 & done; wait', { pids: 4 });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [137, 'pids']);
  reply = await run('for i in 1 2 3; do sleep 0.1 & done; wait', { pids: 8 });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [0, 'exited']);
});

test('pids: nothing of a tree that forks on is left', async () => {
  // It ends by itself at 255: nothing else would end it for an agent that is slower than the tree.
  const reply = await run('f() { if [ $1 -lt 7 ]; then f $(($1 + 1)) & f $(($1 + 1)) & fi; sleep 10.77; }; f 0', { pids: 20 });
  assert.equal(reply.usage.reason, 'pids');
  assert.equal(await alive('10.77'), '0');
});

test('wallMs', async () => {
  const begin = Date.now();
  const reply = await run('echo before; sleep 60', { wallMs: 1500 });
  assert.ok(Date.now() - begin < 30000);
  assert.deepEqual([reply.exitCode, reply.stdout, reply.usage.reason], [137, 'before\n', 'wallMs']);
});

test('outputBytes: what fits is told, to the byte, of both streams together', async () => {
  let reply = await run('yes', { outputBytes: 10001 });
  assert.deepEqual([reply.exitCode, reply.stdout.length, reply.usage.reason], [137, 10001, 'outputBytes']);
  reply = await run('printf 12345; printf abcde >&2', { outputBytes: 10 });
  assert.deepEqual([reply.exitCode, reply.stdout + reply.stderr, reply.usage.reason], [0, '12345abcde', 'exited']);
  reply = await run('printf 123456', { outputBytes: 5 });
  assert.deepEqual([reply.stdout, reply.usage.reason], ['12345', 'outputBytes']);
});

test('network: false', async () => {
  const sockets = `python3 -c '
import socket
for family in socket.AF_INET, socket.AF_INET6, 40, 17:
    try: socket.socket(family, socket.SOCK_DGRAM if family == 40 else socket.SOCK_STREAM)
    except PermissionError: continue
    except OSError as e: print(family, e); continue
    print(family, "opened")
a, b = socket.socketpair()
a.send(b"x")'`;
  const without = await run(sockets, { network: false });
  assert.deepEqual([without.exitCode, without.stdout, without.stderr], [0, '', '']);
  assert.equal(without.usage.netBytes, 0);
  const withIt = await run(sockets, { network: true });
  assert.match(withIt.stdout, /2 opened/);
});

test('network: false holds for children and daemons', async () => {
  const reply = await run(`bash -c 'setsid bash -c "echo > /dev/tcp/127.0.0.1/${agent.port}"' ; true`, { network: false });
  assert.match(reply.stderr, /Permission denied/);
});

test('the end of the command is the end of all that it started', async () => {
  let reply = await run(daemonised('.11'));
  assert.deepEqual([reply.exitCode, reply.usage.reason], [0, 'exited']);
  assert.equal(await alive('10.11'), '0');
  reply = await run(`${daemonised('.12')}; sleep 20`, { wallMs: 300 });
  assert.equal(reply.usage.reason, 'wallMs');
  assert.equal(await alive('10.12'), '0');
});

test('timeoutMs beside limits is still a timeout', async () => {
  const reply = await run(`${daemonised('.13')}; sleep 20`, {}, { timeoutMs: 300 });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [124, 'timeout']);
  assert.match(reply.stderr, /timed out after 300ms/);
  assert.equal(await alive('10.13'), '0');
});

test('a command that cannot start is the error that it is without limits', async () => {
  assert.equal((await run('no-such-program')).exitCode, 127);
  const reply = await agent.post('/api/execute', { command: 'ls', cwd: '/nope', limits: {} });
  assert.deepEqual([reply.status, reply.json.code], [500, 'COMMAND_EXECUTION_ERROR']);
  assert.match(reply.json.context.stderr, /\/nope/);
});

test('a long command, environment, directory and stdin come through', async () => {
  const reply = await run(`echo ${'x'.repeat(200000)} | wc -c; echo $A; pwd; cat`, {}, { env: { A: 'b' }, cwd: '/tmp' });
  assert.equal(reply.stdout, '200001\nb\n/tmp\n');
  const exec = await agent.exec({ argv: ['cat'], limits: {} }, { stdin: 'to the command' });
  assert.equal(exec.stdout.toString(), 'to the command');
});

test('what cannot be a limit is refused by its name', async () => {
  for (const [limits, field] of [[{ cpuMs: 0 }, 'limits.cpuMs'], [{ memory: -1 }, 'limits.memory'], [{ pids: 1.5 }, 'limits.pids'],
    [{ wallMs: '1' }, 'limits.wallMs'], [{ outputBytes: true }, 'limits.outputBytes'], [{ network: 0 }, 'limits.network'],
    [{ disk: 1 }, 'limits.disk'], [{ CPUMS: 1 }, 'limits.CPUMS'], [5, 'limits']]) {
    for (const [path, more] of [['/api/execute', {}], ['/api/execute/stream', {}], ['/api/process/start', {}], ['/api/execute', { background: true }]]) {
      const reply = await agent.post(path, { command: 'true', limits, ...more });
      assert.equal(reply.status, 400, `${path} ${JSON.stringify(limits)}: ${reply.text}`);
      assert.equal(reply.json.context.validationErrors[0].field, field);
    }
    const reply = await agent.exec({ argv: ['true'], limits });
    assert.deepEqual([reply.status, reply.json.context.validationErrors[0].field], [400, field]);
  }
});

test('limits and a session exclude each other', async () => {
  for (const path of ['/api/execute', '/api/execute/stream', '/api/process/start']) {
    const reply = await agent.post(path, { command: 'true', sessionId: 's', limits: {} });
    assert.deepEqual([reply.status, reply.json.context.validationErrors[0].field], [400, 'limits']);
  }
  assert.equal((await agent.exec({ argv: ['true'], sessionId: 's', limits: {} })).status, 400);
  assert.equal((await agent.post('/api/execute', { command: 'true', limits: {} }, { headers: { 'X-Session-Id': 's' } })).status, 400);
});

test('exec: the receipt is in the exit event', async () => {
  const reply = await agent.exec({ command: SPIN, limits: { cpuMs: 100 } });
  const exit = JSON.parse(reply.events.at(-1).data);
  assert.deepEqual([exit.exit_code, exit.usage.reason], [137, 'cpuMs']);
  const out = await agent.exec({ argv: ['yes'], limits: { outputBytes: 70000 } });
  assert.equal(out.stdout.length, 70000);
  assert.equal(JSON.parse(out.events.at(-1).data).usage.reason, 'outputBytes');
});

test('exec: a client that goes away ends it all', async () => {
  const leaving = new AbortController();
  const response = await agent.request('POST', '/berm/v1/exec', { command: `${daemonised('.14')}; echo; sleep 10.15`, limits: {} },
    { unix: true, onResponse: true, signal: leaving.signal });
  response.on('error', () => {});
  await new Promise((done) => response.once('data', done));
  leaving.abort();
  for (const mark of ['10.15', '10.14']) while (await alive(mark) !== '0') await sleep(10);
});

test('execute/stream: the receipt is in the complete event', async () => {
  const events = await agent.stream('echo a', { limits: {} });
  assert.deepEqual([events.at(-1).type, events.at(-1).usage.reason], ['complete', 'exited']);
});

test('a process: its pid is the command, its record and its stream have the receipt', async () => {
  const id = await agent.process('echo $$; exit 4', { limits: { cpuMs: 5000, wallMs: 20000 } });
  const record = await agent.ended(id);
  assert.deepEqual([record.exitCode, record.status, record.usage.reason], [4, 'failed', 'exited']);
  assert.equal((await agent.get(`/api/process/${id}/logs`)).json.stdout, `${record.pid}\n`);
  const reader = await agent.events('GET', `/api/process/${id}/stream`);
  assert.equal((await reader.rest()).at(-1).usage.reason, 'exited');
  assert.equal('usage' in (await agent.ended(await agent.process('true'))), false);
});

test('a process: a limit ends it', async () => {
  const id = await agent.process(`echo begun; ${SPIN}`, { limits: { cpuMs: 100 } });
  const record = await agent.ended(id);
  assert.deepEqual([record.exitCode, record.status, record.usage.reason], [137, 'killed', 'cpuMs']);
});

test('a process: its kill takes daemons along, TERM first', async () => {
  const id = await agent.process(`trap 'echo got it; exit 5' TERM; ${daemonised('.16')}; echo ready; while :; do sleep 0.05; done`, { limits: {} });
  while (!(await agent.get(`/api/process/${id}/logs`)).json.stdout.includes('ready')) await sleep(10);
  assert.equal((await agent.request('DELETE', `/api/process/${id}`)).status, 200);
  const record = await agent.record(id);
  assert.deepEqual([record.exitCode, record.status, record.usage.reason], [5, 'killed', 'killed']);
  assert.match((await agent.get(`/api/process/${id}/logs`)).json.stdout, /got it/);
  assert.equal(await alive('10.16'), '0');
});

test('a process: kill-all and its own time limit', async () => {
  const id = await agent.process("trap '' TERM; echo ready; sleep 60", { limits: {}, timeoutMs: 1500 });
  while (!(await agent.get(`/api/process/${id}/logs`)).json.stdout.includes('ready')) await sleep(10); // else it is the first signal's
  const other = await agent.process('sleep 20', { limits: {} });
  assert.equal((await agent.request('DELETE', '/api/process/kill-all')).status, 200);
  assert.equal((await agent.record(other)).usage.reason, 'killed');
  const record = await agent.ended(id);
  assert.deepEqual([record.exitCode, record.usage.reason], [124, 'timeout']);
});

test('a command that kills its keeper ends with it', async () => {
  const reply = await run('sleep 0.2; kill -9 $PPID; sleep 20');
  assert.deepEqual([reply.exitCode, reply.usage.reason, reply.usage.cpuMs], [137, 'killed', null]);
});

test('a command that stops its keeper is ended, with its daemons', async () => {
  const reply = await run(`${daemonised('.17')}; kill -STOP $PPID; ${SPIN}`, { cpuMs: 10000 });
  assert.deepEqual([reply.exitCode, reply.usage.reason], [137, 'killed']);
  assert.ok(reply.usage.cpuMs < 10000);
  assert.equal(await alive('10.17'), '0');
});

test('a command that is quicker than its keeper does not hold the agent up', async () => {
  const begin = Date.now();
  await Promise.all(Array.from({ length: 20 }, (_, i) => run(`kill -${i % 2 ? 'STOP' : 'KILL'} $PPID; sleep 20`, { wallMs: 600 })));
  assert.ok(Date.now() - begin < 15000);
});

test('many at once, and no descriptor or process is left', async () => {
  const count = async () => (await readdir(`/proc/${await agent.hostPid()}/fd`)).length;
  const before = await count();
  const replies = await Promise.all(Array.from({ length: 30 }, (_, i) => run(`echo ${i}`, { cpuMs: 5000, wallMs: 20000, pids: 50 })));
  assert.deepEqual(replies.map((reply) => reply.stdout.trim()), replies.map((_, i) => `${i}`));
  assert.ok(await count() <= before + 30); // the connections of this test stay open
  const children = await readFile(`/proc/${await agent.hostPid()}/task/${await agent.hostPid()}/children`, 'utf8');
  assert.ok(children.trim().split(' ').filter(Boolean).length <= 3, children);
});
