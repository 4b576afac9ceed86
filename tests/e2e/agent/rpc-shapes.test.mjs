/*
 * What each method of the control API answers, to the member, and what its streams say (container-control-rpc.md, 3 and 4):
 * clients of other makers read what is written there and nothing else.
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { once } from 'node:events';
import { newWebSocketRpcSession } from 'capnweb';
import { WebSocket } from 'ws';

import { test } from '../lib/test.mjs';
import { freePort } from '../lib/ports.mjs';
import { Agent, SESSIONLESS } from './helper.mjs';

globalThis.WebSocket ??= WebSocket; // which the client asks for its constants

const S = 'shapes';
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
let agent;
let ws;
let api;

before(async () => {
  agent = await Agent.start({ env: { CLOUDFLARE_PLACEMENT_ID: 'place' } });
  ws = new WebSocket(`ws://127.0.0.1:${agent.port}/rpc`, { perMessageDeflate: false });
  await once(ws, 'open');
  api = newWebSocketRpcSession(ws);
});
after(async () => {
  ws.close();
  await agent.stop();
});

/* A timestamp is one, and is left out of what is compared. */
function without(answer) {
  const { timestamp, ...rest } = answer;
  assert.match(timestamp, STAMP);
  return rest;
}

async function textOf(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/* What of `members` is otherwise in an answer that may hold more, as those of the routes do. */
function holds(answer, members) {
  assert.match(answer.timestamp, STAMP);
  return Object.fromEntries(Object.entries(members).filter(([key, value]) => answer[key] !== value));
}

/* [[event, data]], the event undefined where there is no such line; nothing else may be in a stream, but comments. */
async function eventsOf(stream) {
  return (await textOf(stream)).split('\n\n').filter((block) => block && !block.startsWith(':')).map((block) => {
    const [, event, data] = /^(?:event: (\w+)\n)?data: (.*)$/.exec(block);
    return [event, JSON.parse(data)];
  });
}

async function failureOf(promise) {
  return promise.then((value) => assert.fail(`resolved: ${JSON.stringify(value)}`), (e) => [e.code, e.details, e.message]);
}

test('utils', async () => {
  assert.deepEqual(without(await api.utils.createSession({ id: S, env: undefined, cwd: undefined })),
    { success: true, id: S, message: `Session ${S} created`, containerPlacementId: 'place' });
  assert.deepEqual((await failureOf(api.utils.createSession({ id: S }))).slice(0, 2), ['SESSION_ALREADY_EXISTS', { sessionId: S, containerPlacementId: 'place' }]);
  await api.utils.createSession({ id: 'gone' });
  assert.deepEqual(without(await api.utils.deleteSession('gone')), { success: true, sessionId: 'gone' });
  assert.deepEqual(await failureOf(api.utils.deleteSession('gone')).then(([code, , words]) => [code, words]), ['INTERNAL_ERROR', "Session 'gone' not found"]);
  assert.equal(await api.utils.getVersion(), 'unknown');
});

test('commands: results and streams', async () => {
  assert.deepEqual(holds(await api.commands.execute('echo x', S), { success: true, exitCode: 0, stdout: 'x', stderr: '', command: 'echo x' }), {});
  assert.deepEqual(holds(await api.commands.execute('exit 3', SESSIONLESS, undefined), { success: false, exitCode: 3, stdout: '', stderr: '', command: 'exit 3' }), {});
  const events = await eventsOf(await api.commands.executeStream('echo x; false', S));
  assert.ok(events.every(([event, data]) => event === data.type && STAMP.test(data.timestamp)));
  const [start, out, complete] = events.map(([, data]) => data);
  assert.deepEqual(Object.keys(without(start)).sort(), ['command', 'pid', 'sessionId', 'type']);
  assert.deepEqual([start.command, start.sessionId, Number.isInteger(start.pid)], ['echo x; false', S, true]);
  assert.deepEqual([without(out), complete.type, complete.exitCode], [{ type: 'stdout', data: 'x\n' }, 'complete', 1]);
  const listed = (await api.processes.listProcesses()).processes.find(({ command }) => command === 'echo x; false');
  assert.deepEqual([listed.status, listed.exitCode], ['failed', 1]);
  const killed = await eventsOf(await api.commands.executeStream('kill -9 $$', SESSIONLESS));
  assert.equal(killed.at(-1)[1].exitCode, 137);
  const [code, , words] = await failureOf(api.commands.execute('sleep 600', S, { timeoutMs: 50 }));
  assert.equal(code, 'COMMAND_EXECUTION_ERROR');
  assert.match(words, /Command timeout after 50ms/);
  const late = await api.commands.execute('echo begun; exec sleep 600', SESSIONLESS, { timeoutMs: 50 });
  assert.deepEqual([late.success, late.exitCode, /Command timed out after 50ms/.test(late.stderr)], [false, 124, true]);
  await api.utils.deleteSession(S);
});

test('sessions: one that ended is told with its code, and made anew', async () => {
  const [code, details, words] = await failureOf(api.commands.execute('exit 7', 'ends'));
  assert.deepEqual([code, details.sessionId, details.exitCode], ['SESSION_TERMINATED', 'ends', 7]);
  assert.match(words, /Session 'ends' shell exited \(exit code: 7\)/);
  assert.equal((await api.commands.execute('echo on', 'ends')).stdout, 'on');
  assert.notEqual((await failureOf(api.commands.execute('true', ' ')))[0], undefined);
});

test('files: results', async () => {
  const place = '/tmp/shapes';
  assert.deepEqual(without(await api.files.mkdir(place, S)), { success: true, path: place, recursive: false });
  assert.deepEqual(without(await api.files.writeFile(`${place}/a.txt`, 'grüße', S)), { success: true, path: `${place}/a.txt`, bytesWritten: 7 });
  assert.deepEqual(without(await api.files.writeFile(`${place}/b.bin`, 'AAECAw==', S, { encoding: 'base64' })), { success: true, path: `${place}/b.bin`, bytesWritten: 8 });
  assert.deepEqual(without(await api.files.readFile(`${place}/a.txt`, S, { encoding: undefined })),
    { success: true, content: 'grüße', path: `${place}/a.txt`, encoding: 'utf-8', isBinary: false, size: 7, mimeType: 'text/plain' });
  assert.deepEqual(without(await api.files.readFile(`${place}/b.bin`, SESSIONLESS)),
    { success: true, content: 'AAECAw==', path: `${place}/b.bin`, encoding: 'base64', isBinary: true, size: 4, mimeType: 'application/octet-stream' });
  const { content, ...raw } = without(await api.files.readFile(`${place}/b.bin`, S, { encoding: 'none' }));
  assert.deepEqual(raw, { success: true, path: `${place}/b.bin`, size: 4, mimeType: 'application/octet-stream' });
  assert.equal(await textOf(content), '\x00\x01\x02\x03');
  assert.deepEqual(without(await api.files.renameFile(`${place}/b.bin`, `${place}/c.bin`, S)),
    { success: true, path: `${place}/b.bin`, oldPath: `${place}/b.bin`, newPath: `${place}/c.bin` });
  assert.deepEqual(without(await api.files.moveFile(`${place}/c.bin`, `${place}/d.bin`, S)), { success: true, path: `${place}/c.bin`, newPath: `${place}/d.bin` });
  const { files, ...list } = without(await api.files.listFiles(place, S, { recursive: undefined }));
  assert.deepEqual([list, files.map(({ name }) => name).sort()], [{ success: true, count: 2, path: place }, ['a.txt', 'd.bin']]);
  assert.deepEqual(Object.keys(files[0]).sort(), ['absolutePath', 'mode', 'modifiedAt', 'name', 'permissions', 'relativePath', 'size', 'type']);
  assert.deepEqual(without(await api.files.exists(`${place}/none`, S)), { success: true, exists: false, path: `${place}/none` });
  assert.deepEqual(without(await api.files.deleteFile(`${place}/d.bin`, S)), { success: true, path: `${place}/d.bin` });
  assert.deepEqual(await eventsOf(await api.files.readFileStream(`${place}/a.txt`, S)), [
    [undefined, { type: 'metadata', mimeType: 'text/plain', size: 7, isBinary: false, encoding: 'utf-8' }],
    [undefined, { type: 'chunk', data: 'grüße' }], [undefined, { type: 'complete', bytesRead: 7 }]]);
});

test('files: what fails, with the operation that failed', async () => {
  const none = '/tmp/none/x';
  for (const [call, operation] of [[api.files.readFile(none, S), 'file.read'], [api.files.deleteFile(none, S), 'file.delete'],
    [api.files.renameFile(none, '/tmp/y', S), 'file.rename'], [api.files.moveFile(none, '/tmp/y', S), 'file.move'], [api.files.listFiles(none, S), 'directory.list']]) {
    const [code, details] = await failureOf(call);
    assert.deepEqual([code, details.path, details.operation], ['FILE_NOT_FOUND', none, operation]);
  }
  const [invalid, { validationErrors }] = await failureOf(api.files.readFile('a\0b', S));
  assert.deepEqual([invalid, validationErrors[0].field, typeof validationErrors[0].message], ['VALIDATION_FAILED', 'path', 'string']);
});

test('processes: results and streams', async () => {
  const started = await api.processes.startProcess('echo out; echo err >&2; exit 4', S, { processId: undefined, timeoutMs: undefined, encoding: undefined, autoCleanup: undefined });
  const { processId, pid } = started;
  assert.deepEqual(without(started), { success: true, processId, pid, command: 'echo out; echo err >&2; exit 4' });
  assert.match(processId, /^proc_\d+_\w{6}$/);
  const events = await eventsOf(await api.processes.streamProcessLogs(processId));
  assert.ok(events.every(([event, data]) => event === undefined && data.processId === processId));
  assert.deepEqual(events.filter(([, { type }]) => type !== 'process_info').map(([, { type, data, exitCode }]) => [type, exitCode ?? data]).sort(), [['exit', 4], ['stderr', 'err\n'], ['stdout', 'out\n']]);
  const { process } = await api.processes.getProcess(processId);
  assert.match(process.startTime, STAMP);
  assert.deepEqual([process.id, process.pid, process.command, process.status, process.exitCode], [processId, pid, started.command, 'failed', 4]);
  assert.deepEqual(holds(await api.processes.getProcessLogs(processId), { success: true, processId, stdout: 'out\n', stderr: 'err\n' }), {});
  const runs = await api.processes.startProcess('exec sleep 600', S);
  const shown = (await api.processes.getProcess(runs.processId)).process;
  assert.deepEqual([shown.status, shown.exitCode], ['running', undefined]);
  assert.deepEqual(without(await api.processes.killProcess(runs.processId)), { success: true, processId: runs.processId });
  assert.deepEqual(without(await api.processes.killAllProcesses()), { success: true, cleanedCount: 0 });
  for (const method of ['getProcess', 'killProcess', 'getProcessLogs', 'streamProcessLogs'])
    assert.deepEqual((await failureOf(api.processes[method]('nobody'))).slice(0, 2), ['PROCESS_NOT_FOUND', { processId: 'nobody' }], method);
  assert.equal((await failureOf(api.processes.startProcess(' ', S)))[0], 'INVALID_COMMAND');
});

test('ports: ready with its status, an end of the process, a process that is not there', async () => {
  assert.deepEqual((await eventsOf(await api.ports.watchPort({ port: agent.port, mode: 'http', path: '/none', statusMin: 404, statusMax: 404 }))).map(([, data]) => data),
    [{ type: 'watching', port: agent.port }, { type: 'ready', port: agent.port, statusCode: 404 }]);
  const port = await freePort();
  const { processId } = await api.processes.startProcess('exit 5', S);
  const ended = (await eventsOf(await api.ports.watchPort({ port, mode: 'tcp', processId }))).map(([, data]) => data);
  assert.deepEqual(ended, [{ type: 'watching', port }, { type: 'process_exited', port, exitCode: 5 }]);
  const unknown = (await eventsOf(await api.ports.watchPort({ port, mode: 'tcp', processId: 'nobody' }))).map(([, data]) => data).at(-1);
  assert.deepEqual([unknown.type, unknown.port, unknown.error], ['error', port, 'Process not found']);
});

test('watches: events and versions', async () => {
  await api.files.mkdir('/workspace/shapes', S);
  const stream = await api.watch.watch({ path: '/workspace/shapes', recursive: undefined, include: undefined, exclude: undefined, events: undefined, sessionId: S });
  await api.files.writeFile('/workspace/shapes/x', '', S);
  let text = '';
  for await (const piece of stream) {
    text += Buffer.from(piece);
    if (text.includes('"eventType":"create"') && text.endsWith('\n\n')) break;
  }
  const [watching, event] = text.split('\n\n').filter((block) => !block.startsWith(':')).map((block) => block && JSON.parse(block.replace(/^data: /, '')));
  assert.deepEqual([Object.keys(watching).sort(), watching.type, watching.path], [['path', 'type', 'watchId'], 'watching', '/workspace/shapes']);
  assert.deepEqual(without(event), { type: 'event', eventType: 'create', path: '/workspace/shapes/x', isDirectory: false });
  const first = await api.watch.checkChanges({ path: '/workspace/shapes', since: undefined });
  assert.deepEqual([Object.keys(first).sort(), first.status], [['status', 'success', 'timestamp', 'version'], 'unchanged']);
  assert.match(first.version, /^watch-\d+-\d+:\d+$/);
  const [code, { validationErrors }] = await failureOf(api.watch.checkChanges({ path: '/workspace/shapes', since: 'x' }));
  assert.deepEqual([code, Array.isArray(validationErrors) || validationErrors === undefined], ['VALIDATION_FAILED', true]);
});

test('backups: what is wrong with their paths', async () => {
  const archivePath = '/var/backups/00000000-0000-4000-8000-000000000001.sqsh';
  for (const [dir, archive] of [['relative', archivePath], ['/workspace/../etc', archivePath], ['/workspace/saved', '/etc/x.sqsh']])
    assert.equal((await failureOf(api.backup.createArchive(dir, archive, S, {})))[0], 'INVALID_BACKUP_CONFIG', dir);
  const [code, details] = await failureOf(api.backup.createArchive('/workspace/none', archivePath, S, {}));
  assert.deepEqual([code, details.dir], ['BACKUP_CREATE_FAILED', '/workspace/none']);
});

test('an unregistered code goes in the message, where the published client looks for it', async () => {
  const legacy = JSON.parse((await failureOf(api.tunnels.ensureTunnelRun({ tunnelId: 't', runId: 'r', mode: 'quick', port: 8123 })))[2]);
  assert.deepEqual([legacy.code, legacy.context.binary, typeof legacy.message], ['CLOUDFLARED_NOT_FOUND', 'cloudflared', 'string']);
});
