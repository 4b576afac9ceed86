/*
 * Clients at work while bermd, the keeper or the worker is killed at a random moment, again and again. Each client
 * remembers what it was told, and nothing else: that must be true afterwards. BERM_SEED repeats a run's choices.
 */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { until } from './lib/host.mjs';
import { whyNot } from './lib/programs.mjs';
import { withWorld } from './lib/world.mjs';

const seed = Number(process.env.BERM_SEED ?? crypto.randomInt(2 ** 31));
const clients = 4;
const kills = 12;
const worthKilling = 2; /* calls of each client, at least, before a kill: however slow they are */
const refusals = ['spawner_unavailable', 'pool_error', 'sandbox_died', 'exec_transport_error'];

/* mulberry32: small, and the same everywhere. */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/*
 * One client with its own sandbox. What it knows of it: `exists` and the content of `file`, undefined where the last
 * call was not answered, so that both ways are right.
 */
class Tenant {
  knows = { exists: false, file: null };
  acknowledged = 0;

  constructor(client, id, random) {
    Object.assign(this, { client, id, random });
  }

  /* Another answer than these must at least say what happened. */
  #expect({ status, json }, ...statuses) {
    if (statuses.includes(status)) return;
    assert.ok(status === 502 && refusals.includes(json?.code), `answered ${status}: ${JSON.stringify(json)}`);
    throw new Error(json.code);
  }

  async #create() {
    this.knows.exists = undefined;
    this.#expect(await this.client.put(`/v1/sandbox/${this.id}`, {}), 200, 201);
    this.knows.exists = true;
  }

  async #write() {
    const bytes = crypto.randomBytes(1 + Math.floor(this.random() * 200_000));
    Object.assign(this.knows, { exists: this.knows.exists || undefined, file: undefined });
    this.#expect(await this.client.write(this.id, '/workspace/file', bytes), 200);
    Object.assign(this.knows, { exists: true, file: bytes });
  }

  async #run() {
    this.knows.exists ||= undefined; /* it makes the sandbox if there is none */
    const { code, out } = await this.client.run(this.id, 'cat file 2>/dev/null | wc -c', { cwd: '/workspace' });
    if (code === 0 && this.knows.file) assert.equal(Number(out), this.knows.file.length);
    if (code === 0) this.knows.exists = true;
  }

  async #remove() {
    Object.assign(this.knows, { exists: undefined, file: undefined });
    this.#expect(await this.client.remove(this.id), 204);
    Object.assign(this.knows, { exists: false, file: null });
  }

  /* Until `stopped`. A call that fails says nothing; one that is answered wrongly fails the test. */
  async work(stopped) {
    while (!stopped()) {
      const dice = this.random();
      try {
        if (dice < 0.2) await this.#create();
        else if (dice < 0.6) await this.#write();
        else if (dice < 0.85) await this.#run();
        else await this.#remove();
        this.acknowledged++;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        await delay(10);
      }
    }
  }

  async check() {
    const { exists, file } = this.knows;
    const row = (await this.client.sandboxes()).find(({ id }) => id === this.id);
    if (exists !== undefined) assert.equal(row !== undefined, exists, `${this.id}: ${JSON.stringify(row)}`);
    if (!file) return;
    assert.equal(row.state, 'running', JSON.stringify(row));
    assert.ok((await this.client.read(this.id, '/workspace/file')).equals(file), `${this.id}: the file is not what was acknowledged`);
  }
}

/* The daemon, its spawner's keeper, or the worker; the first two end bermd. */
async function strike(world, victim) {
  if (victim === 'bermd') return world.end('SIGKILL');
  process.kill(world.host.spawner()[victim], 'SIGKILL');
  return victim === 'keeper' ? world.ended : undefined;
}

/* The worker never more than three times in a row, for after five quick deaths the keeper gives up. */
function chooseVictims(random) {
  const victims = [];
  while (victims.length < kills) {
    const victim = ['bermd', 'bermd', 'keeper', 'worker', 'worker'][Math.floor(random() * 5)];
    if (victims.slice(-3).filter((v) => v === victim && v === 'worker').length < 3) victims.push(victim);
  }
  return victims;
}

describe('chaos', { skip: whyNot() }, () => {
  test(`${kills} kills at random moments (BERM_SEED=${seed}): whatever was acknowledged is true`, () =>
    withWorld({ pool: 2, slots: 4 }, async (world) => {
      const random = generator(seed);
      const tenants = Array.from({ length: clients }, (_, i) => new Tenant(world.client, `chaos${'abcdefgh'[i]}`, generator(seed + i + 1)));
      await world.serve();
      await world.addBystander();
      for (const victim of chooseVictims(random)) {
        let stopped = false;
        const before = tenants.map(({ acknowledged }) => acknowledged);
        const work = Promise.all(tenants.map((tenant) => tenant.work(() => stopped)));
        const atWork = () => tenants.every(({ acknowledged }, i) => acknowledged >= before[i] + worthKilling);
        await Promise.race([work, until(atWork, 'the clients to get work done')]);
        await delay(random() * 200);
        await strike(world, victim);
        stopped = true;
        await work;
        world.bystander.alive();
        if (!world.running()) await world.serve();
        for (const tenant of tenants) await tenant.check();
        await world.settle();
      }
      await world.check();
      for (const tenant of tenants) assert.ok(tenant.acknowledged > kills, 'the clients got no work done');
    }));
});
