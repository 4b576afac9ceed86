/*
 * The published SDK: createBackup() and restoreBackup() with a bucket of its Worker (`localBucket`), in a real sandbox and
 * over each transport. reference/container/60 and sdk-surface 17: what upstream's own tests require of backups.
 */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { World, whyNotHere } from '../interpreter/helper.mjs';
import { test } from '../lib/test.mjs';
import { Sdk } from './lib/sandbox.mjs';

function inPieces(bytes) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(new Uint8Array(bytes.subarray(at, at += 65536)));
      else controller.close();
    },
  });
}

// An R2 binding in memory.
class Bucket {
  objects = new Map();

  async put(key, value) {
    this.objects.set(key, Buffer.from(await new Response(value).arrayBuffer()));
  }

  async head(key) {
    const bytes = this.objects.get(key);
    return bytes ? { key, size: bytes.length } : null;
  }

  async get(key) {
    const bytes = this.objects.get(key);
    if (!bytes) return null;
    const response = new Response(inPieces(bytes));
    return { key, size: bytes.length, body: response.body, json: () => response.json(), arrayBuffer: () => response.arrayBuffer() };
  }

  async delete(keys) {
    for (const key of [keys].flat()) this.objects.delete(key);
  }

  async list() {
    return { objects: [...this.objects.keys()].map((key) => ({ key })), truncated: false };
  }
}

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`backups of the SDK over ${transport}`, { skip: whyNotHere() }, () => {
    let world, sdk, sandbox;
    const bucket = new Bucket();
    before(async () => {
      world = await World.start();
      sdk = await Sdk.open({ origin: world.daemon.url, prefix: `/v1/sandbox/${world.id}/container` }, { transport, env: { BACKUP_BUCKET: bucket } });
      sandbox = sdk.sandbox;
    });
    after(async () => {
      await sdk?.close();
      await world?.stop();
    });

    const sh = async (command) => {
      const { exitCode, stdout, stderr } = await sandbox.exec(command);
      assert.equal(exitCode, 0, `${command}: ${stdout}${stderr}`);
      return stdout;
    };
    const sums = (dir) => sh(`cd ${dir} && find . -type f -print0 | sort -z | xargs -0 sha256sum; find . -type d | sort`);

    test('names with spaces and of other scripts, nested and empty directories come back; the archive in the sandbox is deleted', async () => {
      await sh("mkdir -p '/workspace/a/mit Leer zeichen/ü€😀' /workspace/a/empty/er /workspace/a/n/e/s/t; echo 1 >'/workspace/a/mit Leer zeichen/ü€😀/f'; echo 2 >/workspace/a/n/e/s/t/f; chmod 750 /workspace/a/n");
      const was = await sums('/workspace/a');
      const backup = await sandbox.createBackup({ dir: '/workspace/a', name: 'first', localBucket: true });
      assert.deepEqual([backup.dir, backup.localBucket], ['/workspace/a', true]);
      assert.deepEqual([...bucket.objects.keys()].sort(), [`backups/${backup.id}/data.sqsh`, `backups/${backup.id}/meta.json`]);
      assert.equal(await sh('ls -A /var/backups'), '');
      await sh('rm -r /workspace/a');
      const restored = await sandbox.restoreBackup(backup);
      assert.deepEqual([restored.success, restored.dir, restored.id], [true, '/workspace/a', backup.id]);
      assert.equal(await sums('/workspace/a'), was);
      assert.equal(await sh('stat -c %a /workspace/a/n'), '750');
      await sandbox.restoreBackup({ ...backup, dir: '/tmp/elsewhere' });
      assert.equal(await sums('/tmp/elsewhere'), was);
    });

    test('what git ignores is there unless it shall not be, nested rules included; patterns leave out more', async () => {
      await sh("mkdir -p /workspace/g/sub/deep/node_modules/x /workspace/g/build; cd /workspace/g; git init -q; echo '*.log' >.gitignore; echo secret >sub/.gitignore; touch a.log a.txt sub/secret sub/b.log sub/deep/c.txt sub/deep/node_modules/x/y build/out");
      const names = async (options) => {
        const backup = await sandbox.createBackup({ dir: '/workspace/g', localBucket: true, ...options });
        await sh('rm -rf /tmp/g');
        await sandbox.restoreBackup({ ...backup, dir: '/tmp/g' });
        return (await sh('cd /tmp/g; find . -path ./.git -prune -o -type f -print | sort')).split('\n');
      };
      const all = ['./.gitignore', './a.log', './a.txt', './build/out', './sub/.gitignore', './sub/b.log', './sub/deep/c.txt', './sub/deep/node_modules/x/y', './sub/secret'];
      assert.deepEqual(await names({}), all);
      const kept = all.filter((name) => !/log$|secret/.test(name));
      assert.deepEqual(await names({ gitignore: true }), kept);
      assert.deepEqual(await names({ gitignore: true, excludes: ['**/node_modules/**', 'build'] }), kept.filter((name) => !/node_modules|build/.test(name)));
      for (const format of ['gzip', 'zstd']) assert.deepEqual(await names({ compression: { format, threads: 1 } }), all);
    });

    test('two at once do not mix', async () => {
      await sh('mkdir -p /workspace/one /workspace/two; seq 1000 >/workspace/one/f; seq 2000 >/workspace/two/f');
      const backups = await Promise.all(['one', 'two'].map((name) => sandbox.createBackup({ dir: `/workspace/${name}`, localBucket: true })));
      await sh('rm -r /workspace/one /workspace/two');
      await Promise.all(backups.map((backup) => sandbox.restoreBackup(backup)));
      assert.equal(await sh('cat /workspace/one/f /workspace/two/f | wc -l'), '3000');
    });

    test('forty megabytes that do not compress make the round trip', async () => {
      await sh('mkdir -p /workspace/large; head -c 41943040 /dev/urandom >/workspace/large/f');
      const was = await sums('/workspace/large');
      const backup = await sandbox.createBackup({ dir: '/workspace/large', localBucket: true });
      await sh('rm -r /workspace/large');
      const upload = transport === 'websocket' ? await sandbox.restoreBackup(backup).catch((error) => error) : await sandbox.restoreBackup(backup);
      if (transport === 'websocket') { // one message of 56 MB, which no server takes: 00, "Limits"
        assert.ok(upload instanceof Error);
        assert.equal(await sh('echo on'), 'on');
      } else {
        assert.equal(await sums('/workspace/large'), was);
      }
    });

    test('what is wrong or cannot be is told by type', async () => {
      const is = (name, code, status) => (error) => {
        assert.deepEqual([error.name, error.code, error.httpStatus], [name, code, status], error.message);
        return true;
      };
      const invalid = is('InvalidBackupConfigError', 'INVALID_BACKUP_CONFIG', 400);
      for (const options of [{ dir: 'relative' }, { dir: '/etc' }, { dir: '/workspace/../etc' }, { dir: '/tmp', ttl: 0 }, { dir: '/tmp', name: 'x'.repeat(257) }, { dir: '/tmp', gitignore: 1 },
        { dir: '/tmp', excludes: 'x' }, { dir: '/tmp', compression: { format: 'xz' } }, { dir: '/tmp', compression: { threads: 0 } }])
        await assert.rejects(sandbox.createBackup({ localBucket: true, ...options }), invalid, JSON.stringify(options));
      const before = bucket.objects.size;
      await assert.rejects(sandbox.createBackup({ dir: '/workspace/none', localBucket: true }), is('BackupCreateError', 'BACKUP_CREATE_FAILED', 500));
      assert.equal(bucket.objects.size, before);
      await assert.rejects(sandbox.restoreBackup({ id: 'no uuid', dir: '/tmp/x', localBucket: true }), invalid);
      await assert.rejects(sandbox.restoreBackup({ id: crypto.randomUUID(), dir: '/tmp/x', localBucket: true }), is('BackupNotFoundError', 'BACKUP_NOT_FOUND', 404));
      await sh('mkdir -p /workspace/short; touch /workspace/short/f');
      const short = await sandbox.createBackup({ dir: '/workspace/short', ttl: 1, localBucket: true });
      await assert.rejects(sandbox.restoreBackup(short), is('BackupExpiredError', 'BACKUP_EXPIRED', 400));
      const broken = await sandbox.createBackup({ dir: '/workspace/short', localBucket: true });
      await bucket.put(`backups/${broken.id}/data.sqsh`, Buffer.alloc(4096, 'x'));
      await assert.rejects(sandbox.restoreBackup({ ...broken, dir: '/tmp/broken' }), is('BackupRestoreError', 'BACKUP_RESTORE_FAILED', 500));
      assert.equal(await sh('ls -A /var/backups'), '');
    });
  });
}
