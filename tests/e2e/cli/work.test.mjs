/* The verbs for what goes on in a sandbox, against a real daemon with real sandboxes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { until } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { startDaemon, whyNoDaemon } from './daemon.mjs';
import { berm, bermPath, start } from './program.mjs';

const images = process.env.BERM_IMAGES ?? '/var/lib/berm/images';
const hasBase = fs.existsSync(path.join(images, 'names', 'base'));

describe('berm at work', { skip: whyNoDaemon() }, () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-work-'));
  let daemon;
  let env;
  let id;

  before(async () => {
    daemon = await startDaemon();
    env = { BERM_URL: daemon.url };
    id = (await call('create')).out.trim();
  });
  after(async () => {
    await daemon?.stop();
    fs.rmSync(directory, { recursive: true });
  });

  const call = (...args) => berm(args, { env });
  const ok = async (...args) => {
    const result = await call(...args);
    assert.equal(result.status, 0, `${args.join(' ')}: ${result.err}`);
    return result.out;
  };
  const json = async (...args) => JSON.parse(await ok(...args, '--json'));
  const bash = (text) => ok('exec', id, '--', 'bash', '-c', text);
  const lines = (child, onLine) => {
    let rest = '';
    child.stdout.on('data', (piece) => {
      const parts = (rest + piece).split('\n');
      rest = parts.pop();
      parts.forEach(onLine);
    });
  };

  test('processes are started, listed, followed and killed', async () => {
    assert.equal(await ok('process', 'start', '--id', 'web', '-e', 'WHO=me', id, 'echo hello $WHO; exec sleep 1000'), 'web\n');
    assert.match(await ok('ps', id), /^web +running +- /m);
    assert.equal(await ok('process', 'ls', '-q', id), 'web\n');
    const { processes } = await json('process', 'ls', id);
    assert.equal(processes[0].command, 'echo hello $WHO; exec sleep 1000');
    await until('it wrote', async () => (await ok('process', 'logs', id, 'web')) === 'hello me\n');
    assert.equal((await json('process', 'logs', id, 'web')).stdout, 'hello me\n');
    const following = start(['process', 'logs', '-f', id, 'web'], { env });
    await once(following.child.stdout, 'data');
    await ok('process', 'start', '--id', 'deaf', id, 'trap "echo told >told" HUP; echo set >set; while :; do read -t 60 <> <(:); done');
    await until('the trap', async () => (await call('exec', id, '--', 'cat', 'set')).out === 'set\n');
    assert.equal(await ok('process', 'kill', '-s', 'HUP', id, 'deaf'), '');
    await until('what the signal does', async () => (await call('exec', id, '--', 'cat', 'told')).out === 'told\n');
    assert.equal((await call('process', 'kill', '-s', 'NOSUCH', id, 'deaf')).status, 1);
    assert.equal((await call('process', 'kill', '-s', 'HUP', '--all', id)).status, 2);
    await ok('process', 'kill', id, 'deaf');
    assert.deepEqual(await json('process', 'kill', id, 'web'), { killed: 'web' });
    const followed = await following.done;
    assert.equal(followed.out, 'hello me\n');
    assert.equal(followed.status, 143);
    const again = await call('process', 'kill', id, 'web');
    assert.equal(again.status, 1);
    assert.match(again.err, /^berm: .*web/);
    await ok('process', 'start', id, 'exec sleep 1000');
    assert.deepEqual(await json('process', 'kill', '--all', id), { killed: 1 });
    assert.equal((await call('process', 'kill', id)).status, 2);
    assert.equal((await call('process', 'logs', id, 'none')).status, 1);
  });

  test('both streams of a process come on both streams, and its status is the follower\'s', async () => {
    await ok('process', 'start', '--id', 'two', id, 'echo out; echo err >&2; exit 9');
    const followed = await call('process', 'logs', '--follow', id, 'two');
    assert.deepEqual([followed.out, followed.err, followed.status], ['out\n', 'err\n', 9]);
  });

  test('files are listed, described, made, moved and removed', async () => {
    await ok('file', 'mkdir', '-p', id, 'a/b');
    assert.equal((await call('file', 'mkdir', id, 'a')).status, 1);
    await bash('printf 12345 >a/five; printf x >a/.hidden');
    assert.match(await ok('file', 'ls', id, 'a'), /rw-r--r-- +5 +\d{4}-.* +file +five\n/);
    assert.doesNotMatch(await ok('file', 'ls', id, '/workspace/a'), /hidden/);
    assert.match(await ok('file', 'ls', '-a', id, 'a'), /\.hidden/);
    assert.match(await ok('file', 'ls', '-R', id), /\/workspace\/a\/five/);
    assert.equal((await json('file', 'stat', id, 'a/five')).file.size, 5);
    assert.match(await ok('file', 'stat', id, 'a/b'), /directory +\/workspace\/a\/b/);
    assert.deepEqual(await json('file', 'mv', id, 'a/five', 'a/b/six'), { moved: '/workspace/a/b/six' });
    await ok('file', 'rm', id, 'a/b/six');
    const gone = await call('file', 'stat', id, 'a/b/six');
    assert.equal(gone.status, 1);
    assert.match(gone.err, /a\/b\/six/);
    assert.equal((await call('file', 'rm', id, 'a')).status, 1);
  });

  test('changes are watched until a signal', async () => {
    const watching = start(['watch', id], { env });
    const seen = [];
    lines(watching.child, (line) => seen.push(JSON.parse(line)));
    await until('it watches', () => seen.some((event) => event.type === 'watching'));
    await bash('touch new-one');
    await until('it is told', () => seen.some((event) => event.path === '/workspace/new-one' && event.eventType === 'create'));
    watching.child.kill('SIGINT');
    assert.equal((await watching.done).signal, 'SIGINT');
  });

  test('a port is waited for', async () => {
    const waiting = start(['port', 'wait', id, '8123'], { env });
    await ok('process', 'start', '--id', 'server', id, 'while :; do printf "HTTP/1.0 200 OK\\r\\n\\r\\n" | busybox nc -l -p 8123 2>/dev/null || nc -l -p 8123 || exec perl -MIO::Socket::INET -e \'$s=IO::Socket::INET->new(LocalPort=>8123,Listen=>5,ReuseAddr=>1); while($c=$s->accept){close $c}\'; done');
    assert.equal((await waiting.done).status, 0);
    await ok('process', 'kill', id, 'server');
    await ok('process', 'start', '--id', 'short', id, 'exit 1');
    const never = await call('port', 'wait', '--process', 'short', id, '8124');
    assert.equal(never.status, 1);
    assert.match(never.err, /nothing answers/);
  });

  test('sessions keep their directory', async () => {
    assert.equal(await ok('session', 'create', '-w', '/tmp', id, 'work'), 'work\n');
    assert.equal(await ok('exec', '-s', 'work', id, '--', 'pwd'), '/tmp\n');
    assert.match(await ok('session', 'ls', id), /"work"/);
    assert.deepEqual(await json('session', 'rm', id, 'work'), { removed: 'work' });
  });

  test('the workspace is persisted and laid over another one', async () => {
    await bash('rm -rf * && mkdir d && echo kept >d/file && echo left >skipped.log');
    const other = (await ok('create')).trim();
    const archive = await berm(['persist', '--exclude', '*.log', id], { env });
    assert.equal(archive.status, 0, archive.err);
    const laid = await berm(['hydrate', other], { env, input: archive.stdout });
    assert.equal(laid.status, 0, laid.err);
    assert.equal(await ok('exec', other, '--', 'bash', '-c', 'cat d/file; ls'), 'kept\nd\n');
    const bad = await berm(['hydrate', other], { env, input: 'no archive' });
    assert.equal(bad.status, 1);
    await ok('rm', other);
  });

  test('git says what is wrong, and where a clone is', async () => {
    const refused = await call('git', 'clone', id, 'not-a-url');
    assert.equal(refused.status, 1);
    assert.match(refused.err, /^berm: .*repository/i);
  });

  test('code has results, and a status', { skip: !hasBase && 'no image base' }, async () => {
    const own = (await ok('create', '--image', 'base')).trim();
    assert.equal(await ok('code', 'run', own, 'x = 20; x * 2 + 2'), 'Out[1]: 42\n42\n');
    const context = (await ok('context', 'create', '-l', 'javascript', own)).trim();
    await ok('code', 'run', '-c', context, own, 'let y = 4');
    assert.match(await ok('code', 'run', '-c', context, own, '[y, y + 1]'), /\[4,5\]/);
    assert.match(await ok('context', 'ls', own), new RegExp(`^${context} +javascript +/workspace$`, 'm'));
    const failed = await call('code', 'run', own, '1 / 0');
    assert.equal(failed.status, 1);
    assert.match(failed.err, /ZeroDivisionError: division by zero/);
    const events = (await berm(['code', 'run', '--json', own, '-'], { env, input: '{"a": 1}' })).out.trim().split('\n');
    assert.deepEqual(JSON.parse(events.find((line) => line.includes('"result"'))).json, { a: 1 });
    const busy = start(['code', 'run', '-c', (await ok('context', 'create', own)).trim(), own, 'print("go", flush=True)\nimport time\ntime.sleep(1000)'], { env });
    await once(busy.child.stdout, 'data');
    busy.child.kill('SIGINT');
    await busy.done;
    assert.deepEqual(await json('context', 'rm', own, context), { removed: context });
    await ok('rm', own);
  });

  test('a shell on a pipe ends with the status of its shell', async () => {
    const shell = await berm(['shell', id], { env, input: 'echo $((6 * 7))\nexit 3\n' });
    assert.equal(shell.status, 3, shell.err);
    assert.match(shell.out, /^42\r$/m);
  });

  test('a shell on a terminal: keys, size, and the session that outlives it', async () => {
    const command = `stty rows 33 cols 99; '${bermPath}' shell -s term ${id}`;
    const script = spawn('script', ['-qefc', command, '/dev/null'], { env: { ...process.env, ...env }, stdio: 'pipe' });
    let shown = '';
    for (const stream of [script.stdout, script.stderr]) stream.on('data', (piece) => (shown += piece));
    await until('a prompt', () => /[$#] /.test(shown)).catch((error) => { throw new Error(`${error.message} in ${JSON.stringify(shown)}`); });
    script.stdin.write('stty size; left=behind\r');
    await until('its size', () => shown.includes('33 99'));
    script.stdin.write('sleep 1000\r');
    await until('it runs', async () => (await call('exec', id, '--', 'bash', '-c', 'grep -qsx sleep /proc/[0-9]*/comm')).status === 0);
    script.stdin.write('\x03echo $((40 + 2))\r');
    await until('Ctrl-C went through', () => /^42\r?$/m.test(shown));
    const closed = once(script, 'close');
    script.kill('SIGTERM');
    await closed;
    const again = start(['shell', '-s', 'term', id], { env, keepStdin: true });
    let out = '';
    again.child.stdout.on('data', (piece) => (out += piece));
    again.child.stdin.write('echo still $left\n');
    await until('it is the same shell', () => out.includes('still behind'));
    again.child.stdin.end('exit\n');
    await again.done;
  });

  test('a terminal that cannot be had is refused with its reason', async () => {
    const refused = await call('shell', '--shell', '/no/such/shell', id);
    assert.notEqual(refused.status, 0);
    assert.equal((await call('shell', 'NOT AN ID')).status, 1);
  });

  test('labels and variables are set, changed and taken away', async () => {
    await ok('label', id, 'team=a', 'tier=low');
    await ok('label', id, 'tier=', 'team=b');
    assert.deepEqual(JSON.parse(await ok('inspect', id)).labels, { team: 'b' });
    assert.deepEqual(await json('label', '--replace', id, 'only=one'), { id });
    assert.deepEqual(JSON.parse(await ok('inspect', id)).labels, { only: 'one' });
    await ok('env', id, 'COLOUR=blue');
    assert.equal(await bash('echo $COLOUR'), 'blue\n');
    await ok('env', id, 'COLOUR=');
    assert.equal(await bash('echo [$COLOUR]'), '[]\n');
    assert.equal((await call('label', id)).status, 2);
    assert.equal((await call('label', id, 'nothing')).status, 1);
  });

  test('figures, and events as they happen', async () => {
    assert.equal(JSON.parse(await ok('stats', id)).state, 'running');
    const following = start(['events'], { env });
    const seen = [];
    lines(following.child, (line) => seen.push(JSON.parse(line)));
    await until('an event of a sandbox that was made meanwhile', async () => {
      const made = (await ok('create')).trim();
      await ok('rm', made);
      return seen.some((event) => event.sandbox === made && event.event === 'created');
    });
    following.child.kill('SIGTERM');
    assert.equal((await following.done).signal, 'SIGTERM');
  });

  test('the pool is told of', async () => {
    assert.equal(typeof JSON.parse(await ok('pool', 'stats')).warm, 'number');
    await ok('pool', 'shutdown');
    await ok('pool', 'prime');
  });
});
