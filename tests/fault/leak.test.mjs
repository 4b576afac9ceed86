/* A thousand sandboxes later everything is as it was: descriptors, mounts, groups, namespaces, devices, memory, files. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';

import { descriptors, readText, stat, until } from './lib/host.mjs';
import { programs, whyNot } from './lib/programs.mjs';
import { withWorld } from './lib/world.mjs';

const rounds = 1000;
const atOnce = 4;
const megabyte = 1 << 20;

const number = (text, pattern) => Number(pattern.exec(text)?.[1] ?? 0);
const privateBytes = (pid) => number(readText(`/proc/${pid}/status`), /^RssAnon:\s*(\d+) kB$/m) * 1024;

function diskUse(world) {
  const { blocks, bfree, bsize } = fs.statfsSync(world.host.disk());
  return (blocks - bfree) * bsize;
}

/* Deleted subvolumes are taken apart in the background; committing wakes the thread that does it. */
const wakeCleaner = (world) => execFileSync('btrfs', ['filesystem', 'sync', world.host.disk()]);

/* Counts of ours, which must be the same again. */
function exact(world) {
  const { daemons, spawners } = world.host.servers();
  const fds = (pid) => descriptors(pid).filter((link) => !link.startsWith('socket:') || pid !== daemons[0]).length;
  return {
    daemon: fds(daemons[0]),
    spawners: spawners.map(fds),
    workerMounts: spawners.map((pid) => readText(`/proc/${pid}/mountinfo`).trim().split('\n').length),
    children: fs.readdirSync('/proc').filter((pid) => spawners.includes(stat(pid)?.parent)).length,
  };
}

/* Sanitizers keep freed memory for a while. */
const isSanitized = () => fs.readFileSync(programs.bermd).includes('__asan_init');

/* Sizes, some of the whole host, where others are busy as well: {what: [now, most that it may grow]}. */
function sizes(world) {
  const { daemons, spawners } = world.host.servers();
  const meminfo = readText('/proc/meminfo');
  const groupStats = world.host.groups().map(([directory]) => readText(path.join(directory, 'cgroup.stat')));
  const dying = groupStats.map((text) => number(text, /^nr_dying_descendants (\d+)$/m));
  return {
    ...(!isSanitized() && {
      'memory of bermd': [privateBytes(daemons[0]), 2 * megabyte],
      'memory of berm-spawn': [spawners.reduce((sum, pid) => sum + privateBytes(pid), 0), megabyte],
    }),
    'memory of the kernel': [number(meminfo, /^SUnreclaim:\s*(\d+) kB$/m) * 1024, 100 * megabyte],
    'network namespaces of the host': [number(readText('/proc/slabinfo'), /^net_namespace\s+(\d+)/m), rounds / 2],
    'groups that wait for their end': [Math.max(...dying), rounds / 4],
    'the database': [fs.statSync(path.join(world.data, 'state/berm.db')).size, megabyte],
    'its log, which starts over when it is large': [fs.statSync(path.join(world.data, 'state/berm.db-wal')).size, 72 * megabyte],
    'the disk pool': [diskUse(world), 2 * megabyte],
  };
}

const grown = (before, after) =>
  Object.keys(before)
    .filter((what) => after[what][0] - before[what][0] > before[what][1])
    .map((what) => `${what} grew from ${before[what][0]} to ${after[what][0]}`);

/* Cold and warm ones, that did something or nothing, that were deleted while they ran or after they died. */
async function live({ client }, i) {
  const id = `leak${'abcdefgh'[i % 8]}${i.toString(4).replace(/[01]/g, (digit) => 'yz'[digit])}`;
  const ok = (response, ...statuses) => assert.ok(statuses.includes(response.status), response.bytes.toString());
  ok(await client.put(`/v1/sandbox/${id}`, i % 2 ? {} : { limits: { nofile: 1000, memoryBytes: 64 * megabyte } }), 201);
  if (i % 4 < 2) assert.equal((await client.run(id, 'echo $$')).code, 0);
  if (i % 8 === 0) ok(await client.write(id, '/workspace/file', Buffer.alloc(megabyte, 1)), 200);
  if (i % 8 === 1) ok(await client.post(`/v1/sandbox/${id}/session`, {}), 200);
  ok(await client.remove(id), 204);
}

async function many(world, count) {
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) await live(world, i);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  await world.settle();
}

describe('leaks', { skip: whyNot() }, () => {
  test(`${rounds} sandboxes leave nothing behind`, () =>
    withWorld({ pool: 2, slots: 4 }, async (world) => {
      await world.serve();
      await world.addBystander();
      await many(world, 200);
      wakeCleaner(world);
      const before = exact(world);
      const sizesBefore = sizes(world);
      await many(world, rounds);
      await until(() => JSON.stringify(exact(world)) === JSON.stringify(before), 'the counts to be as before').catch(() => {});
      assert.deepEqual(exact(world), before);
      wakeCleaner(world);
      await until(() => grown(sizesBefore, sizes(world)).length === 0, 'the sizes to be as before').catch(() => {});
      assert.deepEqual(grown(sizesBefore, sizes(world)), []);
      await world.check();
    }));
});
