/*
 * The internet of the tests: servers for DNS, HTTP, HTTPS and a protocol in which the server speaks first, run in a
 * network namespace of its own by internet.mjs. Argument: a directory with tls.key, tls.crt and www/.
 * GET /_log of any host tells what was asked for, and empties the list.
 */
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';

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
  log.push({ method, url, host: headers.host, at, tls: socket.servername });
  if (url.startsWith('/bytes/')) return response.end(Buffer.alloc(Number(url.slice(7)), 'x'));
  if (url === '/redirect') return response.writeHead(302, { location: 'http://10.1.2.3/secret' }).end();
  const file = path.join(www, decodeURIComponent(new URL(url, 'http://x').pathname));
  for (const candidate of [file, path.join(file, 'index.html'), path.join(file, 'index.json')])
    if (file.startsWith(www) && fs.statSync(candidate, { throwIfNoEntry: false })?.isFile())
      return response.writeHead(200, { 'content-type': TYPES[path.extname(candidate)] ?? 'application/octet-stream' }).end(fs.readFileSync(candidate));
  let size = 0;
  request.on('data', (piece) => (size += piece.length));
  request.on('end', () => response.end(JSON.stringify({ method, url, host: headers.host, at, size, tls: socket.servername || false }) + '\n'));
}

function upgrade(request, socket) {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.on('data', (piece) => socket.write(piece));
  socket.on('end', () => socket.end());
}

const plain = http.createServer(answer).on('upgrade', upgrade);
const secure = https.createServer({ key: fs.readFileSync(`${top}/tls.key`), cert: fs.readFileSync(`${top}/tls.crt`) }, answer);
const banner = net.createServer((socket) => {
  socket.write('220 ready\n');
  socket.on('data', (piece) => socket.write(piece));
  socket.on('error', () => {});
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
await new Promise((resolved) => dns.bind(53, RESOLVER, resolved));
process.stdout.write('ready\n');
