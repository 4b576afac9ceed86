/*
 * Ports for programs that are told a number to listen on. They are none of those that the kernel gives out by itself, to
 * whoever binds port 0 or connects: such a one may be somebody else's before the program has started.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';

const FIRST = 10000;
const [ephemeral] = fs.readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/).map(Number);
const span = Math.max(ephemeral, FIRST + 5000) - FIRST;
let next = (process.pid * 37) % span; /* files that run at once begin at different ones */

export async function freePort() {
  for (let tried = 0; tried < span; tried++) {
    const port = FIRST + next;
    next = (next + 1) % span;
    const server = net.createServer().listen(port);
    const free = await once(server, 'listening').then(() => true, (error) => {
      if (error.code !== 'EADDRINUSE') throw error;
      return false;
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error('no port is free');
}
