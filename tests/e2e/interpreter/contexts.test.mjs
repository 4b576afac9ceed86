/* Code contexts: their life, their isolation, and what their code can do to others. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { test } from '../lib/test.mjs';
import { Api } from '../lib/api.mjs';
import { World, whyNotHere } from './helper.mjs';
import { image, until } from '../lib/daemon.mjs';

const skip = whyNotHere();
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('code contexts', { skip }, () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());

  const stats = async () => (await world.api.exec(world.id, 'true')) && (await world.contexts()).json.contexts.length;

  test('a context is created, listed and deleted', async () => {
    const reply = await world.api.post(world.url('api/contexts'), { language: 'python', cwd: '/workspace' });
    const { contextId, timestamp, ...more } = reply.json;
    assert.match(contextId, UUID);
    assert.match(timestamp, /^\d{4}-.*Z$/);
    assert.deepEqual(more, { success: true, language: 'python', cwd: '/workspace' });
    const second = await world.context({ language: 'javascript' });
    assert.deepEqual((await world.contexts()).json.contexts, [
      { id: contextId, language: 'python', cwd: '/workspace' }, { id: second, language: 'javascript', cwd: '/workspace' }]);
    const gone = await world.remove(contextId);
    assert.deepEqual([gone.status, gone.json.success, gone.json.contextId], [200, true, contextId]);
    assert.deepEqual((await world.contexts()).json.contexts.map(({ id }) => id), [second]);
    await world.remove(second);
  });

  test('the health route answers', async () => {
    const { timestamp, ...health } = (await world.api.get(world.url('api/interpreter/health'))).json;
    assert.deepEqual(health, { success: true, status: 'healthy' });
    assert.ok(timestamp);
  });

  test('languages have many names, and an unknown one is Python', async () => {
    const created = await Promise.all(['JavaScript', 'js', 'NODE', 'ts', 'python3', 'cobol'].map((language) =>
      world.api.post(world.url('api/contexts'), { language })));
    assert.deepEqual(created.map(({ json }) => json.language), ['javascript', 'javascript', 'javascript', 'typescript', 'python', 'python']);
    const removed = await Promise.all(created.map(({ json }) => world.remove(json.contextId)));
    assert.ok(removed.every(({ status }) => status === 200));
  });

  test('an unknown context is a 404 in both layouts of errors', async () => {
    const reply = await world.execute('nope', '1');
    assert.equal(reply.status, 404);
    assert.equal(reply.json.code, 'CONTEXT_NOT_FOUND');
    assert.deepEqual([reply.json.details, reply.json.context], [{ contextId: 'nope' }, { contextId: 'nope' }]);
    assert.equal(reply.json.error, reply.json.message);
    assert.equal((await world.api.post(world.url('api/execute/code'), { code: '1' })).status, 404);
    const removed = await world.remove('nope');
    assert.deepEqual([removed.status, removed.json.code, removed.json.context], [404, 'CONTEXT_NOT_FOUND', { contextId: 'nope' }]);
    assert.equal((await world.interrupt('nope')).status, 404);
  });

  test('what is wrong with a request names its field', async () => {
    for (const [route, body, field] of [['contexts', { language: 5 }, 'language'], ['contexts', { cwd: [] }, 'cwd'], ['contexts', { env_vars: 'x' }, 'env_vars'],
      ['contexts', { env_vars: { A: 1 } }, 'env_vars'], ['contexts', { env_vars: { 'A=': '1' } }, 'env_vars'], ['execute/code', { context_id: 5, code: '1' }, 'context_id'],
      ['execute/code', { context_id: 'x', code: 5 }, 'code'], ['execute/code', { context_id: 'x', code: '1', language: {} }, 'language'],
      ['execute/code', { context_id: 'x', code: '1', timeout_ms: '5' }, 'timeout_ms']]) {
      const { status, json } = await world.api.post(world.url(`api/${route}`), body);
      assert.deepEqual([status, json.code, json.context.validationErrors[0].field], [400, 'VALIDATION_FAILED', field], JSON.stringify(body));
    }
  });

  test('every execution that ends well is the first, as upstream counts', async () => {
    const context = await world.context();
    for (let i = 0; i < 2; i++) assert.equal((await world.run(context, 'None')).count, 1);
    await world.remove(context);
  });

  test('code of another language is refused with both of its details', async () => {
    const context = await world.context();
    const reply = await world.execute(context, '1', { language: 'js' });
    assert.deepEqual([reply.status, reply.json.code, reply.json.details.contextId], [500, 'CODE_EXECUTION_ERROR', context]);
    assert.match(reply.json.details.evalue, /python code, not js/);
    assert.equal((await world.execute(context, '1', { language: 'Python3' })).status, 200);
    await world.remove(context);
  });

  test('directory and variables of a context are its own', async () => {
    const options = { cwd: '/workspace/own dir', env_vars: { OWN: 'é=1', HOME: '/tmp', PYTHONPATH: '/workspace/lib' } };
    await world.api.exec(world.id, 'mkdir -p /workspace/lib && echo y=7 >/workspace/lib/x.py');
    const python = await world.context({ ...options });
    const here = 'import os, x; [os.getcwd(), os.environ["OWN"], os.environ["HOME"], x.y]';
    assert.deepEqual((await world.run(python, here)).results, [{ json: ['/workspace/own dir', 'é=1', '/tmp', 7] }]);
    const node = await world.context({ language: 'js', ...options });
    assert.deepEqual((await world.run(node, '[process.cwd(), process.env.OWN, __dirname]')).results,
      [{ json: ['/workspace/own dir', 'é=1', '/workspace/own dir'] }]);
    const plain = await world.context({ language: 'js' });
    assert.deepEqual((await world.run(plain, '[process.cwd(), typeof process.env.OWN]')).results, [{ json: ['/workspace', 'undefined'] }]);
    assert.equal((await world.api.post(world.url('api/contexts'), { env_vars: { '': 'x' } })).status, 400);
    await Promise.all([python, node, plain].map((id) => world.remove(id)));
  });

  test('contexts share no names, files they do', async () => {
    const [a, b, js] = await Promise.all([world.context(), world.context(), world.context({ language: 'js' })]);
    await world.run(a, 'secret = 1; _ = open("/workspace/shared.txt", "w").write("from a")');
    assert.equal((await world.run(b, 'secret')).error.ename, 'NameError');
    assert.deepEqual((await world.run(js, 'require("fs").readFileSync("shared.txt", "utf8")')).results, [{ text: "'from a'" }]);
    await Promise.all([a, b, js].map((id) => world.remove(id)));
  });

  test('eleven contexts at once share no state, whatever they set', async () => {
    const languages = Array.from({ length: 11 }, (_, i) => ['python', 'javascript', 'typescript'][i % 3]);
    const made = await Promise.all(languages.map((language) => world.context({ language })));
    await Promise.all(made.map((id, i) => world.run(id, languages[i] === 'python' ? `import builtins, os, sys
mine = ${i}; builtins.mine_too = ${i}; os.environ["MINE"] = "${i}"; sys.path.append("/mine/${i}"); os.chdir("/"); os.makedirs("/tmp/${i}"); os.chdir("/tmp/${i}")`
      : `let mine = ${i}; globalThis.mineToo = ${i}; process.env.MINE = "${i}"; Object.defineProperty(Object.prototype, "mine${i}", { value: 1 }); require("fs").mkdirSync("/tmp/${i}"); process.chdir("/tmp/${i}")`)));
    const told = await Promise.all(made.map((id, i) => world.run(id, languages[i] === 'python'
      ? '[mine, mine_too, os.environ["MINE"], [p for p in sys.path if p.startswith("/mine")], os.getcwd()]'
      : '[mine, mineToo, process.env.MINE, Object.getOwnPropertyNames(Object.prototype).filter((n) => n.startsWith("mine")), process.cwd()]')));
    assert.deepEqual(told.map(({ results, error }) => results[0]?.json ?? error), languages.map((language, i) => [i, i, String(i), [language === 'python' ? `/mine/${i}` : `mine${i}`], `/tmp/${i}`]));
    await Promise.all(made.map((id) => world.remove(id)));
  });

  test('executions of one context run one after the other, those of several beside each other', async () => {
    const a = await world.context({ language: 'js' });
    const b = await world.context({ language: 'js' });
    await world.run(a, 'let n = 0');
    const streams = [await world.stream(a, 'await new Promise((done) => setTimeout(done, 300)); n += 1; n')];
    for (let i = 0; i < 3; i++) streams.push(await world.stream(a, 'n += 1; n'));
    assert.deepEqual((await world.run(b, '"beside"')).results, [{ text: "'beside'" }]);
    const told = await Promise.all(streams.map((stream) => stream.rest()));
    assert.deepEqual(told.map(({ results }) => results[0].text), ['1', '2', '3', '4']);
    await Promise.all([a, b].map((id) => world.remove(id)));
  });

  test('an execution whose client leaves while it waits never runs', async () => {
    const context = await world.context({ language: 'js' });
    const first = await world.stream(context, 'console.log("go"); while (!require("fs").existsSync("/tmp/has-left")) await new Promise((done) => setTimeout(done, 10))');
    await first.next();
    const second = await world.stream(context, 'globalThis.ran = true');
    second.request.destroy();
    const other = await world.context({ language: 'js' }); // asked for after that, by the same ways
    await world.run(other, 'require("fs").writeFileSync("/tmp/has-left", "")');
    await first.rest();
    await world.remove(other);
    assert.deepEqual((await world.run(context, 'typeof ran')).results, [{ text: "'undefined'" }]);
    await world.remove(context);
  });

  test('deleting a context ends what runs in it', async () => {
    const context = await world.context();
    const stream = await world.stream(context, 'print("started")\nwhile True: pass');
    await stream.next();
    const queued = await world.stream(context, '1');
    await world.remove(context);
    assert.equal((await stream.rest()).error.ename, 'ContextDeleted');
    assert.equal((await queued.rest()).error.ename, 'ContextDeleted');
  });

  test('many contexts can be made at once', async () => {
    const made = await Promise.all(Array.from({ length: 12 }, (_, i) => world.context({ language: i % 2 ? 'js' : 'py' })));
    const answers = await Promise.all(made.map((id, i) => world.run(id, String(i))));
    assert.deepEqual(answers.map(({ results }) => results[0].text), made.map((_, i) => String(i)));
    assert.equal(await stats(), 12);
    await Promise.all(made.map((id) => world.remove(id)));
    assert.equal(await stats(), 0);
  });

  for (const [what, code, pattern] of [
    ['exits', 'import os; os._exit(4)', /exited with code 4/], ['is killed', 'import os; os.kill(os.getpid(), 9)', /killed by signal 9/],
    ['closes all descriptors', 'import os; os.closerange(3, 100)', /channel|exited with code 1/],
    ['writes to the channel', 'import os; os.write(3, b"\\xff" * 64)', /channel/],
    ['sends frames of its own', 'import os; os.write(3, b"\\x03\\0\\0\\0r[]" + b"\\x03\\0\\0\\0P{}")', /channel/]])
    test(`an interpreter that ${what} ends its execution with an error, and those behind it`, async () => {
      const context = await world.context();
      const stream = await world.stream(context, `import time\nprint("before")\ntime.sleep(0.3)\n${code}`);
      assert.deepEqual(await stream.next(), { type: 'stdout', text: 'before\n' });
      const [first, second] = await Promise.all([stream.rest(), world.run(context, '1')]);
      assert.equal(first.error?.ename, 'InterpreterDied', JSON.stringify(first.events));
      assert.match(first.error.evalue, pattern);
      assert.equal(second.error.ename, 'InterpreterDied');
      assert.doesNotMatch(first.error.evalue, /not ready|initializing/);
      const later = await world.execute(context, '1');
      assert.deepEqual([later.status, later.json.code, later.json.details], [500, 'INTERNAL_ERROR', { contextId: context }]);
      assert.ok((await world.contexts()).json.contexts.some(({ id }) => id === context), 'it stays listed');
      await world.remove(context);
    });

  test('a child that keeps the output open does not hold up the end', async () => {
    const context = await world.context();
    const { error } = await world.run(context, 'import os, subprocess\nsubprocess.Popen(["sleep", "60"])\nos._exit(1)');
    assert.equal(error.ename, 'InterpreterDied');
    await world.remove(context);
  });

  test('a client that does not read holds up its code and nobody\'s memory', async () => {
    const context = await world.context();
    const stream = await world.stream(context, 'for _ in range(1 << 14): print("x" * 65535)'); // 1 GB
    stream.response.pause();
    const resident = async () => Number((await world.api.exec(world.id, "awk '/VmRSS/ { print $2 }' /proc/1/status")).out);
    const before = await resident();
    for (let i = 0; i < 10; i++) await world.api.exec(world.id, 'sleep 0.05');
    assert.ok(await resident() - before < 8192, 'the agent grows');
    stream.request.destroy();
    assert.deepEqual((await world.run(context, '1')).results, [{ text: '1' }]);
    await world.remove(context);
  });
});

describe('code contexts and the daemon', { skip }, () => {
  test('contexts live on when the daemon is killed and comes back', async () => {
    const world = await World.start();
    try {
      const [python, node] = [await world.context(), await world.context({ language: 'js' })];
      await world.run(python, 'kept = 41');
      await world.run(node, 'const kept = 42');
      await world.daemon.end('SIGKILL');
      world.api.close();
      await world.daemon.start();
      world.api = new Api(world.daemon);
      assert.deepEqual((await world.contexts()).json.contexts.map(({ id }) => id), [python, node]);
      assert.deepEqual((await world.run(python, 'kept')).results, [{ text: '41' }]);
      assert.deepEqual((await world.run(node, 'kept')).results, [{ text: '42' }]);
    } finally {
      await world.stop();
    }
  });
});

describe('code contexts without an interpreter', { skip: skip ?? (image === 'minimal' ? undefined : 'no image minimal') }, () => {
  let world;
  before(async () => { world = await World.start({ image: 'minimal' }); });
  after(() => world?.stop());

  test('Python that is not there is said so', async () => {
    const reply = await world.api.post(world.url('api/contexts'), { language: 'python' });
    assert.deepEqual([reply.status, reply.json.code], [501, 'PYTHON_NOT_AVAILABLE']);
    assert.match(reply.json.message, /Python interpreter not available/);
    assert.match(reply.json.message, /-python/);
    assert.ok(reply.json.context.originalError);
    const node = await world.api.post(world.url('api/contexts'), { language: 'js' });
    assert.deepEqual([node.status, node.json.code], [500, 'INTERNAL_ERROR']);
    assert.deepEqual((await world.contexts()).json.contexts, []);
  });
});

describe('interpreters that do not start', { skip }, () => {
  test('one that takes longer than it may is ended, and its client is not asked to try again', async () => {
    const world = await World.start({ env: { INTERPRETER_SPAWN_TIMEOUT_MS: '300' } });
    try {
      const hung = 'printf "#!/bin/sh\\nexec sleep 1234\\n" >/usr/local/bin/python3 && chmod +x /usr/local/bin/python3';
      const done = await world.api.exec(world.id, hung);
      assert.equal(done.code, 0, done.err);
      const reply = await world.api.post(world.url('api/contexts'), { language: 'python', env_vars: { PYTHONHASHSEED: '0' } });
      assert.deepEqual([reply.status, reply.json.code], [500, 'INTERNAL_ERROR']);
      assert.match(reply.json.context.originalError, /did not start in time/);
      assert.doesNotMatch(reply.json.message, /not ready|initializing/); // the SDK would try again
      assert.deepEqual((await world.contexts()).json.contexts, []);
      const left = () => world.api.exec(world.id, 'pgrep -c -f "^sleep 1234" || true');
      await until('the process ends', async () => (await left()).out.trim() === '0');
    } finally {
      await world.stop();
    }
  });
});

describe('pools of interpreters', { skip }, () => {
  test('the variables of the pools are understood', async () => {
    const world = await World.start({ env: { JAVASCRIPT_POOL_MAX_SIZE: '2', INTERPRETER_EXECUTION_TIMEOUT_MS: '200', JAVASCRIPT_POOL_MIN_SIZE: '2' } });
    try {
      const node = "pgrep -c -f '^node --no-warnings' || true";
      for (let i = 0; i < 200 && (await world.api.exec(world.id, node)).out.trim() !== '2'; i++);
      assert.equal((await world.api.exec(world.id, node)).out.trim(), '2');
      const first = await world.context({ language: 'js' });
      await world.context({ language: 'js' });
      const third = await world.api.post(world.url('api/contexts'), { language: 'js' });
      assert.deepEqual([third.status, third.json.code], [500, 'INTERNAL_ERROR']);
      assert.equal((await world.run(first, 'while (true) {}')).error.ename, 'TimeoutError');
      await world.remove(first);
      await world.context({ language: 'js' });
    } finally {
      await world.stop();
    }
  });
});
