// Two hundred slow and two hundred dead connections at once, and what they do to everybody else: nothing.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before } from 'node:test';

import { test } from '../lib/test.mjs';
import { Channel } from './channel.mjs';
import { Agent, sanitized } from './helper.mjs';
import { TerminalClient } from './terminal-client.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

const HANDSHAKE = 'Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

async function plain(text = '') {
  const socket = net.connect(agent.port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write(text);
  return { close: () => socket.destroy(), socket };
}

const times = (n, make) => Promise.all([...Array(n).keys()].map(make));

// They have asked for more than they read, or send a request a byte at a time.
async function slow() {
  const readers = await times(100, async () => {
    const channel = await Channel.open(agent);
    channel.socket.pause();
    for (let i = 0; i < 3; i++) channel.start('POST', '/api/read', { path: '/tmp/big.txt' });
    return channel;
  });
  const watchers = await times(50, async (i) => {
    const terminal = await TerminalClient.open(agent, { sessionId: `crowd-${i}` }, { keep: false });
    terminal.socket.pause();
    terminal.keys('seq 1 20000\r');
    return terminal;
  });
  const dribbling = await times(50, () => plain('POST /api/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n'));
  const timer = setInterval(() => dribbling.forEach(({ socket }) => socket.write(' ')), 500);
  return [...readers, ...watchers, ...dribbling, { close: () => clearInterval(timer) }];
}

// They say nothing any more, before a request, in the middle of one, and behind a handshake.
async function dead() {
  const kinds = ['', 'GET /api/pi', `GET /ws HTTP/1.1\r\n${HANDSHAKE}`, `GET /ws/pty?sessionId=dead HTTP/1.1\r\n${HANDSHAKE}`];
  return times(200, (i) => plain(kinds[i % kinds.length]));
}

// Milliseconds that half of the commands take at most.
async function latency() {
  const took = [];
  for (let i = 0; i < 150; i++) {
    const start = process.hrtime.bigint();
    assert.equal((await agent.run('echo x')).stdout, 'x');
    took.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  return took.sort((a, b) => a - b)[75];
}

test('commands take no longer than twice as long', async () => {
  await agent.run('head -c 1000000 /dev/zero | tr "\\0" x > /tmp/big.txt');
  await latency();
  let ratio = Infinity;
  /* Others share this machine: one quiet round is enough to show it. */
  for (let round = 0; round < 4 && ratio > 2; round++) {
    const alone = await latency();
    const crowd = (await Promise.all([slow(), dead()])).flat();
    assert.ok(crowd.length >= 400);
    await latency(); // what they have begun is under way
    const within = await latency();
    for (const one of crowd) one.close();
    ratio = within / Math.max(alone, await latency());
  }
  assert.ok(sanitized || ratio <= 2, `${ratio} times as long`);
});

test('and when all have gone, so has what they cost', async () => {
  const descriptors = async () => Number((await agent.run('ls /proc/1/fd | wc -l')).stdout);
  for (let left = Infinity, end = Date.now() + 100000; left > 400; left = await descriptors())
    assert.ok(Date.now() < end, `${left} descriptors`);
  const status = (await agent.run('cat /proc/1/status')).stdout;
  assert.ok(sanitized || Number(/VmRSS:\s+(\d+)/.exec(status)[1]) < 60000, status);
});
