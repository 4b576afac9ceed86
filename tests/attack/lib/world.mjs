/* A daemon of our own with its sandboxes, a canary on the host, and what the classes ask of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './control.mjs';
import { harmless, unproven } from './exceptions.mjs';
import { mountTable, until } from './host.mjs';
import { Sandbox } from './sandbox.mjs';
import { tar } from './tar.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const buildDir = path.resolve(root, process.env.BERM_BUILD ?? 'build');
const imagesDir = process.env.BERM_IMAGES ?? '/var/lib/berm/images';

/* A program lies at the top of a finished build, or where meson left it. */
function built(name, ...places) {
  return ['.', ...places].map((place) => path.join(buildDir, place, name)).find((file) => fs.existsSync(file));
}

const programs = {
  bermd: built('bermd', 'src/daemon'),
  spawn: built('berm-spawn', 'src/spawn'),
  agent: built('berm-agent', 'src/agent'),
  berm: built('berm', 'src/cli'),
  probe: built('berm-probe', 'tests/attack'),
};

const baseImage = () => ['minimal', 'base'].find((name) => fs.existsSync(path.join(imagesDir, 'names', name)));

/* Why the suite cannot run here, or undefined. */
export function whyNot() {
  if (process.getuid() !== 0) return 'needs root';
  const missing = Object.entries(programs).find(([, file]) => file === undefined);
  if (missing) return `${missing[0]} is not built in ${buildDir}`;
  if (!baseImage()) return `no image minimal or base in ${imagesDir}`;
  return undefined;
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class World {
  probePath = programs.probe;
  agentPath = programs.agent;
  spawnPath = programs.spawn;
  harmless = harmless;
  unproven = unproven;
  #count = 0;

  async start() {
    this.top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-attack-'));
    this.data = path.join(this.top, 'data');
    this.scratch = path.join(this.top, 'scratch');
    this.canaryDirectory = path.join(this.top, 'canary');
    this.canary = path.join(this.canaryDirectory, 'file');
    for (const directory of [this.data, this.scratch, path.join(this.canaryDirectory, 'sub')]) fs.mkdirSync(directory, { recursive: true });
    fs.chmodSync(this.top, 0o755);
    fs.writeFileSync(this.canary, 'canary');
    this.probeBytes = fs.readFileSync(this.probePath);
    this.port = await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    this.log = fs.openSync(path.join(this.top, 'bermd.log'), 'w');
    const args = [...this.#places(), '--listen', `127.0.0.1:${this.port}`, '--pool-size', '0', '--sandbox-image', baseImage()];
    const env = { ...process.env, BERM_ATTACK_CANARY: 'in the environment of the daemon' };
    this.daemon = spawn(programs.bermd, args, { env, stdio: ['ignore', this.log, this.log] });
    this.daemonPid = this.daemon.pid;
    await until(() => this.daemon.exitCode !== null || this.healthy(), 'the daemon to serve');
    if (this.daemon.exitCode !== null) throw new Error(fs.readFileSync(path.join(this.top, 'bermd.log'), 'utf8'));
  }

  #places() {
    return ['--spawn', programs.spawn, '--agent', programs.agent, '--data', this.data, '--images', imagesDir];
  }

  async healthy() {
    return fetch(`${this.url}/health`).then((response) => response.ok, () => false);
  }

  /* A new sandbox with the probe in it. With `mayFail` a refused start is {error}. */
  async sandbox({ image, limits, probe = '/workspace/berm-probe', mayFail = false } = {}) {
    const letters = 'abcdefghijklmnopqrstuvwxyz';
    const number = this.#count++;
    const id = `attack${letters[Math.trunc(number / 676) % 26]}${letters[Math.trunc(number / 26) % 26]}${letters[number % 26]}`;
    const sandbox = new Sandbox(this, id, probe);
    const error = await sandbox.create({ image, limits });
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
    await until(async () => (await remove()).status === 0, `image ${name} to be removed`);
  }

  /* Without what other programs mount below the directory for temporary files. */
  mounts() {
    return mountTable().filter((point) => point.startsWith(this.top) || !point.startsWith(`${os.tmpdir()}/`));
  }

  agentSockets() {
    const directory = path.join(this.data, 'run');
    return fs.readdirSync(directory).filter((name) => /^[0-9a-f]{16}\.sock$/.test(name)).map((name) => path.join(directory, name));
  }

  async stop() {
    if (!this.top) return;
    if (this.daemon && this.daemon.exitCode === null) {
      this.daemon.kill('SIGTERM');
      await once(this.daemon, 'exit');
    }
    const { status, errors } = await run(programs.bermd, ['--stop-all', ...this.#places()]);
    if (status !== 0) throw new Error(`--stop-all: ${errors}`);
    await until(() => !mountTable().some((point) => point.startsWith(this.data)), 'the data directory to be unmounted');
    if (process.env.BERM_ATTACK_KEEP !== '1') fs.rmSync(this.top, { recursive: true });
  }
}
