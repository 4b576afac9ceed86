/* Interpreters that are prepared before anybody asks: what becomes of them is what a fresh one would be. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { test } from '../lib/test.mjs';
import { imagesDir } from '../lib/daemon.mjs';
import { World, whyNotHere } from './helper.mjs';

/* Counts in the sandbox without a program of its own that would be counted. */
const INTERPRETERS = `for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in */restore|*/python3*|*/node) d=\${exe%/exe}; echo \${d#/proc/};; esac; done`;

describe('spare interpreters', { skip: whyNotHere() }, () => {
  let world;
  before(async () => { world = await World.start(); });
  after(() => world?.stop());

  const exec = async (id, command) => {
    const done = await world.api.exec(id, command);
    assert.equal(done.code, 0, done.err);
    return done.out;
  };
  const interpreters = async (id) => (await exec(id, INTERPRETERS)).split('\n').filter(Boolean);
  const starts = async () => Object.fromEntries([...(await world.api.get('/metrics')).text
    .matchAll(/^berm_context_starts_total\{image="base",from="(\w+)"\} (\d+)$/gm)].map(([, from, count]) => [from, Number(count)]));
  /* Where the contexts came from that `make` makes. */
  const cameBy = async (make) => {
    const old = await starts();
    await make();
    return Object.entries(await starts()).filter(([from, count]) => count > (old[from] ?? 0)).map(([from]) => from);
  };
  /* The one interpreter that is no context's, once it waits for its first frame. */
  const spare = async (id, contexts = 1) => {
    for (let i = 0; i < 500; i++) {
      const all = await interpreters(id);
      if (all.length === contexts + 1) {
        const newest = all.sort((a, b) => a - b).at(-1);
        if ((await exec(id, `awk '/^State/ { print $2 }' /proc/${newest}/status`)).startsWith('S')) return newest;
      }
    }
    assert.fail('no spare came');
  };
  const value = async (context, code, id) => {
    const { results, error } = await world.run(context, code, {}, id);
    assert.equal(error, undefined, JSON.stringify(error));
    return results[0].json ?? results[0].text;
  };

  /* What an idle sandbox takes is what its processes have for themselves: pages of files are the image's, once for all. */
  test('an idle sandbox of an image with a snapshot is not larger than one of an image that has no interpreter', async (t) => {
    if (!fs.existsSync(path.join(imagesDir, 'names', 'minimal'))) return t.skip(`no image minimal in ${imagesDir}`);
    const bare = 'idlewithoutinterpreters';
    const made = await world.api.put(`/v1/sandbox/${bare}`, { image: 'minimal' });
    assert.equal(made.status, 201, made.text);
    const id = await world.sandbox();
    assert.equal(await exec(id, 'test -e /usr/lib/berm/python.snapshot && echo there'), 'there\n');
    const idle = `for p in /proc/[0-9]*; do [ "$p" = "/proc/$$" ] || while read -r key value _; do
      case $key in Name:|RssAnon:) printf '%s ' "$value";; esac; done <"$p/status"; done`;
    const read = async (of) => (await exec(of, idle)).trim().split(' ');
    const [with_, without] = [await read(id), await read(bare)];
    assert.deepEqual([with_.length, with_[0]], [2, without[0]], `processes: ${with_}`); // the agent alone
    assert.deepEqual(without.length, 2, `processes: ${without}`);
    /* An interpreter has two MiB for itself before it has done anything. */
    assert.ok(Number(with_[1]) < Number(without[1]) + 1024, `${with_[1]} and ${without[1]} KiB`);
  });

  for (const language of ['python', 'javascript'])
    test(`${language}: there is none before a context, one after it, and the next context is that one`, async () => {
      const id = await world.sandbox();
      assert.deepEqual(await interpreters(id), []);
      const first = await world.context({ language }, id);
      const waiting = await spare(id);
      assert.deepEqual(await cameBy(async () => {
        const second = await world.context({ language }, id);
        const pid = language === 'python' ? 'import os; [os.getpid()]' : '[process.pid]';
        assert.deepEqual(await value(second, pid, id), [Number(waiting)]);
        assert.notDeepEqual(await value(first, pid, id), [Number(waiting)]);
      }), ['spare']);
      await spare(id, 2);
    });

  test('a spare waits for the end of what runs, but not of what runs on and on', async () => {
    const id = await world.sandbox();
    const context = await world.context({}, id);
    const busy = world.run(context, 'import time\nwhile not __import__("os").path.exists("/tmp/end"): time.sleep(0.01)', {}, id);
    await spare(id);
    await exec(id, 'touch /tmp/end');
    assert.equal((await busy).error, undefined);
  });

  test('a package that was installed after the spare was made can be imported', async () => {
    const id = await world.sandbox();
    await world.context({}, id);
    await spare(id);
    await exec(id, 'd=$(python3 -c "import site; print(site.getsitepackages()[0])") && mkdir -p "$d/newly_made" && echo "answer = 42" >"$d/newly_made/__init__.py"');
    const context = await world.context({}, id);
    assert.deepEqual(await value(context, 'import newly_made; [newly_made.answer]', id), [42]);
    assert.deepEqual(await value(await world.context({}, id), 'import newly_made; [newly_made.answer]', id), [42]);
  });

  test('a spare that is killed costs nobody anything but the time for another one', async () => {
    const id = await world.sandbox();
    await world.context({}, id);
    for (let made = 1; made <= 3; made++) {
      await exec(id, `kill -9 ${await spare(id, made)}`);
      assert.deepEqual(await cameBy(async () => {
        const context = await world.context({}, id);
        assert.deepEqual(await value(context, '[1 + 1]', id), [2]);
        assert.equal(await value(context, 'import os; os.readlink("/proc/self/exe")', id), "'/usr/lib/berm/restore'");
      }), ['snapshot']);
    }
  });

  test('a spare that is stopped or ended by the request itself still leaves a context', async () => {
    const id = await world.sandbox();
    await world.context({ language: 'js' }, id);
    const waiting = await spare(id);
    /* It cannot tell of its death before it is told to go on, and by then it is a context's. */
    await exec(id, `kill -STOP ${waiting}`);
    const reply = world.context({ language: 'js' }, id);
    for (let i = 0; i < 20; i++) await exec(id, 'true');
    await exec(id, `kill -9 ${waiting}`);
    assert.deepEqual(await value(await reply, '[1 + 1]', id), [2]);
  });

  test('what the sandbox is told later reaches the next context', async () => {
    const id = await world.sandbox({ PYTHONHASHSEED: '7' });
    const hash = 'import os, sys; [hash("berm"), sys.flags.hash_randomization, os.environ["PYTHONHASHSEED"]]';
    const [first, ...more] = await value(await world.context({}, id), hash, id);
    assert.deepEqual(more, [1, '7']);
    await spare(id);
    assert.deepEqual(await value(await world.context({}, id), hash, id), [first, 1, '7']);
    let made = 2;
    for (const [env, code, told] of [
      [{ PYTHONHASHSEED: '0' }, 'import sys; [sys.flags.hash_randomization]', [0]],
      [{ PYTHONHASHSEED: null, PYTHONPATH: '/later' }, 'import sys; ["/later" in sys.path]', [true]],
      [{ PYTHONPATH: null, LD_LIBRARY_PATH: '/later' }, '[open("/proc/self/environ").read().split("\\0").count("LD_LIBRARY_PATH=/later")]', [1]],
      [{ LD_LIBRARY_PATH: null, HOME: '/later' }, 'import os, site; [os.path.expanduser("~"), site.getuserbase()]', ['/later', '/later/.local']],
      [{ HOME: null, OTHER: 'later' }, 'import os; [os.environ["OTHER"], os.environ.get("LD_LIBRARY_PATH")]', ['later', null]]]) {
      await spare(id, made++);
      const changed = await world.api.put(`/v1/sandbox/${id}`, { env });
      assert.ok(changed.status < 300, changed.text);
      assert.deepEqual(await value(await world.context({}, id), code, id), told, JSON.stringify(env));
    }
    await spare(id, made++);
    assert.equal(await value(await world.context({ language: 'js' }, id), 'process.title', id), "'node'");
    assert.ok((await world.api.put(`/v1/sandbox/${id}`, { env: { NODE_OPTIONS: '--title=later' } })).status < 300);
    assert.deepEqual(await value(await world.context({ language: 'js' }, id), '[process.title]', id), ['later']);
  });

  test('a context with variables that a program reads at its start gets no spare', async () => {
    const id = await world.sandbox();
    await world.context({}, id);
    await spare(id);
    for (const env_vars of [{ PYTHONHASHSEED: '1' }, { GLIBC_TUNABLES: 'glibc.malloc.check=1' }, { LD_BIND_NOW: '1' }, { OPENSSL_CONF: '/x' }])
      assert.deepEqual(await cameBy(() => world.context({ env_vars }, id)), ['cold'], JSON.stringify(env_vars));
    assert.deepEqual(await cameBy(() => world.context({ env_vars: { OWN: '1' } }, id)), ['spare']);
  });

  test('two contexts of spares share nothing and guess nothing of each other', async () => {
    const id = await world.sandbox();
    await world.context({}, id);
    const seen = new Set();
    for (let made = 1; made <= 3; made++) {
      await spare(id, made);
      const context = await world.context({ env_vars: { OWN: String(made) }, cwd: `/workspace/${made}` }, id);
      const [chance, numbers, own, cwd] = await value(context, 'import os, random, numpy; [random.random(), float(numpy.random.rand()), os.environ["OWN"], os.getcwd()]', id);
      assert.deepEqual([own, cwd], [String(made), `/workspace/${made}`]);
      seen.add(chance).add(numbers);
    }
    assert.equal(seen.size, 6);
  });
});
