/* Where the programs and the image are, and why the tests cannot run if they are not. */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const imagesDir = process.env.BERM_IMAGES ?? '/var/lib/berm/images';
const buildDir = path.resolve(root, process.env.BERM_BUILD ?? 'build');

/* A program lies at the top of a finished build, or where meson left it. */
function built(name, place) {
  return ['.', place].map((at) => path.join(buildDir, at, name)).find((file) => fs.existsSync(file));
}

export const programs = {
  bermd: built('bermd', 'src/daemon'),
  spawn: built('berm-spawn', 'src/spawn'),
  agent: built('berm-agent', 'src/agent'),
};

/* Of Debian's package; the tests of the OCI back end are left out where it is missing. */
export const crun = fs.existsSync('/usr/bin/crun') ? '/usr/bin/crun' : undefined;

export const image = ['minimal', 'base'].find((name) => fs.existsSync(path.join(imagesDir, 'names', name)));

/* Undefined when they can run. With BERM_MUST_WORK=1 not being able to is a failure. */
export function whyNot() {
  const missing = Object.keys(programs).find((name) => !programs[name]);
  let reason;
  if (process.getuid() !== 0) reason = 'needs root';
  else if (missing) reason = `${missing} is not built in ${buildDir}`;
  else if (!image) reason = `no image minimal or base in ${imagesDir}`;
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`the fault tests must run here: ${reason}`);
  return reason;
}
