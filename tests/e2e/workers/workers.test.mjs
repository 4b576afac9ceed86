/* An unmodified Worker with the published SDK on the published wrangler, and bermd where Docker would be. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, describe, test as plain } from 'node:test';

import WebSocket from '../../node_modules/ws/wrapper.mjs';
import { collect } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker } from '../lib/docker.mjs';
import { attacks } from './attacks.mjs';
import { scenarios } from './scenarios.mjs';
import { Wrangler, exampleIn, whyNoWrangler } from './wrangler.mjs';

const test = (name, run) => plain(name, { timeout: 240000 }, run);
const why = whyNoDaemon() ?? whyNoWrangler() ?? (fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : 'no image base');

describe('Workers', { skip: why }, () => {
  let daemon;
  let docker;
  let wrangler;

  before(async () => {
    daemon = new Daemon({ poolSize: 2, docker: true, options: ['--sandbox-image', 'base'] });
    await daemon.start();
    docker = new Docker(daemon.dockerSocket);
    wrangler = await new Wrangler(docker.socketPath, daemon.top).start();
  }, { timeout: 240000 });
  after(async () => {
    await wrangler?.stop();
    await daemon.stop();
  });

  const containers = async (all = '?all=1') => (await docker.get(`/containers/json${all}`)).json.filter((c) => !c.Names[0].endsWith('-proxy'));
  const call = (...args) => wrangler.call(...args);

  /* A request with another Host than the one that is connected to, as preview URLs need it. */
  async function withHost(host, target, options = {}) {
    const request = http.request({ host: '127.0.0.1', port: wrangler.port, path: target, headers: { host }, ...options });
    request.end();
    const [response] = await once(request, 'response');
    return collect(response);
  }

  const server = (port) => `python3 -u -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        text = (self.command + " " + self.path + " ").encode() + body
        self.send_response(200); self.send_header("content-length", str(len(text))); self.end_headers(); self.wfile.write(text)
    do_GET = do_POST = answer
    def log_message(self, *a): pass
print("listening", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", ${port}), H).serve_forever()'`;

  async function serve(id, port, options) {
    const started = await call(id, 'startProcess', [server(port)], options);
    await until('the server listens', async () => (await call(id, 'exec', [`curl -s -o /dev/null http://127.0.0.1:${port}/`], options)).exitCode === 0);
    return started;
  }

  for (const transport of ['http', 'websocket', 'rpc']) {
    const id = `by-${transport}`;
    const options = { transport };

    test(`${transport}: commands, their failures, their environment`, async () => {
      const first = await call(id, 'exec', ['echo hello $FROM_DOCKERFILE; echo wrong >&2'], options);
      assert.equal(first.stdout.trim(), 'hello yes');
      assert.equal(first.stderr.trim(), 'wrong');
      assert.equal(first.success, true);
      assert.equal((await call(id, 'exec', ['sh -c "exit 3"'], options)).exitCode, 3);
      assert.equal((await call(id, 'exec', ['echo $A'], { ...options })).stdout.trim(), '');
      await call(id, 'setEnvVars', [{ A: 'set' }], options);
      assert.equal((await call(id, 'exec', ['echo $A'], options)).stdout.trim(), 'set');
    });

    test(`${transport}: a command's output streams`, async () => {
      const events = await call(id, 'execStream', ['for i in 1 2 3; do echo line $i; done; exit 4'], options);
      assert.equal(events.filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'line 1\nline 2\nline 3\n');
      assert.equal(events.at(-1).type, 'complete');
      assert.equal(events.at(-1).exitCode, 4);
    });

    test(`${transport}: sessions keep their directory and variables apart`, async () => {
      await call(id, 'createSession', [{ id: `s-${transport}`, env: { B: 'session' }, cwd: '/tmp' }], options);
      await call(id, 'exec', ['cd /usr; C=kept'], { ...options, session: `s-${transport}` });
      assert.equal((await call(id, 'exec', ['echo $PWD $B $C'], { ...options, session: `s-${transport}` })).stdout.trim(), '/usr session kept');
      assert.equal((await call(id, 'exec', ['echo $C'], options)).stdout.trim(), '');
      await call(id, 'deleteSession', [`s-${transport}`], options);
    });

    test(`${transport}: files are written, read, listed, moved and removed`, async () => {
      await call(id, 'mkdir', ['/workspace/dir/deep', { recursive: true }], options);
      await call(id, 'writeFile', ['/workspace/dir/a.txt', 'ä text\n'], options);
      assert.equal((await call(id, 'readFile', ['/workspace/dir/a.txt'], options)).content, 'ä text\n');
      await call(id, 'renameFile', ['/workspace/dir/a.txt', '/workspace/dir/b.txt'], options);
      assert.deepEqual((await call(id, 'listFiles', ['/workspace/dir'], options)).files.map((f) => f.name).sort(), ['b.txt', 'deep']);
      assert.equal((await call(id, 'exists', ['/workspace/dir/a.txt'], options)).exists, false);
      await call(id, 'deleteFile', ['/workspace/dir/b.txt'], options);
      await assert.rejects(call(id, 'readFile', ['/workspace/dir/b.txt'], options), /b\.txt/);
    });

    test(`${transport}: background processes run, log and end`, async () => {
      const started = await call(id, 'startProcess', ['for i in 1 2 3; do echo tick $i; done; exec sleep 1000'], options);
      await until('its output is there', async () => /tick 3/.test((await call(id, 'getProcessLogs', [started.id], options)).stdout));
      assert.equal((await call(id, 'listProcesses', [], options)).find((p) => p.id === started.id).status, 'running');
      await call(id, 'killProcess', [started.id], options);
      await until('it has ended', async () => (await call(id, 'getProcess', [started.id], options)).status !== 'running');
    });

    test(`${transport}: a port of the sandbox is reached by containerFetch`, async () => {
      await serve(id, 8080, options);
      const answer = await fetch(`${wrangler.url}/fetch?id=${id}&transport=${transport}`);
      assert.equal(await answer.text(), 'POST /path?q=1 ping');
    });
  }

  scenarios({ test, call, serve, withHost, containers, daemon: () => daemon, wrangler: () => wrangler, docker: () => docker });

  test('a terminal over a WebSocket', async () => {
    await call('term', 'exec', ['true']);
    const socket = new WebSocket(`ws://127.0.0.1:${wrangler.port}/terminal?id=term`);
    let text = '';
    socket.on('message', (data) => (text += data));
    await once(socket, 'open');
    await until('the prompt', () => /ready|[#$] /.test(text));
    socket.send(Buffer.from('echo $((40 + 2)) && tput cols\r'));
    await until('the answer', () => /42\r\n/.test(text) && /80\r\n/.test(text));
    socket.close();
  });

  test('a preview URL leads to its port, and with a wrong token nowhere', async () => {
    const id = 'preview';
    await serve(id, 8080);
    const { url } = await call(id, 'exposePort', [8080, { hostname: `localhost:${wrangler.port}`, token: 'abcdefgh_1' }]);
    const { host } = new URL(url);
    assert.equal((await withHost(host, '/some/path')).text, 'GET /some/path ');
    const wrong = await withHost(host.replace('abcdefgh_1', 'wrongtoken_1'), '/');
    assert.equal(wrong.status, 404);
    assert.equal(wrong.json.code, 'INVALID_TOKEN');
  });

  test('two sandboxes are two containers, with labels and limits, that do not see each other', async () => {
    await Promise.all(['left', 'right'].map((id) => call(id, 'writeFile', ['/tmp/mine', id])));
    assert.equal((await call('left', 'readFile', ['/tmp/mine'])).content, 'left');
    assert.equal((await call('right', 'readFile', ['/tmp/mine'])).content, 'right');
    const names = (await containers('')).map((c) => c.Names[0]);
    assert.equal(new Set(names).size, names.length);
  });

  test('destroy ends the container, and the next use makes a new one', async () => {
    await call('mortal', 'exec', ['echo mine >/tmp/mine']);
    const before = (await containers('')).length;
    await call('mortal', 'destroy');
    await until('it is gone', async () => (await containers()).length === before - 1);
    assert.equal((await call('mortal', 'exec', ['cat /tmp/mine || echo new'])).stdout.trim(), 'new');
  });

  test('a container that died is made anew', async () => {
    await call('phoenix', 'exec', ['true']);
    const known = new Set((await containers('')).map((c) => c.Id));
    await call('ash', 'exec', ['true']);
    const ash = (await containers('')).find((c) => !known.has(c.Id));
    assert.equal((await docker.post(`/containers/${ash.Id}/kill`)).status, 204);
    await until('it is gone', async () => (await docker.get(`/containers/${ash.Id}/json`)).status === 404);
    const again = await until('it runs again', async () => call('ash', 'exec', ['echo again']).catch(() => undefined));
    assert.equal(again.stdout.trim(), 'again');
  });

  attacks({ test, call, containers, daemon: () => daemon, wrangler: () => wrangler, docker: () => docker });

  /* workerd takes the end of its connection for the end of the container, and makes another in its place. */
  test('after a crash of the daemon the Worker goes on, with one container', async () => {
    await call('survivor', 'exec', ['true']);
    const before = (await containers('')).length;
    await daemon.end('SIGKILL');
    await daemon.start();
    const again = await until('it answers', async () => call('survivor', 'exec', ['echo again']).catch(() => undefined));
    assert.equal(again.stdout.trim(), 'again');
    await until('there is one container for it', async () => (await containers('')).length === before);
  });

  test('at its end wrangler removes every container', async () => {
    await wrangler.stop();
    await until('all are gone', async () => (await containers()).length === 0);
  });

  test('the example does what its README says', async () => {
    const example = await new Wrangler(docker.socketPath, daemon.top, exampleIn(daemon.top)).start();
    try {
      assert.deepEqual(await (await fetch(`${example.url}/run`)).json(), { output: '5050', exitCode: 0 });
      assert.match(await (await fetch(`${example.url}/file`)).text(), /^Hello from localhost/);
      assert.equal(await (await fetch(`${example.url}/reset`)).text(), 'gone\n');
    } finally {
      await example.stop();
    }
  });
});
