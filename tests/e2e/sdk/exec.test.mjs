// The published SDK: commands, sessions and files, the same over each of its route transports.
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { test } from '../lib/test.mjs';
import { Clients } from './lib/clients.mjs';
import { sdk as published } from './lib/sandbox.mjs';

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`the SDK over ${transport}`, () => {
    let clients;
    let sandbox;
    let bare;

    before(async () => {
      clients = await Clients.open(transport);
      ({ sandbox, bare } = clients);
    });
    after(() => clients.close());

    test('exec answers output, status and what was run', async () => {
      const result = await sandbox.exec('echo out; echo err >&2; exit_with() { return "$1"; }; exit_with 3');
      assert.deepEqual([result.success, result.exitCode, result.stdout, result.stderr], [false, 3, 'out', 'err']);
      assert.equal(result.sessionId, 'sandbox-demo');
      assert.ok(published.isExecResult(result));
    });

    test('the default session keeps its directory, variables and functions', async () => {
      await sandbox.exec('cd /tmp; export KEPT=yes; greet() { echo "hello $1"; }');
      assert.equal((await sandbox.exec('pwd; echo $KEPT; greet you')).stdout, '/tmp\nyes\nhello you');
    });

    test('setEnvVars sets, overrides and unsets, whatever is in the values', async () => {
      await sandbox.setEnvVars({ QUOTED: 'it\'s "so"\n$HOME', EMPTY: '', GONE: 'soon' });
      assert.equal((await sandbox.exec('printf "%s|%s|%s" "$QUOTED" "${EMPTY-unset}" "$GONE"')).stdout, 'it\'s "so"\n$HOME||soon');
      await sandbox.setEnvVars({ GONE: undefined });
      assert.equal((await sandbox.exec('printenv GONE')).exitCode, 1);
    });

    test('options of one command leave no trace', async () => {
      const inside = await sandbox.exec('pwd; echo $ONCE', { cwd: '/', env: { ONCE: 'now' } });
      assert.equal(inside.stdout, '/\nnow');
      assert.equal((await sandbox.exec('echo "${ONCE-unset}"')).stdout, 'unset');
    });

    test('a command that takes too long fails with the word timeout, and its session can be deleted at once', async () => {
      const session = await sandbox.createSession({ id: 'late', commandTimeoutMs: 3000 }); // which it takes to begin on a busy machine
      await assert.rejects(session.exec('touch /tmp/began; sleep 120; touch /tmp/never'), /timeout/i);
      await sandbox.deleteSession('late');
      assert.equal((await sandbox.exec('ls /tmp/began /tmp/never 2>/dev/null')).stdout, '/tmp/began');
      const patient = await sandbox.createSession({ id: 'patient', commandTimeoutMs: 60000 });
      await assert.rejects(patient.exec('sleep 120', { timeout: 100 }), /timeout/i);
      await sandbox.deleteSession('patient');
    });

    test('a session that exits is a typed error, and the next call gets a fresh one', async () => {
      const session = await sandbox.createSession({ id: 'leaver', env: { OWN: 'x' } });
      assert.equal((await session.exec('echo $OWN')).stdout, 'x');
      await assert.rejects(session.exec('exit 42'), (error) => {
        assert.ok(error instanceof published.SessionTerminatedError);
        assert.match(error.message, /shell exited.*exit code:? 42/i);
        return true;
      });
      assert.equal((await session.exec('echo "${OWN-fresh}"')).stdout, 'fresh');
    });

    test('sessions are separate, and deleting one says so', async () => {
      const [one, two] = await Promise.all(['one', 'two'].map((id) => sandbox.createSession({ id, env: { WHO: id }, cwd: '/tmp' })));
      assert.deepEqual([(await one.exec('echo $WHO')).stdout, (await two.exec('echo $WHO; pwd')).stdout], ['one', 'two\n/tmp']);
      const deleted = await sandbox.deleteSession('one');
      assert.deepEqual([deleted.success, deleted.sessionId, typeof deleted.timestamp], [true, 'one', 'string']);
      await assert.rejects(sandbox.createSession({ id: 'two' }), /two/);
    });

    test('commands of one session wait for each other, those of two do not', async () => {
      const three = await Promise.all([1, 2, 3].map((n) => sandbox.exec(`echo ${n}a; sleep 0.05; echo ${n}b`)));
      assert.deepEqual(three.map((r) => r.stdout), ['1a\n1b', '2a\n2b', '3a\n3b']);
      const other = await sandbox.createSession({ id: 'other' });
      let slowEnded = false;
      const slow = sandbox.exec('until [ -e /tmp/may-end ]; do sleep 0.05; done').then(() => { slowEnded = true; });
      await other.exec('true');
      assert.equal(slowEnded, false);
      await other.exec('touch /tmp/may-end');
      await slow;
    });

    test('without a default session nothing is kept, and output is exact', async () => {
      await bare.sandbox.exec('cd /tmp; export LOST=1');
      assert.equal((await bare.sandbox.exec('printf %s "${LOST-missing}"; printf %s "$PWD"')).stdout, 'missing/workspace');
      const late = await bare.sandbox.exec('sleep 5', { timeout: 50 });
      assert.deepEqual([late.success, late.exitCode], [false, 124]);
      assert.match(late.stderr, /Command timed out after 50ms/);
    });

    test('files are written, read, listed, moved and deleted', async () => {
      await sandbox.mkdir('/workspace/deep/er', { recursive: true });
      await sandbox.writeFile('/workspace/deep/er/a.txt', 'gr\u00fc\u00df\n');
      const read = await sandbox.readFile('/workspace/deep/er/a.txt');
      assert.deepEqual([read.content, read.encoding, read.isBinary, read.mimeType, read.size],
        ['gr\u00fc\u00df\n', 'utf-8', false, 'text/plain', 7]);
      await sandbox.renameFile('/workspace/deep/er/a.txt', '/workspace/deep/b.txt');
      await sandbox.moveFile('/workspace/deep/b.txt', '/workspace/deep/er/c.txt');
      const listed = await sandbox.listFiles('/workspace/deep', { recursive: true });
      assert.deepEqual(listed.files.map((f) => f.relativePath).sort(), ['er', 'er/c.txt']);
      assert.equal((await sandbox.exists('/workspace/deep/er/c.txt')).exists, true);
      await sandbox.deleteFile('/workspace/deep/er/c.txt');
      assert.equal((await sandbox.exists('/workspace/deep/er/c.txt')).exists, false);
    });

    test('binary files survive as base64', async () => {
      const bytes = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
      await sandbox.writeFile('/workspace/p.png', bytes.toString('base64'), { encoding: 'base64' });
      const read = await sandbox.readFile('/workspace/p.png', { encoding: 'base64' });
      assert.deepEqual([read.isBinary, read.mimeType, read.size, Buffer.from(read.content, 'base64')], [true, 'image/png', 16, bytes]);
    });

    test('errors of files have their types and words', async () => {
      await assert.rejects(sandbox.readFile('/workspace/none'), (e) => e.code === 'FILE_NOT_FOUND' && /not found/i.test(e.message));
      await assert.rejects(sandbox.listFiles('/workspace/none'), /not found|does not exist/i);
      await sandbox.mkdir('/workspace/dir');
      await assert.rejects(sandbox.deleteFile('/workspace/dir'), /Cannot delete directory.*deleteFile\(\)/);
      await assert.rejects(sandbox.listFiles('/etc/passwd'), /not a directory/i);
    });

    test('ten megabytes come back byte for byte', async () => {
      const text = 'x'.repeat(99).concat('\n').repeat(100000);
      await sandbox.writeFile('/workspace/big', text);
      assert.equal((await sandbox.readFile('/workspace/big')).content, text);
      assert.equal((await sandbox.exec('cat /workspace/big')).stdout, text.trimEnd());
    });
  });
}
