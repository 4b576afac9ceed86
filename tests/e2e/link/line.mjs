/*
 * Two hosts with a line between them, for tests of links alone: network namespaces made by tests/tools/cable, and in
 * each a berm-link with tests/tools/linkctl in bermd's place. The edge is 10.77.0.1, home 10.77.0.2.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from '../edge/certificates.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const build = path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build'));
const tools = { cable: 'tests/tools/cable', linkctl: 'tests/tools/linkctl', link: 'src/link/berm-link' };
for (const [name, file] of Object.entries(tools)) tools[name] = path.join(build, file);

/* Why there can be no line here, or undefined. With BERM_MUST_WORK=1 that is an error instead. */
export function whyNoLine() {
  let reason;
  if (process.getuid() !== 0) reason = 'needs root';
  else if (!fs.existsSync('/dev/net/tun')) reason = 'no /dev/net/tun';
  else if (!Object.values(tools).every((file) => fs.existsSync(file))) reason = `not built in ${build}`;
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`these tests must run here: ${reason}`);
  return reason;
}

/* A program that prints lines, which are waited for one by one. */
export class Lines {
  constructor(command, args, options = {}) {
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    this.seen = [];
    this.waiting = [];
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.seen.push(line);
      this.look();
    });
  }

  look() {
    this.waiting = this.waiting.filter(({ pattern, resolve }) => {
      const i = this.seen.findIndex((line) => pattern.test(line));
      if (i < 0) return true;
      resolve(this.seen.splice(i, 1)[0].match(pattern));
      return false;
    });
  }

  /* The first line like that which nobody has waited for yet. */
  expect(pattern, ms = 100000) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${pattern} within ${ms} ms, but ${JSON.stringify(this.seen)}`)), ms);
      this.waiting.push({ pattern, resolve: (match) => (clearTimeout(timer), resolve(match)) });
      this.look();
    });
  }

  say(line) {
    this.child.stdin.write(`${line}\n`);
  }

  async end() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.stdin.end();
    await exit;
  }
}

/* The processes below one, all the way down. */
function below(pid) {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...below(child)]);
}

export class Line {
  constructor() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-line-'));
    this.certificate = makeCertificate(this.dir, 'edge', ['edge.test', '10.77.0.1']);
    this.local = path.join(this.dir, 'local');
    this.parts = [];
  }

  async start() {
    this.cable = new Lines(tools.cable, []);
    const [, edge, home] = await this.cable.expect(/^A (\d+) (\d+)$/);
    this.at = { edge, home };
    this.ip('edge', 'link set lo up');
    for (const [host, address] of [['edge', '10.77.0.1/24'], ['home', '10.77.0.2/24']]) {
      this.ip(host, `addr add ${address} dev cable0`);
      this.ip(host, 'link set cable0 up');
    }
    return this;
  }

  ip(host, command) {
    execFileSync('nsenter', ['--net', '--target', this.at[host], 'ip', ...command.split(' ')]);
  }

  /* "delay 50", "loss 2", "udp no", "cut", "mend" */
  async bad(...commands) {
    for (const command of commands) {
      this.cable.say(command);
      await this.cable.expect(/^ok$/);
    }
  }

  run(host, args) {
    const part = new Lines('nsenter', ['--net', '--target', this.at[host], tools.linkctl, ...args]);
    this.parts.push(part);
    return part;
  }

  async edge({ port = 4433 } = {}) {
    const edge = this.run('edge', ['edge', '10.77.0.1', String(port), this.local, tools.link, 'listen',
      '--certificate', this.certificate, '--key', this.certificate]);
    await edge.expect(/^ready$/);
    return edge;
  }

  home({ transport = 'auto', port = 4433 } = {}) {
    return this.run('home', ['home', tools.link, 'dial', '--host', '10.77.0.1', '--port', String(port),
      '--authority', this.certificate, '--transport', transport]);
  }

  /* What bermd would have at the edge: a stream to the home of the newest link, which serves what `line` says. */
  stream(line) {
    const socket = net.connect({ path: this.local, allowHalfOpen: true });
    socket.write(`${line}\n`);
    return socket;
  }

  /* Echoed once there and back, in ms. */
  async echo(socket, text) {
    const began = performance.now();
    let got = '';
    socket.write(text);
    while (got.length < text.length) {
      const [bytes] = await once(socket, 'data');
      got += bytes;
    }
    if (got !== text) throw new Error(`${JSON.stringify(text)} came back as ${JSON.stringify(got.slice(0, 100))}`);
    return performance.now() - began;
  }

  /* A stream that begins, serves and ends. */
  async use(text) {
    const socket = this.stream('echo');
    await this.echo(socket, text);
    socket.end();
    await once(socket.resume(), 'close');
  }

  /* The worker of this part's berm-link (its keeper is its parent), or of a part that is not there any more: none. */
  worker(part) {
    return below(part.child.pid).filter((pid) => fs.readFileSync(`/proc/${pid}/comm`, 'utf8') !== 'keeper-spare\n').at(-1);
  }

  async end() {
    for (const part of this.parts) await part.end();
    await this.cable?.end();
    fs.rmSync(this.dir, { recursive: true });
  }
}
