/* How contexts were started, as the daemon's metrics have it. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { until } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { Sdk } from '../sdk/lib/sandbox.mjs';
import { World, whyNotHere } from './helper.mjs';

describe('the starts of code contexts in /metrics', { skip: whyNotHere() }, () => {
  test('each is counted once, by image and by where it came from, and a client is not told', async () => {
    const world = await World.start({ env: { TYPESCRIPT_POOL_MAX_SIZE: '1' } });
    const starts = async () => Object.fromEntries([...(await world.api.get('/metrics')).text
      .matchAll(/^berm_context_starts_total\{image="base",from="(\w+)"\} (\d+)$/gm)].map(([, from, count]) => [from, Number(count)]));
    try {
      assert.deepEqual(await starts(), {});
      const reply = await world.api.post(world.url('api/contexts'), { language: 'javascript' });
      assert.deepEqual(Object.keys(reply.headers).filter((name) => name.startsWith('berm-context')), []);
      assert.deepEqual(await starts(), { snapshot: 0, spare: 0, cold: 1, failed: 0 });
      /* The extension's route counts too, and what is cold for its variables; the first one left a spare behind. */
      assert.equal((await world.api.post(`/v1/sandbox/${world.id}/contexts`, { language: 'js' })).status, 200);
      assert.equal((await world.api.post(`/v1/sandbox/${world.id}/contexts`, { language: 'js', env_vars: { NODE_ENV: 'x' } })).status, 200);
      assert.deepEqual(await starts(), { snapshot: 0, spare: 1, cold: 2, failed: 0 });
      await world.context({ language: 'ts' });
      assert.equal((await world.api.post(world.url('api/contexts'), { language: 'ts' })).status, 500);
      assert.equal((await world.api.post(world.url('api/contexts'), { env_vars: { '': 'x' } })).status, 400);
      assert.deepEqual(await starts(), { snapshot: 0, spare: 2, cold: 2, failed: 1 });
    } finally {
      await world.stop();
    }
  });

  for (const transport of ['websocket', 'rpc'])
    test(`those over ${transport} are counted when their connection ends`, async () => {
      const world = await World.start({ env: { JAVASCRIPT_POOL_MAX_SIZE: '1' } });
      const starts = async () => [...(await world.api.get('/metrics')).text.matchAll(/^berm_context_starts_total\{image="base",from="(\w+)"\} (\d+)$/gm)]
        .map(([, from, count]) => `${from} ${count}`).join();
      try {
        const target = { origin: world.daemon.url, prefix: `/v1/sandbox/${world.id}/container` };
        for (const [made, counted] of [[true, 'snapshot 0,spare 0,cold 1,failed 1'], [false, 'snapshot 0,spare 0,cold 1,failed 2']]) {
          const sdk = await Sdk.open(target, { transport });
          try {
            if (made) await sdk.sandbox.createCodeContext({ language: 'javascript' });
            await assert.rejects(sdk.sandbox.createCodeContext({ language: 'javascript' }));
          } finally {
            await sdk.close();
          }
          await until('the count', async () => (await starts()) === counted);
        }
      } finally {
        await world.stop();
      }
    });
});
