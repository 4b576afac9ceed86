/* The daemon's own TLS: which certificate a client gets, renewal, what is refused, and that requests work as without. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import tls from 'node:tls';

import { collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { makeCertificate } from './certificates.mjs';

const skip = whyNoDaemon();

/* Sends back what it gets, after an upgrade. */
const ECHO = `
import socket, threading
def serve(c):
    head = b''
    while b'\\r\\n\\r\\n' not in head: head += c.recv(4096)
    early = head.split(b'\\r\\n\\r\\n', 1)[1]
    c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n' + early)
    while True:
        data = c.recv(65536)
        if not data: break
        c.sendall(data)
    c.close()
s = socket.create_server(('127.0.0.1', 8090))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
`;

describe('TLS', { skip }, () => {
  let daemon, files, port;

  const connect = (options) => tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });

  /* The name of the certificate that a client gets who asks for `servername`. */
  async function subject(servername, options) {
    const socket = connect({ servername, ...options });
    await once(socket, 'secureConnect');
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  }

  async function request(pathname, { method = 'GET', headers = {}, body, agent = false } = {}) {
    const outgoing = https.request({ host: '127.0.0.1', port, method, path: pathname, agent, headers, rejectUnauthorized: false });
    outgoing.end(body);
    return collect((await once(outgoing, 'response'))[0]);
  }

  /* All that comes back for `bytes` on a bare TCP connection. */
  async function plain(bytes) {
    const socket = net.connect(port, '127.0.0.1');
    const pieces = [];
    socket.on('error', () => {}).on('data', (piece) => pieces.push(piece));
    if (bytes) socket.write(bytes);
    await once(socket, 'close');
    return Buffer.concat(pieces).toString('latin1');
  }

  before(async () => {
    files = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-tls-'));
    fs.chmodSync(files, 0o755);
    const certificates = [['first', ['localhost', '127.0.0.1']], ['exact', ['a.berm.test']], ['wild', ['*.berm.test']]].map(([name, names]) =>
      makeCertificate(files, name, names));
    for (const file of certificates) fs.chmodSync(file, 0o644); /* for renewal by the unprivileged daemon */
    daemon = await new Daemon({ env: { BERM_SANDBOX_IMAGE: 'base' },
      options: ['--sandbox-image', 'base', '--tls-listen', '127.0.0.1:0', ...certificates.flatMap((file) => ['--tls-certificate', file])] }).start();
    const { address } = daemon.log('tls.listening')[0];
    port = Number(address.slice(address.lastIndexOf(':') + 1));
  });
  after(async () => {
    await daemon.stop();
    fs.rmSync(files, { recursive: true });
  });

  test('the certificate is the one for the name: exact, wildcard for one label, else the first', async () => {
    assert.equal(await subject('a.berm.test'), 'exact');
    assert.equal(await subject('A.Berm.Test'), 'exact');
    assert.equal(await subject('b.berm.test'), 'wild');
    assert.equal(await subject('x.b.berm.test'), 'first');
    assert.equal(await subject('berm.test'), 'first');
    assert.equal(await subject('elsewhere.example'), 'first');
    assert.equal(await subject(undefined), 'first');
  });

  test('TLS 1.2 and 1.3 with modern ciphers; nothing older, nothing weaker', async () => {
    assert.equal(await subject('a.berm.test', { maxVersion: 'TLSv1.2' }), 'exact');
    for (const options of [
      { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' },
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' },
      { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' },
    ]) {
      const socket = connect(options);
      const [error] = await once(socket, 'error');
      assert.match(error.code, /^ERR_SSL_/);
    }
  });

  test('ALPN: http/1.1 is agreed on, a foreign protocol is refused', async () => {
    const socket = connect({ ALPNProtocols: ['http/1.1'] });
    await once(socket, 'secureConnect');
    assert.equal(socket.alpnProtocol, 'http/1.1');
    socket.destroy();
    const [error] = await once(connect({ ALPNProtocols: ['smtp'] }), 'error');
    assert.equal(error.code, 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
  });

  test('a session is resumed by its ticket', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const first = connect({ maxVersion });
      const [session] = await once(first, 'session');
      first.destroy();
      const second = connect({ maxVersion, session });
      await once(second, 'secureConnect');
      assert.ok(second.isSessionReused(), maxVersion);
      second.destroy();
    }
  });

  test('requests, large bodies both ways and files', async () => {
    const body = Buffer.alloc(5 << 20, 'a file that goes through records of 16 KiB ');
    assert.equal((await request('/v1/sandbox/secure/file/workspace/big', { method: 'PUT', body })).status, 200);
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 3; i++) {
      const answer = await request('/v1/sandbox/secure/file/workspace/big', { agent });
      assert.ok(answer.bytes.equals(body));
    }
    agent.destroy();
    const early = await request('/v1/sandbox/secure/exec', { method: 'POST', body: JSON.stringify({ argv: ['sh', '-c', 'echo $((6*7))'] }),
      headers: { 'content-type': 'application/json' } });
    assert.match(early.text, /NDIK/); /* "42\n" in base64 */
  });

  test('a preview knows that it is asked by https, and an upgraded connection goes both ways', async () => {
    await request('/v1/sandbox/secure/file/workspace/echo.py', { method: 'PUT', body: ECHO });
    await request('/v1/sandbox/secure/exec', { method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ argv: ['sh', '-c', 'nohup python3 echo.py >/dev/null 2>&1 & until grep -q :1F9A /proc/net/tcp; do sleep 0.05; done'] }) });
    const exposed = await request('/v1/sandbox/secure/ports', { method: 'POST', body: JSON.stringify({ port: 8090, token: 'up' }),
      headers: { 'content-type': 'application/json' } });
    assert.equal(exposed.status, 200, exposed.text);
    const socket = connect({ servername: 'localhost' });
    socket.write('GET /x HTTP/1.1\r\nHost: 8090-secure-up.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    let text = '';
    socket.on('data', (piece) => (text += piece));
    await until('the upgrade', () => text.includes('\r\n\r\n'));
    assert.match(text, /^HTTP\/1\.1 101 /);
    text = '';
    const sent = 'ping '.repeat(200000);
    socket.end(sent);
    await once(socket, 'close');
    assert.equal(text.length, sent.length);
    assert.equal(text, sent);
  });

  test('plain HTTP is told what it talks to; anything else is cut', async () => {
    const answer = await plain('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.match(answer, /This port takes HTTPS only/);
    assert.equal((await plain(Buffer.from([22, 3, 1, 0, 5, 1, 2, 3, 4, 5]))).slice(0, 1), '\x15'); /* an alert */
    await plain(Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0]), Buffer.alloc(0x4000, 0xff)]));
  });

  test('certificates are replaced at SIGHUP; a broken one is not taken', async () => {
    makeCertificate(files, 'exact', ['renewed.berm.test', 'a.berm.test']);
    fs.chmodSync(path.join(files, 'exact.pem'), 0o644);
    const open = connect({ servername: 'a.berm.test' });
    await once(open, 'secureConnect');
    daemon.child.kill('SIGHUP');
    await until('the renewal', () => daemon.log('tls.reloaded').length === 1);
    const socket = connect({ servername: 'a.berm.test' });
    await once(socket, 'secureConnect');
    assert.match(socket.getPeerCertificate().subjectaltname, /renewed/);
    socket.destroy();
    /* What was open before goes on. */
    open.write('GET /v1/sandboxes HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    assert.match((await once(open, 'data'))[0].toString(), /^HTTP\/1\.1 200 /);
    open.destroy();

    const wild = path.join(files, 'wild.pem');
    fs.writeFileSync(wild, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    daemon.child.kill('SIGHUP');
    await until('the complaint', () => daemon.log('tls.reload_failed').length === 1);
    assert.equal(daemon.log('tls.reload_failed')[0].file, wild);
    assert.equal(await subject('b.berm.test'), 'wild');
  });

  test('a certificate that cannot be used is an error of the start', async () => {
    const bad = path.join(files, 'bad.pem');
    const other = makeCertificate(files, 'other', ['other.test']);
    const exact = path.join(files, 'exact.pem');
    fs.writeFileSync(bad, 'no certificate\n');
    for (const [flags, message] of [
      [['--tls-certificate', bad], /no certificate can be read/],
      [['--tls-certificate', path.join(files, 'absent.pem')], /No such file/],
      [['--tls-certificate', exact, '--tls-key', other], /no key of the certificate/],
      [[], /of no use without each other/],
      [['--tls-certificate', 'relative.pem'], /not an absolute path/],
    ]) {
      const broken = new Daemon({ options: ['--tls-listen', '127.0.0.1:0', ...flags] });
      await assert.rejects(broken.start(), message);
      fs.rmSync(broken.top, { recursive: true });
    }
  });
});
