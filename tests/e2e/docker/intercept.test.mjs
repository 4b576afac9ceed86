/* What the side container was told with PUT /egress: TLS is decrypted for whom it names, and a crash of the daemon loses nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

const why = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : 'no image base');

/* workerd's listener: takes names that begin with "wanted", leaves others, and answers whatever it gets in clear text. */
function listen(asked) {
  const server = net.createServer((socket) => {
    let text = '';
    let taken = false;
    socket.on('error', () => {});
    socket.on('data', (piece) => {
      text += piece.toString('latin1');
      if (!text.includes('\r\n\r\n')) return;
      asked.push(text);
      if (taken) return socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\nfrom workerd');
      taken = /X-(Tls-Sni|Hostname): wanted/.test(text);
      socket.write(`HTTP/1.1 ${taken ? '200 OK' : '202 Accepted'}\r\n\r\n`);
      text = '';
    });
  });
  return server.listen(0, '127.0.0.1');
}

describe('the interceptor of the Docker API', { skip: why }, () => {
  let daemon;
  let docker;
  let api;

  before(async () => {
    daemon = new Daemon({ poolSize: 0, docker: true, options: ['--sandbox-image', 'base'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('decrypts what is taken, leaves the rest alone, and knows it all after a crash', async () => {
    const asked = [];
    const workerd = listen(asked);
    await once(workerd, 'listening');
    try {
      const { port } = await docker.pair('taken');
      const ca = await (await fetch(`http://127.0.0.1:${port}/ca`)).text();
      const told = await fetch(`http://127.0.0.1:${port}/egress`, { method: 'PUT',
        body: JSON.stringify({ port: workerd.address().port, dns: { allowHostnames: ['*.test'] }, internet: { enabled: false } }) });
      assert.equal(told.status, 204);
      const { id } = (await api.get('/v1/sandboxes')).json.sandboxes.find((s) => s.labels['docker.name'] === 'taken');
      await api.put(`/v1/sandbox/${id}/file/workspace/ca.crt`, ca);
      const curl = (url) => api.exec(id, ['curl', '-sS', '-m', '60', '--cacert', '/workspace/ca.crt', url]);

      const get = async (url) => {
        const { code, out, err } = await curl(url);
        assert.equal(code, 0, err);
        return out;
      };

      for (let round = 0; round < 2; round++) {
        asked.length = 0;
        assert.equal(await get('https://wanted.test/path'), 'from workerd');
        assert.match(asked[0], /^CONNECT 11\.0\.0\.1:443 HTTP\/1\.1\r\n[^]*X-Tls-Sni: wanted\.test\r\n/);
        assert.match(asked[1], /^GET \/path HTTP\/1\.1\r\nHost: wanted\.test\r\n/);
        assert.notEqual((await curl('https://other.test/')).code, 0);
        assert.equal(await get('http://wanted.test/plain'), 'from workerd');
        assert.notEqual((await curl('https://unlisted.example/')).code, 0);
        if (round > 0) break;
        await daemon.end('SIGKILL');
        api.close();
        await daemon.start();
        api = new Api(daemon);
        await until('the way out is up again', async () => (await api.get(`/v1/sandbox/${id}/egress`)).json.state === 'up');
        assert.equal(await (await fetch(`http://127.0.0.1:${port}/ca`)).text(), ca);
      }
    } finally {
      workerd.close();
    }
  });
});
