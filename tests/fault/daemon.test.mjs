/* bermd is killed at each of its fault points, and started again with the same arguments. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { daemonPoints, pairs } from './lib/points.mjs';
import { whyNot } from './lib/programs.mjs';
import { scenarios } from './lib/scenarios.mjs';
import { withWorld } from './lib/world.mjs';

const attempt = (promise) => promise.then((value) => ({ acknowledged: true, value }), (error) => ({ acknowledged: false, error }));

async function walk(scenario, point, world) {
  await world.serve();
  await world.addBystander();
  await world.settle();
  const memo = await scenario.prepare?.(world);
  if (world.running()) await world.end('SIGKILL');
  if (scenario.startsOnly) world.launch(point);
  else await world.serve(scenario.faults ?? point);
  const outcome = await attempt(scenario.act(world, memo));
  await world.died();
  world.bystander.alive();
  await world.restart();
  await scenario.check?.(world, outcome, memo, point);
  await world.check();
}

describe('bermd is killed', { skip: whyNot() }, () => {
  for (const [name, point] of pairs(daemonPoints))
    test(`at ${point} (${name}): what was acknowledged is true, what ran goes on, nothing is left over`, async () => {
      const scenario = scenarios[name];
      assert.ok(scenario, `there is no scenario ${name}`);
      await withWorld(scenario.options, (world) => walk(scenario, point, world));
    });
});
