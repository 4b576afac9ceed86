// git/checkout against a real git server on loopback: reference/container/60, 90 (A36 to A38, B6), 95.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS } from './helper.mjs';
import { GitServer } from './git-server.mjs';

let agent, server;
before(async () => {
  server = await GitServer.start();
  agent = await Agent.start();
});
after(async () => {
  await agent.stop();
  await server.stop();
});
const clone = (body, options) => agent.post('/api/git/checkout', body, options);
const sh = async (command, session = SESSIONLESS) => (await agent.run(command, { session })).stdout.trim();

async function fails(body, status, code) {
  const { status: got, json } = await clone(body);
  assert.deepEqual([got, json.code, json.httpStatus], [status, code, status], JSON.stringify(json));
  return json;
}

// --- what works ---

test('a clone lands in /workspace under the name of the repository, with the branch in the answer', async () => {
  const repoUrl = `${server.url}/public/repo.git`;
  const { status, json } = await clone({ repoUrl });
  assert.equal(status, 200, JSON.stringify(json));
  const { timestamp, ...rest } = json;
  assert.match(timestamp, /Z$/);
  assert.deepEqual(rest, { success: true, repoUrl, branch: 'main', targetDir: '/workspace/repo' });
  assert.equal(await sh('cat /workspace/repo/README.md'), 'version 3');
  assert.equal(await sh('git -C /workspace/repo status --porcelain'), '');
  assert.equal(await sh('git -C /workspace/repo config remote.origin.partialclonefilter'), 'blob:none');
  const listed = (await agent.post('/api/list-files', { path: '/workspace/repo' })).json;
  assert.ok(listed.files.some((f) => f.name === 'README.md'));
});

test('depth makes it shallow, branch is checked out', async () => {
  const { json } = await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/shallow', depth: 1, branch: 'main', timeoutMs: 60000 });
  assert.equal(json.branch, 'main');
  assert.equal(await sh('cd /workspace/shallow; git rev-list --count HEAD; git rev-parse --is-shallow-repository; git branch --show-current'), '1\ntrue\nmain');
  const other = await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/feature', branch: 'feature/x' });
  assert.equal(other.json.branch, 'feature/x');
  assert.equal(await sh('cat /workspace/feature/feature.txt'), 'x');
});

test('a tag leaves the head detached: the branch that was asked for is told; an empty repository has its default one', async () => {
  assert.equal((await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/tag', branch: 'v1' })).json.branch, 'v1');
  const empty = await clone({ repoUrl: `${server.url}/public/empty.git` });
  assert.deepEqual([empty.status, empty.json.targetDir], [200, '/workspace/empty']);
});

test('it runs in the session: its directory, its environment, its lock', async () => {
  await agent.run('mkdir -p /tmp/s/sub; cd /tmp/s; export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=clone.defaultRemoteName GIT_CONFIG_VALUE_0=upstream', { session: 'git' });
  const both = await Promise.all([
    clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: 'sub/here', sessionId: 'git' }),
    agent.run('ls sub/here', { session: 'git' }),
  ]);
  assert.equal(both[0].json.targetDir, 'sub/here');
  assert.equal(both[1].stdout, 'README.md');
  assert.equal(await sh('git -C /tmp/s/sub/here remote'), 'upstream');
  const header = await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: 'by-header' }, { headers: { 'X-Session-Id': 'git' } });
  assert.equal(header.status, 200);
  assert.equal(await sh('ls /tmp/s/by-header'), 'README.md');
  assert.equal((await agent.run('echo $GIT_CONFIG_COUNT; pwd', { session: 'git' })).stdout, '1\n/tmp/s');
});

test('without a session it starts at the working directory', async () => {
  const { status } = await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: 'sessionless', sessionId: SESSIONLESS });
  assert.equal(status, 200);
  assert.equal(await sh('ls /workspace/sessionless'), 'README.md');
});

test('nothing in a request is read by a shell or as an option', async () => {
  const evil = `/workspace/a'b;touch /tmp/pwned;$(touch /tmp/pwned)\`touch /tmp/pwned\``;
  assert.equal((await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: evil })).json.targetDir, evil);
  await clone({ repoUrl: `'; touch /tmp/pwned; '`, targetDir: '/workspace/x1' });
  await clone({ repoUrl: '--upload-pack=touch /tmp/pwned', targetDir: '/workspace/x2' });
  await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/x3', branch: '--upload-pack=touch /tmp/pwned' });
  await clone({ repoUrl: 'ext::sh -c "touch% /tmp/pwned"', targetDir: '/workspace/x4' });
  assert.equal(await sh('ls /tmp/pwned 2>&1 | grep -c No.such'), '1');
});

test('a private repository can be cloned with credentials, which the answer echoes and errors do not', async () => {
  const repoUrl = `http://me:secret@${server.origin}/private/repo.git`;
  const ok = await clone({ repoUrl, targetDir: '/workspace/private' });
  assert.deepEqual([ok.status, ok.json.repoUrl], [200, repoUrl]);
  const again = await fails({ repoUrl, targetDir: '/workspace/private' }, 500, 'GIT_OPERATION_FAILED');
  assert.equal(again.context.repository, `http://******@${server.origin}/private/repo.git`);
  assert.equal(JSON.stringify(again).includes('secret'), false);
  const wrong = await fails({ repoUrl: `http://me:wrongpw@${server.origin}/private/repo.git?token=abc123`, targetDir: '/workspace/p2' }, 500, 'GIT_OPERATION_FAILED');
  assert.equal(/wrongpw|abc123/.test(JSON.stringify(wrong)), false, JSON.stringify(wrong));
});

// --- what fails ---

test('a repository that is not there or private, a branch that is not there, a target that is: all are a 500', async () => {
  const missing = await fails({ repoUrl: `${server.url}/public/nope.git` }, 500, 'GIT_OPERATION_FAILED');
  assert.match(missing.message, /not found|does not exist|repository|fatal/);
  assert.deepEqual([missing.context.repository, missing.context.targetDir, missing.context.exitCode], [`${server.url}/public/nope.git`, '/workspace/nope', 128]);
  assert.match(missing.context.stderr, /fatal/);
  const secret = await fails({ repoUrl: `${server.url}/private/repo.git`, targetDir: '/workspace/p3' }, 500, 'GIT_OPERATION_FAILED');
  assert.match(secret.message, /authentication|permission|access|denied|fatal|not found/i);
  await fails({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/b1', branch: 'nope' }, 500, 'GIT_OPERATION_FAILED');
  await fails({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/repo' }, 500, 'GIT_OPERATION_FAILED');
  await fails({ repoUrl: 'http://127.0.0.1:1/x.git' }, 500, 'GIT_OPERATION_FAILED');
  await fails({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/d', depth: -1 }, 500, 'GIT_OPERATION_FAILED');
});

test('a server that is slow is waited for; one that never answers is a 502 after the time limit, and the session goes on', async () => {
  server.slowMs = 300;
  assert.equal((await clone({ repoUrl: `${server.url}/slow/repo.git`, targetDir: '/workspace/slow', timeoutMs: 30000 })).status, 200);
  server.slowMs = 30000;
  const slow = await fails({ repoUrl: `${server.url}/slow/repo.git`, targetDir: '/workspace/slower', timeoutMs: 700 }, 502, 'GIT_NETWORK_ERROR');
  server.slowMs = 0;
  assert.match(slow.message, /0\.7 seconds/);
  for (const sessionId of ['hang', SESSIONLESS]) {
    const started = Date.now();
    const json = await fails({ repoUrl: `http://u:secret@${server.origin}/hang/repo.git`, targetDir: '/workspace/hung', sessionId, timeoutMs: 500 }, 502, 'GIT_NETWORK_ERROR');
    assert.ok(Date.now() - started < 25000); // it would be asked again for ever
    assert.match(json.message, /0\.5.*\*\*\*\*\*\*@/);
    assert.deepEqual([json.context.exitCode, json.context.stderr], [124, 'Operation timed out']);
    assert.equal(JSON.stringify(json).includes('secret'), false);
    assert.equal((await agent.run('echo fine', { session: sessionId })).stdout.trim(), 'fine');
  }
  await sh('while pgrep -f [h]ang/repo.git >/dev/null; do sleep 0.01; done');
});

test('the clone goes on when the client goes away', async () => {
  const cancel = new AbortController();
  server.slowMs = 300;
  const reply = clone({ repoUrl: `${server.url}/slow/repo.git`, targetDir: '/workspace/gone', sessionId: 'gone' }, { signal: cancel.signal });
  const before = server.requests.length;
  while (server.requests.length === before) await new Promise((done) => setImmediate(done));
  cancel.abort();
  await assert.rejects(reply);
  assert.equal((await agent.run('cat /workspace/gone/README.md', { session: 'gone' })).stdout, 'version 3');
  server.slowMs = 0;
});

test('a session whose shell has ended is told once', async () => {
  await agent.run('(sleep 0.2; kill -9 $$) & true', { session: 'dying' });
  const reply = await clone({ repoUrl: `${server.url}/hang/repo.git`, targetDir: '/workspace/dying', sessionId: 'dying', timeoutMs: 20000 });
  assert.deepEqual([reply.status, reply.json.code, reply.json.context], [410, 'SESSION_TERMINATED', { sessionId: 'dying', exitCode: 137 }]);
  assert.equal((await clone({ repoUrl: `${server.url}/public/repo.git`, targetDir: '/workspace/alive', sessionId: 'dying' })).status, 200);
});

test('a time limit of the session for its commands does not end a clone', async () => {
  await agent.post('/api/session/create', { id: 'limited', commandTimeoutMs: 100 });
  server.slowMs = 200;
  assert.equal((await clone({ repoUrl: `${server.url}/slow/repo.git`, targetDir: '/workspace/limited', sessionId: 'limited' })).status, 200);
  server.slowMs = 0;
});

// --- what is refused ---

test('a bad URL is refused before anything else', async () => {
  for (const repoUrl of [undefined, null, 5, '', '  ', 'a\0b', 'x'.repeat(2049)]) {
    const json = await fails({ repoUrl, timeoutMs: 0 }, 400, 'INVALID_GIT_URL');
    assert.deepEqual(Object.keys(json.context), ['validationErrors']);
    assert.deepEqual([json.context.validationErrors[0].field, json.context.validationErrors[0].code], ['repoUrl', 'INVALID_GIT_URL']);
  }
});

test('then the time limit, then the target', async () => {
  for (const timeoutMs of [0, -5, 1.5, '10', true, []]) {
    const json = await fails({ repoUrl: 'x', timeoutMs, targetDir: 'a\0b' }, 400, 'VALIDATION_FAILED');
    assert.deepEqual([json.context.validationErrors[0].field, json.context.validationErrors[0].code], ['timeoutMs', 'INVALID_TIMEOUT']);
    if (timeoutMs === 0) assert.match(json.message, /Invalid (timeout value|clone timeout).*0/);
  }
  for (const targetDir of ['a\0b', 'x'.repeat(4097), 5]) {
    const json = await fails({ repoUrl: 'x', targetDir }, 400, 'VALIDATION_FAILED');
    assert.deepEqual([json.context.validationErrors[0].field, json.context.validationErrors[0].code], ['targetDirectory', 'INVALID_PATH']);
  }
  for (const more of [{ depth: 'x' }, { depth: 1.5 }, { branch: 5 }, { sessionId: ' ' }]) await fails({ repoUrl: 'x', ...more }, 400, 'VALIDATION_FAILED');
});

// --- backups: their work needs programs of the base image, see bridge/backup ---

test('the backup routes check their requests', async () => {
  const ok = { dir: '/workspace/a', archivePath: '/var/backups/x.sqsh' };
  const cases = [
    ['create', ok, 500, 'BACKUP_CREATE_FAILED'], ['restore', ok, 500, 'BACKUP_RESTORE_FAILED'],
    ['create', { ...ok, dir: '/app', gitignore: true, excludes: ['x'], compression: { format: 'zstd', threads: 2 } }, 500, 'BACKUP_CREATE_FAILED'],
    ...[{ dir: 'rel' }, { dir: '/workspace/../etc' }, { dir: '/workspace/a..b' }, { dir: '/etc' }, { dir: '/workspacex' }, { dir: 5 }, { dir: '/tmp/\0' },
      { dir: `/tmp/${'x'.repeat(4096)}` }, { archivePath: '/tmp/x' }, { archivePath: '/var/backups/../x' }, { archivePath: null }, { gitignore: 'yes' }, { excludes: 'x' },
      { excludes: [1] }, { excludes: ['a\0b'] }, { compression: 'lz4' }, { compression: { format: 'xz' } }, { compression: { threads: 0 } },
      { compression: { threads: '2' } }, { sessionId: 5 }, { sessionId: '' }, { sessionId: ' ' }, { sessionId: 'a\0' }]
      .map((wrong) => ['create', { ...ok, ...wrong }, 400, 'INVALID_BACKUP_CONFIG']),
    ['restore', { ...ok, dir: '/etc' }, 400, 'INVALID_BACKUP_CONFIG'], ['restore', { ...ok, sessionId: '' }, 400, 'INVALID_BACKUP_CONFIG'],
    ['upload-parts', { archivePath: ok.archivePath, parts: [{ partNumber: 1, url: 'https://a.invalid/', offset: 0, size: 1 }], sessionId: [] }, 400, 'INVALID_BACKUP_CONFIG'],
  ];
  for (const [route, body, status, code] of cases) {
    const { status: got, json } = await agent.post(`/api/backup/${route}`, body);
    assert.deepEqual([got, json.code, json.operation], [status, code, route === 'restore' ? 'backup.restore' : 'backup.create'], JSON.stringify(body));
    assert.ok(json.suggestion && !json.suggestion.includes('undefined'));
  }
});
