/* A real daemon of the test's own, on a free port and an empty data directory. Needs root, the build and an image. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { built } from './program.mjs';

const imagesDir = process.env.BERM_IMAGES ?? '/var/lib/berm/images';
const image = ['minimal', 'base'].find((name) => fs.existsSync(path.join(imagesDir, 'names', name)));
const bermd = built('bermd', 'src/daemon');

/* Why there can be no daemon here, or undefined. */
export function whyNoDaemon() {
  if (process.getuid() !== 0) return 'needs root';
  if (!bermd) return 'bermd is not built';
  return image ? undefined : `no image minimal or base in ${imagesDir}`;
}

/* Resolves once it serves: {url, image, stop()}. */
export async function startDaemon() {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-cli-daemon-'));
  fs.chmodSync(top, 0o755);
  const options = ['--data', path.join(top, 'data'), '--images', imagesDir];
  const child = spawn(bermd, ['--listen', '127.0.0.1:0', '--sandbox-image', image, '--pool-size', '1', ...options], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines = [];
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      const found = /127\.0\.0\.1:\d+/.exec(line);
      if (found && !found[0].endsWith(':0')) resolve(`http://${found[0]}`);
    });
    child.once('exit', (code) => reject(new Error(`bermd ended with ${code}:\n${lines.join('\n')}`)));
  });
  const stop = async () => {
    child.removeAllListeners('exit');
    if (child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    const cleaner = spawn(bermd, ['--stop-all', ...options], { stdio: ['ignore', 'ignore', 'inherit'] });
    await once(cleaner, 'exit');
    fs.rmSync(top, { recursive: true });
  };
  return { url, image, stop, lines };
}
