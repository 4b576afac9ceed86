/* POST /commit: an image made of what is in a container, whatever that is. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe } from 'node:test';

import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Containers, Docker } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

describe('commit over the Docker API', { skip: whyNoDaemon() }, () => {
  let daemon;
  let docker;
  let id; /* of the data directory, in the names of its images */
  let count = 0;
  let made; /* containers */
  let tags;

  before(async () => {
    daemon = new Daemon({ poolSize: 1, docker: true, options: ['--sandbox-disk', '96MiB'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
    const data = fs.statSync(daemon.data);
    id = `commit-${data.dev.toString(16)}-${data.ino.toString(16)}-`;
  });
  beforeEach(() => {
    count++;
    made = new Containers(docker, `c${count}-`);
    tags = [];
  });
  afterEach(async () => {
    await made.removeAll();
    for (const tag of tags) await docker.delete(`/images/${tag}`);
    await until('no image is left', () => ours().length === 0, 60000);
  });
  after(() => daemon.stop());

  /* The images in the store that this daemon has had made. */
  const ours = () => fs.readdirSync(path.join(imagesDir, 'names')).filter((name) => name.startsWith(id));

  /* Whether one is being made. */
  const writing = () => fs.readdirSync('/proc').some((pid) => {
    try {
      const words = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return words[0] === 'berm-commit' && words[2].startsWith(id);
    } catch {
      return false; /* it has ended, or is no process */
    }
  });

  const create = (Image, more = {}) => made.created({ Image, ...more });
  const started = (Image = 'cloudflare/sandbox:minimal', more = {}) => made.started({ Image: Image === 'cloudflare/sandbox:minimal' ? 'minimal' : Image, ...more });
  const run = (container, script) => made.run(container, script);

  const commit = async (container, tag, body, query = '') => {
    tags.push(tag);
    return docker.post(`/commit?container=${container}&repo=${tag}${query}`, body);
  };

  const committed = async (container, tag, body, query) => {
    const answer = await commit(container, tag, body, query);
    assert.equal(answer.status, 201, answer.text);
    assert.match(answer.json.Id, /^sha256:[0-9a-f]{64}$/);
    return answer.json.Id;
  };

  test('what a container holds is in the next one, with owners, modes, links and what was deleted', async () => {
    const first = await started();
    const script = 'set -e; mkdir -p /data/deep; echo kept > /data/deep/file; chown 1000:1001 /data/deep/file; chmod 4755 /data/deep/file;'
      + ' ln /data/deep/file /data/hard; ln -s ../../etc/shadow /data/soft; mkfifo /data/fifo; rm -r /usr/share/doc; mv /usr/share/perl5 /usr/share/moved 2>/dev/null || true;'
      + " printf 'a\\nb' > \"$(printf '/data/new\\nline')\"; echo changed > /etc/motd; truncate -s 5M /data/sparse; sync";
    assert.deepEqual(await run(first, script), { code: 0, text: '' });
    const image = await committed(first, 'snap:one', { Labels: { 'dev.workerd.snapshot': 'yes' }, Cmd: ['sleep', '1000'] });
    assert.equal((await run(first, 'cat /data/deep/file')).text, 'kept', 'the container runs on');
    await run(first, 'echo later > /data/deep/file');
    const shown = (await docker.get('/images/snap:one/json')).json;
    assert.equal(shown.Id, image);
    assert.deepEqual(shown.RepoTags, ['snap:one']);
    assert.equal(shown.Config.Labels['dev.workerd.snapshot'], 'yes');
    assert.deepEqual(shown.Config.Cmd, ['sleep', '1000']);
    assert.equal(ours().length, 1);
    const second = await started('snap:one');
    assert.equal((await run(second, "stat -c '%u %g %a %h' /data/deep/file; cat /data/hard; readlink /data/soft; stat -c %F /data/fifo; ls -d /usr/share/doc; cat /etc/motd; ls /data | wc -l; stat -c %s /data/sparse")).text,
      "1000 1001 4755 2\nkept\n../../etc/shadow\nfifo\nls: cannot access '/usr/share/doc': No such file or directory\nchanged\n7\n5242880");
    assert.equal((await run(second, 'cat /etc/hostname')).text, (await run(second, 'hostname')).text, 'it has a name of its own');
    assert.equal((await run(second, 'stat -c "%u %a" / /proc /sys /dev /tmp')).text.split('\n').length, 5);
    assert.equal((await run(second, 'touch /root/here')).code, 0);
  });

  test('one without a reference is known by its id, and goes when that is deleted', async () => {
    const container = await started();
    await run(container, 'echo x > /root/x');
    const answer = await docker.post(`/commit?container=${container}`);
    assert.equal(answer.status, 201, answer.text);
    const shown = (await docker.get(`/images/${answer.json.Id}/json`)).json;
    assert.deepEqual(shown.RepoTags, []);
    assert.deepEqual((await docker.get('/images/json')).json.filter((one) => one.Id === answer.json.Id).map((one) => one.RepoTags), [[]]);
    const next = await started(answer.json.Id);
    assert.equal((await run(next, 'cat /root/x')).text, 'x');
    assert.deepEqual((await docker.delete(`/images/${answer.json.Id}`)).json, [{ Deleted: answer.json.Id }]);
  });

  test('the files of an image go with its last reference, and not while a container is made of it', async () => {
    const container = await started();
    await committed(container, 'snap:a');
    assert.equal((await docker.post('/images/snap:a/tag?repo=snap&tag=b')).status, 201);
    assert.equal((await docker.delete('/images/snap:a')).status, 200);
    const user = await started('snap:b');
    tags.push('snap:b');
    assert.equal((await docker.delete('/images/snap:b')).status, 200);
    assert.equal((await run(user, 'echo alive')).text, 'alive');
    assert.equal(ours().length, 1, 'it is in use');
    await docker.delete(`/containers/${user}?force=1`);
    await committed(container, 'snap:c');
    await docker.delete('/images/snap:c');
  });

  test('a container that was only created gives its settings, one that has ended is 409, others 404', async () => {
    const name = await create('minimal', { Labels: { a: '1' } });
    assert.equal((await commit(name, 'snap:settings', { Env: ['A=b'] })).status, 201);
    const { Config } = (await docker.get('/images/snap:settings/json')).json;
    assert.deepEqual([Config.Labels, Config.Env.includes('A=b')], [{ a: '1' }, true]);
    assert.equal(ours().length, 0);
    assert.equal((await commit('nobody', 'snap:none')).status, 404);
    assert.equal((await docker.post('/commit')).status, 404);
    assert.equal((await commit(name, 'a%20b')).status, 400);
    assert.equal((await commit(name, 'snap:x', undefined, '&changes=CMD%20x')).status, 501);
    assert.equal((await docker.post(`/commit?container=${name}&repo=snap:y`, { Cmd: 7 })).status, 400);
    const ended = await started();
    assert.equal((await docker.post(`/containers/${ended}/stop?t=0`)).status, 204);
    await until('it has ended', async () => (await docker.get(`/containers/${ended}/json`)).json.State.Status === 'exited');
    const late = await commit(ended, 'snap:late');
    assert.equal(late.status, 409, late.text);
    assert.match(late.json.message, /has ended/);
  });

  test('several commits at once, of a container that writes meanwhile, each hold one moment of it', async () => {
    const container = await started();
    await docker.post(`/exec/${(await docker.post(`/containers/${container}/exec`, { Cmd: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i > /root/n.new; mv /root/n.new /root/n; done'] })).json.Id}/start`, { Detach: true });
    await until('it writes', async () => (await run(container, 'test -s /root/n')).code === 0);
    const images = await Promise.all([1, 2, 3].map((i) => committed(container, `snap:at${i}`)));
    assert.equal(images.length, 3);
    for (let i = 1; i <= 3; i++) {
      const next = await started(`snap:at${i}`);
      assert.match((await run(next, 'cat /root/n')).text, /^[0-9]+$/);
    }
  });

  test('what is too much is refused by its size, and leaves nothing', async () => {
    const container = await started();
    await run(container, 'truncate -s 8E /root/huge || truncate -s 1T /root/huge');
    const answer = await commit(container, 'snap:huge');
    assert.equal(answer.status, 422, answer.text);
    assert.match(answer.json.message, /more than/);
    assert.equal((await docker.get('/images/snap:huge/json')).status, 404);
    assert.equal(ours().length, 0);
    assert.equal((await run(container, 'rm /root/huge && echo fine')).text, 'fine');
    await committed(container, 'snap:fine');
  });

  test('a client that goes away leaves an image, and a daemon that is killed leaves none', async () => {
    const container = await started();
    tags.push('snap:gone');
    const request = docker.open('POST', `/commit?container=${container}&repo=snap:gone`);
    request.end();
    await until('it has begun', () => writing() || ours().length > 0, 60000);
    request.destroy();
    await until('it is made', async () => (await docker.get('/images/snap:gone/json')).status === 200, 120000);
    tags.push('snap:lost');
    const lost = docker.open('POST', `/commit?container=${container}&repo=snap:lost`);
    lost.end();
    await daemon.end('SIGKILL');
    await daemon.start();
    assert.equal((await docker.get('/images/snap:lost/json')).status, 404);
    assert.equal((await docker.get('/images/snap:gone/json')).status, 200);
    await until('only the one is left', () => ours().length === 1, 60000);
    assert.equal((await run(container, 'echo adopted')).text, 'adopted');
    await committed(container, 'snap:again');
  });
});
