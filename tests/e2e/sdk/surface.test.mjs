/*
 * What users of the published client find written about it (sdk-surface.md) and no other file here holds: unusual options,
 * cancelling, the waiters of processes and their errors, sessions, helpers; over each of its transports.
 */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { freePort } from '../lib/ports.mjs';
import { test } from '../lib/test.mjs';
import { Clients, eventsOf } from './lib/clients.mjs';
import { sdk as published } from './lib/sandbox.mjs';

const { collectFile, streamFile } = published;

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`the surface of the SDK over ${transport}`, () => {
    let clients;
    let agent;
    let sandbox;
    let bare;
    let sessions = 0;
    const newSession = (options = {}) => sandbox.createSession({ id: `surface-${++sessions}`, ...options });

    before(async () => {
      clients = await Clients.open(transport, { OF_IMAGE: 'image' });
      ({ agent, sandbox, bare } = clients);
    });
    after(() => clients.close());

    const errorOf = async (promise) => {
      try {
        await promise;
      } catch (error) {
        return error;
      }
      assert.fail('it succeeded');
    };

    /* A stream that there is none of: over a WebSocket the client passes on the words alone. */
    const refusedStream = (error, code, status) => {
      if (transport === 'websocket') assert.match(error.message, new RegExp(`Stream error: ${status} - .*"${code}"`));
      else assert.deepEqual([error.code, error.httpStatus], [code, status]);
    };

    test('§4: the session that a call names: blank is refused, a new name is made, the token of none is not shown', async () => {
      for (const blank of ['', '  ']) await assert.rejects(sandbox.readFile('/etc/hostname', { sessionId: blank }), /sessionId must not be empty or whitespace/);
      await sandbox.writeFile('/tmp/of-session.txt', 'x');
      assert.equal((await sandbox.readFile('/tmp/of-session.txt', { sessionId: 'made-by-use' })).content, 'x');
      assert.equal((await bare.sandbox.exec('true')).sessionId, undefined);
      await assert.rejects(sandbox.createSession({ id: '__DISABLE_SESSION__' }), /reserved for internal use/);
      await assert.rejects(sandbox.deleteSession('sandbox-demo'), /Cannot delete default session/);
    });

    test('§4: variables of the sandbox are below those of a command without a session', async () => {
      await bare.sandbox.setEnvVars({ OF_SANDBOX: 'sandbox', OVER: 'sandbox', OF_IMAGE: 'changed' });
      assert.equal((await bare.sandbox.exec('echo $OF_SANDBOX $OVER $OF_IMAGE', { env: { OVER: 'command' } })).stdout, 'sandbox command changed\n');
      await bare.sandbox.setEnvVars({ OF_SANDBOX: undefined, OF_IMAGE: null });
      assert.equal((await bare.sandbox.exec('echo ${OF_SANDBOX-unset}')).stdout, 'unset\n');
    });

    test('§5: a signal that has been given before refuses the command; one given while output streams ends the call', async () => {
      await assert.rejects(sandbox.exec('touch /tmp/surface-aborted', { signal: AbortSignal.abort() }), /aborted/);
      await assert.rejects(sandbox.execStream('touch /tmp/surface-aborted', { signal: AbortSignal.abort() }), /aborted/);
      assert.equal((await sandbox.exists('/tmp/surface-aborted')).exists, false);
      const session = await newSession();
      const control = new AbortController();
      const heard = [];
      await assert.rejects(session.exec('for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done', { stream: true, signal: control.signal,
        onOutput: (stream, data) => { heard.push(data); control.abort(); } }), /aborted/);
      assert.ok(heard.length >= 1);
      assert.equal((await session.exec('echo on')).stdout, 'on'); // after what it ran
    });

    test('§5: callbacks: the whole result at the end, the failure and then the throw', async () => {
      const told = [];
      const result = await sandbox.exec('echo x', { stream: true, onOutput: (...what) => told.push(what), onComplete: (r) => told.push(r) });
      assert.deepEqual(told[0], ['stdout', 'x\n']);
      assert.deepEqual(told.at(-1), result);
      assert.ok(Number.isFinite(result.duration) && new Date(result.timestamp).toISOString() === result.timestamp);
      const failures = [];
      await assert.rejects(sandbox.exec('exit 3', { sessionId: undefined, onError: (error) => failures.push(error) }), { code: 'SESSION_TERMINATED' });
      assert.equal(failures.length, 1);
    });

    test('§6: what a started process is told with: directory, variables, an id of one\'s own, callbacks', async () => {
      const heard = [];
      let started;
      const code = await new Promise((done, fail) => {
        sandbox.startProcess('pwd; echo $OWN; exit 3', { processId: `mine-${transport}`, cwd: '/tmp', env: { OWN: 'yes' },
          onStart: (process) => { started = process; }, onOutput: (stream, data) => heard.push(data), onExit: done, onError: fail }).catch(fail);
      });
      assert.equal(code, 3);
      assert.equal(started.id, `mine-${transport}`);
      assert.equal(heard.join(''), '/tmp\nyes\n');
      const shown = await sandbox.getProcess(`mine-${transport}`);
      assert.deepEqual([shown.status, shown.exitCode, shown.command], ['failed', 3, 'pwd; echo $OWN; exit 3']);
      assert.ok(shown.startTime instanceof Date && Number.isInteger(shown.pid));
      assert.equal(await sandbox.cleanupCompletedProcesses(), 0);
      const lines = [];
      const error = await errorOf(sandbox.startProcess('  ', { onError: (e) => lines.push(e) }));
      assert.equal(lines[0], error);
    });

    test('§6: waitForLog: the line of a text, the match of an expression, across pieces, on stderr', async () => {
      const process = await sandbox.startProcess('printf "server li"; sleep 0.2; printf "stening on 8080\\nnext\\n"; echo "code E42 here" >&2; sleep 600');
      assert.deepEqual(await process.waitForLog('listening on 8080'), { line: 'server listening on 8080' });
      const { line, match } = await process.waitForLog(/code E(\d+)/g);
      assert.deepEqual([line, match[1]], ['code E42 here', '42']);
      const late = await errorOf(process.waitForLog('never', 50));
      assert.deepEqual([late.name, late.code, late.httpStatus], ['ProcessReadyTimeoutError', 'PROCESS_READY_TIMEOUT', 408]);
      assert.deepEqual(late.context, { processId: process.id, command: process.command, condition: '"never"', timeout: 50 });
      assert.match(late.message, /^Process did not become ready within 50ms\. Waiting for: "never"/);
      assert.equal((await errorOf(process.waitForLog(/never/i, 50))).context.condition, '/never/i');
      assert.equal((await errorOf(process.waitForPort(9, { timeout: 50 }))).context.condition, 'port 9 (HTTP /)');
      assert.equal((await errorOf(process.waitForPort(9, { mode: 'tcp', timeout: 50 }))).context.condition, 'port 9 (TCP)');
      assert.equal((await errorOf(process.waitForExit(50))).context.condition, 'process exit');
      await process.kill();
      const ended = await errorOf(process.waitForLog('never'));
      assert.deepEqual([ended.name, ended.code, ended.httpStatus, ended.context.exitCode], ['ProcessExitedBeforeReadyError', 'PROCESS_EXITED_BEFORE_READY', 500, 143]);
      assert.deepEqual(await process.waitForExit(), { exitCode: 143 });
    });

    test('§6: waitForPort: over TCP, with a path, a status alone and a range, an interval', async () => {
      const port = await freePort();
      const server = await sandbox.startProcess(`exec python3 -u -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({"/teapot": 418, "/ok": 200}.get(self.path, 503)); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", ${port}), H).serve_forever()'`);
      await server.waitForPort(port, { mode: 'tcp', interval: 100 });
      await server.waitForPort(port, { path: '/ok' });
      await server.waitForPort(port, { path: '/teapot', status: 418, interval: 100 });
      await server.waitForPort(port, { path: '/', status: { min: 500, max: 599 } });
      const error = await errorOf(server.waitForPort(port, { path: '/teapot', timeout: 400 }));
      assert.deepEqual([error.code, error.context.condition], ['PROCESS_READY_TIMEOUT', `port ${port} (HTTP /teapot)`]);
      await server.kill();
      assert.equal((await errorOf(server.waitForPort(port))).code, 'PROCESS_EXITED_BEFORE_READY');
    });

    test('§6: logs are told as events that end with the exit, and can be given up', async () => {
      const process = await sandbox.startProcess('echo one; echo two >&2; exit 4');
      await process.waitForExit();
      const events = await eventsOf(await sandbox.streamProcessLogs(process.id));
      assert.deepEqual(events.filter((e) => e.type !== 'process_info').map((e) => [e.type, e.exitCode ?? e.data.trim()]).sort(),
        [['exit', 4], ['stderr', 'two'], ['stdout', 'one']]);
      assert.ok(events.every((e) => e.processId === process.id || e.type === 'process_info'));
      assert.deepEqual(await sandbox.getProcessLogs(process.id).then((l) => [l.stdout, l.stderr, l.processId]), ['one\n', 'two\n', process.id]);
      await assert.rejects(sandbox.streamProcessLogs(process.id, { signal: AbortSignal.abort() }), /abort/i);
      for (const missing of [sandbox.getProcessLogs('none'), sandbox.killProcess('none')])
        assert.deepEqual(await errorOf(missing).then((e) => [e.code, e.httpStatus, e.processId]), ['PROCESS_NOT_FOUND', 404, 'none']);
      refusedStream(await errorOf(sandbox.streamProcessLogs('none')), 'PROCESS_NOT_FOUND', 404);
    });

    test('§7: encodings of reads and writes, and what they answer', async () => {
      const place = `/workspace/encodings-${transport}`;
      await sandbox.mkdir(place);
      const written = await sandbox.writeFile(`${place}/a.txt`, Buffer.from('ä\0b').toString('base64'), { encoding: 'base64' });
      assert.deepEqual([written.success, written.path], [true, `${place}/a.txt`]);
      for (const encoding of [undefined, 'utf-8', 'utf8']) {
        const read = await sandbox.readFile(`${place}/a.txt`, { encoding });
        assert.deepEqual([read.content, read.encoding, read.isBinary, read.mimeType, read.size], ['ä\0b', 'utf-8', false, 'text/plain', 4]);
      }
      const forced = await sandbox.readFile(`${place}/a.txt`, { encoding: 'base64' });
      assert.deepEqual([forced.content, forced.encoding], [Buffer.from('ä\0b').toString('base64'), 'base64']);
      await sandbox.writeFile(`${place}/b.png`, 'iVBORw0KGgo=', { encoding: 'base64' });
      const binary = await sandbox.readFile(`${place}/b.png`);
      assert.deepEqual([binary.content, binary.encoding, binary.isBinary, binary.mimeType, binary.size], ['iVBORw0KGgo=', 'base64', true, 'image/png', 8]);
      const bad = await errorOf(sandbox.writeFile(`${place}/c`, 'not base64!', { encoding: 'base64' }));
      assert.equal(bad.code, 'VALIDATION_FAILED');
      assert.equal((await sandbox.exists(`${place}/c`)).exists, false);
      await sandbox.writeFile(`${place}/empty`, '');
      assert.deepEqual(await sandbox.readFile(`${place}/empty`).then((r) => [r.content, r.size]), ['', 0]);
      if (transport === 'rpc') return;
      await assert.rejects(sandbox.readFile(`${place}/a.txt`, { encoding: 'none' }), /rpc/i);
      await assert.rejects(sandbox.writeFile(`${place}/d`, new ReadableStream()), /rpc/i);
    });

    test('§7: lists: what each entry says, in and below a directory, hidden or not, without a session too', async () => {
      const place = `/workspace/lists-${transport}`;
      await sandbox.exec(`mkdir -p ${place}/sub/deep ${place}/.git; cd ${place}; echo 12345 >a.txt; chmod 640 a.txt; echo >.hidden; ln -s a.txt link; mkfifo pipe; echo >sub/deep/b; touch -d @1700000000 a.txt`);
      for (const one of [sandbox, bare.sandbox]) {
        const flat = await one.listFiles(place);
        assert.deepEqual(flat.files.map(({ name, type }) => [name, type]).sort(), [['a.txt', 'file'], ['link', 'symlink'], ['pipe', 'other'], ['sub', 'directory']]);
        assert.deepEqual([flat.success, flat.path, flat.count], [true, place, 4]);
        const file = flat.files.find(({ name }) => name === 'a.txt');
        assert.deepEqual({ ...file }, { name: 'a.txt', absolutePath: `${place}/a.txt`, relativePath: 'a.txt', type: 'file', size: 6,
          modifiedAt: '2023-11-14T22:13:20.000Z', mode: 'rw-r-----', permissions: { readable: true, writable: true, executable: false } });
        assert.deepEqual((await one.listFiles(place, { includeHidden: true })).files.map(({ name }) => name).sort(), ['.git', '.hidden', 'a.txt', 'link', 'pipe', 'sub']);
        assert.deepEqual((await one.listFiles(place, { recursive: true })).files.map(({ relativePath }) => relativePath).sort(),
          ['a.txt', 'link', 'pipe', 'sub', 'sub/deep', 'sub/deep/b']);
      }
      assert.deepEqual(await sandbox.listFiles(`${place}/sub`, { recursive: false }).then((l) => l.files.map((f) => f.name)), ['deep']);
      const session = await newSession({ cwd: place });
      assert.equal((await session.listFiles('.')).count, 4);
      assert.equal((await sandbox.listFiles('sub', { sessionId: session.id })).count, 1);
    });

    test('§7: directories: with parents or not, there already', async () => {
      const place = `/workspace/mk-${transport}`;
      assert.deepEqual(await sandbox.mkdir(place).then((r) => [r.success, r.path, r.recursive]), [true, place, false]);
      assert.equal((await sandbox.mkdir(`${place}/a/b`, { recursive: true })).recursive, true);
      assert.equal((await sandbox.mkdir(`${place}/a/b`, { recursive: true })).success, true);
      assert.ok((await errorOf(sandbox.mkdir(`${place}/x/y`))).httpStatus >= 400);
      assert.ok((await errorOf(sandbox.mkdir(place))).httpStatus >= 400);
    });

    test('§7, §21: files as streams: the helpers give text and bytes, metadata, and the words of a failure', async () => {
      const text = 'größe\n'.repeat(30000);
      await sandbox.writeFile('/workspace/streamed.txt', text);
      const whole = await collectFile(await sandbox.readFileStream('/workspace/streamed.txt'));
      assert.equal(whole.content, text);
      assert.deepEqual([whole.metadata.mimeType, whole.metadata.isBinary, whole.metadata.encoding, whole.metadata.size], ['text/plain', false, 'utf-8', Buffer.byteLength(text)]);
      const bytes = Buffer.from(Array.from({ length: 200001 }, (_, i) => i * 31));
      await sandbox.writeFile('/workspace/streamed.bin', bytes.toString('base64'), { encoding: 'base64' });
      const pieces = [];
      for await (const piece of streamFile(await sandbox.readFileStream('/workspace/streamed.bin'))) pieces.push(piece);
      assert.ok(pieces.length > 1 && Buffer.concat(pieces).equals(bytes));
      await assert.rejects(sandbox.readFileStream('/workspace/none').then(collectFile), /none|not found/i);
    });

    test('§8: a watch of one directory alone, of what include says, and both refused', async () => {
      const place = `/workspace/watch-${transport}`;
      await sandbox.mkdir(`${place}/sub`, { recursive: true });
      const events = eventsOf(await sandbox.watch(place, { recursive: false }).then((stream) => stream.pipeThrough(until(/last/))));
      await sandbox.exec(`touch ${place}/sub/unseen ${place}/seen; mkdir ${place}/dir; touch ${place}/last`);
      const seen = await events;
      assert.deepEqual([seen[0].type, seen[0].path], ['watching', place]);
      assert.equal(typeof seen[0].watchId, 'string');
      assert.ok(seen.every((event) => !event.path?.includes('/sub/')));
      const made = seen.find((event) => event.path === `${place}/dir`);
      assert.deepEqual([made.type, made.eventType, made.isDirectory], ['event', 'create', true]);
      refusedStream(await errorOf(sandbox.watch(place, { include: ['*'], exclude: ['*'] })), 'VALIDATION_FAILED', 400);
      refusedStream(await errorOf(sandbox.watch(`${place}/none`)), 'FILE_NOT_FOUND', 404);
      assert.equal((await errorOf(sandbox.checkChanges(`${place}/none`))).httpStatus, 404);
      assert.ok((await errorOf(sandbox.checkChanges(place, { since: ' ' }))).httpStatus >= 400);
      const other = { since: 'watch-1-1:0' };
      for (const reason of ['expired', 'restarted'])
        assert.deepEqual(await sandbox.checkChanges(place, other).then((r) => [r.success, r.status, r.reason]), [true, 'resync', reason]);
    });

    /* Closes the stream behind the piece that shows `pattern`. */
    function until(pattern) {
      let over = false;
      return new TransformStream({
        transform(piece, controller) {
          if (over) return;
          controller.enqueue(piece);
          over = pattern.test(Buffer.from(piece).toString());
          if (over) controller.terminate();
        },
      });
    }

    test('§9: a checkout without a branch tells the one it got; limits of time that are none are refused at once', async () => {
      await sandbox.exec(`git init -q -b trunk /tmp/origin; cd /tmp/origin; git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one; cd`);
      const got = await sandbox.gitCheckout('file:///tmp/origin', { targetDir: `/tmp/clone-${transport}` }).catch((error) => error);
      if (got instanceof Error) assert.equal(got.code, 'INVALID_GIT_URL');
      else assert.deepEqual([got.success, got.branch, got.targetDir], [true, 'trunk', `/tmp/clone-${transport}`]);
      for (const cloneTimeoutMs of [0, -1]) await assert.rejects(sandbox.gitCheckout('https://example.com/r.git', { cloneTimeoutMs }), /Invalid.*timeout/i);
      if (transport === 'rpc') return; // there the client passes it on
      for (const depth of [0, -1, 1.5]) await assert.rejects(sandbox.gitCheckout('https://example.com/r.git', { depth }), /depth/i);
    });

    test('§10: variables of a session are its own, and names that are none fail by name', async () => {
      const [one, two] = [await newSession(), await newSession({ env: { GIVEN: 'two', NONE: undefined } })];
      await one.setEnvVars({ ONLY: "it's", EMPTY: '' });
      assert.equal((await one.exec('printf "%s|%s" "$ONLY" "${EMPTY-unset}"')).stdout, "it's|");
      assert.equal((await two.exec('echo "${ONLY-unset} $GIVEN ${NONE-unset}"')).stdout, 'unset two unset');
      await assert.rejects(one.setEnvVars({ 'no-name': 'x' }), /no-name/);
    });

    test('§11: sessions: made without an id, all their methods, the limit of their commands', async () => {
      const unnamed = await sandbox.createSession();
      assert.match(unnamed.id, /^session-\d+$/);
      const limited = await newSession({ commandTimeoutMs: 200 });
      await assert.rejects(limited.exec('sleep 600'), /Command timeout after 200ms/);
      const session = await newSession({ cwd: '/tmp', env: { E: 'v' }, name: 'ignored', isolation: true });
      assert.equal((await session.exec('pwd; echo $E')).stdout, '/tmp\nv');
      await session.writeFile('of-it.txt', 'x');
      assert.equal((await session.exists('/tmp/of-it.txt')).exists, true);
      assert.equal((await session.renameFile('of-it.txt', 'moved.txt')).newPath, 'moved.txt');
      await session.mkdir('in-it');
      assert.equal((await session.moveFile('moved.txt', 'in-it/moved.txt')).success, true);
      assert.equal((await collectFile(await session.readFileStream('in-it/moved.txt'))).content, 'x');
      await session.deleteFile('in-it/moved.txt');
      const process = await session.startProcess('echo $PWD; sleep 600', { sessionId: 'is-ignored' });
      assert.equal(process.sessionId, session.id);
      assert.deepEqual(await process.waitForLog('/tmp'), { line: '/tmp' });
      assert.ok((await session.listProcesses()).some(({ id }) => id === process.id));
      assert.equal(await session.getProcess('none'), null);
      assert.ok((await session.killAllProcesses()) >= 1);
      const deleted = await sandbox.deleteSession(session.id);
      assert.deepEqual([deleted.success, deleted.sessionId], [true, session.id]);
      assert.equal((await errorOf(sandbox.deleteSession('never-made'))).httpStatus >= 400, true);
      assert.equal((await session.exec('pwd')).stdout, '/workspace');
    });

    test('§14: ports to expose are checked, and what was exposed is listed, found by its token and taken back', async () => {
      const expose = (port, options) => clients.sdk.object.exposePort(port, { hostname: 'example.com', ...options });
      for (const port of [22, 80, 1023, 65536, 1.5, 3000]) await assert.rejects(expose(port), /Invalid port|reserved/i, String(port));
      for (const token of ['', 'x'.repeat(17), 'UPPER', 'a-b']) await assert.rejects(expose(8080, { token }), { name: 'SandboxSecurityError' }, token);
      assert.equal((await errorOf(expose(8080, { hostname: 'w.workers.dev' }))).code, 'CUSTOM_DOMAIN_REQUIRED');
      const made = await expose(8080, { token: 'abc_1', name: 'app' });
      assert.deepEqual(made, { url: 'https://8080-demo-abc_1.example.com/', port: 8080, name: 'app' });
      await assert.rejects(expose(8081, { token: 'abc_1' }), /already in use by port 8080/);
      assert.equal((await expose(8080)).url, made.url);
      assert.match((await expose(8082, { hostname: 'localhost:8787' })).url, /^http:\/\/8082-demo-[a-z0-9_]{16}\.localhost:8787\/$/);
      const { object } = clients.sdk;
      assert.deepEqual((await object.getExposedPorts('example.com')).map(({ port, status }) => [port, status]), [[8080, 'active'], [8082, 'active']]);
      assert.deepEqual([await object.isPortExposed(8080), await object.isPortExposed(8081), await object.isPortExposed(22)], [true, false, false]);
      assert.deepEqual([await object.validatePortToken(8080, 'abc_1'), await object.validatePortToken(8080, 'abc_2')], [true, false]);
      await object.unexposePort(8080);
      await object.unexposePort(8080);
      assert.equal(await object.validatePortToken(8080, 'abc_1'), false);
    });

    test('§15: tunnels are for RPC only, and their ports and names are checked before anything else', async () => {
      if (transport !== 'rpc') {
        await assert.rejects(Promise.resolve().then(() => sandbox.tunnels.get(8080)), /requires the RPC transport/);
        return;
      }
      for (const port of [80, 3000, 65536, 1.5]) await assert.rejects(sandbox.tunnels.get(port), /Invalid port number/);
      for (const [name, code] of [['', 'INVALID_TUNNEL_NAME_LENGTH'], ['x'.repeat(64), 'INVALID_TUNNEL_NAME_LENGTH'], ['a.b', 'INVALID_TUNNEL_NAME_FORMAT'], ['-a', 'INVALID_TUNNEL_NAME_FORMAT']])
        assert.equal((await errorOf(sandbox.tunnels.get(8080, { name }))).code, code, name);
      await sandbox.tunnels.destroy(8080);
      assert.deepEqual(await sandbox.tunnels.list(), []);
    });

    test('§16: mounts that cannot be are refused by their kind', async () => {
      const { object } = clients.sdk;
      const endpoint = 'https://s3.example.com', credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
      for (const [bucket, place, options, code] of [
        ['bucket', 'relative', { endpoint, credentials }, 'INVALID_MOUNT_CONFIG'],
        ['Bad:Name', '/mnt/a', { endpoint, credentials }, 'INVALID_MOUNT_CONFIG'],
        ['bucket', '/mnt/a', { endpoint: 'no url', credentials }, 'INVALID_MOUNT_CONFIG'],
        ['bucket', '/mnt/a', { endpoint, credentials, prefix: 'no-slash' }, 'INVALID_MOUNT_CONFIG'],
        ['bucket', '/mnt/a', { endpoint }, 'MISSING_CREDENTIALS']])
        assert.equal((await errorOf(object.mountBucket(bucket, place, options))).code, code, JSON.stringify([bucket, place, options]));
      assert.match((await errorOf(object.unmountBucket('/mnt/none'))).message, /No active mount found at path: \/mnt\/none/);
      const failed = await errorOf(object.mountBucket('bucket', '/mnt/fails', { endpoint: 'http://127.0.0.1:9', credentials }));
      assert.equal(failed.code, 'S3FS_MOUNT_ERROR');
      assert.match(failed.message, /S3FS mount failed|never appeared/);
      assert.equal((await sandbox.exec('ls -d /mnt/fails /tmp/.passwd-s3fs* 2>/dev/null')).stdout, '');
    });

    test('§17: backups are checked before anything is done', async () => {
      const { object } = clients.sdk;
      assert.equal((await errorOf(object.createBackup({ dir: '/workspace' }))).code, 'INVALID_BACKUP_CONFIG');
      assert.equal((await errorOf(object.restoreBackup({ id: 'no-uuid', dir: '/workspace' }))).code, 'INVALID_BACKUP_CONFIG');
    });

    test('§18: whatever is asked at the port, an answer says that it is ready', async () => {
      for (const target of ['/', '/ping', '/none']) {
        const answer = await fetch(`${clients.target.origin}${target}`, { headers: { host: 'ping' } });
        assert.ok(answer.status < 500, target);
        await answer.text();
      }
    });

    test('§20: errors have their classes, codes, contexts and words also as JSON', async () => {
      const error = await errorOf(sandbox.readFile('/workspace/none'));
      assert.equal(error.name, 'FileNotFoundError');
      assert.equal(error.path, '/workspace/none');
      const json = error.toJSON();
      assert.deepEqual([json.name, json.code, json.httpStatus, json.context.path], ['FileNotFoundError', 'FILE_NOT_FOUND', 404, '/workspace/none']);
      assert.ok(!Number.isNaN(Date.parse(json.timestamp)));
    });
  });
}
