/* What of one data directory there is on the host: processes, groups, mounts, devices, files. Only looks. */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return ''; /* it went away meanwhile */
  }
}

/* Names only: for their types node would have to look at entries of /proc that may have gone, and fail. */
function list(directory) {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

const isDirectory = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;

function link(file) {
  try {
    return fs.readlinkSync(file);
  } catch {
    return '';
  }
}

const allPids = () => fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number);

/* {name, state, parent, start} of a process, or undefined. Its name is in parentheses and may hold any character. */
export function stat(pid) {
  const text = readText(`/proc/${pid}/stat`);
  const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (!text) return undefined;
  return { name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')), state: rest[0], parent: Number(rest[1]), start: rest[19] };
}

/* Ids are used again, together with the start time they are not. */
export const identity = (pid) => `${pid}@${stat(pid)?.start}`;

function isFirstInside(pid) {
  const numbers = /^NSpid:\s*(.*)$/m.exec(readText(`/proc/${pid}/status`))?.[1].split(/\s+/) ?? [];
  return numbers.length === 2 && numbers[1] === '1';
}

/* Polls until `condition` gives something true. */
export async function until(condition, what, deadlineMs = 60_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
    await delay(10);
  }
}

function cgroupMounts() {
  return readText('/proc/self/mountinfo')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4]);
}

export const descriptors = (pid) => list(`/proc/${pid}/fd`).map((name) => link(`/proc/${pid}/fd/${name}`));

/* Everything below is about one data directory, which exists. */
export class Host {
  constructor(data) {
    const { dev, ino } = fs.statSync(data, { bigint: true });
    this.data = data;
    this.group = `berm/${dev.toString(16)}-${ino.toString(16)}`;
  }

  /* bermd and berm-spawn, told apart by name; children that are on their way into a sandbox not among them. */
  servers() {
    const ours = (pid) => {
      const words = readText(`/proc/${pid}/cmdline`).split('\0');
      return words[words.indexOf('--data') + 1] === this.data && stat(pid)?.state !== 'Z' && !this.groupOf(pid);
    };
    const pids = allPids().filter(ours);
    const named = (name) => pids.filter((pid) => stat(pid)?.name === name);
    return { daemons: named('bermd'), spawners: named('berm-spawn') };
  }

  /*
   * The two of berm-spawn, undefined while they are not both there: the worker is the keeper's child. (It may have children
   * of its own among them, on their way into a sandbox, and with a lower number.)
   */
  spawner() {
    const { spawners } = this.servers();
    const isKeeper = (pid) => spawners.includes(pid) && !spawners.includes(stat(pid)?.parent);
    const worker = spawners.find((pid) => isKeeper(stat(pid)?.parent));
    return { worker, keeper: worker && stat(worker)?.parent };
  }

  /* "s7", or undefined when it is in no group of this data directory. */
  groupOf(pid) {
    const text = readText(`/proc/${pid}/cgroup`);
    return new RegExp(`/${this.group}/(s\\d+)(?:/|$)`, 'm').exec(text)?.[1];
  }

  /* Of all sandboxes: {pid, group, first}. One that only waits for the host's own pid 1 to reap it is no process any more. */
  processes() {
    return allPids()
      .map((pid) => ({ pid, group: this.groupOf(pid) }))
      .filter(({ pid, group }) => group && (stat(pid)?.state ?? 'Z') !== 'Z')
      .map((process) => ({ ...process, first: isFirstInside(process.pid) }));
  }

  /* [mount point of the hierarchy, names of our groups there] */
  groups() {
    return cgroupMounts()
      .map((mount) => path.join(mount, this.group))
      .filter((directory) => fs.existsSync(directory))
      .map((directory) => [directory, list(directory).filter((name) => isDirectory(path.join(directory, name))).sort()]);
  }

  /* What the kernel holds a sandbox to: {memoryBytes, pids}. */
  limits(group) {
    const values = (file) => this.groups().map(([directory]) => readText(path.join(directory, group, file)).trim());
    const first = (...files) => Number(files.flatMap(values).find((value) => value !== '' && value !== 'max'));
    return { memoryBytes: first('memory.limit_in_bytes', 'memory.max'), pids: first('pids.max') };
  }

  /* The pool is mounted where only the worker sees it. */
  /* The disk pool as the worker sees it; on the host it is mounted nowhere. */
  disk() {
    const { worker } = this.spawner();
    return worker && `/proc/${worker}/root/disk`;
  }

  subvolumes() {
    return this.#onDisk(/^(?!v[0-9a-f]{16}$)/);
  }

  volumes() {
    return this.#onDisk(/^v[0-9a-f]{16}$/);
  }

  #onDisk(pattern) {
    const disk = this.disk();
    return disk ? list(disk).filter((name) => pattern.test(name)).sort() : [];
  }

  runFiles() {
    const names = list(path.join(this.data, 'run'));
    const match = (pattern) => names.filter((name) => pattern.test(name));
    const files = { metas: match(/^[0-9a-f]{16}\.meta$/), sockets: match(/^[0-9a-f]{16}\.sock$/), slots: match(/^\.s\d+\.sock$/) };
    const known = ['spawn.lock', ...Object.values(files).flat()];
    return { ...files, others: names.filter((name) => !known.includes(name)) };
  }

  mounts() {
    const points = readText('/proc/self/mountinfo').split('\n').map((line) => line.split(' ')[4] ?? '');
    return points.filter((point) => point.startsWith(`${this.data}/`));
  }

  loopDevices() {
    const backing = (name) => readText(`/sys/block/${name}/loop/backing_file`);
    return list('/sys/block').filter((name) => backing(name).startsWith(`${this.data}/`));
  }

  claims() {
    return list('/run/berm').filter((name) => readText(`/run/berm/${name}`) === this.data);
  }

  /* Network namespaces that processes of sandboxes are in, and that berm-spawn holds for sandboxes to come. */
  namespaces() {
    const inside = new Set(this.processes().map(({ pid }) => link(`/proc/${pid}/ns/net`)).filter(Boolean));
    const held = this.servers().spawners.flatMap(descriptors).filter((link) => link.startsWith('net:['));
    return { inside: [...inside], held: [...new Set(held)] };
  }

  /* What an OCI runtime and we for it have written down about sandboxes. */
  bundles() {
    const bundles = list(path.join(this.data, 'oci')).filter((name) => /^s\d+$/.test(name));
    return [...bundles, ...list(path.join(this.data, 'oci/state'))];
  }

  /* Everything that should be gone when nothing runs any more. */
  remains() {
    const { daemons, spawners } = this.servers();
    const { metas, sockets, slots, others } = this.runFiles();
    return {
      daemons, spawners, metas, sockets, slots, others,
      processes: this.processes(),
      groups: this.groups(),
      mounts: this.mounts(),
      loopDevices: this.loopDevices(),
      claims: this.claims(),
      bundles: this.bundles(),
    };
  }
}
