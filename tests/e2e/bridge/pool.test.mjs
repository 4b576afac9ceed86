/* The warm pool, and the ceiling of sandboxes. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, image, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('the warm pool', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = await new Daemon({ poolSize: 3 }).start();
  });
  beforeEach(() => {
    api = new Api(daemon);
  });
  afterEach(() => api.close());
  after(() => daemon.stop());

  const stats = async () => (await api.get('/v1/pool/stats')).json;
  const full = () => until('the pool is full', async () => (await stats()).warm === 3);
  const metric = async (name) => Number(new RegExp(`^${name} (.*)$`, 'm').exec((await api.get('/metrics')).text)[1]);
  const claimed = () => metric('berm_sandbox_start_seconds_count{from="pool"}'.replace(/[{}"]/g, '\\$&'));

  test('it fills by itself and tells its numbers in the shape of the bridge', async () => {
    await full();
    assert.deepEqual(await stats(), { warm: 3, assigned: 0, total: 3,
      config: { warmTarget: 3, refreshInterval: 0, maxInstances: 2048, scaleBatchSize: 1 }, maxInstances: 2048 });
    assert.deepEqual((await api.get('/v1/sandboxes')).json.sandboxes, []);
  });

  test('a first use takes a warm one, with whatever settings, and it is replaced', async () => {
    await full();
    const before = await claimed();
    assert.equal((await api.exec('warm', ['echo', 'hi'])).out, 'hi\n');
    const other = await api.put('/v1/sandbox/other', { limits: { pids: 32, memoryBytes: 128 << 20 }, env: { A: 'b' } });
    assert.equal(other.status, 201);
    assert.equal((await api.exec('other', ['sh', '-c', 'echo $A'])).out, 'b\n');
    assert.notEqual((await api.exec('other', 'for i in $(seq 60); do sleep 2 & done; kill $(jobs -p)')).err, '');
    assert.equal(await claimed(), before + 2);
    await full();
    assert.equal((await stats()).assigned, 2);
  });

  test('shutdown ends the warm ones until prime; without them everything works cold', async () => {
    await full();
    assert.deepEqual((await api.post('/v1/pool/shutdown-prewarmed')).json, { ok: true });
    assert.deepEqual([(await stats()).warm, (await stats()).config.warmTarget], [0, 0]);
    const before = await claimed();
    assert.equal((await api.exec('cold', ['echo', 'cold'])).out, 'cold\n');
    assert.equal(await claimed(), before);
    assert.deepEqual((await api.post('/v1/pool/prime')).json, { ok: true });
    await full();
  });

  test('warm ones survive a restart of the daemon', async () => {
    await full();
    const told = daemon.log('adoption.done').length;
    await daemon.end('SIGKILL');
    await daemon.start();
    api.close();
    api = new Api(daemon);
    await full();
    await until('the adoption is told', () => daemon.log('adoption.done').length > told);
    assert.equal(daemon.log('adoption.done').at(-1).instances, String((await stats()).total));
    assert.equal((await api.exec('adopted', ['echo', 'hi'])).out, 'hi\n');
    assert.equal(await claimed(), 1);
  });

  test('a pool of another size is filled or kept down after a restart', async () => {
    await daemon.end();
    await daemon.start(['--pool-images', `${image}:1`]);
    api.close();
    api = new Api(daemon);
    await until('the pool has shrunk', async () => (await stats()).warm === 1);
  });

  test('at the ceiling a warm one gives way, and then 503 it is', async () => {
    await daemon.end();
    await daemon.start(['--sandbox-max-sandboxes', '6', '--pool-size', '1']);
    api.close();
    api = new Api(daemon);
    for (const id of (await api.get('/v1/sandboxes')).json.sandboxes.map((sandbox) => sandbox.id)) await api.delete(`/v1/sandbox/${id}`);
    await until('the pool is full', async () => (await stats()).warm === 1 && (await stats()).assigned === 0);
    for (const id of 'abcdef') {
      const used = await api.exec(id, ['true']);
      assert.equal(used.code, 0, used.text);
    }
    const refused = await api.exec('g', ['true']);
    assert.equal(refused.status, 503);
    assert.equal(refused.json.code, 'capacity_exceeded');
    assert.match(refused.json.error, /instance limit reached \(6\/6\)/);
    assert.equal((await api.get('/v1/sandbox/g')).status, 404);
    await api.delete('/v1/sandbox/a');
    assert.equal((await api.exec('g', ['true'])).code, 0);
  });
});
