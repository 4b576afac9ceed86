/* The ways in which a daemon ends in order, and that `bermd --stop-all` really ends everything. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { until } from './lib/host.mjs';
import { whyNot } from './lib/programs.mjs';
import { scenarios } from './lib/scenarios.mjs';
import { withWorld } from './lib/world.mjs';

async function populate(world) {
  await world.serve();
  await world.addBystander();
  await world.client.put('/v1/sandbox/second', {});
  await world.client.run('second', 'sleep 1000 >/dev/null 2>&1 & setsid sleep 1001 >/dev/null 2>&1 &');
  await world.settle();
}

describe('bermd ends in order', { skip: whyNot() }, () => {
  test('with sandboxes, which live on, also through several ends', () =>
    withWorld({ pool: 1 }, async (world) => {
      await populate(world);
      for (let i = 0; i < 3; i++) {
        assert.equal(await world.end('SIGTERM'), 0);
        world.bystander.alive();
        await world.restart();
      }
    }));

  test('without a sandbox: the spawner gives everything back', () =>
    withWorld({ slots: 4 }, async (world) => {
      await world.serve();
      await world.client.put('/v1/sandbox/short', {});
      await world.client.remove('short');
      await world.settle();
      assert.equal(await world.end('SIGTERM'), 0);
      await world.assertGone();
    }));

  test('on SIGTERM an exec in flight is answered to its end first', () =>
    withWorld({}, async (world) => {
      await populate(world);
      let began;
      const command = world.client.run('second', 'echo a; sleep 0.3; echo b', { onOutput: () => (began = true) });
      await until(() => began, 'the first output');
      const ended = world.end('SIGTERM');
      assert.deepEqual((await command).out, 'a\nb\n');
      assert.equal(await ended, 0);
    }));
});

describe('bermd --stop-all', { skip: whyNot() }, () => {
  test('ends sandboxes, warm ones, and what they started', () =>
    withWorld({ pool: 2, slots: 4 }, async (world) => {
      await populate(world);
      await world.end('SIGTERM');
      assert.ok(world.host.processes().length > 4);
      assert.equal(await world.stopAll(), 0);
      await world.assertGone();
    }));

  test('ends them after a SIGKILL, too, and the next start knows that they are gone', () =>
    withWorld({ pool: 1 }, async (world) => {
      await populate(world);
      await world.end('SIGKILL');
      assert.equal(await world.stopAll(), 0);
      await world.assertGone();
      await world.serve();
      await world.settle();
      const { state, endReason } = await world.client.describe('second');
      assert.deepEqual([state, endReason], ['stopped', 'lost']);
      assert.equal((await world.client.run('bystander', 'echo $WHO')).out, 'bystander\n');
      assert.equal((await world.client.describe('bystander')).generation, 2);
    }));

  test('is refused while a daemon serves, which is not harmed by it', () =>
    withWorld({}, async (world) => {
      await populate(world);
      assert.equal(await world.stopAll({ stderr: 'ignore' }), 1);
      await world.check();
    }));

  test('is safe to call twice, and on a directory that never was one', () =>
    withWorld({}, async (world) => {
      assert.equal(await world.stopAll(), 0);
      await populate(world);
      await world.end('SIGTERM');
      assert.equal(await world.stopAll(), 0);
      assert.equal(await world.stopAll(), 0);
    }));

  const points = ['adopt.taken', 'destroy.killed', 'destroy.cleaning', 'destroy.parts_removed', 'keeper.giving_back'];
  for (const point of points.map((name) => `spawn.${name}`))
    test(`that dies at ${point} says so, and the next call does the rest`, () =>
      withWorld({ pool: 1 }, async (world) => {
        await populate(world);
        await world.end('SIGTERM');
        assert.equal(await world.stopAll({ stderr: 'ignore', faults: point }), 1);
        assert.equal(await world.stopAll(), 0);
      }));

  test('takes the processes of a sandbox whose first process was stopped', () =>
    withWorld({}, async (world) => {
      await world.serve();
      const first = await scenarios.end.prepare(world);
      process.kill(first, 'SIGSTOP');
      await world.end('SIGTERM');
      assert.equal(await world.stopAll(), 0);
    }));
});
