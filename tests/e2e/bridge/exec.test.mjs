/* Commands through the bridge: what goes in, what comes out, and what happens when somebody leaves. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Api, collect, outcome } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('exec', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let id;

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    id = await api.newId();
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  const processes = async (name) => (await api.exec(id, ['sh', '-c', `grep -slx ${name} /proc/[0-9]*/comm; true`])).out;

  test('arguments arrive exactly', async () => {
    const args = ['', ' ', 'a b', "it's", '"', '$HOME', '$(id)', '`id`', '\\', '\n', 'a\tb', '*', '~', '-n', 'é€😀', "$'x'", '!!', '#'];
    const response = await api.exec(id, ['printf', '[%s]', ...args]);
    assert.equal(response.out, args.map((arg) => `[${arg}]`).join(''));
    assert.equal(response.code, 0);
  });

  test('output is the exact bytes', async () => {
    const response = await api.exec(id, ['sh', '-c', "printf '\\000\\001\\377\\376\\012'; printf '\\200' >&2"]);
    assert.deepEqual(response.outBytes, Buffer.from([0, 1, 255, 254, 10]));
  });

  test('large output is whole', async () => {
    const response = await api.exec(id, ['sh', '-c', 'yes 0123456789abcde | head -n 500000']);
    assert.equal(response.code, 0);
    assert.equal(response.outBytes.length, 8000000);
    assert.ok(response.out.endsWith('0123456789abcde\n'));
  });

  test('ends tell how: status, signal, not found, not executable', async () => {
    assert.equal((await api.exec(id, ['false'])).code, 1);
    assert.equal((await api.exec(id, ['sh', '-c', 'kill -TERM $$'])).code, 143);
    assert.equal((await api.exec(id, ['no-such-program'])).code, 127);
    assert.equal((await api.exec(id, ['/etc/passwd'])).code, 126);
  });

  test('standard input is empty unless it is sent', async () => {
    const response = await api.exec(id, ['cat']);
    assert.equal(response.out, '');
    assert.equal(response.code, 0);
  });

  test('the directory is /workspace or what is asked for below it', async () => {
    assert.equal((await api.exec(id, ['pwd'])).out, '/workspace\n');
    await api.exec(id, ['mkdir', '-p', '/workspace/a/b']);
    assert.equal((await api.exec(id, ['pwd'], { cwd: 'a/./b/../b' })).out, '/workspace/a/b\n');
    assert.equal((await api.exec(id, ['pwd'], { cwd: '/workspace/a' })).out, '/workspace/a\n');
    assert.equal((await api.exec(id, ['pwd'], { cwd: 5 })).out, '/workspace\n');
    assert.notEqual((await api.exec(id, ['pwd'], { cwd: '/workspace/missing' })).code, 0);
  });

  test('env reaches the command and only it', async () => {
    assert.equal((await api.exec(id, ['sh', '-c', 'echo "$A/$B"'], { env: { A: 'x y', B: null } })).out, 'x y/\n');
    assert.equal((await api.exec(id, ['sh', '-c', 'echo "$A"'])).out, '\n');
    assert.equal((await api.exec(id, ['true'], { env: { A: 1 } })).status, 400);
    assert.equal((await api.exec(id, ['true'], { env: [] })).status, 400);
  });

  test('command is a text for bash', async () => {
    assert.equal((await api.exec(id, 'for i in 1 2 3; do echo -n $i; done')).out, '123');
  });

  test('limits are enforced, and the exit event has the receipt', async () => {
    const usage = async (argv, limits) => {
      const response = await api.exec(id, argv, { limits });
      return [response.code, JSON.parse(response.events.at(-1).data).usage];
    };
    const [code, receipt] = await usage(['sh', '-c', 'exit 4'], {});
    assert.equal(code, 4);
    assert.deepEqual(Object.keys(receipt), ['cpuMs', 'maxRss', 'ioBytes', 'netBytes', 'reason']);
    assert.ok(receipt.cpuMs > 0 && receipt.maxRss > 0 && receipt.ioBytes >= 0);
    assert.equal(receipt.reason, 'exited');
    for (const [command, limits, reason] of [
      ['while :; do :; done', { cpuMs: 100 }, 'cpuMs'],
      ["x=$(head -c 100000000 /dev/zero | tr '\\0' x); sleep 20", { memory: 60 << 20 }, 'memory'],
      ['for i in 1 2 3 4 5 6; do sleep 20 & done; wait', { pids: 4 }, 'pids'],
      ['sleep 20', { wallMs: 100 }, 'wallMs'],
      ['yes', { outputBytes: 5000 }, 'outputBytes'],
    ]) {
      const [ended, used] = await usage(['bash', '-c', command], limits);
      assert.deepEqual([ended, used.reason], [137, reason]);
    }
  });

  test('limits of execute and of processes, by the daemon\'s own routes', async () => {
    const executed = await api.post(`/v1/sandbox/${id}/execute`, { command: 'while :; do :; done', limits: { cpuMs: 100 } });
    assert.deepEqual([executed.status, executed.json.exitCode, executed.json.usage.reason], [200, 137, 'cpuMs']);
    const { json } = await api.post(`/v1/sandbox/${id}/processes`, { command: 'sleep 20', limits: { wallMs: 100 } });
    const record = async () => (await api.get(`/v1/sandbox/${id}/processes/${json.processId}`)).json.process;
    await until('the end of the process', async () => (await record()).status !== 'running');
    assert.deepEqual([(await record()).status, (await record()).usage.reason], ['killed', 'wallMs']);
    const refused = await api.post(`/v1/sandbox/${id}/execute`, { command: 'true', limits: { pids: 0 } });
    assert.equal(refused.status, 400);
    assert.match(refused.text, /limits\.pids/);
  });

  test('limits: without the network, not even the control server is there', async () => {
    const dial = ['bash', '-c', ': < /dev/tcp/127.0.0.1/3000'];
    assert.equal((await api.exec(id, dial)).code, 0);
    const response = await api.exec(id, dial, { limits: { network: false } });
    assert.equal(response.code, 1);
    assert.match(response.err, /Permission denied/);
    assert.equal(JSON.parse(response.events.at(-1).data).usage.netBytes, 0);
  });

  test('what a command sends and receives is told when nothing else in the sandbox has run meanwhile', async () => {
    const alone = await api.newId(); // with no process of another test
    const bytes = async (command) => JSON.parse((await api.exec(alone, ['bash', '-c', command], { limits: {} })).events.at(-1).data).usage.netBytes;
    assert.equal(await bytes('true'), 0);
    const ask = String.raw`exec 3<>/dev/tcp/127.0.0.1/3000; printf 'GET /api/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3; cat <&3 >/tmp/answer`;
    const once = await bytes(ask);
    const answer = Number((await api.exec(alone, ['sh', '-c', 'wc -c </tmp/answer'])).out);
    assert.ok(answer > 100 && once > answer && once < answer + 2000, `${once} with ${answer}`);
    const often = await bytes(`for i in 1 2 3 4 5; do ${ask}; exec 3>&-; done`);
    assert.ok(often > 4 * once && often < 6 * once, `${often} and ${once}`);
    /* A process that was there before, and one that comes and goes. */
    const start = (command) => api.post(`/v1/sandbox/${alone}/processes`, { command });
    const beat = await start('while :; do echo >>/tmp/beats; sleep 0.01; done');
    const heard = 'touch /tmp/beats; n=$(wc -l </tmp/beats); while [ "$(wc -l </tmp/beats)" -lt $((n + 2)) ]; do sleep 0.01; done';
    assert.equal(await bytes(heard), null);
    await api.call('DELETE', `/v1/sandbox/${alone}/processes/${beat.json.processId}`);
    const waiting = bytes('echo >/tmp/began; while [ ! -e /tmp/gone ]; do sleep 0.01; done');
    await until('its beginning', async () => (await api.exec(alone, ['test', '-e', '/tmp/began'])).code === 0);
    await api.exec(alone, ['touch', '/tmp/gone']);
    assert.equal(await waiting, null);
    assert.equal(await bytes('true'), 0);
  });

  test('limits that cannot be enforced are refused by their names', async () => {
    for (const [limits, name] of [[{ cpuMs: 0 }, 'limits.cpuMs'], [{ gpu: 1 }, 'limits.gpu'], ['x', 'limits']]) {
      const response = await api.exec(id, ['true'], { limits });
      assert.equal(response.status, 400);
      assert.match(response.text, new RegExp(name));
    }
    const inSession = await api.exec(id, ['true'], { limits: {}, session: 's1' });
    assert.equal(inSession.status, 400);
    assert.match(inSession.text, /limits.*session/);
  });

  test('a timeout kills and is told', async () => {
    const started = Date.now();
    const response = await api.exec(id, ['sh', '-c', 'echo before; sleep 60'], { timeout_ms: 5000 });
    assert.ok(Date.now() - started < 30000);
    assert.equal(response.code, 124);
    assert.equal(response.out, 'before\n');
    assert.match(response.err, /Command timed out after 5000ms/);
    assert.equal((await api.exec(id, ['echo', 'x'], { timeout_ms: 'soon' })).out, 'x\n');
  });

  test('events come while the command runs', async () => {
    const request = api.open('POST', `/v1/sandbox/${id}/exec`);
    await api.exec(id, ['mkfifo', '/workspace/gate']);
    request.end(JSON.stringify({ argv: ['sh', '-c', 'echo one; read x < /workspace/gate; echo two'] }));
    const [response] = await once(request, 'response');
    const pieces = response[Symbol.asyncIterator]();
    assert.equal(outcome((await pieces.next()).value.toString()).out, 'one\n');
    await api.exec(id, ['sh', '-c', 'echo > /workspace/gate']);
    let rest = '';
    for (let piece = await pieces.next(); !piece.done; piece = await pieces.next()) rest += piece.value;
    assert.equal(outcome(rest).out, 'two\n');
    assert.equal(outcome(rest).code, 0);
  });

  test('sessions keep directory, variables and functions', async () => {
    assert.deepEqual((await api.post(`/v1/sandbox/${id}/session`, { id: 's1', env: { FROM: 'session' } })).json, { id: 's1' });
    await api.exec(id, ['cd', '/tmp'], { session: 's1' });
    await api.exec(id, ['export', 'X=5'], { session: 's1' });
    const response = await api.exec(id, 'pwd; echo $X $FROM', { session: 's1' });
    assert.equal(response.out, '/tmp\n5 session\n');
    assert.equal((await api.exec(id, 'echo "$X"')).out, '\n');
    const gone = await api.delete(`/v1/sandbox/${id}/session/s1`);
    assert.equal(gone.status, 200);
    assert.deepEqual([gone.json.success, gone.json.sessionId, typeof gone.json.timestamp], [true, 's1', 'string']);
    const again = await api.delete(`/v1/sandbox/${id}/session/s1`);
    assert.equal(again.status, 502);
    assert.equal(again.json.code, 'session_error');
  });

  test('sessions have ids of one form, made up when none is given', async () => {
    const made = await api.post(`/v1/sandbox/${id}/session`);
    assert.equal(made.status, 200);
    assert.match(made.json.id, /^session-[a-z2-7]+$/);
    assert.equal((await api.exec(id, ['true'], { session: made.json.id })).code, 0);
    assert.equal((await api.post(`/v1/sandbox/${id}/session`, 'not json')).status, 200);
    assert.equal((await api.post(`/v1/sandbox/${id}/session`, { id: 'a b' })).status, 400);
    assert.equal((await api.post(`/v1/sandbox/${id}/session`, { id: 5 })).status, 400);
    const twice = await api.post(`/v1/sandbox/${id}/session`, { id: made.json.id });
    assert.equal(twice.status, 502);
    assert.equal(twice.json.code, 'session_error');
    assert.equal((await api.exec(id, ['echo', 'new'], { session: 'madeonuse' })).out, 'new\n');
  });

  test('deleting a session never starts a sandbox', async () => {
    const fresh = await api.newId();
    assert.equal((await api.delete(`/v1/sandbox/${fresh}/session/s1`)).status, 502);
    assert.equal((await api.get(`/v1/sandbox/${fresh}`)).status, 404);
  });

  test('a client that leaves takes its command with it', async () => {
    const request = api.open('POST', `/v1/sandbox/${id}/exec`, { agent: false });
    request.end(JSON.stringify({ argv: ['sleep', '1234'] }));
    await once(request, 'response');
    await until('the command runs', async () => (await processes('sleep')) !== '');
    request.destroy();
    await until('the command is gone', async () => (await processes('sleep')) === '');
  });

  test('keep_on_disconnect lets it go on', async () => {
    const request = api.open('POST', `/v1/sandbox/${id}/exec`, { agent: false });
    request.end(JSON.stringify({ argv: ['sh', '-c', 'sleep 0.5; echo done > /workspace/kept'], keep_on_disconnect: true }));
    await once(request, 'response');
    request.destroy();
    await until('it wrote its file', async () => (await api.get(`/v1/sandbox/${id}/file/workspace/kept`)).status === 200);
  });

  test('standard input streams while output streams back', async () => {
    const request = api.open('POST', `/v1/sandbox/${id}/exec`, { agent: false, headers: { 'content-type': 'application/x-berm-exec' } });
    request.write('{"argv":["cat"]}\nfirst');
    const [response] = await once(request, 'response');
    const [piece] = await once(response, 'data');
    assert.equal(outcome(piece.toString()).out, 'first');
    request.end('second');
    const rest = outcome((await collect(response)).text);
    assert.equal(rest.out, 'second');
    assert.equal(rest.code, 0);
  });

  test('standard input is exact, at any split of the document line', async () => {
    const bytes = Buffer.alloc(3 << 20, 'ab\0\n\xff', 'latin1');
    const whole = await api.exec(id, ['sha256sum'], { stdin: bytes });
    const { createHash } = await import('node:crypto');
    assert.equal(whole.out.split(' ')[0], createHash('sha256').update(bytes).digest('hex'));
    const request = api.open('POST', `/v1/sandbox/${id}/exec`, { agent: false, headers: { 'content-type': 'application/x-berm-exec' } });
    const responded = once(request, 'response');
    for (const piece of ['{"argv"', ':["cat"', ']}', '\n', 'x']) {
      request.write(piece);
      await delay(5);
    }
    request.end();
    const [response] = await responded;
    assert.equal(outcome((await collect(response)).text).out, 'x');
    assert.equal((await api.exec(id, ['cat'], { stdin: '' })).out, '');
    assert.equal((await api.exec(id, ['pwd'], { stdin: '', cwd: '/tmp' })).out, '/tmp\n');
  });

  test('a command that ends early does not wait for its input', async () => {
    const request = api.open('POST', `/v1/sandbox/${id}/exec`, { agent: false, headers: { 'content-type': 'application/x-berm-exec' } });
    request.write('{"argv":["true"]}\nnobody reads this');
    const [response] = await once(request, 'response');
    assert.equal(outcome((await collect(response)).text).code, 0);
    request.destroy();
  });

  test('a document line without end or too long is refused', async () => {
    const type = { 'content-type': 'application/x-berm-exec' };
    const path = `/v1/sandbox/${id}/exec`;
    assert.equal((await api.post(path, '', { headers: type })).status, 400);
    assert.equal((await api.post(path, '{"argv":', { headers: type })).status, 400);
    assert.equal((await api.post(path, Buffer.alloc(1100000, 'x'), { headers: type, agent: false })).status, 413);
  });

  test('many at once', async () => {
    const responses = await Promise.all(Array.from({ length: 40 }, (_, i) => api.exec(id, ['echo', String(i)])));
    assert.deepEqual(responses.map((response) => response.out), Array.from({ length: 40 }, (_, i) => `${i}\n`));
  });

  test('more at once than the agent has room for connections', async () => {
    const wide = new Api(daemon);
    wide.agent.maxSockets = 1000;
    const responses = await Promise.all(Array.from({ length: 900 }, () => wide.get(`/v1/sandbox/${id}/file/workspace/nope`)));
    wide.close();
    assert.deepEqual([...new Set(responses.map((response) => response.status))], [404]);
  });

  test('a client that does not read costs only itself', async () => {
    const request = api.open('POST', `/v1/sandbox/${id}/exec`, { agent: false });
    request.end(JSON.stringify({ argv: ['yes'] }));
    const [response] = await once(request, 'response');
    response.pause();
    await delay(300);
    const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readStatus(daemon.pid))[1]);
    const before = resident();
    await delay(500);
    assert.ok(resident() < before + 20000, `grew from ${before} to ${resident()} KiB`);
    assert.equal((await api.exec(id, ['echo', 'still here'])).out, 'still here\n');
    request.destroy();
    await until('yes is gone', async () => (await processes('yes')) === '');
  });
});

function readStatus(pid) {
  return fs.readFileSync(`/proc/${pid}/status`, 'utf8');
}
