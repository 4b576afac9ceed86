/* C: resources. Beside each attacker a neighbour works on, and the daemon says who was to blame. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { control } from '../lib/control.mjs';
import { until } from '../../e2e/lib/daemon.mjs';
import { processesNamed } from '../lib/host.mjs';
import * as report from '../lib/report.mjs';
import { judge } from '../lib/verdict.mjs';

const MIB = 1 << 20;

/* Runs `body`; meanwhile and afterwards the neighbour must work, in the same generation, and lose no process to the OOM
 * killer. */
async function besideNeighbour(world, body) {
  const neighbour = await world.shared();
  const before = await neighbour.describe();
  let done = false;
  const attack = body().finally(() => { done = true; });
  do {
    const { status, error } = await neighbour.exec(['true']);
    assert.equal(error, undefined);
    assert.equal(status, 0, 'the neighbour cannot run a command');
  } while (!done);
  const result = await attack;
  const after = await neighbour.describe();
  assert.equal(after.generation, before.generation);
  assert.equal(after.endReason, null);
  assert.equal(after.usage.oomKills, 0);
  assert.ok(await world.healthy(), 'the daemon is not healthy');
  return result;
}

function registerProcesses(world) {
  test('C1: a fork bomb stays below its limit and leaves its sandbox usable', async () => {
    const sandbox = await world.sandbox({ limits: { pids: 64 } });
    const inside = await besideNeighbour(world, () => sandbox.probe(['C1-bomb', '64']));
    const { status } = await sandbox.exec(['true']);
    assert.equal(status, 0, 'the sandbox itself cannot run a command any more');
    await sandbox.destroy();
    report.add(judge('C1-bomb', inside, await control(world.probePath, ['C1-bomb', '64'])));
  });

  test('C8: daemons outlive their command but not their sandbox', async () => {
    const sandbox = await world.sandbox();
    const mark = `berm-daemon-${process.pid}`;
    assert.equal((await sandbox.probe(['C8-daemon', mark])).status, 0);
    assert.equal((await sandbox.probe(['C8-find', mark])).status, 0, 'the daemons died with their command');
    assert.equal(processesNamed(mark).length, 8);
    await sandbox.destroy();
    await until('the daemons to die with their sandbox', () => processesNamed(mark).length === 0);
    report.add({ id: 'C8-daemon', items: 8, proven: 8, layers: ['cgroup kill, pid namespace'] });
  });
}

const MEMORY_WAYS = ['anonymous', 'locked', 'tmpfs', 'memfd', 'sysv', 'pipes', 'sockets', 'dentries', 'epolls', 'empty-pipes', 'idle-sockets'];

/* The sandbox may die of it, by the OOM killer taking its pid 1; then that must be the reason given. */
async function exhaust(world, way, limit) {
  const sandbox = await world.sandbox({ limits: { memoryBytes: limit } });
  const args = [`C2-${way}`, String(2 * limit)];
  const inside = await besideNeighbour(world, () => sandbox.probe(args));
  const after = await sandbox.describe();
  if (inside.error) {
    assert.equal(inside.error.reason ?? inside.error.context?.reason, 'oom', JSON.stringify(inside.error));
    assert.equal(after.endReason, 'oom');
  } else {
    assert.ok(after.usage.memoryPeakBytes <= limit * 1.02, `it used ${after.usage.memoryPeakBytes} of ${limit}`);
    assert.equal((await sandbox.exec(['true'])).status, 0);
  }
  await sandbox.destroy();
  return inside.error ? { status: 1, items: [{ verdict: 'refused', name: '', detail: 'SIGKILL' }], text: '', died: true } : inside;
}

function registerMemory(world) {
  for (const way of MEMORY_WAYS) {
    test(`C2-${way}: memory beyond the limit cannot be had`, async () => {
      const limit = 64 * MIB;
      const outside = await control(world.probePath, [`C2-${way}`, String(2 * limit)]);
      const inside = await exhaust(world, way, limit);
      if (inside.died) inside.items[0].name = outside.items[0].name;
      report.add(judge(`C2-${way}`, inside, outside, { layers: way === 'locked' ? { EAGAIN: 'RLIMIT_MEMLOCK' } : {} }));
    });
  }

  test('C2: the page cache of its own files never kills a sandbox', async () => {
    const sandbox = await world.sandbox({ limits: { memoryBytes: 64 * MIB, diskBytes: 512 * MIB } });
    const inside = await besideNeighbour(world, () => sandbox.probe(['C4-within', String(256 * MIB)]));
    assert.equal(inside.status, 0, inside.text);
    const { usage } = await sandbox.describe();
    assert.equal(usage.oomKills, 0);
    assert.ok(usage.memoryPeakBytes <= 64 * MIB * 1.02);
    await sandbox.destroy();
    report.add({ id: 'C2-page-cache', items: 1, layers: ['memory limit (reclaimed, nothing killed)'] });
  });
}

function registerCpu(world) {
  test('C3-priority: no process can become more important', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['C3-priority']);
    report.add(judge('C3-priority', inside, await control(world.probePath, ['C3-priority']), {
      unproven: { 'RLIMIT_RTPRIO raised': 'needs CAP_SYS_RESOURCE outside too', 'RLIMIT_NICE raised': 'needs CAP_SYS_RESOURCE outside too' },
    }));
  });

  test('C3-spin: eight spinning processes get the share of the limit, by the kernel\'s account', async () => {
    const sandbox = await world.sandbox({ limits: { cpuMillis: 250 } });
    const start = { time: process.hrtime.bigint(), usage: (await sandbox.describe()).usage.cpuUsec };
    const inside = await besideNeighbour(world, () => sandbox.probe(['C3-spin', '8', '3000']));
    const spentMs = ((await sandbox.describe()).usage.cpuUsec - start.usage) / 1000;
    const wallMs = Number(process.hrtime.bigint() - start.time) / 1e6;
    assert.ok(spentMs <= 0.25 * wallMs + 200, `${spentMs} ms of CPU in ${wallMs} ms at a quarter of a CPU`);
    await sandbox.destroy();
    report.add(judge('C3-spin', inside, 'judged by what the kernel accounted'));
  });
}

function registerDisk(world) {
  for (const [way, amount] of [['bytes', 128 * MIB], ['deleted', 128 * MIB], ['allocated', 128 * MIB], ['inodes', 60_000]]) {
    test(`C4-${way}: the disk ends at its quota, without a kill for memory`, async () => {
      const sandbox = await world.sandbox({ limits: { diskBytes: 64 * MIB, memoryBytes: 48 * MIB } });
      const inside = await besideNeighbour(world, () => sandbox.probe([`C4-${way}`, String(amount)], { cwd: '/workspace' }));
      for (const { detail } of inside.items) assert.match(detail, /^(EDQUOT|ENOSPC)$/);
      const after = await sandbox.describe();
      assert.equal(after.usage.oomKills, 0, 'a full disk counted as a lack of memory');
      assert.equal(after.generation, sandbox.generation);
      assert.equal((await sandbox.probe(['C4-within', String(MIB)])).status, 0, 'deleting did not make room again');
      await sandbox.destroy();
      report.add(judge(`C4-${way}`, inside, await control(world.probePath, [`C4-${way}`, String(amount)], { cwd: world.scratch })));
    });
  }

  test('C4: the quota holds for every path that can be written', async () => {
    const sandbox = await world.sandbox({ limits: { diskBytes: 64 * MIB, memoryBytes: 48 * MIB } });
    for (const cwd of ['/', '/tmp', '/var/tmp', '/root', '/etc', '/dev', '/dev/shm', '/run']) {
      const inside = await sandbox.probe(['C4-bytes', String(128 * MIB)], { cwd });
      assert.notEqual(inside.status, 0, `${cwd}: ${inside.text}`);
    }
    await sandbox.destroy();
  });
}

function registerStorm(world) {
  test('C5-storm: a neighbour reads and writes while the disk is kept busy', async () => {
    const [sandbox, neighbour] = [await world.sandbox(), await world.shared()];
    let turns = 0;
    const inside = await besideNeighbour(world, async () => {
      let over = false;
      const storm = sandbox.probe(['C5-storm', '4', '2'], { cwd: '/workspace' }).finally(() => { over = true; });
      for (; !over; turns++) {
        const content = `turn ${turns}`;
        await neighbour.put('/workspace/beside', content, 0o644);
        assert.equal(await (await fetch(`${neighbour.base}/file/workspace/beside`)).text(), content);
      }
      return storm;
    });
    assert.equal(inside.status, 0, inside.text);
    assert.ok(turns > 0);
    await sandbox.destroy();
    report.add({ id: 'C5-storm', items: 1, result: 'endured', layers: [`not limited; the neighbour's file was written and read ${turns} times meanwhile`] });
  });
}

function registerTables(world) {
  const rows = [['fds', 300, { nofile: 256 }], ['in-flight', 2048, { nofile: 256 }], ['terminals', 2048, { nofile: 4096 }], ['threads', 128, { pids: 64 }], ['signals', 200_000, {}]];
  for (const [table, count, limits] of rows) {
    test(`C6-${table}: the table ends at the sandbox's limit`, async () => {
      const sandbox = await world.sandbox({ limits });
      const inside = await besideNeighbour(world, () => sandbox.probe([`C6-${table}`, String(count)]));
      const outside = await control(world.probePath, [`C6-${table}`, String(count)]);
      report.add(judge(`C6-${table}`, inside, outside, {
        layers: { terminals: { EAGAIN: 'devpts limit' }, signals: { EAGAIN: 'RLIMIT_SIGPENDING' } }[table],
        unproven: { [`${count} terminals`]: "the host's own limit", [`${count} queued signals`]: "the host's own limit" },
      }));
      const neighbour = await world.shared();
      assert.equal((await neighbour.probe(['C6-terminals', '1'])).status, 0, 'a neighbour gets no terminal');
      await sandbox.destroy();
    });
  }
}

export function registerResources(world) {
  registerProcesses(world);
  registerMemory(world);
  registerCpu(world);
  registerDisk(world);
  registerStorm(world);
  registerTables(world);
}
