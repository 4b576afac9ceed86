/* What the bridge's own harness and the known client (OpenAI's Agents SDK for Python) do, request by request. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe } from 'node:test';

import { Api, outcome } from '../lib/api.mjs';
import { Daemon, hasImage, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const reason = whyNoDaemon() ?? (hasImage('base') ? undefined : 'needs the image base');

describe('the harness of the bridge', { skip: reason }, () => {
  let daemon;
  let api;
  let id;
  const path = (rest) => `/v1/sandbox/${id}${rest}`;
  const file = (name) => path(`/file/workspace/${name}`);
  /* As the client does: JSON with a time limit, no cwd, no session. */
  const exec = async (...argv) => outcome((await api.post(path('/exec'), { argv, timeout_ms: 30000 })).text);
  const bash = (text) => exec('bash', '-c', text);

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    id = (await api.post('/v1/sandbox')).json.id;
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('the start of the client: a helper is installed through sh -c with a here document, and stays', async () => {
    assert.equal((await exec('mkdir', '-p', '--', '/workspace')).code, 0);
    const helper = '#!/bin/sh\n# it\'s "quoted" \\ $HOME `id` $(id)\nprintf \'%s\\n\' "$1"\n';
    const script = `mkdir -p "$(dirname "$1")"\ncat > "$1" <<'EOF_HELPER'\n${helper}EOF_HELPER\nchmod 0755 "$1"`;
    const name = '/tmp/openai-agents/bin/resolve-0a1b';
    assert.equal((await exec('sh', '-c', script, 'sh', name)).code, 0);
    assert.equal((await exec('test', '-x', name)).code, 0);
    assert.equal((await exec('cat', name)).out, helper);
    assert.equal((await exec('env', 'GREETING=hello world', 'sh', '-c', 'echo "$GREETING"')).out, 'hello world\n');
    assert.equal((await exec(name, 'it\'s\n$(x)')).out, 'it\'s\n$(x)\n');
  });

  test('phase 1: output, exit codes, binary files, errors', async () => {
    assert.deepEqual([(await exec('echo', 'exact')).out, (await exec('sh', '-c', 'exit 42')).code], ['exact\n', 42]);
    assert.equal((await bash('echo err >&2')).err, 'err\n');
    const bytes = Buffer.from([0, 1, 2, 254, 255]);
    await api.put(file('binary.bin'), bytes);
    assert.ok((await api.get(file('binary.bin'))).bytes.equals(bytes));
    await api.put(file('a/b/c/deep.txt'), 'deep');
    assert.equal((await exec('cat', '/workspace/a/b/c/deep.txt')).out, 'deep');
    assert.match((await exec('cat', '/workspace/missing')).err, /No such file or directory/);
    assert.deepEqual([(await exec('pwd')).out, (await exec('whoami')).code], ['/workspace\n', 0]);
    assert.match((await exec('env')).out, /^PATH=/m);
  });

  test('phase 2: large files and output, deep JSON, Unicode, many files', async () => {
    const big = randomBytes(10 << 20);
    assert.equal((await api.put(file('big.bin'), big)).status, 200);
    const sum = createHash('sha256').update(big).digest('hex');
    for (let i = 0; i < 2; i++) assert.ok((await exec('sha256sum', '/workspace/big.bin')).out.startsWith(sum));
    assert.equal((await bash('head -c 4600000 /dev/zero | base64 -w0')).out.length, 6133336);
    assert.equal((await exec('python3', '-c', 'import json\nd=0\nfor i in range(200): d={"k":d}\nprint(len(json.dumps(d)))')).out, '1401\n');
    const text = 'Grüße, 世界, 🎉 \u202Eabc\u202C naïve\n';
    assert.equal((await bash(`cat > u.txt <<'EOF'\n${text}EOF`)).code, 0);
    assert.equal((await api.get(file('u.txt'))).text, text);
    assert.equal((await bash('mkdir many; for i in $(seq 500); do echo $i > many/$i; done; ls many | wc -l; cat many/500; rm -r many; ls many 2>&1')).code, 2);
  });

  test('phase 3: pipes, loops, jobs in the background', async () => {
    assert.equal((await bash('echo "print(6*7)" | python3')).out, '42\n');
    assert.equal((await bash('yes | head -n 50000')).out, 'y\n'.repeat(50000));
    assert.equal((await bash('seq 10000 | sort -rn | awk \'{s+=$1} END {print s}\'')).out, '50005000\n');
    assert.equal((await bash('for i in 1 2 3; do (sleep 0.05; echo $i) & done; wait; echo done')).out.split('\n').sort().join(','), ',1,2,3,done');
    assert.equal((await bash('sleep 100 & p=$!; kill -0 $p && kill $p; wait $p; echo $?; kill -0 $p 2>/dev/null || echo gone')).out, '143\ngone\n');
  });

  test('phase 4: many calls one after the other and at once', async () => {
    for (let i = 0; i < 100; i++) assert.equal((await exec('echo', `${i}`)).out, `${i}\n`);
    for (let i = 0; i < 50; i++) {
      await api.put(file('cycle'), `${i}`);
      assert.equal((await api.get(file('cycle'))).text, `${i}`);
    }
    const writes = await Promise.all(Array.from({ length: 50 }, (_, i) => api.put(file(`parallel/${i}`), `${i}`)));
    assert.ok(writes.every((answer) => answer.status === 200));
    assert.equal((await bash('cat parallel/* | wc -c')).out.trim(), '90');
  });

  test('phase 5: the workspace survives a persist, a new sandbox and a hydrate', async () => {
    await bash('mkdir -p keep/empty batch skip; echo sentinel > keep/s; ln -s s keep/link; chmod 750 keep/s; for i in $(seq 500); do echo $i > batch/$i; done; echo no > skip/x; rm -f big.bin');
    const tar = await api.post(path('/persist?excludes=skip'));
    assert.equal(tar.status, 200);
    assert.equal((await api.get(path('/running'))).json.running, true);
    assert.equal((await api.delete(path(''))).status, 204);
    assert.equal((await api.get(path('/running'))).json.running, false);
    assert.equal((await api.post(path('/hydrate'), tar.bytes)).status, 200);
    assert.equal((await bash('cat keep/s; readlink keep/link; stat -c %a keep/s; test -d keep/empty && ls batch | wc -l; ls skip 2>/dev/null')).out, 'sentinel\ns\n750\n500\n');
    assert.equal((await api.post(path('/hydrate'))).json.error, 'Empty tar payload');
  });

  test('what is wrong with a mount is told in the bridge\'s words and order, and nothing is started for it (buckets.test.mjs has phases 6 and 7)', async () => {
    const other = (rest, body) => api.post(`/v1/sandbox/${id}bucket${rest}`, body);
    const good = { bucket: 'b', mountPath: '/workspace/r2', options: { endpoint: 'https://r2.example.com' } };
    for (const [body, error] of [['[]', 'Invalid JSON body'], [{ ...good, bucket: '' }, 'bucket must be a non-empty string'], [{ ...good, mountPath: 5 }, 'mountPath must be a non-empty string'],
      [{ ...good, mountPath: 'r2' }, 'mountPath must be an absolute path (start with /)'], [{ ...good, options: [] }, 'options must be an object'],
      [{ ...good, options: { endpoint: 5 } }, 'options.endpoint must be a string when provided'], [{ ...good, binding: 'X' }, 'Provide either binding or options.endpoint, not both'],
      [{ ...good, options: { ...good.options, s3fsOptions: [1] } }, 'options.s3fsOptions must be an array of strings when provided'],
      [{ ...good, options: { ...good.options, credentials: { accessKeyId: 'a' } } }, 'options.credentials must include string accessKeyId and secretAccessKey'],
      [{ ...good, bucket: undefined }, 'bucket must be a non-empty string for remote mounts'], [{ mountPath: '/m' }, 'binding must be a non-empty string for R2 binding mounts']]) {
      const answer = await other('/mount', body);
      assert.deepEqual([answer.status, answer.json.error, answer.json.code], [400, error, 'invalid_request']);
    }
    for (const root of ['/', '//.', '/a/..']) assert.equal((await other('/unmount', { mountPath: root })).json.error, 'mountPath must not resolve to / (filesystem root)');
    const unmount = await other('/unmount', { mountPath: '/workspace/r2' });
    assert.deepEqual([unmount.status, unmount.json.code], [502, 'unmount_error']);
    assert.equal((await api.get(`/v1/sandbox/${id}bucket`)).status, 404);
  });
});
