/* Volumes of the Docker API: as workerd uses them for snapshots of directories, and what they must not become. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe } from 'node:test';

import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Containers, Docker } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

const query = (filters) => `filters=${encodeURIComponent(JSON.stringify(filters))}`;

/* A tar archive with one file. */
function archive(name, text) {
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-volume-'));
  fs.writeFileSync(path.join(top, name), text);
  const bytes = execFileSync('tar', ['-C', top, '-cf', '-', name], { encoding: 'buffer' });
  fs.rmSync(top, { recursive: true });
  return bytes;
}

describe('volumes of the Docker API', { skip: whyNoDaemon() }, () => {
  let daemon;
  let docker;
  let count = 0;
  let name; /* of a volume */
  let made; /* containers */

  before(async () => {
    daemon = new Daemon({ poolSize: 1, docker: true, options: ['--sandbox-disk', '64MiB'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
  });
  beforeEach(() => {
    name = `workerd-snap-${++count}`;
    made = new Containers(docker, `c${count}-`);
  });
  afterEach(async () => {
    await made.removeAll();
  });
  after(() => daemon.stop());

  const make = async (labels = {}) => {
    const answer = await docker.post('/volumes/create', { Name: name, Labels: labels });
    assert.equal(answer.status, 201, answer.text);
    return answer.json;
  };

  const create = (HostConfig, more = {}) => made.create({ HostConfig, ...more });
  const started = (HostConfig) => made.started({ HostConfig });
  const run = (container, script) => made.run(container, script);

  test('a volume is made once, shown, found by its labels, and removed', async () => {
    const volume = await make({ 'dev.workerd.snapshot-created-at': '1', team: 'a' });
    assert.equal(volume.Name, name);
    assert.equal(volume.Driver, 'local');
    assert.equal(volume.Mountpoint, '');
    assert.deepEqual(volume.Labels, { 'dev.workerd.snapshot-created-at': '1', team: 'a' });
    assert.equal((await docker.post('/volumes/create', { Name: name })).json.CreatedAt, volume.CreatedAt);
    assert.deepEqual((await docker.get(`/volumes/${name}`)).json, volume);
    for (const filters of [{ name: ['workerd-snap-'] }, { label: ['team=a'] }, { label: { team: true } }, { dangling: ['true'] }])
      assert.deepEqual((await docker.get(`/volumes?${query(filters)}`)).json, { Volumes: [volume], Warnings: [] }, JSON.stringify(filters));
    for (const filters of [{ name: ['other'] }, { label: ['team=b'] }, { dangling: ['false'] }, { driver: ['nfs'] }])
      assert.deepEqual((await docker.get(`/volumes?${query(filters)}`)).json.Volumes, [], JSON.stringify(filters));
    assert.equal((await docker.delete(`/volumes/${name}`)).status, 204);
    assert.equal((await docker.delete(`/volumes/${name}`)).status, 404);
    assert.equal((await docker.get(`/volumes/${name}`)).status, 404);
  });

  test('a volume that does not exist comes into being by being named, and a create that fails makes none', async () => {
    assert.equal((await docker.post('/containers/create?name=none', { Image: 'no/such:image', HostConfig: { Binds: [`${name}:/a`] } })).status, 404);
    assert.equal((await docker.get(`/volumes/${name}`)).status, 404);
    const container = await started({ Binds: [`${name}:/a`], Mounts: [{ Type: 'volume', Source: `${name}-b`, Target: '/b' }] });
    assert.equal((await run(container, 'echo kept > /a/file && cp /a/file /b/')).code, 0);
    for (const volume of [name, `${name}-b`]) assert.deepEqual((await docker.get(`/volumes/${volume}`)).json.Labels, {});
    await docker.delete(`/containers/${container}?force=1`);
    const again = await started({ Binds: [`${name}-b:/c`] });
    assert.equal((await run(again, 'cat /c/file')).text, 'kept');
  });

  test('many containers that name one new volume at once share it', async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, (_, i) => {
      made.add(`at-once-${i}`);
      return docker.post(`/containers/create?name=at-once-${i}`, { Image: 'cloudflare/sandbox:1', HostConfig: { Binds: [`${name}:/a`] } });
    }));
    assert.deepEqual(answers.map((answer) => answer.status), [201, 201, 201, 201]);
    assert.equal((await docker.get(`/volumes?${query({ name: [name] })}`)).json.Volumes.length, 1);
  });

  test('prune takes what nobody mounts, with `all` those with a name too, and only what the labels say', async () => {
    await make({ keep: 'no' });
    await docker.post('/volumes/create', { Name: `${name}-other` });
    await docker.post('/volumes/create', { Name: `${name}-used`, Labels: { keep: 'no' } });
    const anonymous = (await docker.post('/volumes/create', { Labels: { 'com.docker.volume.anonymous': '' } })).json.Name;
    await create({ Binds: [`${name}-used:/a`] });
    const prune = async (filters) => {
      const answer = await docker.post(`/volumes/prune?${query(filters)}`);
      assert.equal(answer.status, 200, answer.text);
      return answer.json.VolumesDeleted;
    };
    assert.deepEqual(await prune({}), [anonymous]);
    assert.deepEqual(await prune({ all: ['false'] }), []);
    assert.deepEqual(await prune({ all: ['true'], label: ['keep=no'] }), [name]);
    assert.equal((await docker.get(`/volumes/${name}-other`)).status, 200);
    assert.equal((await docker.get(`/volumes/${name}-used`)).status, 200);
    assert.equal((await docker.delete(`/volumes/${name}-other`)).status, 204);
  });

  test('two that ask for one name at once get the same volume', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => docker.post('/volumes/create', { Name: name })));
    assert.deepEqual(answers.map((answer) => answer.status), [201, 201, 201, 201, 201]);
    assert.equal(new Set(answers.map((answer) => answer.json.CreatedAt)).size, 1);
    assert.equal((await docker.get(`/volumes?${query({ name: [name] })}`)).json.Volumes.length, 1);
    assert.equal((await docker.delete(`/volumes/${name}`)).status, 204);
  });

  test('an archive put into a container that never ran is in the next one that mounts the volume', async () => {
    await make();
    const { container: writer } = await create({ Binds: [`${name}:/mnt`] });
    assert.equal((await docker.call('PUT', `/containers/${writer}/archive?path=/mnt`, archive('kept.txt', 'from the archive'))).status, 200);
    assert.equal((await docker.delete(`/volumes/${name}`)).status, 409, 'it is in use');
    assert.equal((await docker.delete(`/containers/${writer}?force=true`)).status, 204);
    const reader = await started({ Mounts: [{ Type: 'volume', Source: name, Target: '/workspace/restored/here', VolumeOptions: { NoCopy: true } }] });
    assert.deepEqual(await run(reader, 'cat /workspace/restored/here/kept.txt'), { code: 0, text: 'from the archive' });
    assert.deepEqual((await docker.get(`/containers/${reader}/json`)).json.Mounts,
      [{ Type: 'volume', Name: name, Source: '', Destination: '/workspace/restored/here', Driver: 'local', Mode: '', RW: true, Propagation: '' }]);
    assert.deepEqual((await docker.get(`/volumes?${query({ dangling: ['false'] })}`)).json.Volumes.map((volume) => volume.Name), [name]);
  });

  test('two containers share a volume, each with ids of its own, and one for reading only cannot write', async () => {
    await make();
    const writer = await started({ Binds: [`${name}:/data`] });
    const reader = await started({ Binds: [`${name}:/data:ro`] });
    assert.equal((await run(writer, 'echo hello > /data/file; chown 1000:1001 /data/file; chmod 0640 /data/file')).code, 0);
    assert.equal((await run(reader, 'stat -c "%u %g %a" /data/file; cat /data/file')).text, '1000 1001 640\nhello');
    const refused = await run(reader, 'echo x > /data/other');
    assert.notEqual(refused.code, 0);
    assert.match(refused.text, /Read-only file system/);
    assert.equal((await run(writer, 'ls /data')).text, 'file');
  });

  test('a full volume is full for itself, and its container goes on', async () => {
    await make();
    const container = await started({ Binds: [`${name}:/data`] });
    const full = await run(container, 'dd if=/dev/zero of=/data/big bs=1M count=100 2>&1');
    assert.notEqual(full.code, 0);
    assert.match(full.text, /quota|No space/i);
    assert.equal((await run(container, 'echo fine > /root/here && cat /root/here')).text, 'fine');
    const size = Number((await run(container, 'stat -c %s /data/big')).text);
    assert.ok(size > 40e6 && size <= 64 * 1024 * 1024, String(size));
  });

  test('no device, no set-user-id and no subvolume of its own comes out of a volume', async () => {
    await make();
    const container = await started({ Binds: [`${name}:/data`] });
    const options = (await run(container, "grep ' /data ' /proc/self/mountinfo")).text;
    assert.match(options, / rw,nosuid,nodev/);
    const script = 'import fcntl,os,struct,errno\n'
      + "d=os.open('/data',os.O_RDONLY)\n"
      + 'for number in (0x5000940e,0x50009418,0x50009401,0x50009417):\n'
      + " try: fcntl.ioctl(d,number,struct.pack('q4088s',d,b'inner'))\n"
      + ' except OSError as e: print(errno.errorcode[e.errno])\n'
      + ' else: print("made")\n';
    const made = await run(container, `command -v python3 >/dev/null || { echo none; exit; }; python3 -c '${script.replaceAll("'", "'\\''")}'`);
    if (made.text !== 'none') assert.equal(made.text, 'ENOTTY\nENOTTY\nENOTTY\nENOTTY');
    assert.notEqual((await run(container, 'umount /data')).code, 0);
    assert.equal((await run(container, 'ls /data && mkdir /data/d && rmdir /data/d')).code, 0);
  });

  test('a path of the host, another type, and places that are not for it are refused', async () => {
    await make();
    const bad = [
      [403, { Binds: ['/:/host'] }], [403, { Binds: ['./x:/host'] }], [403, { Binds: ['/data'] }], [403, { Binds: [7] }],
      [403, { Mounts: [{ Type: 'bind', Source: '/etc', Target: '/x' }] }], [403, { Mounts: [{ Type: 'tmpfs', Target: '/x' }] }],
      [403, { Mounts: [{ Type: 'volume', Source: '/etc', Target: '/x' }] }], [403, { Mounts: [{ Type: 'volume', Target: '/x' }] }], [403, { Mounts: ['x'] }],
      [400, { Binds: [`${name}:/`] }], [400, { Binds: [`${name}:x`] }], [400, { Binds: [`${name}:/a/../b`] }], [400, { Binds: [`${name}:/a//b`] }],
      [400, { Binds: [`${name}:/proc`] }], [400, { Binds: [`${name}:/proc/sys`] }], [400, { Binds: [`${name}:/dev/shm`] }], [400, { Binds: [`${name}:/sys`] }],
      [400, { Binds: [`${name}:/x:rw,exec`] }], [400, { Binds: [`${name}:/x`, `${name}:/x/`] }], [400, { Binds: 'x' }],
      [400, { Binds: Array.from({ length: 17 }, (_, i) => `${name}:/m${i}`) }],
    ];
    for (const [status, HostConfig] of bad) {
      const { answer } = await create(HostConfig);
      assert.equal(answer.status, status, `${JSON.stringify(HostConfig)}: ${answer.text}`);
      assert.equal(typeof answer.json.message, 'string');
    }
    for (const [status, body] of [[403, { Name: 'x1', DriverOpts: { type: 'none', o: 'bind', device: '/etc' } }], [404, { Name: 'x1', Driver: 'nfs' }], [400, { Name: '../x' }], [400, { Name: '/etc' }], [400, { Name: 'x1', Labels: { a: 1 } }], [400, { Name: 7 }]])
      assert.equal((await docker.post('/volumes/create', body)).status, status, JSON.stringify(body));
    assert.equal((await docker.get(`/volumes/${name}`)).status, 200);
  });

  test('a place that cannot be made fails the start, and says why', async () => {
    await make();
    const { container, answer } = await create({ Binds: [`${name}:/etc/passwd`] });
    assert.equal(answer.status, 201);
    const start = await docker.post(`/containers/${container}/start`);
    assert.equal(start.status, 500);
    assert.match(start.json.message, /\/etc\/passwd/);
  });

  test('a volume and what mounts it survive the daemon, killed, and the spawner, killed', async () => {
    await make({ kept: 'yes' });
    const container = await started({ Binds: [`${name}:/data`] });
    assert.equal((await run(container, 'echo stays > /data/file')).code, 0);
    await daemon.end('SIGKILL');
    await daemon.start();
    assert.equal((await docker.get(`/volumes/${name}`)).json.Labels.kept, 'yes');
    assert.equal((await run(container, 'cat /data/file; grep -c " /data " /proc/self/mountinfo')).text, 'stays\n1', 'it is mounted once');
    assert.equal((await docker.delete(`/volumes/${name}`)).status, 409);
    process.kill(daemon.worker(), 'SIGKILL');
    await until('the spawner is back', () => daemon.log('adoption.done').length >= 3);
    const again = await started({ Binds: [`${name}:/data`] });
    assert.equal((await run(again, 'cat /data/file')).text, 'stays');
    await docker.delete(`/containers/${container}?force=1`);
    await docker.delete(`/containers/${again}?force=1`);
    assert.equal((await docker.delete(`/volumes/${name}`)).status, 204);
  });
});
