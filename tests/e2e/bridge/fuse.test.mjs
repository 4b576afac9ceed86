/* FUSE inside a sandbox with the programs that the SDK runs there: squashfuse, fuse-overlayfs, fusermount3. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const none = fs.existsSync(path.join(imagesDir, 'names/base')) ? false : 'needs the image base';

describe('FUSE', { skip: whyNoDaemon() || none }, () => {
  let daemon;
  let api;
  let made = 0;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  const box = async () => {
    const id = `fuse${'abcd'[made++]}`;
    const { status, text } = await api.put(`/v1/sandbox/${id}`, { image: 'base' });
    assert.equal(status, 201, text);
    return async (command) => {
      const { code, out, err } = await api.exec(id, ['bash', '-c', command]);
      assert.equal(code, 0, `${command}: ${out} ${err}`);
      return out;
    };
  };
  const makeArchive = `mkdir -p /workspace/src/d /var/backups/m/{lower,upper,work} /workspace/back; echo one > /workspace/src/a; echo two > /workspace/src/d/b
    mksquashfs /workspace/src /var/backups/x.sqsh -comp lz4 -no-progress -quiet >/dev/null`;

  test('an archive is mounted with squashfuse and fuse-overlayfs, written over, unmounted, and is what it was', async () => {
    const sh = await box();
    await sh(makeArchive);
    const restore = `set -e; /usr/bin/squashfuse /var/backups/x.sqsh /var/backups/m/lower
      /usr/bin/fuse-overlayfs -o lowerdir=/var/backups/m/lower,upperdir=/var/backups/m/upper,workdir=/var/backups/m/work /workspace/back`;
    await sh(restore);
    assert.equal(await sh('cat /workspace/back/a /workspace/back/d/b; mountpoint -q /workspace/back && echo mounted'), 'one\ntwo\nmounted\n');
    await sh('echo changed > /workspace/back/a; rm /workspace/back/d/b; echo new > /workspace/back/n');
    assert.equal(await sh('cat /workspace/back/a /workspace/back/n /var/backups/m/lower/a'), 'changed\nnew\none\n');
    await sh('/usr/bin/fusermount3 -u /workspace/back; /usr/bin/fusermount3 -uz /var/backups/m/lower; rm -rf /var/backups/m/{upper,work}; mkdir /var/backups/m/{upper,work}');
    assert.equal(await sh('ls /workspace/back /var/backups/m/lower | grep -v : | grep -c . || true'), '0\n');
    await sh(restore);
    assert.equal(await sh('cat /workspace/back/a /workspace/back/d/b'), 'one\ntwo\n');
  });

  test('the file system serves other users of the sandbox when it says so', async () => {
    const sh = await box();
    await sh(`${makeArchive}; /usr/bin/squashfuse -o allow_other /var/backups/x.sqsh /var/backups/m/lower; chmod 755 /var/backups /var/backups/m`);
    assert.equal(await sh('setpriv --reuid 1000 --regid 1000 --clear-groups cat /var/backups/m/lower/a'), 'one\n');
  });

  test('nobody but root may mount, and nothing but FUSE', async () => {
    const sh = await box();
    await sh(makeArchive);
    await sh('mkdir -m 777 /tmp/m; ! setpriv --reuid 1000 --regid 1000 --clear-groups squashfuse /var/backups/x.sqsh /tmp/m 2>/dev/null; ! mountpoint -q /tmp/m');
    assert.equal(await sh('for t in tmpfs proc sysfs overlay bpf; do mount -t $t none /mnt 2>/dev/null && echo $t; done; mount --bind / /mnt 2>/dev/null && echo bind; umount /proc/keys 2>/dev/null && echo keys; true'), '');
  });

  test('a sandbox whose file system hangs is destroyed at once, and no process stays', async () => {
    const sh = await box();
    const id = `fuse${'abcd'[made - 1]}`;
    await sh(`${makeArchive}; squashfuse -f /var/backups/x.sqsh /var/backups/m/lower >/dev/null 2>&1 & until mountpoint -q /var/backups/m/lower; do sleep 0.05; done; kill -STOP $!; for i in 1 2 3; do cat /var/backups/m/lower/a & done >/dev/null 2>&1; true`);
    const from = Date.now();
    assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
    await until('no group is left', async () => (await api.get(`/v1/sandbox/${id}`)).status === 404);
    const took = Date.now() - from; /* within the second, where there is time for it */
    assert.ok(took < 20000, `${took} ms`);
  });
});
