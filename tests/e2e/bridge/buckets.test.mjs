/* POST mount and unmount: a bucket of an S3 server as a directory, by s3fs in the sandbox. The server checks signatures. */
import assert from 'node:assert/strict';
import fs, { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Berm, getSandbox, InvalidMountConfigError } from '../../../sdk/js/src/index.js';
import { berm } from '../cli/program.mjs';
import { Api } from '../lib/api.mjs';
import { Daemon, hasImage, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const server = readFileSync(new URL('../workers/s3.py', import.meta.url));
const credentials = { accessKeyId: 'AKBERM', secretAccessKey: 'Very/Secret+Key=1' };
const endpoint = 'http://127.0.0.1:9000/';

describe('buckets', { skip: whyNoDaemon() || (hasImage('base') ? false : 'needs the image base') }, () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-bindings-'));
  const bindings = path.join(directory, 'bindings');
  const bind = (...lines) => fs.writeFileSync(bindings, `# NAME BUCKET ENDPOINT KEYS\n${lines.join('\n')}\n`);
  const keyed = `DATA data ${endpoint} ${credentials.accessKeyId} ${credentials.secretAccessKey}`;
  let daemon;
  let api;

  before(async () => {
    fs.chmodSync(directory, 0o755); // a test reads it again, which is done without privileges
    bind(keyed, `BARE\tdata  ${endpoint}`);
    daemon = await new Daemon({ options: ['--sandbox-image', 'base', '--sandbox-bindings-file', bindings] }).start();
    api = new Api(daemon);
    await api.put('/v1/sandbox/buckets', { image: 'base' });
    await api.put('/v1/sandbox/buckets/file/workspace/s3.py', server);
    await api.put('/v1/sandbox/buckets/file/workspace/secret', credentials.secretAccessKey);
    const started = await api.post('/v1/sandbox/buckets/processes', { command: `python3 /workspace/s3.py 9000 ${credentials.accessKeyId} /workspace/secret` });
    assert.equal(started.status, 200, started.text);
    assert.equal((await api.post('/v1/sandbox/buckets/ports/9000/wait', { mode: 'tcp' })).status, 200);
  });
  after(async () => {
    api.close();
    await daemon.stop();
    fs.rmSync(directory, { recursive: true });
  });

  const mount = (mountPath, options = {}, more = {}) => api.post('/v1/sandbox/buckets/mount', { bucket: 'data', mountPath, options: { endpoint, credentials, ...options }, ...more });
  const unmount = (mountPath) => api.post('/v1/sandbox/buckets/unmount', { mountPath });
  const sh = async (command) => {
    const { code, out, err } = await api.exec('buckets', ['bash', '-c', command]);
    assert.equal(code, 0, `${command}: ${out} ${err}`);
    return out;
  };
  const failed = (answer, code, reason, error) => {
    assert.deepEqual([answer.status, answer.json.code, answer.json.context.reason], [502, code, reason], answer.text);
    assert.match(answer.json.error, error);
  };

  test('phase 6 and 7: a bucket is written, read, listed and emptied below /workspace; unmounted, nothing of it is there', async () => {
    const mounted = await mount('/workspace/r2-test');
    assert.deepEqual([mounted.status, mounted.json], [200, { ok: true }], mounted.text);
    assert.equal(await sh('cd /workspace/r2-test && echo one >a && mkdir d && head -c 300000 /dev/zero >d/b && cat a && ls -R && rm a && ls'), 'one\n.:\na\nd\n\n./d:\nb\nd\n');
    assert.deepEqual((await unmount('/workspace/./r2-test/')).json, { ok: true });
    assert.equal(await sh('ls -A /workspace; grep -c s3fs /proc/self/mounts || true'), 's3.py\nsecret\n0\n');
    await mount('/workspace/r2-test');
    assert.equal(await sh('wc -c </workspace/r2-test/d/b'), '300000\n');
    assert.equal((await unmount('/workspace/r2-test')).status, 200);
  });

  test('the keys are in no argument, variable or file of the sandbox, and end with the mount', async () => {
    assert.equal((await mount('/mnt/keys')).status, 200);
    assert.match(await sh('pgrep -c s3fs'), /^1$/m);
    assert.equal(await sh('cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -acFf /workspace/secret || true'), '0\n');
    assert.equal(await sh('grep -rlFf /workspace/secret /tmp /root /etc /run /var /mnt /home 2>/dev/null || true; ls -A /tmp | grep s3fs || true'), '');
    assert.equal((await unmount('/mnt/keys')).status, 200);
    await until('the end of s3fs', async () => (await sh('pgrep -c s3fs || true')) === '0\n');
  });

  test('a prefix, a name with a space, and read-only', async () => {
    assert.equal((await mount('/mnt/all')).status, 200);
    await sh('mkdir -p /mnt/all/part && echo inside >/mnt/all/part/x');
    assert.equal((await mount('/mnt/a b', { readOnly: true, prefix: '/part', s3fsOptions: ['umask=022', 'mp_umask=022'] })).status, 200);
    assert.equal(await sh('cat "/mnt/a b/x"; echo no >"/mnt/a b/y" || echo refused'), 'inside\nrefused\n');
    failed(await mount('/mnt/a b'), 'mount_error', 'INVALID_MOUNT_CONFIG', /^mount failed: Mount path "\/mnt\/a b" is already in use$/);
    assert.equal(await sh('cat "/mnt/a b/x"'), 'inside\n');
    assert.equal((await unmount('/mnt/a b')).status, 200);
    assert.equal((await unmount('/mnt/all')).status, 200);
    failed(await unmount('/mnt/all'), 'unmount_error', 'INVALID_MOUNT_CONFIG', /^unmount failed: No active mount found at path: \/mnt\/all$/);
  });

  test('of many that mount at one place at once, one does', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => mount('/mnt/once')));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 502, 502, 502, 502]);
    for (const answer of answers.filter(({ status }) => status !== 200)) failed(answer, 'mount_error', 'INVALID_MOUNT_CONFIG', /already in use/);
    assert.equal(await sh('grep -c s3fs /proc/self/mounts'), '1\n');
    assert.equal((await unmount('/mnt/once')).status, 200);
  });

  test('keys that the server refuses are an error with what it said, and leave nothing', async () => {
    for (const wrong of [{ ...credentials, accessKeyId: 'OTHER' }, { ...credentials, secretAccessKey: 'guess' }])
      failed(await mount('/mnt/refused', { credentials: wrong }), 'mount_error', 'S3FS_MOUNT_ERROR', /^mount failed: S3FS mount failed: .*invalid credentials/);
    assert.equal(await sh('ls -A /mnt /tmp | grep -e refused -e s3fs || true'), '');
    failed(await mount('/mnt/refused', { s3fsOptions: ['no_such_option'] }), 'mount_error', 'S3FS_MOUNT_ERROR', /^mount failed: S3FS mount failed: .*unknown option/);
    failed(await mount('/proc/1'), 'mount_error', 'S3FS_MOUNT_ERROR', /^mount failed: /);
  });

  test('without credentials those of the sandbox count, and without those there are none', async () => {
    failed(await mount('/mnt/env', { credentials: undefined }), 'mount_error', 'MISSING_CREDENTIALS', /^mount failed: No credentials found/);
    await api.call('PATCH', '/v1/sandbox/buckets/env', { body: { AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey } });
    assert.deepEqual((await mount('/mnt/env', { credentials: undefined })).json, { ok: true });
    assert.equal((await unmount('/mnt/env')).status, 200);
  });

  test('a binding is a bucket of the configuration, with its keys or those of the request', async () => {
    const mountBinding = (binding, options = {}) => api.post('/v1/sandbox/buckets/mount', { binding, mountPath: '/mnt/bound', options });
    const reloaded = async (event) => {
      const before = daemon.log(event).length;
      process.kill(daemon.pid, 'SIGHUP');
      await until(event, () => daemon.log(event).length > before);
    };
    await api.call('PATCH', '/v1/sandbox/buckets/env', { body: { AWS_ACCESS_KEY_ID: null, AWS_SECRET_ACCESS_KEY: null } });
    assert.deepEqual((await mountBinding('DATA')).json, { ok: true });
    await sh('mkdir -p /mnt/bound/part && echo bound >/mnt/bound/part/y');
    assert.equal((await unmount('/mnt/bound')).status, 200);
    assert.deepEqual((await mountBinding('BARE', { credentials, prefix: '/part', readOnly: true })).json, { ok: true });
    assert.equal(await sh('cat /mnt/bound/y; touch /mnt/bound/z 2>/dev/null || echo refused'), 'bound\nrefused\n');
    assert.equal((await unmount('/mnt/bound')).status, 200);
    failed(await mountBinding('BARE'), 'mount_error', 'MISSING_CREDENTIALS', /No credentials found/);
    failed(await mountBinding('DATA', { credentials: { ...credentials, secretAccessKey: 'guess' } }), 'mount_error', 'S3FS_MOUNT_ERROR', /invalid credentials/);
    const named = await berm(['bucket', 'mount', '--bucket', 'DATA', 'buckets', '/mnt/bound'], { env: { BERM_URL: daemon.url, AWS_ACCESS_KEY_ID: 'OTHER', AWS_SECRET_ACCESS_KEY: 'guess' } });
    assert.equal(named.status, 0, named.err);
    assert.equal((await unmount('/mnt/bound')).status, 200);
    await getSandbox(new Berm({ url: daemon.url }), 'buckets').mountBucket('DATA', '/mnt/bound');
    assert.equal((await unmount('/mnt/bound')).status, 200);
    for (const name of ['NONE', 'data', 'DATA ', 'DAT']) failed(await mountBinding(name), 'mount_error', 'INVALID_MOUNT_CONFIG', /no bucket has this name/);
    bind(keyed.replace('DATA', 'RENAMED'));
    await reloaded('bindings.reloaded');
    failed(await mountBinding('DATA'), 'mount_error', 'INVALID_MOUNT_CONFIG', /no bucket has this name/);
    bind(keyed, 'DATA data');
    await reloaded('bindings.reload_failed');
    assert.match(daemon.log('bindings.reload_failed').at(-1).error, /bindings:3: expected NAME BUCKET ENDPOINT/);
    assert.ok(!daemon.lines.join('\n').includes(credentials.secretAccessKey));
    assert.deepEqual((await mountBinding('RENAMED')).json, { ok: true });
    assert.equal((await unmount('/mnt/bound')).status, 200);
  });

  test('what the bridge finds wrong only when it mounts is a mount error, and starts nothing', async () => {
    const other = (body) => api.post('/v1/sandbox/nobucket/mount', { bucket: 'data', mountPath: '/m', options: { endpoint, credentials }, ...body });
    for (const body of [{ bucket: 'a:b' }, { bucket: '-x' }, { bucket: 'x'.repeat(64) }, { options: { endpoint: 'ftp://x' } }, { options: { endpoint: 'http://' } },
      { options: { endpoint: 'http://h,passwd_file=/etc/passwd' } }, { options: { endpoint: 'http://a:b@h' } }, { options: { endpoint, prefix: 'x' } }, { options: { endpoint, prefix: '/x,ro' } },
      { options: { endpoint, credentials: { accessKeyId: 'a', secretAccessKey: 'b\nc:d' } } }, { options: { endpoint, s3fsOptions: ['a\u0000b'] } }, { options: { endpoint, s3fsOptions: ['x'.repeat(9000)] } },
      { options: { endpoint, credentials, credentialProxy: true } }, { bucket: undefined, binding: 'BUCKET', options: {} }])
      failed(await other(body), 'mount_error', 'INVALID_MOUNT_CONFIG', /^mount failed: /);
    const root = await other({ mountPath: '/a/..' });
    assert.deepEqual([root.status, root.json.error], [400, 'mountPath must not resolve to / (filesystem root)']);
    assert.equal((await api.get('/v1/sandbox/nobucket')).status, 404);
  });

  test('an unmount takes nothing away but buckets, and what lies behind shell quoting stays a path', async () => {
    failed(await unmount('/proc'), 'unmount_error', 'INVALID_MOUNT_CONFIG', /No active mount/);
    const odd = '/mnt/$(touch /tmp/ran) "q" \\ #é\n`id`';
    const mounted = await mount(odd);
    assert.equal(mounted.status, 200, mounted.text);
    assert.equal(await sh('ls /tmp/ran 2>/dev/null || true; grep -c s3fs /proc/self/mounts'), '1\n');
    failed(await mount(odd), 'mount_error', 'INVALID_MOUNT_CONFIG', /already in use/);
    assert.equal((await unmount(odd)).status, 200);
    assert.equal(await sh('grep -c s3fs /proc/self/mounts || true'), '0\n');
  });

  test('the SDK\'s methods do the same', async () => {
    const sandbox = getSandbox(new Berm({ url: daemon.url }), 'buckets');
    await sandbox.mountBucket('data', '/mnt/sdk', { endpoint, credentials, provider: 'r2' });
    await sandbox.writeFile('/mnt/sdk/from-the-sdk', 'text');
    assert.equal((await sandbox.readFile('/mnt/sdk/from-the-sdk')).content, 'text');
    await assert.rejects(sandbox.mountBucket('data', '/mnt/sdk', { endpoint, credentials }), InvalidMountConfigError);
    await assert.rejects(sandbox.mountBucket('BINDING', '/mnt/other', {}), InvalidMountConfigError);
    await sandbox.unmountBucket('/mnt/sdk');
    assert.equal((await sandbox.exists('/mnt/sdk')).exists, false);
  });

  test('the command line takes keys from the environment, never from an argument', async () => {
    const env = { BERM_URL: daemon.url, AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey };
    const call = (args, more = env) => berm(['bucket', ...args], { env: more });
    const wanted = ['--bucket', 'data', '--endpoint', endpoint, '--prefix', '/part', '--read-only', '-o', 'umask=022', '-o', 'mp_umask=022', 'buckets', '/mnt/cli'];
    assert.deepEqual([(await call(['mount', 'buckets', '/mnt/cli'])).status, (await call(['mount', ...wanted], { ...env, AWS_SECRET_ACCESS_KEY: '' })).status], [2, 1]);
    const mounted = await call(['mount', ...wanted]);
    assert.equal(mounted.status, 0, mounted.err);
    assert.equal(await sh('cat /mnt/cli/x; touch /mnt/cli/y 2>/dev/null || echo refused'), 'inside\nrefused\n');
    assert.match((await call(['mount', ...wanted])).err, /^berm: mount failed: Mount path "\/mnt\/cli" is already in use/);
    assert.equal((await call(['unmount', 'buckets', '/mnt/cli'])).status, 0);
    assert.match((await call(['unmount', 'buckets', '/mnt/cli'])).err, /^berm: unmount failed: No active mount found/);
  });

  test('a sandbox that ends takes its mount along, and one that hides its tools is told so', async () => {
    await api.put('/v1/sandbox/toolless', { image: 'base' });
    await api.exec('toolless', ['bash', '-c', 'rm $(command -v s3fs)']);
    failed(await api.post('/v1/sandbox/toolless/mount', { bucket: 'data', mountPath: '/m', options: { endpoint, credentials } }), 'mount_error', 'S3FS_MOUNT_ERROR', /there is no s3fs in the image/);
    assert.equal((await mount('/mnt/last')).status, 200);
    assert.equal((await api.delete('/v1/sandbox/buckets')).status, 204);
    failed(await unmount('/mnt/last'), 'unmount_error', 'INVALID_MOUNT_CONFIG', /No active mount/);
  });
});
