/* What of the JavaScript SDK the conformance list does not show: callbacks, streams, refusals, the life of a handle. */
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { errorOf } from '../../../sdk/js/src/error-codes.js';
import * as berm from '../../../sdk/js/src/index.js';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const text = (bytes) => new TextDecoder().decode(bytes);

test('names are checked and written as the daemon takes them', () => {
  assert.equal(berm.sandboxId('demo'), 'demo');
  assert.equal(berm.sandboxId('my-sandbox'), 'nv4s243bnzsge33y');
  assert.equal(berm.sandboxId('größe'), 'm5zmhnwdt5sq');
  assert.equal(berm.getSandbox('User-1', { normalizeId: true }).name, 'user-1');
  const refused = { '': 'LENGTH', ['x'.repeat(64)]: 'LENGTH', '-a': 'HYPHENS', 'a-': 'HYPHENS', Admin: 'RESERVED_SANDBOX_ID', ['ö'.repeat(50)]: 'LENGTH' };
  for (const [name, code] of Object.entries(refused))
    assert.throws(() => berm.getSandbox(name), (error) => error instanceof berm.SandboxSecurityError && error.code.includes(code), name);
  assert.throws(() => berm.getSandbox({}, 'a'), TypeError);
  assert.throws(() => berm.getSandbox('a', { url: 'ftp://x' }), TypeError);
});

test('events are read however they are cut and ended', async () => {
  const encoded = new TextEncoder().encode('data: {"a":1}\n\n: comment\n\ndata: [DONE]\n\ndata: {"b":\ndata: "ü"}\r\n\r\ndata: no json\n\nevent: x\rdata:{"c":3}');
  for (const size of [1, 2, 7, 1000]) {
    const pieces = [];
    for (let i = 0; i < encoded.length; i += size) pieces.push(encoded.subarray(i, i + size));
    const events = [];
    for await (const event of berm.parseSSEStream(new Blob(pieces).stream())) events.push(event);
    assert.deepEqual(events, [{ a: 1 }, { b: 'ü' }, { c: 3 }], String(size));
  }
  const there = berm.asyncIterableToSSEStream((async function* () { yield { a: 1 }; yield { b: 2 }; })());
  assert.equal(await new Response(there).text(), 'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n');
  const events = [];
  for await (const event of berm.responseToAsyncIterable(new Response('data: 1\n\n'))) events.push(event);
  assert.deepEqual(events, [1]);
  await assert.rejects(berm.responseToAsyncIterable(new Response('', { status: 404, statusText: 'Gone' })).next(), /Response not ok: 404 Gone/);
});

test('a file stream that is cut, fails or begins wrongly is told', async () => {
  const stream = (...events) => new Blob(events.map((event) => `data: ${JSON.stringify(event)}\n\n`)).stream();
  const metadata = { type: 'metadata', mimeType: 'a/b', size: 3, isBinary: true, encoding: 'base64' };
  const { content } = await berm.collectFile(stream(metadata, { type: 'chunk', data: 'AAE=' }, { type: 'chunk', data: '/w==' }, { type: 'complete', bytesRead: 3 }));
  assert.deepEqual([...content], [0, 1, 255]);
  await assert.rejects(berm.collectFile(stream(metadata)), /ended unexpectedly/);
  await assert.rejects(berm.collectFile(stream({ type: 'chunk', data: '' })), /chunk before metadata/);
  await assert.rejects(berm.collectFile(stream({ type: 'complete' })), /without metadata/);
  await assert.rejects(berm.collectFile(stream({ type: 'error', error: 'oh' })), /File streaming error: oh/);
});

test('answers that no daemon gives become errors, not crashes', async () => {
  const answers = {
    '/v1/host': [500, 'text'], '/v1/images': [200, 'not json'], '/v1/keys': [503, '{"error":"full","code":"capacity_exceeded"}'],
    '/v1/pool/stats': [502, '{"error":"gone","code":"sandbox_died","context":{"reason":"oom"}}'],
  };
  const server = http.createServer((request, response) => {
    const [status, body] = answers[request.url];
    response.writeHead(status, { 'retry-after': '10' }).end(body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const daemon = new berm.Berm({ url: `http://127.0.0.1:${server.address().port}/` });
    await assert.rejects(daemon.host(), { code: 'INTERNAL_ERROR', httpStatus: 500 });
    await assert.rejects(daemon.images(), { code: 'INVALID_JSON_RESPONSE' });
    await assert.rejects(daemon.keys(), (error) => error instanceof berm.ContainerUnavailableError && error.retryAfterMs === 10000);
    await assert.rejects(daemon.poolStats(), (error) => error instanceof berm.OperationInterruptedError && error.context.endReason === 'oom' && error.toJSON().code === 'OPERATION_INTERRUPTED');
  } finally {
    server.closeAllConnections();
    server.close();
  }
  await assert.rejects(new berm.Berm({ url: 'http://127.0.0.1:1' }).host(), (error) => error instanceof berm.RPCTransportError && error.kind === 'connection_failed');
});

test('what needs a Worker says so, and what to do instead', async () => {
  const sandbox = berm.getSandbox('a');
  for (const method of ['wsConnect', 'stop', 'schedule', 'setOutboundHandler', 'setTransport', 'terminal', 'createBackup', 'restoreBackup', 'validatePortToken'])
    await assert.rejects(async () => sandbox[method](), (error) => error instanceof berm.NotSupportedError && error.code === 'NOT_SUPPORTED' && error.message.length > 40, method);
  assert.throws(() => berm.proxyToSandbox(), berm.NotSupportedError);
  await assert.rejects(sandbox.mountBucket('b', '/mnt', { localBucket: true }), berm.NotSupportedError);
  await assert.rejects(sandbox.containerFetch('http://x/', 8080), berm.NotSupportedError);
});

test('what a mount fails with is of the class that its reason names', async () => {
  for (const [code, reason, type] of [['mount_error', 'MISSING_CREDENTIALS', berm.MissingCredentialsError], ['mount_error', 'S3FS_MOUNT_ERROR', berm.S3FSMountError],
    ['mount_error', undefined, berm.BucketMountError], ['mount_error', 'COMMAND_NOT_FOUND', berm.BucketMountError], ['unmount_error', 'INVALID_MOUNT_CONFIG', berm.InvalidMountConfigError],
    ['unmount_error', 'BUCKET_UNMOUNT_ERROR', berm.BucketUnmountError]]) {
    const error = errorOf(502, JSON.stringify({ error: 'mount failed: x', code, context: { reason } }), 'mountBucket');
    assert.deepEqual([error.constructor, error.httpStatus, error.message], [type, 502, 'mount failed: x'], `${code} ${reason}`);
  }
});

describe('the JavaScript SDK with a daemon', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  const open = (name, options) => berm.getSandbox(api, name, options);
  before(async () => {
    daemon = await new Daemon().start();
    api = new berm.Berm({ url: daemon.url });
  });
  after(() => daemon.stop());

  test('a key is sent, a wrong one is refused', async () => {
    const other = await new Daemon().start();
    try {
      const { key } = await new berm.Berm({ url: other.url }).createKey({ label: 'test' });
      const sandbox = berm.getSandbox('keyed', { url: other.url, apiKey: key });
      assert.equal((await sandbox.exec('echo in')).stdout, 'in');
      const terminal = await sandbox.openTerminal();
      terminal.write('exit 4\r');
      assert.deepEqual(await terminal.exited, { code: 4 });
      const wrong = berm.getSandbox('keyed', { url: other.url, apiKey: 'wrong' });
      await assert.rejects(wrong.exec('true'), berm.UnauthorizedError);
      await assert.rejects(wrong.openTerminal(), berm.UnauthorizedError);
    } finally {
      await other.stop();
    }
  });

  test('options are sent before the first use, again after destroy, and tried again after a failure', async () => {
    const sandbox = open('with-options', { displayName: 'With options', labels: { of: 'options' }, sleepAfter: '7m', limits: { pids: 77 } });
    assert.equal(await sandbox.isRunning(), false);
    await sandbox.exec('true');
    const { labels, sleepAfter, limits } = await sandbox.describe();
    assert.deepEqual([labels, sleepAfter, limits.pids], [{ of: 'options' }, 420, 77]);
    assert.equal((await sandbox.describe()).name, 'With options');
    assert.equal((await sandbox.configure({ displayName: '' })).name, null);
    await sandbox.destroy();
    assert.deepEqual(await sandbox.getState(), { status: 'stopped', lastChange: 0 });
    await sandbox.exec('true');
    assert.equal((await sandbox.describe()).limits.pids, 77);
    assert.equal((await sandbox.getState()).status, 'healthy');
    await sandbox.destroy();
    const wrong = open('wrong-options', { limits: { pids: 0 } });
    for (let i = 0; i < 2; i++) await assert.rejects(wrong.exec('true'), (error) => error instanceof berm.InvalidRequestError && error.field === 'limits.pids');
  });

  test('without a default session nothing persists; output is raw', async () => {
    const sandbox = open('sessionless', { enableDefaultSession: false });
    const first = await sandbox.exec('cd /tmp; echo $PWD');
    assert.deepEqual([first.stdout, first.sessionId], ['/tmp\n', undefined]);
    assert.equal((await sandbox.exec('pwd')).stdout, '/workspace\n');
    await sandbox.destroy();
  });

  test('callbacks of exec and of processes', async () => {
    const sandbox = open('callbacks');
    const seen = [];
    const result = await sandbox.exec('echo out; sleep 0.05; echo err >&2; exit 3', { stream: true, onOutput: (...output) => seen.push(output), onComplete: ({ exitCode }) => seen.push(exitCode) });
    /* Two pipes have no order among each other; the end comes last. */
    assert.deepEqual([...seen.slice(0, -1).sort(), seen.at(-1)], [['stderr', 'err\n'], ['stdout', 'out\n'], 3]);
    assert.ok(berm.isExecResult(result));
    const told = [];
    await assert.rejects(sandbox.exec('true', { env: { '1A': 'x' }, onError: (error) => told.push(error.code) }), berm.CommandError);
    assert.deepEqual(told, ['COMMAND_EXECUTION_ERROR']);

    const events = [];
    const process = await sandbox.startProcess('echo hello; exit 2', {
      onStart: ({ id }) => events.push(typeof id), onOutput: (...output) => events.push(output), onExit: (code) => events.push(code),
    });
    assert.equal(events[0], 'string');
    await until('the exit', () => events.length === 3);
    assert.deepEqual(events.slice(1), [['stdout', 'hello\n'], 2]);
    assert.ok(berm.isProcess(process));
    assert.equal(await process.getStatus(), 'failed');
    await sandbox.destroy();
  });

  test('a process is waited for: a match over pieces, a limit of time, an early end', async () => {
    const sandbox = open('waiting');
    const process = await sandbox.startProcess('printf "port 30"; sleep 0.05; printf "00 is\\nopen" >&1; sleep 600', { processId: 'slow' });
    const { line, match } = await process.waitForLog(/port (\d+) is/g, 60000);
    assert.deepEqual([line, match[1]], ['port 3000 is', '3000']);
    await assert.rejects(process.waitForLog('never', 50), (error) => error instanceof berm.ProcessReadyTimeoutError && error.httpStatus === 408 && error.condition === '"never"' && error.timeout === 50);
    await assert.rejects(process.waitForPort(8099, { mode: 'tcp', timeout: 50 }), { condition: 'port 8099 (TCP)' });
    await assert.rejects(process.waitForExit(50), { condition: 'process exit' });
    assert.equal(await process.signal('SIGTERM') > 0, true);
    assert.deepEqual(await process.waitForExit(), { exitCode: 143 });
    await assert.rejects(process.waitForLog(/x/i), (error) => error instanceof berm.ProcessExitedBeforeReadyError && error.exitCode === 143 && error.condition === '/x/i');
    assert.equal(await sandbox.getProcess('unknown'), null);
    assert.deepEqual(await open('never-used').listProcesses(), []);
    assert.equal(await open('never-used').getProcess('any'), null);
    assert.equal(await open('never-used').isRunning(), false);
    await sandbox.destroy();
  });

  test('an aborted stream ends, and the command goes on', async () => {
    const sandbox = open('aborted');
    const controller = new AbortController();
    const reading = sandbox.exec('echo begun; until [ -e /workspace/go ]; do sleep 0.02; done; touch /workspace/done', { stream: true, onOutput: () => controller.abort(), signal: controller.signal });
    await assert.rejects(reading, /Operation was aborted/);
    await sandbox.writeFile('/workspace/go', '');
    await until('the command ends', async () => (await sandbox.exists('/workspace/done')).exists);
    await assert.rejects(sandbox.exec('true', { signal: AbortSignal.abort() }), /Operation was aborted/);
    await sandbox.destroy();
  });

  test('a sandbox that ends under a call is told as that', async () => {
    const sandbox = open('ending');
    const process = await sandbox.startProcess('sleep 60');
    const calls = [
      sandbox.exec('sleep 60', { sessionId: 'a' }), sandbox.exec('sleep 60', { sessionId: 'b', stream: true, onOutput: () => {} }),
      process.waitForExit(), process.waitForLog('never'), process.waitForPort(8099),
    ].map((call) => assert.rejects(call, (error) => error instanceof berm.OperationInterruptedError && error.reason === 'runtime_replaced'));
    calls.push(assert.rejects(sandbox.execArgv(['sleep', '60']), berm.RPCTransportError)); /* all that the bridge's stream can say */
    await until('all of them run', async () => (await sandbox.exec('cat /proc/[0-9]*/comm', { sessionId: 'c' })).stdout.split('\n').filter((name) => name === 'sleep').length === 4);
    await sandbox.destroy();
    await Promise.all(calls);
  });

  test('streams of files: large, kept modes, relative to the session, bytes as they are', async () => {
    const sandbox = open('streamed');
    const bytes = new Uint8Array(3 * 1024 * 1024).map((_, i) => i * 7 + (i >> 10));
    await sandbox.exec('mkdir -p /srv/d; cd /srv/d; printf x > run; chmod 755 run');
    await sandbox.writeFile('run', new Blob([bytes]).stream());
    assert.equal((await sandbox.exec('stat -c %a /srv/d/run; ls /srv/d')).stdout, '755\nrun');
    const { content, size } = await sandbox.readFile('run', { encoding: 'none' });
    const back = new Uint8Array(await new Response(content).arrayBuffer());
    assert.deepEqual([size, Buffer.compare(back, bytes)], [bytes.length, 0]);
    const { content: collected } = await berm.collectFile(await sandbox.readFileStream('run'));
    assert.equal(Buffer.compare(collected, bytes), 0);
    await assert.rejects(sandbox.readFile('nothing', { encoding: 'none' }), berm.FileNotFoundError);
    await assert.rejects(sandbox.writeFile('/proc/nothing', new Blob(['x']).stream()), berm.FileSystemError);
    await sandbox.destroy();
  });

  test('variables are set and unset for what is there and what comes', async () => {
    const sandbox = open('variables', { env: { KEPT: 'kept', GONE: 'gone' } });
    await sandbox.exec('true');
    await sandbox.setEnvVars({ WORD: "it's $HOME", GONE: undefined });
    const shown = 'printf "%s|%s|%s" "$KEPT" "$WORD" "${GONE-unset}"';
    assert.equal((await sandbox.exec(shown)).stdout, "kept|it's $HOME|unset");
    assert.equal((await sandbox.exec(shown, { sessionId: '__DISABLE_SESSION__' })).stdout, "kept|it's $HOME|unset");
    assert.deepEqual((await sandbox.describe()).env.sort(), ['KEPT', 'WORD']);
    const session = await sandbox.createSession({ id: 'own', env: { WORD: 'mine', SKIPPED: undefined } });
    assert.equal((await session.exec('printf "$KEPT|$WORD"')).stdout, 'kept|mine');
    await session.setEnvVars({ WORD: null });
    assert.equal((await session.exec('printf "${WORD-unset}"')).stdout, 'unset');
    for (const where of [sandbox, session]) await assert.rejects(where.setEnvVars({ 'X=1; touch /workspace/bad #': 'x' }), berm.SandboxSecurityError);
    await assert.rejects(sandbox.deleteSession('default'), /Cannot delete default session/);
    await assert.rejects(sandbox.exec('true', { sessionId: ' ' }), /must not be empty/);
    await sandbox.destroy();
  });

  test('labels are set and changed, events followed, parts of files read', async () => {
    const sandbox = open('followed');
    const everything = berm.parseSSEStream(await api.followEvents());
    await sandbox.setLabels({ a: '1', b: '2' });
    await sandbox.changeLabels({ a: null, c: '3' });
    assert.deepEqual((await sandbox.describe()).labels, { b: '2', c: '3' });
    await sandbox.writeFile('/workspace/part', '0123456789');
    const part = async (options) => text(await sandbox.readBytes('part', options));
    assert.deepEqual([await part({ offset: 2, length: 3 }), await part({ offset: 8 }), await part()], ['234', '89', '0123456789']);
    await assert.rejects(sandbox.readBytes('../etc/passwd'), TypeError);
    assert.ok((await sandbox.stats()).usage.pids > 0);
    const [first, ...later] = await sandbox.events();
    assert.equal(first.event, 'created');
    const own = berm.parseSSEStream(await sandbox.followEvents({ after: first.number }));
    await sandbox.destroy();
    const names = [];
    for await (const { event } of own) names.push(event);
    assert.deepEqual(names, [...later.map(({ event }) => event), 'destroyed']);
    for await (const { sandbox: id, event } of everything) if (id === sandbox.id && event === 'destroyed') break;
  });

  test('hosts are allowed and denied one after another', async () => {
    const sandbox = open('hosts');
    await Promise.all([sandbox.setAllowedHosts(['a.example']), sandbox.allowHost('*.b.example'), sandbox.denyHost('c.b.example'), sandbox.removeAllowedHost('a.example')]);
    assert.deepEqual((await sandbox.egress.get()).policy, { mode: 'deny', hosts: ['*.b.example'], deny: { hosts: ['c.b.example'] } });
    await sandbox.removeDeniedHost('c.b.example');
    assert.equal((await sandbox.egress.reset()).isDefault, true);
    await sandbox.destroy();
  });

  test('a terminal is resized, shared by its session, and left behind', async () => {
    const sandbox = open('terminals');
    const session = await sandbox.getSession('shared');
    const first = await session.openTerminal({ cols: 90, rows: 20 });
    let screen = '';
    const reading = (async () => { for await (const piece of first) screen += text(piece); })();
    first.resize(120, 40);
    first.write('stty size; echo in-$((40 + 2))\r');
    await until('the output', () => screen.includes('40 120\r\n') && screen.includes('in-42\r\n'));
    first.close();
    await reading;
    assert.equal(await first.exited, undefined);
    const second = await session.openTerminal();
    second.write('exit 5\r');
    let replayed = '';
    for await (const piece of second) replayed += text(piece);
    assert.match(replayed, /in-42/);
    assert.deepEqual(await second.exited, { code: 5 });
    await assert.rejects(sandbox.openTerminal({ shell: '/no/such' }), Error);
    await sandbox.destroy();
  });

  test('the control server is reached by fetch', async () => {
    const sandbox = open('fetched');
    const answer = await sandbox.containerFetch('http://localhost/api/execute', { method: 'POST', body: JSON.stringify({ command: 'echo fetched' }), headers: { 'content-type': 'application/json' } });
    assert.equal((await answer.json()).stdout, 'fetched');
    assert.equal((await (await sandbox.fetch(new Request('http://localhost/api/ping'))).json()).status, 'healthy');
    await sandbox.destroy();
  });

  test('the daemon: host, images, keys, secrets, pool, metrics, its description', async () => {
    assert.equal((await api.health()).ok, true);
    assert.equal(typeof (await api.host()).version, 'string');
    assert.ok((await api.images()).some((image) => image.default !== undefined));
    await api.setSecret('TOKEN', 'Bearer 12345678');
    assert.deepEqual((await api.secrets()).map(({ name }) => name), ['TOKEN']);
    await api.deleteSecret('TOKEN');
    assert.deepEqual(await api.secrets(), []);
    assert.equal(typeof (await api.poolStats()).warm, 'number');
    assert.deepEqual(await api.link(), { state: 'off' });
    assert.match(await api.metrics(), /^# (HELP|TYPE) /m);
    assert.equal((await api.openapi()).openapi, '3.1.0');
    assert.match(await api.newId(), /^[a-z2-7]{26}$/);
    for (const id of ['one', 'two', 'three']) await api.sandbox(id, { labels: { paged: 'yes' } }).start();
    const ids = [];
    for await (const { id } of api.sandboxes({ labels: { paged: null }, limit: 2 })) ids.push(id);
    assert.deepEqual(ids, ['one', 'two', 'three']);
    for (const id of ids) await api.sandbox(id).destroy();
  });
});
