/* /v1/openapi*: the document, its page, and what the bridge's own suite asks of it. The routes: unit test daemon_openapi. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, whyNoDaemon } from '../lib/daemon.mjs';
import { checkAnswer, document, findOperation } from '../lib/openapi.mjs';
import { test } from '../lib/test.mjs';

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));

/* Every value below `node` that is called `key`. */
function all(node, key) {
  if (node === null || typeof node !== 'object') return [];
  return Object.entries(node).flatMap(([name, value]) => [...(name === key ? [value] : []), ...all(value, key)]);
}

describe('the OpenAPI document', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let key;

  before(async () => {
    daemon = await new Daemon({ poolSize: 0 }).start();
    key = (await new Api(daemon).post('/v1/keys', { label: 'openapi' })).json.key;
    api = new Api(daemon, key);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('what is served is what lies in the tree', async () => {
    const served = await api.get('/v1/openapi.json');
    assert.equal(served.status, 200);
    assert.deepEqual(served.json, document);
  });

  test('it is OpenAPI 3.1 with the bridge\'s operations', () => {
    assert.equal(document.openapi, '3.1.0');
    const ids = operations.map((operation) => operation.operationId);
    assert.equal(new Set(ids).size, ids.length);
    for (const id of ['createSandbox', 'execCommand', 'createTunnel', 'deleteTunnel', 'readFile', 'writeFile', 'ptyTerminal', 'isSandboxRunning', 'persistWorkspace',
      'hydrateWorkspace', 'mountBucket', 'unmountBucket', 'deleteSandbox', 'createSession', 'deleteSession', 'healthCheck', 'getOpenApiSchema', 'getPoolStats',
      'shutdownPrewarmed', 'primePool']) assert.ok(ids.includes(id), id);
    const pty = document.paths['/v1/sandbox/{id}/pty'].get;
    const names = pty.parameters.map((p) => p.name); // as the bridge's own suite looks for them: by name, without following references
    for (const name of ['id', 'cols', 'rows', 'shell', 'session']) assert.ok(names.includes(name), name);
    for (const status of ['101', '400', '502']) assert.ok(pty.responses[status], status);
  });

  test('references lead somewhere, parameters of paths are told, and everything has a tag that there is', () => {
    for (const reference of all(document, '$ref'))
      assert.ok(reference.slice(2).split('/').reduce((at, name) => at?.[name], document), reference);
    const used = new Set(all(document, '$ref'));
    for (const name of Object.keys(document.components.schemas)) assert.ok(used.has(`#/components/schemas/${name}`), `${name} is not used`);
    const tags = document.tags.map((tag) => tag.name);
    for (const { path, parameters = [], tags: [tag], operationId } of operations) {
      assert.ok(tags.includes(tag), operationId);
      const told = parameters.map((p) => (p.$ref ? document.components.parameters[p.$ref.split('/').at(-1)] : p)).filter((p) => p.in === 'path').map((p) => p.name);
      assert.deepEqual(told.sort(), [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort(), operationId);
    }
  });

  test('the page is shown without scripts, under a policy that forbids them', async () => {
    for (const path of ['/v1/openapi', '/v1/openapi.html']) {
      const page = await api.get(path);
      assert.equal(page.headers['content-type'], 'text/html; charset=utf-8');
      assert.ok(page.text.startsWith('<!doctype html>'));
      assert.ok(!/<script|javascript:|\son\w+=|https?:\/\/[^"<]*\.(js|css)/i.test(page.text));
      for (const { operationId } of operations) assert.ok(page.text.includes(`id="${operationId}"`), operationId);
      for (const [, anchor] of page.text.matchAll(/href="#([^"]+)"/g)) assert.ok(page.text.includes(`id="${anchor}"`), anchor);
      const style = /<style>([^]*)<\/style>/.exec(page.text)[1];
      const policy = page.headers['content-security-policy'];
      assert.ok(policy.startsWith("default-src 'none';"));
      assert.ok(policy.includes(`style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`), policy);
    }
  });

  test('the key may stand in the query, for these three and nothing else', async () => {
    const nobody = new Api(daemon);
    for (const path of ['/v1/openapi.json', '/v1/openapi', '/v1/openapi.html']) {
      assert.equal((await nobody.get(path)).status, 401);
      assert.equal((await nobody.get(`${path}?token=${key}x`)).status, 401);
      assert.equal((await nobody.get(`${path}?token=`)).status, 401);
      assert.equal((await nobody.get(`${path}?token=${key}`)).status, 200);
      assert.equal((await nobody.get(`${path}?token=${key}`, { headers: { authorization: 'Bearer wrong' } })).status, 401);
    }
    assert.equal((await nobody.get(`/v1/sandboxes?token=${key}`)).status, 401);
    nobody.close();
  });

  test('the check of answers finds what is not in the document', () => {
    const answer = (status, json, type = 'application/json') =>
      ({ status, headers: { 'content-type': type }, bytes: Buffer.from(JSON.stringify(json)), text: JSON.stringify(json), json });
    assert.ok(checkAnswer('GET', '/v1/sandbox/abc/running?x=1', answer(200, { running: true })));
    for (const [method, path, wrong] of [['GET', '/v1/sandbox/abc/running', answer(200, { running: 1 })], ['GET', '/v1/sandbox/abc/running', answer(200, { running: true, more: 1 })],
      ['GET', '/v1/sandbox/abc/running', answer(201, { running: true })], ['GET', '/v1/sandbox/abc/running', answer(200, 'x', 'text/plain')],
      ['GET', '/v1/sandbox/abc/running', answer(404, { error: 'x', code: 'y' })], ['GET', '/v1/nowhere', answer(200, {})],
      ['DELETE', '/v1/sandbox/abc', answer(204, {})]]) assert.throws(() => checkAnswer(method, path, wrong), /not as docs/);
    assert.equal(findOperation('get', '/v1/sandbox/abc/file/a/b').operationId, 'readFile');
  });
});
