/* D1: a sandbox's own loopback, and (unless it has no network) the public internet: no host, neighbour or private range. */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import os from 'node:os';
import { test } from 'node:test';
import { freePort } from '../../e2e/lib/ports.mjs';
import { control } from '../lib/control.mjs';
import * as report from '../lib/report.mjs';
import { judge } from '../lib/verdict.mjs';

const UP = 'ip link set lo up';

/* A server on every address of the host: TCP accepts, UDP echoes. On a port that nobody's socket is given by chance. */
async function hostServices() {
  const stream = net.createServer((socket) => socket.end());
  stream.listen(await freePort(), '::');
  await once(stream, 'listening');
  const { port } = stream.address();
  const datagram = dgram.createSocket('udp6');
  datagram.on('message', (bytes, peer) => datagram.send(bytes, peer.port, peer.address));
  datagram.bind(port, '::');
  await once(datagram, 'listening');
  return { port, close: () => { stream.close(); datagram.close(); } };
}

/* An answer by UDP comes from the address that routes to the client, which for 127.0.0.2 is another one. */
const SOURCE_DIFFERS = '127.0.0.2';

const bracketed = (address) => (address.includes(':') ? `[${address}]` : address);

function hostAddresses() {
  const own = Object.values(os.networkInterfaces()).flat().map(({ address }) => address).filter((address) => !address.startsWith('fe80'));
  return [...new Set(['127.0.0.1', SOURCE_DIFFERS, '::1', '::ffff:127.0.0.1', ...own])].map(bracketed);
}

/* Ranges in which something answers in clouds and companies. The control run has them on its own loopback. */
const FOREIGN = {
  metadata: ['169.254.169.254', '169.254.170.2', '100.100.100.200', '[fd00:ec2::254]', '[::ffff:169.254.169.254]'],
  private: ['10.0.0.1', '172.16.0.1', '172.17.0.1', '192.168.0.1', '100.64.0.1', '198.18.0.1', '[fd12:3456::1]'],
  reserved: ['192.0.2.1', '198.51.100.1', '203.0.113.1', '[2001:db8::1]', '[64:ff9b::c000:201]', '[2002:a00:1::1]', '[64:ff9b::a00:1]'],
};

/* What is public is tried from a sandbox without network only: nothing is to leave this machine. */
const PUBLIC = ['93.184.216.34', '9.9.9.9', '[2606:2800:220:1::1]'];

const LAYERS = { ECONNRESET: 'egress policy', EPERM: 'nft', EHOSTUNREACH: 'nft' };

/* `nodad`: without it an address is no source of answers for a moment. */
const onLoopback = (addresses) =>
  addresses.map((text) => text.replace(/^\[|\]$/g, '').replace('::ffff:', ''))
    .map((text) => `ip addr add ${text}/${text.includes(':') ? '128' : '32'} dev lo ${text.includes(':') ? 'nodad' : ''}`).join('; ');

function registerHost(world) {
  for (const protocol of ['connect', 'udp']) {
    test(`D1-${protocol}: no service of the host can be reached`, async () => {
      const services = await hostServices();
      const addresses = hostAddresses().filter((address) => protocol === 'connect' || address !== SOURCE_DIFFERS);
      const args = [`D1-${protocol}`, ...addresses.map((address) => `${address}:${services.port}`)];
      try {
        const sandbox = await world.shared();
        const inside = await sandbox.probe(args);
        report.add(judge(`D1-${protocol} host`, inside, await control(world.probePath, args, { namespaces: false }), { layers: LAYERS }));
      } finally {
        services.close();
      }
    });
  }

  test("D1: the daemon's API cannot be reached", async () => {
    const args = ['D1-connect', `127.0.0.1:${world.port}`];
    const sandbox = await world.shared();
    report.add(judge('D1-connect daemon', await sandbox.probe(args), await control(world.probePath, args, { namespaces: false })));
  });

  test("D1: the agents' sockets cannot be reached by a path", async () => {
    const sockets = world.agentSockets();
    assert.ok(sockets.length > 0);
    const args = ['D1-unix', ...sockets];
    const sandbox = await world.shared();
    report.add(judge('D1-unix', await sandbox.probe(args), await control(world.probePath, args, { namespaces: false })));
  });
}

function registerForeign(world) {
  for (const [range, addresses] of Object.entries(FOREIGN)) {
    for (const protocol of ['connect', 'udp']) {
      test(`D1-${protocol}: ${range} addresses lead nowhere`, async () => {
        const args = [`D1-${protocol}`, ...addresses.map((address) => `${address}:80`)];
        const sandbox = await world.shared();
        const inside = await sandbox.probe(args);
        const setup = `${UP}; ${onLoopback(addresses)}; "$0" D1-serve 80 >/dev/null`;
        report.add(judge(`D1-${protocol} ${range}`, inside, await control(world.probePath, args, { setup }), { layers: LAYERS }));
      });
    }
  }
}

function registerNone(world) {
  for (const protocol of ['connect', 'udp']) {
    test(`D1-${protocol}: without a network no address leads anywhere`, async () => {
      const addresses = [...PUBLIC, ...Object.values(FOREIGN).flat()];
      const args = [`D1-${protocol}`, ...addresses.map((address) => `${address}:80`)];
      const sandbox = await world.sandbox({ network: 'none' });
      const inside = await sandbox.probe(args);
      await sandbox.destroy();
      const setup = `${UP}; ${onLoopback(addresses)}; "$0" D1-serve 80 >/dev/null`;
      report.add(judge(`D1-${protocol} none`, inside, await control(world.probePath, args, { setup })));
    });
  }
}

export function registerNetwork(world) {
  registerHost(world);
  registerForeign(world);
  registerNone(world);

  test('D1: one sandbox cannot reach a server of another', async () => {
    const [one, other] = [await world.sandbox(), await world.shared()];
    assert.equal((await one.probe(['D1-serve', '9000'])).status, 0);
    const { stdout } = await one.exec(['cat', '/etc/hostname']);
    assert.ok(stdout !== undefined);
    const addresses = ['127.0.0.1', '127.1.2.3', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0'].map((address) => `${address}:9000`);
    const outside = await one.probe(['D1-connect', ...addresses]);
    assert.equal(outside.status, 0, 'the server itself is not there');
    report.add(judge('D1-connect neighbour', await other.probe(['D1-connect', ...addresses]), outside));
    await one.destroy();
  });

  test('D1-reconfigure: a sandbox cannot change its network', async () => {
    const sandbox = await world.sandbox();
    const inside = await sandbox.probe(['D1-reconfigure']);
    await sandbox.destroy();
    report.add(judge('D1-reconfigure', inside, await control(world.probePath, ['D1-reconfigure'], { setup: UP })));
  });
}
