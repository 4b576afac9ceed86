/* A daemon of our own with its sandboxes, a canary on the host, and what the classes ask of them. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Daemon, imagesDir, until, whyNoDaemon } from '../../e2e/lib/daemon.mjs';
import { run } from './control.mjs';
import { harmless, unproven } from './exceptions.mjs';
import { mountTable } from './host.mjs';
import { Sandbox } from './sandbox.mjs';
import { tar } from './tar.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const buildDir = path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build'));

/* A program lies at the top of a finished build, or where meson left it. */
function built(name, place) {
  return [path.join(buildDir, name), path.join(buildDir, place, name)].find((file) => fs.existsSync(file));
}

const programs = {
  spawn: built('berm-spawn', 'src/spawn'),
  agent: built('berm-agent', 'src/agent'),
  berm: built('berm', 'src/cli'),
  probe: built('berm-probe', 'tests/attack'),
};

/* Why the suite cannot run here, or undefined. With BERM_MUST_WORK=1 that is an error instead. */
export function whyNot() {
  const missing = Object.keys(programs).find((name) => programs[name] === undefined);
  const reason = whyNoDaemon() ?? (missing ? `${missing} is not built in ${buildDir}` : undefined);
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`these tests must run here: ${reason}`);
  return reason;
}

export class World {
  probePath = programs.probe;
  agentPath = programs.agent;
  spawnPath = programs.spawn;
  harmless = harmless;
  unproven = unproven;
  #count = 0;

  async start() {
    this.daemon = new Daemon({ poolSize: 0, env: { BERM_ATTACK_CANARY: 'in the environment of the daemon' } });
    this.data = this.daemon.data;
    this.scratch = path.join(this.daemon.top, 'scratch');
    this.canaryDirectory = path.join(this.daemon.top, 'canary');
    this.canary = path.join(this.canaryDirectory, 'file');
    for (const directory of [this.scratch, path.join(this.canaryDirectory, 'sub')]) fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(this.canary, 'canary');
    this.probeBytes = fs.readFileSync(this.probePath);
    await this.daemon.start();
    this.port = this.daemon.port;
    this.url = this.daemon.url;
  }

  get daemonPid() {
    return this.daemon.pid;
  }

  /* The sandboxes' upper directories are mounted in the worker's namespace only. */
  get disk() {
    return `/proc/${this.daemon.worker()}/root/disk`;
  }

  async healthy() {
    return fetch(`${this.url}/health`).then((response) => response.ok, () => false);
  }

  /* A new sandbox with the probe in it. With `mayFail` a refused start is {error}. */
  async sandbox({ image: name, limits, network, probe = '/workspace/berm-probe', mayFail = false } = {}) {
    const letters = 'abcdefghijklmnopqrstuvwxyz';
    const number = this.#count++;
    const id = `attack${letters[Math.trunc(number / 676) % 26]}${letters[Math.trunc(number / 26) % 26]}${letters[number % 26]}`;
    const sandbox = new Sandbox(this, id, probe);
    const error = await sandbox.create({ image: name, limits, network });
    if (error && mayFail) return { error };
    if (error) throw new Error(`create ${id}: ${JSON.stringify(error)}`);
    if (probe.startsWith('/workspace/')) await sandbox.put(probe, this.probeBytes, 0o755);
    return sandbox;
  }

  /* One sandbox for all probes that leave no trace in it. */
  async shared() {
    this.common ??= await this.sandbox();
    return this.common;
  }

  /* {name} or {error}: what `berm image import` says of these tar entries. */
  async importImage(entries) {
    const name = `attack-${process.pid}-${this.#count++}`;
    const archive = path.join(this.scratch, `${name}.tar`);
    fs.writeFileSync(archive, tar(entries));
    const { status, text, errors } = await run(programs.berm, ['image', 'import', name, archive], { env: { BERM_IMAGES: imagesDir } });
    fs.rmSync(archive);
    return status === 0 ? { name } : { error: text + errors };
  }

  async removeImage(name) {
    const remove = () => run(programs.berm, ['image', 'rm', name], { env: { BERM_IMAGES: imagesDir } });
    await until(`image ${name} to be removed`, async () => (await remove()).status === 0);
  }

  /* Without what other programs mount below the directories for temporary files. */
  mounts() {
    const others = [`${os.tmpdir()}/`, '/var/tmp/'];
    return mountTable().filter((point) => point.startsWith(this.daemon.top) || !others.some((place) => point.startsWith(place)));
  }

  agentSockets() {
    const directory = path.join(this.data, 'run');
    return fs.readdirSync(directory).filter((name) => /^[0-9a-f]{16}\.sock$/.test(name)).map((name) => path.join(directory, name));
  }

  /* Checks too that nothing is left. */
  async stop() {
    await this.daemon?.stop();
  }
}
