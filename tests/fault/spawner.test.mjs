/*
 * berm-spawn is killed: its worker at each of its fault points, while bermd lives; its keeper, with which bermd
 * ends; and both daemons while the worker is held at such a point. A point strikes once, so the worker that comes
 * next gets past it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { stat, until } from './lib/host.mjs';
import { pairs, spawnerPoints } from './lib/points.mjs';
import { whyNot } from './lib/programs.mjs';
import { scenarios } from './lib/scenarios.mjs';
import { withWorld } from './lib/world.mjs';

const attempt = (promise) => promise.then((value) => ({ acknowledged: value?.status < 300, value }), (error) => ({ acknowledged: false, error }));

/* A request, if there was one, that met the restart of the worker may fail, in time and with a code that says so. */
function assertTyped({ acknowledged, value, error }) {
  if (acknowledged || value?.status === undefined) return assert.equal(error, undefined);
  assert.ok(['spawner_unavailable', 'pool_error', 'sandbox_died'].includes(value.json?.code), value.bytes?.toString());
  return assert.equal(value.status, 502);
}

const restarts = (world) => world.log.split('event=spawn.restarted').length - 1;
const workerOf = (world) => world.host.servers().spawners.find((pid) => world.host.servers().spawners.includes(stat(pid).parent));
const keeperOf = (world) => stat(workerOf(world)).parent;

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
  const worker = await until(() => world.host.servers().spawners.find((pid) => stat(pid)?.state === 'T'), 'the worker to stop');
  await strike(worker);
  world.bystander.alive();
  await world.restart();
  await scenario.check?.(world, await outcome, memo, point);
  await world.check();
}

const withWorker = ([scenario]) => ['create', 'destroy', 'end', 'settings'].includes(scenario);
const wholeOptions = (scenario) => ({ slots: scenario === 'create' ? 0 : 2 });

describe('berm-spawn is killed', { skip: whyNot() }, () => {
  for (const [name, point] of pairs(spawnerPoints).filter(withWorker)) {
    const scenario = { ...scenarios[name], options: wholeOptions(name) };
    test(`its worker dies at ${point} (${name}): the daemon answers, and all is in order without a restart`, () =>
      withWorld(scenario.options, (world) => walk(scenario, point, world)));

    test(`its keeper dies at ${point} (${name}): bermd ends, and all is in order after a restart`, () =>
      withWorld(scenario.options, (world) =>
        hold(scenario, point, world, async (worker) => {
          process.kill(stat(worker).parent, 'SIGKILL');
          assert.equal(await world.ended, 1);
        })));

    test(`bermd dies while its worker is at ${point} (${name}): the next one waits for it, and all is in order`, () =>
      withWorld(scenario.options, (world) =>
        hold(scenario, point, world, async (worker) => {
          await world.end('SIGKILL');
          setTimeout(() => process.kill(worker, 'SIGCONT'), 100);
        })));
  }
});
