/*
 * What the SDK does beyond commands and files, for the one wrangler of workers.test.mjs: `at` has its test(), call(),
 * serve(), withHost(), containers(), wrangler(),
 * daemon() and docker().
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

import WebSocket from '../../node_modules/ws/wrapper.mjs';
import { until } from '../lib/daemon.mjs';

const s3Server = readFileSync(new URL('s3.py', import.meta.url), 'utf8');

/* A WebSocket server of the standard library: it answers the handshake and echoes short masked frames. */
const echo = (port) => `python3 -u -c '
import base64, hashlib, socketserver
class H(socketserver.StreamRequestHandler):
    def handle(self):
        path, key = self.rfile.readline().split()[1], b""
        while (line := self.rfile.readline().strip()):
            if line.lower().startswith(b"sec-websocket-key:"): key = line.split(b":")[1].strip()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
        while len(head := self.rfile.read(2)) == 2 and head[0] & 15 in (1, 2):
            mask, data = self.rfile.read(4), self.rfile.read(head[1] & 127)
            data = path + b" " + bytes(b ^ mask[i % 4] for i, b in enumerate(data))
            self.wfile.write(bytes([head[0], len(data)]) + data)
class S(socketserver.ThreadingMixIn, socketserver.TCPServer): allow_reuse_address = daemon_threads = True
S(("0.0.0.0", ${port}), H).serve_forever()'`;

const repository = '(set -e; cd /tmp; git init -q -b main work; cd work; git config user.email a@b; git config user.name a; echo one >README.md; git add .; git commit -qm one; ' +
  'git checkout -q -b other; echo two >two.txt; git add .; git commit -qm two; git checkout -q main; cd ..; git clone -q --bare work site/repo.git; cd site/repo.git; git update-server-info)';

export function scenarios(at) {
  const { test, call, serve, withHost, containers } = at;
  const get = (target, options) => fetch(at.wrangler().url + target, options);
  const ran = (id, command, options) => call(id, 'exec', [command], options).then((result) => result.stdout.trim());

  async function newest(before) {
    const added = (await containers('')).filter((container) => !before.has(container.Id));
    assert.equal(added.length, 1);
    return added[0];
  }
  const known = async () => new Set((await containers('')).map((container) => container.Id));

  for (const transport of ['http', 'websocket', 'rpc']) {
    const id = `by-${transport}`;
    const options = { transport };

    test(`${transport}: a repository is cloned, the branch that was asked for`, async () => {
      await ran(id, repository, options);
      await call(id, 'startProcess', ['python3 -m http.server -b 127.0.0.1 -d /tmp/site 8418'], options);
      await until('the server listens', async () => (await call(id, 'exec', ['curl -sf http://127.0.0.1:8418/repo.git/HEAD'], options)).exitCode === 0);
      const main = await call(id, 'gitCheckout', ['http://127.0.0.1:8418/repo.git'], options);
      assert.deepEqual([main.success, main.branch, main.targetDir], [true, 'main', '/workspace/repo']);
      const other = await call(id, 'gitCheckout', ['http://127.0.0.1:8418/repo.git', { branch: 'other', targetDir: '/tmp/other' }], options);
      assert.equal(other.branch, 'other');
      assert.equal(await ran(id, 'cat /workspace/repo/README.md /tmp/other/two.txt', options), 'one\ntwo');
      await assert.rejects(call(id, 'gitCheckout', ['http://127.0.0.1:8418/none.git'], options), /not found|failed/i);
    });

    test(`${transport}: a watch tells what is changed while it is active`, async () => {
      const events = await (await get(`/watch?id=${id}&transport=${transport}`)).json();
      assert.equal(events[0]?.type, 'watching', JSON.stringify(events));
      assert.ok(events.some((event) => event.type === 'event' && event.path.endsWith('/a.txt')), JSON.stringify(events));
      assert.ok(!events.some((event) => event.path?.endsWith('.log')), JSON.stringify(events));
    });

    test(`${transport}: code runs in contexts that remember`, async () => {
      const context = await call(id, 'createCodeContext', [{ language: 'python' }], options);
      await call(id, 'runCode', ['x = 20', { context }], options);
      const result = await call(id, 'runCode', ['print("said"); x * 2 + 2', { context }], options);
      assert.deepEqual([result.logs.stdout.join(''), result.results[0].text], ['said\nOut[2]: 42\n', '42']);
      const script = await call(id, 'runCode', ['[1, 2].map((n) => n + 1)', { language: 'javascript' }], options);
      assert.match(JSON.stringify(script.results), /2,\s*3/);
      assert.equal((await call(id, 'runCode', ['1 / 0', { context }], options)).error.name, 'ZeroDivisionError');
      await call(id, 'deleteCodeContext', [context.id], options);
    });

    test(`${transport}: a WebSocket through wsConnect`, async () => {
      await call(id, 'killAllProcesses', [], options);
      await call(id, 'startProcess', [echo(8080)], options);
      await until('the server listens', async () => (await call(id, 'exec', ['exec 3<>/dev/tcp/127.0.0.1/8080'], options)).exitCode === 0);
      const socket = new WebSocket(`ws://127.0.0.1:${at.wrangler().port}/ws?id=${id}&transport=${transport}`);
      await once(socket, 'open');
      for (const text of ['first', 'second']) {
        socket.send(text);
        assert.match((await once(socket, 'message'))[0].toString(), new RegExp(`^/ws\\?id=${id}.* ${text}$`));
      }
      socket.close();
    });
  }

  test('rpc: a stream is written to a file and read as bytes', async () => {
    const bytes = randomBytes(5 << 20);
    const response = await get('/stream?id=by-rpc&transport=rpc', { method: 'POST', body: bytes });
    const back = Buffer.from(await response.arrayBuffer());
    assert.equal(response.status, 200, back.toString('utf8', 0, 300));
    assert.equal(response.headers.get('x-size'), String(bytes.length));
    assert.ok(back.equals(bytes));
    assert.equal((await ran('by-rpc', 'sha256sum </tmp/streamed', { transport: 'rpc' })).slice(0, 64), createHash('sha256').update(bytes).digest('hex'));
  });

  test('rpc: a quick tunnel is a URL of the daemon, with nothing configured', async () => {
    const id = 'by-rpc', options = { transport: 'rpc' };
    await serve(id, 8077, options);
    const made = await call(id, 'tunnels.get', [8077], options);
    assert.match(made.id, /^quick-[0-9a-z]{20}$/);
    assert.equal(new URL(made.url).port, String(at.daemon().port));
    assert.deepEqual(await call(id, 'tunnels.get', [8077], options), made);
    assert.deepEqual(await call(id, 'tunnels.list', [], options), [made]);
    const visit = () => withHost(new URL(made.url).host, '/by/tunnel', { port: at.daemon().port });
    assert.equal((await visit()).text, 'GET /by/tunnel ');
    await call(id, 'tunnels.destroy', [8077], options);
    assert.deepEqual(await call(id, 'tunnels.list', [], options), []);
    assert.equal((await visit()).status, 404);
    const again = await call(id, 'tunnels.get', [8077], options);
    assert.ok(again.id !== made.id && again.url !== made.url);
    await call(id, 'tunnels.destroy', [8077], options);
  });

  test('an R2 binding is a directory, through s3fs and the interception of what goes out', async () => {
    const answer = await get('/bucket?id=bucket');
    const result = await answer.json();
    assert.equal(answer.status, 200, JSON.stringify(result));
    assert.deepEqual(result.inside.trim().split('\n'), ['hello from R2', 'from-sandbox.txt', 'from-worker.txt', '1']);
    assert.equal(result.written, 'written inside');
    assert.match(result.after, /No such file or directory\n0$/);
  });

  test('a bucket of an S3 server is a directory, with credentials, until it is unmounted', async () => {
    const id = 'bucket';
    const credentials = { accessKeyId: 'AKTEST', secretAccessKey: 'secret-of-the-test' };
    await call(id, 'writeFile', ['/tmp/s3.py', s3Server]);
    await call(id, 'startProcess', ['python3 /tmp/s3.py 9000 AKTEST']);
    await until('the server listens', async () => (await call(id, 'exec', ['curl -s -o /dev/null http://127.0.0.1:9000/'])).exitCode === 0);
    const mount = (place, more) => call(id, 'mountBucket', ['bkt', place, { endpoint: 'http://127.0.0.1:9000', credentials, ...more }]);
    await mount('/mnt/s3');
    assert.equal(await ran(id, 'mkdir /mnt/s3/d && echo kept >/mnt/s3/d/file && chmod 640 /mnt/s3/d/file && mv /mnt/s3/d/file /mnt/s3/d/moved && stat -c "%a %n" /mnt/s3/d/*; ls /mnt/s3/d'), '640 /mnt/s3/d/moved\nmoved');
    await call(id, 'unmountBucket', ['/mnt/s3']);
    assert.equal(await ran(id, 'ls /mnt/s3 2>&1 | grep -c "No such"; ls -A /tmp | grep -c passwd-s3fs'), '1\n0');
    await mount('/mnt/again', { readOnly: true, prefix: '/d/' });
    assert.equal(await ran(id, 'cat /mnt/again/moved; touch /mnt/again/new 2>/dev/null || echo read-only'), 'kept\nread-only');
    await call(id, 'destroy');
  });

  test('a bucket is a directory that is kept the same, both ways, until it is unmounted', async () => {
    const id = 'synced';
    const synced = async (changes = {}) => (await get(`/synced?id=${id}`, { method: 'POST', body: JSON.stringify(changes) })).json();
    await synced({ 'in/first.txt': 'of the bucket', 'other/none.txt': 'not below the prefix' });
    await call(id, 'mountBucket', ['SYNCED', '/workspace/synced', { localBucket: true, prefix: '/in/' }]);
    assert.equal(await ran(id, 'cd /workspace/synced; find . -type f; cat first.txt'), './first.txt\nof the bucket');
    await assert.rejects(call(id, 'mountBucket', ['SYNCED', '/workspace/synced', { localBucket: true }]), /already in use/);
    await call(id, 'exec', ['mkdir -p /workspace/synced/deep; echo -n written >/workspace/synced/deep/second.txt']);
    await until('it is in the bucket', async () => (await synced())['in/deep/second.txt'] === 'written');
    await synced({ 'in/third.txt': 'later', 'in/first.txt': null });
    await until('it is in the directory', async () => (await call(id, 'exists', ['/workspace/synced/third.txt'])).exists);
    await until('what was deleted is gone', async () => !(await call(id, 'exists', ['/workspace/synced/first.txt'])).exists);
    await call(id, 'exec', ['rm /workspace/synced/deep/second.txt']);
    await until('it is gone from the bucket', async () => !('in/deep/second.txt' in (await synced())));
    await call(id, 'unmountBucket', ['/workspace/synced']);
    await assert.rejects(call(id, 'unmountBucket', ['/workspace/synced']), /No active mount found/);
    assert.equal(await ran(id, 'cat /workspace/synced/third.txt'), 'later');
    await call(id, 'destroy');
  });

  for (const transport of ['http', 'rpc']) {
    test(`${transport}: a directory is backed up and restored, in its place and elsewhere`, async () => {
      const id = `backup-${transport}`;
      const options = { transport };
      const tree = 'find . -type f -exec sha256sum {} + | sort; find . -type d | sort';
      await ran(id, 'mkdir -p "/workspace/app/empty dir" /workspace/app/a/b; cd /workspace/app; echo one >"a/b/ö 🙂 名.txt"; head -c 3000000 /dev/urandom >a/bytes; ' +
        'git init -q .; echo "*.log" >.gitignore; echo ignored >x.log; mkdir node_modules; echo 1 >node_modules/m', options);
      const before = await ran(id, `cd /workspace/app; rm -rf .git/hooks; ${tree}`, options);
      const whole = await call(id, 'createBackup', [{ dir: '/workspace/app', name: 'whole', localBucket: true }], options);
      assert.match(whole.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      assert.deepEqual([whole.dir, whole.localBucket], ['/workspace/app', true]);
      const less = await call(id, 'createBackup', [{ dir: '/workspace/app', localBucket: true, gitignore: true, excludes: ['node_modules'], compression: { format: 'zstd', threads: 1 } }], options);
      const stored = await (await get(`/backups?id=${id}`)).json();
      const meta = stored[`backups/${whole.id}/meta.json`];
      assert.deepEqual([meta.id, meta.dir, meta.name, meta.ttl, meta.sizeBytes], [whole.id, '/workspace/app', 'whole', 259200, stored[`backups/${whole.id}/data.sqsh`]]);
      assert.ok(meta.sizeBytes > 3000000);
      assert.equal(await ran(id, 'ls /var/backups 2>/dev/null | wc -l', options), '0');
      await ran(id, 'rm -rf /workspace/app/a; echo changed >/workspace/app/.gitignore', options);
      const restored = await call(id, 'restoreBackup', [whole], options);
      assert.deepEqual([restored.success, restored.dir, restored.id], [true, '/workspace/app', whole.id]);
      assert.equal(await ran(id, `cd /workspace/app; ${tree}`, options), before);
      await call(id, 'restoreBackup', [{ ...less, dir: '/workspace/elsewhere' }], options);
      assert.equal(await ran(id, 'cd /workspace/elsewhere; ls -A; cat a/b/*.txt', options), '.git\n.gitignore\na\nempty dir\none');
      await call(id, 'destroy', [], options);
    });
  }

  test('a backup that is not there, has expired, or goes where it may not, says so', async () => {
    const id = 'no-backup';
    const kind = (method, ...args) => call(id, method, args).then(() => 'done', (error) => /^(\w+):/.exec(error.message)[1]);
    await ran(id, 'mkdir -p /workspace/app; echo 1 >/workspace/app/one');
    for (const dir of ['relative', '/workspace/../etc', '/etc', '/workspace/a\0b']) assert.equal(await kind('createBackup', { dir, localBucket: true }), 'InvalidBackupConfigError', dir);
    for (const more of [{ ttl: 0 }, { name: 'x'.repeat(257) }, { compression: { format: 'rar' } }, { compression: { threads: 0 } }, { excludes: 'no list' }])
      assert.equal(await kind('createBackup', { dir: '/workspace/app', localBucket: true, ...more }), 'InvalidBackupConfigError', JSON.stringify(more));
    assert.equal(await kind('createBackup', { dir: '/workspace/none', localBucket: true }), 'BackupCreateError');
    const short = await call(id, 'createBackup', [{ dir: '/workspace/app', localBucket: true, ttl: 1 }]);
    assert.equal(await kind('restoreBackup', short), 'BackupExpiredError');
    assert.equal(await kind('restoreBackup', { ...short, id: 'no-uuid' }), 'InvalidBackupConfigError');
    assert.equal(await kind('restoreBackup', { ...short, id: '00000000-0000-4000-8000-000000000000' }), 'BackupNotFoundError');
    const good = await call(id, 'createBackup', [{ dir: '/workspace/app', localBucket: true }]);
    assert.equal(await kind('restoreBackup', { ...good, dir: '/proc/1/none' }), 'InvalidBackupConfigError');
    assert.equal(await kind('restoreBackup', good), 'done');
    assert.equal(await ran(id, `cat /workspace/app/one; grep -c ${good.id} /proc/mounts`), '1\n0');
    await call(id, 'destroy');
  });

  test('preview URLs: a redirect with its cookies, what is told inside, a WebSocket; tokens that are changed, taken back, and end with destroy', async () => {
    const id = 'previews', { port } = at.wrangler();
    const hostname = `localhost:${port}`;
    const expose = (number, token) => call(id, 'exposePort', [number, { hostname, token }]).then(({ url }) => new URL(url).host);
    const status = async (host) => { const { status: code, json } = await withHost(host, '/'); return [code, json?.code]; };
    await call(id, 'startProcess', [`python3 -u -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/go":
            self.send_response(307); self.send_header("location", "/there"); self.send_header("set-cookie", "a=1"); self.send_header("set-cookie", "b=2"); self.send_header("content-length", "0"); self.end_headers(); return
        if self.path == "/broken": self.send_response(503)
        else: self.send_response(200)
        body = " ".join([self.path] + [str(self.headers.get(name)) for name in ("x-forwarded-host", "x-sandbox-name", "x-sandbox-preview-token")]).encode()
        self.send_header("content-length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), H).serve_forever()'`]);
    await call(id, 'startProcess', [echo(8081)]);
    for (const number of [8080, 8081]) await until('the server listens', async () => (await call(id, 'exec', [`exec 3<>/dev/tcp/127.0.0.1/${number}`])).exitCode === 0);
    const host = await expose(8080, 'first_token');
    const moved = await withHost(host, '/go');
    assert.deepEqual([moved.status, moved.headers.location, moved.headers['set-cookie']], [307, '/there', ['a=1', 'b=2']]);
    assert.equal((await withHost(host, '/broken')).status, 503);
    assert.equal((await withHost(host, '/path?x=1', { headers: { host, 'x-sandbox-preview-token': 'forged' } })).text, `/path?x=1 ${host.split(':')[0]} ${id} None`);
    const socket = new WebSocket(`ws://127.0.0.1:${port}/by/preview`, { headers: { host: await expose(8081, 'ws_token') } });
    await once(socket, 'open');
    socket.send('over it');
    assert.equal((await once(socket, 'message'))[0].toString(), '/by/preview over it');
    socket.close();
    assert.deepEqual((await call(id, 'getExposedPorts', [hostname])).map(({ port: number, status: state }) => [number, state]), [[8080, 'active'], [8081, 'active']]);
    const second = await expose(8080, 'second_token');
    assert.deepEqual(await status(host), [404, 'INVALID_TOKEN']);
    assert.equal((await withHost(second, '/')).status, 200);
    await call(id, 'unexposePort', [8080]);
    assert.deepEqual(await status(second), [404, 'INVALID_TOKEN']);
    assert.equal(await expose(8080, 'second_token'), second);
    await call(id, 'destroy');
    assert.deepEqual(await status(second), [404, 'INVALID_TOKEN']);
    assert.deepEqual(await call(id, 'getExposedPorts', [hostname]), []);
  });

  test('a preview URL of a runtime that has ended is 410, and its token still unknown to others', async () => {
    const id = 'stale';
    const before = await known();
    await serve(id, 8080);
    const container = await newest(before);
    const { url } = await call(id, 'exposePort', [8080, { hostname: `localhost:${at.wrangler().port}`, token: 'stale_token' }]);
    assert.equal((await withHost(new URL(url).host, '/')).text, 'GET / ');
    await at.docker().post(`/containers/${container.Id}/kill`);
    await until('it is gone', async () => (await at.docker().get(`/containers/${container.Id}/json`)).status === 404);
    const stale = await until('the end is known', async () => {
      const answer = await withHost(new URL(url).host, '/');
      return answer.status === 410 && answer;
    });
    assert.equal(stale.json.code, 'STALE_PREVIEW_URL');
    await call(id, 'exec', ['true']); /* another runtime does not revive it */
    assert.equal((await withHost(new URL(url).host, '/')).status, 410);
    await serve(id, 8080);
    const again = await call(id, 'exposePort', [8080, { hostname: `localhost:${at.wrangler().port}`, token: 'stale_token' }]);
    assert.equal((await withHost(new URL(again.url).host, '/')).text, 'GET / ');
    await call(id, 'destroy');
  });

  test('an idle sandbox is stopped and wakes anew; with keepAlive it stays', async () => {
    const ids = [];
    for (const [id, options] of [['awake', { sleepAfter: '1s', keepAlive: true }], ['sleeper', { sleepAfter: '1s' }]]) {
      const before = await known();
      await call(id, 'exec', ['echo mine >/tmp/mine'], { sleepAfter: '10m' });
      ids.push((await newest(before)).Id);
      await call(id, 'exec', ['true'], options);
    }
    const gone = async (id) => (await at.docker().get(`/containers/${id}/json`)).status === 404;
    await until('the sleeper is stopped', () => gone(ids[1]));
    assert.equal(await gone(ids[0]), false);
    assert.equal(await ran('sleeper', 'cat /tmp/mine 2>/dev/null || echo new', { sleepAfter: '1m' }), 'new');
    assert.equal(await ran('awake', 'cat /tmp/mine'), 'mine');
    await Promise.all(['awake', 'sleeper'].map((id) => call(id, 'destroy')));
  });

  test('twenty-five at once', async () => {
    const names = Array.from({ length: 25 }, (_, i) => `crowd-${i}`);
    assert.deepEqual(await Promise.all(names.map((id) => ran(id, `echo ${id}`))), names);
    await Promise.all(names.map((id) => call(id, 'destroy')));
  });
}
