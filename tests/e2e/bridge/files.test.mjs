/* Files through the bridge. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('files', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let id;
  const at = (path) => `/v1/sandbox/${id}/file/workspace/${path}`;

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    id = await api.newId();
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('what is written is read back, byte for byte, at many sizes', async () => {
    for (const size of [0, 1, 4095, 4096, 65535, 65537, 1 << 20, 5000000]) {
      const bytes = randomBytes(size);
      const written = await api.put(at('data.bin'), bytes);
      assert.equal(written.status, 200, written.text);
      assert.deepEqual(written.json, { ok: true });
      const read = await api.get(at('data.bin'));
      assert.equal(read.headers['content-type'], 'application/octet-stream');
      assert.equal(Number(read.headers['content-length']), size);
      assert.ok(read.bytes.equals(bytes), `size ${size}`);
    }
  });

  test('parents are made and an existing file is replaced', async () => {
    await api.put(at('deep/er/file.txt'), 'long content');
    await api.put(at('deep/er/file.txt'), 'short');
    assert.equal((await api.get(at('deep/er/file.txt'))).text, 'short');
  });

  test('names are decoded once: spaces, question marks, percent signs, other scripts', async () => {
    const names = ['a b', 'q?x', 'h#x', 'p%41', 'é', '😀', "it's", '+', '&=;'];
    for (const name of names) {
      await api.put(at(encodeURIComponent(name)), name);
      assert.equal((await api.get(at(encodeURIComponent(name)))).text, name);
    }
    const listed = (await api.exec(id, ['ls', '-1', '/workspace'])).out.split('\n');
    for (const name of names) assert.ok(listed.includes(name), name);
  });

  test('what is not there, a directory and a device are errors', async () => {
    const missing = await api.get(at('nope.txt'));
    assert.equal(missing.status, 404);
    assert.equal(missing.json.code, 'workspace_read_not_found');
    assert.equal(missing.json.error, 'File not found: /workspace/nope.txt');
    await api.exec(id, ['mkdir', '-p', '/workspace/dir']);
    for (const path of ['dir', '']) assert.ok((await api.get(`/v1/sandbox/${id}/file/workspace/${path}`)).status >= 400);
    await api.exec(id, ['ln', '-sf', '/dev/zero', '/workspace/zero']);
    assert.ok((await api.get(at('zero'))).status >= 400);
    const failed = await api.put(at('dir'), 'x');
    assert.equal(failed.status, 502);
    assert.equal(failed.json.code, 'workspace_archive_write_error');
    assert.match(failed.json.error, /^write failed: /);
  });

  test('32 MiB go in, a byte more does not', async () => {
    const most = Buffer.alloc(33554432, 'x');
    assert.equal((await api.put(at('big'), most)).status, 200);
    assert.equal((await api.get(at('big'))).bytes.length, most.length);
    const more = await api.put(at('big'), Buffer.concat([most, Buffer.from('y')]), { agent: false });
    assert.equal(more.status, 413);
    assert.equal(more.json.code, 'payload_too_large');
    assert.equal(more.json.error, 'payload too large: 33554433 bytes exceeds the 33554432-byte limit');
    assert.equal((await api.get(at('big'))).bytes.length, most.length);
  });

  test('a chunked body is counted as it comes', async () => {
    const small = api.open('PUT', at('chunked'), { agent: false });
    small.write('ab');
    small.end('cd');
    assert.equal((await once(small, 'response'))[0].statusCode, 200);
    assert.equal((await api.get(at('chunked'))).text, 'abcd');
    const large = api.open('PUT', at('chunked'), { agent: false });
    const responded = once(large, 'response');
    for (let i = 0; i < 33; i++) large.write(Buffer.alloc(1 << 20));
    large.end();
    const answer = await collect((await responded)[0]);
    assert.equal(answer.status, 413);
    assert.equal(answer.json.code, 'payload_too_large');
    assert.equal((await api.get(at('chunked'))).text, 'abcd');
  });

  test('a larger file than that can be read', async () => {
    await api.exec(id, ['sh', '-c', 'head -c 100000000 /dev/zero > /workspace/large']);
    const read = await api.get(at('large'));
    assert.equal(read.bytes.length, 100000000);
    await api.exec(id, ['rm', '/workspace/large']);
  });

  test('a client that leaves in the middle of a write harms nobody', async () => {
    const request = api.open('PUT', at('cut'), { agent: false, headers: { 'content-length': '1000000' } });
    request.write('only a little');
    await api.get(at('chunked'));
    request.destroy();
    assert.equal((await api.exec(id, ['echo', 'fine'])).out, 'fine\n');
  });

  test('a write that breaks off leaves what was there, and nothing else', async () => {
    const temporary = async () => (await api.exec(id, ['ls', '-A', '/workspace/whole'])).out.includes('.berm-put-');
    await api.put(at('whole/kept'), 'the old text');
    for (const name of ['kept', 'new']) {
      const request = api.open('PUT', at(`whole/${name}`), { agent: false, headers: { 'content-length': '1000000' } });
      request.write(Buffer.alloc(300000, 'x'));
      await until('a part of the file is there', temporary);
      request.destroy();
      await until('it is gone', async () => !await temporary());
    }
    assert.equal((await api.exec(id, ['ls', '-A', '/workspace/whole'])).out, 'kept\n');
    assert.equal((await api.get(at('whole/kept'))).text, 'the old text');
  });

  test('a file that is replaced keeps its owner and mode, a link and a second name stay', async () => {
    const prepare = 'mkdir -p /workspace/r; cd /workspace/r; echo old >plain; chmod 750 plain; chown 7:8 plain; ' +
      'echo old >a; ln a b; ln -s /tmp/far link; echo old >/tmp/far; ln -s /tmp/none dangling';
    assert.equal((await api.exec(id, ['sh', '-c', prepare])).code, 0);
    for (const name of ['plain', 'a', 'link', 'dangling', 'fresh'])
      assert.equal((await api.put(at(`r/${name}`), `new ${name}`)).status, 200);
    const shown = await api.exec(id, ['sh', '-c', 'cd /workspace/r; stat -c "%n %a %u %g %h %F" plain a b link fresh; ' +
      'cat b /tmp/far /tmp/none']);
    assert.equal(shown.out, 'plain 750 7 8 1 regular file\na 644 0 0 2 regular file\nb 644 0 0 2 regular file\n' +
      'link 777 0 0 1 symbolic link\nfresh 644 0 0 1 regular file\nnew anew linknew dangling');
  });

  test('a file of the image and one in use are replaced too', async () => {
    const edited = await api.exec(id, ['sh', '-c', 'ln -s /etc/shells /workspace/shells; cp /bin/sleep /workspace/busy; ' +
      '/workspace/busy 100 >/dev/null 2>&1 & echo']);
    assert.equal(edited.code, 0);
    assert.equal((await api.put(at('shells'), 'mine')).status, 200);
    assert.equal((await api.put(at('busy'), 'text')).status, 200);
    assert.equal((await api.exec(id, ['sh', '-c', 'cat /etc/shells /workspace/busy; pkill busy'])).out, 'minetext');
  });

  test('links may point anywhere inside the sandbox, and nowhere else', async () => {
    await api.exec(id, ['ln', '-sf', '/etc/hostname', '/workspace/link']);
    const inside = (await api.exec(id, ['cat', '/etc/hostname'])).out;
    const read = await api.get(at('link'));
    assert.equal(read.status === 200 ? read.text : inside, inside);
  });

  test('a full disk is an error, not a crash', async () => {
    const tight = await api.newId();
    await api.put(`/v1/sandbox/${tight}`, { limits: { diskBytes: 8 << 20 } });
    const failed = await api.put(`/v1/sandbox/${tight}/file/workspace/x`, randomBytes(16 << 20));
    assert.equal(failed.status, 502);
    assert.equal(failed.json.code, 'workspace_archive_write_error');
    assert.equal((await api.exec(tight, ['echo', 'alive'])).out, 'alive\n');
  });

  test('a range of a file', async () => {
    for (const [name, size] of [['small', 1000], ['large', 300000]]) {
      const content = randomBytes(size);
      const path = `/v1/sandbox/${id}/file/workspace/${name}.bin`;
      await api.put(path, content);
      for (const [range, from, to] of [['bytes=0-0', 0, 1], ['bytes=10-99', 10, 100], ['bytes=900-', 900, size], ['bytes=-7', size - 7, size],
        [`bytes=5-${size * 2}`, 5, size], [`bytes=-${size * 2}`, 0, size]]) {
        const part = await api.get(path, { headers: { range } });
        assert.deepEqual([part.status, part.headers['content-range']], [206, `bytes ${from}-${to - 1}/${size}`], `${name} ${range}`);
        assert.ok(part.bytes.equals(content.subarray(from, to)), `${name} ${range}`);
      }
      for (const range of ['bytes=0-1,5-6', 'bytes=9-5', 'bytes=-', 'bytes=x-1', 'lines=1-2', 'bytes=99999999999999999999-', '']) {
        const whole = await api.get(path, { headers: { range } });
        assert.ok(whole.status === 200 && whole.bytes.equals(content) && whole.headers['accept-ranges'] === 'bytes', range);
      }
      for (const range of [`bytes=${size}-`, 'bytes=-0']) {
        const nowhere = await api.get(path, { headers: { range } });
        assert.deepEqual([nowhere.status, nowhere.json.context.field], [416, 'Range'], range);
      }
      assert.equal((await api.get(path, { headers: { range: 'bytes=0-0', 'if-range': '"x"' } })).status, 200);
    }
  });
});
