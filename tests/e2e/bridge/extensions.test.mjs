/* The extension routes: processes, code, files, watching, git and ports of a sandbox, in the SDK's shapes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, hasImage, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

/* The events of a stream in the SDK's layout: lines "data: {...}" and nothing else but comments. */
function dataEvents(text) {
  return text.split('\n\n').slice(0, -1).filter((block) => !block.startsWith(':')).map((block) => {
    assert.ok(block.startsWith('data: '), block);
    return JSON.parse(block.slice(6));
  });
}

/* The image with Python, where it is installed. */
const full = hasImage('base') ? 'base' : undefined;

describe('extension routes', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  const at = (path, id = 'ext') => `/v1/sandbox/${id}/${path}`;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-max-memory', '2GiB'] }).start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  /* An open stream: its events as they come. */
  async function stream(method, path, body) {
    const request = api.open(method, path, { agent: false });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = await once(request, 'response');
    return { request, response };
  }

  test('execute answers the whole result, in the session of the field', async () => {
    const plain = await api.post(at('execute'), { command: 'echo out; echo err >&2; (exit 3)' });
    assert.equal(plain.status, 200, plain.text);
    assert.equal(plain.headers['berm-generation'], '1');
    assert.deepEqual([plain.json.success, plain.json.exitCode, plain.json.stdout, plain.json.stderr], [false, 3, 'out', 'err']);
    const headers = { 'session-id': 'work' };
    await api.post(at('execute'), { command: 'cd /tmp; export MARK=yes' }, { headers });
    assert.equal((await api.post(at('execute'), { command: 'echo $PWD $MARK' }, { headers })).json.stdout, '/tmp yes');
    assert.equal((await api.post(at('execute'), { command: 'echo $PWD $MARK' })).json.stdout, '/workspace');
    assert.ok((await api.get(at('sessions'))).json.data.includes('work'));
  });

  test('exec-stream tells output as events', async () => {
    const response = await api.post(at('exec-stream'), { command: 'echo one; sleep 0.1; echo two; (exit 4)', sessionId: 'work' });
    assert.equal(response.headers['content-type'], 'text/event-stream');
    const events = dataEvents(response.text);
    assert.equal(events[0].type, 'start');
    assert.equal(events.filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'one\ntwo\n');
    assert.deepEqual([events.at(-1).type, events.at(-1).exitCode], ['complete', 4]);
  });

  test('a process is started, found, fed, followed, signalled and killed', async () => {
    const started = await api.post(at('processes'), { command: 'cat', processId: 'list', stdin: true });
    assert.equal(started.status, 200, started.text);
    /* "list" and "kill-all" are routes of the control server and may all the same be ids. */
    assert.equal((await api.get(at('processes/list'))).json.process.id, 'list');
    assert.ok((await api.get(at('processes'))).json.processes.some((p) => p.id === 'list' && p.status === 'running'));
    assert.equal((await api.post(at('processes/list/input'), { data: 'hello\n' })).status, 200);
    await until('the echo', async () => (await api.get(at('processes/list/logs'))).json.stdout === 'hello\n');
    assert.equal((await api.get(at('processes/list/logs?from=3'))).json.stdout, 'lo\n');
    assert.equal((await api.post(at('processes/list/input'), { close: true })).status, 200);
    const followed = dataEvents((await api.get(at('processes/list/stream?from=3'))).text);
    assert.equal(followed.filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'lo\n');
    assert.deepEqual([followed.at(-1).type, followed.at(-1).exitCode], ['exit', 0]);

    assert.equal((await api.get(at('processes/a%2Fb'))).status, 400, 'a slash in an id');
    await api.post(at('processes'), { command: 'sleep 100', processId: 'a&signal=x' });
    const other = encodeURIComponent('a&signal=x');
    assert.equal((await api.get(at(`processes/${other}`))).json.process.id, 'a&signal=x');
    assert.ok((await api.post(at(`processes/${other}/signal`), { signal: 'SIGWINCH' })).json.signalled > 0);
    await api.post(at('processes'), { command: 'sleep 100', processId: 'kill-all' });
    assert.equal((await api.delete(at('processes/kill-all?signal=SIGKILL'))).json.processId, 'kill-all');
    assert.equal((await api.delete(at('processes'))).json.cleanedCount, 1);
    assert.deepEqual((await api.get(at('processes?status=running'))).json.processes, []);
  });

  /*
   * A process is found by a mark that its whole tree carries (src/agent/process/process_mark.h): here, where the system calls are filtered and there are no
   * capabilities, as in the agent's own tests, and it is nothing that one process can use against another one.
   */
  test('a kill takes daemons along, and nobody else, whatever they do to their limits', async () => {
    const run = async (command) => (await api.post(at('execute'), { command, sessionId: 'looks' })).json.stdout.trim();
    const named = (tag) => run(`grep -slz "^${tag}$" /proc/[0-9]*/cmdline | cut -d/ -f3`);
    const markOf = (pid) => run(`awk '/^Max file locks/ && $4 != "unlimited" { print $4 }' /proc/${pid}/limits`);
    const daemon = (tag) => `(setsid bash -c "sleep ${tag} & exit" </dev/null >/dev/null 2>&1 &)`;
    const start = async (command, session = {}) => (await api.post(at('processes'), { command, ...session })).json.processId;
    for (const session of [{}, { sessionId: 'marks' }]) {
      const first = await start(`${daemon(700.1)}; sleep 700.11`, session);
      const second = await start(`${daemon(700.2)}; sleep 700.22`, session);
      await until('the daemons', async () => await named('700.1') && await named('700.11') && await named('700.2') && await named('700.22'));
      const mark = await markOf(await named('700.1'));
      assert.match(mark, /^\d{13}$/);
      assert.equal(await markOf(await named('700.11')), mark);
      assert.notEqual(await markOf(await named('700.2')), mark);
      assert.equal(await markOf('self'), '', 'a command is no process');
      assert.equal(await markOf(1), '', 'nor is the agent');
      /* The agent takes no mark from others, nor is a claim to be of another process more than the end of who claims it. */
      assert.match(await run(`prlimit --pid 1 --locks=${mark}: 2>&1; echo $?`), /1$/);
      assert.equal(await markOf(1), '');
      const liar = await start(`${daemon(700.3)}; (ulimit -Sx ${mark}; ${daemon(700.4)}); sleep 700.33`, session);
      await until('the daemons of who claims it', async () => await named('700.3') && await named('700.4') && await named('700.33'));
      assert.equal((await api.delete(at(`processes/${first}`))).status, 200);
      assert.deepEqual([await named('700.1'), await named('700.11'), await named('700.4')], ['', '', '']);
      for (const tag of ['700.2', '700.22', '700.3', '700.33']) assert.notEqual(await named(tag), '', tag);
      for (const id of [second, liar]) await api.delete(at(`processes/${id}`));
      for (const tag of ['700.2', '700.22', '700.3', '700.33']) assert.equal(await named(tag), '', tag);
    }
  });

  test('where a session has made the mark impossible its processes run and end all the same', async () => {
    await api.post(at('execute'), { command: 'ulimit -x 5; enable -n ulimit; set -e', sessionId: 'unmarked' });
    const { processId } = (await api.post(at('processes'), { command: 'echo out; sleep 700.5', sessionId: 'unmarked' })).json;
    await until('the output', async () => (await api.get(at(`processes/${processId}/logs`))).json.stdout === 'out\n');
    assert.equal((await api.get(at(`processes/${processId}/logs`))).json.stderr, '');
    assert.equal((await api.delete(at(`processes/${processId}`))).status, 200);
    const after = (await api.post(at('execute'), { command: 'grep -slz "^700.5$" /proc/[0-9]*/cmdline || echo none', sessionId: 'unmarked' })).json;
    assert.deepEqual([after.exitCode, after.stdout, after.stderr], [0, 'none', '']);
  });

  test('files: every operation, and what is told of them', async () => {
    const dir = '/workspace/files';
    assert.equal((await api.post(at('files/mkdir'), { path: dir, recursive: true })).status, 200);
    assert.equal((await api.post(at('files/write'), { path: `${dir}/a.txt`, content: 'one\n' })).status, 200);
    assert.equal((await api.post(at('files/read'), { path: `${dir}/a.txt` })).json.content, 'one\n');
    const pieces = dataEvents((await api.post(at('files/read/stream'), { path: `${dir}/a.txt` })).text);
    assert.deepEqual([pieces[0].type, pieces.at(-1).type], ['metadata', 'complete']);
    const stat = (await api.post(at('files/stat'), { path: `${dir}/a.txt` })).json;
    assert.deepEqual([stat.path, stat.file.name, stat.file.type, stat.file.size, stat.file.absolutePath],
      [`${dir}/a.txt`, 'a.txt', 'file', 4, `${dir}/a.txt`]);
    assert.ok(Math.abs(Date.parse(stat.file.modifiedAt) - Date.now()) < 60000);
    assert.equal((await api.post(at('files/stat'), { path: '/' })).json.file.type, 'directory');
    await api.post(at('files/rename'), { oldPath: `${dir}/a.txt`, newPath: `${dir}/b.txt` });
    await api.post(at('files/mkdir'), { path: `${dir}/sub` });
    await api.post(at('files/move'), { sourcePath: `${dir}/b.txt`, destinationPath: `${dir}/sub/c.txt` });
    assert.equal((await api.post(at('files/exists'), { path: `${dir}/b.txt` })).json.exists, false);
    assert.equal((await api.post(at('files/exists'), { path: `${dir}/sub/c.txt` })).json.exists, true);
    const flat = await api.get(at(`files?path=${encodeURIComponent(dir)}`));
    assert.deepEqual(flat.json.files.map((f) => f.name), ['sub']);
    const deep = await api.get(at(`files?path=${encodeURIComponent(dir)}&recursive=true`));
    assert.deepEqual(deep.json.files.map((f) => f.relativePath).sort(), ['sub', 'sub/c.txt']);
    assert.deepEqual((await api.post(at('files/list'), { path: dir, options: { recursive: true } })).json.files, deep.json.files);
    assert.equal((await api.post(at('files/delete'), { path: `${dir}/sub/c.txt` })).status, 200);
    const gone = await api.post(at('files/stat'), { path: `${dir}/sub/c.txt` });
    assert.deepEqual([gone.status, gone.json.code, gone.json.context.path], [404, 'FILE_NOT_FOUND', `${dir}/sub/c.txt`]);
    assert.match(gone.json.error, /not found/);
  });

  test('wrong requests are refused with the name of the field, and start nothing', async () => {
    for (const [method, path, body, field, headers = {}] of [
      ['GET', 'files', undefined, 'path'], ['GET', 'files?path=/&recursive=1', undefined, 'recursive'],
      ['POST', 'ports/0/wait', {}, 'port'], ['POST', 'ports/99999/wait', {}, 'port'], ['POST', 'ports/80/wait', [], 'body'],
      ['POST', 'files/read', { path: '/etc/passwd' }, 'Session-Id', { 'session-id': 'x' }],
      ['POST', 'execute', { command: 'true' }, 'Session-Id', { 'session-id': 'a..b' }],
    ]) {
      const response = await api.call(method, at(path, 'refused'), { body, headers });
      assert.equal(response.status, 400, `${method} ${path}`);
      assert.deepEqual([response.json.code, response.json.context.field], ['invalid_request', field], `${method} ${path}`);
    }
    assert.equal((await api.get('/v1/sandbox/refused')).status, 404);
    /* What only the control server knows is told by it, in the layout of all errors. */
    for (const [path, body, field] of [['files/read', {}, 'path'], ['files/stat', { path: 5 }, 'path'], ['processes', {}, 'command'],
      ['git/checkout', {}, 'repoUrl'], ['files/rename', { oldPath: '', newPath: 'x' }, 'oldPath']]) {
      const response = await api.post(at(path), body);
      assert.equal(response.status, 400, path);
      assert.equal(response.json.context.field, field, response.text);
      assert.ok(response.json.error && response.json.code === response.json.code.toUpperCase());
    }
    assert.equal((await api.post(at('files/read'), 'not json')).status, 400);
    assert.equal((await api.get(at('nothing-here'))).status, 404);
    assert.equal((await api.call('PATCH', at('processes'))).status, 404);
  });

  test('what only a running sandbox has neither makes nor wakes one', async () => {
    for (const path of ['processes', 'contexts', 'sessions', 'processes/p', 'processes/p/logs', 'processes/p/stream']) {
      const response = await api.get(at(path, 'nobody'));
      assert.deepEqual([response.status, response.json.code], [404, 'sandbox_not_found'], path);
    }
    await api.put('/v1/sandbox/asleep', { sleepAfter: 1 });
    await until('it sleeps', async () => (await api.get('/v1/sandbox/asleep')).json.state === 'sleeping');
    assert.deepEqual((await api.get(at('processes', 'asleep'))).json.processes, []);
    assert.deepEqual((await api.get(at('contexts', 'asleep'))).json.contexts, []);
    assert.deepEqual((await api.get(at('sessions', 'asleep'))).json.data, []);
    assert.equal((await api.delete(at('processes', 'asleep'))).json.cleanedCount, 0);
    for (const [method, path, code] of [['GET', 'processes/p', 'PROCESS_NOT_FOUND'], ['DELETE', 'processes/p', 'PROCESS_NOT_FOUND'],
      ['GET', 'processes/p/logs', 'PROCESS_NOT_FOUND'], ['DELETE', 'contexts/c', 'CONTEXT_NOT_FOUND'],
      ['POST', 'contexts/c/interrupt', 'CONTEXT_NOT_FOUND']]) {
      const response = await api.call(method, at(path, 'asleep'));
      assert.deepEqual([response.status, response.json.code], [404, code], path);
      assert.equal(response.headers['berm-generation'], '1');
    }
    assert.equal((await api.get('/v1/sandbox/asleep')).json.state, 'sleeping');
    const stale = await api.get(at('processes', 'asleep'), { headers: { 'berm-if-generation': '1' } });
    assert.deepEqual([stale.status, stale.json.code], [410, 'stale_generation']);
    assert.equal((await api.post(at('execute', 'asleep'), { command: 'echo up' })).headers['berm-generation'], '2');
  });

  test('a watch tells of changes as they come', async () => {
    await api.post(at('files/mkdir'), { path: '/workspace/watched', recursive: true });
    const { request, response } = await stream('POST', at('watch'), { path: '/workspace/watched' });
    let text = '';
    response.on('data', (piece) => (text += piece));
    await until('it watches', () => dataEvents(text).some((e) => e.type === 'watching'));
    await api.post(at('files/write'), { path: '/workspace/watched/new.txt', content: 'x' });
    await until('it tells', () => dataEvents(text).some((e) => e.type === 'event' && e.path.endsWith('new.txt')));
    request.destroy();
    const check = await api.post(at('watch/check'), { path: '/workspace/watched' });
    assert.equal(check.status, 200, check.text);
    assert.ok(check.json.version);
  });

  test('a port is waited for', { skip: !full }, async () => {
    await api.put('/v1/sandbox/server', { image: full });
    const waiting = stream('POST', at('ports/8123/wait', 'server'), { mode: 'tcp', port: 1 });
    await api.post(at('processes', 'server'), { command: 'exec python3 -m http.server 8123' });
    const { response } = await waiting;
    const events = dataEvents((await collect(response)).text);
    assert.deepEqual([events.at(-1).type, events.at(-1).port], ['ready', 8123]);
    await api.delete('/v1/sandbox/server');
  });

  test('when the sandbox dies under a stream, the stream says so as its last event', async () => {
    await api.put('/v1/sandbox/dying', {});
    const { response } = await stream('POST', at('exec-stream', 'dying'), { command: 'echo up; sleep 100' });
    let text = '';
    response.on('data', (piece) => (text += piece));
    const ended = once(response, 'end');
    await until('it runs', () => text.includes('up'));
    await api.delete('/v1/sandbox/dying');
    await ended;
    const last = dataEvents(text).at(-1);
    assert.deepEqual([last.type, last.code], ['error', 'sandbox_died']);
    assert.equal(last.error, last.data);
  });

  test('code runs in a context', { skip: !full }, async () => {
    await api.put('/v1/sandbox/code', { image: full });
    const made = await api.post(at('contexts', 'code'), { language: 'python' });
    assert.equal(made.status, 200, made.text);
    const id = made.json.contextId;
    const events = dataEvents((await api.post(at('code', 'code'), { context_id: id, code: 'print(6 * 7)' })).text);
    assert.equal(events.filter((e) => e.type === 'stdout').map((e) => e.text).join(''), '42\n');
    assert.equal(events.at(-1).type, 'execution_complete');
    assert.deepEqual((await api.get(at('contexts', 'code'))).json.contexts.map((c) => c.id), [id]);
    assert.equal((await api.post(at(`contexts/${id}/interrupt`, 'code'))).json.interrupted, false);
    assert.equal((await api.delete(at(`contexts/${id}`, 'code'))).status, 200);
    const gone = await api.delete(at(`contexts/${id}`, 'code'));
    assert.deepEqual([gone.status, gone.json.code, gone.json.context.contextId], [404, 'CONTEXT_NOT_FOUND', id]);
    assert.equal((await api.delete(at('contexts/a%2Finterrupt'))).status, 400);
  });
});
