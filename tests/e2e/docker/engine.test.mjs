/*
 * What clients of Docker's API ask for beside what workerd does: which lines of a log, which containers of a list, how a
 * container is stopped and when it goes, which streams of a command.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Containers, Docker } from '../lib/docker.mjs';
import { freePort } from '../lib/ports.mjs';
import { test } from '../lib/test.mjs';

/* The frames of a stream: [[stream number, text]]. */
function frames(bytes) {
  const all = [];
  for (let at = 0; at < bytes.length; at += 8 + bytes.readUInt32BE(at + 4)) all.push([bytes[at], bytes.toString('utf8', at + 8, at + 8 + bytes.readUInt32BE(at + 4))]);
  return all;
}
/* The command lines of this machine's processes. */
const processes = () =>
  fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    } catch {
      return ''; /* it has ended meanwhile */
    }
  });
const textOf = (bytes) => frames(bytes).map(([, text]) => text).join('');

describe('the Docker Engine API for other clients', { skip: whyNoDaemon() }, () => {
  let daemon;
  let docker;
  let count = 0;
  let made;

  before(async () => {
    daemon = new Daemon({ poolSize: 2, docker: true });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
  });
  beforeEach(() => {
    made = new Containers(docker, `e${++count}-`);
  });
  afterEach(() => made.removeAll());
  after(() => daemon.stop());

  const shell = (script, more = {}) => made.started({ Cmd: ['sh', '-c', script], ...more });
  const ended = async (container) => (await docker.post(`/containers/${container}/wait`)).json.StatusCode;
  const logs = async (container, query) => {
    const answer = await docker.get(`/containers/${container}/logs?${query}`);
    assert.equal(answer.status, 200, answer.text);
    return textOf(answer.bytes);
  };

  test('a log has the time before each line when it is asked for, and is cut by times', async () => {
    const container = await shell('echo one; echo two >&2; until [ -e /tmp/go ]; do sleep 0.01; done; printf three; exit 4');
    await until('the first lines are there', async () => /two/.test(await logs(container, 'stdout=1&stderr=1')));
    const stamped = (await logs(container, 'stdout=1&stderr=1&timestamps=1')).trim().split('\n').sort((a, b) => a.slice(31).localeCompare(b.slice(31)));
    for (const line of stamped) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (one|two)$/);
    const times = stamped.map((line) => line.slice(0, 30));
    const between = times.toSorted()[1];
    await made.run(container, 'touch /tmp/go');
    assert.equal(await ended(container), 4);
    const [, third] = (await logs(container, 'stdout=1&timestamps=1')).split('\n');
    assert.match(third, / three$/);
    const after = third.slice(0, 30);
    assert.ok(after > between, `${after} ${between}`);
    assert.equal(await logs(container, `stdout=1&stderr=1&since=${after}`), 'three');
    assert.equal(await logs(container, `stdout=1&until=${between}`), 'one\n');
    assert.equal(await logs(container, 'stdout=1&since=0&until=0'), 'one\nthree');
    assert.equal(await logs(container, 'stdout=1&since=4000000000'), '');
    assert.equal(await logs(container, 'stdout=1&until=1.5'), '');
    assert.equal(await logs(container, `stdout=1&stderr=1&tail=1&since=${times[0]}`), 'three');
    for (const query of ['since=x', 'until=2026-01-02', 'tail=x', 'since=-1'])
      assert.equal((await docker.get(`/containers/${container}/logs?stdout=1&${query}`)).status, 400, query);
  });

  test('who follows a log up to a time gets its end then, though the container lives on', async () => {
    const container = await shell('echo said; exec sleep 1000');
    await until('it is said', async () => (await logs(container, 'stdout=1')) === 'said\n');
    const now = (await docker.get(`/containers/${container}/logs?stdout=1&timestamps=1`)).bytes.toString('utf8', 8, 38);
    assert.equal(await logs(container, `stdout=1&follow=1&until=${now}`), 'said\n');
    assert.equal(await logs(container, `stdout=1&follow=1&until=${Math.ceil(Date.now() / 1000) + 1}`), 'said\n');
    assert.equal((await docker.get(`/containers/${container}/json`)).json.State.Running, true);
  });

  test('the last lines of a log include one that has no end', async () => {
    const container = await shell("printf 'a\\nb'; exit 1");
    await ended(container);
    assert.equal(await logs(container, 'stdout=1&tail=1'), 'b');
    assert.equal(await logs(container, 'stdout=1&tail=2'), 'a\nb');
  });

  test('the log of a command is whole when its end has been told, however fast that was and whatever came last', async () => {
    for (let i = 0; i < 12; i++) {
      const container = await shell(`echo only ${i}; exit 1`);
      assert.equal(await ended(container), 1);
      assert.equal(await logs(container, 'stdout=1'), `only ${i}\n`);
    }
    const much = await shell("head -c 200000 /dev/zero | tr '\\0' x; exit 2");
    assert.equal(await ended(much), 2);
    assert.equal((await logs(much, 'stdout=1')).length, 200000);
    const stopped = await shell("trap 'head -c 200000 /dev/zero; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    await until('it listens', async () => (await logs(stopped, 'stdout=1')) === 'ready\n');
    assert.equal((await docker.post(`/containers/${stopped}/stop`)).status, 204);
    assert.equal((await logs(stopped, 'stdout=1')).length, 200006);
  });

  test('stop sends the signal that the client or the container says', async () => {
    const script = "trap 'echo usr; exit 5' USR1; trap 'echo int; exit 6' INT; echo ready; while :; do sleep 0.01; done";
    const named = await shell(script, { StopSignal: 'SIGUSR1', StopTimeout: 3600 });
    const shown = (await docker.get(`/containers/${named}/json`)).json;
    assert.equal(shown.Config.StopTimeout, 3600);
    assert.deepEqual([shown.Path, shown.Args], ['sh', ['-c', script]]);
    const asked = await shell(script);
    for (const container of [named, asked]) await until('it listens', async () => (await logs(container, 'stdout=1')) === 'ready\n');
    assert.equal((await docker.post(`/containers/${named}/stop`)).status, 204);
    assert.equal((await docker.post(`/containers/${asked}/stop?signal=int&t=-1`)).status, 204);
    assert.equal(await logs(named, 'stdout=1'), 'ready\nusr\n');
    assert.equal(await logs(asked, 'stdout=1'), 'ready\nint\n');
    assert.equal((await docker.post(`/containers/${named}/stop`)).status, 304);
    assert.equal((await docker.post(`/containers/${named}/stop?signal=NONE`)).status, 400);
    assert.equal((await docker.post(`/containers/${named}/stop?t=-2`)).status, 400);
    assert.equal((await made.create({ StopSignal: 'SIGNONE' })).answer.status, 400);
  });

  test('a signal has the names that docker knows, in any case, and those it does not know are refused', async () => {
    const names = { abrt: 6, SIGIOT: 6, Sigcld: 17, CHLD: 17, POLL: 29, IO: 29, SIGVTALRM: 26, 'SIGRTMIN+3': 37, rtmin: 34, 'RTMAX-2': 62, SIGRTMAX: 64, 10: 10 };
    /* It looks up now and then: a signal that comes just before it would wait has been heard only when it looks. */
    const program = 'import signal, time\nfor s in range(1, 65):\n  if s not in (9, 19, 32, 33): signal.signal(s, lambda n, f: print(n, flush=True))\nprint("ready", flush=True)\nwhile True: time.sleep(0.1)';
    const container = await made.created({ Image: 'base', Cmd: ['python3', '-c', program] });
    assert.equal((await docker.post(`/containers/${container}/start`)).status, 204);
    let told = 'ready\n';
    await until('it listens', async () => (await logs(container, 'stdout=1')) === told);
    for (const [name, number] of Object.entries(names)) {
      assert.equal((await docker.post(`/containers/${container}/kill?signal=${encodeURIComponent(name)}`)).status, 204, name);
      told += `${number}\n`;
      await until(`${name} has come`, async () => (await logs(container, 'stdout=1')) === told);
    }
    for (const name of ['SIGNONE', 'SIGSIGTERM', 'RTMIN+16', 'RTMAX-31', 'RTMIN+', 'RTMIN-1', '65', '-9', 'SIG', 'SIGVTALRMSIGVTALRM'])
      assert.equal((await docker.post(`/containers/${container}/kill?signal=${encodeURIComponent(name)}`)).status, 400, name);
  });

  test('a container that is stopped and does not end is killed after its time', async () => {
    const container = await shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    await until('it listens', async () => (await logs(container, 'stdout=1')) === 'ready\n');
    assert.equal((await docker.post(`/containers/${container}/stop?t=1`)).status, 204);
    assert.equal((await docker.get(`/containers/${container}/json`)).json.State.ExitCode, 137);
  });

  test('events tell who killed and stopped a container', async () => {
    const container = await made.created({ Cmd: ['sleep', '1000'] });
    const request = docker.open('GET', `/events?filters=${encodeURIComponent(JSON.stringify({ container: [container] }))}`);
    request.end();
    const [response] = await once(request, 'response');
    let text = '';
    response.on('data', (piece) => (text += piece));
    for (const how of ['kill', 'stop']) {
      assert.equal((await docker.post(`/containers/${container}/start`)).status, 204);
      assert.equal((await docker.post(`/containers/${container}/${how}`)).status, 204);
      await ended(container);
    }
    await until('the last event', () => text.includes('"stop"'));
    request.destroy();
    assert.deepEqual(text.trim().split('\n').map((line) => JSON.parse(line).Action), ['start', 'kill', 'die', 'start', 'die', 'stop']);
  });

  test('a container with AutoRemove goes with its end, and who waits for that is told its code', async () => {
    const container = await made.created({ Cmd: ['sh', '-c', 'until [ -e /tmp/go ]; do sleep 0.01; done; exit 3'], HostConfig: { AutoRemove: true } });
    assert.equal((await docker.get(`/containers/${container}/json`)).json.HostConfig.AutoRemove, true);
    const removed = await docker.wait(container, '?condition=removed');
    const next = await docker.wait(container, '?condition=next-exit');
    await docker.post(`/containers/${container}/start`);
    await made.run(container, 'touch /tmp/go');
    assert.deepEqual([await next.ended, await removed.ended], [3, 3]);
    assert.equal((await docker.get(`/containers/${container}/json`)).status, 404);
  });

  test('the list is cut to the newest, by what was made before and after, and by how it ended', async () => {
    const three = [await shell('exit 3'), await made.created(), await shell('exec sleep 1000')];
    assert.equal(await ended(three[0]), 3);
    const list = async (query, filters = {}) => {
      const answer = await docker.get(`/containers/json?${query}&filters=${encodeURIComponent(JSON.stringify({ name: [`e${count}-`], ...filters }))}`);
      assert.equal(answer.status, 200, answer.text);
      return answer.json.map((container) => container.Names[0].slice(1));
    };
    assert.deepEqual(await list('all=1'), three.toReversed());
    assert.deepEqual(await list('limit=2'), [three[2], three[1]]);
    assert.deepEqual(await list('all=1', { since: [three[0]] }), [three[2], three[1]]);
    assert.deepEqual(await list('all=1', { before: [three[1]] }), [three[0]]);
    assert.deepEqual(await list('', { exited: ['3'] }), [three[0]]);
    assert.deepEqual(await list('', { status: ['created'] }), [three[1]]);
    assert.deepEqual(await list('all=1', { network: ['none'] }), []);
    const [shown] = (await docker.get(`/containers/json?filters=${encodeURIComponent(JSON.stringify({ id: [(await docker.get(`/containers/${three[2]}/json`)).json.Id] }))}`)).json;
    assert.equal(shown.Command, 'sh -c exec sleep 1000');
    assert.match(shown.Status, /^Up (Less than a second|\d+ (second|minute)s?)$/);
  });

  test('the list tells published ports and the mounts by which it is filtered', async () => {
    const { container } = await made.create({ ExposedPorts: { '3000/tcp': {} }, HostConfig: { PublishAllPorts: true, Binds: [`v-${count}:/data`] } });
    const inspect = (await docker.get(`/containers/${container}/json`)).json;
    for (const volume of [`v-${count}`, '/data']) {
      const [shown] = (await docker.get(`/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ volume: [volume] }))}`)).json;
      assert.deepEqual(shown.Ports, [{ IP: '127.0.0.1', PrivatePort: 3000, PublicPort: Number(inspect.NetworkSettings.Ports['3000/tcp'][0].HostPort), Type: 'tcp' }]);
    }
    await made.removeAll();
    assert.equal((await docker.delete(`/volumes/v-${count}`)).status, 204);
  });

  test('a filter that there is not is refused, as without it everything would fit', async () => {
    for (const target of ['/containers/json', '/images/json', '/volumes', '/events', '/volumes/prune']) {
      const answer = await docker.call(target === '/volumes/prune' ? 'POST' : 'GET', `${target}?filters=${encodeURIComponent('{"label!":["a"]}')}`);
      assert.equal(answer.status, 400, target);
      assert.match(answer.json.message, /invalid filter 'label!'/);
    }
    for (const filters of ['{"status":["gone"]}', '{"exited":["x"]}', '[]', '{"label":"a"}'])
      assert.equal((await docker.get(`/containers/json?filters=${encodeURIComponent(filters)}`)).status, 400, filters);
    assert.equal((await docker.get(`/containers/json?filters=${encodeURIComponent('{"since":["nobody"]}')}`)).status, 404);
  });

  test('of a command only the streams come that were asked for', async () => {
    const container = await made.started();
    const run = async (streams) => {
      const { Id } = (await docker.post(`/containers/${container}/exec`, { Cmd: ['sh', '-c', 'echo out; echo err >&2'], ...streams })).json;
      const { bytes } = await docker.post(`/exec/${Id}/start`, {});
      const { OpenStdout, OpenStderr, ExitCode, ProcessConfig } = (await docker.get(`/exec/${Id}/json`)).json;
      assert.equal(ExitCode, 0);
      assert.deepEqual([ProcessConfig.entrypoint, ProcessConfig.arguments], ['sh', ['-c', 'echo out; echo err >&2']]);
      return [frames(bytes).map(([stream, text]) => `${stream}${text.trim()}`).sort().join(), OpenStdout, OpenStderr];
    };
    assert.deepEqual(await run({ AttachStdout: true, AttachStderr: true }), ['1out,2err', true, true]);
    assert.deepEqual(await run({ AttachStdout: true }), ['1out', true, false]);
    assert.deepEqual(await run({ AttachStderr: true }), ['2err', false, true]);
    assert.deepEqual(await run({ AttachStdout: false }), ['', false, false]);
    assert.deepEqual(await run({}), ['1out,2err', true, true]);
  });

  test('a command that cannot be started says why where its output would be; one whose client left has been killed', async () => {
    const container = await made.started();
    const { Id } = (await docker.post(`/containers/${container}/exec`, { Cmd: ['true'], WorkingDir: '/no/such', AttachStderr: true })).json;
    const [[stream, text]] = frames((await docker.post(`/exec/${Id}/start`, {})).bytes);
    assert.equal(stream, 2);
    assert.match(text, /no\/such/);
    assert.equal((await docker.get(`/exec/${Id}/json`)).json.ExitCode, 126);
    const left = (await docker.post(`/containers/${container}/exec`, { Cmd: ['sh', '-c', 'echo begun; exec sleep 1000'], AttachStdout: true })).json.Id;
    const request = docker.open('POST', `/exec/${left}/start`);
    request.end('{}');
    const [response] = await once(request, 'response');
    await once(response, 'data');
    response.on('error', () => {});
    request.destroy();
    const shown = await until('it has ended', async () => {
      const { json } = await docker.get(`/exec/${left}/json`);
      return json.Running ? undefined : json;
    });
    assert.equal(shown.ExitCode, 137);
  });

  test('what a path is, in the words of Go', async () => {
    const container = await made.started();
    await made.run(container, 'mkdir -m 1777 /tmp/d; ln -s "target of it" /tmp/l; touch -d @1700000000 /tmp/f; chmod 4755 /tmp/f');
    const stat = async (name) => {
      const answer = await docker.call('HEAD', `/containers/${container}/archive?path=${name}`);
      assert.equal(answer.status, 200);
      return JSON.parse(Buffer.from(answer.headers['x-docker-container-path-stat'], 'base64'));
    };
    assert.deepEqual(await stat('/tmp/f'), { name: 'f', size: 0, mode: 2 ** 23 + 0o755, mtime: '2023-11-14T22:13:20.000Z', linkTarget: '' });
    const link = await stat('/tmp/l');
    assert.deepEqual([link.name, link.mode, link.linkTarget], ['l', 2 ** 27 + 0o777, 'target of it']);
    const directory = await stat('/tmp/d/');
    assert.deepEqual([directory.name, directory.mode], ['d', 2 ** 31 + 2 ** 20 + 0o777]);
  });

  test('an image is found by the id that its container tells, also where it has no tag', async () => {
    const container = await made.created();
    const { Image, Config } = (await docker.get(`/containers/${container}/json`)).json;
    assert.match(Image, /^sha256:[0-9a-f]{64}$/);
    for (const id of [Image, Image.slice(7), Image.slice(7, 19)]) {
      const { Id, RepoTags } = (await docker.get(`/images/${id}/json`)).json;
      assert.deepEqual([Id, RepoTags], [Image, [Config.Image]]);
    }
    assert.equal((await docker.get(`/images/${'0'.repeat(64)}/json`)).status, 404);
  });

  test('of images the list tells labels, by which it is filtered too, and whether they have a name', async () => {
    const container = await made.created();
    assert.equal((await docker.post(`/commit?container=${container}&repo=labelled-${count}`, { Labels: { of: `test-${count}` } })).status, 201);
    const list = async (filters) => (await docker.get(`/images/json?filters=${encodeURIComponent(JSON.stringify(filters))}`)).json;
    const found = await list({ label: [`of=test-${count}`] });
    assert.deepEqual(found.map(({ RepoTags, Labels }) => [RepoTags, Labels]), [[[`labelled-${count}:latest`], { of: `test-${count}` }]]);
    assert.deepEqual(await list({ label: [`of=test-${count}`], dangling: ['true'] }), []);
    assert.equal((await list({ label: [`of=test-${count}`], dangling: ['false'] })).length, 1);
    assert.equal((await docker.delete(`/images/labelled-${count}`)).status, 200);
    assert.equal((await docker.delete(`/images/labelled-${count}`)).status, 404);
  });

  test('a container with AutoRemove that ends while no daemon runs goes when the next one finds it', async () => {
    const going = await shell('sleep 1.25; exit 3', { HostConfig: { AutoRemove: true } });
    const staying = await shell('sleep 1.25; exit 4');
    await daemon.end('SIGKILL');
    await until('both have ended', () => !processes().some((words) => words.includes('sleep 1.25')));
    await daemon.start();
    await until('the one is gone', async () => (await docker.get(`/containers/${going}/json`)).status === 404);
    /* Its code is only known if the next daemon came while it was ending: nobody else of ours was there to hear of it. */
    await until('the other has ended', async () => (await docker.get(`/containers/${staying}/json`)).json.State.Status === 'exited');
  });

  test('published ports lead into the container over a restart of the daemon, but one that somebody else has taken', async () => {
    const [first, second, third] = [await freePort(), await freePort(), await freePort()];
    const HostConfig = { PortBindings: { '3000/tcp': [{ HostPort: `${first}` }, { HostPort: `${second}` }], '3001/tcp': [{ HostPort: `${third}` }] } };
    const container = await made.started({ Cmd: ['sleep', '1000'], HostConfig });
    const ports = async () => (await docker.get(`/containers/${container}/json`)).json.NetworkSettings.Ports;
    const published = await ports();
    assert.deepEqual(published['3000/tcp'].map(({ HostPort }) => Number(HostPort)), [first, second]);
    await daemon.end('SIGKILL');
    await daemon.start();
    assert.deepEqual(await ports(), published);
    for (const port of [first, second]) assert.equal((await (await fetch(`http://127.0.0.1:${port}/api/ping`)).json()).message, 'pong');
    await daemon.end('SIGKILL');
    const thief = net.createServer().listen(first, '127.0.0.1');
    await once(thief, 'listening');
    await daemon.start();
    assert.deepEqual(await ports(), { ...published, '3000/tcp': published['3000/tcp'].slice(1) });
    assert.equal((await (await fetch(`http://127.0.0.1:${second}/api/ping`)).json()).message, 'pong');
    thief.close();
  });

  test('labels that say what a container is are set by this API only', async () => {
    const api = new Api(daemon);
    const container = await made.started({ Cmd: ['sleep', '1000'], Labels: { own: 'yes', 'docker.name': 'mine' } });
    const id = (await api.get(`/v1/sandboxes?label=docker.name=${container}`)).json.sandboxes[0].id;
    const labels = async () => (await api.get(`/v1/sandbox/${id}`)).json.labels;
    const before = await labels();
    for (const [method, body] of [['PUT', { 'docker.side': '1 2 3 1' }], ['PATCH', { 'docker.name': null }]]) {
      const refused = await api.call(method, `/v1/sandbox/${id}/labels`, { body });
      assert.deepEqual([refused.status, refused.json.code, refused.json.context.field], [400, 'invalid_request', 'labels']);
    }
    assert.equal((await api.put('/v1/sandbox/nocontainer', { labels: { 'docker.id': 'a'.repeat(64), 'docker.name': 'fake' } })).status, 400);
    assert.equal((await api.put(`/v1/sandbox/${id}/labels`, { other: 'one' })).status, 200);
    const { own, ...kept } = before;
    assert.equal(own, 'yes');
    assert.deepEqual(await labels(), { ...kept, other: 'one' });
  });

  test('a log goes on over a restart of the daemon, with the times that it had, and is whole at its end', async () => {
    const container = await shell('echo before; until [ -e /tmp/go ]; do sleep 0.01; done; echo after; exit 6');
    await until('it is said', async () => (await logs(container, 'stdout=1')) === 'before\n');
    const first = await logs(container, 'stdout=1&timestamps=1');
    await daemon.end('SIGKILL');
    await daemon.start();
    await made.run(container, 'touch /tmp/go');
    assert.equal(await ended(container), 6);
    const whole = await logs(container, 'stdout=1&timestamps=1');
    assert.ok(whole.startsWith(first), whole);
    assert.match(whole, /^\S+ before\n\S+ after\n$/);
  });
});
