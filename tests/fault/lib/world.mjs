/*
 * A data directory with its daemon, which is started, killed and started again with the same arguments, and the
 * invariants: what was acknowledged is true, what ran goes on, and nothing is there that nobody claims.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { Docker } from '../../e2e/lib/docker.mjs';
import { freePort } from '../../e2e/lib/ports.mjs';
import { Bystander } from './bystander.mjs';
import { Client } from './client.mjs';
import { Host, readText, stat, until } from './host.mjs';
import { image, imagesDir, programs } from './programs.mjs';

const adminKey = 'a-key-of-the-fault-tests';
const settleMs = 60_000;

export class World {
  /* `options`: {pool, slots}, how many of each are kept ready, {runtime}, and {docker}, with its API. */
  static async make(options = {}) {
    const world = new World();
    world.top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-fault-'));
    fs.chmodSync(world.top, 0o755);
    world.data = path.join(world.top, 'data');
    world.logFile = path.join(world.top, 'bermd.log');
    fs.mkdirSync(world.data);
    fs.writeFileSync(path.join(world.top, 'keys'), `${adminKey}\n`);
    world.options = { pool: 0, slots: 2, runtime: 'native', ...options };
    world.host = new Host(world.data);
    world.docker = world.options.docker ? new Docker(path.join(world.top, 'docker.sock')) : undefined;
    world.client = new Client(await freePort(), adminKey);
    return world;
  }

  get log() {
    return readText(this.logFile);
  }

  #arguments() {
    const { pool, slots, runtime } = this.options;
    const server = ['--listen', `127.0.0.1:${this.client.port}`, '--auth-keys-file', path.join(this.top, 'keys')];
    const sandbox = ['--sandbox-image', image, '--sandbox-runtime', runtime, '--sandbox-max-sandboxes', '64'];
    const docker = this.docker ? ['--docker-socket', this.docker.socketPath, '--docker-socket-mode', '0600'] : [];
    return [...server, ...docker, ...sandbox, '--pool-size', `${pool}`, '--pool-slots', `${slots}`, ...this.#places()];
  }

  #places() {
    return ['--data', this.data, '--images', imagesDir, '--spawn', programs.spawn, '--agent', programs.agent];
  }

  /* Starts bermd; `faults` is for BERM_FAULT_AT. Does not wait. */
  launch(faults) {
    const { BERM_FAULT_AT, ...env } = process.env;
    if (faults) env.BERM_FAULT_AT = faults;
    const log = fs.openSync(this.logFile, 'a');
    fs.writeSync(log, `--- bermd starts${faults ? ` with a fault at ${faults}` : ''}\n`);
    this.daemon = spawn(programs.bermd, this.#arguments(), { env, stdio: ['ignore', log, log] });
    this.ended = once(this.daemon, 'exit').then(([code, signal]) => signal ?? code);
    fs.closeSync(log);
  }

  running = () => this.daemon.exitCode === null && this.daemon.signalCode === null;

  /* Resolves once requests about sandboxes are answered. */
  async serve(faults) {
    this.launch(faults);
    await until(() => !this.running() || this.#answers(), 'bermd to serve');
    assert.ok(this.running(), 'bermd ended at its start');
  }

  #answers = () => this.client.get('/v1/sandboxes?limit=1').then(({ status }) => status === 200, () => false);

  async end(signal) {
    this.daemon.kill(signal);
    return this.ended;
  }

  /* Waits for the death that a fault brings. */
  async died() {
    const timer = setTimeout(() => this.daemon.kill('SIGABRT'), settleMs);
    const how = await this.ended;
    clearTimeout(timer);
    assert.equal(how, 'SIGKILL', 'the fault did not strike');
  }

  async addBystander() {
    this.bystander = new Bystander(this.host);
    await this.bystander.make(this.client);
  }

  /* The name of a running sandbox's groups, told by the user ids that are its own: 65,536 each, from 2^31. */
  async groupOf(id) {
    const map = (await this.client.run(id, 'cat /proc/self/uid_map')).out.trim().split(/\s+/).map(Number);
    return `s${(map[1] - 2 ** 31) / 65536}`;
  }

  async firstProcessOf(id) {
    const group = await this.groupOf(id);
    return this.host.processes().find((process) => process.group === group && process.first).pid;
  }

  /* What does not fit: a list of sentences. */
  async #disorder() {
    const { client, host, options } = this;
    const volumes = this.docker ? (await this.docker.get('/volumes')).json.Volumes.length : 0;
    const running = (await client.sandboxes()).filter(({ state }) => state === 'running').length;
    const pool = (await client.get('/v1/pool/stats')).json;
    const { metas, sockets, slots, others } = host.runFiles();
    const { daemons, spawners } = host.servers();
    const processes = host.processes();
    const namespaces = host.namespaces();
    const live = running + pool.warm;
    const groups = processes.map(({ group }) => group);
    const firsts = processes.filter(({ first }) => first).map(({ group }) => group);
    const facts = [
      ['bermd processes', daemons.length, 1],
      ['berm-spawn processes', spawners.length, 2],
      ['warm sandboxes', pool.warm, options.pool],
      ['files that say who runs', metas.length, live],
      ['sockets of agents', sockets.length, live],
      ['sockets of prepared slots', slots.length, options.slots],
      ['other files in the run directory', others.join(' '), ''],
      ['first processes of sandboxes', firsts.length, live],
      ['sandboxes with two first processes', firsts.length - new Set(firsts).size, 0],
      ['processes without a first one', groups.filter((group) => !firsts.includes(group)).length, 0],
      ['network namespaces of sandboxes', namespaces.inside.length, live],
      ['network namespaces held', namespaces.held.length, options.slots + 1],
      ['mounts', host.mounts().join(' '), ''],
      ['loop devices', host.loopDevices().length, 1],
      ['subvolumes', host.subvolumes().length, live + options.slots],
      ['volumes on the disk', host.volumes().length, volumes],
      ...host.groups().map(([directory, names]) => [directory, names.join(' '), host.subvolumes().join(' ')]),
    ];
    return facts.filter(([, is, should]) => is !== should).map(([what, is, should]) => `${what}: ${is} instead of ${should}`);
  }

  /* Waits until the host has what the daemon claims and nothing else; cleaning goes on behind the answers. */
  async settle() {
    let disorder;
    try {
      await until(async () => (disorder = await this.#disorder()).length === 0, 'the host to be in order', settleMs);
    } catch (error) {
      assert.fail(`${error.message}:\n${disorder?.join('\n')}`);
    }
  }

  /* All invariants. A sandbox that is said to run must be of use. */
  async check() {
    await this.settle();
    await this.bystander?.check(this.client);
    for (const { id, state } of await this.client.sandboxes()) {
      if (state !== 'running') continue;
      const result = await this.client.run(id, 'echo alive');
      assert.equal(result.out, 'alive\n', `${id} is said to run: ${JSON.stringify(result)}`);
    }
  }

  /* The same arguments, no faults. */
  async restart() {
    await this.serve();
    await this.check();
  }

  stopAll({ stderr = 'inherit', faults = '' } = {}) {
    const env = { ...process.env, BERM_FAULT_AT: faults };
    const child = spawn(programs.bermd, ['--stop-all', ...this.#places()], { env, stdio: ['ignore', 'ignore', stderr] });
    return once(child, 'exit').then(([code]) => code);
  }

  /* Ends everything; nothing may be left. */
  async finish() {
    if (this.running()) await this.end('SIGTERM');
    assert.equal(await this.stopAll(), 0);
    await this.assertGone();
    fs.rmSync(this.top, { recursive: true });
  }

  async assertGone() {
    const remains = () => Object.entries(this.host.remains()).filter(([, things]) => things.length);
    await until(() => remains().length === 0, 'everything to be gone', settleMs).catch(() => {});
    assert.deepEqual(remains(), [], 'something is left');
    assert.deepEqual(this.#storedSubvolumes(), [], 'subvolumes are left in the disk pool');
  }

  /* What is in the file of the disk pool when nobody has it mounted. */
  #storedSubvolumes() {
    const file = path.join(this.data, 'disk.btrfs');
    const directory = path.join(this.top, 'pool');
    if (!fs.existsSync(file)) return [];
    fs.mkdirSync(directory);
    execFileSync('mount', ['-o', 'loop,ro', file, directory]);
    try {
      return fs.readdirSync(directory);
    } finally {
      execFileSync('umount', [directory]);
      fs.rmdirSync(directory);
    }
  }

  /* After a failed test: by force, so that the next one starts clean. Only processes of this data directory. */
  async abandon() {
    const servers = () => Object.values(this.host.servers()).flat();
    for (const pid of servers().filter((one) => stat(one)?.state === 'T')) process.kill(pid, 'SIGCONT');
    if (this.daemon && this.running()) await this.end('SIGKILL');
    await until(() => servers().length === 0, 'the spawner to leave').catch(() => {});
    if ((await this.stopAll()) === 0) fs.rmSync(this.top, { recursive: true });
  }
}

/* Runs `body` with a world of its own, which must be gone without a trace afterwards. */
export async function withWorld(options, body) {
  const world = await World.make(options);
  try {
    await body(world);
    await world.finish();
  } catch (error) {
    error.message += `\n--- the daemon's log ---\n${world.log}`;
    await world.abandon().catch((another) => (error.message += `\n--- and ${another.message}`));
    throw error;
  }
}
