/*
 * berm-spawn is killed: its worker at each of its fault points, while bermd lives; its keeper, with which bermd
 * ends; and both daemons while the worker is held at such a point. A point strikes once, so the worker that comes
 * next gets past it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { readText, stat, until } from './lib/host.mjs';
import { pairs, pointsOf, spawnerPoints } from './lib/points.mjs';
import { crun, whyNot } from './lib/programs.mjs';
import { scenarios } from './lib/scenarios.mjs';
import { withWorld } from './lib/world.mjs';

const attempt = (promise) =>
  promise.then((value) => ({ acknowledged: value?.status < 300, value }), (error) => ({ acknowledged: false, error }));

/* A request, if there was one, that met the restart of the worker may fail, in time and with a code that says so. */
function assertTyped({ acknowledged, value, error }) {
  if (acknowledged || value?.status === undefined) return assert.equal(error, undefined);
  assert.ok(['spawner_unavailable', 'pool_error', 'sandbox_died'].includes(value.json?.code), value.bytes?.toString());
  return assert.equal(value.status, 502);
}

const restarts = (world) => world.log.split('event=spawn.restarted').length - 1;

async function walk(scenario, point, world) {
  await world.serve();
  await world.addBystander();
  const memo = await scenario.prepare?.(world);
  await world.end('SIGTERM');
  await world.serve(point);
  const outcome = await attempt(scenario.act(world, memo));
  await until(() => restarts(world) === 1, 'the worker to die and come back');
  assertTyped(outcome);
  await world.check();
  await scenario.check?.(world, outcome, memo, point);
  await world.check();
  assert.equal(restarts(world), 1);
}

/* The worker is held at the point; what happens to it then is `strike`'s business. */
async function hold(scenario, point, world, strike) {
  await world.serve();
  await world.addBystander();
  const memo = await scenario.prepare?.(world);
  await world.end('SIGTERM');
  await world.serve(`${point}/stop`);
  const outcome = attempt(scenario.act(world, memo));
  const stopped = () => world.host.servers().spawners.find((pid) => stat(pid)?.state === 'T');
  const worker = await until(stopped, 'the worker to stop');
  await strike(worker);
  world.bystander.alive();
  await world.restart();
  await scenario.check?.(world, await outcome, memo, point);
  await world.check();
}

const atWork = ['create', 'destroy', 'end', 'settings'];
const atStart = ['start', 'prepare', 'giveBack'];
/* A slot that was made ahead would not be made in the request. */
const optionsOf = (scenario) => ({ slots: scenario === 'create' ? 0 : 2 });

describe('berm-spawn is killed', { skip: whyNot() }, () => {
  for (const [name, point] of pairs(spawnerPoints).filter(([scenario]) => atWork.includes(scenario))) {
    const scenario = scenarios[name];
    const options = optionsOf(name);
    test(`its worker dies at ${point} (${name}): the daemon answers, and all is in order without a restart`, () =>
      withWorld(options, (world) => walk(scenario, point, world)));

    test(`its keeper dies at ${point} (${name}): bermd ends, and all is in order after a restart`, () =>
      withWorld(options, (world) =>
        hold(scenario, point, world, async (worker) => {
          process.kill(stat(worker).parent, 'SIGKILL');
          assert.equal(await world.ended, 1);
        })));

    test(`bermd dies while its worker is at ${point} (${name}): the next one waits for it, and all is in order`, () =>
      withWorld(options, (world) =>
        hold(scenario, point, world, async (worker) => {
          await world.end('SIGKILL');
          setTimeout(() => process.kill(worker, 'SIGCONT'), 100);
        })));
  }

  for (const [name, point] of pairs(spawnerPoints).filter(([scenario]) => ['create', 'destroy'].includes(scenario)))
    test(`its worker dies at ${point} (${name}) with an OCI runtime: likewise`, { skip: !crun && 'crun is not installed' }, () =>
      withWorld({ ...optionsOf(name), runtime: `oci:${crun}` }, (world) => walk(scenarios[name], point, world)));

  test('every scenario of the list is one of these', () =>
    assert.deepEqual(pairs(spawnerPoints).filter(([scenario]) => ![...atWork, ...atStart].includes(scenario)), []));

  for (const point of pointsOf(spawnerPoints, 'start'))
    test(`its worker dies at ${point}, as soon as it has taken over from another: the next one takes over`, () =>
      withWorld({}, async (world) => {
        await world.serve();
        await world.addBystander();
        await world.end('SIGTERM');
        await world.serve(point);
        assert.equal(world.log.split('event=worker_died').length - 1, 1);
        await world.check();
      }));

  for (const point of pointsOf(spawnerPoints, 'prepare'))
    test(`its keeper dies at ${point} on its first start: bermd ends, and the next start is as good as the first`, () =>
      withWorld({}, async (world) => {
        world.launch(point);
        assert.equal(await world.ended, 1);
        await world.restart();
        await world.addBystander();
        await world.check();
      }));

  for (const point of pointsOf(spawnerPoints, 'prepare').filter((name) => name !== 'spawn.disk.made'))
    test(`its keeper dies at ${point} while sandboxes run: they run on`, () =>
      withWorld({}, async (world) => {
        await world.serve();
        await world.addBystander();
        await world.end('SIGKILL');
        world.launch(point);
        assert.equal(await world.ended, 1);
        world.bystander.alive();
        await world.restart();
      }));

  for (const point of pointsOf(spawnerPoints, 'giveBack'))
    test(`its keeper dies at ${point}: the next one gives back the rest`, () =>
      withWorld({}, async (world) => {
        await world.serve(point);
        await world.end('SIGTERM');
        await until(() => world.host.servers().spawners.length === 0, 'the keeper to die');
        assert.notEqual(world.host.claims().length, 0);
        await world.restart();
        await world.end('SIGTERM');
        await world.assertGone();
      }));
});

describe('berm-spawn is killed at any time', { skip: whyNot() }, () => {
  test('a command streams on while the worker dies and comes back', () =>
    withWorld({ pool: 1 }, async (world) => {
      await world.serve();
      await world.addBystander();
      let began;
      const script = 'for i in {1..20}; do echo $i; [ $i != 10 ] || until [ -e go-on ]; do sleep 0.02; done; sleep 0.02; done';
      const command = world.client.run('bystander', script, { cwd: '/workspace', onOutput: () => (began = true) });
      await until(() => began, 'the first output');
      process.kill(world.host.spawner().worker, 'SIGKILL');
      await until(() => restarts(world) === 1, 'the worker to come back');
      assert.equal((await world.client.write('bystander', '/workspace/go-on', '')).status, 200);
      const { code, out } = await command;
      assert.deepEqual([code, out], [0, Array.from({ length: 20 }, (_, i) => `${i + 1}\n`).join('')]);
      await world.check();
      assert.equal(restarts(world), 1);
    }));

  test('the keeper dies: bermd ends with an error, sandboxes live on', () =>
    withWorld({ pool: 1 }, async (world) => {
      await world.serve();
      await world.addBystander();
      await world.settle();
      process.kill(world.host.spawner().keeper, 'SIGKILL');
      assert.equal(await world.ended, 1);
      world.bystander.alive();
      await world.restart();
    }));

  test('a worker that dies again and again is given up, and with it bermd; sandboxes live on', () =>
    withWorld({}, async (world) => {
      await world.serve();
      await world.addBystander();
      const { keeper } = world.host.spawner();
      /* Looked for where it is, and not among all processes: it has to die within two seconds, on any machine. */
      const another = () => readText(`/proc/${keeper}/task/${keeper}/children`).split(' ').map(Number)
        .find((pid) => pid && !killed.has(pid) && stat(pid)?.name === 'berm-spawn');
      const killed = new Set();
      while (world.running() && killed.size < 60) {
        const worker = await until(() => another() || (world.running() ? undefined : -1), 'another worker');
        if (worker < 0) break;
        process.kill(worker, 'SIGKILL');
        killed.add(worker);
      }
      assert.equal(await world.ended, 1);
      assert.ok(killed.size < 60, 'a worker that cannot live is started for ever');
      world.bystander.alive();
      await world.restart();
    }));
});

describe('a sandbox ends', { skip: whyNot() }, () => {
  test('under a worker that did not start it: it is told how', () =>
    withWorld({}, async (world) => {
      await world.serve();
      const first = await scenarios.end.prepare(world);
      await world.end('SIGTERM');
      await world.serve();
      process.kill(first, 'SIGKILL');
      await until(async () => (await world.client.describe('fresh')).state === 'stopped', 'the end to be told');
      await scenarios.end.check(world);
    }));

  test('while nobody watches: it counts as lost, and starts afresh', () =>
    withWorld({}, async (world) => {
      await world.serve();
      await world.addBystander();
      const first = await scenarios.end.prepare(world);
      await world.end('SIGKILL');
      await until(() => world.host.servers().spawners.length === 0, 'the spawner to leave');
      process.kill(first, 'SIGKILL');
      await until(() => (stat(first)?.state ?? 'Z') === 'Z', 'the sandbox to end');
      await world.restart();
      await until(async () => (await world.client.describe('fresh')).state === 'stopped', 'the end to be told');
      const { endReason } = await world.client.describe('fresh');
      assert.ok(['lost', 'signaled'].includes(endReason), endReason);
      assert.equal((await world.client.run('fresh', 'echo $FRESH')).out, 'yes\n');
      assert.equal((await world.client.describe('fresh')).generation, 2);
      await world.check();
    }));
});
