/* Statements of the bridge's reference that the other suites do not spell out, and inputs at their edges. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('conformance of the bridge', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let id;

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    id = await api.newId();
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('a body that is no JSON is told in the bridge\'s words, with the reason beside them', async () => {
    const latin1 = Buffer.from('{"argv":["\xff"]}', 'latin1');
    for (const body of ['', 'x', '{', '{"argv":["a"]}x', '{"argv":["a"],}', '\0', '\ufeff{}', '{"argv":["\\ud800"]}', latin1, '['.repeat(100000)]) {
      const { status, json } = await api.post(`/v1/sandbox/${id}/exec`, body);
      assert.deepEqual([status, json.error, json.code, json.context.field], [400, 'Invalid JSON body', 'invalid_request', 'body']);
      assert.equal(typeof json.context.detail, 'string');
    }
    const put = await api.put(`/v1/sandbox/${id}`, '{');
    assert.deepEqual([put.status, put.json.error], [400, 'Invalid JSON body']);
  });

  test('bad input names its field', async () => {
    const fields = [
      [await api.get('/v1/sandbox/BAD/running'), 'id'],
      [await api.exec(id, ['true'], { session: 'a b' }), 'Session-Id'],
      [await api.get(`/v1/sandbox/${id}/file/`), 'path'],
      [await api.get(`/v1/sandbox/${id}/file/workspace/a%00b`), 'path'],
      [await api.get(`/v1/sandbox/${id}/file/etc/passwd`), 'path'],
      [await api.delete(`/v1/sandbox/${id}/session/a%20b`), 'sid'],
      [await api.post(`/v1/sandbox/${id}/session`, { env: { 'A=B': 'x' } }), 'env'],
      [await api.post(`/v1/sandbox/${id}/session`, { env: { A: 'x\0' } }), 'env'],
      [await api.exec(id, ['true'], { env: { '': 'x' } }), 'env'],
      [await api.get('/v1/sandboxes?state=dozing'), 'state'],
    ];
    for (const [{ status, json }, field] of fields) {
      assert.ok(status === 400 || status === 403, `${field}: ${status}`);
      assert.equal(json.context.field, field);
    }
  });

  test('a command that cannot start ends the stream with one error event', async () => {
    const response = await api.exec(id, ['pwd'], { cwd: '/workspace/missing' });
    assert.equal(response.status, 200);
    assert.equal(response.headers['content-type'], 'text/event-stream');
    assert.deepEqual([response.terminals, response.failure.code], [1, 'exec_error']);
    assert.match(response.failure.error, /\/workspace\/missing/);
  });

  test('an argument longer than the kernel takes is bash\'s to judge', async () => {
    const long = 'x'.repeat(200000);
    const builtin = await api.exec(id, ['echo', long]);
    assert.deepEqual([builtin.code, builtin.out.length], [0, 200001]);
    const program = await api.exec(id, ['/bin/echo', long]);
    assert.equal(program.code, 126);
    assert.match(program.err, /Argument list too long/);
    assert.equal((await api.exec(id, ['echo', long], { session: 'long' })).out.length, 200001);
  });

  test('sessions and long commands work at the least limit of open files', async () => {
    const small = await api.newId();
    assert.equal((await api.put(`/v1/sandbox/${small}`, { limits: { nofile: 64 } })).status, 201);
    assert.equal((await api.exec(small, 'ulimit -n; X=1', { session: 's' })).out, '64\n');
    assert.equal((await api.exec(small, 'echo $X', { session: 's' })).out, '1\n');
    assert.equal((await api.exec(small, `: ${'x'.repeat(150000)}; echo done`)).out, 'done\n');
    await api.delete(`/v1/sandbox/${small}`);
  });

  test('a plus in a query is a space', async () => {
    const labelled = await api.newId();
    await api.put(`/v1/sandbox/${labelled}`, { labels: { words: 'a b+c' } });
    const found = async (query) => (await api.get(`/v1/sandboxes?${query}`)).json.sandboxes.map((sandbox) => sandbox.id);
    assert.deepEqual(await found(new URLSearchParams({ label: 'words=a b+c' })), [labelled]);
    assert.deepEqual(await found(`label=${encodeURIComponent('words=a b+c')}`), [labelled]);
  });

  test('events belong to a generation, too', async () => {
    await api.exec(id, ['true']);
    const stale = await api.get(`/v1/sandbox/${id}/events`, { headers: { 'berm-if-generation': '9' } });
    assert.deepEqual([stale.status, stale.json.code], [410, 'stale_generation']);
    assert.equal((await api.get(`/v1/sandbox/${id}/events`, { headers: { 'berm-if-generation': '1' } })).status, 200);
  });

  test('variables that were skipped are not listed', async () => {
    const fresh = await api.newId();
    assert.deepEqual((await api.put(`/v1/sandbox/${fresh}`, { env: { A: 'x', B: null } })).json.env, ['A']);
  });

  test('a field that decides something may stand there once', async () => {
    for (const field of ['Authorization: Bearer', 'Session-Id:', 'Berm-If-Generation:']) {
      const socket = net.connect(daemon.port, '127.0.0.1');
      socket.write(`GET /v1/sandbox/${id}/running HTTP/1.1\r\nHost: a\r\n${field} 1\r\n${field} 2\r\nConnection: close\r\n\r\n`);
      let text = '';
      socket.on('data', (piece) => (text += piece));
      await once(socket, 'close');
      assert.match(text, /^HTTP\/1\.1 400 /, field);
    }
  });
});
