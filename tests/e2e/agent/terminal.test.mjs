// /ws/pty: reference/container/50, first part.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { after, before } from 'node:test';

import { test } from '../lib/test.mjs';
import { Agent, sanitized } from './helper.mjs';
import { TerminalClient } from './terminal-client.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

let sessions = 0;
const fresh = () => `session-${sessions++}`;
const ready = (sessionId, more = {}, options) => TerminalClient.ready(agent, { sessionId, ...more }, options);

test('keys run commands and output comes back', async () => {
  const terminal = await ready(fresh());
  assert.equal(await terminal.run('echo $((6 * 7)); pwd; echo $TERM; stty size'), '42\n/workspace\nxterm-256color\n24 80');
  terminal.close();
});

test('terminals are told with the processes, to those who know of them', async () => {
  const list = async () => (await agent.get('/api/process/list')).json;
  const session = fresh();
  const terminal = await ready(session);
  const told = (await list()).terminals.find((t) => t.sessionId === session);
  assert.equal(await terminal.run('echo $$'), String(told.pid));
  assert.match(told.startTime, /^\d{4}-.*Z$/);
  terminal.keys('exit\r');
  await terminal.until('the end', () => terminal.messages.some((m) => m.type === 'exit'));
  assert.equal(((await list()).terminals ?? []).some((t) => t.sessionId === session), false);
});

test('without a session there is no terminal', async () => {
  for (const query of ['', '?sessionId=', '?cols=80']) {
    const reply = await agent.get(`/ws/pty${query}`, { headers: { Connection: 'Upgrade', Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' } });
    assert.deepEqual([reply.status, reply.text], [400, 'sessionId query parameter required']);
  }
  const bad = await agent.get('/ws/pty?sessionId=a', { headers: { Connection: 'Upgrade', Upgrade: 'websocket' } });
  assert.deepEqual([bad.status, bad.text], [503, 'WebSocket upgrade failed']);
});

test('the size is the one asked for, nonsense is the default, and a resize reaches the program', async () => {
  const terminal = await ready(fresh(), { cols: '100', rows: '30' });
  assert.equal(await terminal.run('stty size'), '30 100');
  terminal.resize(120, 40);
  assert.equal(await terminal.run('stty size'), '40 120');
  // A program of its own: an interactive bash runs its trap when the next key comes, if the signal is between two of its reads.
  terminal.keys(`bash -c 'trap "echo resized; stty size" WINCH; echo is" "up; while :; do sleep 0.02; done'\r`);
  await terminal.sees(/is up/);
  terminal.resize(90, 20);
  await terminal.sees(/resized\r\n20 90/);
  terminal.keys('\x03');
  for (const [cols, rows] of [['x', '-1'], ['0', '0'], ['99999', '24']]) {
    const other = await ready(fresh(), { cols, rows });
    assert.equal(await other.run('stty size'), '24 80');
    other.close();
  }
  terminal.close();
});

test('control messages that are none are told, and the connection stays', async () => {
  const terminal = await ready(fresh());
  const errors = () => terminal.messages.filter((m) => m.type === 'error').map((m) => m.message);
  const invalid = ['no json', 'null', '{"type":"resize"}', '{"type":"resize","cols":"80","rows":24}', '{"type":"resize","cols":80}'];
  for (const text of invalid) terminal.control(text);
  await terminal.until('the errors', () => errors().length === invalid.length);
  assert.deepEqual([...new Set(errors())], ['Invalid control message']);
  const sizes = [[0, 24], [80, 0], [-1, 5], [70000, 24]];
  for (const [cols, rows] of sizes) terminal.resize(cols, rows);
  await terminal.until('the errors', () => errors().length === invalid.length + sizes.length);
  assert.match(errors().at(-1), /Invalid dimensions/);
  for (const text of ['{"type":"hello"}', '{}', '[]', '5', '"x"']) terminal.control(text);
  assert.equal(await terminal.run('stty size'), '24 80');
  assert.equal(errors().length, invalid.length + sizes.length);
  terminal.close();
});

test('the terminal has what the session exports and its directory, and nothing of it leaks back', async () => {
  const session = fresh();
  await agent.run('export LINES2="$(printf "a\\nb=c\\n\\nd")"; export QUOTED="it\'s \\"so\\""; HIDDEN=1; cd /tmp; greet() { echo hi; }; export -f greet',
    { session });
  const before = (await agent.run('set | grep -v ^_= ; jobs; hash', { session })).stdout;
  const terminal = await ready(session);
  assert.equal(await terminal.run('printf %s "$LINES2" | od -An -c | tr -d " \\n"; echo; echo "$QUOTED${HIDDEN-unset}"; pwd; greet'),
    'a\\nb=c\\n\\nd\nit\'s "so"unset\n/tmp\nhi');
  await terminal.run('cd /; export FROM_TERMINAL=1; unset QUOTED');
  assert.equal((await agent.run('set | grep -v ^_= ; jobs; hash', { session })).stdout, before);
  assert.equal((await agent.run('pwd; echo "$QUOTED${FROM_TERMINAL-unset}"', { session })).stdout, '/tmp\nit\'s "so"unset');
  await agent.run('cd /var; export LATER=1', { session });
  assert.equal(await terminal.run('pwd; echo ${LATER-unset}'), '/\nunset');
  terminal.close();
});

test('a session without PATH has a terminal all the same', async () => {
  const session = fresh();
  await agent.run('export PATH=/nowhere MARK=here; cat() { echo no; }; env() { echo no; }; export -f cat', { session });
  const terminal = await ready(session, { shell: '/bin/bash' });
  assert.equal(await terminal.run('echo $MARK $PATH'), 'here /nowhere');
  terminal.close();
});

test('variables that the session has unset stay away', async () => {
  const session = fresh();
  await agent.run('unset HOME', { session });
  const terminal = await ready(session);
  assert.equal(await terminal.run('echo "${HOME-unset}"'), 'unset');
  terminal.close();
});

test('a running command of the session delays its first terminal', async () => {
  const session = fresh();
  const [runs, go] = [await agent.gate(), await agent.gate()];
  const slow = agent.run(`echo >${runs.path}; ${go.wait}; export LATE=yes`, { session });
  await agent.run(runs.wait, { session: `${session}-other` });
  const opening = ready(session);
  await go.open();
  const terminal = await opening;
  assert.equal(await terminal.run('echo $LATE'), 'yes');
  await slow;
  terminal.close();
});

test('input and a size that come before ready are not lost', async () => {
  const session = fresh();
  const [runs, go] = [await agent.gate(), await agent.gate()];
  const slow = agent.run(`echo >${runs.path}; ${go.wait}`, { session });
  await agent.run(runs.wait, { session: `${session}-other` });
  const terminal = await TerminalClient.open(agent, { sessionId: session });
  terminal.resize(101, 31);
  terminal.keys('echo ear""ly; stty size\r');
  assert.equal(terminal.messages.length, 0);
  await go.open();
  await terminal.sees(/early\r\n31 101/);
  await slow;
  terminal.close();
});

test('it is the controlling terminal: Ctrl-C, Ctrl-Z and jobs work', async () => {
  const terminal = await ready(fresh());
  const running = async (program) => { while ((await agent.run(`pgrep -fx "${program}"`)).exitCode !== 0); };
  terminal.keys('sleep 100\r');
  await running('sleep 100');
  terminal.keys('\x03');
  await terminal.sees(/\^C/);
  terminal.keys('echo st""atus=$?\r');
  await terminal.sees(/status=130/);
  terminal.keys('sleep 200\r');
  await running('sleep 200');
  terminal.keys('\x1a');
  await terminal.sees(/Stopped/);
  assert.match(await terminal.run('jobs'), /Stopped\s+sleep 200/);
  assert.match(await terminal.run('kill %1; wait %1; tty'), /^\/dev\/pts\/\d+$/m);
  assert.doesNotMatch(terminal.text, /no job control|cannot set terminal process group/);
  terminal.close();
});

test('reconnecting gets the replay as one binary message before ready', async () => {
  const session = fresh();
  const first = await ready(session);
  await first.run('echo remembered');
  first.close();
  const second = await ready(session, { cols: '77', rows: '7', shell: 'sh' });
  assert.equal(second.frames.length, 2);
  assert.ok(second.frames[0].bytes.includes('remembered'));
  assert.deepEqual(second.frames[1].message, { type: 'ready' });
  assert.equal(await second.run('stty size; echo ${BASH_VERSION:+bash}'), '24 80\nbash');
  second.close();
});

test('what is printed while nobody watches is kept, the last 256 KiB of it', async () => {
  const session = fresh();
  const first = await ready(session);
  first.keys('sleep 0.1; seq 1 200000; touch /tmp/printed\r');
  await first.sees(/printed/);
  first.close();
  for (let found = false; !found;) found = (await agent.run('ls /tmp/printed')).exitCode === 0;
  const second = await ready(session);
  assert.equal(second.frames[0].bytes.length, 262144);
  await second.sees(/199998\r\n199999\r\n200000\r\n/); // the end of it may not have been read from the terminal before
  second.close();
});

test('several sockets share a terminal, sessions have their own', async () => {
  const session = fresh();
  const [one, two, other] = await Promise.all([ready(session), ready(session), ready(fresh())]);
  one.keys('echo sha""red\r');
  await Promise.all([one.sees(/shared/), two.sees(/shared/)]);
  two.keys('ONLY=1\r');
  assert.equal(await one.run('echo $ONLY'), '1');
  assert.equal(await other.run('echo "${ONLY-unset}"'), 'unset');
  assert.doesNotMatch(other.text, /shared/);
  two.close();
  assert.equal(await one.run('echo still'), 'still');
  one.close();
  other.close();
});

test('two inputs sent back to back are both run, in order', async () => {
  const terminal = await ready(fresh());
  terminal.keys('echo fi""rst\r');
  terminal.keys('echo sec""ond\r');
  await terminal.sees(/first\r\n[^]*second\r\n/);
  terminal.close();
});

test('the exit is told to all, closes with 1000, and the next connection gets a fresh terminal', async () => {
  const session = fresh();
  const [one, two] = await Promise.all([ready(session), ready(session)]);
  one.keys('echo la""st; exit 7\r');
  for (const terminal of [one, two]) {
    assert.deepEqual(await terminal.message('exit'), { type: 'exit', code: 7 });
    assert.deepEqual(await terminal.end(), { code: 1000, reason: '' });
    assert.match(terminal.text, /last\r\n/);
  }
  const next = await ready(session);
  assert.doesNotMatch(next.text, /last/);
  next.keys('kill -9 $$\r');
  assert.deepEqual(await next.message('exit'), { type: 'exit', code: 137, signal: 'SIGKILL' });
  assert.equal((await next.end()).code, 1000);
});

test('the exit of the shell does not wait for what it leaves behind', async () => {
  const terminal = await ready(fresh());
  terminal.keys('trap "" HUP; sleep 60 & exit\r');
  assert.equal((await terminal.message('exit')).code, 0);
  await terminal.end();
});

test('nothing of the last output is lost', async () => {
  for (let i = 0; i < 20; i++) {
    const terminal = await ready(fresh(), { shell: '/bin/sh' });
    terminal.keys('exec seq 1 5000\r');
    await terminal.end();
    assert.match(terminal.text, /4999\r\n5000\r\n$/);
  }
});

test('a shell that cannot be started is an error and a close with 1011', async () => {
  const session = fresh();
  for (const shell of ['no-such-shell', '/etc/passwd', '/tmp']) {
    const terminal = await TerminalClient.open(agent, { sessionId: session, shell });
    const { message } = await terminal.message('error');
    assert.ok(message.includes(shell), message);
    const { code, reason } = await terminal.end();
    assert.deepEqual([code, message.startsWith(reason) && reason.length > 20], [1011, true]);
  }
  const terminal = await ready(session);
  assert.equal(await terminal.run('echo fine'), 'fine');
  terminal.close();
});

test('a session whose shell has ended is told once', async () => {
  const session = fresh();
  await agent.run('exit 3', { session });
  await agent.run('true', { session });
  await agent.run('kill -9 $$', { session });
  const terminal = await ready(session);
  assert.equal(await terminal.run('echo new'), 'new');
  terminal.close();
});

test('deleting the session ends its terminal with all that runs in it', async () => {
  const session = fresh();
  const terminal = await ready(session);
  await terminal.run('(trap "" HUP TERM; exec -a from-terminal sleep 300) & true');
  await agent.post('/api/session/delete', { sessionId: session });
  assert.deepEqual(await terminal.message('exit'), { type: 'exit', code: 137, signal: 'SIGKILL' });
  assert.equal((await terminal.end()).code, 1000);
  for (let left = 'x'; left;) left = (await agent.run('pgrep -f ^from-terminal')).stdout;
  const next = await ready(session);
  assert.equal(await next.run('echo again'), 'again');
  next.close();
});

test('a hundred megabytes reach one reader without loss', { timeout: 240000 }, async () => {
  const lines = sanitized ? 1_150_000 : 11_500_000;
  let left = 0; /* of the numbers; what comes after them is the shell's */
  for (let low = 1; low <= lines; low *= 10) left += (Math.min(lines, 10 * low - 1) - low + 1) * (String(low).length + 2);
  const wanted = execFileSync('sh', ['-c', `seq 1 ${lines} | sed 's/$/\\r/' | md5sum`], { encoding: 'latin1' }).slice(0, 32);
  const terminal = await ready(fresh(), {}, { keep: false });
  const got = createHash('md5');
  let before = '';
  const take = (data) => {
    got.update(data.subarray(0, left));
    left = Math.max(0, left - data.length);
  };
  terminal.onBytes = (data) => {
    if (before === undefined) return take(data);
    before += data.toString('latin1');
    const begin = before.indexOf('begin\r\n');
    if (begin < 0) return;
    take(Buffer.from(before.slice(begin + 7), 'latin1'));
    before = undefined;
  };
  terminal.keys(`stty -echo; PS1=; printf "%s\\n" be""gin; seq 1 ${lines}; exit\r`);
  await terminal.until('the exit', () => terminal.closed, 55000);
  assert.equal(left, 0);
  assert.equal(got.digest('hex'), wanted);
});

test('a reader that pauses for a while loses nothing, and holds the program up', async () => {
  const terminal = await ready(fresh());
  terminal.keys('stty -echo; PS1=; printf "%s\\n" be""gin; seq 1 3000000; touch /tmp/through; exit\r');
  await terminal.sees(/begin/);
  terminal.socket.pause();
  for (let i = 0; i < 30; i++) await agent.run('true');
  assert.equal((await agent.run('ls /tmp/through')).exitCode, 2);
  terminal.keep = false;
  let tail = Buffer.alloc(0);
  terminal.onBytes = (data) => { tail = Buffer.concat([tail.subarray(-100), data]); };
  terminal.socket.resume();
  await terminal.end();
  assert.match(tail.toString(), /2999999\r\n3000000\r\n/);
  assert.ok(terminal.received > 3000000 * 8, `${terminal.received}`);
});

test('a reader that stops is overtaken, told, and does not stop another', async () => {
  const session = fresh();
  const [stuck, reader] = await Promise.all([ready(session), ready(session, {}, { keep: false })]);
  stuck.socket.pause();
  const started = Date.now();
  reader.keys('stty -echo; PS1=; seq 1 4000000; exit 5\r');
  assert.deepEqual(await reader.message('exit'), { type: 'exit', code: 5 });
  assert.ok(Date.now() - started < 15000);
  assert.ok(reader.received > 34e6);
  const rss = (await agent.run('grep VmRSS /proc/1/status')).stdout;
  assert.ok(sanitized || Number(rss.match(/\d+/)[0]) < 60000, rss);
  stuck.socket.resume();
  assert.match((await stuck.message('error')).message, /faster than it was read/);
  assert.equal((await stuck.end()).code, 1013);
});

test('a program that does not read its input pauses the writer and no one else', async () => {
  const session = fresh();
  const terminal = await ready(session);
  terminal.keys('stty raw -echo; echo sle""eping; sleep 1; head -c 3000000 | md5sum; stty sane; exit\r');
  await terminal.sees(/sleeping/);
  for (let i = 0; i < 30; i++) terminal.socket.send(Buffer.alloc(100000, 'k'));
  await agent.run('true');
  const want = createHash('md5').update(Buffer.alloc(3000000, 'k')).digest('hex');
  await terminal.sees(new RegExp(want));
  terminal.close();
});
