/* `berm mcp` with the published client, which starts it, and without one. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

import { Api } from '../lib/api.mjs';
import { Daemon, whyNoDaemon } from '../lib/daemon.mjs';
import { freePort } from '../lib/ports.mjs';
import { test } from '../lib/test.mjs';
import { conversation } from './conversation.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const berm = path.join(path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build')), 'berm');
const hello = { jsonrpc: '2.0', id: 0, method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } } };

describe('mcp over stdio', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let client;
  let address; /* beside the daemon's own: the same after a restart */

  before(async () => {
    address = `127.0.0.1:${await freePort()}`;
    daemon = await new Daemon().start(['--listen', address]);
    api = new Api(daemon);
    client = new Client({ name: 'test', version: '1' });
    await client.connect(new StdioClientTransport({ command: berm, args: ['--url', `http://${address}`, 'mcp'] }));
  });
  after(async () => {
    await client.close();
    api.close();
    await daemon.stop();
  });

  /* Sends lines, ends the input, and collects what comes: {code, messages, errors}. */
  const say = async (lines, url = daemon.url) => {
    const child = spawn(berm, ['--url', url, 'mcp'], { stdio: 'pipe' });
    let out = '';
    let errors = '';
    child.stdout.on('data', (piece) => (out += piece));
    child.stderr.on('data', (piece) => (errors += piece));
    child.stdin.end(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)) + '\n').join(''));
    const [code] = await once(child, 'close');
    return { code, errors, messages: out.split('\n').slice(0, -1).map((line) => JSON.parse(line)) };
  };

  conversation(test, () => ({ client, api }));

  test('what is no message is answered, and the next one as well', async () => {
    const { code, messages } = await say([hello, '{', '', '[]']);
    assert.equal(code, 0);
    assert.equal(messages.find((message) => message.id === 0).result.protocolVersion, '2025-06-18');
    assert.equal(messages.length, 3);
    assert.deepEqual(messages.filter((message) => message.id === null).map((message) => message.error.code).sort(), [-32000, -32700]);
  });

  test('a daemon that is not there is told to each request', async () => {
    const { messages } = await say([hello, { jsonrpc: '2.0', method: 'notifications/initialized' }], 'http://127.0.0.1:1');
    assert.equal(messages.length, 1);
    assert.equal(messages[0].id, 0);
    assert.match(messages[0].error.message, /cannot reach/);
  });

  test('a session that the daemon lost is made anew', async () => {
    await daemon.end();
    await daemon.start(['--listen', address]);
    assert.deepEqual(await client.ping(), {});
    assert.ok((await client.listTools()).tools.length > 10);
  });
});
