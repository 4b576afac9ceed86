/* Images from archives and OCI layouts, run in real sandboxes; names, removal while in use, what sandboxes cannot change. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import zlib from 'node:zlib';

import { tar } from '../../attack/lib/tar.mjs';
import { whyNoDaemon } from '../lib/daemon.mjs';
import { exportRootfs, Store } from './store.mjs';

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

/* Writes an OCI layout of these layers (uncompressed tars as buffers) and returns its directory. */
function writeLayout(directory, layers, settings) {
  const blobs = path.join(directory, 'blobs/sha256');
  fs.mkdirSync(blobs, { recursive: true });
  const add = (bytes, type) => {
    const hex = sha256(bytes);
    fs.writeFileSync(path.join(blobs, hex), bytes);
    return { mediaType: `application/vnd.oci.image.${type}`, digest: `sha256:${hex}`, size: bytes.length };
  };
  const document = (value, type) => add(Buffer.from(JSON.stringify(value)), type);
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch];
  const config = document({ os: 'linux', architecture, config: settings }, 'config.v1+json');
  const descriptors = layers.map((layer) => add(zlib.gzipSync(layer, { level: 1 }), 'layer.v1.tar+gzip'));
  const manifest = document({ schemaVersion: 2, config, layers: descriptors }, 'manifest.v1+json');
  fs.writeFileSync(path.join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
  fs.writeFileSync(path.join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return directory;
}

describe('imported images', { skip: whyNoDaemon() }, () => {
  const store = new Store();
  const rootfs = path.join(store.top, 'rootfs.tar');
  let daemon, api, digest;

  before(async () => {
    exportRootfs(rootfs);
    digest = await store.make('import', 'plain', rootfs);
    ({ daemon, api } = await store.serve('plain'));
  });
  after(async () => {
    api?.close();
    await daemon?.stop();
    store.remove();
  });

  async function run(image, command) {
    const id = await api.newId();
    assert.equal((await api.put(`/v1/sandbox/${id}`, { image })).status, 201);
    const result = await api.exec(id, command);
    assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
    return result;
  }

  test('a root file system in a tar file runs', async () => {
    const result = await run('plain', 'echo "$BASH_VERSION" && cat /etc/debian_version');
    assert.equal(result.code, 0);
    assert.match(result.out, /^5\..*\n12/);
  });

  test('the digest is that of the two files', async () => {
    const directory = path.join(store.dir, digest);
    const bytes = ['rootfs.erofs', 'config.json'].map((name) => fs.readFileSync(path.join(directory, name)));
    assert.equal(sha256(Buffer.concat(bytes)), digest);
  });

  test('compressed archives of the same content give the same image', async () => {
    const file = path.join(store.top, 'rootfs.tar.gz');
    fs.writeFileSync(file, zlib.gzipSync(fs.readFileSync(rootfs), { level: 1 }));
    assert.equal(await store.make('import', 'again', file), digest);
    assert.equal((await store.run('rm', 'again')).status, 0);
    assert.deepEqual((await store.list()).map((image) => image.name), ['plain']);
  });

  test('an OCI layout brings its layers, whiteouts, environment and working directory', async () => {
    const upper = tar([
      { type: 'directory', path: 'srv/app/' },
      { type: 'file', path: 'srv/app/hello', content: 'from the upper layer\n', mode: 0o644 },
      { type: 'file', path: 'etc/.wh.debian_version', content: '' },
      { type: 'file', path: 'usr/share/doc/.wh..wh..opq', content: '' },
    ]);
    const directory = writeLayout(path.join(store.top, 'layout'), [fs.readFileSync(rootfs), upper], {
      Env: ['GREETING=hello from the image', 'PATH=/usr/bin:/bin'], Cmd: ['/bin/bash'], WorkingDir: '/srv/app',
    });
    await store.make('import', 'layered', directory);
    const result = await run('layered', 'cat /srv/app/hello; echo "$GREETING"; ls /etc/debian_version /usr/share/doc');
    assert.match(result.out, /^from the upper layer\nhello from the image\n/);
    assert.doesNotMatch(result.out, /debian_version|bash/);
    assert.match(result.err, /debian_version/);
  });

  test('a layout whose content does not match its digests is refused and leaves nothing', async () => {
    const directory = writeLayout(path.join(store.top, 'forged'), [tar([{ type: 'file', path: 'a', content: 'a' }])], {});
    for (const name of fs.readdirSync(path.join(directory, 'blobs/sha256'))) {
      const file = path.join(directory, 'blobs/sha256', name);
      const bytes = fs.readFileSync(file);
      bytes[bytes.length - 1] ^= 1;
      fs.writeFileSync(file, bytes);
    }
    const { status, err } = await store.run('import', 'forged', directory);
    assert.notEqual(status, 0);
    assert.match(err, /digest/);
    assert.ok(!(await store.list()).some((image) => image.name === 'forged'));
    assert.ok(!fs.readdirSync(store.dir).some((name) => name.startsWith('.tmp-')));
  });

  test('a hostile archive cannot write outside, and its error names no control characters', async () => {
    const victim = path.join(store.top, 'victim');
    fs.writeFileSync(victim, 'untouched');
    const file = path.join(store.top, 'hostile.tar');
    for (const entry of [
      { type: 'file', path: `../../../../../../../..${victim}`, content: 'harm' },
      { type: 'hardlink', path: 'x', target: victim },
      { type: 'hardlink', path: 'x\u001b[31m', target: 'not/there' },
    ]) {
      fs.writeFileSync(file, tar([{ type: 'symlink', path: 'up', target: '/' }, entry]));
      const { status, err } = await store.run('import', 'hostile', file);
      assert.notEqual(status, 0);
      assert.doesNotMatch(err, /\u001b/);
    }
    assert.equal(fs.readFileSync(victim, 'utf8'), 'untouched');
  });

  test('devices in an archive are left out, which is told', async () => {
    const file = path.join(store.top, 'devices.tar');
    fs.writeFileSync(file, tar([{ type: 'char', path: 'dev/kmem', major: 1, minor: 2 }, { type: 'file', path: 'f', content: 'x' }]));
    const { status, err } = await store.run('import', 'devices', file);
    assert.equal(status, 0, err);
    assert.match(err, /1 device/);
    assert.equal((await store.run('rm', 'devices')).status, 0);
  });

  test('what a sandbox changes stays its own: the image is the same for the next and on disk', async () => {
    const changed = await run('plain', 'echo changed >/etc/debian_version && rm /usr/bin/true && cat /etc/debian_version');
    assert.equal(changed.out, 'changed\n');
    const next = await run('plain', 'true && cat /etc/debian_version');
    assert.equal(next.code, 0);
    assert.match(next.out, /^12/);
    const { status, out } = await store.run('ls', '--json');
    assert.equal(status, 0);
    assert.equal(JSON.parse(out).images.find((image) => image.name === 'plain').digest, digest);
  });

  test('an image is not removed while a sandbox runs from it', async () => {
    const id = await api.newId();
    await store.make('import', 'held', rootfs); /* the same content: a second name of the same image */
    assert.equal((await api.put(`/v1/sandbox/${id}`, { image: 'held' })).status, 201);
    assert.equal((await api.exec(id, 'true')).code, 0);
    /* One of its two names may go; the digest may not. */
    assert.equal((await store.run('rm', 'held')).status, 0);
    const refused = await store.run('rm', digest);
    assert.notEqual(refused.status, 0);
    assert.match(refused.err, /in use/);
    assert.equal((await api.exec(id, 'cat /etc/debian_version')).code, 0);
    assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
  });

  test('a sandbox of an image that is not there is a clear error', async () => {
    const id = await api.newId();
    const response = await api.put(`/v1/sandbox/${id}`, { image: 'nothing' });
    assert.equal(response.status, 404);
    assert.equal(response.json.code, 'image_not_found');
  });
});
