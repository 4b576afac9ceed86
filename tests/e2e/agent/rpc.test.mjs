// The control API over Cap'n Web, with the published implementation of the protocol as the client.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { once } from 'node:events';
import http from 'node:http';
import { RpcTarget, newWebSocketRpcSession } from 'capnweb';
import { WebSocket } from 'ws';

import { test } from '../lib/test.mjs';
import { Agent, SESSIONLESS, sleep } from './helper.mjs';

globalThis.WebSocket ??= WebSocket; // which the client asks for its constants

const S = 'rpc-test';
let agent;
let socket;
let api;

// A session whose main object is `main`; its socket is open.
async function connect(main) {
  const ws = new WebSocket(`ws://127.0.0.1:${agent.port}/rpc`, { perMessageDeflate: false });
  await once(ws, 'open');
  return { ws, api: newWebSocketRpcSession(ws, main) };
}

before(async () => {
  agent = await Agent.start({ env: { SANDBOX_VERSION: '9.8.7', PATH: '/tmp/programs:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' } });
  ({ ws: socket, api } = await connect());
});
after(async () => {
  socket.close();
  await agent.stop();
});

async function collect(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

const eventsOf = (bytes) => [...bytes.toString().matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json));

async function until(condition, message) {
  const deadline = Date.now() + 60000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, message);
    await sleep(20);
  }
}

async function fails(promise, code, details) {
  const error = await promise.then((value) => assert.fail(`resolved: ${JSON.stringify(value)}`), (e) => e);
  assert.equal(error.code, code, `${error.message}`);
  for (const [key, value] of Object.entries(details ?? {})) assert.deepEqual(error.details[key], value);
  return error;
}

test('utils: ping, version, commands and sessions', async () => {
  assert.equal(await api.utils.ping(), 'healthy');
  assert.equal(await api.utils.getVersion(), '9.8.7');
  assert.deepEqual(await api.utils.getCommands(), []);
  const created = await api.utils.createSession({ id: S, env: { GREETING: 'hi' }, cwd: '/tmp', commandTimeoutMs: undefined });
  assert.deepEqual({ ...created, timestamp: '' },
    { success: true, id: S, message: `Session ${S} created`, timestamp: '', containerPlacementId: null });
  assert.match(created.timestamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  await fails(api.utils.createSession({ id: S }), 'SESSION_ALREADY_EXISTS', { sessionId: S, containerPlacementId: null });
  assert.ok((await api.utils.listSessions()).sessions.includes(S));
  await api.utils.createSession({ id: 'brief' });
  assert.equal((await api.utils.deleteSession('brief')).sessionId, 'brief');
  const error = await fails(api.utils.deleteSession('brief'), 'INTERNAL_ERROR');
  assert.match(error.message, /brief/);
});

test('commands.execute answers output and status, undefined options or none', async () => {
  const result = await api.commands.execute('echo $GREETING; echo no >&2; exit_ () { return 3; }; exit_', S, { timeoutMs: undefined, env: undefined });
  assert.deepEqual([result.success, result.exitCode, result.stdout.trim(), result.stderr.trim()], [false, 3, 'hi', 'no']);
  const free = await api.commands.execute('pwd; echo $A', SESSIONLESS, { env: { A: 'b', C: undefined }, cwd: '/' });
  assert.equal(free.stdout, '/\nb\n');
  await fails(api.commands.execute('sleep 20', SESSIONLESS, { timeoutMs: 'soon' }), 'VALIDATION_FAILED');
});

test('commands.executeStream is a stream of events', async () => {
  const events = eventsOf(await collect(await api.commands.executeStream('echo a; echo b >&2', S)));
  assert.equal(events[0].type, 'start');
  assert.deepEqual(events.at(-1).exitCode, 0);
  assert.equal(events.filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'a\n');
});

test('files: write, read, list, rename, move, mkdir, exists, delete', async () => {
  await api.files.mkdir('/tmp/rpc-files/deep', S, { recursive: true });
  const wrote = await api.files.writeFile('/tmp/rpc-files/a.txt', 'grüße', S, { encoding: undefined });
  assert.equal(wrote.bytesWritten, 7);
  const read = await api.files.readFile('/tmp/rpc-files/a.txt', S);
  assert.deepEqual([read.content, read.encoding, read.isBinary, read.size, read.mimeType], ['grüße', 'utf-8', false, 7, 'text/plain']);
  const renamed = await api.files.renameFile('/tmp/rpc-files/a.txt', '/tmp/rpc-files/b.txt', S);
  assert.deepEqual([renamed.oldPath, renamed.newPath, renamed.path], ['/tmp/rpc-files/a.txt', '/tmp/rpc-files/b.txt', '/tmp/rpc-files/a.txt']);
  await api.files.moveFile('/tmp/rpc-files/b.txt', '/tmp/rpc-files/deep', S);
  const listed = await api.files.listFiles('/tmp/rpc-files', S, { recursive: true });
  assert.deepEqual(listed.files.map((f) => f.relativePath).sort(), ['deep', 'deep/b.txt']);
  assert.equal((await api.files.exists('/tmp/rpc-files/deep/b.txt', S)).exists, true);
  await api.files.deleteFile('/tmp/rpc-files/deep/b.txt', S);
  await fails(api.files.readFile('/tmp/rpc-files/deep/b.txt', S, { encoding: undefined }), 'FILE_NOT_FOUND',
    { path: '/tmp/rpc-files/deep/b.txt', operation: 'file.read' });
  await fails(api.files.deleteFile('/tmp/rpc-files', S), 'IS_DIRECTORY');
  await fails(api.files.writeFile('', 'x', S), 'VALIDATION_FAILED');
});

function streamOf(bytes, size) {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + size));
      at += size;
    },
  });
}

test('ten megabytes go into a file as a stream and come back as bytes', async () => {
  const bytes = Buffer.alloc(10 << 20);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, i);
  const wrote = await api.files.writeFileStream('/tmp/rpc-big/new/file.bin', streamOf(new Uint8Array(bytes), 65536), S);
  assert.deepEqual([wrote.success, wrote.bytesWritten, wrote.path], [true, bytes.length, '/tmp/rpc-big/new/file.bin']);
  const read = await api.files.readFile('/tmp/rpc-big/new/file.bin', S, { encoding: 'none' });
  assert.deepEqual([read.size, read.mimeType, read.path], [bytes.length, 'application/octet-stream', '/tmp/rpc-big/new/file.bin']);
  assert.ok((await collect(read.content)).equals(bytes));
  assert.equal((await api.commands.execute('ls -A /tmp/rpc-big/new', S)).stdout, 'file.bin');
});

test('a streamed write keeps the mode, follows the session, and is nothing when it breaks off', async () => {
  await api.commands.execute('cd /tmp; echo old >mode.sh; chmod 750 mode.sh', S);
  await api.files.writeFileStream('mode.sh', streamOf(new TextEncoder().encode('new\n'), 2), S);
  assert.equal((await api.commands.execute('stat -c %a mode.sh; cat mode.sh', S)).stdout, '750\nnew');
  const broken = new ReadableStream({
    start(controller) { controller.enqueue(new Uint8Array(10)); },
    pull(controller) { controller.error(new Error('the source broke')); },
  });
  await assert.rejects(async () => api.files.writeFileStream('mode.sh', broken, S), /the source broke/);
  await until(async () => (await api.commands.execute('ls -A /tmp | grep -c berm-put', S)).stdout.trim() === '0', 'a temporary file stays');
  assert.equal((await api.commands.execute('cat mode.sh', S)).stdout, 'new');
  await fails(api.files.writeFileStream('/proc/nope/x', streamOf(new Uint8Array(200000), 1000), S), 'FILE_NOT_FOUND');
  await fails(api.files.writeFileStream('/tmp', streamOf(new Uint8Array(5), 5), S), 'FILESYSTEM_ERROR', { operation: 'file.write' });
  await fails(api.files.writeFileStream('x', 'no stream', S), 'VALIDATION_FAILED');
});

test('files.readFileStream is events, and a rejection when there is no file', async () => {
  await api.files.writeFile('/tmp/small.txt', 'text', S);
  const events = eventsOf(await collect(await api.files.readFileStream('/tmp/small.txt', S)));
  assert.deepEqual(events.map((e) => e.type), ['metadata', 'chunk', 'complete']);
  await fails(api.files.readFileStream('/tmp/none', S), 'FILE_NOT_FOUND', { path: '/tmp/none', operation: 'file.read' });
});

test('processes: start, look, logs, follow, kill', async () => {
  const started = await api.processes.startProcess('echo begun; sleep 100', S, { processId: 'p1', env: { X: '1' } });
  assert.equal(started.processId, 'p1');
  assert.equal((await api.processes.getProcess('p1')).process.status, 'running');
  const stream = await api.processes.streamProcessLogs('p1');
  await until(async () => (await api.processes.getProcessLogs('p1')).stdout.includes('begun'), 'no output');
  assert.ok((await api.processes.listProcesses()).processes.some((p) => p.id === 'p1'));
  await api.processes.killProcess('p1');
  const events = eventsOf(await collect(stream));
  assert.equal(events.at(-1).type, 'exit');
  await fails(api.processes.getProcess('none'), 'PROCESS_NOT_FOUND', { processId: 'none' });
  const odd = 'my process/100% "é"?&id=p1';
  await api.processes.startProcess('echo odd', S, { processId: odd });
  await until(async () => (await api.processes.getProcess(odd)).process.status === 'completed', 'it does not end');
  assert.equal((await api.processes.getProcessLogs(odd)).stdout, 'odd\n');
  assert.equal(typeof (await api.processes.killAllProcesses()).cleanedCount, 'number');
});

test('a stream that the client cancels ends at the producer', async () => {
  await api.processes.startProcess('while :; do echo tick; sleep 0.01; done', S, { processId: 'ticks' });
  const reader = (await api.processes.streamProcessLogs('ticks')).getReader();
  await reader.read();
  await reader.cancel(new Error('enough'));
  await api.processes.killProcess('ticks');
  assert.equal(await api.utils.ping(), 'healthy');
});

test('watch tells of changes, and of a path that is not there', async () => {
  await api.files.mkdir('/workspace/watched', S);
  const reader = (await api.watch.watch({ path: '/workspace/watched', recursive: undefined, sessionId: S })).getReader();
  let text = '';
  const read = async (wanted) => {
    while (!wanted.test(text)) text += Buffer.from((await reader.read()).value).toString();
  };
  await read(/"type":"watching"/);
  await api.files.writeFile('/workspace/watched/new.txt', 'x', S);
  await read(/"path":"[^"]*new\.txt"/);
  await reader.cancel();
  assert.equal((await api.watch.checkChanges({ path: '/workspace/watched' })).success, true);
  await fails(api.watch.watch({ path: '/workspace/not-there' }), 'FILE_NOT_FOUND');
});

test('ports.watchPort tells when a port is ready', async () => {
  const stream = await api.ports.watchPort({ port: agent.port, mode: 'tcp', interval: 100 });
  const events = eventsOf(await collect(stream));
  assert.deepEqual(events.map((e) => e.type), ['watching', 'ready']);
});

test('git.checkout and backup answer the errors of their routes', async () => {
  await fails(api.git.checkout('', S, { branch: undefined, targetDir: undefined, depth: undefined }), 'INVALID_GIT_URL');
  await fails(api.backup.createArchive('relative', '/var/backups/x.sqsh', S, {}), 'INVALID_BACKUP_CONFIG');
  await fails(api.backup.uploadParts({ archivePath: '/var/backups/x.sqsh', parts: [] }), 'INVALID_BACKUP_CONFIG');
});

test('the interpreter runs code and calls back, in order', async () => {
  const context = await api.interpreter.createCodeContext({ language: 'javascript', cwd: undefined });
  assert.ok(context.createdAt instanceof Date && context.lastUsed instanceof Date);
  assert.equal(context.language, 'javascript');
  const heard = [];
  const hear = (name) => (payload) => { heard.push([name, payload]); };
  await api.interpreter.runCodeStream(context.id, 'console.log("a"); console.error("b"); 40 + 2', 'javascript',
    { onStdout: hear('out'), onStderr: hear('err'), onResult: hear('result'), onError: hear('error') });
  assert.equal(heard.filter(([n]) => n === 'out').map(([, p]) => p.text).join(''), 'a\n');
  assert.equal(heard.filter(([n]) => n === 'err').map(([, p]) => p.text).join(''), 'b\n');
  assert.equal(heard.find(([n]) => n === 'result')[1].text, '42');
  assert.equal(typeof heard[0][1].timestamp, 'number');
  heard.length = 0;
  await api.interpreter.runCodeStream(context.id, 'throw new RangeError("too far")', undefined, { onError: hear('error') });
  assert.deepEqual([heard[0][1].name, heard[0][1].message], ['RangeError', 'too far']);
  assert.ok(Array.isArray(heard[0][1].traceback));
  const events = eventsOf(await collect(await api.interpreter.streamCode(context.id, '1 + 1', 'javascript')));
  assert.ok(events.some((e) => e.type === 'result' && e.text === '2'));
  assert.ok((await api.interpreter.listCodeContexts()).some((c) => c.id === context.id && c.createdAt instanceof Date));
  await assert.rejects(async () => api.interpreter.runCodeStream(context.id, 'console.log(1)', undefined, { onStdout() { throw new Error('no more'); } }), /no more/);
  assert.equal(await api.interpreter.deleteCodeContext(context.id), undefined);
  await fails(api.interpreter.runCodeStream(context.id, '1', 'javascript', {}), 'CONTEXT_NOT_FOUND', { contextId: context.id });
  await fails(api.interpreter.runCodeStream(undefined, '1', 'javascript', {}), 'CONTEXT_NOT_FOUND');
});

// --- tunnels

const legacyError = (error) => JSON.parse(error.message);
const rejected = (promise) => promise.then((value) => assert.fail(`resolved: ${JSON.stringify(value)}`), (e) => e);
const run = { tunnelId: 'quick-1', runId: 'run-1', mode: 'quick', port: 8123 };

test('tunnels without a cloudflared say so in the form that the SDK reads', async () => {
  const error = legacyError(await rejected(api.tunnels.ensureTunnelRun(run)));
  assert.deepEqual([error.code, error.context], ['CLOUDFLARED_NOT_FOUND',
    { tunnelId: 'quick-1', runId: 'run-1', port: 8123, binary: 'cloudflared' }]);
  assert.deepEqual(await api.tunnels.listTunnels(), []);
  assert.deepEqual(await api.tunnels.stopTunnelRun({ tunnelId: 'quick-1', runId: 'run-1' }), { stopped: false });
  assert.equal(legacyError(await rejected(api.tunnels.destroyTunnel('none'))).code, 'TUNNEL_NOT_FOUND');
  await fails(api.tunnels.ensureTunnelRun({ ...run, port: 70000 }), 'VALIDATION_FAILED');
  await fails(api.tunnels.ensureTunnelRun({ ...run, mode: 'odd' }), 'VALIDATION_FAILED');
});

// Prints what cloudflared prints, and has a metrics server as it has.
const standIn = `#!/usr/bin/env python3
import http.server, json, sys
class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({'status': 200, 'readyConnections': 1 if self.path == '/ready' else 0}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(('127.0.0.1', 0), Metrics)
print(json.dumps({'level': 'info', 'message': 'Starting metrics server on 127.0.0.1:%d/metrics' % server.server_port}), file=sys.stderr, flush=True)
if '--token' not in sys.argv:
    print(json.dumps({'message': '|  https://some-fine-words.trycloudflare.com  |'}), file=sys.stderr, flush=True)
server.serve_forever()
`;

async function installStandIn() {
  await api.files.writeFile('/tmp/programs/cloudflared', standIn, S);
  await api.commands.execute('chmod 755 /tmp/programs/cloudflared', S);
}

test('a cloudflared on the PATH is used, one run a port, and its end is told', async () => {
  await installStandIn();
  const exits = [];
  class Control extends RpcTarget {
    onTunnelExit(...args) { exits.push(args); }
  }
  const { ws, api: other } = await connect(new Control());
  const [first, second] = await Promise.all([other.tunnels.ensureTunnelRun(run), other.tunnels.ensureTunnelRun(run)]);
  assert.deepEqual([first.started, second.started], [true, false]);
  assert.deepEqual({ ...first.run, startedAt: '' }, { ...run, startedAt: '',
    url: 'https://some-fine-words.trycloudflare.com', hostname: 'some-fine-words.trycloudflare.com' });
  const conflict = legacyError(await rejected(other.tunnels.ensureTunnelRun({ ...run, runId: 'run-2' })));
  assert.deepEqual([conflict.code, conflict.context.activeRunId], ['TUNNEL_RUN_CONFLICT', 'run-1']);
  assert.deepEqual(await other.tunnels.stopTunnelRun({ ...run, runId: 'other' }), { stopped: false });
  assert.deepEqual(await other.tunnels.stopTunnelRun(run), { stopped: true });
  await until(() => exits.length === 1, 'no exit was told');
  assert.deepEqual(exits[0], ['quick-1', 8123, null, 'run-1']);

  const named = await other.tunnels.runNamedTunnel('uuid', 'secret-token', 8124);
  assert.deepEqual({ ...named, createdAt: '' }, { id: 'uuid', port: 8124, url: '', hostname: '', createdAt: '' });
  assert.equal((await other.tunnels.listTunnels()).length, 1);
  assert.equal(legacyError(await rejected(other.tunnels.runQuickTunnel('uuid', 8125))).code, 'TUNNEL_ALREADY_RUNNING');
  await other.commands.execute('pkill -9 -f "cloudflared tunnel"', S);
  await until(() => exits.length === 2, 'no exit was told');
  assert.deepEqual(exits[1], ['uuid', 8124, null]);
  assert.deepEqual(await other.tunnels.listTunnels(), []);

  await other.tunnels.runQuickTunnel('quick-2', 8126);
  assert.deepEqual(await other.tunnels.destroyTunnel('quick-2'), { success: true, id: 'quick-2' });
  await api.files.deleteFile('/tmp/programs/cloudflared', S);
  ws.close();
});

// --- the connection

test('an older connection that closes leaves the control callback of the newer one', async () => {
  await installStandIn();
  const exits = [];
  class Control extends RpcTarget {
    onTunnelExit(...args) { exits.push(args); }
  }
  const older = await connect(new Control());
  await older.api.utils.ping();
  const newer = await connect(new Control());
  await newer.api.tunnels.ensureTunnelRun(run);
  older.ws.close();
  await once(older.ws, 'close');
  await newer.api.tunnels.stopTunnelRun(run);
  await until(() => exits.length === 1, 'no exit was told');
  await api.files.deleteFile('/tmp/programs/cloudflared', S);
  newer.ws.close();
});

test('an unknown method or namespace is a TypeError, and a namespace can be kept', async () => {
  await assert.rejects(async () => api.utils.nope(), TypeError);
  await assert.rejects(async () => api.nope.nope(), TypeError);
  const utils = await api.utils;
  assert.equal(await utils.ping(), 'healthy');
  utils[Symbol.dispose]();
});

test('everything is released when all is done', async () => {
  const ws = new WebSocket(`ws://127.0.0.1:${agent.port}/rpc`, { perMessageDeflate: false });
  const seen = [];
  ws.on('message', (data) => seen.push(JSON.parse(data)));
  await once(ws, 'open');
  ws.send('["push",["pipeline",0,["commands","executeStream"],["echo x","' + S + '"]]]');
  ws.send('["pull",1]');
  await until(() => seen.some((m) => m[0] === 'stream' && m[1][2][0] === 'close'), 'no close');
  const id = seen.filter((m) => m[0] === 'pipe' || m[0] === 'stream').length;
  for (let i = 2; i <= id; i++) ws.send(`["resolve",${i},["undefined"]]`);
  await until(() => seen.some((m) => m[0] === 'release' && m[1] === 1), 'the pipe is not released');
  ws.close();
  await once(ws, 'close');
});

test('a broken message ends the session with a reason, binary ones too, and the server lives on', async () => {
  for (const [message, expected] of [['not json', /^SyntaxError /], ['["bogus",1]', /^Error bad RPC message/], [Buffer.from('x'), /^TypeError Received non-string/]]) {
    const ws = new WebSocket(`ws://127.0.0.1:${agent.port}/rpc`, { perMessageDeflate: false });
    const heard = [];
    ws.on('message', (data) => heard.push(JSON.parse(data)));
    await once(ws, 'open');
    ws.send(message);
    const [code] = await once(ws, 'close');
    assert.equal(code, 3000);
    assert.match(`${heard[0][1][1]} ${heard[0][1][2]}`, expected);
  }
  assert.equal(await api.utils.ping(), 'healthy');
});

test('calls go on when their connection is gone, streams end', async () => {
  const { ws, api: other } = await connect();
  other.commands.execute('sleep 0.5; touch /tmp/went-on', 'lonely').catch(() => {});
  await api.commands.execute('rm -f /tmp/watched-end', S);
  await (await other.watch.watch({ path: '/workspace' })).getReader().read();
  ws.terminate();
  await until(async () => (await api.files.exists('/tmp/went-on', S)).exists, 'the command did not go on');
});

test('a request without an upgrade is a 404, a broken upgrade a 503', async () => {
  assert.equal((await agent.get('/rpc')).status, 404);
  const status = await new Promise((done, fail) => {
    const request = http.request({ host: '127.0.0.1', port: agent.port, path: '/rpc', headers: { Connection: 'Upgrade', Upgrade: 'websocket' } }, (response) => {
      response.resume();
      done(response.statusCode);
    });
    request.on('error', fail);
    request.end();
  });
  assert.equal(status, 503);
});

test('a thousand calls at once are all answered', async () => {
  const results = await Promise.all(Array.from({ length: 900 }, (_, i) => api.commands.execute(`echo ${i}`, S)));
  assert.deepEqual(results.map((r) => r.stdout.trim()), Array.from({ length: 900 }, (_, i) => String(i)));
});

test('a message of thirty megabytes is taken, and the file is whole', async () => {
  const content = 'x'.repeat(30 << 20);
  await api.files.writeFile('/tmp/thirty', content, S);
  assert.equal((await api.commands.execute('stat -c %s /tmp/thirty', S)).stdout.trim(), String(30 << 20));
  assert.equal((await api.files.readFile('/tmp/thirty', S, { encoding: 'utf-8' })).content.length, 30 << 20);
  await api.files.deleteFile('/tmp/thirty', S);
});
