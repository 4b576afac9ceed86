/* Looking at the host from the outside: which process is a sandbox's first, what is mounted, what runs. */
import fs from 'node:fs';
import path from 'node:path';

const numeric = (name) => /^\d+$/.test(name);
export const processes = () => fs.readdirSync('/proc').filter(numeric).map(Number);

export function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return ''; /* the process went away meanwhile */
  }
}

/* {Uid: ['0', …], CapEff: […], …} of a process. */
export function status(pid) {
  return Object.fromEntries(
    readText(`/proc/${pid}/status`).split('\n').filter(Boolean).map((line) => {
      const [name, value] = line.split(/:\s*/, 2);
      return [name, value.trim().split(/\s+/)];
    }),
  );
}

const parent = (pid) => Number(status(pid).PPid?.[0] ?? 0);

/* The agents of a daemon's sandboxes: pid 1 of a pid namespace, made by the worker of the spawner that it started. */
export const initsBelow = (daemon) =>
  processes().filter((pid) => status(pid).NSpid?.slice(1).join() === '1' && parent(parent(parent(pid))) === daemon);

export const mountTable = () => readText('/proc/self/mountinfo').split('\n').map((line) => line.split(' ')[4]).filter(Boolean).sort();

export const processesNamed = (text) => processes().filter((pid) => readText(`/proc/${pid}/cmdline`).includes(text));

/* Every file below a directory, without following links: {path, stat}. */
export function* walk(directory) {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const full = path.join(directory, entry.name);
    yield { path: full, stat: fs.lstatSync(full) };
    if (entry.isDirectory()) yield* walk(full);
  }
}
