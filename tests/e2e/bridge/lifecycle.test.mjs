/* Sleep, death, crashes and restarts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe } from 'node:test';

import { Api, collect, outcome } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('life cycle', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = await new Daemon().start();
  });
  beforeEach(() => {
    api = new Api(daemon);
  });
  afterEach(() => api.close());
  after(() => daemon.stop());

  const state = async (id) => (await api.get(`/v1/sandbox/${id}`)).json;
  /* The host pid of a sandbox's first process with this command line. */
  const hostPid = (marker) =>
    fs.readdirSync('/proc').find((pid) => {
      try {
        return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker);
      } catch {
        return false;
      }
    });

  test('an idle sandbox sleeps, and its next use starts the next generation, empty', async () => {
    await api.put('/v1/sandbox/sleepy', { sleepAfter: 1, labels: { keep: 'me' }, env: { A: 'b' } });
    await api.exec('sleepy', ['touch', '/workspace/file']);
    const asleep = await until('it sleeps', async () => (await state('sleepy')).state === 'sleeping' && state('sleepy'));
    assert.deepEqual([asleep.generation, asleep.endReason, asleep.labels], [1, 'slept', { keep: 'me' }]);
    assert.deepEqual((await api.get('/v1/sandbox/sleepy/running')).json, { running: false });
    const stale = await api.exec('sleepy', ['true'], { headers: { 'berm-if-generation': '1' } });
    assert.equal(stale.status, 410);
    assert.equal((await state('sleepy')).state, 'sleeping');
    assert.equal((await api.put('/v1/sandbox/sleepy', { sleepAfter: 60 })).json.state, 'sleeping');
    const woken = await api.exec('sleepy', ['sh', '-c', 'ls /workspace; echo $A']);
    assert.equal(woken.out, 'b\n');
    assert.equal(woken.headers['berm-generation'], '2');
    assert.deepEqual((await api.get('/v1/sandbox/sleepy/events')).json.events.map((entry) => entry.event),
      ['created', 'slept', 'configured', 'started']);
  });

  test('use, streams and keepAlive keep it awake', async () => {
    await api.put('/v1/sandbox/busy', { sleepAfter: 3 }); // time enough to be asked about on a busy machine
    await api.put('/v1/sandbox/alive', { sleepAfter: 1, keepAlive: true });
    assert.equal((await api.exec('busy', ['sleep', '5'])).code, 0);
    assert.deepEqual([(await state('busy')).generation, (await state('busy')).state], [1, 'running']);
    assert.equal((await state('alive')).state, 'running');
    await api.put('/v1/sandbox/alive', { keepAlive: false });
    await until('it sleeps', async () => (await state('alive')).state === 'sleeping');
  });

  test('when pid 1 dies, requests in flight get a typed error and the next use starts afresh', async () => {
    const running = api.exec('mortal', ['sh', '-c', 'echo started; sleep 4711']);
    await until('it runs', () => hostPid('sleep\0' + '4711'));
    await api.exec('mortal', ['touch', '/workspace/file']);
    const sleeper = hostPid('sleep\0' + '4711');
    const parent = (pid) => /PPid:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1];
    let agent = sleeper;
    while (!/NSpid:.*\t1$/m.test(fs.readFileSync(`/proc/${agent}/status`, 'utf8'))) agent = parent(agent);
    process.kill(Number(agent), 'SIGKILL');
    const cut = await running;
    assert.equal(cut.terminals, 1);
    assert.equal(cut.out, 'started\n');
    assert.equal(cut.failure.code, 'exec_transport_error');
    assert.equal(cut.failure.reason, 'signaled');
    const dead = await state('mortal');
    assert.deepEqual([dead.state, dead.endReason, dead.exitStatus, dead.generation], ['stopped', 'signaled', 9, 1]);
    const next = await api.exec('mortal', ['ls', '/workspace']);
    assert.equal(next.out, '');
    assert.equal(next.headers['berm-generation'], '2');
  });

  test('SIGKILL of the daemon loses no sandbox, process, file or session', async () => {
    await api.put('/v1/sandbox/survivor', { env: { KEPT: 'yes' }, labels: { l: '1' }, sleepAfter: 3600 });
    assert.equal((await api.put('/v1/sandbox/survivor/file/workspace/f', 'acknowledged')).status, 200);
    await api.exec('survivor', ['cd', '/tmp'], { session: 's' });
    await api.exec('survivor', ['sh', '-c', 'nohup sleep 4712 > /dev/null 2>&1 &']);
    const pid = await until('its process runs', () => hostPid('sleep\0' + '4712'));
    const [, signal] = await daemon.end('SIGKILL');
    assert.equal(signal, 'SIGKILL');
    await daemon.start();
    api.close();
    api = new Api(daemon);
    const found = await state('survivor');
    assert.deepEqual([found.state, found.generation, found.labels, found.sleepAfter], ['running', 1, { l: '1' }, 3600]);
    assert.equal((await api.get('/v1/sandbox/survivor/file/workspace/f')).text, 'acknowledged');
    assert.equal((await api.exec('survivor', ['pwd'], { session: 's' })).out, '/tmp\n');
    assert.equal((await api.exec('survivor', ['sh', '-c', 'echo $KEPT'])).out, 'yes\n');
    assert.equal(hostPid('sleep\0' + '4712'), pid);
    assert.equal((await state('survivor')).generation, 1);
  });

  test('what ended while no daemon was there is found ended', async () => {
    await api.exec('lost', ['sh', '-c', 'nohup sleep 4713 > /dev/null 2>&1 &']);
    await daemon.end('SIGKILL');
    assert.equal((await daemon.stopAll()).code, 0);
    await daemon.start();
    api.close();
    api = new Api(daemon);
    assert.deepEqual([(await state('lost')).state, (await state('lost')).endReason], ['stopped', 'lost']);
    assert.equal(hostPid('sleep\0' + '4713'), undefined);
    assert.equal((await api.exec('lost', ['echo', 'again'])).headers['berm-generation'], '2');
  });

  test('what nobody claims is destroyed', async () => {
    await api.exec('unclaimed', ['sh', '-c', 'nohup sleep 4714 > /dev/null 2>&1 &']);
    await daemon.end('SIGKILL');
    for (const name of fs.readdirSync(path.join(daemon.data, 'state'))) fs.rmSync(path.join(daemon.data, 'state', name));
    await daemon.start();
    api.close();
    api = new Api(daemon);
    await until('its process is gone', () => hostPid('sleep\0' + '4714') === undefined);
    assert.equal((await api.get('/v1/sandbox/unclaimed')).status, 404);
  });

  test('SIGTERM lets requests in flight finish and leaves sandboxes running', async () => {
    const request = api.open('POST', '/v1/sandbox/drain/exec', { agent: false });
    request.end(JSON.stringify({ argv: ['sh', '-c', 'echo started; sleep 1; echo done'] }));
    const [response] = await once(request, 'response');
    daemon.child.kill('SIGTERM');
    await until('new requests are refused', () => api.call('GET', '/health', { agent: false }).then(() => false, () => true));
    const finished = outcome((await collect(response)).text);
    assert.equal(finished.out, 'started\ndone\n');
    assert.equal(finished.code, 0);
    assert.deepEqual(await daemon.exited, [0, null]);
    await daemon.start();
    api.close();
    api = new Api(daemon);
    assert.deepEqual([(await state('drain')).state, (await state('drain')).generation], ['running', 1]);
  });

  test("a crash of berm-spawn's worker is survived", async () => {
    await api.exec('steady', ['touch', '/workspace/here']);
    process.kill(daemon.worker(), 'SIGKILL');
    await until('the restart is noticed', () => daemon.log('spawn.restarted').length > 0);
    assert.equal((await api.exec('steady', ['ls', '/workspace'])).out, 'here\n');
    assert.equal((await api.exec('newcomer', ['echo', 'hi'])).out, 'hi\n');
    assert.equal((await state('steady')).generation, 1);
    assert.equal((await api.delete('/v1/sandbox/steady')).status, 204);
  });

  test('one data directory has one daemon', async () => {
    const second = new Daemon({ data: daemon.data });
    await assert.rejects(second.start(), /another bermd \(pid \d+\) serves/);
    const refused = await second.stopAll();
    assert.equal(refused.code, 1);
    assert.match(refused.text, new RegExp(`another bermd \\(pid ${daemon.pid}\\).*stop it first`));
    assert.equal((await api.get('/health')).status, 200);
  });

  test('the daemon has no privilege', () => {
    const status = fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8');
    const field = (name) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)[1].trim();
    assert.ok(field('Uid').split('\t').every((uid) => Number(uid) > 0));
    assert.ok(field('Gid').split('\t').every((gid) => Number(gid) > 0));
    assert.equal(field('Groups'), '');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(field(set), /^0+$/, set);
    assert.equal(field('NoNewPrivs'), '1');
  });
});
