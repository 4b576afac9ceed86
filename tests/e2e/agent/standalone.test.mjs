// The agent as a program that was copied into an image: the supervisor mode, its start, its end, and what it needs.
// reference/container/00, 90 (A51 to A54, B24, E3), 95 ("Standalone and musl", "Supervisor", "Certificates").
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from '../lib/ports.mjs';
import { Agent, SESSIONLESS, sleep, standalone } from './helper.mjs';
import { EventReader } from './sse.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const images = process.env.BERM_IMAGES ?? '/var/lib/berm/images';
const root = process.getuid() === 0 ? {} : { skip: 'needs root' };
const running = new Set();
after(() => Promise.all([...running].map((agent) => agent.stop())));

class Standalone extends Agent {
  // `files`: path -> content, put into the root before the start.
  static async start({ kind = 'busybox', env = {}, command = [], files = {}, wait = true } = {}) {
    const agent = new Standalone();
    agent.port = await freePort();
    agent.directory = await mkdtemp(join(tmpdir(), 'berm-standalone-'));
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(agent.directory, 'files', path)), { recursive: true });
      await writeFile(join(agent.directory, 'files', path), content);
    }
    agent.stdout = agent.stderr = '';
    agent.child = spawn(join(here, 'start-standalone.sh'), [kind, agent.directory, standalone, String(agent.port), ...command], {
      stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, AGENT_ENV: Object.entries(env).map(([k, v]) => `${k}=${v}`).join(' ') },
    });
    agent.child.stdout.on('data', (data) => { agent.stdout += data; });
    agent.child.stderr.on('data', (data) => { agent.stderr += data; });
    agent.exited = once(agent.child, 'close');
    agent.keepAlive = new http.Agent({ keepAlive: true });
    running.add(agent);
    for (let i = 0; wait; i++) {
      try {
        await agent.get('/');
        break;
      } catch (error) {
        if (agent.child.exitCode !== null || i > 6000) throw new Error(`it did not start: ${agent.stderr} ${error}`);
        await sleep(10);
      }
    }
    return agent;
  }

  async until(condition) {
    for (const deadline = Date.now() + 60000; ; await sleep(10)) {
      const found = await condition(this);
      if (found) return found;
      assert.ok(Date.now() < deadline, `${condition}: ${this.stdout} ${this.stderr}`);
    }
  }

  async stop() {
    running.delete(this);
    this.keepAlive.destroy();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGKILL');
      await this.exited;
    }
    await rm(this.directory, { recursive: true, force: true });
  }
}
const certificate = '-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n';
const bundle = 'etc/ssl/certs/ca-certificates.crt', other = 'etc/pki/tls/cert.pem', standard = 'etc/cloudflare/certs/cloudflare-containers-ca.crt';
const variables = 'echo $NODE_EXTRA_CA_CERTS:$SSL_CERT_FILE:$CURL_CA_BUNDLE:$REQUESTS_CA_BUNDLE:$GIT_SSL_CAINFO';
const intercept = { SANDBOX_INTERCEPT_HTTPS: '1' };

const code = async (agent) => {
  const [status] = await agent.exited;
  await agent.stop();
  return status;
};
const sh = async (agent, command) => (await agent.run(command, { session: SESSIONLESS })).stdout;

// --- any image ---

const kinds = { 'nothing but bash': 'bash', 'busybox': 'busybox' };
for (const name of ['minimal', 'base']) kinds[`the image ${name}`] = join(images, 'names', name, 'rootfs.erofs');
for (const [name, kind] of Object.entries(kinds)) {
  const missing = (kind === 'busybox' ? ['/bin/busybox', '/bin/bash-static'] : [kind === 'bash' ? '/bin/bash-static' : kind]).find((path) => !existsSync(path));
  test(`copied into ${name} it runs: marker, commands, files, sessions, watches`, missing ? { skip: `there is no ${missing}` } : root, async () => {
    const agent = await Standalone.start({ kind, command: ['bash', '-c', 'echo started >/tmp/marker; exit 0'], env: { SANDBOX_VERSION: '0.12.7' } });
    await agent.until(async () => (await agent.post('/api/read', { path: '/tmp/marker', encoding: 'utf-8' })).json.content === 'started\n');
    assert.equal((await agent.get('/api/version')).json.version, '0.12.7');
    await agent.post('/api/mkdir', { path: '/workspace/d', recursive: true });
    assert.equal((await agent.post('/api/write', { path: '/workspace/d/a.txt', content: 'one' })).status, 200);
    assert.equal((await agent.post('/api/move', { sourcePath: '/workspace/d/a.txt', destinationPath: '/workspace/b.txt' })).status, 200);
    assert.deepEqual((await agent.post('/api/list-files', { path: '/workspace' })).json.files.map((f) => f.name).sort(), ['b.txt', 'd']);
    const unknown = (await agent.post('/api/write', { path: '/workspace/noext', content: 'plain\n' }), await agent.post('/api/read', { path: '/workspace/noext' })).json;
    assert.deepEqual([unknown.mimeType, unknown.content], ['text/plain', 'plain\n']);
    assert.equal(await sh(agent, 'echo $SANDBOX_VERSION $SANDBOX_STARTED; exit 3'), '0.12.7 true\n');
    assert.equal((await agent.run('cd /workspace; x=5; echo $x')).stdout, '5');
    assert.equal((await agent.run('echo $x $PWD; printf "%s" "$(<b.txt)"')).stdout, '5 /workspace\none');
    const w = await EventReader.open(agent, '/api/watch', { path: '/workspace' });
    await w.event({ type: 'watching' });
    await agent.run('mkdir -p e 2>/dev/null; echo > f');
    await w.event({ type: 'event', eventType: 'create', path: '/workspace/f' });
    w.close();
    const p = (await agent.post('/api/process/start', { command: 'echo out; read x; exit 4', sessionId: SESSIONLESS })).json.processId;
    await agent.until(async () => (await agent.get(`/api/process/${p}`)).json.process.exitCode === 4);
    await agent.stop();
  });
}

// --- the supervisor ---

test('a command that exits 0 leaves the server running; another code or a signal is the end', root, async () => {
  const zero = await Standalone.start({ command: ['true'] });
  await zero.until(() => zero.stderr.includes('command_ended'));
  assert.equal((await zero.get('/api/ping')).status, 200);
  await zero.stop();
  for (const [command, expected] of [[['sh', '-c', 'exit 7'], 7], [['sh', '-c', 'kill -9 $$'], 137], [['sh', '-c', 'kill -15 $$'], 143], [['/nope'], 1], [['/etc'], 1]])
    assert.equal(await code(await Standalone.start({ command, wait: false })), expected, command.join(' '));
});

test('the command gets its words as they are, the environment, an open and silent stdin; its output is the log', root, async () => {
  const agent = await Standalone.start({ env: { HELLO: 'x' }, command: ['sh', '-c', 'echo "[$1][$2][$HELLO][$SANDBOX_STARTED][$PWD]"; echo err >&2; read line; echo "read $?" >/tmp/read', 'name', 'a b', '$(x)'] });
  await agent.until(() => agent.stdout.includes('[a b][$(x)][x][true][/]\n') && agent.stderr.includes('err\n'));
  agent.child.stdin.write('not for the command\n');
  agent.child.stdin.end();
  assert.equal((await agent.post('/api/exists', { path: '/tmp/read' })).json.exists, false);
  await agent.stop();
});

test('with SANDBOX_RAW_CHILD_STDIO=1 stdin is the agent\'s own', root, async () => {
  const agent = await Standalone.start({ env: { SANDBOX_RAW_CHILD_STDIO: '1' }, command: ['sh', '-c', 'read line; echo "got $line"; sleep 100'] });
  agent.child.stdin.write('a line\n');
  await agent.until(() => agent.stdout.includes('got a line\n'));
  await agent.stop();
});

test('SIGTERM and SIGINT go on to the command, which has time to end; then the code is 0 whatever its own', root, async () => {
  for (const signal of ['TERM', 'INT']) {
    const agent = await Standalone.start({ command: ['bash', '-c', `trap 'echo got ${signal}; sleep 0.3; echo done; exit 5' ${signal}; echo ready; while :; do sleep 0.05; done`] });
    await agent.until(() => agent.stdout.includes('ready'));
    process.kill(await agent.hostPid(), `SIG${signal}`);
    process.kill(await agent.hostPid(), `SIG${signal}`); // a second one changes nothing
    assert.equal(await code(agent), 0);
    assert.match(agent.stdout, /got .*\ndone/);
  }
});

test('a command that has ended already, or none, is no obstacle to the end', root, async () => {
  for (const command of [['true'], []]) {
    const agent = await Standalone.start({ command });
    if (command.length) await agent.until(() => agent.stderr.includes('command_ended'));
    process.kill(await agent.hostPid(), 'SIGTERM');
    assert.equal(await code(agent), 0);
  }
});

test('stubborn processes and a stubborn command are ended together after five seconds', root, async () => {
  const stubborn = 'trap "" TERM INT; while :; do sleep 0.1; done';
  const agent = await Standalone.start({ command: ['bash', '-c', stubborn] });
  for (let i = 0; i < 3; i++) await agent.post('/api/process/start', { command: stubborn, sessionId: SESSIONLESS });
  const from = Date.now();
  process.kill(await agent.hostPid(), 'SIGTERM');
  assert.equal(await code(agent), 0);
  const took = Date.now() - from;
  assert.ok(took > 3000 && took < 9000, `${took}`);
});

// --- the log ---

test('the log is JSON lines, or text if it shall be pretty; its level is chosen, in any case', root, async () => {
  const json = await Standalone.start({ command: ['true'], env: { SANDBOX_LOG_LEVEL: 'nonsense' } });
  await json.until(() => json.stderr.includes('command_ended'));
  assert.equal(JSON.parse(json.stderr.trim().split('\n').at(-1)).level, 'info');
  await json.stop();
  for (const [SANDBOX_LOG_LEVEL, info] of [['INFO', true], ['Error', false]]) {
    const agent = await Standalone.start({ command: ['sh', '-c', 'exit 3'], env: { SANDBOX_LOG_LEVEL, SANDBOX_LOG_FORMAT: 'pretty', SANDBOX_INTERCEPT_HTTPS: '1' },
      files: { [bundle]: 'old', [standard]: certificate }, wait: false });
    assert.equal(await code(agent), 3);
    assert.match(agent.stderr, /event=command_failed/);
    assert.equal(/event=ca_certificate_trusted/.test(agent.stderr), info);
  }
});

// --- the certificate of an interceptor ---

test('certificate: nothing happens unless SANDBOX_INTERCEPT_HTTPS is exactly 1', root, async () => {
  for (const env of [{}, { SANDBOX_INTERCEPT_HTTPS: 'true' }]) {
    const agent = await Standalone.start({ env, files: { [bundle]: 'old\n', [standard]: certificate } });
    assert.equal(await sh(agent, `${variables}; cat /${bundle}`), '::::\nold\n');
    await agent.stop();
  }
});

test('certificate: it is appended to the bundle, once, and five variables name it, for the command too', root, async () => {
  const agent = await Standalone.start({ env: intercept, files: { [bundle]: 'old', [standard]: certificate }, command: ['sh', '-c', `${variables} >/tmp/seen`] });
  await agent.until(() => agent.stderr.includes('command_ended'));
  const expected = `/${standard}${`:/${bundle}`.repeat(4)}\n`;
  assert.equal(await sh(agent, `cat /tmp/seen; ${variables}`), expected.repeat(2));
  assert.equal(await sh(agent, `cat /${bundle}`), `old\n${certificate}`);
  await agent.stop();
  const again = await Standalone.start({ env: intercept, files: { [other]: `old\n${certificate}`, [standard]: certificate }, command: ['true'] });
  await again.until(() => again.stderr.includes('command_ended'));
  assert.equal(await sh(again, `cat /${other}; echo $SSL_CERT_FILE`), `old\n${certificate}/${other}\n`);
  await again.stop();
});

test('certificate: it may come later and from another path; requests are served meanwhile, the command waits', root, async () => {
  const agent = await Standalone.start({ env: { ...intercept, SANDBOX_CA_CERT: '/tmp/ca.pem' }, files: { [bundle]: 'old\n' }, command: ['sh', '-c', `${variables} >/tmp/seen`] });
  assert.equal((await agent.get('/api/ping')).status, 200);
  assert.equal((await agent.post('/api/exists', { path: '/tmp/seen' })).json.exists, false);
  await agent.post('/api/write', { path: '/tmp/ca.new', content: certificate });
  await agent.post('/api/move', { sourcePath: '/tmp/ca.new', destinationPath: '/tmp/ca.pem' });
  await agent.until(() => agent.stderr.includes('command_ended'));
  assert.match(await sh(agent, 'cat /tmp/seen'), /^\/tmp\/ca\.pem:/);
  await agent.stop();
});

test('certificate: missing after five seconds, unreadable, or a bundle that cannot be written: the end, with 1', root, async () => {
  const missing = await Standalone.start({ env: intercept, wait: false, command: ['touch', '/tmp/x'] });
  const from = Date.now();
  assert.equal(await code(missing), 1);
  assert.ok(Date.now() - from > 4000);
  assert.match(missing.stderr, /ca_certificate_missing/);
  const unreadable = await Standalone.start({ env: { ...intercept, SANDBOX_CA_CERT: '/etc' }, wait: false });
  assert.equal(await code(unreadable), 1);
  assert.match(unreadable.stderr, /ca_certificate_unreadable/);
  const locked = await Standalone.start({ env: intercept, files: { [`${bundle}/is/a/directory`]: '', [standard]: certificate }, wait: false });
  assert.equal(await code(locked), 1);
  assert.match(locked.stderr, /ca_certificate_not_trusted.*ca-certificates\.crt/);
});

test('certificate: without a bundle only Node.js is told', root, async () => {
  const agent = await Standalone.start({ env: intercept, files: { [standard]: certificate }, command: ['true'] });
  await agent.until(() => agent.stderr.includes('command_ended'));
  assert.equal(await sh(agent, variables), `/${standard}::::\n`);
  assert.match(agent.stderr, /ca_bundle_not_found/);
  await agent.stop();
});
