/* Images from recipes: one of the test's own, and what the image `base` promises. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { berm, root } from '../cli/program.mjs';
import { imagesDir, whyNoDaemon } from '../lib/daemon.mjs';
import { Store } from './store.mjs';

const hasBase = fs.existsSync(path.join(imagesDir, 'names/base'));

describe('an image from a recipe', { skip: whyNoDaemon() }, () => {
  const store = new Store();
  const recipe = path.join(store.top, 'recipe');
  let daemon, api, digest;

  before(async () => {
    fs.cpSync(path.join(root, 'image/minimal'), recipe, { recursive: true });
    fs.mkdirSync(path.join(recipe, 'files/opt/tool'), { recursive: true });
    fs.writeFileSync(path.join(recipe, 'files/opt/tool/data'), 'copied\n');
    fs.appendFileSync(path.join(recipe, 'config'), 'env COLOUR=deep blue\nworkdir /opt/tool\n');
    fs.appendFileSync(path.join(recipe, 'setup'), 'echo "$0 ran as $(id -u)" >/opt/tool/made\n');
    fs.writeFileSync(path.join(recipe, 'packages'), 'xxd # one more\n');
    digest = await store.make('build', '--recipe', recipe, 'mine');
    ({ daemon, api } = await store.serve('mine'));
  });
  after(async () => {
    api?.close();
    await daemon?.stop();
    store.remove();
  });

  test('has its packages, files, settings and what its setup made', async () => {
    const id = await api.newId();
    const result = await api.exec(id, 'echo -n A | xxd -p; cat /opt/tool/data /opt/tool/made; echo "$COLOUR"; ls /berm-setup');
    assert.equal(result.out, '41\ncopied\n/berm-setup ran as 0\ndeep blue\n');
    assert.notEqual(result.code, 0);
    await api.delete(`/v1/sandbox/${id}`);
  });

  test('knows nothing of the machine that made it', async () => {
    const id = await api.newId();
    const result = await api.exec(id, 'cat /etc/machine-id /etc/hostname; ls -A /var/log /var/cache/apt/archives 2>/dev/null; ls -A /tmp');
    assert.equal(result.out.replace(/^\/var.*:$/gm, '').trim(), 'sandbox');
    await api.delete(`/v1/sandbox/${id}`);
  });

  /* The sanitizers see nothing else in it. */
  test('is the same image when it is built again', { skip: process.env.BERM_SANITIZED === '1' }, async () => {
    assert.equal(await store.make('build', '--recipe', recipe, 'again'), digest);
  });

  test('a recipe that fails says which part and leaves nothing', async () => {
    const broken = path.join(store.top, 'broken');
    fs.cpSync(path.join(root, 'image/minimal'), broken, { recursive: true });
    fs.appendFileSync(path.join(broken, 'config'), 'colour red\n');
    const wrong = await store.run('build', '--recipe', broken, 'broken');
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.err, /line \d+ of the recipe's config/);
    assert.ok(!(await store.list()).some((image) => image.name === 'broken'));
    assert.ok(!fs.readdirSync(store.dir).some((name) => name.startsWith('.tmp-')));
    const missing = await store.run('build', 'no-such-recipe');
    assert.notEqual(missing.status, 0);
    assert.match(missing.err, /no-such-recipe/);
  });
});

describe('the image base', { skip: whyNoDaemon() ?? (hasBase ? undefined : `there is no image base in ${imagesDir}`) }, () => {
  const store = new Store();
  store.dir = imagesDir;
  let daemon, api, id;

  before(async () => {
    ({ daemon, api } = await store.serve('base'));
    id = await api.newId();
  });
  after(async () => {
    api?.close();
    await daemon?.stop();
    store.remove();
  });

  test('has the programs that people\'s scripts call', async () => {
    const programs = `bash ls find grep sed gawk tar gzip xz zip unzip ps file git curl wget jq rg ip node npm npx bun bunx python3
      python pip ipython mksquashfs squashfuse fuse-overlayfs fusermount3 s3fs xxd`.split(/\s+/);
    const result = await api.exec(id, `for p in ${programs.join(' ')}; do command -v $p >/dev/null || echo $p; done`);
    assert.equal(result.out, '');
    assert.equal(result.code, 0);
  });

  test('has Node 20 or newer, npm and bun that run', async () => {
    const result = await api.exec(id, "node -p 'process.versions.node.split(\".\")[0] >= 20' && npm --version && bun -e 'console.log(6 * 7)'");
    assert.match(result.out, /^true\n\d+\.\d+\.\d+\n42\n$/, result.err);
  });

  test('has Python with the libraries of the code interpreter, pip and venv', async () => {
    const result = await api.exec(id, "python3 -c 'import IPython, numpy, pandas, matplotlib.pyplot; print(2 + 2)' && python3 -m venv /tmp/v && /tmp/v/bin/pip --version");
    assert.match(result.out, /^4\npip /, result.err);
  });

  test('has compiled Python files that are up to date', async () => {
    const result = await api.exec(id, "python3 -v -c 'import pandas' 2>&1 | grep -c 'wrote ' || true");
    assert.equal(result.out, '0\n');
  });

  test('has the places and the user that are promised, and no trace of another server', async () => {
    const result = await api.exec(id, 'readlink /etc/mtab; stat -c "%a %U" /workspace /root; id -u sandbox; ls -d /var/backups; ls /container-server');
    assert.equal(result.out, '/proc/mounts\n755 root\n700 root\n1000\n/var/backups\n');
  });

  test('holds no address of a registry but the public ones', async () => {
    const result = await api.exec(id, "cat /etc/apt/sources.list.d/* /etc/npmrc /root/.npmrc /usr/local/etc/npmrc 2>/dev/null | grep -oE '[a-z]+://[^/ ]+' | sort -u; npm config get registry");
    assert.equal(result.out, 'http://deb.debian.org\nhttps://registry.npmjs.org/\n');
  });

  test('the example of the README: two and two is four', async () => {
    const result = await berm(['--url', daemon.url, 'run', '--', 'python3', '-c', 'print(2 + 2)']);
    assert.equal(result.out, '4\n', result.err);
    assert.equal(result.status, 0);
  });
});
