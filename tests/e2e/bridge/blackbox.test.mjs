/* The checks that any deployment of the bridge must pass, and its quirks as we serve them. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { Api, parseEvents } from '../lib/api.mjs';
import { Daemon, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('the bridge', { skip: whyNoDaemon() }, () => {
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

  const invalid = (response, message) => {
    assert.equal(response.status, 400, response.text);
    assert.equal(response.json.code, 'invalid_request');
    assert.match(response.json.error, message);
  };

  test('health needs no key and says ok', async () => {
    const response = await api.get('/health');
    assert.equal(response.status, 200);
    assert.deepEqual(response.json, { ok: true });
  });

  test('a new id is 26 characters of base32 and starts nothing', async () => {
    const response = await api.post('/v1/sandbox');
    assert.equal(response.status, 200);
    assert.match(response.json.id, /^[a-z2-7]{26}$/);
    assert.deepEqual(Object.keys(response.json), ['id']);
    assert.equal((await api.get(`/v1/sandbox/${response.json.id}`)).status, 404);
    assert.notEqual((await api.post('/v1/sandbox')).json.id, response.json.id);
  });

  test('ids of another form are refused, whatever follows them', async () => {
    for (const bad of ['foo;rm', 'foo%3Brm', 'Foo', 'my-sandbox', 'a_b', 'abc1', 'a'.repeat(129), '%61bc', '..']) {
      for (const [method, rest] of [['GET', '/running'], ['POST', '/exec'], ['GET', '/file/workspace/a'], ['DELETE', ''], ['GET', '/nope']])
        invalid(await api.call(method, `/v1/sandbox/${bad}${rest}`), /^Invalid sandbox ID format$/);
    }
    assert.equal((await api.get(`/v1/sandbox/${'a'.repeat(128)}/running`)).status, 200);
  });

  test('what is wrong with a tunnel is told in the bridge\'s words; a body that is no object has no options', async () => {
    for (const port of ['80', '3000', '65536', '0x1f90', '8080.0', 'x'])
      invalid(await api.post(`/v1/sandbox/${id}/tunnel/${port}`), /^Invalid port/);
    invalid(await api.post(`/v1/sandbox/${id}/tunnel/8080`, '{'), /^Invalid JSON body$/);
    for (const name of [1, [], {}, true]) invalid(await api.post(`/v1/sandbox/${id}/tunnel/8080`, { name }), /^name must be a string when provided$/);
    for (const name of ['', '-a', 'a.b', 'a'.repeat(64)]) invalid(await api.post(`/v1/sandbox/${id}/tunnel/8080`, { name }), /valid DNS label/);
    const other = await api.newId();
    const made = await api.post(`/v1/sandbox/${other}/tunnel/8080`, '[]');
    assert.deepEqual([made.status, made.json.port], [200, 8080], made.text);
    assert.equal((await api.delete(`/v1/sandbox/${other}/tunnel/8080`)).status, 204);
    assert.equal((await api.delete(`/v1/sandbox/${other}/tunnel/8080`)).status, 204);
    assert.equal((await api.delete(`/v1/sandbox/${other}`)).status, 204);
  });

  test('unknown routes, methods and unversioned paths are not found and start nothing', async () => {
    for (const [method, path] of [['GET', '/v1'], ['POST', '/v1/sandbox/'], ['GET', `/v1/sandbox/${id}/exec`],
      ['PATCH', `/v1/sandbox/${id}/running`], ['POST', `/v1/sandbox/${id}/nope`], ['POST', `/sandbox/${id}/exec`],
      ['OPTIONS', `/v1/sandbox/${id}/exec`], ['POST', '/health']])
      assert.equal((await api.call(method, path)).status, 404, `${method} ${path}`);
    assert.deepEqual((await api.get('/v1/sandboxes')).json.sandboxes, []);
  });

  test('exec refuses what it cannot run, and starts nothing for it', async () => {
    const exec = `/v1/sandbox/${id}/exec`;
    invalid(await api.post(exec, ''), /^Invalid JSON body/);
    invalid(await api.post(exec, '{'), /^Invalid JSON body/);
    invalid(await api.post(exec, '{"argv":["a"],"argv":["b"]}'), /^Invalid JSON body/);
    for (const body of ['null', '[]', '"x"', '{}', '{"argv":[]}', '{"argv":"ls"}', '{"argv":{}}'])
      invalid(await api.post(exec, body), /^argv must be a non-empty array$/);
    invalid(await api.post(exec, { argv: ['a', 1] }), /array of strings/);
    invalid(await api.post(exec, { argv: ['a\0b'] }), /NUL/);
    for (const bad of ['a b', 'a/b', 'a..b', 'x'.repeat(129), ''])
      invalid(await api.post(exec, { argv: ['true'] }, { headers: { 'session-id': bad } }), /^Invalid session ID format$/);
    for (const cwd of ['/', '/etc', '..', '/workspace/../etc', '/workspacex']) {
      const response = await api.post(exec, { argv: ['true'], cwd });
      assert.equal(response.status, 403);
      assert.equal(response.json.code, 'invalid_request');
      assert.equal(response.json.error, 'cwd must resolve to a location within /workspace');
    }
    assert.deepEqual((await api.get('/v1/sandboxes')).json.sandboxes, []);
  });

  test('exec streams events and ends with exactly one exit', async () => {
    const response = await api.exec(id, ['sh', '-c', 'echo out; echo err >&2; exit 42']);
    assert.equal(response.status, 200);
    assert.equal(response.headers['content-type'], 'text/event-stream');
    assert.equal(response.headers['cache-control'], 'no-cache');
    assert.equal(response.headers['transfer-encoding'], 'chunked');
    assert.equal(response.out, 'out\n');
    assert.equal(response.err, 'err\n');
    assert.equal(response.code, 42);
    assert.equal(response.terminals, 1);
    assert.equal(parseEvents(response.text).at(-1).event, 'exit');
  });

  test('file paths are checked before anything is started', async () => {
    const fresh = await api.newId();
    const file = `/v1/sandbox/${fresh}/file`;
    for (const method of ['GET', 'PUT']) {
      invalid(await api.call(method, file), /^file path must not be empty$/);
      invalid(await api.call(method, `${file}/`), /^file path must not be empty$/);
      invalid(await api.call(method, `${file}/workspace/a%00b`), /path/);
      for (const path of ['etc/passwd', 'workspace/../etc/passwd', 'workspace/%2e%2e/etc/passwd', 'workspace/..%2fetc/passwd', 'workspacex/a', '..']) {
        const response = await api.call(method, `${file}/${path}`);
        assert.equal(response.status, 403, path);
        assert.equal(response.json.code, 'invalid_request');
        assert.equal(response.json.error, 'path must resolve to a location within /workspace');
      }
    }
    assert.equal((await api.get(`/v1/sandbox/${fresh}`)).status, 404);
  });

  test('running is a boolean and never starts a sandbox', async () => {
    const fresh = await api.newId();
    assert.deepEqual((await api.get(`/v1/sandbox/${fresh}/running`)).json, { running: false });
    assert.equal((await api.get(`/v1/sandbox/${fresh}`)).status, 404);
    assert.deepEqual((await api.get(`/v1/sandbox/${id}/running`)).json, { running: true });
  });

  test('delete answers 204 without a body, also for what never was', async () => {
    const doomed = await api.newId();
    await api.exec(doomed, ['true']);
    for (const target of [doomed, doomed, await api.newId()]) {
      const response = await api.delete(`/v1/sandbox/${target}`);
      assert.equal(response.status, 204);
      assert.equal(response.bytes.length, 0);
    }
    assert.deepEqual((await api.get(`/v1/sandbox/${doomed}/running`)).json, { running: false });
  });

  test('HEAD is served like GET without a body', async () => {
    const response = await api.call('HEAD', '/health');
    assert.equal(response.status, 200);
    assert.equal(response.headers['content-length'], '11');
    assert.equal(response.bytes.length, 0);
  });

  test('every error has text, code and context', async () => {
    for (const response of [await api.get('/nope'), await api.get('/v1/sandbox/A/running'), await api.put(`/v1/sandbox/${id}`, { limits: { pids: 0 } })]) {
      assert.equal(typeof response.json.error, 'string');
      assert.match(response.json.code, /^[a-z_]+$/);
      assert.equal(typeof response.json.context, 'object');
    }
    assert.equal((await api.put(`/v1/sandbox/${id}`, { limits: { pids: 0 } })).json.context.field, 'limits.pids');
  });
});
