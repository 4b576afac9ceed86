/* An image store of the test's own, filled by `berm image`, and a daemon that serves from it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { berm } from '../cli/program.mjs';
import { Api } from '../lib/api.mjs';
import { Daemon, image, imagesDir } from '../lib/daemon.mjs';

export class Store {
  constructor() {
    this.top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-images-'));
    fs.chmodSync(this.top, 0o755);
    this.dir = path.join(this.top, 'store');
  }

  /* Runs `berm image VERB --images <this store> ...`. */
  run(verb, ...args) {
    return berm(['image', verb, '--images', this.dir, ...args]);
  }

  /* The digest that a successful build or import printed. */
  async make(verb, ...args) {
    const { status, out, err } = await this.run(verb, ...args);
    assert.equal(status, 0, err);
    assert.match(out, /^[0-9a-f]{64}\n$/);
    return out.trim();
  }

  async list() {
    const { status, out, err } = await this.run('ls', '--json');
    assert.equal(status, 0, err);
    return JSON.parse(out).images;
  }

  async serve(name) {
    const daemon = new Daemon({ poolSize: 0 });
    daemon.places[daemon.places.indexOf('--images') + 1] = this.dir;
    daemon.options[daemon.options.indexOf('--sandbox-image') + 1] = name;
    await daemon.start();
    return { daemon, api: new Api(daemon) };
  }

  remove() {
    fs.rmSync(this.top, { recursive: true });
  }
}

/* The root file system of the machine's test image, as a tar file at `file`. */
export function exportRootfs(file) {
  const source = path.join(imagesDir, 'names', image, 'rootfs.erofs');
  const script = `mkdir "$2.mnt"; mount -t erofs -o loop,ro "$1" "$2.mnt"
    tar --numeric-owner -C "$2.mnt" -cf "$2" . && umount "$2.mnt"`;
  const done = spawnSync('unshare', ['--mount', '--propagation', 'unchanged', 'bash', '-ec', script, 'export', source, file]);
  assert.equal(done.status, 0, done.stderr.toString());
  fs.rmdirSync(`${file}.mnt`);
}
