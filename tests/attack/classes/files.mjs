/* B: the file system. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { control } from '../lib/control.mjs';
import { walk } from '../lib/host.mjs';
import * as report from '../lib/report.mjs';
import { judge, reachedItems } from '../lib/verdict.mjs';

const sha256 = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

function registerDescriptors(world) {
  test('B1-inherited: no descriptor of the runtime is left open (CVE-2016-9962, CVE-2024-21626)', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['B1-inherited']);
    const outside = await control(world.probePath, ['B1-inherited'], { setup: 'exec 7</' });
    assert.ok(reachedItems(outside).some(({ name }) => name === 'descriptor 7'));
    report.add({ ...judge('B1-inherited', inside, 'the control run had a descriptor to find'), proven: 1 });
  });

  test('B1-cwd: no working directory leads outside (CVE-2024-21626)', async () => {
    const sandbox = await world.shared();
    const paths = ['/proc/1/cwd', '/proc/1/root', '/proc/self/root', '/proc/self/cwd', '/proc/thread-self/cwd'];
    for (let fd = 0; fd < 64; fd++) paths.push(`/proc/self/fd/${fd}`, `/proc/1/fd/${fd}`);
    let started = 0;
    for (const cwd of paths) {
      const inside = await sandbox.probe(['B1-cwd'], { cwd });
      if (inside.error) continue; /* refused before the start: a typed error of the API or of the agent */
      started++;
      assert.equal(inside.status, 1, `${cwd}: ${inside.text}`);
    }
    const outside = await control(world.probePath, ['B1-cwd'], { setup: 'mkdir /tmp/gone.$$; cd /tmp/gone.$$; rmdir /tmp/gone.$$' });
    assert.equal(outside.status, 0);
    report.add({ id: 'B1-cwd', items: paths.length, proven: 1, layers: [`inside the root (${started})`, `no such directory (${paths.length - started})`] });
  });

  test('B1-overwrite: the programs of the runtime cannot be written (CVE-2019-5736)', async () => {
    const before = sha256(world.agentPath);
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['B1-overwrite', '1']);
    assert.equal(inside.status, 1, inside.text);
    const watching = sandbox.probe(['B1-watch', '3000']);
    await sandbox.put('/workspace/evil', '#!/proc/self/exe\n', 0o755);
    for (let i = 0; i < 20; i++) await sandbox.exec(['/workspace/evil', 'x'], { timeoutMs: 5000 });
    const watched = await watching;
    const setup = 'mount -t tmpfs none /mnt; cp "$0" /mnt/foreign; /mnt/foreign C8-stay x & :';
    assert.equal(watched.status, 1, watched.text);
    assert.equal(sha256(world.agentPath), before);
    report.add(judge('B1-overwrite', watched, await control(world.probePath, ['B1-watch', '100000'], { setup })));
  });
}

/* Places that a start mounts over, writes to or walks through, and what an image can put there instead. */
const TOP = ['proc', 'sys', 'dev', 'tmp', 'workspace', 'run', 'etc', 'root', 'var', 'mnt'];
const INNER = ['dev/pts', 'dev/shm', 'dev/mqueue', 'dev/console', 'dev/null', 'dev/zero', 'dev/tty', 'dev/ptmx', 'dev/fd',
  'dev/stdin', 'etc/hosts', 'etc/resolv.conf', 'etc/hostname', 'etc/mtab', 'etc/passwd', 'proc/self', 'proc/sys', 'sys/fs/cgroup'];

const KINDS = {
  'absolute link': (canary) => ({ type: 'symlink', target: canary }),
  'link upwards': (canary) => ({ type: 'symlink', target: `${'../'.repeat(12)}${canary.slice(1)}` }),
  'dangling link': () => ({ type: 'symlink', target: '/nonexistent/berm' }),
  'link to itself': (_, place) => ({ type: 'symlink', target: `/${place}` }),
  'magic link': () => ({ type: 'symlink', target: '/proc/self/fd/3' }),
  'link through pid 1': () => ({ type: 'symlink', target: '/proc/1/root/etc' }),
  fifo: () => ({ type: 'fifo', mode: 0o666 }),
  file: () => ({ type: 'file', content: 'berm', mode: 0o666 }),
};

function hostileImage(world, place, kind) {
  const entries = [{ type: 'file', path: 'probe', content: world.probeBytes, mode: 0o755 }];
  const parents = place.split('/').slice(0, -1);
  if (parents.length) entries.push({ type: 'directory', path: `${parents.join('/')}/` });
  entries.push({ path: place, ...KINDS[kind](world.canaryDirectory, place) });
  return entries;
}

const snapshot = (directory) => [...walk(directory)].map(({ path: name, stat }) => `${name} ${stat.mode} ${stat.uid} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`);

async function useHostile(world, image) {
  const sandbox = await world.sandbox({ image, probe: '/probe', mayFail: true });
  if (sandbox.error) {
    assert.ok(sandbox.error.code, `an error without a code: ${JSON.stringify(sandbox.error)}`);
    return 'refused';
  }
  try {
    for (const args of [['B1-inherited'], ['B1-cwd'], ['A4-chroot', world.canary]]) {
      const inside = await sandbox.probe(args);
      assert.equal(inside.status, 1, inside.text);
    }
  } finally {
    await sandbox.destroy();
  }
  return 'started';
}

/* One hostile image: it may be refused, or start and be harmless. Gives 'refused' or 'started'. */
async function tryImage(world, place, kind) {
  const image = await world.importImage(hostileImage(world, place, kind));
  if (image.error) return 'refused';
  try {
    return await useHostile(world, image.name);
  } finally {
    await world.removeImage(image.name);
  }
}

function registerImages(world) {
  for (const kind of Object.keys(KINDS)) {
    test(`B1: an image whose special paths are each a ${kind} does not touch the host`, async () => {
      const before = { canary: snapshot(world.canaryDirectory), mounts: world.mounts() };
      const outcomes = { refused: 0, started: 0 };
      for (const place of [...TOP, ...INNER]) {
        outcomes[await tryImage(world, place, kind)]++;
        assert.deepEqual(snapshot(world.canaryDirectory), before.canary, `${place} as ${kind} changed the host`);
        assert.deepEqual(world.mounts(), before.mounts, `${place} as ${kind} left a mount`);
      }
      report.add({ id: `B1-image ${kind}`, items: TOP.length + INNER.length, layers: [`started harmlessly ${outcomes.started}`, `refused ${outcomes.refused}`] });
    });
  }

  test('B1: an image whose device nodes are real ones gets none of them', async () => {
    const nodes = [['dev/mem', 'char', 1, 1], ['dev/sda', 'block', 8, 0], ['kmsg', 'char', 1, 11], ['dev/null', 'block', 7, 0]];
    const entries = nodes.map(([place, type, major, minor]) => ({ path: place, type, major, minor, mode: 0o666 }));
    const image = await world.importImage([{ type: 'file', path: 'probe', content: world.probeBytes, mode: 0o755 }, { type: 'directory', path: 'dev/' }, ...entries]);
    assert.ok(image.name, image.error);
    const sandbox = await world.sandbox({ image: image.name, probe: '/probe' });
    const inside = await sandbox.probe(['A7-devices']);
    await sandbox.destroy();
    await world.removeImage(image.name);
    const outside = await control(world.probePath, ['A7-devices'], { cwd: world.scratch });
    report.add(judge('B1-image devices', inside, outside, { unproven: world.unproven['A7-devices'], harmless: world.harmless['A7-devices'] }));
  });
}

function registerInodes(world) {
  test('B4-special: devices, privileged attributes and foreign owners are refused', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['B4-special'], { cwd: '/workspace' });
    report.add(judge('B4-special', inside, await control(world.probePath, ['B4-special'], { cwd: world.scratch }), { harmless: world.harmless['B4-special'] }));
  });

  test('B4-inspect: what a sandbox writes means nothing to the host', async () => {
    const sandbox = await world.sandbox();
    await sandbox.exec(['mkdir', '/workspace/left-by-probe']);
    await sandbox.probe(['B4-leave', '/workspace/left-by-probe']);
    const left = [...walk(world.disk)].filter(({ path: name }) => path.dirname(name).endsWith('/left-by-probe'));
    assert.ok(left.length >= 6, 'the files were not found on the host');
    const seen = await control(world.probePath, ['B4-inspect', ...left.map((file) => file.path)], { namespaces: false });
    const own = path.join(world.scratch, 'left');
    fs.mkdirSync(own);
    await control(world.probePath, ['B4-leave', own]);
    const outside = await control(world.probePath, ['B4-inspect', ...left.map((file) => path.join(own, path.basename(file.path)))]);
    report.add(judge('B4-inspect', seen, outside));
    assert.equal(fs.statSync(world.disk).mode & 0o077, 0, 'others may enter the disk of the sandboxes');
  });

  test('B4-euid: set-id programs give nothing', async () => {
    const sandbox = await world.shared();
    await sandbox.exec(['cp', '/workspace/berm-probe', '/workspace/set-id']);
    await sandbox.exec(['chmod', '6755', '/workspace/set-id']);
    const inside = await sandbox.probe(['B4-as', '/workspace/set-id', 'B4-euid']);
    const copy = path.join(world.scratch, 'set-id');
    fs.copyFileSync(world.probePath, copy);
    fs.chmodSync(copy, 0o6755);
    fs.chmodSync(world.scratch, 0o755);
    report.add(judge('B4-euid', inside, await control(world.probePath, ['B4-as', copy, 'B4-euid'])));
    fs.rmSync(copy);
  });
}

function registerProc(world) {
  test('B5-write: nothing in /proc and /sys that changes the host can be written', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['B5-write']);
    const outside = await control(world.probePath, ['B5-write']);
    report.add(judge('B5-write', inside, outside, {
      harmless: world.harmless['B5-write'],
      unproven: { 'write /proc/bus/pci': 'a directory', 'write /proc/sys/user/max_user_namespaces': 'read-only outside too' },
    }));
  });

  test('B5-read: /proc and /sys tell nothing of the host', async () => {
    const sandbox = await world.shared();
    const inside = await sandbox.probe(['B5-read']);
    const outside = await control(world.probePath, ['B5-read'], { namespaces: false });
    const empty = (name) => [name, 'empty outside too'];
    const unproven = Object.fromEntries(outside.items.filter(({ detail }) => detail === 'EACCES').map(({ name }) => empty(name)));
    report.add(judge('B5-read', inside, outside, { harmless: world.harmless['B5-read'], unproven }));
  });

  test('B5-leaks: no host process, mount, name, environment or kernel address shows', async () => {
    const sandbox = await world.shared();
    const args = ['B5-leaks', '/sys/fs/cgroup', String(world.daemonPid), 'bermd', os.hostname(), 'BERM_ATTACK_CANARY'];
    const inside = await sandbox.probe(args);
    const outside = await control(world.probePath, args, { namespaces: false, env: { BERM_ATTACK_CANARY: 'x' } });
    report.add(judge('B5-leaks', inside, outside, {
      unproven: {
        'the environment of pid 1': 'that of the host is another',
        "the host's mounts by pid 1": 'pid 1 of the host may be in another mount namespace',
      },
    }));
  });
}

function registerShared(world) {
  test('B7: shared memory, queues, abstract sockets and /tmp are private', async () => {
    const [one, other] = [await world.sandbox(), await world.shared()];
    const mark = `m${process.pid}`;
    const holding = one.start(['B7-leave', mark, '600']);
    await holding.line;
    assert.ok(reachedItems(await one.probe(['B7-find', mark])).length >= 8, 'the sandbox itself does not see its marks');
    const inside = await other.probe(['B7-find', mark]);
    await one.destroy();
    await holding.done;
    const setup = `mkdir -p /run /workspace; "$0" B7-leave ${mark} 600 & while ! "$0" B7-find ${mark} | grep -q 'reached.*socket'; do :; done`;
    const outside = await control(world.probePath, ['B7-find', mark], { setup });
    report.add(judge('B7-find', inside, outside));
  });
}

export function registerFiles(world) {
  registerDescriptors(world);
  registerImages(world);
  registerInodes(world);
  registerProc(world);
  registerShared(world);
}
