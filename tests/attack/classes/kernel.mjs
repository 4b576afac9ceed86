/* A: the surface of the kernel. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { until } from '../../e2e/lib/daemon.mjs';
import { control, run } from '../lib/control.mjs';
import * as report from '../lib/report.mjs';
import { judge, refusedItems } from '../lib/verdict.mjs';

const LAST_CALL = 512;
const mustRefuse = fs
  .readFileSync(new URL('../must-refuse.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line && !line.startsWith('#'));

/* Map of number to {name, action}, as berm-spawn publishes its filter. */
async function publishedFilter(world) {
  const { status, text } = await run(world.spawnPath, ['--print-filter']);
  assert.equal(status, 0, 'berm-spawn --print-filter');
  const rows = text.trim().split('\n').map((line) => line.split('\t'));
  return new Map(rows.map(([number, name, action]) => [Number(number), { name, action }]));
}

/* uretprobe and uprobe: since Linux 6.14 the kernel lets them past every filter, for they are traps that it sets itself;
 * called by anybody else they answer SIGILL and ENXIO. */
const UNFILTERED = new Map([[335, 'signal 4'], [336, 'ENXIO']]);

/* What the filter says must be what the sandbox sees, number by number. */
function compareWithFilter(filter, inside, outside) {
  const wrong = [];
  const detail = (sweep, number) => sweep.items.find((item) => item.name === String(number)).detail;
  for (let number = 0; number < LAST_CALL; number++) {
    const { name, action } = filter.get(number) ?? { name: `call ${number}`, action: 'ENOSYS' };
    const seen = detail(inside, number);
    if (action === 'allow' && (seen === 'SIGSYS' || (seen === 'ENOSYS' && detail(outside, number) !== 'ENOSYS')))
      wrong.push(`${name} is allowed but answers ${seen}`);
    if (UNFILTERED.get(number) === seen) continue;
    const expected = action === 'broker' ? 'EPERM' : action; // who does nothing for what makes no sense
    if (action !== 'allow' && action !== 'check' && seen !== expected) wrong.push(`${name} must answer ${action} and answers ${seen}`);
  }
  return wrong;
}

function registerSweeps(world) {
  test('A1: every system call answers what the published allow-list says', async () => {
    const filter = await publishedFilter(world);
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['A1-native']);
    const outside = await control(world.probePath, ['A1-native']);
    assert.deepEqual(compareWithFilter(filter, inside, outside), []);
    const refused = LAST_CALL - [...filter.values()].filter(({ action }) => action === 'allow' || action === 'check').length;
    report.add({ id: 'A1-native', items: LAST_CALL, layers: [`seccomp (${refused} of ${LAST_CALL} refused)`] });
  });

  test('A1: the calls that no sandbox may make are refused by the filter', async () => {
    const filter = await publishedFilter(world);
    const names = new Map([...filter.values()].map(({ name, action }) => [name, action]));
    const open = mustRefuse.filter((name) => ['allow', 'check'].includes(names.get(name)));
    assert.deepEqual(open, []);
  });

  test('A1: x32 calls are killed', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['A1-x32']);
    assert.deepEqual(inside.items.filter(({ detail }) => detail !== 'SIGSYS'), []);
    report.add(judge('A1-x32', inside, await control(world.probePath, ['A1-x32'])));
  });

  test('A1: the 32-bit entry is killed', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['A1-i386']);
    assert.deepEqual(inside.items.filter(({ detail }) => detail !== 'SIGSYS'), []);
    report.add(judge('A1-i386', inside, await control(world.probePath, ['A1-i386'])));
  });
}

/* Probes that need no arguments and whose control may run in throw-away namespaces. */
const PLAIN = [
  ['A2-families', 'sockets of other families are refused'],
  ['A2-raw', 'raw sockets and rare transports are refused'],
  ['A2-netlink', 'netlink is ROUTE only'],
  ['A2-pairs', 'socketpair is no way around'],
  ['A3-make', 'no namespace can be made'],
  ['A4-mount', 'nothing can be mounted'],
  ['A4-new-api', 'the new mount calls, pivot_root and file handles are refused'],
  ['A6-calls', 'rare and host-changing calls are refused'],
  ['A7-ioctls', 'no terminal injection and no immutable files'],
  ['A7-devices', 'no device leads into the kernel'],
  ['A9-page-cache', 'the doors of page-cache writes are shut'],
];

function registerPlain(world) {
  for (const [id, title] of PLAIN) {
    test(`${id}: ${title}`, async () => {
      const sandbox = await world.shared();
      const inside = await sandbox.probe([id]);
      const outside = await control(world.probePath, [id], { cwd: world.scratch });
      report.add(judge(id, inside, outside, { unproven: world.unproven[id], harmless: world.harmless[id] }));
    });
  }
}

/* A process of the host's in namespaces of its own, to be entered or traced by the control run. */
async function withVictim(body) {
  const victim = spawn('unshare', ['--fork', '--kill-child', '--pid', '--mount', '--net', '--ipc', '--uts', '--cgroup', '--user', '--map-root-user', '--time',
    'sh', '-c', 'exec 3</; echo $$; exec sleep 600'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await new Promise((resolve) => victim.stdout.once('data', resolve));
    const [pid] = fs.readFileSync(`/proc/${victim.pid}/task/${victim.pid}/children`, 'utf8').trim().split(' ').map(Number);
    await until('the victim is what it stays', () => fs.readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
    return await body(pid);
  } finally {
    victim.kill('SIGKILL');
  }
}

function registerNeighbours(world) {
  for (const [id, title] of [
    ['A3-enter', 'no namespace of another process can be entered'],
    ['A5-calls', 'the agent cannot be traced, read or changed by calls'],
    ['A5-proc', 'the agent cannot be read or changed through /proc'],
  ]) {
    test(`${id}: ${title}`, async () => {
      const sandbox = await world.shared();
      const inside = await sandbox.probe([id, '1']);
      const outside = await withVictim((pid) => control(world.probePath, [id, String(pid)], { namespaces: false }));
      report.add(judge(id, inside, outside, { harmless: world.harmless[id] }));
    });
  }

  test('A5-signals: no signal ends or stops the agent', async () => {
    const sandbox = await world.sandbox();
    const inside = await sandbox.probe(['A5-signals', '1']);
    const outside = await withVictim((pid) => control(world.probePath, ['A5-signals', String(pid)], { namespaces: false }));
    assert.deepEqual(refusedItems(inside).length, inside.items.length, inside.text);
    assert.equal(outside.status, 0, 'the control run did not end its victim');
    const after = await sandbox.describe();
    assert.equal(after.generation, sandbox.generation);
    assert.equal(after.state, 'running');
    report.add({ ...judge('A5-signals', inside, 'the first signal ended the victim of the control run'), proven: 1 });
  });

  test('A5: another sandbox is not among the processes', async () => {
    const [one, other] = [await world.shared(), await world.sandbox()];
    const mark = `berm-mark-${process.pid}`;
    await other.probe(['C8-daemon', mark]);
    assert.equal((await other.probe(['C8-find', mark])).status, 0);
    report.add(judge('A5-neighbour', await one.probe(['C8-find', mark]), await control(world.probePath, ['C8-find', mark], { namespaces: false })));
  });

  test('A4-unmask: what masks /proc and /sys cannot be taken off', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['A4-unmask']);
    const outside = await control(world.probePath, ['A4-unmask']);
    assert.equal(outside.status, 0, 'the control run could not unmount anything');
    report.add({ ...judge('A4-unmask', inside, 'the control run has other mount points'), proven: 1 });
  });

  test('A4-chroot: there is no way out of the root directory', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['A4-chroot', world.canary]);
    report.add(judge('A4-chroot', inside, await control(world.probePath, ['A4-chroot', world.canary])));
  });
}

export function registerKernel(world) {
  registerSweeps(world);
  registerPlain(world);
  registerNeighbours(world);
}

