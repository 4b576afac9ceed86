/*
 * A machine for one test: Debian's systemd as process 1 of namespaces of its own, with the files of this machine (`boot` says
 * how). What it writes is gone with it. It can be booted again, and finds then what it wrote.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { imagesDir, until } from '../lib/daemon.mjs';

const boot = fileURLToPath(new URL('boot', import.meta.url));
const hierarchies = () => fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter((line) => / - cgroup2? /.test(line)).map((line) => line.split(' ')[4]);
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const sanitizers = process.env.ASAN_OPTIONS === undefined ? {} : { ASAN_OPTIONS: process.env.ASAN_OPTIONS };

export class Machine {
  /* `dirs`: what it has to see of this machine, wherever that is mounted. */
  constructor(dirs) {
    this.dirs = dirs;
    this.place = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-machine-'));
    fs.mkdirSync(path.join(this.place, 'written'));
  }

  /* What it writes is in memory, of a mount namespace that lives as long as a process that reads our pipe. */
  async keep() {
    this.keeper = spawn('unshare', ['--mount', 'sh', '-c', `mount -t tmpfs -o mode=755 tmpfs '${this.place}/written' && echo kept && exec cat`], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.kept = once(this.keeper, 'exit');
    await Promise.race([once(this.keeper.stdout, 'data'), this.kept.then(([code]) => { throw new Error(`unshare --mount ended with ${code}`); })]);
  }

  /* Resolves when everything that is wanted at boot has been started, or could not be. */
  async boot() {
    if (!this.keeper) await this.keep();
    this.log = '';
    this.init = undefined;
    this.gone = false;
    this.host = spawn('setpriv', ['--pdeathsig', 'KILL', 'nsenter', `--mount=/proc/${this.keeper.pid}/ns/mnt`, 'unshare', '--mount', '--pid', '--fork', '--kill-child', '--uts', '--ipc', '--net', '--',
      boot, this.place, imagesDir, ...this.dirs], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ended = once(this.host, 'close').then(() => (this.gone = true));
    for (const stream of [this.host.stdout, this.host.stderr]) stream.on('data', (piece) => (this.log += piece));
    await until('systemd has started', async () => {
      assert.ok(!this.gone, `the machine did not boot: ${this.log}`);
      this.init ??= this.findInit();
      return this.init && /^(running|degraded)$/m.test((await this.run('systemctl is-system-running')).out);
    });
  }

  /* The pid of its process 1 here, once that is systemd. */
  findInit() {
    const pid = fs.readFileSync(`/proc/${this.host.pid}/task/${this.host.pid}/children`, 'utf8').trim();
    return pid !== '' && fs.readFileSync(`/proc/${pid}/comm`, 'utf8') === 'systemd\n' ? pid : undefined;
  }

  /* {status, out, err} of a bash script there. */
  async run(script, { cwd = '/', env = {}, input = '' } = {}) {
    const inside = ['--target', this.init, '--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
    const running = promisify(execFile)('nsenter', [...inside, 'bash', '--norc', '-euo', 'pipefail', '-c', `cd '${cwd}'\n${script}`],
      { encoding: 'utf8', maxBuffer: 1 << 26, env: { PATH: systemPath, HOME: '/root', LANG: 'C.UTF-8', ...sanitizers, ...env } });
    running.child.stdin.on('error', () => {}); // it did not read
    running.child.stdin.end(input);
    try {
      const { stdout, stderr } = await running;
      return { status: 0, out: stdout, err: stderr };
    } catch (error) {
      if (error.stdout === undefined) throw error;
      return { status: error.code ?? error.signal, out: error.stdout, err: error.stderr };
    }
  }

  /* What it prints. */
  async must(script, options) {
    const { status, out, err } = await this.run(script, options);
    if (status !== 0) assert.fail(`${script}\nended with ${status}:\n${out}${err}\n${(await this.run('journalctl --no-pager -n 20')).out}`);
    return out.trim();
  }

  write(file, text, mode = 0o644) {
    return this.must(`mkdir -p "$(dirname '${file}')"; cat >'${file}'; chmod ${mode.toString(8)} '${file}'`, { input: text });
  }

  /* As its operator does it. */
  async powerOff() {
    await this.run('systemctl poweroff');
    await this.ended;
  }

  /* Whatever state it is in. Nothing of it is left. */
  async destroy() {
    if (this.host && !this.gone) {
      this.host.kill('SIGKILL'); // unshare; process 1 ends with it, and takes all others along
      await this.ended;
    }
    if (this.keeper) {
      this.keeper.stdin.end();
      await this.kept;
    }
    for (const group of this.groups()) await until(`${group} goes`, () => removeGroups(group));
    await this.freed();
    fs.rmSync(this.place, { recursive: true });
  }

  /* Resolves when no loop device has a file of its disk any more: the kernel lets go of one some time after its last user. */
  async freed() {
    const disk = path.join(this.place, 'var');
    const files = new Set((fs.existsSync(disk) ? fs.readdirSync(disk) : []).map((name) => String(fs.lstatSync(path.join(disk, name)).ino)));
    await until('the loop devices go', () => !execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-INO'], { encoding: 'utf8' })
      .split('\n').some((ino) => files.has(ino.trim())));
  }

  groups() {
    return hierarchies().map((point) => path.join(point, path.basename(this.place))).filter((group) => fs.existsSync(group));
  }
}

/* True when there is none; false while something is in it. */
function removeGroups(group) {
  for (const entry of fs.existsSync(group) ? fs.readdirSync(group, { withFileTypes: true }) : [])
    if (entry.isDirectory() && !removeGroups(path.join(group, entry.name))) return false;
  try {
    fs.rmdirSync(group);
  } catch (error) {
    if (error.code === 'EBUSY') return false;
    if (error.code !== 'ENOENT') throw error;
  }
  return true;
}
