/*
 * What bermd is doing when it is killed. Each scenario: `options` of its world; `prepare`, before the daemon gets its
 * fault, whose result the others get as `memo`; `act`, during which it dies, with an outcome of {acknowledged, value};
 * `check`, after the restart, for what is not in World.check().
 */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';

import { readText, until } from './host.mjs';
import { Client } from './client.mjs';
import { image, imagesDir } from './programs.mjs';

const path = '/v1/sandbox/fresh';
const limits = { memoryBytes: 300 << 20, pids: 77 };
const wish = { env: { FRESH: 'yes' }, labels: { of: 'scenario' }, limits };

async function makeFresh(world) {
  const made = await world.client.put(path, wish);
  assert.equal(made.status, 201, made.bytes.toString());
}

/* A sandbox of which the client may or may not have been told: it is whole, or it never was. */
async function checkFresh(world, { acknowledged }) {
  const { client, host } = world;
  const row = (await client.sandboxes()).find(({ id }) => id === 'fresh');
  if (acknowledged) assert.ok(row && row.state === 'running', `acknowledged, and now ${JSON.stringify(row)}`);
  if (row) {
    assert.deepEqual(row.env, ['FRESH']);
    assert.deepEqual(row.labels, wish.labels);
    assert.ok(['running', 'sleeping'].includes(row.state) || row.endReason === 'lost', JSON.stringify(row));
  }
  const used = await client.run('fresh', 'echo $FRESH');
  assert.deepEqual([used.code, used.out], [0, row ? 'yes\n' : '\n']);
  const now = await client.describe('fresh');
  const expected = !row ? 1 : row.state === 'running' ? row.generation : row.generation + 1;
  assert.equal(now.generation, expected);
  if (row) assert.deepEqual(host.limits(await world.groupOf('fresh')), limits);
  const last = (await client.events('fresh')).at(-1);
  assert.equal(last, now.generation === 1 ? 'created' : `started: generation ${now.generation}`);
}

const create = { act: ({ client }) => client.put(path, wish), check: checkFresh };

/* The agent is told its environment with the first request. */
const firstUse = {
  ...create,
  async act({ client }) {
    await client.put(path, wish);
    return client.run('fresh', 'true');
  },
};

const warm = (client) => until(async () => (await client.get('/v1/pool/stats')).json.warm === 1, 'the warm sandbox');

const claim = {
  ...create,
  options: { pool: 1 },
  async act({ client }) {
    await warm(client);
    return client.put(path, wish);
  },
};

/* The agent of a warm sandbox is asked before the claim is committed: what a daemon left so is nobody's, and not warm. */
const claimUse = {
  options: { pool: 1 },
  async act({ client }) {
    await warm(client);
    return client.run('fresh', 'echo used >/workspace/mark');
  },
  async check({ client }, { acknowledged }) {
    assert.ok(!acknowledged);
    assert.equal((await client.sandboxes()).find(({ id }) => id === 'fresh'), undefined);
    await warm(client);
    assert.equal((await client.get(`${path}/file/workspace/mark`)).status, 404);
  },
};

const shutdownPool = { options: { pool: 1 }, act: ({ client }) => client.post('/v1/pool/shutdown-prewarmed') };

/* The spawner's worker dies first, and the daemon while it undoes the start that failed through that. */
const fail = { ...create, faults: 'spawn.create.cloned,create.failed' };

const wake = {
  async prepare(world) {
    await world.client.put(path, { ...wish, sleepAfter: 1 });
    await until(async () => (await world.client.describe('fresh')).state === 'sleeping', 'the sandbox to sleep');
    await world.client.put(path, { sleepAfter: 600 });
  },
  act: ({ client }) => client.run('fresh', 'true'),
  check: checkFresh,
};

const exec = {
  prepare: makeFresh,
  act: ({ client }) => client.run('fresh', 'echo $$ >/workspace/began; echo out; [ -e /workspace/end ] || exec sleep 4321'),
  async check({ client, host }, outcome, memo, point) {
    const sleepers = () => host.processes().filter(({ pid }) => readText(`/proc/${pid}/cmdline`) === 'sleep\x004321\0');
    assert.ok(!outcome.acknowledged);
    if (point === 'exec.start') assert.equal((await client.get(`${path}/file/workspace/began`)).status, 404);
    if (['exec.done', 'exec.streaming'].includes(point)) assert.match(`${await client.read('fresh', '/workspace/began')}`, /^\d+\n$/);
    /* What ran goes on. What had only been sent, and nobody was told of, may have been started or not. */
    if (point === 'exec.streaming') await until(() => sleepers().length === 1, 'the command to go on');
    else if (point !== 'exec.sent') assert.equal(sleepers().length, 0);
  },
};

/* Only a command that ends gets that far. */
const execDone = {
  ...exec,
  async prepare(world) {
    await makeFresh(world);
    await world.client.write('fresh', '/workspace/end', '');
  },
};

/* With an Idempotency-Key: what is in the store is answered again, what is not known is not run again. */
const runOnce = ({ client }) =>
  client.call('POST', `${path}/exec`, JSON.stringify({ command: 'echo x >>/workspace/ran; echo $$' }), { 'idempotency-key': 'once' });

const once = {
  prepare: makeFresh,
  act: runOnce,
  async check(world, outcome, memo, point) {
    const again = await runOnce(world);
    const ran = await world.client.get(`${path}/file/workspace/ran`);
    assert.equal(again.status, point === 'once.stored' ? 200 : 409, `${again.bytes}`);
    assert.equal(ran.status === 200 ? `${ran.bytes}` : '', point === 'once.begun' ? '' : 'x\n');
    if (outcome.acknowledged) assert.deepEqual(again.bytes, outcome.value.bytes);
  },
};

const execKept = {
  prepare: makeFresh,
  act: ({ client }) =>
    client.run('fresh', 'echo out; until [ -e /workspace/go ]; do sleep 0.02; done; echo >/workspace/end', { keep_on_disconnect: true }),
  async check({ client }) {
    await client.write('fresh', '/workspace/go', '');
    await until(async () => (await client.get(`${path}/file/workspace/end`)).status === 200, 'the command that was to be kept');
  },
};

const piece = crypto.randomBytes(100_000);
const content = Buffer.concat(Array(10).fill(piece));
async function* pieces() {
  for (let i = 0; i < 10; i++) yield piece;
}

const write = {
  async prepare(world) {
    await makeFresh(world);
    assert.equal((await world.client.write('fresh', '/workspace/dir/old', piece)).status, 200);
  },
  act: ({ client }) => client.write('fresh', '/workspace/dir/new', pieces()),
  async check({ client }, outcome, memo, point) {
    assert.ok(!outcome.acknowledged);
    assert.ok((await client.read('fresh', '/workspace/dir/old')).equals(piece), 'a file that was written before changed');
    const names = (await client.run('fresh', 'ls -A dir', { cwd: '/workspace' })).out.trim().split('\n');
    assert.deepEqual(names.filter((name) => !['new', 'old'].includes(name)), []);
    if (names.includes('new')) {
      const now = await client.read('fresh', '/workspace/dir/new');
      assert.ok(content.subarray(0, now.length).equals(now), 'what was written is not what was sent');
      if (point === 'write.done') assert.equal(now.length, content.length);
    }
    assert.equal((await client.write('fresh', '/workspace/dir/new', pieces())).status, 200);
    assert.ok((await client.read('fresh', '/workspace/dir/new')).equals(content));
  },
};

const destroy = {
  prepare: makeFresh,
  act: ({ client }) => client.remove('fresh'),
  async check({ client }) {
    assert.equal((await client.get(path)).json.code, 'sandbox_not_found');
    const made = await client.put(path, wish);
    assert.deepEqual([made.status, made.json.generation], [201, 1]);
  },
};

const sleep = {
  prepare: makeFresh,
  act: ({ client }) => client.put(path, { sleepAfter: 1 }), /* not before the daemon that is to die of it is there */
  async check({ client }) {
    await until(async () => (await client.describe('fresh')).state === 'sleeping', 'the sandbox to sleep');
    assert.equal((await client.describe('fresh')).endReason, 'slept');
    assert.deepEqual(await client.events('fresh'), ['created', 'configured', 'slept: it was put to sleep']);
    assert.equal((await client.put(path, { sleepAfter: 600 })).status, 200); /* it is looked at next */
    assert.equal((await client.run('fresh', 'echo $FRESH')).out, 'yes\n');
    assert.equal((await client.describe('fresh')).generation, 2);
  },
};

const end = {
  async prepare(world) {
    await makeFresh(world);
    return world.firstProcessOf('fresh');
  },
  act: async (world, memo) => process.kill(memo, 'SIGKILL'),
  /* The spawner that started it is gone. Its status is then read before the host's init takes it, by a worker that may die of that. */
  async check({ client }, outcome, memo, point) {
    const { state, endReason, exitStatus } = await client.describe('fresh');
    const lost = point === 'spawn.exit.seen' && endReason === 'lost';
    assert.deepEqual({ state, endReason, exitStatus }, { state: 'stopped', ...(lost ? { endReason, exitStatus: null } : { endReason: 'signaled', exitStatus: 9 }) });
    assert.deepEqual(await client.events('fresh'), ['created', lost ? 'died: it ended while nobody watched' : 'died: its pid 1 was ended by signal 9']);
    assert.equal((await client.run('fresh', 'echo $FRESH')).out, 'yes\n');
    assert.equal((await client.describe('fresh')).generation, 2);
  },
};

const settings = {
  prepare: makeFresh,
  act: ({ client }) => client.put(path, { limits: { memoryBytes: 200 << 20, pids: 55 }, labels: { of: 'others' } }),
  async check(world, { acknowledged }) {
    const { limits: told, labels } = await world.client.describe('fresh');
    const isNew = labels.of === 'others';
    assert.ok(isNew || !acknowledged);
    assert.deepEqual(world.host.limits(await world.groupOf('fresh')), isNew ? { memoryBytes: 200 << 20, pids: 55 } : limits);
    assert.deepEqual([told.memoryBytes, told.pids], isNew ? [200 << 20, 55] : [limits.memoryBytes, limits.pids]);
  },
};

const keys = {
  prepare: async ({ client }) => (await client.post('/v1/keys', { label: 'before' })).json,
  act: ({ client }) => client.post('/v1/keys', { label: 'lost' }),
  async check({ client }, outcome, memo) {
    const labels = (await client.get('/v1/keys')).json.keys.map(({ label }) => label);
    assert.deepEqual(labels.filter((label) => label !== 'lost'), ['before']);
    assert.equal((await new Client(client.port, memo.key).get('/v1/sandboxes')).status, 200, 'a key that was given out is not known');
  },
};

/* A volume is there as a whole, or not at all: World.check() compares the disk with what is told. */
const volumeCreate = {
  options: { docker: true },
  act: ({ docker }) => docker.post('/volumes/create', { Name: 'fresh', Labels: { of: 'scenario' } }),
  async check({ docker }, { acknowledged }) {
    const shown = await docker.get('/volumes/fresh');
    if (acknowledged) assert.equal(shown.status, 200);
    if (shown.status === 200) assert.deepEqual(shown.json.Labels, { of: 'scenario' });
    assert.equal((await docker.post('/volumes/create', { Name: 'fresh' })).status, 201);
    assert.equal((await docker.delete('/volumes/fresh')).status, 204); /* which would outlive the test's sandboxes */
  },
};

const volumeDelete = {
  options: { docker: true },
  prepare: ({ docker }) => docker.post('/volumes/create', { Name: 'fresh' }),
  act: ({ docker }) => docker.delete('/volumes/fresh'),
  async check({ docker }) {
    assert.equal((await docker.get('/volumes/fresh')).status, 404);
  },
};

/* Whether its end was written down by this daemon or is found out by the next one. */
const autoRemove = {
  options: { docker: true },
  async prepare({ docker }) {
    const settings = { Image: image, Cmd: ['sleep', '1000'], HostConfig: { AutoRemove: true } };
    assert.equal((await docker.post('/containers/create?name=going', settings)).status, 201);
    assert.equal((await docker.post('/containers/going/start')).status, 204);
  },
  act: ({ docker }) => docker.post('/containers/going/kill'),
  async check({ docker }) {
    await until(async () => (await docker.get('/containers/going/json')).status === 404, 'the container to go', 60000);
  },
};

/* The image is there as a whole, or nothing of it; what berm-spawn had made without being asked again goes. */
const imageCommit = {
  options: { docker: true },
  async prepare({ docker }) {
    assert.equal((await docker.post('/containers/create?name=committed', { Image: image })).status, 201);
    assert.equal((await docker.post('/containers/committed/start')).status, 204);
  },
  act: ({ docker }) => docker.post('/commit?container=committed&repo=fresh'),
  async check({ data, docker }, { acknowledged }) {
    const shown = await docker.get('/images/fresh/json');
    if (acknowledged) assert.equal(shown.status, 200);
    if (shown.status === 200) {
      assert.equal((await docker.post('/containers/create?name=copy', { Image: 'fresh' })).status, 201);
      assert.equal((await docker.post('/containers/copy/start')).status, 204);
      assert.equal((await docker.delete('/containers/copy?force=1')).status, 204);
      assert.equal((await docker.delete('/images/fresh')).status, 200);
    }
    assert.equal((await docker.delete('/containers/committed?force=1')).status, 204);
    const { dev, ino } = fs.statSync(data);
    const mine = `commit-${dev.toString(16)}-${ino.toString(16)}-`;
    await until(() => !fs.readdirSync(join(imagesDir, 'names')).some((name) => name.startsWith(mine)), 'its files to go', 60000);
  },
};

/* It dies while it starts. */
const adopt = { prepare: makeFresh, act: async () => {}, check: checkFresh, startsOnly: true };

/* A warm sandbox that is found running is asked whether it is there. */
const adoptPool = { options: { pool: 1 }, act: async () => {}, startsOnly: true };

const adoptUnclaimed = {
  ...destroy,
  async prepare(world) {
    await makeFresh(world);
    await world.end('SIGTERM');
    await world.serve('destroy.stored');
    await world.client.remove('fresh').catch(() => {});
    await world.died();
  },
  act: async () => {},
  startsOnly: true,
};

export const scenarios = {
  adopt, adoptPool, adoptUnclaimed, autoRemove, claim, claimUse, create, destroy, end, exec, execDone, execKept, fail, firstUse, imageCommit, keys, once, settings, shutdownPool, sleep, volumeCreate, volumeDelete, wake, write,
};
