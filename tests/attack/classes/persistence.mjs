/* F: what outlives a sandbox. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { until } from '../../e2e/lib/daemon.mjs';
import { readText, status } from '../lib/host.mjs';
import * as report from '../lib/report.mjs';
import { judge, reachedItems } from '../lib/verdict.mjs';

const MIB = 1 << 20;
const SLOTS = 16; /* pool.slots, unless it is set */
const STATE = `ulimit -a; umask; pwd; env | cut -d= -f1 | sort; cat /proc/self/sessionid /proc/self/loginuid
  sed 1d /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg`;

const ids = (sandbox) => status(sandbox.hostPid).Uid[0];

/* Every file that there is, but for what the kernel makes up. */
async function files(sandbox) {
  const { stdout, status: code } = await sandbox.exec(['sh', '-c', "find / -xdev -printf '%p %y %s %m %U\\n' | sort; find /dev /tmp /dev/shm /dev/mqueue | sort"]);
  assert.equal(code, 0);
  return stdout.split('\n').filter((line) => !line.includes(sandbox.id)); /* its name is in its host name */
}

const runFiles = (world, fits) => fs.readdirSync(path.join(world.daemon.data, 'run')).filter(fits);

/* The sockets of the slots that wait, each told from one that had its name before. */
const slots = (world) => runFiles(world, (name) => name.startsWith('.s')).flatMap((name) => {
  const stat = fs.lstatSync(path.join(world.daemon.data, 'run', name), { bigint: true, throwIfNoEntry: false });
  return stat ? [`${name} ${stat.ino} ${stat.mtimeNs}`] : []; /* it has just been taken away */
});

/*
 * The numbers of slots, and with them ids, go round, but a worker of the spawner's that takes over begins with the lowest that are
 * free. Where as many sandboxes live as before, the next one has the number then that it had before.
 */
async function beginAnew(world) {
  const worker = world.daemon.worker();
  const before = slots(world);
  process.kill(worker, 'SIGKILL');
  await until('another worker serves', () => {
    try {
      return world.daemon.worker() !== worker;
    } catch {
      return false; /* there is none at the moment */
    }
  });
  await until('it has made its slots', () => slots(world).filter((slot) => !before.includes(slot)).length === SLOTS);
}

export function registerPersistence(world) {
  test('F1: the next sandbox with the ids of one that was destroyed finds nothing of it', async () => {
    const fresh = await world.sandbox();
    const clean = await files(fresh);
    const state = async (sandbox) => (await sandbox.exec(['sh', '-c', STATE])).stdout;
    const asMade = await state(fresh);
    assert.ok(clean.length > 100, `${clean.length} files`);
    await fresh.destroy();

    /* What berm-spawn knows of each; that goes last, and its number is free from then on. */
    const records = () => runFiles(world, (name) => name.endsWith('.meta'));
    await beginAnew(world);
    const others = records();
    const first = await world.sandbox();
    const own = records().filter((name) => !others.includes(name));
    assert.equal(own.length, 1);
    const uid = ids(first);
    const mark = `f${process.pid}`;
    const holding = first.start(['B7-leave', mark, '600']);
    await holding.line;
    const left = await first.probe(['B7-find', mark]);
    assert.ok(reachedItems(left).length >= 8, 'the sandbox itself does not see its marks');
    const script = `for d in / /etc /var /var/lib /usr/local /home /root /workspace; do echo ${mark} > $d/left; mkdir -p $d/${mark}; done;`
      + ` echo PATH=/evil > /etc/environment; echo 'touch /evil' > /root/.bashrc; ulimit -n 100; head -c 100000000 /dev/zero > /big; exec dd if=/dev/zero of=/dev/null bs=1M count=2000 2>/dev/null`;
    assert.equal((await first.exec(['sh', '-c', script])).status, 0);
    const used = (await first.describe()).usage;
    await first.destroy();
    await holding.done;
    await until('nothing is left of it', () => !records().includes(own[0]));
    assert.equal(readText(`/proc/${first.hostPid}/status`), '');

    await beginAnew(world);
    const next = await world.sandbox();
    assert.equal(ids(next), uid);
    const after = await files(next);
    assert.deepEqual(after.filter((line) => !clean.includes(line)), []);
    assert.deepEqual(clean.filter((line) => !after.includes(line)), []);
    const found = await next.probe(['B7-find', mark]);
    const { usage } = await next.describe();
    assert.ok(usage.memoryPeakBytes < 64 * MIB, `its memory begins at ${usage.memoryPeakBytes}`);
    assert.ok(usage.cpuUsec < used.cpuUsec, `its time begins at ${usage.cpuUsec} of ${used.cpuUsec}`);
    assert.equal(usage.oomKills, 0);
    assert.equal(await state(next), asMade);
    await next.destroy();
    report.add(judge('F1-find', found, left));
  });
}
