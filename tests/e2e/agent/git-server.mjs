// A real git server over HTTP on loopback: git http-backend behind a small CGI server. Repositories below /private want
// the user "me" with the password "secret"; /slow answers after a while, /hang never.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.com', '-c', 'init.defaultBranch=main'];
const env = { PATH: process.env.PATH, HOME: '/nonexistent', GIT_CONFIG_NOSYSTEM: '1' };

function git(cwd, ...args) {
  const run = spawnSync('git', [...identity, ...args], { cwd, env, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`git ${args.join(' ')}: ${run.stderr}`);
  return run.stdout.trim();
}

export class GitServer {
  static async start() {
    const server = new GitServer();
    server.root = mkdtempSync(join(tmpdir(), 'berm-git-'));
    const work = join(server.root, 'work');
    mkdirSync(work);
    git(work, 'init', '-q');
    for (let i = 1; i <= 3; i++) {
      writeFileSync(join(work, 'README.md'), `version ${i}\n`);
      git(work, 'add', '.');
      git(work, 'commit', '-qm', `commit ${i}`);
    }
    git(work, 'tag', 'v1');
    git(work, 'checkout', '-qb', 'feature/x');
    writeFileSync(join(work, 'feature.txt'), 'x\n');
    git(work, 'add', '.');
    git(work, 'commit', '-qm', 'feature');
    git(work, 'checkout', '-q', 'main');
    for (const name of ['public/repo.git', 'private/repo.git', 'slow/repo.git']) {
      git(server.root, 'clone', '-q', '--bare', work, join(server.root, name));
      git(join(server.root, name), 'config', 'uploadpack.allowFilter', 'true');
    }
    git(server.root, 'init', '-q', '--bare', join(server.root, 'public/empty.git'));
    server.http = http.createServer((request, response) => server.#serve(request, response)).listen(0, '127.0.0.1');
    await once(server.http, 'listening');
    server.origin = `127.0.0.1:${server.http.address().port}`;
    server.url = `http://${server.origin}`;
    server.requests = [];
    server.slowMs = 0;
    return server;
  }

  #serve(request, response) {
    this.requests.push(request.url);
    if (request.url.startsWith('/hang')) return; // never
    const wants = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    if (request.url.startsWith('/private') && request.headers.authorization !== wants) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' });
      response.end('Authentication required\n');
      return;
    }
    if (request.url.startsWith('/slow')) setTimeout(() => this.#backend(request, response), this.slowMs).unref();
    else this.#backend(request, response);
  }

  #backend(request, response) {
    const url = new URL(request.url, this.url);
    const child = spawn('git', ['http-backend'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...env, GIT_PROJECT_ROOT: this.root, GIT_HTTP_EXPORT_ALL: '1', REQUEST_METHOD: request.method, PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1), CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_ADDR: '127.0.0.1',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '', GIT_PROTOCOL: request.headers['git-protocol'] ?? '' },
    });
    request.pipe(child.stdin);
    child.stdin.on('error', () => {});
    const pieces = [];
    child.stdout.on('data', (piece) => pieces.push(piece));
    child.on('close', () => {
      const all = Buffer.concat(pieces);
      const end = all.indexOf('\r\n\r\n');
      const headers = {};
      let status = 200;
      for (const line of all.subarray(0, end).toString().split('\r\n')) {
        const [, name, value] = line.match(/^([^:]+): *(.*)$/) ?? [];
        if (name?.toLowerCase() === 'status') status = parseInt(value, 10);
        else if (name) headers[name] = value;
      }
      response.writeHead(status, headers);
      response.end(all.subarray(end + 4));
    });
  }

  async stop() {
    this.http.closeAllConnections();
    this.http.close();
    await once(this.http, 'close');
    rmSync(this.root, { recursive: true, force: true });
  }
}
