/* Commands and archives through the Docker Engine API. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker, run } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

describe('the Docker Engine API: exec and archive', { skip: whyNoDaemon() }, () => {
  let daemon;
  let docker;
  let port;

  before(async () => {
    daemon = new Daemon({ poolSize: 1, docker: true });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
    ({ port } = await docker.pair('app', { Env: ['FROM_CONTAINER=1'] }));
  });
  after(() => daemon.stop());

  const create = async (Cmd, more = {}) => docker.post('/containers/app/exec', { AttachStdout: true, AttachStderr: true, Cmd, ...more });

  /* An upgrade as workerd makes it: {socket, bytes}, the latter what has come by now. */
  const opened = (id) => upgrade(`/exec/${id}/start`, '{"Detach":false,"Tty":false}');

  async function upgrade(target, body, engine = docker) {
    const socket = net.connect({ path: engine.socketPath, allowHalfOpen: true });
    socket.write(`POST ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    let bytes = Buffer.alloc(0);
    while (!bytes.includes('\r\n\r\n')) {
      const [piece] = await once(socket, 'data');
      bytes = Buffer.concat([bytes, piece]);
    }
    const end = bytes.indexOf('\r\n\r\n') + 4;
    assert.match(bytes.toString('latin1', 0, end), /^HTTP\/1\.1 101 [\s\S]*upgrade: tcp/i);
    const pieces = [bytes.subarray(end)];
    socket.on('data', (piece) => pieces.push(piece));
    return { socket, bytes: () => Buffer.concat(pieces) };
  }

  /* Its frames: {socket, output}, the latter a promise of {1: Buffer, 2: Buffer}. */
  async function upgraded(id) {
    const { socket, bytes } = await opened(id);
    return { socket, output: once(socket, 'end').then(() => frames(bytes())) };
  }

  function frames(bytes) {
    const streams = { 1: [], 2: [] };
    for (let at = 0; at + 8 <= bytes.length;) {
      const length = bytes.readUInt32BE(at + 4);
      if (at + 8 + length > bytes.length) break; /* the rest of it is under way */
      streams[bytes[at]].push(bytes.subarray(at + 8, at + 8 + length));
      at += 8 + length;
    }
    return { 1: Buffer.concat(streams[1]), 2: Buffer.concat(streams[2]) };
  }

  const sleeps = async () => (await run(port, 'grep -qsx sleep /proc/[0-9]*/comm')).exitCode === 0;

  test('a command without an upgrade streams frames and leaves its code', async () => {
    const { Id } = (await create(['sh', '-c', 'echo out $FROM_CONTAINER $MORE; echo err >&2; exit 3'], { Env: ['MORE=2'] })).json;
    const answer = await docker.post(`/exec/${Id}/start`, { Detach: false });
    assert.equal(answer.status, 200);
    const { 1: out, 2: err } = frames(answer.bytes);
    assert.equal(out.toString(), 'out 1 2\n');
    assert.equal(err.toString(), 'err\n');
    const state = (await docker.get(`/exec/${Id}/json`)).json;
    assert.deepEqual([state.Running, state.ExitCode], [false, 3]);
    assert.equal((await docker.post(`/exec/${Id}/start`, {})).status, 409);
  });

  test('an upgraded one has standard input, and its end', async () => {
    const { Id } = (await create(['sh', '-c', 'wc -c; echo done >&2'], { AttachStdin: true })).json;
    const { socket, output } = await upgraded(Id);
    socket.write(Buffer.alloc(2 << 20, 'x'));
    socket.end('the end');
    const streams = await output;
    assert.equal(streams[1].toString().trim(), String((2 << 20) + 7));
    assert.equal(streams[2].toString(), 'done\n');
    await until('the code is known', async () => (await docker.get(`/exec/${Id}/json`)).json.ExitCode === 0);
  });

  test('a client that goes away takes its command along', async () => {
    const { Id } = (await create(['sh', '-c', 'echo $$ >/tmp/pid; while :; do echo x; sleep 0.02; done'])).json;
    const { socket } = await upgraded(Id);
    await until('it runs', async () => (await run(port, 'cat /tmp/pid')).stdout !== '');
    socket.destroy();
    await until('it is gone', async () => (await run(port, 'kill -0 $(cat /tmp/pid)')).exitCode !== 0);
  });

  test('a terminal: raw bytes, its size, keys, a resize, the code at its end', async () => {
    const { Id } = (await create(['sh'], { AttachStdin: true, Tty: true, ConsoleSize: [30, 100] })).json;
    assert.equal((await docker.post(`/exec/${Id}/resize?h=31&w=101`)).status, 200);
    const { socket, bytes } = await opened(Id);
    const says = (pattern) => until(`it says ${pattern}`, () => pattern.test(bytes().toString()));
    socket.write('tty; stty size; echo $TERM-$FROM_CONTAINER\n');
    await says(/\/dev\/pts\/\d+\r\n31 101\r\nxterm-1\r\n/);
    assert.equal((await docker.post(`/exec/${Id}/resize?h=40&w=120`)).status, 200);
    socket.write('stty size; sleep 1000\n');
    await says(/40 120\r\n/);
    await until('it sleeps', async () => sleeps());
    socket.write('\x03');
    socket.write('echo after $?\n');
    await says(/after 130\r\n/);
    for (const query of ['h=0&w=1', 'h=1', 'h=1&w=65536', 'h=x&w=1']) assert.equal((await docker.post(`/exec/${Id}/resize?${query}`)).status, 400, query);
    socket.write('exit 7\n');
    await once(socket, 'end');
    assert.deepEqual([(await docker.get(`/exec/${Id}/json`)).json.ExitCode, (await docker.post(`/exec/${Id}/resize?h=1&w=1`)).status], [7, 409]);
    const plain = (await create(['true'])).json.Id;
    assert.equal((await docker.post(`/exec/${plain}/resize?h=40&w=120`)).status, 409);
    assert.equal((await create(['sh'], { Tty: true, ConsoleSize: [30] })).status, 400);
  });

  test('a terminal passes much both ways, waits for a reader, and is hung up with its client', async () => {
    const { Id } = (await create(['sh', '-c', 'stty raw -echo; echo ready; head -c 3000000 | md5sum; head -c 5000000 /dev/zero; exec sleep 1000'], { AttachStdin: true, Tty: true })).json;
    const { socket, bytes } = await opened(Id);
    await until('it is ready', () => /ready/.test(bytes().toString()));
    const input = Buffer.alloc(3000000, 'terminal ');
    socket.write(input);
    await until('all has come', () => bytes().length >= 5000000);
    assert.ok(bytes().toString('latin1', 0, 100).includes(createHash('md5').update(input).digest('hex')));
    await until('it sleeps', async () => sleeps());
    socket.destroy();
    await until('it is gone', async () => !(await sleeps()));
  });

  test('what is not granted or not there is told', async () => {
    assert.equal((await create(['id'], { Privileged: true })).status, 403);
    assert.equal((await create(['id'], { User: 'nobody' })).status, 501);
    assert.equal((await create([])).status, 400);
    assert.equal((await docker.post('/exec/0123/start', {})).status, 404);
    const { Id } = (await create(['/no/such'])).json;
    const answer = await docker.post(`/exec/${Id}/start`, {});
    const code = (await docker.get(`/exec/${Id}/json`)).json.ExitCode;
    assert.ok(answer.status >= 400 || code === 126 || code === 127, `${answer.status} ${code}`);
  });

  test('the log of a command is kept, followed, cut to its tail, and outlives it', async () => {
    const script = 'for i in 1 2 3; do echo out $i; echo err $i >&2; done; (sleep 1000 &) ; until [ -e /tmp/go ]; do sleep 0.01; done; echo last; exit 5';
    await docker.post('/containers/create?name=talker', { Image: 'cloudflare/sandbox:1', Cmd: ['sh', '-c', script] });
    await docker.post('/containers/talker/start');
    const log = async (query) => frames((await docker.get(`/containers/talker/logs?${query}`)).bytes);
    await until('it has said all', async () => /out 3/.test((await log('stdout=1'))[1].toString()) && /err 3/.test((await log('stderr=1'))[2].toString()));
    assert.equal((await log('stdout=1&stderr=1'))[1].toString(), 'out 1\nout 2\nout 3\n');
    assert.equal((await log('stdout=1&tail=2'))[1].toString(), 'out 2\nout 3\n');
    assert.equal((await log('stdout=1&tail=0'))[1].toString(), '');
    assert.equal((await docker.get('/containers/talker/logs')).status, 400);
    const request = docker.open('GET', '/containers/talker/logs?stdout=1&follow=1');
    request.end();
    const [response] = await once(request, 'response');
    const whole = collect(response);
    const waiting = await docker.wait('talker');
    await docker.post('/exec/' + (await docker.post('/containers/talker/exec', { Cmd: ['touch', '/tmp/go'] })).json.Id + '/start', {});
    assert.equal(await waiting.ended, 5);
    assert.equal(frames((await whole).bytes)[1].toString(), 'out 1\nout 2\nout 3\nlast\n');
    assert.equal((await log('stdout=1&tail=1'))[1].toString(), 'last\n');
    await docker.delete('/containers/talker');
  });

  test('attach: what a command writes, with and without an upgrade, also before its start; no terminal', async () => {
    const script = 'echo first; echo wrong >&2; until [ -e /tmp/go ]; do sleep 0.01; done; echo last';
    await docker.post('/containers/create?name=early', { Image: 'cloudflare/sandbox:1', Cmd: ['sh', '-c', script] });
    const without = await docker.post('/containers/early/attach?stream=1&stdin=1&stdout=1');
    assert.deepEqual([without.status, /upgraded/.test(without.text)], [400, true]);
    assert.equal((await docker.post('/containers/early/attach?stream=1')).status, 400);
    assert.equal((await docker.post('/containers/early/resize?h=1&w=1')).status, 409);
    assert.equal((await docker.post('/containers/none/attach?stdout=1')).status, 404);
    const { socket, bytes } = await upgrade('/containers/early/attach?stream=1&stdout=1&stderr=1', '');
    socket.end(); /* a client without input */
    const ended = once(socket, 'end');
    await docker.post('/containers/early/start');
    await until('it has begun', () => /wrong/.test(bytes().toString()) && /first/.test(bytes().toString()));
    const kept = await docker.post('/containers/early/attach?logs=1&stdout=1');
    assert.equal(frames(kept.bytes)[1].toString(), 'first\n');
    const gone = await upgrade('/containers/early/attach?stream=1&stdout=1', '');
    gone.socket.destroy();
    await docker.post('/exec/' + (await docker.post('/containers/early/exec', { Cmd: ['touch', '/tmp/go'] })).json.Id + '/start', {});
    await ended;
    const streams = frames(bytes());
    assert.deepEqual([streams[1].toString(), streams[2].toString()], ['first\nlast\n', 'wrong\n']);
    await docker.delete('/containers/early?force=1');
  });

  const attach = async (name, query = 'stream=1&stdin=1&stdout=1') => {
    const { socket, bytes } = await upgrade(`/containers/${name}/attach?${query}`, '');
    const said = () => frames(bytes())[1].toString();
    return { socket, said, ended: once(socket, 'end') };
  };
  const refused = async (name) => {
    const socket = net.connect(docker.socketPath);
    socket.end(`POST /containers/${name}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`);
    const [piece] = await once(socket, 'data');
    socket.destroy();
    return Number(piece.toString('latin1', 9, 12));
  };

  test('standard input of a container: kept until the start, and ended with the one client that it is for', async () => {
    const script = 'cat; echo closed; exit 7';
    await docker.post('/containers/create?name=once', { Image: 'cloudflare/sandbox:1', Cmd: ['sh', '-c', script], OpenStdin: true, StdinOnce: true });
    const { OpenStdin, StdinOnce } = (await docker.get('/containers/once/json')).json.Config;
    assert.deepEqual([OpenStdin, StdinOnce], [true, true]);
    const { socket, said, ended } = await attach('once');
    socket.write('early\n');
    await docker.post('/containers/once/start');
    await until('what was sent before the start is read', () => said() === 'early\n');
    const waiting = await docker.wait('once');
    socket.end('late\n');
    await ended;
    assert.equal(said(), 'early\nlate\nclosed\n');
    assert.equal(await waiting.ended, 7);
    await docker.delete('/containers/once');
  });

  test('standard input of a container: open for one client after the other, one at a time', async () => {
    const script = 'while read -r line; do echo got $line; done; echo over';
    await docker.post('/containers/create?name=open', { Image: 'cloudflare/sandbox:1', Cmd: ['sh', '-c', script], OpenStdin: true });
    await docker.post('/containers/open/start');
    const first = await attach('open');
    first.socket.write('one\n');
    await until('the first is heard', () => first.said() === 'got one\n');
    assert.equal(await refused('open'), 409);
    first.socket.destroy();
    const next = async () => {
      let made;
      await until('the one before is gone', () => attach('open').then((is) => { made = is; return true; }, () => false));
      return made;
    };
    const second = await next();
    second.socket.end('two\n'); /* its end is not the command's */
    await until('the second is heard', () => second.said() === 'got two\n');
    const third = await next();
    third.socket.write('three\n');
    await until('the third is heard', () => third.said() === 'got three\n');
    await docker.delete('/containers/open?force=1');
    await third.ended;
    await docker.post('/containers/create?name=none-open', { Image: 'cloudflare/sandbox:1', Cmd: ['cat'] });
    assert.equal(await refused('none-open'), 409);
    await docker.delete('/containers/none-open');
  });

  test('standard input of a container: as much as it is given, no faster than it reads', async () => {
    await docker.post('/containers/create?name=much', { Image: 'cloudflare/sandbox:1', Cmd: ['sh', '-c', 'until [ -e /tmp/go ]; do sleep 0.01; done; sha256sum; exit 1'], OpenStdin: true, StdinOnce: true });
    await docker.post('/containers/much/start');
    const { socket, said, ended } = await attach('much');
    const bytes = Buffer.alloc(24 << 20, 'much of it ');
    socket.end(bytes);
    await until('it is held up', () => socket.writableLength > 0 && socket.bytesWritten > 1 << 16);
    await docker.post('/exec/' + (await docker.post('/containers/much/exec', { Cmd: ['touch', '/tmp/go'] })).json.Id + '/start', {});
    await ended;
    assert.equal(said().slice(0, 64), createHash('sha256').update(bytes).digest('hex'));
    await docker.delete('/containers/much?force=1');
  });

  test('stats: at once, after a second, every second, and the end with the container', async () => {
    await docker.post('/containers/create?name=busy', { Image: 'cloudflare/sandbox:1', HostConfig: { Memory: 200 << 20 } });
    assert.equal((await docker.get('/containers/busy/stats?stream=0')).status, 409);
    await docker.post('/containers/busy/start');
    const once_ = (await docker.get('/containers/busy/stats?stream=false&one-shot=true')).json;
    assert.deepEqual([once_.name, once_.memory_stats.limit, once_.precpu_stats.cpu_usage.total_usage], ['/busy', 200 << 20, 0]);
    assert.ok(once_.memory_stats.usage > 0 && once_.pids_stats.current >= 1 && once_.cpu_stats.cpu_usage.total_usage > 0);
    const loop = (await docker.post('/containers/busy/exec', { Cmd: ['sh', '-c', 'while :; do :; done'] })).json.Id;
    await docker.post(`/exec/${loop}/start`, { Detach: true });
    await until('it is seen to be busy', async () => {
      const { cpu_stats: cpu, precpu_stats: before } = (await docker.get('/containers/busy/stats?stream=0')).json;
      assert.ok(cpu.system_cpu_usage > before.system_cpu_usage);
      return cpu.cpu_usage.total_usage - before.cpu_usage.total_usage > 1e7;
    });
    const request = docker.open('GET', '/containers/busy/stats');
    request.end();
    const [response] = await once(request, 'response');
    let lines = '';
    response.on('data', (piece) => (lines += piece));
    await until('there are two', () => lines.split('\n').length > 2);
    const ended = once(response, 'end');
    await docker.post('/containers/busy/kill');
    await ended;
    const [first, second] = lines.trim().split('\n').map((line) => JSON.parse(line));
    assert.equal(second.precpu_stats.cpu_usage.total_usage, first.cpu_stats.cpu_usage.total_usage);
    await docker.delete('/containers/busy');
  });

  test('a tar goes in on a container that was only created, and comes out as it was', async () => {
    const top = fs.mkdtempSync(path.join(daemon.top, 'tar-'));
    fs.mkdirSync(path.join(top, 'cloudflare/certs'), { recursive: true });
    fs.writeFileSync(path.join(top, 'cloudflare/certs/cloudflare-containers-ca.crt'), 'PEM');
    const tar = execFileSync('tar', ['-C', top, '-cf', '-', 'cloudflare']);
    await docker.post('/containers/create?name=fresh', { Image: 'cloudflare/sandbox:1' });
    assert.equal((await docker.call('PUT', '/containers/fresh/archive?path=%2Fetc', tar)).status, 200);
    assert.equal((await docker.get('/containers/fresh/json')).json.State.Status, 'created');
    assert.equal((await docker.post('/containers/fresh/start')).status, 204);
    const answer = await docker.get('/containers/fresh/archive?path=/etc/cloudflare/certs/cloudflare-containers-ca.crt');
    const stat = JSON.parse(Buffer.from(answer.headers['x-docker-container-path-stat'], 'base64'));
    assert.deepEqual([stat.name, stat.size], ['cloudflare-containers-ca.crt', 3]);
    assert.equal(execFileSync('tar', ['-xOf', '-'], { input: answer.bytes }).toString(), 'PEM');
    assert.equal((await docker.get('/containers/fresh/archive?path=/no/such')).status, 404);
    assert.equal((await docker.call('PUT', '/containers/fresh/archive?path=/no/such', tar)).status, 404);
    assert.equal((await docker.call('PUT', '/containers/fresh/archive?path=/tmp', Buffer.from('no tar at all, but long enough'.repeat(40)))).status, 500);
    await docker.delete('/containers/fresh?force=1');
  });

  test('a hostile tar stays inside', async () => {
    const top = fs.mkdtempSync(path.join(daemon.top, 'evil-'));
    fs.symlinkSync('/', path.join(top, 'root'));
    fs.writeFileSync(path.join(top, 'x'), 'evil');
    const tar = Buffer.concat([execFileSync('tar', ['-C', top, '-cf', '-', 'root', '--transform', 's,^,,']).subarray(0, 512),
      execFileSync('tar', ['-C', top, '-cf', '-', '-P', '--transform', `s,^x,root${daemon.top}/escaped,`, 'x'])]);
    await docker.call('PUT', '/containers/app/archive?path=/tmp', tar);
    assert.ok(!fs.existsSync(path.join(daemon.top, 'escaped')));
    assert.equal((await run(port, 'echo alive')).stdout, 'alive');
  });

  test('whoever follows a command, or writes to it, is cut off once its agent gives no sign of life', async () => {
    const own = new Daemon({ poolSize: 0, docker: true, options: ['--sandbox-agent-timeout', '8s'] });
    await own.start();
    const engine = new Docker(own.dockerSocket);
    let pid;
    try {
      await engine.post('/containers/create?name=quiet', { Image: 'cloudflare/sandbox:1', OpenStdin: true, Cmd: ['sh', '-c', 'echo begun; cat >/dev/null; sleep 1000'] });
      assert.equal((await engine.post('/containers/quiet/start')).status, 204);
      const attached = await upgrade('/containers/quiet/attach?stream=1&stdin=1&stdout=1&logs=1', '', engine);
      const follow = engine.open('GET', '/containers/quiet/logs?stdout=1&follow=1');
      follow.end();
      const [response] = await once(follow, 'response');
      const lost = once(response, 'aborted');
      response.on('error', () => {});
      response.resume();
      attached.socket.on('error', () => {});
      const cut = once(attached.socket, 'end');
      await until('it has begun', () => /begun/.test(attached.bytes().toString()));
      pid = agentOf(own);
      process.kill(pid, 'SIGSTOP');
      attached.socket.write('x');
      await Promise.all([lost, cut]);
    } finally {
      if (pid) process.kill(pid, 'SIGCONT');
      await engine.delete('/containers/quiet?force=1');
      await own.stop();
    }
  });

  /* The first process of the only sandbox of a daemon, as the host numbers it: a child of its worker that is root of nothing here. */
  function agentOf(own) {
    const worker = own.worker();
    return fs.readdirSync('/proc').map(Number).find((candidate) => {
      try {
        const status = fs.readFileSync(`/proc/${candidate}/status`, 'utf8');
        return Number(/^PPid:\t(\d+)$/m.exec(status)[1]) === worker && Number(/^Uid:\t(\d+)/m.exec(status)[1]) >= 65536;
      } catch {
        return false; /* it has ended, or is no process */
      }
    });
  }
});
