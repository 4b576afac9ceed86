/* The life of a container as workerd drives it: create, start, CONNECT, wait, kill, delete; and what it is refused. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, beforeEach, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker, connectThrough, inside, run, sideConfig } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

describe('the Docker Engine API', { skip: whyNoDaemon() }, () => {
  let daemon;
  let docker;
  let count = 0;
  let name;

  before(async () => {
    daemon = new Daemon({ poolSize: 2, docker: true, options: ['--docker-socket-mode', '0600'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
  });
  beforeEach(() => {
    name = `workerd-test-Sandbox-${String(++count).padStart(4, '0')}`;
  });
  after(() => daemon.stop());

  test('the socket has the mode that was asked for and answers with and without a version in the path', async () => {
    assert.equal(fs.statSync(docker.socketPath).mode & 0o777, 0o600);
    assert.equal((await docker.get('/_ping')).text, 'OK');
    assert.equal((await docker.get('/v1.41/_ping')).text, 'OK');
    const version = (await docker.get('/version')).json;
    assert.equal(version.Os, 'linux');
    assert.match(version.ApiVersion, /^1\.\d+$/);
    assert.ok(!JSON.stringify((await docker.get('/info')).json.SecurityOptions).includes('rootless'));
  });

  test('a call that does not exist is answered 501 in the layout of Docker', async () => {
    for (const [method, target] of [['POST', '/swarm/init'], ['GET', '/v1.43/plugins'], ['POST', '/containers/x/checkpoint'], ['POST', '/networks/prune']]) {
      const answer = await docker.call(method, target);
      assert.equal(answer.status, 501, target);
      assert.deepEqual(Object.keys(answer.json), ['message']);
    }
  });

  test('the bridge network leads workerd to the loopback', async () => {
    const [config] = (await docker.get('/networks/bridge')).json.IPAM.Config;
    assert.deepEqual(config, { Subnet: '127.0.0.0/8', Gateway: '127.0.0.1' });
    assert.equal((await docker.get('/networks/other')).status, 404);
  });

  test('what workerd does for a cold start leads to a command that runs', async () => {
    assert.deepEqual((await docker.get(`/volumes?filters=${encodeURIComponent('{"name":["workerd-snap-"]}')}`)).json, { Volumes: [], Warnings: [] });
    assert.equal((await docker.get(`/containers/${name}/json`)).status, 404);
    assert.equal((await docker.delete(`/containers/${name}-proxy?force=true`)).status, 404);
    const side = await docker.post(`/containers/create?name=${name}-proxy`, sideConfig);
    assert.equal(side.status, 201);
    assert.match(side.json.Id, /^[0-9a-f]{64}$/);
    assert.equal((await docker.post(`/containers/${name}-proxy/start`)).status, 204);
    const shown = (await docker.get(`/containers/${name}-proxy/json`)).json;
    assert.equal(shown.State.Status, 'running');
    const port = Number(shown.NetworkSettings.Ports['39001/tcp'][0].HostPort);

    const base = `http://127.0.0.1:${port}`;
    const egress = await fetch(`${base}/egress`, { method: 'PUT', body: '{"port":40000,"dns":{"allowHostnames":["*.example"]},"internet":{"enabled":true}}' });
    assert.equal(egress.status, 204);
    assert.match(await (await fetch(`${base}/ca`)).text(), /^-----BEGIN CERTIFICATE-----\n[\s\S]*-----END CERTIFICATE-----\n$/);

    const created = await docker.post(`/containers/create?name=${name}`, { Image: 'docker.io/cloudflare/sandbox:0.12.10', Env: ['GREETING=hello there', 'CLOUDFLARE_X=1'],
      HostConfig: { NetworkMode: `container:${name}-proxy`, RestartPolicy: { Name: 'on-failure' }, PidMode: 'host' } });
    assert.equal(created.status, 201);
    assert.match(created.json.Warnings.join(), /PidMode is ignored/);
    assert.equal((await docker.post(`/containers/${name}/start`)).status, 204);
    assert.equal((await run(port, 'echo $GREETING')).stdout, 'hello there');
    assert.equal((await docker.post(`/containers/${name}/start`)).status, 304);
    assert.equal((await docker.get(`/containers/${name}/json`)).json.State.Status, 'running');
  });

  test('a container is an ordinary sandbox with labels, limits and a pid namespace of its own', async () => {
    const { port } = await docker.pair(name, { Labels: { 'dev.workerd.session': 's1' }, HostConfig: { Memory: 96 << 20, PidsLimit: 40 } });
    const api = new Api(daemon);
    const sandbox = (await api.get('/v1/sandboxes')).json.sandboxes.find((s) => s.labels['docker.name'] === name);
    api.close();
    assert.equal(sandbox.state, 'running');
    assert.equal(sandbox.labels['dev.workerd.session'], 's1');
    assert.equal(sandbox.limits.memoryBytes, 96 << 20);
    assert.equal(sandbox.limits.pids, 40);
    assert.match((await run(port, 'cat /proc/1/comm')).stdout, /berm-agen/);
  });

  test('CONNECT leads to any port of the sandbox, tells when nobody listens, and passes what came early', async () => {
    const { port } = await docker.pair(name);
    const refused = await connectThrough(port, '127.0.0.1:8123');
    assert.equal(refused.status, 400);
    const server = 'use IO::Socket::INET; $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8123", Listen => 9, ReuseAddr => 1) or die; ' +
      'while ($c = $l->accept) { if (fork) { close $c; next } while (sysread($c, $b, 65536)) { for ($o = 0; $o < length $b;) { $o += syswrite($c, $b, length($b) - $o, $o) } } exit }';
    await run(port, `setsid nohup perl -e '${server}' >/dev/null 2>&1 &`);
    await until('the server listens', async () => (await connectThrough(port, '127.0.0.1:8123')).status === 200);
    const echo = await connectThrough(port, '127.0.0.1:8123', 'early ');
    const big = Buffer.alloc(3 << 20, 'x');
    let got = 0;
    echo.socket.on('data', (piece) => (got += piece.length));
    echo.socket.end(big);
    await once(echo.socket, 'end');
    assert.equal(got, big.length + 6);
  });

  test('CONNECT to another host, a broken head, and a web page get nowhere', async () => {
    const { port } = await docker.pair(name);
    for (const target of ['169.254.169.254:80', '127.0.0.1:0', 'example.com:80']) assert.notEqual((await connectThrough(port, target)).status, 200, target);
    const page = await fetch(`http://127.0.0.1:${port}/egress`, { method: 'PUT', headers: { origin: 'http://evil.example' }, body: '{}' });
    assert.equal(page.status, 403);
    assert.equal((await fetch(`http://127.0.0.1:${port}/else`)).status, 404);
  });

  test('kill with SIGTERM ends it in order, wait tells the code, and the name is free at once', async () => {
    await docker.pair(name);
    const waiting = await docker.wait(name);
    assert.equal((await docker.post(`/containers/${name}/kill?signal=SIGTERM`)).status, 204);
    assert.equal(await waiting.ended, 0);
    await until('it is gone', async () => (await docker.get(`/containers/${name}/json`)).status === 404);
    const again = await docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:1', HostConfig: { NetworkMode: `container:${name}-proxy` } });
    assert.equal(again.status, 201);
  });

  test('delete by force ends a running one and tells everybody who waits', async () => {
    const { id } = await docker.pair(name);
    const ended = await docker.wait(name);
    const removed = await docker.wait(id, '?condition=removed');
    assert.equal((await docker.delete(`/containers/${name}`)).status, 409);
    assert.equal((await docker.delete(`/containers/${name}?force=true`)).status, 204);
    assert.equal(await ended.ended, 137);
    assert.equal(await removed.ended, 137);
    assert.equal((await docker.post(`/containers/${name}/kill?signal=SIGTERM`)).status, 404);
    assert.equal((await docker.post(`/containers/${name}/wait?condition=removed`)).status, 404);
  });

  test('a plain container stays when it has ended, can be started again, and is in use by its name', async () => {
    await docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:1', Cmd: ['sh', '-c', 'exit 7'] });
    const twice = await docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:1' });
    assert.equal(twice.status, 409);
    assert.match(twice.json.message, /already in use/);
    for (let i = 0; i < 2; i++) {
      assert.equal((await docker.post(`/containers/${name}/start`)).status, 204);
      assert.deepEqual((await docker.post(`/containers/${name}/wait`)).json, { StatusCode: 7 });
      const { State } = (await docker.get(`/containers/${name}/json`)).json;
      assert.equal(State.Status, 'exited');
      assert.equal(State.ExitCode, 7);
    }
    assert.equal((await docker.delete(`/containers/${name}`)).status, 204);
  });

  test('a command that does not exist fails the start', async () => {
    await docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:1', Cmd: ['/no/such/program'] });
    const answer = await docker.post(`/containers/${name}/start`);
    assert.equal(answer.status, 500);
    assert.match(answer.json.message, /no\/such\/program/);
    assert.equal((await docker.delete(`/containers/${name}?force=1`)).status, 204);
  });

  test('nothing of the host is granted', async () => {
    const refused = { Privileged: true, Binds: ['/:/host'], NetworkMode: 'host', IpcMode: 'host', UTSMode: 'host', UsernsMode: 'host',
      Devices: [{ PathOnHost: '/dev/sda' }], VolumesFrom: ['x'], CgroupParent: '/',
      Mounts: [{ Type: 'bind', Source: '/etc', Target: '/v' }], DeviceRequests: [{}], Sysctls: { 'net.ipv4.ip_forward': '1' } };
    for (const [key, value] of Object.entries(refused)) {
      const answer = await docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:1', HostConfig: { [key]: value } });
      assert.equal(answer.status, 403, key);
      assert.match(answer.json.message, new RegExp(key));
    }
    assert.equal((await docker.get(`/containers/${name}/json`)).status, 404);
  });

  test('what is ignored is said', async () => {
    const HostConfig = { PidMode: 'host', CapAdd: ['SYS_ADMIN'], CapDrop: ['ALL'], ReadonlyRootfs: true, SecurityOpt: ['seccomp=unconfined'], RestartPolicy: { Name: 'always' }, CpuQuota: 5, OomScoreAdj: -500 };
    const made = await docker.post(`/containers/create?name=${name}`, { Image: 'cloudflare/sandbox:1', Tty: true, Volumes: { '/v': {} }, User: 'nobody', Hostname: 'x', HostConfig });
    assert.equal(made.status, 201);
    for (const key of [...Object.keys(HostConfig), 'Tty', 'Volumes', 'User', 'Hostname']) assert.ok(made.json.Warnings.some((warning) => warning.includes(key)), key);
    const none = await docker.post(`/containers/create?name=${name}x`, { Image: 'cloudflare/sandbox:1', HostConfig: { RestartPolicy: { Name: 'no' }, AutoRemove: false, CapDrop: null } });
    assert.deepEqual(none.json.Warnings, []);
  });

  test('bad requests are told apart and leave nothing behind', async () => {
    const bad = [[400, 'x', {}], [404, 'x1', { Image: 'no/such:image' }], [400, '-x', { Image: 'cloudflare/sandbox:1' }],
      [400, 'x2', { Image: 'cloudflare/sandbox:1', Env: 'A=b' }], [400, 'x3', { Image: 'cloudflare/sandbox:1', Cmd: [1] }],
      [404, 'x4', { Image: 'cloudflare/sandbox:1', HostConfig: { NetworkMode: 'container:nobody' } }],
      [400, 'x5', { Image: 'cloudflare/sandbox:1', HostConfig: { Memory: 1 } }],
      [400, 'x6', { Image: 'cloudflare/sandbox:1', WorkingDir: 'relative' }], [400, 'x7', Buffer.from('{"Image":')]];
    for (const [status, container, body] of bad) {
      const answer = await docker.post(`/containers/create?name=${container}`, body);
      assert.equal(answer.status, status, `${container}: ${answer.text}`);
      assert.equal(typeof answer.json.message, 'string');
    }
    assert.ok((await docker.get('/containers/json?all=1')).json.every((c) => !/^\/x\d?$/.test(c.Names[0])));
  });

  test('published ports lead into the sandbox from the loopback', async () => {
    const config = { Image: 'cloudflare/sandbox:1', ExposedPorts: { '3000/tcp': {} }, HostConfig: { PortBindings: { '3000/tcp': [{ HostIp: '0.0.0.0', HostPort: '' }] } } };
    assert.equal((await docker.post(`/containers/create?name=${name}`, config)).status, 201);
    await docker.post(`/containers/${name}/start`);
    const [binding] = (await docker.get(`/containers/${name}/json`)).json.NetworkSettings.Ports['3000/tcp'];
    assert.equal(binding.HostIp, '127.0.0.1');
    assert.equal((await (await fetch(`http://127.0.0.1:${binding.HostPort}/api/ping`)).json()).message, 'pong');
  });

  test('the list is filtered by label, name, status and ancestor', async () => {
    await docker.pair(name, { Labels: { 'dev.workerd.session': name } });
    const list = async (filters, all = '') => (await docker.get(`/containers/json?${all}filters=${encodeURIComponent(JSON.stringify(filters))}`)).json.map((c) => c.Names[0]);
    assert.deepEqual(await list({ label: [`dev.workerd.session=${name}`] }), [`/${name}`]);
    assert.deepEqual(await list({ label: { [`dev.workerd.session=${name}`]: true } }), [`/${name}`]);
    assert.deepEqual(await list({ label: ['dev.workerd.session=other'] }), []);
    assert.deepEqual((await list({ name: [name] })).sort(), [`/${name}`, `/${name}-proxy`]);
    assert.ok((await list({ ancestor: ['cloudflare/sandbox:0.12.10'] })).includes(`/${name}`));
    assert.deepEqual(await list({ name: [name], status: ['exited'] }, 'all=1&'), []);
    assert.equal((await docker.get('/containers/json?filters=%5B')).status, 400);
  });

  test('outgoing connections are offered to workerd by name, and go nowhere else without internet', async () => {
    const asked = [];
    const workerd = net.createServer((socket) => {
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (piece) => {
        text += piece;
        if (!text.includes('\r\n\r\n')) return;
        if (text.startsWith('CONNECT')) {
          asked.push(text);
          const taken = /X-Hostname: wanted\.test/i.test(text);
          socket.write(`HTTP/1.1 ${taken ? 200 : /refused/.test(text) ? 400 : 202} x\r\n\r\n`);
        } else if (text.startsWith('GET')) {
          socket.end('HTTP/1.0 200 OK\r\n\r\nfrom workerd');
        }
        text = '';
      });
    }).listen(0, '127.0.0.1');
    await once(workerd, 'listening');
    try {
      const { port } = await docker.pair(name);
      const egress = (allowHostnames, enabled) => fetch(`http://127.0.0.1:${port}/egress`, { method: 'PUT',
        body: JSON.stringify({ port: workerd.address().port, dns: { allowHostnames }, internet: { enabled } }) });
      assert.equal((await egress(['*.test'], false)).status, 204);
      const get = async (host) => (await run(port, `bash -c 'exec 3<>/dev/tcp/${host}/80 && printf "GET / HTTP/1.0\\r\\nHost: ${host}\\r\\n\\r\\n" >&3 && timeout 60 cat <&3' 2>&1`)).stdout;
      assert.match(await get('wanted.test'), /from workerd$/);
      assert.match(asked[0], /^CONNECT 11\.0\.0\.1:80 HTTP\/1\.1\r\n/);
      assert.doesNotMatch(await get('other.test'), /200 OK/);
      assert.doesNotMatch(await get('refused.test'), /200 OK/);
      assert.doesNotMatch(await get('unlisted.example'), /200 OK/);
      assert.ok(asked.every((head) => !head.includes('unlisted')));
    } finally {
      workerd.close();
    }
  });

  test('side containers that nobody uses any more make room, and are found by their labels', async () => {
    const used = await docker.pair(name);
    for (let i = 0; i < 260; i += 20)
      await Promise.all(Array.from({ length: 20 }, (_, k) => docker.post(`/containers/create?name=left-${i + k}-proxy`, { ...sideConfig, Labels: { 'dev.workerd.session': 'left' } })));
    const left = (await docker.get(`/containers/json?all=1&filters=${encodeURIComponent('{"label":["dev.workerd.session=left"]}')}`)).json;
    assert.ok(left.length > 200 && left.length <= 258, String(left.length));
    assert.equal((await run(used.port, 'echo here')).stdout, 'here');
    for (const { Id } of left) assert.equal((await docker.delete(`/containers/${Id}?force=1`)).status, 204);
  });

  test('events tell a life in order', async () => {
    const request = docker.open('GET', `/events?filters=${encodeURIComponent(JSON.stringify({ container: [name] }))}`);
    request.end();
    const [response] = await once(request, 'response');
    let text = '';
    response.on('data', (piece) => (text += piece));
    await docker.pair(name);
    await docker.delete(`/containers/${name}?force=1`);
    await until('the last event', () => text.includes('"destroy"'));
    request.destroy();
    assert.deepEqual(text.trim().split('\n').map((line) => JSON.parse(line).Action), ['create', 'start', 'die', 'destroy']);
  });

  test('containers, their side containers and their images outlive the daemon', async () => {
    const { port } = await docker.pair(name, { Env: ['KEPT=yes'] });
    await run(port, 'echo still here >/tmp/kept');
    await docker.post('/images/cloudflare/sandbox:0.12.10/tag?repo=cloudflare-dev/sandbox&tag=kept');
    await daemon.end('SIGKILL');
    await daemon.start();
    const shown = (await docker.get(`/containers/${name}/json`)).json;
    assert.equal(shown.State.Status, 'running');
    assert.equal((await docker.get(`/containers/${name}-proxy/json`)).json.NetworkSettings.Ports['39001/tcp'][0].HostPort, String(port));
    assert.equal((await run(port, 'cat /tmp/kept; echo $KEPT')).stdout, 'still here\nyes');
    assert.equal((await docker.get('/images/cloudflare-dev/sandbox:kept/json')).status, 200);
    const waiting = await docker.wait(name);
    await docker.post(`/containers/${name}/kill`);
    assert.equal(await waiting.ended, 137);
  });
});

describe('the Docker Engine API: images', { skip: whyNoDaemon() }, () => {
  let daemon;
  let docker;

  before(async () => {
    daemon = new Daemon({ poolSize: 0, docker: true });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
  });
  after(() => daemon.stop());

  test('what wrangler asks of an image is there', async () => {
    const image = (await docker.get('/images/docker.io/cloudflare/sandbox:0.12.10/json')).json;
    assert.deepEqual(image.RepoTags, ['cloudflare/sandbox:0.12.10']);
    assert.ok(Object.keys(image.Config.ExposedPorts).length > 0);
    assert.equal((await docker.get('/images/cloudflare/sandbox:1-nosuchvariant/json')).status, 404);
  });

  test('a tag is made, listed, used and removed', async () => {
    assert.equal((await docker.post('/images/cloudflare/sandbox:1/tag?repo=cloudflare-dev/app&tag=a1')).status, 201);
    const [entry] = (await docker.get(`/images/json?filters=${encodeURIComponent('{"reference":["cloudflare-dev/app"]}')}`)).json;
    assert.deepEqual(entry.RepoTags, ['cloudflare-dev/app:a1']);
    assert.equal((await docker.get(`/images/${entry.Id}/json`)).json.Id, entry.Id);
    assert.equal((await docker.delete('/images/cloudflare-dev/app:a1')).status, 200);
    assert.equal((await docker.delete('/images/cloudflare-dev/app:a1')).status, 404);
    assert.equal((await docker.delete('/images/cloudflare/sandbox:1')).status, 409);
  });

  test('a commit of settings makes an image whose containers have them', async () => {
    await docker.post('/containers/create?name=builder', { Image: 'cloudflare/sandbox:1' });
    const config = { Env: ['FROM_IMAGE=1'], ExposedPorts: { '8080/tcp': {} }, Cmd: ['sh', '-c', 'echo $FROM_IMAGE >/tmp/out; exit 0'], Labels: { who: 'me' } };
    assert.equal((await docker.post('/commit?container=builder&repo=cloudflare-dev/app&tag=b2', config)).status, 201);
    await docker.delete('/containers/builder');
    const image = (await docker.get('/images/cloudflare-dev/app:b2/json')).json;
    assert.deepEqual(Object.keys(image.Config.ExposedPorts).sort(), ['3000/tcp', '8080/tcp']);
    assert.equal(image.Config.Labels.who, 'me');
    const { port } = await docker.pair('app', { Image: 'cloudflare-dev/app:b2' });
    await until('the command has run', async () => (await run(port, 'cat /tmp/out')).stdout === '1');
    assert.equal((await inside(port, 3000, 'GET', '/api/ping')).status, 200);
  });

  test('nothing is pulled, and what is here needs no pull', async () => {
    assert.equal((await docker.post('/images/create?fromImage=cloudflare/sandbox&tag=0.12.10')).status, 200);
    assert.equal((await docker.post(`/images/create?fromImage=${encodeURIComponent(sideConfig.Image)}`)).status, 200);
    const answer = await docker.post('/images/create?fromImage=debian&tag=12');
    assert.equal(answer.status, 404);
    assert.match(answer.json.message, /no registry/);
  });
});
