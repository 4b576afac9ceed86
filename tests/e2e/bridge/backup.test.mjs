/* Backups: reference/container/60-backup-git.md, with the programs of the base image. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const none = fs.existsSync(path.join(imagesDir, 'names/base')) ? false : 'needs the image base';

describe('backups', { skip: whyNoDaemon() || none }, () => {
  let daemon;
  let api;
  const id = 'backups';

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    assert.equal((await api.put(`/v1/sandbox/${id}`, { image: 'base' })).status, 201);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  const sh = async (command) => {
    const { code, out, err } = await api.exec(id, ['bash', '-c', command]);
    assert.equal(code, 0, `${command}: ${out} ${err}`);
    return out;
  };
  const call = (route, body) => api.post(`/v1/sandbox/${id}/container/api/backup/${route}`, body);
  const archive = (name) => `/var/backups/${name}.sqsh`;
  const create = async (dir, name, more = {}) => {
    const { status, json, text } = await call('create', { dir, archivePath: archive(name), ...more });
    assert.equal(status, 200, text);
    return json;
  };
  const names = async (name) => (await sh(`unsquashfs -no-progress -l ${archive(name)} | sed -n 's/^squashfs-root\\///p' | sort`)).split('\n').filter(Boolean);

  test('a directory is packed as it is, and the answer says how large the archive is', async () => {
    await sh("mkdir -p '/workspace/a/empty' '/workspace/a/mit Leerzeichen/ü€😀'; echo one > '/workspace/a/mit Leerzeichen/ü€😀/f'; echo two > /workspace/a/b; ln -s b /workspace/a/l");
    const json = await create('/workspace/a', 'a');
    assert.deepEqual(json, { success: true, sizeBytes: Number(await sh(`stat -c %s ${archive('a')}`)), archivePath: archive('a') });
    assert.ok(json.sizeBytes > 0 && json.sizeBytes % 4096 === 0);
    assert.deepEqual(await names('a'), ['b', 'empty', 'l', 'mit Leerzeichen', 'mit Leerzeichen/ü€😀', 'mit Leerzeichen/ü€😀/f']);
    assert.equal(await sh('ls /var/backups/*.exclude 2>/dev/null | wc -l'), '0\n');
  });

  test('every format, and several at once', async () => {
    await Promise.all(['gzip', 'lz4', 'zstd'].map((format) => create('/workspace/a', format, { compression: { format, threads: 2 } })));
    for (const format of ['gzip', 'lz4', 'zstd']) assert.match(await sh(`unsquashfs -s ${archive(format)}`), new RegExp(`Compression ${format}`));
  });

  test('patterns of the request leave out what they say, at any depth', async () => {
    await sh('mkdir -p /workspace/p/{node_modules/x,src/node_modules/y,src/deep/er,keep,in/src/deep/er,in/src/er/x}; touch /workspace/p/{a.log,src/b.log,src/deep/er/c.log,keep/d.txt,src/e.txt}');
    await create('/workspace/p', 'p', { excludes: ['node_modules', '**/*.log', 'keep/**', '**', '', 'src/**/er', 'deep/er'] });
    assert.deepEqual(await names('p'), ['in', 'in/src', 'in/src/deep', 'src', 'src/deep', 'src/e.txt']);
  });

  test('what git ignores is left out when that is asked for, also by nested files and with odd names', async () => {
    await sh(`mkdir -p '/workspace/g/sub' && cd /workspace/g && git init -q . && printf '*.tmp\\nsecret*\\n' > .gitignore && echo '!keep.tmp' > sub/.gitignore &&
      touch a.txt b.tmp 'secret [x] #1' 'sub/#x.tmp' sub/keep.tmp '#not.txt'`);
    assert.deepEqual((await create('/workspace/g', 'g', { gitignore: true }), (await names('g')).filter((n) => !n.startsWith('.git/'))),
      ['#not.txt', '.git', '.gitignore', 'a.txt', 'sub', 'sub/.gitignore', 'sub/keep.tmp']);
    await create('/workspace/g', 'all');
    assert.ok((await names('all')).includes('b.tmp'));
    await create('/workspace/a', 'norepo', { gitignore: true }); // no repository: nothing is left out
    assert.ok((await names('norepo')).includes('b'));
  });

  test('a restore hides what was there, takes writes, and the next one gives the archive again', async () => {
    await sh('mkdir -p /workspace/r; echo hidden > /workspace/r/old');
    const restore = async (dir) => {
      const { status, json, text } = await call('restore', { dir, archivePath: archive('a') });
      assert.equal(status, 200, text);
      assert.deepEqual(json, { success: true, dir });
    };
    await restore('/workspace/r');
    assert.equal(await sh("cat '/workspace/r/mit Leerzeichen/ü€😀/f' /workspace/r/b; ls /workspace/r | wc -l"), 'one\ntwo\n4\n');
    await sh('echo changed > /workspace/r/b; rm /workspace/r/l; touch /workspace/r/new');
    assert.equal(await sh('cat /workspace/r/b; ls /workspace/r | wc -l'), 'changed\n4\n');
    await restore('/workspace/r');
    assert.equal(await sh('cat /workspace/r/b /workspace/r/l; ls /workspace/r | wc -l; ls -d /var/backups/mounts/a_* | wc -l'), 'two\ntwo\n4\n1\n');
    await sh('/usr/bin/fusermount3 -u /workspace/r');
    assert.equal(await sh('cat /workspace/r/old'), 'hidden\n');
    await restore('/tmp/elsewhere/deep');
    assert.equal(await sh('cat /tmp/elsewhere/deep/b'), 'two\n');
  });

  test('failures say what failed', async () => {
    const fails = async (route, body, code, more) => {
      const { status, json } = await call(route, body);
      assert.deepEqual([status, json.code, json.operation], [500, code, `backup.${route}`]);
      for (const [key, value] of Object.entries(more)) assert.deepEqual(json.context[key], value, key);
      return json.context;
    };
    const dir = '/workspace/a';
    await fails('create', { dir: '/workspace/none', archivePath: archive('x') }, 'BACKUP_CREATE_FAILED', { dir: '/workspace/none' });
    await sh('mkdir -p /var/backups/isdir.sqsh');
    const packed = await fails('create', { dir, archivePath: archive('isdir') }, 'BACKUP_CREATE_FAILED', { dir, archivePath: archive('isdir'), exitCode: 1 });
    assert.ok(packed.stderr.length > 0);
    await fails('restore', { dir, archivePath: archive('none') }, 'BACKUP_RESTORE_FAILED', { dir, archivePath: archive('none') });
    await sh('echo no archive > /var/backups/bad.sqsh');
    await fails('restore', { dir: '/workspace/bad', archivePath: archive('bad') }, 'BACKUP_RESTORE_FAILED', { cmd: '/usr/bin/squashfuse' });
    assert.equal(await sh('ls /workspace/a | wc -l'), '4\n');
  });
});
