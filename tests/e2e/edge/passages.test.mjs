/* E3 of the catalogue: connections that have left HTTP are not without a limit because of that. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

const MOST = 4;

/* Changes to another protocol whenever it is asked. */
const SERVER = `use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1:8080', Listen => 64, ReuseAddr => 1) or die;
while (my $c = $s->accept) {
  next if fork;
  while (<$c>) { last if /^\\r\\n$/ }
  syswrite $c, "HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n";
  while (sysread $c, my $b, 1000) { syswrite $c, $b }
  exit;
}
`;

describe('connections that have left HTTP', { skip: whyNoDaemon() }, () => {
  let daemon, api, docker;

  before(async () => {
    daemon = new Daemon({ docker: true, options: ['--max-connections', String(MOST)] });
    await daemon.start();
    api = new Api(daemon);
    docker = new Docker(daemon.dockerSocket);
    assert.equal((await api.put('/v1/sandbox/left', {})).status, 201);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  /* Sends a head; {status, socket} once the answer's has come, or {status: 0} when the connection was closed. */
  async function ask(port, head) {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(head);
    let text = '';
    await new Promise((resolve) => {
      socket.on('data', (piece) => {
        text += piece.toString('latin1');
        if (text.includes('\r\n\r\n')) resolve();
      });
      socket.on('close', resolve);
    });
    return { socket, text, status: Number(text.slice(9, 12)) };
  }

  /* One that is let in, once those before it that have ended are known to have. */
  const letIn = (open, welcome) => until('there is room', async () => {
    const one = await open();
    if (one.status === welcome) return one;
    one.socket.destroy();
    return undefined;
  });

  /* As many as are allowed, one that is refused as `refused` says, and another one once one of them has ended. */
  async function fill(open, welcome, refused) {
    const taken = [];
    for (let i = 0; i < MOST; i++) taken.push((await letIn(open, welcome)).socket);
    const over = await open();
    refused(over);
    over.socket.destroy();
    const ended = once(taken[0], 'close');
    taken[0].destroy();
    await ended;
    const again = await letIn(open, welcome);
    for (const socket of [...taken, again.socket]) socket.destroy();
  }

  test('WebSockets of a sandbox', async () => {
    const head = `GET /v1/sandbox/left/container/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
    await fill(() => ask(daemon.port, head), 101, ({ status, text }) => {
      assert.equal(status, 503, text);
      assert.match(text, /"capacity_exceeded"/);
    });
  });

  test('whatever a preview changes to', async () => {
    await api.put('/v1/sandbox/left/file/workspace/server.pl', SERVER);
    await api.exec('left', 'nohup perl server.pl >/dev/null 2>&1 &');
    await until('the server listens', async () => (await api.exec('left', 'cat /proc/net/tcp')).out.includes(':1F90 '));
    assert.equal((await api.post('/v1/sandbox/left/ports', { port: 8080, token: 'tok' })).status, 200);
    const head = `GET / HTTP/1.1\r\nHost: 8080-left-tok.localhost:${daemon.port}\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n`;
    await fill(() => ask(daemon.port, head), 101, ({ status, text }) => {
      assert.equal(status, 503, text);
      assert.match(text, /"capacity_exceeded"/);
    });
  });

  test('published ports of a container', async (t) => {
    t.after(() => docker.delete('/containers/full?force=1'));
    const config = { Image: 'cloudflare/sandbox:1', HostConfig: { PortBindings: { '3000/tcp': [{ HostPort: '' }] } } };
    assert.equal((await docker.post('/containers/create?name=full', config)).status, 201);
    assert.equal((await docker.post('/containers/full/start')).status, 204);
    const port = Number((await docker.get('/containers/full/json')).json.NetworkSettings.Ports['3000/tcp'][0].HostPort);
    const open = () => ask(port, 'GET /api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await fill(open, 200, ({ text }) => assert.equal(text, ''));
    assert.equal((await docker.get('/containers/full/json')).json.State.Status, 'running');
  });
});
