/* How `berm` takes answers that are late, broken or hostile. Needs no sandbox. */
import assert from 'node:assert/strict';
import { execFile as execFileCallback, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';

import { event, execWith, exit, json, output, startMock, stream, withExec, withMock } from './mock.mjs';
import { berm, bermPath, root, start } from './program.mjs';

const execFile = promisify(execFileCallback);

const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'berm-cli-'));
after(() => fs.rm(directory, { recursive: true }));

test('output goes to the right streams and the status is the command\'s', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response).end(output('to out\n') + output('to err\n', 'stderr') + exit(42));
    },
    async (mock, env) => {
      const result = await berm(['exec', 'mock', '--', 'anything'], { env });
      assert.equal(result.out, 'to out\n');
      assert.equal(result.err, 'to err\n');
      assert.equal(result.status, 42);
    },
  ));

test('output arrives while the command runs', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response).write(output('first'));
      response.on('close', () => {});
      mockState.finish = () => response.end(exit(0));
    },
    async (mock, env) => {
      const { child, done } = start(['exec', 'mock', 'x'], { env });
      const [chunk] = await once(child.stdout, 'data');
      assert.equal(chunk.toString(), 'first');
      mockState.finish();
      assert.equal((await done).status, 0);
    },
  ));
const mockState = {};

test('bytes that are not UTF-8 pass unchanged, and an event may come in any number of pieces', () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  return execWith(
    async (request, response) => {
      request.resume();
      stream(response);
      for (const byte of Buffer.from(output(bytes) + exit(0))) {
        response.write(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      response.end();
    },
    async (mock, env) => {
      const result = await berm(['exec', 'mock', 'x'], { env });
      assert.deepEqual(result.stdout, bytes);
      assert.equal(result.status, 0);
    },
  );
});

const brokenStreams = {
  'ends without a status': output('partial'),
  'has base64 that is none': event('stdout', '!!!!') + exit(0),
  'has an exit that is not JSON': event('exit', 'zero'),
  'has an exit without a code': event('exit', '{}'),
  'has an exit code that is text': event('exit', '{"exit_code":"0"}'),
};
for (const [what, body] of Object.entries(brokenStreams)) {
  test(`a stream that ${what} is a failure of berm`, () =>
    execWith(
      (request, response) => {
        request.resume();
        stream(response).end(body);
      },
      async (mock, env) => {
        const result = await berm(['exec', 'mock', 'x'], { env });
        assert.equal(result.status, 125);
        assert.match(result.err, /^berm: the command's output stream/m);
      },
    ));
}

test('an event without end is cut off', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response);
      const chunk = 'data: ' + 'A'.repeat(1 << 20);
      response.on('error', () => {});
      const more = () => {
        while (!response.destroyed && response.write(chunk.slice(6)));
        if (!response.destroyed) response.once('drain', more);
      };
      response.write('event: stdout\ndata: ');
      more();
    },
    async (mock, env) => {
      const result = await berm(['exec', 'mock', 'x'], { env });
      assert.equal(result.status, 125);
      assert.match(result.err, /larger than allowed/);
    },
  ));

test('an error event is told by its text, without its control characters', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response).end(event('error', JSON.stringify({ error: 'gone \u001b[2J now', code: 'sandbox_died' })));
    },
    async (mock, env) => {
      const result = await berm(['exec', 'mock', 'x'], { env });
      assert.equal(result.status, 125);
      assert.match(result.err, /gone \?\[2J now/);
    },
  ));

/* What moves the cursor, asks the terminal a question, turns text around or ends a line, as UTF-8 and as JSON of it. */
const evil = '\u001b]0;x\u0007\u009b6n\u202e\u2028\r\n\u007f';
const harmful = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

test('names and messages of others move no cursor: in lists, ids, documents, events and errors', () =>
  withMock(
    (request, response) => {
      const { pathname } = new URL(request.url, 'http://x');
      request.resume();
      if (request.method === 'POST' && pathname.endsWith('/processes')) return json(response, 200, { processId: `p${evil}q` });
      if (pathname.endsWith('/processes')) return json(response, 200, { processes: [{ id: `p${evil}q`, command: `sleep ${evil}`, status: 'running', startTime: `now${evil}` }] });
      if (pathname.endsWith('/watch')) return stream(response).end(`data: {"type":"event","path":"/a\u009b6n\u202e\u2028\u007fb"}\n\n`);
      if (pathname === '/v1/sandboxes') return json(response, 200, { sandboxes: [{ id: `a${evil}`, state: 'running', image: evil, generation: 1, labels: { [`k${evil}`]: evil }, name: evil }], cursor: null });
      return json(response, 404, { error: `no ${evil} such`, code: 'sandbox_not_found', context: {} });
    },
    async (mock, env) => {
      const shown = async (...args) => {
        const { out, err, status } = await berm(args, { env });
        assert.doesNotMatch(out + err, harmful, args.join(' '));
        return { out, err, status };
      };
      assert.equal((await shown('ps', 'mock')).out.split('\n').length, 3);
      assert.equal((await shown('ps', '-q', 'mock')).out, 'p?]0;x??6n??  ?q\n');
      assert.equal((await shown('process', 'start', 'mock', 'x')).out, 'p?]0;x??6n??  ?q\n');
      assert.equal((await shown('ls')).out.split('\n').length, 3);
      assert.equal((await shown('ls', '-q')).out, 'a?]0;x??6n??  ?\n');
      const listed = JSON.parse((await shown('ls', '--json')).out);
      assert.deepEqual([listed.sandboxes[0].id, listed.sandboxes[0].labels], [`a${evil}`, { [`k${evil}`]: evil }]);
      assert.equal(JSON.parse((await shown('ps', '--json', 'mock')).out).processes[0].command, `sleep ${evil}`);
      const watched = await shown('watch', 'mock', '/a');
      assert.match(watched.out, /^\{"type":"event","path":"\/a\\u009b6n\\u202e\\u2028\\u007fb"\}$/m);
      const missing = await shown('inspect', 'mock');
      assert.deepEqual([missing.status, missing.err.split('\n').length], [1, 2]);
    },
  ));

test('nothing after the exit event counts', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response).end(exit(3) + output('late') + exit(0));
    },
    async (mock, env) => {
      const result = await berm(['exec', 'mock', 'x'], { env });
      assert.equal(result.status, 3);
      assert.equal(result.out, '');
    },
  ));

test('a command that ends does not wait for stdin to end', () =>
  execWith(
    (request, response) => {
      request.on('error', () => {});
      request.once('data', () => stream(response).end(exit(0)));
    },
    async (mock, env) => {
      const { child, done } = start(['exec', '-i', 'mock', 'head'], { env, keepStdin: true });
      assert.equal((await done).status, 0);
      child.stdin.destroy();
    },
  ));

test('a refusal ends a command whose stdin is still open', () =>
  execWith(
    (request, response) => {
      request.on('error', () => {});
      request.once('data', () => json(response, 400, { error: 'no such thing', code: 'invalid_request', context: {} }));
    },
    async (mock, env) => {
      const { child, done } = start(['exec', '-i', 'mock', 'cat'], { env, keepStdin: true });
      const result = await done;
      child.stdin.destroy();
      assert.equal(result.status, 125);
      assert.match(result.err, /no such thing/);
    },
  ));

test('the document is the first line of the body and stdin follows verbatim', () => {
  const input = Buffer.concat([Buffer.from([0, 10, 13, 255]), Buffer.alloc(3 << 20, 'x')]);
  const seen = {};
  return execWith(
    (request, response) => {
      const chunks = [];
      seen.headers = request.headers;
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        seen.body = Buffer.concat(chunks);
        stream(response).end(exit(0));
      });
    },
    async (mock, env) => {
      const args = ['exec', '-i', '-e', 'A=b=c', '-w', '/tmp', '-s', 'one', '--timeout', '90s', 'mock', '--', 'cat', '-'];
      const result = await berm(args, { env, input });
      assert.equal(result.status, 0, result.err);
      const end = seen.body.indexOf(10);
      assert.deepEqual(JSON.parse(seen.body.subarray(0, end).toString()), {
        argv: ['cat', '-'], cwd: '/tmp', env: { A: 'b=c' }, timeout_ms: 90000,
      });
      assert.ok(seen.body.subarray(end + 1).equals(input));
      assert.equal(seen.headers['content-type'], 'application/x-berm-exec');
      assert.equal(seen.headers['session-id'], 'one');
      assert.equal(seen.headers.expect, undefined);
    },
  );
});

test('input and output flow at the same time', () =>
  execWith(
    (request, response) => {
      let head = true;
      stream(response);
      request.on('data', (chunk) => {
        const data = head ? chunk.subarray(chunk.indexOf(10) + 1) : chunk;
        head = false;
        if (data.length) response.write(output(data));
      });
      request.on('end', () => response.end(exit(0)));
    },
    async (mock, env) => {
      const { child, done } = start(['exec', '-i', 'mock', 'cat'], { env, keepStdin: true });
      for (const line of ['one\n', 'two\n', 'three\n']) {
        child.stdin.write(line);
        const [chunk] = await once(child.stdout, 'data');
        assert.equal(chunk.toString(), line);
      }
      child.stdin.end();
      assert.equal((await done).status, 0);
    },
  ));

for (const [signal, when] of [['SIGINT', 'runs'], ['SIGTERM', 'runs'], ['SIGINT', 'is created']]) {
  test(`${signal} while the sandbox ${when} removes it and then ends berm`, async () => {
    let reached;
    const started = new Promise((resolve) => { reached = resolve; });
    const normal = withExec((request, response) => {
      request.resume();
      stream(response).write(output('running'));
      reached();
    });
    const handler = (request, response) => {
      if (when === 'is created' && request.method === 'PUT') return reached();
      return normal(request, response);
    };
    await withMock(handler, async (mock, env) => {
      const { child, done } = start(['run', 'sleep', '100'], { env });
      await started;
      child.kill(signal);
      const result = await done;
      assert.equal(result.signal, signal);
      const last = mock.requests.at(-1);
      assert.equal(`${last.method} ${last.url}`, 'DELETE /v1/sandbox/mock');
    });
  });
}

test('a signal while the output is stuck in a full pipe still ends berm', () => {
  let isStuck;
  const stuck = new Promise((resolve) => { isStuck = resolve; });
  return execWith(
    (request, response) => {
      request.resume();
      stream(response);
      const piece = output('y'.repeat(60000));
      let timer;
      const more = () => {
        clearTimeout(timer);
        while (!response.destroyed && response.write(piece));
        timer = setTimeout(isStuck, 200); /* nobody took anything for this long: every buffer on the way is full */
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    },
    async (mock, env) => {
      const { child, done } = start(['run', 'yes'], { env });
      await once(child.stdout, 'data');
      child.stdout.pause();
      await stuck;
      child.kill('SIGINT');
      child.stdout.resume();
      assert.equal((await done).signal, 'SIGINT');
      assert.equal(mock.requests.at(-1).method, 'DELETE');
    },
  );
});

test('run removes the sandbox when the command fails to start and when berm is refused', () =>
  execWith(
    (request, response) => {
      request.resume();
      json(response, 502, { error: 'pool is broken', code: 'pool_error', context: {} });
    },
    async (mock, env) => {
      const result = await berm(['run', 'true'], { env });
      assert.equal(result.status, 125);
      assert.match(result.err, /pool is broken/);
      assert.equal(mock.requests.at(-1).method, 'DELETE');
    },
  ));

test('run does not touch a sandbox that was there before', () =>
  withMock(
    (request, response) => json(response, 200, { id: 'mine', state: 'running' }),
    async (mock, env) => {
      const result = await berm(['run', '--id', 'mine', 'true'], { env });
      assert.equal(result.status, 125);
      assert.deepEqual(mock.requests.map((r) => r.method), ['GET']);
    },
  ));

test('a reader that went away ends berm quietly with 141', () =>
  execWith(
    (request, response) => {
      request.resume();
      stream(response).write(output('a line\n'));
      const timer = setInterval(() => response.write(output('a line\n')), 5);
      response.on('close', () => clearInterval(timer));
    },
    async (mock, env) => {
      const { child, done } = start(['exec', 'mock', 'yes'], { env });
      await once(child.stdout, 'data');
      child.stdout.destroy();
      const result = await done;
      assert.equal(result.status, 141);
      assert.equal(result.err, '');
    },
  ));

test('nobody listening is explained', async () => {
  const mock = await startMock(() => {});
  await mock.close();
  const run = await berm(['run', 'true'], { env: { BERM_URL: mock.url } });
  assert.equal(run.status, 125);
  assert.match(run.err, /cannot reach .*\nis bermd running\? try: make run/);
  const ls = await berm(['ls'], { env: { BERM_URL: mock.url } });
  assert.equal(ls.status, 1);
});

test('the key goes as a bearer token, from the environment or a file, and a wrong one is explained', () =>
  withMock(
    (request, response) => json(response, 401, { error: 'Unauthorized', code: 'unauthorized', context: {} }),
    async (mock, env) => {
      const result = await berm(['ls'], { env: { ...env, BERM_API_KEY: 'secret' } });
      assert.equal(mock.requests[0].headers.authorization, 'Bearer secret');
      assert.equal(result.status, 1);
      assert.match(result.err, /Unauthorized\nset BERM_API_KEY/);
      const file = path.join(directory, 'key');
      await fs.writeFile(file, 'from-file\n');
      await berm(['ls', '--api-key-file', file], { env });
      assert.equal(mock.requests[1].headers.authorization, 'Bearer from-file');
      const injected = await berm(['ls'], { env: { ...env, BERM_API_KEY: 'a\nX-Evil: 1' } });
      assert.equal(injected.status, 1);
      assert.equal(mock.requests.length, 2);
    },
  ));

test('a redirect is not followed, so the key stays with its daemon', () =>
  withMock(
    (request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    async (mock, env) => {
      const result = await berm(['ls'], { env });
      assert.equal(result.status, 1);
      assert.match(result.err, /answered 302/);
      assert.equal(mock.requests.length, 1);
    },
  ));

test('a proxy of the environment stands before other machines, not before the own one', () =>
  withMock(
    (request, response) => json(response, 200, { sandboxes: [], cursor: null }),
    async (mock) => {
      const env = { http_proxy: mock.url };
      assert.equal((await berm(['ls', '--url', 'http://sandboxes.example/base/'], { env })).status, 0);
      assert.equal(mock.requests[0].url, 'http://sandboxes.example/base/v1/sandboxes');
      assert.equal((await berm(['ls', '--url', 'http://127.0.0.1:1'], { env })).status, 1);
      assert.equal(mock.requests.length, 1);
    },
  ));

test('https is only spoken to who proves to be the daemon', async () => {
  const key = path.join(directory, 'tls-key');
  const certificate = path.join(directory, 'tls-certificate');
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1',
    '-keyout', key, '-out', certificate, '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
  const options = { key: await fs.readFile(key), cert: await fs.readFile(certificate) };
  let asked = 0;
  const server = https.createServer(options, (request, response) => {
    asked++;
    json(response, 200, { sandboxes: [], cursor: null });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `https://localhost:${server.address().port}`;
  const stranger = await berm(['ls'], { env: { BERM_URL: url, BERM_API_KEY: 'secret' } });
  assert.equal(stranger.status, 1);
  assert.match(stranger.err, /certificate/);
  assert.equal(asked, 0);
  const trusted = await berm(['ls', '--url', url, '--ca-file', certificate]);
  assert.equal(trusted.status, 0, trusted.err);
  assert.equal(asked, 1);
  const misnamed = await berm(['ls', '--url', url.replace('localhost', '127.0.0.1')], { env: { BERM_CA_FILE: certificate } });
  assert.equal(misnamed.status, 1);
  assert.equal(asked, 1);
  server.closeAllConnections();
  server.close();
});

test('all pages are listed, as a table, as ids and as one JSON document', () => {
  const page = (ids, cursor) => ({
    sandboxes: ids.map((id) => ({ id, state: 'running', image: 'base', generation: 1, labels: { a: 'b\u001b' }, name: `Name of ${id}\u001b[1m` })), cursor,
  });
  return withMock(
    (request, response) => json(response, 200,
      request.url.includes('cursor=two%2Fx') ? page(['c'], null) : page(['a', 'b'], 'two/x')),
    async (mock, env) => {
      const table = await berm(['ls', '--label', 'x=y'], { env });
      assert.match(table.out, /^ID +NAME +STATE/);
      assert.match(table.out, /^a +Name of a\?\[1m +running/m);
      assert.match(table.out, /a=b\?/);
      assert.equal(table.out.trim().split('\n').length, 4);
      assert.equal(mock.requests[0].url, '/v1/sandboxes?label=x%3Dy');
      assert.equal(mock.requests[1].url, '/v1/sandboxes?label=x%3Dy&cursor=two%2Fx');
      assert.equal((await berm(['ls', '-q'], { env })).out, 'a\nb\nc\n');
      const listed = JSON.parse((await berm(['ls', '--json'], { env })).out);
      assert.deepEqual(listed.sandboxes.map((s) => s.id), ['a', 'b', 'c']);
    },
  );
});

test('wrong calls are explained and end with 2, or 125 where a command has the other statuses', async () => {
  const calls = [
    [[], 2], [['frobnicate'], 2], [['ls', 'extra'], 2], [['ls', '--nonsense'], 2], [['inspect'], 2],
    [['rm'], 2], [['rm', '--all', 'x'], 2], [['cp', 'a', 'b'], 2], [['cp', 'a:x', 'b:y'], 2], [['image'], 2],
    [['create', '--memory', 'lots'], 2], [['run'], 125], [['run', '--cpus', '-1', 'true'], 125], [['exec', 'a'], 125],
    [['exec', '-e', 'BERM_SURELY_NOT_SET', 'a', 'b'], 125],
  ];
  for (const [args, status] of calls) {
    const result = await berm(args, { env: { BERM_URL: 'http://127.0.0.1:1' } });
    assert.equal(result.status, status, `berm ${args.join(' ')}: ${result.err}`);
  }
});

test('an id that is none is refused before anything is sent', () =>
  withMock(
    (request, response) => json(response, 200, {}),
    async (mock, env) => {
      for (const id of ['..', 'UPPER', 'a/b', 'x'.repeat(129)]) {
        const result = await berm(['inspect', id], { env });
        assert.equal(result.status, 1);
        assert.match(result.err, /is not a sandbox id/);
      }
      assert.equal(mock.requests.length, 0);
    },
  ));

test('help and version need no daemon', async () => {
  const env = { BERM_URL: 'http://127.0.0.1:1' };
  assert.match((await berm(['version'], { env })).out, /^berm \d/);
  const verbs = (await berm(['help', '--list'], { env })).out.trim().split('\n');
  assert.ok(verbs.includes('image build'));
  for (const verb of verbs) {
    const result = await berm(['help', ...verb.split(' ')], { env });
    assert.equal(result.status, 0);
    assert.match(result.out, new RegExp(`^usage: berm ${verb}`));
    assert.equal((await berm([...verb.split(' '), '--help'], { env })).status, 0);
  }
});

test('completion knows the verbs, their options, and the sandboxes that there are', () =>
  withMock(
    (request, response) => json(response, 200, { sandboxes: [{ id: 'alpha', state: 'running', labels: {} }], cursor: null }),
    async (mock, env) => {
      const script = `source ${root}/src/cli/completion/berm.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _berm 2>/dev/null; echo "\${COMPREPLY[*]}"`;
      const complete = (...words) =>
        execFile('bash', ['-c', script, 'bash', bermPath, ...words], { env: { ...process.env, ...env } }).then((r) => r.stdout.trim());
      assert.equal(await complete('ins'), 'inspect');
      assert.equal(await complete('im'), 'image');
      assert.equal(await complete('image', 'b'), 'build');
      assert.equal(await complete('image', 'build', '--rec'), '--recipe=');
      assert.equal(await complete('run', '--mem'), '--memory=');
      assert.equal(await complete('exec', 'a'), 'alpha');
      assert.equal(await complete('cp', 'a'), 'alpha:');
    },
  ));

test('completion runs nothing of what a daemon says', async () => {
  const made = path.join(directory, 'made-by-completion');
  const ids = ['alpha', `$(touch${'${IFS}'}${made})`, `\`touch ${made}\``, '$HOME'];
  await withMock(
    (request, response) => json(response, 200, { sandboxes: ids.map((id) => ({ id, state: 'running', labels: {} })), cursor: null }),
    async (mock, env) => {
      const script = `source ${root}/src/cli/completion/berm.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _berm 2>/dev/null; echo "\${COMPREPLY[*]}"`;
      const { stdout } = await execFile('bash', ['-c', script, 'bash', bermPath, 'exec', ''], { env: { ...process.env, ...env } });
      assert.equal(stdout, 'alpha\n');
    },
  );
  await assert.rejects(fs.access(made), { code: 'ENOENT' });
});
