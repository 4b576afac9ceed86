/* berm and bermd as odd callers start them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe } from 'node:test';

import { startDaemon, whyNoDaemon } from '../cli/daemon.mjs';
import { bermPath, built } from '../cli/program.mjs';
import { test } from '../lib/test.mjs';

describe('conformance of the command line', { skip: whyNoDaemon() }, () => {
  let daemon;

  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon.stop());

  const call = (...args) => spawnSync(bermPath, args, { encoding: 'utf8', env: { ...process.env, BERM_URL: daemon.url }, timeout: 120000 });
  const shell = (text) => spawnSync('bash', ['-c', text, 'bash', bermPath], { encoding: 'utf8', env: { ...process.env, BERM_URL: daemon.url }, timeout: 120000 });

  test('every verb with an answer of its own gives it as JSON', () => {
    assert.equal(typeof JSON.parse(call('version', '--json').stdout).version, 'string');
    assert.equal(JSON.parse(call('create', '--json', 'jsoned').stdout).id, 'jsoned');
    assert.equal(JSON.parse(call('inspect', '--json', 'jsoned').stdout).state, 'running');
    const removed = call('rm', '--json', 'jsoned', 'Bad');
    assert.deepEqual([removed.status, JSON.parse(removed.stdout)], [1, { removed: ['jsoned'] }]);
    assert.deepEqual(JSON.parse(call('rm', '--json', '--all').stdout), { removed: [] });
    const key = JSON.parse(call('key', 'add', '--json', 'short-lived').stdout);
    const options = { encoding: 'utf8', env: { ...process.env, BERM_URL: daemon.url, BERM_API_KEY: key.key } };
    const revoked = spawnSync(bermPath, ['key', 'rm', '--json', key.id], options);
    assert.deepEqual(JSON.parse(revoked.stdout), { removed: key.id });
  });

  test('--version is understood', () => {
    assert.match(call('--version').stdout, /^berm \d/);
  });

  test('descriptors that the caller has closed stay out of it', () => {
    assert.equal(shell('"$1" run -- cat <&-').status, 0);
    assert.equal(shell('"$1" run -i -- cat <&-').status, 0);
    const deaf = shell('"$1" run -- echo hello >&-');
    assert.equal(deaf.status, 125);
    assert.match(deaf.stderr, /writing the output/);
    const mute = shell('"$1" run -- echo hello 2>&-');
    assert.deepEqual([mute.status, mute.stdout], [0, 'hello\n']);
  });

  test('bermd checks addresses before it starts anything', () => {
    for (const address of ['nope', '127.0.0.1', '127.0.0.1:99999', ':80', '127.0.0.1:0x10']) {
      const checked = spawnSync(built('bermd', 'src/daemon'), ['--check-config', '--listen', address], { encoding: 'utf8' });
      assert.equal(checked.status, 2, address);
      assert.match(checked.stderr, /server\.listen/);
    }
  });
});
