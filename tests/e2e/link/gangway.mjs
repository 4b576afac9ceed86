/* From this network into another one: a port here that leads to a port of the loopback there. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';

const RELAY = `
const net = require('node:net');
const [path, port] = process.argv.slice(1);
net.createServer({ allowHalfOpen: true }, (from) => {
  const to = net.connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true });
  from.on('error', () => to.destroy());
  to.on('error', () => from.destroy());
  from.on('close', () => to.destroy());
  to.on('close', () => from.destroy());
  from.pipe(to).pipe(from);
}).listen(path, () => console.log('ready'));
process.stdin.resume().on('end', () => process.exit());
`;

export class Gangway {
  /* `enter`: what enters the other network; `path`: of a unix socket, which no network bounds. */
  constructor(enter, path) {
    this.enter = enter;
    this.path = path;
  }

  async open(port) {
    const [program, ...args] = [...this.enter, process.execPath, '-e', RELAY, this.path, String(port)];
    this.child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(createInterface({ input: this.child.stdout }), 'line');
    this.server = net.createServer({ allowHalfOpen: true }, (from) => {
      const to = net.connect({ path: this.path, allowHalfOpen: true });
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
      to.on('error', () => from.destroy()).on('close', () => from.destroy());
      from.pipe(to).pipe(from);
    }).listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this.server.address().port;
  }

  async close() {
    this.server?.close();
    if (!this.child) return;
    const exit = once(this.child, 'exit');
    this.child.stdin.end();
    await exit;
  }
}
