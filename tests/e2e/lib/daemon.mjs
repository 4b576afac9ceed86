/*
 * A real bermd with real sandboxes for one test file: on a free port, with a data directory of its own. Needs root, a
 * build (BERM_BUILD, default build/) and an installed image (BERM_IMAGES, default /var/lib/berm/images).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const build = path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build'));
export const imagesDir = process.env.BERM_IMAGES ?? '/var/lib/berm/images';
export const hasImage = (name) => fs.existsSync(path.join(imagesDir, 'names', name));
export const image = ['minimal', 'base'].find(hasImage);

function built(name, part) {
  return [path.join(build, name), path.join(build, 'src', part, name)].find((file) => fs.existsSync(file));
}
export const programs = { bermd: built('bermd', 'daemon'), spawn: built('berm-spawn', 'spawn'), agent: built('berm-agent', 'agent') };

/* Why there can be no daemon here, or undefined. With BERM_MUST_WORK=1 that is an error instead. */
export function whyNoDaemon() {
  let reason;
  if (process.getuid() !== 0) reason = 'needs root';
  else if (!programs.bermd || !programs.spawn || !programs.agent) reason = `bermd, berm-spawn or berm-agent is not built in ${build}`;
  else if (!image) reason = `no image minimal or base in ${imagesDir}`;
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`these tests must run here: ${reason}`);
  return reason;
}

/* Polls what has no event to wait for from outside, such as a cgroup going away. */
export async function until(what, condition, ms = 60000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await delay(10);
  }
}

export class Daemon {
  /*
   * `options`: more flags; `docker`: whether it serves Docker's API, at `dockerSocket`; `env`: more variables; `enter`: a
   * command that runs bermd in its own place (nsenter ...).
   */
  constructor({ options = [], docker = false, env = {}, poolSize = 1, data, enter = [] } = {}) {
    this.top = data ? path.dirname(data) : fs.mkdtempSync(path.join(os.tmpdir(), 'berm-e2e-'));
    fs.chmodSync(this.top, 0o755);
    this.data = data ?? path.join(this.top, 'data');
    this.places = ['--data', this.data, '--images', imagesDir, '--spawn', programs.spawn, '--agent', programs.agent];
    this.dockerSocket = docker ? path.join(this.top, 'docker.sock') : undefined;
    this.options = ['--sandbox-image', image, '--pool-size', String(poolSize), ...(docker ? ['--docker-socket', this.dockerSocket] : []), ...options];
    this.env = env;
    this.enter = enter;
    this.lines = [];
  }

  /* Resolves once it listens. */
  async start(more = []) {
    const [program, ...args] = [...this.enter, programs.bermd, '--listen', '127.0.0.1:0', '--log-format', 'json', ...this.places, ...this.options, ...more];
    this.child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...this.env },
    });
    this.exited = once(this.child, 'exit');
    const reader = createInterface({ input: this.child.stderr });
    const address = await new Promise((resolve, reject) => {
      reader.on('line', (line) => {
        this.lines.push(line);
        const entry = line.startsWith('{') ? JSON.parse(line) : {};
        if (entry.event === 'listening') resolve(entry.address);
      });
      this.child.once('exit', (code, signal) =>
        reject(new Error(`bermd ended with ${code ?? signal}:\n${this.lines.join('\n')}`)));
    });
    this.child.removeAllListeners('exit');
    this.exited = this.child.exitCode === null ? once(this.child, 'exit') : Promise.resolve([this.child.exitCode]);
    this.port = Number(address.slice(address.lastIndexOf(':') + 1));
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }

  get pid() {
    return this.child.pid;
  }

  log(event) {
    return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter((entry) => !event || entry.event === event);
  }

  /* The pid of berm-spawn's keeper, a child of bermd. */
  keeper() {
    return Number(fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim().split(' ')[0]);
  }

  worker() {
    const keeper = this.keeper();
    const children = fs.readFileSync(`/proc/${keeper}/task/${keeper}/children`, 'utf8').trim().split(' ');
    const is = (pid) => { // one may end between the list and the look
      try {
        return fs.readFileSync(`/proc/${pid}/comm`, 'utf8') === 'berm-spawn\n';
      } catch (error) {
        if (error.code === 'ENOENT' || error.code === 'ESRCH') return false;
        throw error;
      }
    };
    /* Beside it are the sandboxes of workers that died. */
    return Number(children.find(is));
  }

  /* [exit code, signal] */
  async end(signal = 'SIGTERM') {
    this.child.kill(signal);
    return this.exited;
  }

  async stopAll() {
    const cleaner = spawn(programs.bermd, ['--stop-all', ...this.places], { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    cleaner.stderr.on('data', (piece) => (text += piece));
    const [code] = await once(cleaner, 'exit');
    return { code, text };
  }

  /* Ends the daemon and all sandboxes, checks that nothing is left, and removes the directory. */
  async stop() {
    const runs = this.child?.exitCode === null && this.child.signalCode === null;
    const ended = runs ? await this.end() : undefined;
    /* Before anything is judged: what is left holds our end of bermd's stderr, and we would never end. */
    const cleaned = await this.stopAll();
    if (runs) assert.deepEqual(ended, [0, null], this.lines.slice(-40).join('\n'));
    assert.equal(cleaned.code, 0, cleaned.text);
    await this.assertNothingLeft();
    fs.rmSync(this.top, { recursive: true });
  }

  async assertNothingLeft() {
    const { dev, ino } = fs.statSync(this.data);
    const name = `${dev.toString(16)}-${ino.toString(16)}`;
    assert.deepEqual(fs.readdirSync(path.join(this.data, 'run')).filter((file) => file !== 'spawn.lock'), []);
    assert.ok(!fs.readFileSync('/proc/self/mountinfo', 'utf8').includes(this.data), 'a mount is left');
    assert.deepEqual(cgroupsNamed('/sys/fs/cgroup', name), []);
    /* The kernel lets go of a loop device some time after its last user. */
    await until('the loop device goes', () => !loopFiles().some((file) => file.includes(this.data)));
  }
}

function loopFiles() {
  return fs.readdirSync('/sys/block').filter((entry) => entry.startsWith('loop')).flatMap((entry) => {
    try {
      return [fs.readFileSync(`/sys/block/${entry}/loop/backing_file`, 'utf8').trim()];
    } catch {
      return []; /* not in use, or no longer */
    }
  });
}

/* Directories of the cgroup file systems whose name holds `name`; three levels are all that berm-spawn makes. */
function cgroupsNamed(directory, name, depth = 4) {
  const found = [];
  let entries = [];
  try {
    entries = fs.readdirSync(directory, { withFileTypes: true });
  } catch {
    /* another daemon's, gone in the meantime */
  }
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    const full = path.join(directory, entry.name);
    if (entry.name.includes(name)) found.push(full);
    else if (depth > 1) found.push(...cgroupsNamed(full, name, depth - 1));
  }
  return found;
}
