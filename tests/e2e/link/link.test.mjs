/* A daemon behind an edge: what goes over the link, and what does not. */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, describe } from 'node:test';
import tls from 'node:tls';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from './app.mjs';
import { DOMAIN, Edge, newKey } from './edge.mjs';

const skip = whyNoDaemon();
const LARGE = (process.env.BERM_SANITIZED ? 10 : 100) << 20; /* several times as slow there */

describe('a daemon behind an edge', { skip }, () => {
  let edge, daemon, api, preview, tunnel;

  const isUp = async () => (await api.get('/v1/link')).json.state === 'up';

  const ask = (path, headers) => edge.ask(path, headers);

  /* All that comes back for bytes on a bare TLS connection to the edge. */
  async function raw(bytes) {
    const socket = tls.connect({ host: '127.0.0.1', port: edge.ports.secure, servername: DOMAIN, rejectUnauthorized: false });
    const pieces = [];
    socket.on('error', () => {}).on('data', (piece) => pieces.push(piece));
    socket.end(bytes);
    await once(socket, 'close');
    return Buffer.concat(pieces).toString();
  }

  before(async () => {
    edge = await new Edge({ keys: { home: newKey(), away: newKey() } }).start();
    daemon = await new Daemon({ options: ['--sandbox-image', 'base', ...edge.daemonOptions('home')] }).start();
    api = new Api(daemon);
    await until('the link is up', isUp);
    await serve(api, 'app', 8080);
    preview = (await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url;
    tunnel = (await api.post('/v1/sandbox/app/tunnel/8080')).json;
  });
  after(async () => {
    api.close();
    await daemon.stop();
    await edge.stop();
  });

  test('its URLs are those of the edge, and lead to the sandbox', async () => {
    assert.equal(preview, `https://8080-app-abc_1-home.${DOMAIN}/`);
    assert.match(tunnel.url, new RegExp(`^https://[a-z0-9]{26}-home\\.${DOMAIN}$`));
    assert.equal(tunnel.hostname, tunnel.url.slice(8));
    const answer = await edge.visit(`${preview}a%20b?q=1`);
    assert.equal(answer.status, 200);
    assert.equal(answer.json.path, '/a%20b?q=1');
    assert.equal((await edge.visit(`${tunnel.url}/`)).status, 200);
    assert.equal((await edge.visit(preview.replace('home', 'HOME').replace('.edge', '.EDGE'))).status, 200);
    const listed = (await api.get('/v1/sandbox/app/ports')).json.ports;
    assert.deepEqual(listed.map((one) => one.url), [preview]);
  });

  test('who asks is what the edge saw, and not what the browser says', async () => {
    const { json } = await edge.visit(preview, { headers: { 'x-forwarded-for': '10.0.0.1', forwarded: 'for=10.0.0.2', 'x-forwarded-proto': 'http',
      'x-forwarded-host': 'evil.test', 'x-real-ip': '10.0.0.3', via: '1.1 evil', 'berm-request-id': 'mine' } });
    const fields = Object.fromEntries(json.headers);
    assert.equal(fields['x-forwarded-host'], `8080-app-abc_1-home.${DOMAIN}`);
    assert.equal(fields['x-forwarded-proto'], 'https');
    assert.equal(fields['x-forwarded-for'], '127.0.0.1');
    assert.match(fields.forwarded, /^for=127\.0\.0\.1;/);
    for (const name of ['x-real-ip', 'via', 'berm-request-id']) assert.ok(!(name in fields), name);
    assert.equal(json.headers.filter(([name]) => name.startsWith('x-forwarded-for')).length, 1);
  });

  test('an event stream comes event by event, through a preview and through a tunnel', async () => {
    for (const base of [preview, `${tunnel.url}/`]) {
      const request = edge.open(`${base}events`);
      request.end();
      const [response] = await once(request, 'response');
      const events = [];
      for await (const piece of response) {
        events.push(piece.toString());
        if (events.length === 1) await edge.visit(`${base}go`); /* the second one is sent after the first has come */
      }
      assert.deepEqual(events, ['data: 1\n\n', 'data: 2\n\n'], base);
    }
  });

  test('a WebSocket is passed on', async () => {
    const request = edge.open(preview, { headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
      'sec-websocket-key': Buffer.alloc(16).toString('base64') } });
    request.end();
    const [response, socket] = await once(request, 'upgrade');
    assert.equal(response.statusCode, 101);
    for (const text of ['hello', 'again']) {
      socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]));
      const [frame] = await once(socket, 'data');
      assert.equal(frame.subarray(2).toString(), text);
    }
    socket.destroy();
  });

  test('much goes both ways', { timeout: 300000 }, async () => {
    const request = edge.open(`${preview}zeros/${LARGE}`);
    request.end();
    const [response] = await once(request, 'response');
    let got = 0;
    for await (const piece of response) got += piece.length;
    assert.equal(got, LARGE);
    const body = crypto.randomBytes(1 << 20);
    const sum = crypto.createHash('sha256');
    const upload = edge.open(preview, { method: 'POST', headers: { 'content-length': LARGE } });
    for (let sent = 0; sent < LARGE; sent += body.length) {
      sum.update(body);
      if (!upload.write(body)) await once(upload, 'drain');
    }
    upload.end();
    assert.equal((await collect((await once(upload, 'response'))[0])).text, `${LARGE} ${sum.digest('hex')}`);
  });

  test('a client that goes away ends its request in the sandbox, and a slow one holds nobody up', async () => {
    const slow = edge.open(`${preview}zeros/${LARGE}`);
    slow.end();
    const [stalled] = await once(slow, 'response');
    stalled.pause();
    for (let i = 0; i < 20; i++) assert.equal((await edge.visit(preview)).status, 200);
    const connections = async () => (await api.exec('app', 'cat /proc/net/tcp')).out.split('\n').filter((line) => / 0100007F:1F90 .* 01 /.test(line)).length;
    assert.ok(await connections() > 0);
    slow.destroy();
    const watched = edge.open(`${tunnel.url}/events`);
    watched.end();
    await once(watched, 'response');
    watched.destroy();
    await until('no request is open', async () => (await ask('/v1/links')).json.links.every((link) => link.requestsOpen === 0));
    await until('the daemon has none either', async () => (await api.get('/v1/link')).json.streamsOpen <= 8);
  });

  test('a cookie stays at the host that set it', async () => {
    assert.deepEqual((await edge.visit(`${preview}cookie`)).headers['set-cookie'], ['a=1; Path=/']);
  });

  test('wrong tokens, unknown names and unknown daemons are refused alike', async () => {
    const answers = [];
    for (const name of ['8080-app-abc_2-home', 'nobody-home', 'nobody-nowhere', 'nobody', 'home', '-home', 'x-home.y', `${'a'.repeat(60)}-nowhere`])
      answers.push(await edge.visit(`https://${name}.${DOMAIN}/`));
    for (const { status, text } of answers) assert.deepEqual([status, text], [answers[0].status, answers[0].text]);
    assert.equal(answers[0].status, 404);
    assert.equal(answers[0].json.code, 'INVALID_TOKEN');
  });

  test('a daemon that is not connected is told, as a page to browsers', async () => {
    const plain = await edge.visit(`https://x-away.${DOMAIN}/`);
    assert.deepEqual([plain.status, plain.json.code, plain.headers['retry-after']], [503, 'link_down', '2']);
    const page = await edge.visit(`https://x-away.${DOMAIN}/`, { headers: { accept: 'text/html,*/*' } });
    assert.equal(page.status, 503);
    assert.match(page.headers['content-type'], /^text\/html/);
    assert.match(page.text, /not connected/);
  });

  test('nothing but previews and tunnels is reached, whatever a request says', async () => {
    for (const path of ['/v1/sandboxes', '/v1/keys', '/health', '/metrics', '/mcp', '/', '/v1/link', '/preview/app/8080/abc_1/', '/berm/link/v1/hello']) {
      assert.equal((await edge.visit(`https://nobody-home.${DOMAIN}${path}`)).status, 404, path);
      const own = await edge.visit(`https://${DOMAIN}${path}`);
      assert.equal(own.status, path === '/health' || path === '/metrics' ? own.status : 404, path);
    }
    /* Through a name that leads to the sandbox, they are the sandbox's own. */
    assert.equal((await edge.visit(`${preview}berm/link/v1/hello`)).json.path, '/berm/link/v1/hello');
    for (const host of ['berm-link', 'localhost', '127.0.0.1', `berm-link.${DOMAIN}`]) {
      const answer = await raw(`POST /berm/link/v1/hello HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 404 /, host);
      assert.ok(!answer.includes(edge.keys.home));
    }
  });

  test('what could be framed in two ways gets no further than the edge', async () => {
    const before = (await ask('/v1/links')).json.links[0].requests;
    const host = `Host: 8080-app-abc_1-home.${DOMAIN}`;
    const smuggled = `GET /smuggled HTTP/1.1\r\n${host}\r\n\r\n`;
    for (const head of [
      `POST / HTTP/1.1\r\n${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      `POST / HTTP/1.1\r\n${host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`,
      `POST / HTTP/1.1\r\n${host}\r\nContent-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
      `GET / HTTP/1.1\r\n${host}\r\nHost: berm-link\r\n\r\n`,
      `GET / HTTP/1.1\r\n${host}\r\nX: a\n\r\n`,
      `GET http://berm-link/ HTTP/1.1\r\n${host}\r\n\r\n`,
    ]) assert.match(await raw(head), /^HTTP\/1\.1 (400|501) /, head);
    assert.equal((await ask('/v1/links')).json.links[0].requests, before);
  });

  test('plain HTTP is led to HTTPS', async () => {
    const answer = await ask('/a?b=1', { host: `8080-app-abc_1-home.${DOMAIN}` });
    assert.deepEqual([answer.status, answer.headers.location], [308, `${preview}a?b=1`]);
  });

  test('names that do not fit behind the edge are refused when they are made', async () => {
    const id = 'a'.repeat(40);
    await api.put(`/v1/sandbox/${id}`, {});
    const answer = await api.post(`/v1/sandbox/${id}/ports`, { port: 8080, token: '0123456789abcdef' });
    assert.deepEqual([answer.status, answer.json.code], [400, 'invalid_request']);
    assert.match(answer.json.error, /label of a host name/);
    assert.equal((await api.post(`/v1/sandbox/${id}/ports`, { port: 8080, token: 'a' })).status, 200);
    await api.delete(`/v1/sandbox/${id}`);
  });

  test('both ends tell how the link is, and no key is in a log', async () => {
    const status = (await api.get('/v1/link')).json;
    assert.deepEqual([status.state, status.name, status.url], ['up', 'home', `https://${DOMAIN}`]);
    assert.ok(status.streams > 2 && status.links >= 1);
    const { links } = (await ask('/v1/links')).json;
    assert.deepEqual(links.map((link) => [link.name, link.state]), [['home', 'up']]);
    assert.deepEqual((await ask('/health')).json, { ok: true });
    const metrics = (await ask('/metrics')).text;
    assert.match(metrics, /^berm_edge_daemons 1$/m);
    assert.match((await api.get('/metrics')).text, /^berm_link_up 1$/m);
    assert.equal((await edge.visit(`https://${DOMAIN}/metrics`)).status, 401);
    for (const lines of [edge.lines, daemon.lines]) assert.ok(!lines.join('\n').includes(edge.keys.home));
  });
});
