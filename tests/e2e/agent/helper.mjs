// Runs one berm-agent for a test file and speaks HTTP to it, over TCP and over its unix socket.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { freePort } from '../lib/ports.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const build = resolve(process.env.BERM_BUILD ?? join(here, '../../../build'));
const native = join(build, 'src/agent/berm-agent-native'); // of a sanitizer build
export const binary = resolve(process.env.BERM_AGENT ?? (existsSync(native) ? native : join(build, 'berm-agent')));

/* What runs in any image: static, also of a sanitizer build. */
export const standalone = resolve(process.env.BERM_AGENT ?? join(build, 'berm-agent'));

export const sanitized = binary === native; // takes more memory than it would

export const SESSIONLESS = '__DISABLE_SESSION__';
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/*
 * The logs of a short command, asked for right after its start: they are whole, unless the machine is so slow that the agent
 * has waited for its end as long as it does (a tenth of a second). Then it is asked until they are.
 */
export async function logsAtOnce(start, read, isWhole) {
  const began = Date.now();
  const started = await start();
  let logs = await read(started);
  if (!isWhole(logs)) assert.ok(Date.now() - began >= 90, `${JSON.stringify(logs)} after ${Date.now() - began} ms`);
  while (!isWhole(logs)) logs = await read(started);
  return logs;
}

// A listening unix socket has to be descriptor 3 before the agent starts; node would accept on one of its own.
const listenAndExec = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(128)
fd = os.dup(s.fileno()) if s.fileno() == 3 else s.fileno()
os.dup2(fd, 3, inheritable=True)
os.execv(sys.argv[2], sys.argv[2:])
`;

export class Agent {
  static async start({ env = {}, args = [], command = [], nproc, watches } = {}) {
    const agent = new Agent();
    agent.directory = await mkdtemp(join(tmpdir(), 'berm-agent-test-'));
    agent.socketPath = join(agent.directory, 'agent.sock');
    agent.port = await freePort();
    agent.stderr = '';
    const root = await mkdtemp(join(agent.directory, 'root-'));
    agent.child = spawn('python3', ['-c', listenAndExec, agent.socketPath, join(here, 'start-agent.sh'), root, binary,
      '--sandbox', '--no-desk', '--listen-port', String(agent.port), ...args, ...command], {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: { ...process.env, AGENT_NPROC: nproc ? String(nproc) : '', AGENT_WATCHES: watches ? String(watches) : '',
        AGENT_ENV: Object.entries(env).map(([k, v]) => `${k}=${v}`).join(' ') },
    });
    agent.child.stderr.on('data', (data) => { agent.stderr += data; });
    agent.exited = once(agent.child, 'exit');
    agent.keepAlive = new http.Agent({ keepAlive: true, maxSockets: 64 });
    for (let i = 0; ; i++) {
      try {
        await agent.get('/');
        return agent;
      } catch (error) {
        if (agent.child.exitCode !== null || i > 6000) {
          agent.child.kill('SIGKILL');
          await rm(agent.directory, { recursive: true, force: true });
          throw new Error(`agent did not start: ${agent.stderr} ${error}`);
        }
        await sleep(10);
      }
    }
  }

  // The pid of the agent as the host sees it: the child of unshare(1).
  async hostPid() {
    const text = await readFile(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'utf8');
    return Number(text.trim().split(' ')[0]);
  }

  // Ends it as a container runtime would, so that what it does at its end is tested too (leak checks among it).
  async stop() {
    this.keepAlive.destroy();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const timer = setTimeout(() => this.child.kill('SIGKILL'), 60000);
      process.kill(await this.hostPid(), 'SIGTERM');
      const [code] = await this.exited;
      clearTimeout(timer);
      if (code !== 0) throw new Error(`the agent ended with ${code}: ${this.stderr}`);
    }
    await rm(this.directory, { recursive: true, force: true });
    if (/Sanitizer|runtime error/.test(this.stderr)) throw new Error(this.stderr);
  }

  // { status, headers, text, json }. `body` is sent as it is if it is a string or buffer, else as JSON.
  request(method, path, body, { unix = false, headers = {}, onResponse, signal } = {}) {
    const payload = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return new Promise((done, fail) => {
      const request = http.request({
        method, path, signal,
        headers: payload === undefined ? headers : { 'Content-Length': Buffer.byteLength(payload), ...headers },
        ...(unix ? { socketPath: this.socketPath } : { host: '127.0.0.1', port: this.port }),
        agent: unix ? undefined : this.keepAlive,
      }, async (response) => {
        if (onResponse) return done(response);
        try {
          const pieces = [];
          for await (const piece of response) pieces.push(piece);
          const bytes = Buffer.concat(pieces);
          const text = bytes.toString('utf8');
          let json;
          try { json = JSON.parse(text); } catch { /* not JSON */ }
          done({ status: response.statusCode, headers: response.headers, bytes, text, json });
        } catch (error) { fail(error); }
      });
      request.on('error', fail);
      request.end(payload);
    });
  }

  get(path, options) { return this.request('GET', path, undefined, options); }
  post(path, body, options) { return this.request('POST', path, body, options); }

  // Runs a command and returns the reply's JSON with `status`.
  async run(command, { session = 'default', ...more } = {}) {
    const reply = await this.post('/api/execute', { command, sessionId: session, ...more });
    return { status: reply.status, ...reply.json };
  }

  // A gate in the way of a command: `wait` is a command that reads from a named pipe, open() lets one such through.
  async gate() {
    this.gates = (this.gates ?? 0) + 1;
    const path = `/tmp/gate-${this.gates}`;
    const made = await this.run(`mkfifo ${path}`, { session: SESSIONLESS });
    if (made.exitCode !== 0) throw new Error(`mkfifo: ${made.stderr}`);
    return { path, wait: `read -r <${path}`, open: () => this.run(`echo >${path}`, { session: SESSIONLESS }) };
  }

  // Kills a process of the sandbox; when this returns the agent has seen it end.
  async killed(pid) {
    const { exitCode, stderr } = await this.run(`kill -9 ${pid} && while kill -0 ${pid} 2>/dev/null; do sleep 0.01; done`, { session: SESSIONLESS });
    if (exitCode !== 0) throw new Error(`kill ${pid}: ${stderr}`);
  }

  // A stream of events of /api/: { status, headers, next(), rest(), close() }; an error answer also has `json`.
  async events(method, path, body) {
    const response = await this.request(method, path, body, { onResponse: true });
    return new EventReader(response).begin();
  }

  // The events of /api/execute/stream, all of them.
  async stream(command, more = {}) {
    const reader = await this.events('POST', '/api/execute/stream', { command, ...more });
    return reader.status === 200 ? reader.rest() : reader;
  }

  // Starts a process and returns its id.
  async process(command, more = {}) {
    const reply = await this.post('/api/process/start', { command, ...more });
    if (reply.status !== 200) throw new Error(`process/start: ${reply.text}`);
    return reply.json.processId;
  }

  async record(id) { return (await this.get(`/api/process/${id}`)).json.process; }

  // The record once it has ended.
  async ended(id, ms = 60000) {
    for (const until = Date.now() + ms; ;) {
      const record = await this.record(id);
      if (record.status !== 'running') return record;
      if (Date.now() > until) throw new Error(`process ${id} does not end`);
      await sleep(5);
    }
  }

  // /berm/v1/exec: { status, json } or { status, stdout, stderr, exitCode, events }.
  async exec(document, { stdin, ...options } = {}) {
    const withStdin = stdin !== undefined;
    const body = withStdin ? Buffer.concat([Buffer.from(JSON.stringify(document) + '\n'), Buffer.from(stdin)]) : document;
    const reply = await this.post('/berm/v1/exec', body, {
      unix: true, ...options, headers: withStdin ? { 'Content-Type': 'application/x-berm-exec' } : {},
    });
    if (reply.status !== 200) return reply;
    return { status: 200, headers: reply.headers, ...parseEvents(reply.text) };
  }
}

export function parseEvents(text) {
  const events = text.split('\n\n').filter((block) => block && block !== ': keep-alive').map((block) => {
    const [event, data, ...rest] = block.split('\n');
    if (!event.startsWith('event: ') || !data.startsWith('data: ') || rest.length) throw new Error(`bad event: ${block}`);
    return { event: event.slice(7), data: data.slice(6) };
  });
  const bytes = (name) => Buffer.concat(events.filter((e) => e.event === name).map((e) => Buffer.from(e.data, 'base64')));
  const last = events.at(-1);
  return { events, stdout: bytes('stdout'), stderr: bytes('stderr'),
    exitCode: last?.event === 'exit' ? JSON.parse(last.data).exit_code : undefined };
}

class EventReader {
  constructor(response) {
    this.response = response;
    this.status = response.statusCode;
    this.headers = response.headers;
    this.comments = 0;
    response.setEncoding('utf8');
    this.blocks = this.read();
  }

  async begin() {
    if (this.status === 200) return this;
    this.text = '';
    for await (const piece of this.response) this.text += piece;
    try { this.json = JSON.parse(this.text); } catch { /* not JSON */ }
    return this;
  }

  async *read() {
    let text = '';
    for await (const piece of this.response) {
      text += piece;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const block = text.slice(0, end);
        if (block.startsWith(':')) { this.comments++; continue; }
        if (!block.startsWith('data: ') || block.includes('\n')) throw new Error(`bad event: ${block}`);
        yield JSON.parse(block.slice(6));
      }
    }
    if (text) throw new Error(`rest of a stream: ${text}`);
  }

  // The next event, or undefined at the end of the stream.
  async next() {
    const { value } = await this.blocks.next();
    return value;
  }

  async rest() {
    const events = [];
    for await (const event of this.blocks) events.push(event);
    return events;
  }

  close() { this.response.destroy(); }
}

export const textOf = (events, type) => events.filter((e) => e.type === type).map((e) => e.data).join('');
