// The published SDK: file watches, git and ports, the same over each of its route transports.
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { GitServer } from '../agent/git-server.mjs';
import { test } from '../lib/test.mjs';
import { Clients } from './lib/clients.mjs';
import { sdk as published } from './lib/sandbox.mjs';

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`the SDK over ${transport}`, () => {
    let clients, sandbox, git;

    before(async () => {
      git = await GitServer.start();
      clients = await Clients.open(transport);
      ({ sandbox } = clients);
    });
    after(async () => {
      await clients.close();
      await git.stop();
    });

    // The events of a watch until one is what `wanted` wants; `run` once the watch is there. The end is that of the
    // directory, for Node's own fetch() rejects promises of nobody's when a body is cancelled.
    const events = async (path, options, run, wanted) => {
      const taken = [];
      let found = false;
      for await (const event of published.parseSSEStream(await sandbox.watch(path, options))) {
        if (!found) taken.push(event);
        if (event.type === 'watching') await run();
        if (!found && wanted(event)) {
          found = true;
          await sandbox.exec(`rm -rf ${path}`);
        }
        if (event.type === 'stopped') break;
      }
      assert.ok(found, JSON.stringify(taken));
      return taken;
    };

    test('watch: watching first, then create, modify and delete with their paths', async () => {
      await sandbox.mkdir('/workspace/w');
      const taken = await events('/workspace/w', {}, async () => {
        await sandbox.writeFile('/workspace/w/a.txt', 'one');
        await sandbox.deleteFile('/workspace/w/a.txt');
      }, (e) => e.eventType === 'delete');
      assert.equal(taken[0].type, 'watching');
      assert.match(taken[0].watchId, /^watch-/);
      assert.equal(taken[0].path, '/workspace/w');
      assert.ok(taken.some((e) => e.eventType === 'create' && e.path === '/workspace/w/a.txt' && e.isDirectory === false));
      assert.ok(taken.every((e) => e.type !== 'event' || ['create', 'modify', 'delete'].includes(e.eventType)));
      await sandbox.mkdir('/workspace/w'); // the same path again, at once
      await events('/workspace/w', {}, () => sandbox.writeFile('/workspace/w/b.txt', ''), (e) => e.path === '/workspace/w/b.txt');
    });

    test('watch: include and the default excludes', async () => {
      const make = () => sandbox.exec('mkdir -p /workspace/p/node_modules /workspace/p/.git');
      await make();
      const write = (...names) => async () => { for (const name of names) await sandbox.writeFile(`/workspace/p/${name}`, 'x'); };
      const some = await events('/workspace/p', { include: ['*.ts'] }, write('a.js', 'a.ts', 'last.ts'), (e) => e.path?.endsWith('last.ts'));
      assert.ok(some.some((e) => e.path === '/workspace/p/a.ts') && !some.some((e) => e.path?.endsWith('.js')));
      await make();
      const rest = await events('/workspace/p', {}, write('node_modules/x', '.git/y', 'last'), (e) => e.path?.endsWith('/last'));
      assert.equal(rest.some((e) => /node_modules|\.git/.test(e.path)), false);
    });

    test('watch: a path that is not there is an error', async () => {
      await assert.rejects(sandbox.watch('/workspace/none'), /not found|does not exist/i);
      await assert.rejects(sandbox.watch('/etc'));
    });

    test('checkChanges tells of changes while nobody was connected', async () => {
      await sandbox.mkdir('/workspace/c');
      const first = await sandbox.checkChanges('/workspace/c');
      assert.equal(first.status, 'unchanged');
      assert.match(first.version, /^watch-\d+-\d+:0$/);
      assert.deepEqual(await sandbox.checkChanges('/workspace/c', { since: first.version }).then((r) => [r.status, r.version]), ['unchanged', first.version]);
      await sandbox.writeFile('/workspace/c/f', 'x');
      let next;
      do next = await sandbox.checkChanges('/workspace/c', { since: first.version }); while (next.status === 'unchanged');
      assert.equal(next.status, 'changed');
      assert.notEqual(next.version, first.version);
      assert.equal((await sandbox.checkChanges('/workspace/c', { since: next.version, recursive: false })).status, 'resync');
    });

    test('gitCheckout clones, shallow and with a branch, and the files are there', async () => {
      const done = await sandbox.gitCheckout(`${git.url}/public/repo.git`, { targetDir: '/workspace/repo', depth: 1, branch: 'main' });
      assert.deepEqual([done.success, done.branch, done.targetDir], [true, 'main', '/workspace/repo']);
      assert.ok((await sandbox.listFiles('/workspace/repo')).files.some((f) => f.name === 'README.md'));
      const told = await sandbox.exec('git rev-list --count HEAD; git rev-parse --is-shallow-repository; git status --porcelain', { cwd: '/workspace/repo' });
      assert.equal(told.stdout, '1\ntrue');
      assert.equal((await sandbox.gitCheckout(`${git.url}/public/empty.git`)).targetDir, '/workspace/empty');
    });

    test('gitCheckout: what fails is a 500 with git\'s own words, a time limit a network error', async () => {
      await assert.rejects(sandbox.gitCheckout(`${git.url}/public/none.git`, { targetDir: '/workspace/n' }),
        (e) => e.code === 'GIT_OPERATION_FAILED' && e.httpStatus === 500 && /not found|does not exist|repository|fatal/i.test(e.message));
      await assert.rejects(sandbox.gitCheckout(`${git.url}/private/repo.git`, { targetDir: '/workspace/n2' }),
        (e) => e.code === 'GIT_OPERATION_FAILED' && /authentication|permission|access|denied|fatal|not found/i.test(e.message));
      await assert.rejects(sandbox.gitCheckout(`${git.url}/hang/repo.git`, { targetDir: '/workspace/n3', cloneTimeoutMs: 300 }),
        (e) => e.code === 'GIT_NETWORK_ERROR' && e.httpStatus === 502);
      await assert.rejects(sandbox.gitCheckout(`${git.url}/public/repo.git`, { targetDir: '/workspace/n4', cloneTimeoutMs: 0 }), /Invalid (timeout value|clone timeout).*0/);
    });

    test('waitForPort resolves when the process serves, and fails when it has ended', async () => {
      const port = git.http.address().port; // anything that answers
      const waits = await sandbox.startProcess('sleep 600');
      await waits.waitForPort(port, { mode: 'tcp', timeout: 60000 });
      await waits.waitForPort(port, { path: '/public/repo.git/info/refs?service=git-upload-pack', timeout: 60000 });
      await waits.kill();
      const fails = await sandbox.startProcess('sleep 0.2; exit 3');
      await assert.rejects(fails.waitForPort(1, { timeout: 60000 }), (e) => /exit/i.test(e.message));
      const never = await sandbox.startProcess('sleep 600');
      await assert.rejects(never.waitForPort(1, { timeout: 300 }), /300|time/i);
      await never.kill();
    });
  });
}
