/* An edge that a hostile daemon connects to, and a daemon whose edge has been taken over: link_peer speaks bermd's part to berm-link. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, programs, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { DOMAIN, Edge, newKey } from './edge.mjs';

const skip = whyNoDaemon();
const build = skip ? '' : path.dirname(programs.bermd);
const link = path.join(build, 'berm-link');
const peerProgram = path.join(build, 'tests/tools/link_peer');

function linkPeer(mode, socket, args) {
  const child = spawn(peerProgram, [mode, socket, '--', link, mode, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines, exited: once(child, 'exit') };
}

describe('a hostile daemon', { skip }, () => {
  let edge, count = 0;
  const open = [];

  before(async () => {
    edge = await new Edge({ keys: { home: newKey(), away: newKey() } }).start();
  });
  after(async () => {
    for (const { peer, server } of open) {
      peer.child.kill();
      await peer.exited;
      server.close();
    }
    await edge.stop();
  });

  /* A daemon that does `serve(socket)` with each stream. */
  async function daemon(serve) {
    const file = path.join(edge.top, `daemon-${count++}`);
    const server = net.createServer((socket) => serve(socket.on('error', () => {})));
    server.listen(file);
    await once(server, 'listening');
    const peer = linkPeer('dial', file, ['--host', '127.0.0.1', '--port', String(edge.ports.link), '--authority', edge.authority, '--transport', 'h2']);
    open.push({ peer, server });
    await until('its link is up', () => peer.lines.some((line) => line.startsWith('up ')));
    return peer;
  }

  /* One that answers requests: handlers by path, or all others. */
  function httpDaemon(key, others) {
    const server = http.createServer((request, response) => {
      if (request.url === '/berm/link/v1/hello') response.end(JSON.stringify({ key }));
      else if (request.url.startsWith('/berm/link/')) response.writeHead(204).end();
      else others(request, response);
    });
    return daemon((socket) => server.emit('connection', socket));
  }

  /* And dials no more: the edge counts what came from its address. */
  async function closed(peer) {
    await until('the edge closes the link', () => peer.lines.some((line) => line.startsWith('down ')));
    peer.child.kill();
    await peer.exited;
  }

  test('one that answers garbage is closed', async () => {
    await closed(await daemon((socket) => socket.end('SSH-2.0-x\r\n\r\n')));
  });

  test('one that answers with another JSON than asked for is closed', async () => {
    await closed(await httpDaemon({ not: 'a text' }, () => {}));
    await closed(await httpDaemon('x'.repeat(5000), () => {}));
  });

  test('one that never answers is closed', async () => {
    await closed(await daemon(() => {}));
  });

  test('one that floods is closed', async () => {
    await closed(await daemon((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      const flood = () => { while (!socket.destroyed && socket.write(`8000\r\n${'x'.repeat(0x8000)}\r\n`)); };
      socket.on('drain', flood);
      flood();
    }));
  });

  test('with its own key it serves its own names, framed anew, and no cookie for others', async () => {
    await httpDaemon(edge.keys.away, (request, response) => {
      response.setHeader('Set-Cookie', ['a=1; Domain=edge.test', 'b=2']);
      response.end(request.headers.host);
    });
    await until('it serves', async () => (await edge.visit(`https://x-away.${DOMAIN}/`)).status === 200);
    const answer = await edge.visit(`https://x-away.${DOMAIN}/`);
    assert.equal(answer.text, `x-away.${DOMAIN}`);
    assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
    assert.equal((await edge.visit(`https://x-home.${DOMAIN}/`)).status, 503, "another's name is not its own");
  });

  test('an answer that is broken or never ends breaks its own request only', async () => {
    await httpDaemon(edge.keys.home, (request, response) => {
      if (request.url === '/twice') response.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab');
      else if (request.url === '/more') response.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
      else if (request.url !== '/silent') response.end('fine');
    });
    await until('it serves', async () => (await edge.visit(`https://x-home.${DOMAIN}/`)).text === 'fine');
    const silent = edge.open(`https://x-home.${DOMAIN}/silent`);
    silent.end();
    assert.equal((await edge.visit(`https://x-home.${DOMAIN}/twice`)).status, 502);
    assert.equal((await edge.visit(`https://x-home.${DOMAIN}/more`)).text, 'a');
    for (let i = 0; i < 5; i++) assert.equal((await edge.visit(`https://x-home.${DOMAIN}/`)).text, 'fine');
    silent.destroy();
  });
});

describe('a daemon whose edge is hostile', { skip }, () => {
  let edge, daemon, api, peer, agent;

  before(async () => {
    edge = new Edge({ keys: { home: newKey() } }); /* for its certificate; it is never started */
    const socket = path.join(edge.top, 'streams');
    peer = linkPeer('listen', socket, ['--certificate', edge.certificate, '--key', edge.certificate]);
    edge.ports.link = Number((await until('it listens', () => peer.lines.find((line) => line.startsWith('port ')))).slice(5));
    daemon = await new Daemon({ options: edge.daemonOptions('home'), poolSize: 0 }).start();
    api = new Api(daemon);
    await until('the link is up', () => peer.lines.some((line) => line.startsWith('up ')));
    agent = { socketPath: socket, agent: false };
  });
  after(async () => {
    api.close();
    await daemon.stop();
    peer.child.kill();
    await peer.exited;
    await edge.stop();
  });

  async function ask(method, pathname, { host = 'berm-link', body, headers = {} } = {}) {
    const request = http.request({ ...agent, method, path: pathname, headers: { host, ...headers } });
    request.end(body);
    return collect((await once(request, 'response'))[0]);
  }

  const named = (name, url) => ask('PUT', '/berm/link/v1/host', { body: JSON.stringify({ name, url }) });

  test('it gets its own key and reaches no route of the API under any Host', async () => {
    assert.equal((await ask('POST', '/berm/link/v1/hello')).json.key, edge.keys.home);
    assert.equal((await named('home', 'https://edge.test')).status, 204);
    for (const host of ['berm-link', 'localhost', '127.0.0.1', `127.0.0.1:${daemon.port}`, `x.localhost:${daemon.port}`, 'x-home.edge.test', 'edge.test'])
      for (const [method, target] of [['GET', '/v1/sandboxes'], ['PUT', '/v1/sandbox/x'], ['POST', '/v1/keys'], ['GET', '/v1/link'], ['POST', '/mcp'],
        ['GET', '/'], ['GET', '/health'], ['GET', '/metrics'], ['GET', '/preview/x/8080/t/'], ['GET', '/containers/json']]) {
        const answer = await ask(method, target, { host, headers: { 'x-forwarded-for': '127.0.0.1' } });
        assert.equal(answer.status, 404, `${method} ${target} at ${host}`);
      }
    assert.deepEqual((await api.get('/v1/sandboxes')).json.sandboxes, []);
  });

  test('names and addresses that are none are refused, and the last good one stays', async () => {
    assert.equal((await named('home', 'https://edge.test')).status, 204);
    for (const [name, url] of [['', 'https://edge.test'], ['a-b', 'https://edge.test'], ['x'.repeat(30), 'https://edge.test'], ['home', 'ftp://x'],
      ['home', 'https://evil.test/path'], ['home', 'https://EVIL'], ['home', `https://${'a'.repeat(400)}`], ['home', 'https://a"b.test']])
      assert.equal((await named(name, url)).status, 400, `${name} ${url}`);
    for (const body of ['', '[]', '{"name":1,"url":2}', '{', '{"name":"home"}'])
      assert.equal((await ask('PUT', '/berm/link/v1/host', { body })).status, 400, body);
    assert.equal((await ask('PUT', '/berm/link/v1/host', { body: 'x'.repeat(5000) })).status, 413);
    const status = (await api.get('/v1/link')).json;
    assert.deepEqual([status.state, status.name, status.url], ['up', 'home', 'https://edge.test']);
  });

  test('what it says is not believed to be local, and goes into no log as it is', async () => {
    await ask('POST', '/berm/link/v1/refused', { body: JSON.stringify({ reason: 'a\n{"event":"forged"}\u001b[31m' }) });
    const status = (await api.get('/v1/link')).json;
    assert.equal(status.state, 'refused');
    assert.ok(!/[\n\u001b]/.test(status.error));
    assert.equal(daemon.log('forged').length, 0);
    assert.ok(!daemon.lines.join('\n').includes(edge.keys.home));
  });
});
