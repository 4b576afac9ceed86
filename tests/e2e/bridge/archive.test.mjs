/* persist and hydrate. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('archives', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let work;

  const tar = (args, input) => {
    const result = spawnSync('tar', args, { input, maxBuffer: 1 << 28 });
    assert.equal(result.status, 0, result.stderr.toString());
    return result.stdout;
  };
  const names = (archive) => tar(['-t', '-f', '-'], archive).toString().split('\n').filter(Boolean).sort();
  const persist = (id, query = '') => api.post(`/v1/sandbox/${id}/persist${query}`);
  const hydrate = (id, body, options) => api.post(`/v1/sandbox/${id}/hydrate`, body, options);

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    work = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-archive-'));
  });
  after(async () => {
    api.close();
    fs.rmSync(work, { recursive: true });
    await daemon.stop();
  });

  test('a workspace comes back in another sandbox as it was', async () => {
    const make = `mkdir -p 'a b/c' empty; echo hi > 'a b/c/ü'; ln -s 'a b' link; head -c 3000000 /dev/urandom > big; chmod 750 big;
      touch -d '2001-02-03 04:05:06' empty; printf x > ${'l'.repeat(150)}`;
    const list = `find . -printf '%p %y %m %s %l %TD %TR\\n' | grep -v '^\\. ' | sort; sha256sum big`;
    assert.equal((await api.exec('one', ['bash', '-c', make])).code, 0);
    const archive = await persist('one');
    assert.deepEqual([archive.status, archive.headers['content-type']], [200, 'application/octet-stream']);
    assert.ok(names(archive.bytes).includes('./link') && names(archive.bytes).includes('./empty/'));
    const answer = await hydrate('two', archive.bytes);
    assert.deepEqual([answer.status, answer.text], [200, '{"ok":true}']);
    assert.equal((await api.exec('two', ['bash', '-c', list])).out, (await api.exec('one', ['bash', '-c', list])).out);
  });

  test('excludes are left out, with what is below them', async () => {
    await api.exec('three', ['bash', '-c', 'mkdir -p keep node_modules/x d; touch keep/a node_modules/x/y d/1.log d/2.txt .git']);
    assert.deepEqual(names((await persist('three', '?excludes=node_modules,./d/*.log,,.git')).bytes),
      ['./', './d/', './d/2.txt', './keep/', './keep/a']);
    for (const excludes of ['..', 'a/../b', 'x,..', '%2e%2e']) {
      const answer = await persist('three', `?excludes=${excludes}`);
      assert.deepEqual([answer.status, answer.json.code, answer.json.error], [400, 'invalid_request', 'exclude paths must not contain ".."']);
    }
  });

  test('hydrate lays an archive over what is there', async () => {
    await api.put('/v1/sandbox/four/file/workspace/old', 'old');
    await api.put('/v1/sandbox/four/file/workspace/both', 'old');
    fs.writeFileSync(path.join(work, 'both'), 'new');
    for (const [option, magic] of [['-c', /^./s], ['-cz', /^\x1f\x8b/]]) {
      const archive = tar([option, '-f', '-', '-C', work, 'both']);
      assert.match(archive.toString('latin1'), magic);
      await api.put('/v1/sandbox/four/file/workspace/both', 'old');
      assert.equal((await hydrate('four', archive)).status, 200, option);
      assert.equal((await api.get('/v1/sandbox/four/file/workspace/both')).text, 'new');
    }
    assert.equal((await api.get('/v1/sandbox/four/file/workspace/old')).text, 'old');
  });

  test('what is empty, too large or no archive is refused', async () => {
    const empty = await hydrate('five', undefined);
    assert.deepEqual([empty.status, empty.json.error, empty.json.code], [400, 'Empty tar payload', 'invalid_request']);
    const large = Buffer.alloc((32 << 20) + 1);
    for (const headers of [{ 'content-length': large.length }, { 'transfer-encoding': 'chunked' }]) {
      const answer = await hydrate('five', large, { headers });
      assert.equal(answer.status, 400);
      assert.equal(answer.json.error, 'tar payload too large: 33554433 bytes exceeds the 33554432-byte limit');
    }
    const noise = await hydrate('five', randomBytes(4000));
    assert.deepEqual([noise.status, noise.json.code], [502, 'workspace_archive_write_error']);
    assert.match(noise.json.error, /^tar extract failed \(exit 2\): .*tar/s);
  });

  test('a hostile archive stays in the workspace', async () => {
    const file = path.join(work, 'both');
    const outside = tar(['-c', '-P', '-f', '-', '--transform', 's,.*,../../tmp/escaped,', file]);
    const answer = await hydrate('six', outside);
    assert.deepEqual([answer.status, answer.json.code], [502, 'workspace_archive_write_error']);
    const absolute = tar(['-c', '-P', '-f', '-', '--transform', 's,.*,/tmp/absolute,', file]);
    assert.equal((await hydrate('six', absolute)).status, 200);
    assert.equal((await api.exec('six', ['ls', '/tmp'])).out, '');
    assert.equal((await api.get('/v1/sandbox/six/file/workspace/tmp/absolute')).text, 'new');
    assert.ok(!fs.existsSync('/tmp/escaped') && !fs.existsSync('/tmp/absolute'));
  });

  test('an archive that breaks off is an error, and tar ends with its client', async () => {
    const request = api.open('POST', '/v1/sandbox/seven/hydrate', { headers: { 'content-length': 1 << 20 }, agent: false });
    fs.writeFileSync(path.join(work, 'half'), Buffer.alloc(100000, 'x'));
    request.write(tar(['-c', '-f', '-', '-C', work, 'half']).subarray(0, 10240));
    await until('tar runs', async () => /tar/.test((await api.exec('seven', 'cat /proc/[0-9]*/comm')).out));
    request.destroy();
    await until('tar has ended', async () => !/tar/.test((await api.exec('seven', 'cat /proc/[0-9]*/comm')).out));
    await api.exec('seven', 'head -c 200000000 /dev/zero > zeros');
    const reading = api.open('POST', '/v1/sandbox/seven/persist', { agent: false });
    reading.end();
    const [response] = await once(reading, 'response');
    await once(response, 'readable');
    response.destroy();
    await until('tar has ended', async () => !/tar/.test((await api.exec('seven', 'cat /proc/[0-9]*/comm')).out));
  });

  test('a failing tar is a 502 with its reason', async () => {
    await api.exec('eight', 'rm -r /workspace');
    const answer = await persist('eight');
    assert.deepEqual([answer.status, answer.json.code], [502, 'workspace_archive_read_error']);
    assert.match(answer.json.error, /^tar failed \(exit 2\): .*workspace/s);
    assert.equal((await hydrate('eight', tar(['-c', '-f', '-', '-C', work, 'both']))).status, 200);
    assert.equal((await api.get('/v1/sandbox/eight/file/workspace/both')).text, 'new');
  });

  test('a large archive streams both ways without being held', async () => {
    await api.exec('nine', 'head -c 300000000 /dev/zero > zeros');
    const request = api.open('POST', '/v1/sandbox/nine/persist', { agent: false });
    request.end();
    const { bytes } = await collect((await once(request, 'response'))[0]);
    assert.equal(bytes.length, Math.ceil((300000000 + 512 * 2 + 511) / 10240) * 10240);
    const peak = Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))[1]);
    if (!process.env.BERM_SANITIZED) assert.ok(peak < 100000, `bermd took ${peak} KiB`);
  });
});
