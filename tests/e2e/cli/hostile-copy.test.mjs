/* What `berm cp` makes of sandboxes that attack the machine that copies from them. */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { execWith, exit, output, stream, withMock } from './mock.mjs';
import { berm } from './program.mjs';

const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'berm-cli-'));
after(() => fs.rm(directory, { recursive: true }));

/* One member of a ustar archive. */
function member(name, type, { body = '', link = '', mode = 0o644 } = {}) {
  const header = Buffer.alloc(512);
  const data = Buffer.from(body);
  header.write(name, 0);
  header.write(mode.toString(8).padStart(7, '0'), 100);
  header.write('0000000', 108);
  header.write('0000000', 116);
  header.write(data.length.toString(8).padStart(11, '0'), 124);
  header.write('00000000000', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\u000000', 257);
  header.write(`${header.reduce((a, b) => a + b).toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/* A sandbox in which tar is the attacker's: copies its directory to `target`. */
function copyHostile(members, target) {
  const archive = Buffer.concat([...members, Buffer.alloc(1024)]);
  return execWith(
    (request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        const { argv } = JSON.parse(Buffer.concat(chunks).toString().split('\n')[0]);
        stream(response).end(output(argv[0] === 'tar' ? archive : 'd\n') + exit(0));
      });
    },
    (mock, env) => berm(['cp', '-r', 'mock:/workspace/tree', target], { env }),
  );
}

test('a hostile directory stays below its target, and what is left out is told', async () => {
  const target = path.join(directory, 'hostile');
  const outside = path.join(directory, 'outside');
  await fs.mkdir(outside);
  await fs.writeFile(path.join(outside, 'file'), 'untouched');
  const result = await copyHostile([
    member('./', '5', { mode: 0o777 }),
    member('../outside/dotdot', '0', { body: 'x' }),
    member(path.join(outside, 'absolute'), '0', { body: 'x' }),
    member('a/../../outside/middle', '0', { body: 'x' }),
    member('out', '2', { link: '../outside' }),
    member('out/through-link', '0', { body: 'x' }),
    member('abs', '2', { link: outside }),
    member('self', '2', { link: '.' }),
    member('climb', '2', { link: 'self/self/../../outside' }),
    member('climb/by-self', '0', { body: 'x' }),
    member('inside', '2', { link: 'sub' }),
    member('inside/through-own-link', '0', { body: 'x' }),
    member('hard', '1', { link: path.join(outside, 'file') }),
    member('hard2', '1', { link: '../outside/file' }),
    member('null', '3'),
    member('fifo', '6'),
    member('setuid', '0', { body: 'x', mode: 0o6755 }),
    member('sub/', '5'),
    member('sub/good', '0', { body: 'good', mode: 0o644 }),
    member('link', '2', { link: 'sub/good' }),
  ], target);
  assert.equal(result.status, 1, result.err);
  assert.match(result.err, /left out \.\.\/outside\/dotdot/);
  assert.deepEqual(await fs.readdir(outside), ['file']);
  assert.equal(await fs.readFile(path.join(outside, 'file'), 'utf8'), 'untouched');
  assert.equal((await fs.stat(path.join(outside, 'file'))).nlink, 1);
  assert.equal(await fs.readFile(path.join(target, 'link'), 'utf8'), 'good');
  assert.equal((await fs.stat(path.join(target, 'setuid'))).mode & 0o7000, 0);
  const names = await fs.readdir(target);
  for (const name of ['out', 'abs', 'climb', 'hard', 'hard2', 'null', 'fifo'])
    assert.ok(!names.includes(name) || (await fs.lstat(path.join(target, name))).isDirectory(), name);
});

test('a copy does not go through a link that lies in the target', async () => {
  const target = path.join(directory, 'with-link');
  const elsewhere = path.join(directory, 'elsewhere');
  await fs.mkdir(target);
  await fs.mkdir(elsewhere);
  await fs.symlink(elsewhere, path.join(target, 'tree'));
  const into = await copyHostile([member('tree/planted', '0', { body: 'x' })], `${target}/.`);
  assert.equal(into.status, 1);
  assert.match(into.err, /is a link/);
  assert.deepEqual(await fs.readdir(elsewhere), []);
});

test('a tar stream that is none, or is cut off, is a failure', async () => {
  const target = path.join(directory, 'broken');
  const noise = await copyHostile([Buffer.alloc(4096, 'n')], target);
  assert.equal(noise.status, 1);
  const cut = await copyHostile([member('file', '0', { body: 'x'.repeat(5000) }).subarray(0, 2048)], target);
  assert.equal(cut.status, 1);
});

test('a sandbox that answers nonsense about a path is not believed', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response).end(output('file\n'.repeat(1000)) + exit(0));
    },
    async (mock, env) => {
      const result = await berm(['cp', 'mock:/workspace/x', path.join(directory, 'never')], { env });
      assert.equal(result.status, 1);
      await assert.rejects(fs.access(path.join(directory, 'never')));
    },
  ));

test('a download that breaks leaves the old file and no other', () => {
  const own = path.join(directory, 'own');
  return withMock(
    (request, response) => {
      request.resume();
      if (request.method === 'POST') return stream(response).end(output('f\n') + exit(0));
      response.writeHead(200, { 'content-length': 1000 });
      response.write('half');
      return setImmediate(() => response.destroy());
    },
    async (mock, env) => {
      await fs.mkdir(own);
      await fs.writeFile(path.join(own, 'file'), 'old');
      const result = await berm(['cp', 'mock:/workspace/file', own], { env });
      assert.equal(result.status, 1);
      assert.deepEqual(await fs.readdir(own), ['file']);
      assert.equal(await fs.readFile(path.join(own, 'file'), 'utf8'), 'old');
    },
  );
});
