/* HTTP/2 with Node's client: the API and previews, over TLS and by prior knowledge. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http2 from 'node:http2';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { makeCertificate } from './certificates.mjs';

const skip = whyNoDaemon();

/* An echo of WebSocket frames without a look into them: after the handshake, all bytes come back. */
const SERVER = `
import base64, hashlib, socket, threading
def serve(c):
    head = b''
    while b'\\r\\n\\r\\n' not in head: head += c.recv(4096)
    head, early = head.split(b'\\r\\n\\r\\n', 1)
    fields = dict(line.split(': ', 1) for line in head.decode().lower().split('\\r\\n')[1:])
    if 'upgrade' not in fields:
        body = head
        c.sendall(b'HTTP/1.1 200 OK\\r\\nX-Two: a\\r\\nX-Two: b\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)
        return c.close()
    c.sendall(b'HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: x\\r\\nSec-WebSocket-Protocol: chat\\r\\n\\r\\n' + early)
    while True:
        data = c.recv(65536)
        if not data: break
        c.sendall(data)
    c.close()
s = socket.create_server(('127.0.0.1', 8091))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
`;

describe('HTTP/2', { skip }, () => {
  let daemon, files, client, plain;

  /* The whole answer of one stream. */
  async function request(session, fields, body) {
    const stream = session.request(fields, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    const [headers] = await once(stream, 'response');
    const pieces = [];
    for await (const piece of stream) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    return { headers, status: headers[':status'], bytes, get text() { return bytes.toString(); }, get json() { return JSON.parse(bytes); } };
  }

  const json = (pathname, body, method = 'POST') =>
    request(client, { ':method': method, ':path': pathname, 'content-type': 'application/json' }, JSON.stringify(body));

  const exec = (...argv) => json('/v1/sandbox/two/exec', { argv });

  before(async () => {
    files = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-h2-'));
    daemon = await new Daemon({ env: { BERM_SANDBOX_IMAGE: 'base' }, options: ['--sandbox-image', 'base', '--tls-listen', '127.0.0.1:0',
      '--tls-certificate', makeCertificate(files, 'localhost', ['localhost', '127.0.0.1'])] }).start();
    const { address } = daemon.log('tls.listening')[0];
    client = http2.connect(`https://127.0.0.1:${address.split(':')[1]}`, { rejectUnauthorized: false });
    await once(client, 'connect');
    plain = http2.connect(`http://127.0.0.1:${daemon.port}`);
  });
  after(async () => {
    client.destroy();
    plain.destroy();
    await daemon.stop();
    fs.rmSync(files, { recursive: true });
  });

  test('the API, by ALPN and by prior knowledge', async () => {
    assert.equal(client.alpnProtocol, 'h2');
    for (const session of [client, plain]) {
      const answer = await request(session, { ':path': '/v1/sandboxes' });
      assert.equal(answer.status, 200);
      assert.ok(Array.isArray(answer.json.sandboxes ?? answer.json));
      assert.ok(!('connection' in answer.headers) && !('transfer-encoding' in answer.headers));
    }
    const head = await request(client, { ':method': 'HEAD', ':path': '/v1/sandboxes' });
    assert.deepEqual([head.status, head.bytes.length], [200, 0]);
  });

  test('large files go both ways, many at once', async () => {
    const body = Buffer.alloc(3 << 20, 'sixteen kilobytes at a time ');
    const names = ['a', 'b', 'c', 'd'];
    for (const session of [client, plain]) {
      await Promise.all(names.map(async (name) => {
        const put = await request(session, { ':method': 'PUT', ':path': `/v1/sandbox/two/file/workspace/${name}` }, Buffer.concat([Buffer.from(name), body]));
        assert.equal(put.status, 200, put.text);
      }));
      await Promise.all(names.map(async (name) => {
        const { bytes } = await request(session, { ':path': `/v1/sandbox/two/file/workspace/${name}` });
        assert.ok(bytes.equals(Buffer.concat([Buffer.from(name), body])), name);
      }));
    }
  });

  test('events of a stream come one by one, and a stream that is given up ends its command', async () => {
    const stream = client.request({ ':method': 'POST', ':path': '/v1/sandbox/two/exec', 'content-type': 'application/json' });
    stream.end(JSON.stringify({ argv: ['sh', '-c', 'echo one; until [ -e /tmp/go ]; do sleep 0.02; done; echo two; exec sleep 1000'] }));
    let text = '';
    stream.on('data', (piece) => (text += piece));
    await until('the first event', () => text.includes(Buffer.from('one\n').toString('base64')));
    assert.ok(!text.includes(Buffer.from('two\n').toString('base64')));
    await exec('touch', '/tmp/go');
    await until('the second event', () => text.includes(Buffer.from('two\n').toString('base64')));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await until('the command ends', async () => Buffer.from((await exec('sh', '-c', 'pgrep -c -x sleep || true')).text.match(/data: (\S+)/)[1], 'base64').toString() === '0\n');
  });

  test('what a preview gets is plain HTTP/1.1, and what it answers comes back', async () => {
    await request(client, { ':method': 'PUT', ':path': '/v1/sandbox/two/file/workspace/server.py' }, SERVER);
    await exec('sh', '-c', 'nohup python3 server.py >/dev/null 2>&1 & until grep -q :1F9B /proc/net/tcp; do sleep 0.05; done');
    const exposed = await json('/v1/sandbox/two/ports', { port: 8091, token: 'up' });
    assert.equal(exposed.status, 200, exposed.text);
    const answer = await request(client, { ':path': '/x?y=1', ':authority': '8091-two-up.localhost', cookie: ['a=1', 'b=2'], 'x-mine': 'yes' });
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.text, /^GET \/x\?y=1 HTTP\/1\.1\r\n/);
    assert.match(answer.text, /\r\ncookie: a=1; b=2(\r\n|$)/i);
    assert.match(answer.text, /\r\nx-mine: yes(\r\n|$)/i);
    assert.equal(answer.headers['x-two'], 'a, b');
  });

  test('a WebSocket by extended CONNECT', async () => {
    for (const session of [client, plain]) {
      if (!session.remoteSettings.enableConnectProtocol) await once(session, 'remoteSettings');
      const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', ':authority': '8091-two-up.localhost',
        'sec-websocket-version': '13', 'sec-websocket-protocol': 'chat' }, { endStream: false });
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], 200);
      assert.equal(headers['sec-websocket-protocol'], 'chat');
      assert.ok(!('sec-websocket-accept' in headers));
      const sent = Buffer.alloc(2 << 20, 'frame by frame ');
      stream.end(sent);
      const pieces = [];
      for await (const piece of stream) pieces.push(piece);
      assert.ok(Buffer.concat(pieces).equals(sent));
    }
    /* A 200 would be a WebSocket that works: a route that knows nothing of them cannot answer that. */
    await assert.rejects(request(client, { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/v1/sandboxes', 'sec-websocket-version': '13' }),
      /NGHTTP2_CONNECT_ERROR/);
    const unknown = await request(client, { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/v1/nothing', 'sec-websocket-version': '13' });
    assert.equal(unknown.status, 404);
  });

  test('draining: streams in flight end well, and the session is told to go', async () => {
    const session = http2.connect(`http://127.0.0.1:${daemon.port}`);
    const stream = session.request({ ':method': 'POST', ':path': '/v1/sandbox/two/exec', 'content-type': 'application/json' });
    stream.end(JSON.stringify({ argv: ['sh', '-c', 'echo begun; sleep 0.5; echo done'] }));
    let text = '';
    stream.on('data', (piece) => (text += piece));
    await until('it runs', () => text.includes(Buffer.from('begun\n').toString('base64')));
    const goaway = once(session, 'goaway');
    daemon.child.kill('SIGTERM');
    assert.equal((await goaway)[0], http2.constants.NGHTTP2_NO_ERROR);
    await once(stream, 'end');
    assert.ok(text.includes(Buffer.from('done\n').toString('base64')));
    assert.deepEqual(await daemon.exited, [0, null]);
    await daemon.start();
  });
});
