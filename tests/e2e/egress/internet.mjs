/*
 * A host and an internet in network namespaces of their own: the test file runs itself again in a new namespace, the
 * host's; another one, joined by a veth, has the servers. Nothing reaches the machine's own network.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { imagesDir, whyNoDaemon } from '../lib/daemon.mjs';
import { ADDRESSES, GATEWAY, HOST } from './zone.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const run = (...argv) => execFileSync(argv[0], argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });

function whyNoInternet() {
  const reason = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names', 'base')) ? undefined : 'needs the image base');
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`these tests must run here: ${reason}`);
  return reason;
}

/* True in the namespace. Else the file's tests become one, which runs them there. */
export function inOwnNetwork(url, name) {
  if (process.env.BERM_TEST_NETWORK === '1') return true;
  test(name, { skip: whyNoInternet() }, async () => {
    const { NODE_TEST_CONTEXT, ...env } = process.env;
    const child = spawn('unshare', ['--net', '--', process.execPath, fileURLToPath(url)], {
      env: { ...env, BERM_TEST_NETWORK: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (piece) => (text += piece));
    const [status] = await once(child, 'exit');
    if (status !== 0) process.stdout.write(text);
    assert.equal(status, 0, text.split('\n').filter((line) => /^\s*not ok/.test(line)).join('\n'));
  });
  return false;
}

export class Internet {
  constructor() {
    this.top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-internet-'));
    this.www = path.join(this.top, 'www');
    fs.mkdirSync(this.www);
    this.caFile = path.join(this.top, 'ca.crt');
    this.certificate('ca', '/CN=the authority of the tests');
    this.certificate('tls', '/CN=web.test', 'DNS:web.test,DNS:other.test,DNS:registry.test,DNS:*.sub.test', 'ca');
    this.certificate('untrusted', '/CN=untrusted.test', 'DNS:untrusted.test');
  }

  /* NAME.key and NAME.crt, signed by `issuer` or by itself. */
  certificate(name, subject, names, issuer) {
    const at = (...parts) => path.join(this.top, parts.join('.'));
    run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', subject,
      ...(names ? ['-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE'] : []),
      ...(issuer ? ['-CA', at(issuer, 'crt'), '-CAkey', at(issuer, 'key')] : []), '-keyout', at(name, 'key'), '-out', at(name, 'crt'));
  }

  async start() {
    run('ip', 'link', 'set', 'lo', 'up');
    this.servers = spawn('unshare', ['--net', '--', 'sh', '-c', 'echo made && read go && exec "$0" "$@"', process.execPath,
      path.join(here, 'servers.mjs'), this.top], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(this.servers.stdout, 'data');
    const pid = String(this.servers.pid);
    const there = (...argv) => run('nsenter', '-t', pid, '-n', ...argv);
    run('ip', 'link', 'add', 'wan', 'type', 'veth', 'peer', 'name', 'lan', 'netns', pid);
    run('ip', 'addr', 'add', `${HOST}/24`, 'dev', 'wan');
    run('ip', 'addr', 'add', 'fd77::1/64', 'dev', 'wan', 'nodad');
    run('ip', 'link', 'set', 'wan', 'up');
    there('ip', 'link', 'set', 'lo', 'up');
    there('ip', 'addr', 'add', `${GATEWAY}/24`, 'dev', 'lan');
    there('ip', 'addr', 'add', 'fd77::2/64', 'dev', 'lan', 'nodad');
    there('ip', 'link', 'set', 'lan', 'up');
    for (const address of ADDRESSES)
      if (address.includes(':')) there('ip', 'addr', 'add', `${address}/128`, 'dev', 'lo', 'nodad');
      else there('ip', 'addr', 'add', `${address}/32`, 'dev', 'lo');
    run('ip', 'route', 'add', 'default', 'via', GATEWAY);
    run('ip', '-6', 'route', 'add', 'default', 'via', 'fd77::2');
    this.servers.stdin.end('go\n');
    await once(this.servers.stdout, 'data');
  }

  /* What the servers were asked for since the last time. */
  async log() {
    return (await fetch(`http://${GATEWAY}/_log`)).json();
  }

  async stop() {
    const exited = once(this.servers, 'exit');
    this.servers.kill();
    await exited;
    fs.rmSync(this.top, { recursive: true });
  }
}
