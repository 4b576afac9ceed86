/* `berm` against a real daemon with real sandboxes. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';

import { startDaemon, whyNoDaemon } from './daemon.mjs';
import { berm, start } from './program.mjs';

const reason = whyNoDaemon();
if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`the CLI tests must run here: ${reason}`);

describe('berm', { skip: reason }, () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-cli-'));
  let daemon;
  let env;

  before(async () => {
    daemon = await startDaemon();
    env = { BERM_URL: daemon.url };
  });
  after(async () => {
    await daemon?.stop();
    fs.rmSync(directory, { recursive: true });
  });

  afterEach(() => call(['rm', '--all']));

  const call = (args, options = {}) => berm(args, { ...options, env: { ...env, ...options.env } });
  const ids = async () => (await call(['ls', '-q'])).out.split('\n').filter(Boolean);
  const made = async (...args) => {
    const result = await call(['create', ...args]);
    assert.equal(result.status, 0, result.err);
    return result.out.trim();
  };
  const random = (megabytes) => crypto.randomBytes(megabytes << 20);

  test('run gives output and status and leaves nothing', async () => {
    const result = await call(['run', '--', 'sh', '-c', 'echo out; echo err >&2; exit 42']);
    assert.equal(result.out, 'out\n');
    assert.equal(result.err, 'err\n');
    assert.equal(result.status, 42);
    assert.deepEqual(await ids(), []);
  });

  test('run ends as a shell would for a missing command, one that is no program, and one that a signal killed', async () => {
    assert.equal((await call(['run', 'no-such-command'])).status, 127);
    assert.equal((await call(['run', '/etc/passwd'])).status, 126);
    assert.equal((await call(['run', 'sh', '-c', 'kill -9 $$'])).status, 137);
    assert.equal((await call(['run', '--timeout', '300ms', 'sleep', '60'])).status, 124);
    assert.deepEqual(await ids(), []);
  });

  test('ports and tunnels have URLs, which are listed and revoked', async () => {
    const id = await made();
    const url = (await call(['port', 'expose', '--token', 'abc', '--name', 'web', '--expires', '1h', id, '8080'])).out.trim();
    assert.equal(url, `http://8080-${id}-abc.localhost:${new URL(daemon.url).port}/`);
    assert.match((await call(['port', 'ls', id])).out, new RegExp(`PORT +NAME +URL\\n8080 +web +${url}\\n`));
    const [listed] = JSON.parse((await call(['port', 'ls', '--json', id])).out).ports;
    assert.deepEqual([listed.url, listed.token, listed.status], [url, 'abc', 'active']);
    const tunnel = JSON.parse((await call(['tunnel', 'open', '--json', id, '8080'])).out);
    assert.equal((await call(['tunnel', 'open', id, '8080'])).out, `${tunnel.url}\n`);
    assert.equal((await call(['tunnel', 'open', '--name', 'named-by-a-test', id, '8081'])).status, 0);
    assert.deepEqual(JSON.parse((await call(['tunnel', 'ls', '--json', id])).out).tunnels.map((t) => t.port), [8080, 8081]);
    for (const verb of ['port', 'tunnel']) {
      assert.equal((await call([verb, 'rm', id, '8080'])).status, 0);
      assert.deepEqual(JSON.parse((await call([verb, 'rm', '--json', id, '8080'])).out), { removed: '8080' });
    }
    assert.equal((await call(['port', 'ls', id])).out.split('\n').length, 2);
    const refused = await call(['port', 'expose', id, '3000']);
    assert.equal(refused.status, 1);
    assert.match(refused.err, /Must be 1024-65535/);
    assert.equal((await call(['port', 'expose', id, 'http'])).status, 2);
    assert.equal((await call(['port', 'ls'])).status, 2);
  });

  test('run takes limits, variables and a directory', async () => {
    const script = 'echo $A:$FROM_HERE; pwd; ulimit -n';
    const args = ['run', '-m', '256m', '--pids', '64', '--nofile', '777', '-e', 'A=b c', '-e', 'FROM_HERE', '-w', '/tmp'];
    const result = await call([...args, 'sh', '-c', script], { env: { FROM_HERE: 'here' } });
    assert.equal(result.out, 'b c:here\n/tmp\n777\n', result.err);
  });

  test('one command has limits, which end it, and a receipt', async () => {
    const run = await call(['run', '--output-bytes', '10', '--usage', '--json', 'yes']);
    assert.deepEqual([run.status, run.out, JSON.parse(run.err).reason], [137, 'y\n'.repeat(5), 'outputBytes']);
    const id = (await call(['create'])).out.trim();
    const exec = (...args) => call(['exec', '--usage', ...args.slice(0, -1), id, '--', 'bash', '-c', args.at(-1)]);
    for (const [flag, value, reason, command] of [['--cpu-time', '50ms', 'cpuMs', 'while :; do :; done'], ['--wall-time', '50ms', 'wallMs', 'sleep 60'],
      ['--pids', '2', 'pids', 'sleep 60 | sleep 60 | sleep 60'], ['--memory', '30m', 'memory', 'head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null']]) {
      const { status, err } = await exec(flag, value, command);
      const receipt = err.trimEnd().split('\n').at(-1); // bash may have said before who was killed
      assert.deepEqual([status, receipt.split(',')[0]], [137, `berm: ${reason}`], err);
    }
    const { out, err } = await exec('--no-network', 'echo 2>&1 >/dev/tcp/127.0.0.1/3000; :');
    assert.match(out, /not permitted|denied/);
    assert.match(err, /^berm: exited, \d+ ms of processor time, memory [\d.]+ .*B, storage [\d.]+ .*B, network [\d.]+ .*B\n$/);
    assert.equal((await call(['exec', '--pids', '2', '-s', 'one', id, '--', 'true'])).status, 125);
    await call(['rm', id]);
  });

  test('a limit that cannot be met is refused by its name', async () => {
    const result = await call(['run', '--memory', '900t', 'true']);
    assert.equal(result.status, 125);
    assert.match(result.err, /memoryBytes/);
  });

  test('an image that is not there is refused with advice', async () => {
    const result = await call(['run', '--image', 'no-such-image', 'true']);
    assert.equal(result.status, 125);
    assert.match(result.err, /image/);
    assert.deepEqual(await ids(), []);
  });

  for (const [signal, status] of [['SIGINT', 130], ['SIGTERM', 143]]) {
    test(`${signal} removes the sandbox of run and its processes`, async () => {
      const { child, done } = start(['run', 'sh', '-c', 'echo ready; exec sleep 1000'], { env });
      await once(child.stdout, 'data');
      child.kill(signal);
      const result = await done;
      assert.equal(result.signal, signal, `a shell shows ${status}`);
      assert.deepEqual(await ids(), []);
    });
  }

  test('10 MiB go through cat unchanged', async () => {
    const input = random(10);
    const id = await made();
    const result = await call(['exec', '-i', id, 'cat'], { input });
    assert.equal(result.status, 0, result.err);
    assert.ok(result.stdout.equals(input));
    await call(['rm', id]);
  });

  test('a conversation with a command works line by line', async () => {
    const id = await made();
    const { child, done } = start(['exec', '-i', id, 'cat'], { env, keepStdin: true });
    for (const line of ['one\n', 'two\n']) {
      child.stdin.write(line);
      const [answer] = await once(child.stdout, 'data');
      assert.equal(answer.toString(), line);
    }
    child.stdin.end();
    assert.equal((await done).status, 0);
    await call(['rm', id]);
  });

  test('a command need not read its input', async () => {
    const id = await made();
    const { child, done } = start(['exec', '-i', id, 'head', '-c', '3'], { env, keepStdin: true });
    child.stdin.write(Buffer.alloc(1 << 20, 'x'));
    const result = await done;
    child.stdin.destroy();
    assert.equal(result.out, 'xxx');
    assert.equal(result.status, 0);
    await call(['rm', id]);
  });

  test('without -i a command reads nothing', async () => {
    const id = await made();
    assert.equal((await call(['exec', id, 'cat'], { input: 'not for it' })).out, '');
    await call(['rm', id]);
  });

  test('a session keeps directory and variables', async () => {
    const id = await made();
    await call(['exec', '-s', 'one', id, 'cd', '/tmp']);
    await call(['exec', '-s', 'one', id, 'export', 'KEPT=yes']);
    const result = await call(['exec', '-s', 'one', id, 'sh', '-c', 'pwd; echo $KEPT']);
    assert.equal(result.out, '/tmp\nyes\n');
    assert.equal((await call(['exec', id, 'pwd'])).out, '/workspace\n');
    await call(['rm', id]);
  });

  test('when exec is interrupted its command is killed', async () => {
    const id = await made();
    const { child, done } = start(['exec', id, 'sh', '-c', 'echo ready; exec sleep 4321'], { env });
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    assert.equal((await done).signal, 'SIGINT');
    const wait = 'while grep -qs 4321 /proc/[0-9]*/cmdline; do sleep 0.05; done';
    assert.equal((await call(['exec', '--timeout', '100s', id, 'sh', '-c', wait.replace('4321', '432[1]')])).status, 0);
    await call(['rm', id]);
  });

  test('files of 0, 1 and 50 MiB are copied in and out unchanged, below /workspace and elsewhere', async () => {
    const id = await made();
    for (const megabytes of [0, 1, 50]) {
      const here = path.join(directory, 'in');
      const back = path.join(directory, 'back');
      fs.writeFileSync(here, random(megabytes));
      for (const place of ['/workspace/deep/er/file', '/tmp/deep/er/file', 'relative']) {
        const up = await call(['cp', here, `${id}:${place}`]);
        assert.equal(up.status, 0, up.err);
        const down = await call(['cp', `${id}:${place}`, back]);
        assert.equal(down.status, 0, down.err);
        assert.ok(fs.readFileSync(back).equals(fs.readFileSync(here)), `${megabytes} MiB ${place}`);
      }
    }
    await call(['rm', id]);
  });

  test('a copy keeps the executable bit, goes into directories and through - ', async () => {
    const id = await made();
    const program = path.join(directory, 'program name');
    fs.writeFileSync(program, '#!/bin/sh\necho it runs\n', { mode: 0o755 });
    assert.equal((await call(['cp', program, `${id}:/workspace`])).status, 0);
    assert.equal((await call(['exec', id, '/workspace/program name'])).out, 'it runs\n');
    const out = path.join(directory, 'out');
    fs.mkdirSync(out);
    assert.equal((await call(['cp', `${id}:program name`, out])).status, 0);
    assert.equal(fs.statSync(path.join(out, 'program name')).mode & 0o111, 0o111 & ~process.umask());
    assert.equal((await call(['cp', '-', `${id}:/tmp/from-stdin`], { input: 'text' })).status, 0);
    assert.equal((await call(['cp', `${id}:/tmp/from-stdin`, '-'])).out, 'text');
    await call(['rm', id]);
  });

  test('directories are copied both ways', async () => {
    const id = await made();
    const tree = path.join(directory, 'tree');
    const long = 'n'.repeat(200);
    fs.mkdirSync(path.join(tree, 'a', long), { recursive: true });
    fs.mkdirSync(path.join(tree, 'empty'));
    fs.writeFileSync(path.join(tree, 'a', long, 'ünï\nline'), random(3));
    fs.writeFileSync(path.join(tree, 'run'), '#!/bin/sh\n', { mode: 0o755 });
    fs.symlinkSync('a', path.join(tree, 'link'));
    const up = await call(['cp', '-r', tree, `${id}:/workspace/copy`]);
    assert.equal(up.status, 0, up.err);
    const down = await call(['cp', '-r', `${id}:/workspace/copy`, path.join(directory, 'returned')]);
    assert.equal(down.status, 0, down.err);
    const list = (top) => fs.readdirSync(top, { recursive: true }).sort();
    const returned = path.join(directory, 'returned');
    assert.deepEqual(list(returned), list(tree));
    const file = path.join('a', long, 'ünï\nline');
    assert.ok(fs.readFileSync(path.join(returned, file)).equals(fs.readFileSync(path.join(tree, file))));
    assert.equal(fs.readlinkSync(path.join(returned, 'link')), 'a');
    assert.equal(fs.statSync(path.join(returned, 'run')).mode & 0o100, 0o100);
    assert.match((await call(['cp', tree, `${id}:/workspace/x`])).err, /use -r/);
    await call(['rm', id]);
  });

  test('a file that is not there is said so on both sides', async () => {
    const id = await made();
    const down = await call(['cp', `${id}:/workspace/nothing`, path.join(directory, 'nothing')]);
    assert.equal(down.status, 1);
    assert.match(down.err, /no such file/);
    assert.ok(!fs.existsSync(path.join(directory, 'nothing')));
    const up = await call(['cp', path.join(directory, 'nothing'), `${id}:/workspace/x`]);
    assert.equal(up.status, 1);
    assert.match(up.err, /No such file/);
    await call(['rm', id]);
  });

  test('create, ls, inspect, logs and rm agree', async () => {
    const id = await made('--name', 'The named one', '--label', 'team=a', '--memory', '300m', 'named');
    assert.equal(id, 'named');
    await made('--label', 'team=b');
    const listed = JSON.parse((await call(['ls', '--json', '--label', 'team=a'])).out).sandboxes;
    assert.deepEqual(listed.map((s) => s.id), ['named']);
    const inspected = JSON.parse((await call(['inspect', 'named'])).out);
    assert.equal(inspected.limits.memoryBytes, 300 << 20);
    assert.equal(inspected.state, 'running');
    assert.equal(inspected.name, 'The named one');
    assert.match((await call(['ls'])).out, /^named +The named one +running .*team=a/m);
    const events = JSON.parse((await call(['logs', '--json', 'named'])).out).events.map((e) => e.event);
    assert.deepEqual(events, ['created']);
    assert.match((await call(['logs', 'named'])).out, /^TIME +EVENT.*\n\S+ +created/);
    assert.equal((await call(['rm', 'named'])).out, 'named\n');
    const gone = await call(['inspect', 'named']);
    assert.equal(gone.status, 1);
    assert.equal((await call(['rm', '--all'])).status, 0);
    assert.deepEqual(await ids(), []);
  });

  test('run does not take over a sandbox that exists', async () => {
    const id = await made();
    const result = await call(['run', '--id', id, 'true']);
    assert.equal(result.status, 125);
    assert.deepEqual(await ids(), [id]);
    await call(['rm', id]);
  });

  test('run --keep leaves the sandbox', async () => {
    const result = await call(['run', '--keep', 'sh', '-c', 'echo kept > file']);
    assert.equal(result.status, 0);
    const [id] = await ids();
    assert.match(result.err, new RegExp(id));
    assert.equal((await call(['cp', `${id}:file`, '-'])).out, 'kept\n');
    await call(['rm', id]);
  });

  test('doctor finds this host fit', async () => {
    const result = await call(['doctor', '--json']);
    const report = JSON.parse(result.out);
    assert.equal(result.status, 0, result.out);
    assert.equal(report.ok, true);
    assert.equal(report.checks.find((c) => c.name === 'daemon').result, 'ok');
    assert.equal(report.checks.find((c) => c.name === 'spawner').result, 'ok');
    assert.deepEqual(report.checks.find((c) => c.name === 'edge'),
      { name: 'edge', required: false, result: 'ok', detail: 'none: previews and tunnels are served by the daemon itself' });
    assert.match((await call(['doctor'])).out, /This host can run sandboxes/);
  });

  test('a key for an edge is made without a daemon, and its hash added to the file', async () => {
    const file = path.join(directory, 'edge.keys');
    fs.writeFileSync(file, '# ours'); /* without an end of line */
    const env = { BERM_URL: 'http://127.0.0.1:1' };
    const plain = await call(['key', 'add', 'home', '--edge', file], { env });
    assert.equal(plain.status, 0, plain.err);
    assert.match(plain.out, /^berm_[0-9a-f]{64}\n$/);
    const { name, key } = JSON.parse((await call(['key', 'add', '--json', '--edge', file, 'away2'], { env })).out);
    assert.equal(name, 'away2');
    const hash = (text) => crypto.createHash('sha256').update(text).digest('hex');
    assert.equal(fs.readFileSync(file, 'utf8'), `# ours\nhome sha256:${hash(plain.out.trim())}\naway2 sha256:${hash(key)}\n`);
    for (const bad of [[], ['Home'], ['2home'], ['ho-me'], ['a'.repeat(21)], ['']]) {
      const refused = await call(['key', 'add', '--edge', file, ...bad], { env });
      assert.deepEqual([refused.status, refused.out], [2, ''], bad);
    }
    assert.equal((await call(['key', 'add', '--edge', path.join(directory, 'no', 'such'), 'home'], { env })).status, 1);
  });

  test('with a key, clients without one are refused; a revoked key is one no more', async () => {
    const first = JSON.parse((await call(['key', 'add', '--json', 'first'])).out);
    assert.equal((await call(['ls'])).status, 1);
    const second = await call(['key', 'add', 'second'], { env: { BERM_API_KEY: first.key } });
    const key = second.out.trim();
    const list = JSON.parse((await call(['key', 'ls', '--json'], { env: { BERM_API_KEY: key } })).out).keys;
    assert.deepEqual(list.map((k) => k.label).sort(), ['first', 'second']);
    assert.ok(!JSON.stringify(list).includes(key));
    assert.equal((await call(['key', 'rm', first.id], { env: { BERM_API_KEY: key } })).status, 0);
    assert.equal((await call(['ls'], { env: { BERM_API_KEY: first.key } })).status, 1);
    assert.equal((await call(['ls'], { env: { BERM_API_KEY: key } })).status, 0);
  });
});
