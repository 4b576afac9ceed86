// POST /berm/v1/exec and the other internal routes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Agent, parseEvents, sleep } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());
const exec = (document, options) => agent.exec(document, options);
const sh = async (command) => (await exec({ command })).stdout.toString();
const bytes = Buffer.from([...Array(256).keys()]);

async function refused(document, status, code, options) {
  const reply = await exec(document, options);
  assert.equal(reply.status, status, JSON.stringify(document));
  assert.equal(reply.json.code, code);
  return reply.json;
}

test('the internal routes are not there over TCP', async () => {
  for (const [method, path] of [['POST', '/berm/v1/exec'], ['POST', '/berm/v1/configure'], ['GET', '/berm/v1/file?path=/etc/passwd'], ['PUT', '/berm/v1/file?path=/tmp/x']]) {
    const reply = await agent.request(method, path, method === 'GET' ? undefined : '{}');
    assert.deepEqual([reply.status, reply.json.code], [404, 'UNKNOWN_ERROR']);
  }
});

test('events carry the bytes exactly, and end with exit', async () => {
  await agent.request('PUT', '/berm/v1/file?path=/tmp/all', bytes, { unix: true });
  const reply = await exec({ argv: ['sh', '-c', 'cat /tmp/all; cat /tmp/all >&2; exit 9'] });
  assert.equal(reply.headers['content-type'], 'text/event-stream');
  assert.equal(reply.headers['cache-control'], 'no-cache');
  assert.deepEqual([reply.stdout, reply.stderr, reply.exitCode], [bytes, bytes, 9]);
  assert.equal(reply.events.filter((e) => e.event === 'exit').length, 1);
  assert.equal(reply.events.at(-1).data, '{"exit_code":9}');
});

test('argv arrives as it is', async () => {
  const argv = ['printf', '%s|', 'a b', "it's", '$(id)', '', '\n\t\r\\', 'é漢', '*', '~', '_x', '--', '-n', '!'];
  assert.equal((await exec({ argv })).stdout.toString(), argv.slice(2).map((a) => `${a}|`).join(''));
});

for (const [argv, code] of [[['cd', '/tmp'], 0], [['exit', '7'], 7], [['export', 'A=1'], 0], [['A=1'], 0], [['nosuch', 'x y'], 127], [['/etc/passwd'], 126],
  [['./nope'], 127], [[''], 127], [['sh', '-c', 'kill -9 $$'], 137], [['true'], 0], [['false'], 1], [['/tmp'], 126]]) {
  test(`argv ${JSON.stringify(argv)} gives ${code}`, async () => { assert.equal((await exec({ argv })).exitCode, code); });
}

test('a script without #! is run by bash', async () => {
  await sh('printf "echo script \\$1" >/tmp/noformat; chmod +x /tmp/noformat');
  assert.equal((await exec({ argv: ['/tmp/noformat', 'a'] })).stdout.toString(), 'script a\n');
});

test('command is bash text; cwd and env', async () => {
  const reply = await exec({ command: 'echo "$A"; pwd', cwd: '/etc', env: { A: 'x y', B: null } });
  assert.equal(reply.stdout.toString(), 'x y\n/etc\n');
  assert.equal((await exec({ argv: ['pwd'] })).stdout.toString(), '/workspace\n');
  assert.equal((await exec({ argv: ['printenv', 'A'], env: { A: '1' } })).stdout.toString(), '1\n');
});

test('errors before the start are JSON', async () => {
  for (const document of [{}, { argv: [] }, { argv: [5] }, { argv: 'ls' }, { argv: ['a\0b'] }, { command: 'a\0b' }, { command: 5 }, { argv: ['ls'], command: 'ls' },
    { argv: ['ls'], timeoutMs: 'x' }, { argv: ['ls'], env: [] }, { argv: ['ls'], env: { A: 1 } }, { argv: ['ls'], cwd: 1 }, { argv: ['ls'], sessionId: ' ' }, '{', '', '[]', 'null'])
    await refused(document, 400, 'VALIDATION_FAILED');
  const json = await refused({ argv: ['ls'], cwd: '/nope' }, 500, 'COMMAND_EXECUTION_ERROR');
  assert.match(json.message, /\/nope/);
});

test('arguments that no program can take are for bash, whose own commands can', async () => {
  const program = await exec({ argv: ['ls', 'x'.repeat(200000)] });
  assert.equal(program.exitCode, 126);
  assert.match(program.stderr.toString(), /Argument list too long/);
  assert.equal((await exec({ argv: ['echo', 'x'.repeat(200000)] })).stdout.length, 200001);
});

test('output streams while the command runs', async () => {
  for (const more of [{}, { sessionId: 'live' }]) {
    const go = await agent.gate();
    const response = await agent.request('POST', '/berm/v1/exec', { command: `echo one; ${go.wait}; echo two`, ...more }, { unix: true, onResponse: true });
    let text = '';
    for await (const piece of response) {
      if (!text) await go.open(); // what has come was sent before the end
      text += piece;
    }
    assert.equal(parseEvents(text).stdout.toString(), 'one\ntwo\n');
  }
});

test('stdin follows the document, byte for byte, to its end', async () => {
  assert.deepEqual((await exec({ argv: ['cat'] }, { stdin: bytes })).stdout, bytes);
  assert.equal((await exec({ argv: ['cat'] }, { stdin: '' })).exitCode, 0);
  const big = Buffer.alloc(20000000, 'abcdefg\n');
  const reply = await exec({ argv: ['cat'] }, { stdin: big });
  assert.ok(reply.stdout.equals(big));
  assert.equal((await exec({ command: 'read x; echo $x; wc -c' }, { stdin: 'line\nrest' })).stdout.toString(), 'line\n4\n');
  assert.equal((await exec({ argv: ['true'] }, { stdin: big })).exitCode, 0);
  assert.equal((await exec({ argv: ['head', '-c', '3'] }, { stdin: big })).stdout.toString(), 'abc');
  assert.equal((await exec({ argv: ['cat'] })).stdout.length, 0);
});

test('the document line may come in pieces, without stdin, or be wrong', async () => {
  const talk = async (pieces) => {
    const request = http.request({ socketPath: agent.socketPath, method: 'POST', path: '/berm/v1/exec', headers: { 'Content-Type': 'application/x-berm-exec; x=y' } });
    const answered = once(request, 'response');
    for (const piece of pieces) { request.write(piece); await sleep(20); }
    request.end();
    const [response] = await answered;
    let text = '';
    for await (const piece of response) text += piece;
    return { status: response.statusCode, text };
  };
  assert.equal(parseEvents((await talk(['{"argv":', '["cat"]', '}', '\n', 'a', 'b'])).text).stdout.toString(), 'ab');
  assert.equal(parseEvents((await talk(['{"argv":["cat"]}'])).text).exitCode, 0);
  assert.equal((await talk(['{"argv":\n["cat"]}\n'])).status, 400);
  assert.equal((await talk(['{"argv":["cat"],"sessionId":"s"}\n'])).status, 400);
});

test('a conversation: answers come before stdin ends', async () => {
  const request = http.request({ socketPath: agent.socketPath, method: 'POST', path: '/berm/v1/exec', headers: { 'Content-Type': 'application/x-berm-exec' } });
  request.write('{"command":"while read l; do echo got $l; done"}\n');
  const [response] = await once(request, 'response');
  let text = '';
  response.on('data', (piece) => { text += piece; });
  for (const line of ['a', 'b', 'c']) {
    request.write(`${line}\n`);
    while (!parseEvents(text.slice(0, text.lastIndexOf('\n\n') + 2)).stdout.toString().includes(`got ${line}`)) await once(response, 'data');
  }
  request.end();
  await once(response, 'end');
  assert.equal(parseEvents(text).exitCode, 0);
});

test('a time limit: 124, the line on stderr, the group gone, also one that ignores SIGTERM', async () => {
  let reply = await exec({ command: 'printf x; printf y >&2; sleep 61 & sleep 62', timeoutMs: 5000 });
  assert.deepEqual([reply.exitCode, reply.stdout.toString()], [124, 'x']);
  /* bash may get to say that a child was terminated before it is. */
  assert.match(reply.stderr.toString(), /^y(Terminated)?\nCommand timed out after 5000ms\n$/);
  assert.equal(await sh('pgrep -f "sleep 6[12]"'), '');
  const began = Date.now();
  reply = await exec({ command: "trap '' TERM; while :; do sleep 0.1; done", timeoutMs: 200 });
  assert.equal(reply.exitCode, 124);
  assert.ok(Date.now() - began < 20000); // and not for ever
  reply = await exec({ command: 'setsid sleep 63 & exit 0', timeoutMs: 300 });
  assert.equal(reply.exitCode, 124);
  await sh('pkill -f "sleep 63"');
});

test('in a session: state, builtins, exit, directory, environment', async () => {
  const sessionId = 's1';
  assert.equal((await exec({ argv: ['cd', '/tmp'], sessionId })).exitCode, 0);
  await exec({ argv: ['export', 'A=x y'], sessionId });
  assert.equal((await exec({ command: 'pwd; echo $A; printf end', sessionId })).stdout.toString(), '/tmp\nx y\nend');
  assert.deepEqual((await exec({ argv: ['cat', '/tmp/all'], sessionId })).stdout, bytes);
  assert.equal((await exec({ argv: ['pwd'], sessionId, cwd: '/etc', env: { A: '1' } })).stdout.toString(), '/etc\n');
  const bad = await exec({ argv: ['pwd'], sessionId, cwd: '/nope' });
  assert.deepEqual([bad.exitCode, bad.stderr.toString()], [1, "Failed to change directory to '/nope'\n"]);
  assert.equal((await exec({ argv: ['exit', '5'], sessionId })).exitCode, 5);
  assert.equal((await exec({ command: 'pwd; echo [$A]', sessionId })).stdout.toString(), '/workspace\n[]\n');
  await refused({ argv: ['ls'], sessionId, env: { 'a-b': '1' } }, 500, 'COMMAND_EXECUTION_ERROR');
});

test('in a session: a dead shell is told before the stream begins', async () => {
  const { stdout } = await exec({ command: 'echo $$', sessionId: 'dead' });
  await agent.killed(String(stdout).trim());
  const json = await refused({ argv: ['ls'], sessionId: 'dead' }, 410, 'SESSION_TERMINATED');
  assert.equal(json.context.exitCode, 137);
});

test('in a session: the time limit ends the command and what it started, and leaves the rest', async () => {
  const sessionId = 'limited';
  await exec({ command: 'kept=1; sleep 71 & x=$!', sessionId });
  const reply = await exec({ command: 'printf out; sleep 72 | sleep 73; echo not reached?', sessionId, timeoutMs: 300 });
  assert.equal(reply.exitCode, 124);
  assert.match(reply.stderr.toString(), /Command timed out after 300ms\n$/);
  assert.equal((await exec({ command: 'echo $kept; pgrep -f "^sleep 7[123]" | wc -l', sessionId })).stdout.toString(), '1\n1\n');
  await sh('pkill -f "^sleep 71"');
});

test('in a session: a loop in the shell itself costs the session', async () => {
  const began = Date.now();
  const reply = await exec({ command: 'while :; do :; done', sessionId: 'loop', timeoutMs: 100 });
  assert.equal(reply.exitCode, 124);
  assert.ok(Date.now() - began < 20000);
  assert.equal((await exec({ command: 'echo on', sessionId: 'loop' })).stdout.toString(), 'on\n');
});

/* Begins a command, leaves once `running`, a command, succeeds. The agent is told of it by the time that it answers. */
async function abandoned(document, running) {
  const abort = new AbortController();
  const response = await agent.request('POST', '/berm/v1/exec', document, { unix: true, onResponse: true, signal: abort.signal });
  const closed = new Promise((done) => response.on('error', () => {}).once('close', done));
  await sh(`until ${running} >/dev/null; do sleep 0.01; done`);
  abort.abort();
  await closed;
}
const away = (pattern) => sh(`while pgrep ${pattern} >/dev/null; do sleep 0.01; done`);

test('a client that goes away takes a sessionless command with it, unless told otherwise', async () => {
  await abandoned({ argv: ['sleep', '82'], keepOnDisconnect: true }, 'pgrep -f "^sleep 82"');
  await abandoned({ argv: ['sleep', '81'] }, 'pgrep -f "^sleep 81"');
  await away('-f "^sleep 81"');
  await abandoned({ argv: ['yes'] }, 'pgrep -x yes');
  await away('-x yes');
  assert.notEqual(await sh('pgrep -f "^sleep 82"; pkill -f "^sleep 82"'), '');
});

const cancel = (id) => agent.request('POST', '/berm/v1/exec/cancel', { id }, { unix: true });
const gone = (pid) => sh(`while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done`);

test('a command with a name goes on without its connection, until it is cancelled', async () => {
  await abandoned({ argv: ['sleep', '83'], id: 'a' }, 'pgrep -f "^sleep 83"');
  const pid = await sh('pgrep -f "^sleep 83"');
  assert.match(pid, /^\d+\n$/);
  assert.equal((await cancel('b')).status, 404);
  assert.equal(await sh('pgrep -f "^sleep 83"'), pid);
  assert.equal((await cancel('a')).status, 204);
  await gone(Number(pid));
  assert.equal((await cancel('a')).status, 404);
  for (const [document, status] of [[{}, 404], [{ id: 5 }, 400]])
    assert.equal((await agent.request('POST', '/berm/v1/exec/cancel', document, { unix: true })).status, status);
});

/* The bytes of a request for a command; `more` bytes of its body are promised and do not come. */
const raw = (type, body, more = 0) =>
  `POST /berm/v1/exec HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body) + more}\r\n\r\n${body}`;

async function connected() {
  const socket = net.connect(agent.socketPath);
  await once(socket, 'connect');
  return socket;
}

test('a command with a name whose input breaks off is ended', async () => {
  const socket = await connected();
  socket.write(raw('application/x-berm-exec', '{"argv":["sh","-c","echo $$; exec cat >/tmp/part"],"id":"c"}\nhalf', 10));
  let text = '';
  while (!/data: .*\n/.test(text)) text += (await once(socket, 'data'))[0];
  socket.destroy();
  await gone(Number(Buffer.from(/data: (.*)\n/.exec(text)[1], 'base64')));
  assert.equal((await cancel('c')).status, 404);
});

test('a command with a name is not started for a client that has left already', async () => {
  const pid = await agent.hostPid();
  const socket = await connected();
  process.kill(pid, 'SIGSTOP');
  try {
    await new Promise((done) => socket.end(raw('application/json', '{"argv":["touch","/tmp/too-late"],"id":"d"}'), done));
    socket.destroy();
    await once(socket, 'close');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  assert.equal((await cancel('d')).status, 404);
  assert.equal(await sh('ls /tmp/too-late 2>/dev/null'), '');
});

test('a client that goes away leaves a command of a session alone', async () => {
  const go = await agent.gate();
  const command = `touch /tmp/under-way; ${go.wait}; echo lots; head -c 1000000 /dev/zero; touch /tmp/left-alone`;
  await abandoned({ command, sessionId: 'gone' }, 'ls /tmp/under-way 2>/dev/null');
  await go.open();
  assert.equal((await exec({ command: 'ls /tmp/left-alone', sessionId: 'gone' })).stdout.toString(), '/tmp/left-alone\n');
});

test('a client that does not read holds the command up, not the agent', async () => {
  for (const more of [{}, { sessionId: 'slow' }]) {
    const response = await agent.request('POST', '/berm/v1/exec', { command: 'head -c 100000000 /dev/zero', ...more }, { unix: true, onResponse: true });
    response.pause();
    await sleep(300);
    const rss = Number((await sh('grep VmRSS /proc/1/status')).match(/\d+/)[0]);
    if (!process.env.ASAN_OPTIONS) assert.ok(rss < 8000, `${rss} kB`);
    let n = 0;
    for await (const piece of response) n += piece.length;
    assert.ok(n > 133000000);
  }
});

test('50 MB come whole and in order', async () => {
  const reply = await exec({ command: 'seq 6500000' });
  assert.equal(reply.exitCode, 0);
  assert.ok(reply.stdout.length > 50000000);
  assert.ok(reply.stdout.toString().endsWith('6499999\n6500000\n'));
});

test('files in bytes', async () => {
  const path = (name) => `/berm/v1/file?path=${encodeURIComponent(name)}`;
  const put = (name, body) => agent.request('PUT', path(name), body, { unix: true });
  const get = (name) => agent.request('GET', path(name), undefined, { unix: true });
  const big = Buffer.alloc(40000000);
  for (let i = 0; i < big.length; i += 4093) big[i] = i;
  for (const content of [Buffer.alloc(0), bytes, big]) {
    const written = await put('/tmp/raw/deep/ä b%.bin', content);
    assert.deepEqual([written.status, written.json], [200, { ok: true }]);
    const read = await get('/tmp/raw/deep/ä b%.bin');
    assert.equal(read.headers['content-type'], 'application/octet-stream');
    assert.equal(Number(read.headers['content-length']), content.length);
    assert.ok(read.bytes.equals(content));
  }
  assert.match((await get('/proc/version')).text, /^Linux/);
  for (const [name, status, code] of [['/nope', 404, 'FILE_NOT_FOUND'], ['/etc/passwd/x', 404, 'FILE_NOT_FOUND'], ['/tmp', 500, 'FILESYSTEM_ERROR'], ['/dev/zero', 500, 'FILESYSTEM_ERROR'],
    ['relative', 400, 'VALIDATION_FAILED'], ['', 400, 'VALIDATION_FAILED'], ['/a\0b', 400, 'VALIDATION_FAILED']]) {
    const reply = await get(name);
    assert.deepEqual([reply.status, reply.json.code], [status, code], name);
  }
  for (const name of ['/tmp', '/etc/passwd/x', '/proc/x', '/usr/x']) assert.notEqual((await put(name, 'x')).status, 200, name);
  assert.equal((await agent.get('/berm/v1/file', { unix: true })).status, 400);
});

test('configure changes what starts later', async () => {
  const other = await Agent.start();
  try {
    const configure = (body) => other.post('/berm/v1/configure', body, { unix: true });
    const reply = await configure({ env: { A: 'one', B: null, HOME: '/tmp' }, workdir: '/etc' });
    assert.deepEqual([reply.status, reply.json], [200, { ok: true }]);
    assert.equal((await other.exec({ command: 'echo $A $HOME; pwd' })).stdout.toString(), 'one /tmp\n/etc\n');
    assert.equal((await other.run('echo $A; pwd')).stdout, 'one\n/etc');
    assert.equal((await other.post('/api/exists', { path: 'passwd' })).json.exists, true);
    for (const body of [{ env: 5 }, { env: { A: 5 } }, { workdir: 'x' }, { workdir: 5 }, '[]', '']) assert.equal((await configure(body)).status, 400);
    assert.equal((await configure({})).status, 200);
    assert.equal((await other.exec({ argv: ['pwd'] })).stdout.toString(), '/etc\n');
  } finally { await other.stop(); }
});
