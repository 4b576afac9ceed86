/* POST /api/backup/upload-parts against a server that takes parts as S3 does. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before } from 'node:test';

import { makeCertificate } from '../edge/certificates.mjs';
import { test } from '../lib/test.mjs';
import { Agent } from './helper.mjs';

const archivePath = '/var/backups/a.sqsh';
const SIZE = 200_000;
let agent, server, directory, archive;

/* What the server does with part N, once for each attempt; without an entry it takes it. */
let misbehave = {};
let seen = []; /* { part, bytes } */

const md5 = (bytes) => `"${createHash('md5').update(bytes).digest('hex')}"`;

/* As S3: no chunks, the length beforehand, an ETag of the part's own bytes. */
async function takePart(request, response) {
  const url = new URL(request.url, 'https://s3');
  const part = Number(url.searchParams.get('partNumber'));
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  seen.push({ part, bytes });
  const act = misbehave[part]?.shift();
  if (act) return act(request, response);
  const right = request.method === 'PUT' && url.searchParams.get('X-Amz-Signature') === 'a&{b}[1-3]' && !request.headers['transfer-encoding'] &&
    request.headers['content-type'] === 'application/octet-stream' && Number(request.headers['content-length']) === bytes.length;
  response.writeHead(right ? 200 : 501, right ? { ETag: md5(bytes) } : {}).end();
}

before(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-parts-'));
  const pem = fs.readFileSync(makeCertificate(directory, 's3', ['127.0.0.1']));
  server = https.createServer({ key: pem, cert: pem }, (request, response) => {
    takePart(request, response).catch(() => response.destroy()); // it is stopped in the middle of a body
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  agent = await Agent.start({ env: { CURL_CA_BUNDLE: '/tmp/ca.pem' } });
  await agent.post('/api/write', { path: '/tmp/ca.pem', content: pem.toString() });
  assert.equal((await agent.run(`mkdir -p /var/backups && head -c ${SIZE} /dev/urandom > ${archivePath}`)).exitCode, 0);
  archive = Buffer.from((await agent.run(`base64 ${archivePath}`)).stdout, 'base64');
  assert.equal(archive.length, SIZE);
});
afterEach(() => {
  misbehave = {};
  seen = [];
});
after(async () => {
  await agent?.stop();
  server?.closeAllConnections();
  server?.close();
  fs.rmSync(directory, { recursive: true });
});

const urlOf = (partNumber) =>
  `https://127.0.0.1:${server.address().port}/b/k?partNumber=${partNumber}&uploadId=u&X-Amz-Signature=${encodeURIComponent('a&{b}[1-3]')}`;

function parts(count) {
  const size = Math.ceil(SIZE / count);
  return Array.from({ length: count }, (_, i) => ({ partNumber: i + 1, url: urlOf(i + 1), offset: i * size, size: Math.min(size, SIZE - i * size) }));
}
const bytesOf = ({ offset, size }) => archive.subarray(offset, offset + size);
const upload = (list) => agent.post('/api/backup/upload-parts', { archivePath, parts: list });
const attempts = (partNumber) => seen.filter(({ part }) => part === partNumber).length;

test('more parts than run at once arrive as they are in the archive, and are answered in order', async () => {
  const list = parts(11);
  const { status, json } = await upload([...list].reverse());
  assert.equal(status, 200, JSON.stringify(json));
  assert.deepEqual(json, { success: true, parts: list.map((part) => ({ partNumber: part.partNumber, etag: md5(bytesOf(part)) })) });
  for (const part of list) assert.ok(seen.find((one) => one.part === part.partNumber).bytes.equals(bytesOf(part)));
});

test('a part has three attempts, on answers that are no success as on broken connections', async () => {
  misbehave = { 2: [(_, response) => response.writeHead(500, { ETag: '"wrong"' }).end(), (request) => request.socket.destroy()] };
  const { status, json } = await upload(parts(3));
  assert.equal(status, 200, JSON.stringify(json));
  assert.equal(json.parts[1].etag, md5(bytesOf(parts(3)[1])));
  assert.deepEqual([1, 2, 3].map(attempts), [1, 3, 1]);
});

test('after the third the upload has failed; nothing tells the secrets of its URL', async () => {
  const refuse = (_, response) => response.writeHead(403).end();
  misbehave = { 1: [refuse, refuse, refuse, refuse] };
  const { status, json, text } = await upload(parts(2));
  assert.deepEqual([status, json.code, json.operation], [500, 'BACKUP_CREATE_FAILED', 'backup.create']);
  assert.deepEqual(json.context, { operation: 'backup.create', archivePath, partNumber: 1 });
  assert.match(json.message, /403/);
  assert.equal(attempts(1), 3);
  assert.ok(!text.includes('Signature'));
});

test('without an ETag there is no second attempt, and the other parts are stopped', async () => {
  const hang = () => {};
  misbehave = { 1: [(_, response) => response.writeHead(200).end()], 2: [hang] };
  const { status, json } = await upload(parts(2));
  assert.deepEqual([status, json.code, json.context.partNumber], [500, 'BACKUP_CREATE_FAILED', 1]);
  assert.match(json.message, /ETag/);
  assert.equal(attempts(1), 1);
  const left = await agent.run('while pgrep -x curl; do sleep 0.01; done >/dev/null; echo none'); // they are killed with the answer
  assert.equal(left.stdout, 'none');
});

test('a server whose certificate nobody knows gets nothing', async () => {
  const pem = fs.readFileSync(makeCertificate(directory, 'other', ['127.0.0.1']));
  const other = https.createServer({ key: pem, cert: pem }, () => assert.fail('it was trusted')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { status, json } = await upload([{ partNumber: 1, url: `https://127.0.0.1:${other.address().port}/?secret=1`, offset: 0, size: 5 }]);
  assert.deepEqual([status, json.code], [500, 'BACKUP_CREATE_FAILED']);
  assert.match(json.message, /certificate/);
  assert.ok(!JSON.stringify(json).includes('secret'));
  other.closeAllConnections();
  other.close();
});

test('requests are checked, and parts are of an archive', async () => {
  const [part] = parts(1);
  const wrong = [{ parts: undefined }, { parts: [] }, { parts: 'x' }, { parts: [5] }, { archivePath: '/tmp/x' }, { archivePath: '/var/backups/../x' },
    ...[{ partNumber: 0 }, { partNumber: 1.5 }, { partNumber: '1' }, { offset: -1 }, { offset: undefined }, { size: 0 }, { url: 5 }, { url: 'https://' }, { url: 'https:///x' },
      { url: part.url.replace('https', 'http') }, { url: 'file:///etc/passwd' }, { url: `${part.url} -o x` }, { url: `${part.url}\n` }]
      .map((more) => ({ parts: [{ ...part, ...more }] }))];
  for (const more of wrong) {
    const { status, json } = await agent.post('/api/backup/upload-parts', { archivePath, parts: [part], ...more });
    assert.deepEqual([status, json.code, json.operation], [400, 'INVALID_BACKUP_CONFIG', 'backup.create'], JSON.stringify(more));
  }
  for (const more of [{ archivePath: '/var/backups/none' }, { parts: [{ ...part, offset: 1 }] }, { parts: [{ ...part, offset: Number.MAX_SAFE_INTEGER, size: Number.MAX_SAFE_INTEGER }] }]) {
    const { status, json } = await agent.post('/api/backup/upload-parts', { archivePath, parts: [part], ...more });
    assert.deepEqual([status, json.code], [500, 'BACKUP_CREATE_FAILED'], JSON.stringify(more));
  }
  assert.equal(seen.length, 0);
});
