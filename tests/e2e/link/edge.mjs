/* A real bermd --edge for one test file, and what a browser sees of it. Needs root, as bermd does. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { makeCertificate } from '../edge/certificates.mjs';
import { collect } from '../lib/api.mjs';
import { programs } from '../lib/daemon.mjs';

export const DOMAIN = 'edge.test';

/* BERM_LINK_TRANSPORT=quic or h2 runs the same tests over that alone. */
const TRANSPORT = ['--edge-link-transport', process.env.BERM_LINK_TRANSPORT ?? 'auto'];

export const newKey = () => `berm_${crypto.randomBytes(20).toString('hex')}`;

export class Edge {
  /* `keys`: name to key; `enter`: a command that runs bermd in another network (nsenter ...); `host`: where links are taken. */
  constructor({ keys = {}, options = [], enter = [], host = '127.0.0.1' } = {}) {
    this.top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-edge-'));
    fs.chmodSync(this.top, 0o755);
    this.certificate = makeCertificate(this.top, 'edge', [...new Set([host, '127.0.0.1']), DOMAIN, `*.${DOMAIN}`]);
    fs.chmodSync(this.certificate, 0o644); /* a test's */
    this.authority = path.join(this.top, 'authority.pem');
    fs.writeFileSync(this.authority, fs.readFileSync(this.certificate, 'utf8').split('-----BEGIN PRIVATE')[0]);
    this.keysFile = path.join(this.top, 'keys');
    this.options = options;
    this.enter = enter;
    this.host = host;
    this.ports = { plain: 0, secure: 0, link: 0 };
    this.lines = [];
    this.setKeys(keys);
  }

  setKeys(keys) {
    this.keys = keys;
    fs.writeFileSync(this.keysFile, Object.entries(keys).map(([name, key]) =>
      `${name} sha256:${crypto.createHash('sha256').update(key).digest('hex')}\n`).join(''), { mode: 0o644 });
  }

  /* Resolves once it listens; on the same ports as before. */
  async start() {
    const at = (name, host = '127.0.0.1') => `${host}:${this.ports[name]}`;
    const [program, ...args] = [...this.enter, programs.bermd, '--edge', '--listen', at('plain'), '--tls-listen', at('secure'),
      '--edge-link-listen', at('link', this.host), '--tls-certificate', this.certificate, '--edge-url', `https://${DOMAIN}`,
      '--edge-link-keys', this.keysFile, '--log-format', 'json', ...TRANSPORT, ...this.options];
    this.child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.exited = once(this.child, 'exit');
    const wanted = { listening: 'plain', 'tls.listening': 'secure', 'link.listening': 'link' };
    await new Promise((resolve, reject) => {
      const missing = new Set(Object.keys(wanted));
      createInterface({ input: this.child.stderr }).on('line', (line) => {
        this.lines.push(line);
        const entry = line.startsWith('{') ? JSON.parse(line) : {};
        if (!missing.delete(entry.event)) return;
        this.ports[wanted[entry.event]] = Number(entry.port ?? entry.address.slice(entry.address.lastIndexOf(':') + 1));
        if (missing.size === 0) resolve();
      });
      this.child.once('exit', (code, signal) => reject(new Error(`bermd --edge ended with ${code ?? signal}:\n${this.lines.join('\n')}`)));
    });
    return this;
  }

  /* The flags of a daemon that is reached by it. */
  daemonOptions(name, more = []) {
    const file = path.join(this.top, `key-of-${name}`);
    fs.writeFileSync(file, `${this.keys[name]}\n`, { mode: 0o600 });
    return ['--edge-link', `${this.host}:${this.ports.link}`, '--edge-link-key', file, '--edge-link-authority', this.authority, ...TRANSPORT, ...more];
  }

  log(event) {
    return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter((entry) => entry.event === event);
  }

  /* berm-link's keeper, the only child of bermd --edge. */
  helper() {
    return childrenOf(this.child.pid)[0];
  }

  /* An open request as a browser makes it for `url`. */
  open(url, { method = 'GET', headers = {}, agent = false } = {}) {
    const { host, pathname, search } = new URL(url);
    const request = https.request({ host: '127.0.0.1', port: this.ports.secure, servername: host.split(':')[0], method, agent,
      path: pathname + search, headers: { host, ...headers }, rejectUnauthorized: false });
    request.on('error', () => {});
    return request;
  }

  async visit(url, { body, ...options } = {}) {
    const request = this.open(url, options);
    const failed = new Promise((_, reject) => request.once('error', reject));
    request.end(body);
    const [response] = await Promise.race([once(request, 'response'), failed]);
    return collect(response);
  }

  /* Its own routes, from its own machine. */
  async ask(path, headers = {}) {
    const request = http.request({ host: '127.0.0.1', port: this.ports.plain, path, headers, agent: false });
    request.end();
    return collect((await once(request, 'response'))[0]);
  }

  /* [exit code, signal] */
  async end(signal = 'SIGTERM') {
    this.child.kill(signal);
    return this.exited;
  }

  async stop() {
    if (this.child?.exitCode === null && this.child.signalCode === null)
      assert.deepEqual(await this.end(), [0, null], this.lines.slice(-40).join('\n'));
    fs.rmSync(this.top, { recursive: true });
  }
}

export function childrenOf(pid) {
  return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

/* undefined: it has ended meanwhile. */
export function nameOf(pid) {
  try {
    return fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}

/* Of bermd's helper of that name: its keeper's worker, and the spare that waits beside it. undefined between two. */
export function kept(bermd, name) {
  const keeper = childrenOf(bermd).find((pid) => nameOf(pid) === name), children = keeper ? childrenOf(keeper) : [];
  return { keeper, worker: children.find((pid) => nameOf(pid) === name), spare: children.find((pid) => nameOf(pid) === 'keeper-spare') };
}
