/* Running the built `berm` and looking at what comes out. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const buildDir = path.resolve(root, process.env.BERM_BUILD ?? 'build');

/* A program lies at the top of a finished build, or where meson left it. */
export const built = (name, place) => ['.', place].map((p) => path.join(buildDir, p, name)).find((file) => fs.existsSync(file));

export const bermPath = process.env.BERM_CLI ?? built('berm', 'src/cli');

/*
 * Starts berm. `options.input`: bytes for stdin (default: stdin is empty); `options.env`: more variables. The result
 * has the child and `done`, which gives {status, signal, stdout, stderr}, the outputs as buffers.
 */
export function start(args, options = {}) {
  const child = spawn(bermPath, args, {
    stdio: [options.stdin ?? 'pipe', options.stdout ?? 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...options.env },
  });
  const chunks = { stdout: [], stderr: [] };
  child.stdout?.on('data', (chunk) => chunks.stdout.push(chunk));
  child.stderr.on('data', (chunk) => chunks.stderr.push(chunk));
  child.stdin?.on('error', () => {}); /* berm need not read it to the end */
  if (child.stdin && !options.keepStdin) child.stdin.end(options.input ?? '');
  const done = once(child, 'close').then(([status, signal]) => ({
    status,
    signal,
    stdout: Buffer.concat(chunks.stdout),
    stderr: Buffer.concat(chunks.stderr),
    out: Buffer.concat(chunks.stdout).toString(),
    err: Buffer.concat(chunks.stderr).toString(),
  }));
  return { child, done };
}

export const berm = (args, options) => start(args, options).done;
