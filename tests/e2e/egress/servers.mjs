/*
 * The internet of the tests: servers for DNS, HTTP, HTTPS and a protocol in which the server speaks first, run in a
 * network namespace of its own by internet.mjs. Argument: a directory with certificates and www/.
 * GET /_log of any host tells what was asked for, and empties the list. /echo... send the request's fields back.
 */
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import zlib from 'node:zlib';

import { RESOLVER, ZONE } from './zone.mjs';

const top = process.argv[2];
const www = path.join(top, 'www');
const log = [];

/* --- HTTP --- */

const TYPES = { '.html': 'text/html', '.json': 'application/json' };

function answer(request, response) {
  const { method, url, headers, socket } = request;
  const at = socket.localAddress.replace('::ffff:', '');
  if (url === '/_log') return response.end(JSON.stringify(log.splice(0)));
  log.push({ method, url, host: headers.host, at, tls: socket.servername, headers, raw: request.rawHeaders });
  if (url.startsWith('/echo')) return echo(request, response);
  if (url.startsWith('/bytes/')) return response.end(Buffer.alloc(Number(url.slice(7)), 'x'));
  if (url === '/redirect') return response.writeHead(302, { location: 'http://10.1.2.3/secret' }).end();
  if (url.startsWith('/redirect/')) return response.writeHead(302, { location: decodeURIComponent(url.slice(10)) }).end();
  const file = path.join(www, decodeURIComponent(new URL(url, 'http://x').pathname));
  for (const candidate of [file, path.join(file, 'index.html'), path.join(file, 'index.json')])
    if (file.startsWith(www) && fs.statSync(candidate, { throwIfNoEntry: false })?.isFile())
      return response.writeHead(200, { 'content-type': TYPES[path.extname(candidate)] ?? 'application/octet-stream' })
        .end(candidate.endsWith('.json') ? fs.readFileSync(candidate, 'utf8').replace('SCHEME', socket.encrypted ? 'https' : 'http') : fs.readFileSync(candidate));
  if (url.startsWith('/deb/')) return response.writeHead(404).end();
  let size = 0;
  request.on('data', (piece) => (size += piece.length));
  request.on('end', () => response.end(JSON.stringify({ method, url, host: headers.host, at, size, tls: socket.servername || false }) + '\n'));
}

/* A server that tells what it was told, in every way that leaves the bytes as they are. */
function echo(request, response) {
  const value = request.headers.authorization ?? 'nothing';
  const whole = Buffer.from(JSON.stringify(request.headers));
  const [, , way, number] = request.url.split('/');
  switch (way) {
  case 'header': return response.writeHead(200, { 'x-echo': value }).end('in the head');
  case 'reason': return response.writeHead(200, value).end('in the reason');
  case 'location': return response.writeHead(302, { location: `https://other.test/?token=${value.split(' ').at(-1)}` }).end();
  case 'error': return response.writeHead(500).end(`bad token: ${value}`);
  case 'padded': return response.end(Buffer.concat([Buffer.alloc(Number(number), 'x'), whole]));
  case 'bytes':
    for (const byte of whole) response.write(Buffer.from([byte])); /* chunks of one byte */
    return response.end();
  case 'close':
    response.socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
    return response.socket.end(whole);
  case 'length': return response.writeHead(200, { 'content-length': whole.length }).end(whole);
  case 'gzip': {
    const zip = /gzip/.test(request.headers['accept-encoding'] ?? '');
    return response.writeHead(200, zip ? { 'content-encoding': 'gzip' } : {}).end(zip ? zlib.gzipSync(whole) : whole);
  }
  case 'interim':
    response.socket.write(`HTTP/1.1 103 Early Hints\r\nLink: <${value.split(' ').at(-1)}>\r\n\r\n`);
    return response.end('after the hints');
  default: return response.end(whole);
  }
}

function upgrade(request, socket) {
  const { method, url, headers } = request;
  log.push({ method, url, host: headers.host, headers });
  if (url === '/echo') { /* the first thing that comes over the new protocol */
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n${headers.authorization}`);
    return;
  }
  socket.on('error', () => {});
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.on('data', (piece) => socket.write(piece));
  socket.on('end', () => socket.end());
}

const plain = http.createServer(answer).on('upgrade', upgrade);
const pair = (name) => ({ key: fs.readFileSync(`${top}/${name}.key`), cert: fs.readFileSync(`${top}/${name}.crt`) });
const untrusted = tls.createSecureContext(pair('untrusted'));
const secure = https.createServer({ ...pair('tls'), SNICallback: (name, done) => done(null, name === 'untrusted.test' ? untrusted : null) }, answer)
  .on('upgrade', upgrade);
const banner = net.createServer((socket) => {
  socket.write('220 ready\n');
  socket.on('data', (piece) => socket.write(piece));
  socket.on('error', () => {});
});

/* --- a proxy that wants to know who asks --- */

const proxy = http.createServer((request, response) => response.writeHead(405).end()).on('connect', (request, client, head) => {
  const { authorization, 'proxy-authorization': proxyAuthorization } = request.headers;
  log.push({ connect: request.url, authorization, proxyAuthorization });
  if (proxyAuthorization !== `Basic ${Buffer.from('berm:sesame').toString('base64')}`)
    return client.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
  const [, host, port] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(request.url);
  const server = net.connect(Number(port), host, () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
  server.write(head);
  server.pipe(client).pipe(server);
  for (const socket of [server, client]) socket.on('error', () => { server.destroy(); client.destroy(); });
});

/* --- DNS --- */

function resolve(message) {
  const labels = [];
  let at = 12;
  while (message[at]) {
    labels.push(message.toString('latin1', at + 1, at + 1 + message[at]));
    at += 1 + message[at];
  }
  const name = labels.join('.').toLowerCase();
  const type = message.readUInt16BE(at + 1);
  const asked = message.subarray(12, at + 5);
  const entry = ZONE[name];
  const addresses = (entry ?? []).filter((address) => address.includes(':') === (type === 28));
  log.push({ question: name, type });
  const answers = (type === 1 || type === 28 ? addresses : []).map((address) => {
    const bytes = address.includes(':') ? parse6(address) : Buffer.from(address.split('.').map(Number));
    const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 1, 0, bytes.length]);
    return Buffer.concat([head, bytes]);
  });
  const head = Buffer.alloc(12);
  message.copy(head, 0, 0, 2);
  head.writeUInt16BE(entry ? 0x8180 : 0x8183, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(answers.length, 6);
  return Buffer.concat([head, asked, ...answers]);
}

function parse6(text) {
  const [left, right = ''] = text.split('::');
  const parts = (half) => (half ? half.split(':') : []);
  const missing = 8 - parts(left).length - parts(right).length;
  const words = [...parts(left), ...Array(missing).fill('0'), ...parts(right)];
  return Buffer.from(words.flatMap((word) => [parseInt(word, 16) >> 8, parseInt(word, 16) & 255]));
}

const dns = dgram.createSocket('udp4');
dns.on('message', (message, peer) => dns.send(resolve(message), peer.port, peer.address));

const listening = (server, ...where) => new Promise((resolved) => server.listen(...where, resolved));
await listening(plain, 80, '::');
await listening(http.createServer(answer), 8080, '::');
await listening(secure, 443, '::');
await listening(banner, 7777, '::');
await listening(proxy, 3128, '::');
await new Promise((resolved) => dns.bind(53, RESOLVER, resolved));
process.stdout.write('ready\n');
