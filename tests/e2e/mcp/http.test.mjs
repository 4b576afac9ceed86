/* /mcp with the published client of the Model Context Protocol, and with what no client would send. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { conversation } from './conversation.mjs';

const both = 'application/json, text/event-stream';
const hello = (version = '2025-11-25') => ({ jsonrpc: '2.0', id: 1, method: 'initialize',
  params: { protocolVersion: version, capabilities: {}, clientInfo: { name: 'test', version: '1' } } });

describe('mcp over http', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let transport;
  let client;

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    transport = new StreamableHTTPClientTransport(new URL(`${daemon.url}/mcp`));
    client = new Client({ name: 'test', version: '1' });
    await client.connect(transport);
  });
  after(async () => {
    await client.close();
    api.close();
    await daemon.stop();
  });

  const post = (message, headers = {}) => api.post('/mcp', typeof message === 'string' ? message : JSON.stringify(message),
    { headers: { 'content-type': 'application/json', accept: both, ...headers } });
  const session = async (headers = {}) => (await post(hello(), headers)).headers['mcp-session-id'];

  conversation(test, () => ({ client, api }));

  test('a sandbox that sleeps is listed without files, and a look does not wake it', async () => {
    await api.put('/v1/sandbox/sleeper', { sleepAfter: 1 });
    await until('it sleeps', async () => (await api.get('/v1/sandbox/sleeper')).json.state === 'sleeping');
    const uris = async () => (await client.listResources()).resources.map(({ uri }) => uri).filter((uri) => uri.startsWith('berm://sleeper'));
    assert.deepEqual(await uris(), ['berm://sleeper', 'berm://sleeper/events']);
    await assert.rejects(client.readResource({ uri: 'berm://sleeper/files/workspace/' }), { code: -32002, message: /does not run/ });
    assert.deepEqual(JSON.parse((await client.readResource({ uri: 'berm://sleeper/processes' })).contents[0].text).processes, []);
    assert.equal((await api.get('/v1/sandbox/sleeper')).json.state, 'sleeping');
    await api.delete('/v1/sandbox/sleeper');
  });

  test('resources come in pages', async () => {
    const ids = Array.from({ length: 26 }, (_, i) => `page${String.fromCharCode(97 + i)}`);
    await Promise.all(ids.map((id) => api.put(`/v1/sandbox/${id}`, { limits: { memoryBytes: 64 << 20 } })));
    const seen = [];
    let pages = 0;
    for (let cursor; pages === 0 || cursor; pages++) {
      const page = await client.listResources({ cursor });
      seen.push(...page.resources.map(({ uri }) => uri));
      cursor = page.nextCursor;
    }
    assert.equal(pages, 2);
    for (const id of ids) assert.ok(seen.includes(`berm://${id}/files/workspace/`), id);
    assert.equal(new Set(seen).size, seen.length);
    for (const cursor of ['mine', 5, 'x'.repeat(65), 's1.1&limit=1000'])
      assert.ok((await post({ jsonrpc: '2.0', id: 7, method: 'resources/list', params: { cursor } }, { 'mcp-session-id': transport.sessionId })).text.includes('-32602'), cursor);
    await Promise.all(ids.map((id) => api.delete(`/v1/sandbox/${id}`)));
  });

  test('the session ends with DELETE, and a client is told to begin anew', async () => {
    const other = new StreamableHTTPClientTransport(new URL(`${daemon.url}/mcp`));
    const second = new Client({ name: 'second', version: '1' });
    await second.connect(other);
    const id = other.sessionId;
    assert.match(id, /^[0-9a-f]{40}$/);
    await other.terminateSession();
    const gone = await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': id });
    assert.equal(gone.status, 404);
    assert.equal(gone.json.error.code, -32001);
    await second.close();
  });

  test('versions are negotiated', async () => {
    for (const version of ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'])
      assert.equal((await post(hello(version))).json.result.protocolVersion, version);
    assert.equal((await post(hello('1999-01-01'))).json.result.protocolVersion, '2025-11-25');
    const id = await session();
    const ping = { jsonrpc: '2.0', id: 2, method: 'ping' };
    assert.equal((await post(ping, { 'mcp-session-id': id, 'mcp-protocol-version': '2025-06-18' })).status, 200);
    assert.equal((await post(ping, { 'mcp-session-id': id, 'mcp-protocol-version': '1999-01-01' })).status, 400);
  });

  test('requests of web pages are refused', async () => {
    for (const origin of ['http://evil.example', 'null', `https://127.0.0.1:${daemon.port + 1}`]) {
      const answer = await post(hello(), { origin });
      assert.ok([401, 403].includes(answer.status), `${origin}: ${answer.status}`);
    }
    assert.equal((await post(hello(), { host: 'evil.example' })).status, 401);
    assert.equal((await post(hello(), { origin: `http://127.0.0.1:${daemon.port}`, host: `127.0.0.1:${daemon.port}` })).status, 200);
  });

  test('what the transport does not take', async () => {
    const id = await session();
    const ping = { jsonrpc: '2.0', id: 2, method: 'ping' };
    assert.equal((await post(ping)).status, 400);
    assert.equal((await post(ping, { 'mcp-session-id': 'f'.repeat(40) })).status, 404);
    assert.equal((await post(ping, { 'mcp-session-id': id, 'content-type': 'text/plain' })).status, 415);
    assert.equal((await post(ping, { 'mcp-session-id': id, accept: 'text/html' })).status, 406);
    const get = await api.get('/mcp', { headers: { accept: 'text/event-stream', 'mcp-session-id': id } });
    assert.equal(get.status, 405);
    assert.equal(get.headers.allow, 'POST, DELETE');
    assert.equal((await api.delete('/mcp')).status, 400);
    assert.equal((await post(ping, { 'mcp-session-id': id })).status, 200);
  });

  test('messages that are none', async () => {
    const headers = { 'mcp-session-id': await session() };
    const cases = [
      ['', 400, -32700], ['{', 400, -32700], ['{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', 400, -32700],
      ['\u00ff', 400, -32700], ['[]', 400, -32600], ['[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400, -32600], ['1', 400, -32600],
      ['{}', 400, -32600], ['{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, -32600],
      ['{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600], ['{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 400, -32600],
      ['{"jsonrpc":"2.0","id":{},"method":"ping"}', 400, -32600], ['{"jsonrpc":"2.0","id":1,"method":7}', 400, -32600],
      ['{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 400, -32600], ['{"jsonrpc":"2.0","id":1}', 400, -32600],
      [`{"jsonrpc":"2.0","id":"${'x'.repeat(300)}","method":"ping"}`, 400, -32600],
      ['{"jsonrpc":"2.0","id":1,"method":"nope"}', 200, -32601], ['{"jsonrpc":"2.0","id":1,"method":"prompts/list"}', 200, -32601],
      ['{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}', 200, -32602],
      ['{"jsonrpc":"2.0","id":1,"method":"tools/call"}', 200, -32602],
      ['{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"nope"}}', 200, -32602],
      ['{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"exec","arguments":[]}}', 200, -32602],
      ['{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}', 200, -32602],
    ];
    for (const [text, status, code] of cases) {
      const answer = await post(text, headers);
      assert.equal(answer.status, status, text);
      assert.equal(answer.json.error.code, code, text);
    }
    assert.equal((await post(`[${'['.repeat(100000)}`, headers)).json.error.code, -32700);
    assert.equal((await post('{"jsonrpc":"2.0","id":5,"result":{}}', headers)).status, 202);
    assert.equal((await post('{"jsonrpc":"2.0","method":"notifications/nope"}', headers)).status, 202);
    assert.equal((await post('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}', headers)).status, 202);
  });

  test('arguments cannot lead anywhere else', async () => {
    const call = async (name, args) => (await client.callTool({ name, arguments: args }));
    for (const [name, args] of [
      ['sandbox_destroy', { sandbox: '../keys/x' }], ['sandbox_get', { sandbox: '..' }], ['sandbox_get', { sandbox: '' }],
      ['sandbox_get', { sandbox: 'a?x=y' }], ['sandbox_get', { sandbox: 'a\r\nX: y' }], ['sandbox_get', { sandbox: 'a\0b' }],
      ['process_kill', { sandbox: 'abc', process: '..' }], ['exec', { sandbox: 'abc', command: 'true', session: 'a\r\nX: y' }],
      ['exec', { sandbox: 'abc' }], ['exec', { sandbox: 'abc', command: 1 }], ['exec', { sandbox: 'abc', command: 'x', more: 1 }],
      ['exec', { sandbox: 'abc', command: 'x', timeout_ms: -1 }], ['exec', { sandbox: 'abc', command: 'x', env: { A: 1 } }],
      ['code_run', { sandbox: 'abc', code: '1', language: 'perl' }]]) {
      const result = await call(name, args);
      assert.equal(result.isError, true, JSON.stringify(args));
      assert.equal(result.structuredContent.code, 'invalid_request', JSON.stringify([args, result]));
    }
    assert.equal((await api.get('/v1/sandbox/abc')).status, 404);
  });

  test('a client that takes no events gets one document', async () => {
    const headers = { 'mcp-session-id': await session(), accept: 'application/json' };
    const id = await api.newId();
    const answer = await post({ jsonrpc: '2.0', id: 'x', method: 'tools/call',
      params: { name: 'exec', arguments: { sandbox: id, command: 'echo hi; exit 3' }, _meta: { progressToken: 1 } } }, headers);
    assert.match(answer.headers['content-type'], /json/);
    assert.deepEqual(answer.json.result.structuredContent, { exitCode: 3, stdout: 'hi\n', stderr: '', truncated: false });
    await api.delete(`/v1/sandbox/${id}`);
  });

  test('closing the stream, or the session, ends the command', async () => {
    const headers = { 'mcp-session-id': await session(), 'content-type': 'application/json', accept: both };
    const id = await api.newId();
    const runs = async (number) => (await api.exec(id, `[ -s pid${number} ] && [ -e /proc/$(cat pid${number}) ]`)).code === 0;
    const start = (number) => {
      const request = api.open('POST', '/mcp', { headers });
      request.end(JSON.stringify({ jsonrpc: '2.0', id: number, method: 'tools/call',
        params: { name: 'exec', arguments: { sandbox: id, command: `echo $$ >pid${number}; exec sleep 1000` } } }));
      return request;
    };
    const first = start(1);
    await until('it runs', () => runs(1));
    const again = await post({ jsonrpc: '2.0', id: 1, method: 'tools/call',
      params: { name: 'exec', arguments: { sandbox: id, command: 'true' } } }, headers);
    assert.equal(again.json.error.code, -32600);
    first.destroy();
    await until('it was killed', async () => !(await runs(1)));
    start(2);
    await until('it runs', () => runs(2));
    assert.equal((await api.delete('/mcp', { headers })).status, 204);
    await until('it was killed', async () => !(await runs(2)));
    await api.delete(`/v1/sandbox/${id}`);
  });

  test('a session belongs to the key that made it', async () => {
    const { key: one } = (await api.post('/v1/keys', {})).json;
    const two = (await api.call('POST', '/v1/keys', { body: {}, headers: { authorization: `Bearer ${one}` } })).json.key;
    const as = (key) => ({ authorization: `Bearer ${key}` });
    assert.equal((await post(hello())).status, 401);
    const id = await session(as(one));
    const ping = { jsonrpc: '2.0', id: 2, method: 'ping' };
    assert.equal((await post(ping, { ...as(one), 'mcp-session-id': id })).status, 200);
    assert.equal((await post(ping, { ...as(two), 'mcp-session-id': id })).status, 404);
    const list = await post({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'sandbox_list' } },
      { ...as(one), 'mcp-session-id': id, accept: 'application/json' });
    assert.equal(list.json.result.isError, false);
    assert.equal((await post(hello(), { ...as(one), origin: 'http://evil.example' })).status, 403);
  });
});
