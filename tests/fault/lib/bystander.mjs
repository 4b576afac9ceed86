/* A sandbox that nobody touches while things go wrong around it: what it was and did must go on. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';

import { identity, readText, stat, until } from './host.mjs';

const id = 'bystander';
const marker = 'the-tickers-name';
const loop = 'while :; do echo tick >>/workspace/ticks; sleep 0.02; done';
const ticker = `exec setsid bash -c '${loop}' ${marker} </dev/null >/dev/null 2>&1 &`;
const settings = { env: { WHO: id }, labels: { role: id }, limits: { pids: 100 }, sleepAfter: '1h' };

/* In the session that it was given, whose shell remembers. */
function inSession(client, command) {
  const body = JSON.stringify({ sessionId: 'shell', command });
  return client.call('POST', `/v1/sandbox/${id}/container/api/execute`, body, { 'Content-Type': 'application/json' });
}

export class Bystander {
  #kept = crypto.randomBytes(100_000);
  #secret = crypto.randomBytes(8).toString('hex');
  #description;
  #processes;

  constructor(host) {
    this.host = host;
  }

  /* Every one of these calls is acknowledged. */
  async make(client) {
    const made = await client.put(`/v1/sandbox/${id}`, settings);
    assert.equal(made.status, 201, made.bytes.toString());
    assert.equal((await client.write(id, '/workspace/kept', this.#kept)).status, 200);
    assert.equal((await client.post(`/v1/sandbox/${id}/session`, { id: 'shell' })).status, 200);
    assert.equal((await client.run(id, ticker)).code, 0);
    const session = await inSession(client, `SECRET=${this.#secret}`);
    assert.equal(session.json?.success, true, session.bytes.toString());
    this.#description = await client.describe(id);
    this.#processes = await until(() => this.#settled(), 'the bystander to tick');
  }

  /* Its processes, once the ticker is among them, without what the ticker starts for a moment. */
  #lasting() {
    const processes = this.host.processes();
    const found = processes.find(({ pid }) => readText(`/proc/${pid}/cmdline`).includes(marker));
    const lasting = processes.filter(({ pid, group }) => group === found?.group && stat(pid)?.parent !== found.pid);
    return found && lasting.map(({ pid }) => identity(pid)).sort();
  }

  /* The same ones twice: what made the ticker is gone. */
  async #settled() {
    const before = this.#lasting();
    await delay(30);
    return isDeepStrictEqual(before, this.#lasting()) && before;
  }

  alive() {
    const now = this.#lasting() ?? [];
    const gone = this.#processes.filter((process) => !now.includes(process));
    assert.deepEqual(gone, [], 'processes of the bystander are gone');
  }

  async check(client) {
    this.alive();
    const now = await client.describe(id);
    now.lastUsedAt = this.#description.lastUsedAt; /* written every ten seconds only */
    assert.deepEqual(now, this.#description);
    assert.deepEqual(await client.events(id), ['created']);
    assert.ok((await client.read(id, '/workspace/kept')).equals(this.#kept), 'a file of the bystander changed');
    const ticks = async () => (await client.read(id, '/workspace/ticks')).length;
    const first = await ticks();
    await until(async () => (await ticks()) > first, 'the bystander to tick on');
    const told = await client.run(id, 'echo $WHO');
    assert.deepEqual(told, { code: 0, error: undefined, out: `${id}\n`, err: '' });
    const session = await inSession(client, 'echo $SECRET');
    assert.equal(session.json?.stdout?.trim(), this.#secret, 'the session of the bystander lost its state');
  }
}
