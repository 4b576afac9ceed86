/* Python contexts that start from the image's snapshot: that they do, and that each is its own. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';
import { test } from '../lib/test.mjs';
import { World, whyNotHere } from './helper.mjs';

const EXE = 'import os; os.readlink("/proc/self/exe")';

/* FNV-1a of the kernel's text: what a snapshot was made of is in its header. */
function hashOfKernel() {
  let value = 0xcbf29ce484222325n;
  for (const name of ['charts.py', 'cells.py', 'kernel.py'])
    for (const byte of fs.readFileSync(new URL(`../../../kernels/python/${name}`, import.meta.url)))
      value = ((value ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return value;
}

const FROM_SNAPSHOT = [{ text: "'/usr/lib/berm/restore'" }];

describe('Python contexts from a snapshot', { skip: whyNotHere() }, () => {
  let world, old;
  before(async () => {
    world = await World.start();
    const head = Buffer.from((await world.api.exec(world.id, 'head -c 16 /usr/lib/berm/python.snapshot | base64')).out, 'base64');
    old = head.length < 16 || head.readBigUInt64LE(8) !== hashOfKernel();
    if (old && process.env.BERM_MUST_WORK === '1') throw new Error('the image base has no snapshot of this kernel');
  });
  after(() => world?.stop());

  const it = (name, run) => test(name, async (t) => {
    if (old) return t.skip('the image base has no snapshot of this kernel: scripts/images makes it anew');
    await run();
  });
  const from = async (options) => (await world.run(await world.context(options), EXE)).results;

  it('a context starts from the snapshot, with the modules there and nobody\'s names', async () => {
    const context = await world.context();
    assert.deepEqual((await world.run(context, EXE)).results, FROM_SNAPSHOT);
    assert.equal((await world.run(context, '1')).out, 'Out[2]: 1\n');
    assert.deepEqual((await world.run(context, 'import sys; [m in sys.modules for m in ("numpy", "pandas", "matplotlib.pyplot")]')).results,
      [{ json: [true, true, true] }]);
    const names = '[n for n in globals() if not n.startswith("_")]';
    assert.deepEqual((await world.run(context, names)).results, [{ json: ['In', 'Out', 'get_ipython', 'exit', 'quit', 'os', 'sys'] }]);
    assert.equal((await world.run(context, 'plt')).error.ename, 'NameError');
    assert.deepEqual((await world.run(context, 'list(Out), sys.argv, sys.executable, sys.path[0]')).results[0].text.includes("['-c'], '/usr/bin/python3', ''"), true);
  });

  it('what makes numbers and names by chance is new in each', async () => {
    const code = `
import random, numpy, uuid, tempfile, secrets, multiprocessing, ssl
[random.random(), float(numpy.random.rand()), str(uuid.uuid4()), str(uuid.uuid1()), next(tempfile._get_candidate_names()),
 secrets.token_hex(4), bytes(multiprocessing.current_process().authkey).hex(), ssl.RAND_bytes(8).hex()]`;
    const sandboxes = [world.id, await world.sandbox()];
    const told = [];
    for (const id of [...sandboxes, ...sandboxes])
      told.push((await world.run(await world.context({}, id), code, {}, id)).results[0].json);
    for (let i = 0; i < told[0].length; i++)
      assert.equal(new Set(told.map((values) => values[i])).size, 4, `value ${i}: ${told.map((values) => values[i])}`);
  });

  it('the first picture of a context is that of an interpreter that was started cold', async () => {
    const plot = 'import matplotlib.pyplot as plt\nplt.figure(figsize=(3.1, 2.3)); plt.plot([1, 2, 5], label="x"); plt.title("T"); plt.legend();';
    const pictures = async (env_vars) => {
      const context = await world.context({ env_vars });
      return [await world.run(context, plot), await world.run(context, plot)].map(({ results }) => results[0].png);
    };
    const [cold, again] = await pictures({ PYTHONHASHSEED: '0' });
    assert.equal(again, cold);
    assert.deepEqual(await pictures({}), [cold, cold]);
  });

  it('the process is one of the sandbox: ids, namespaces, descriptors, limits', async () => {
    const context = await world.context();
    const own = `import os; [os.getpid() > 1, os.getuid(), os.readlink("/proc/self/ns/pid") == os.readlink("/proc/1/ns/pid") if os.access("/proc/1/ns/pid", os.R_OK) else True,
      sorted(int(f) for f in os.listdir("/proc/self/fd"))[:4], open("/proc/self/comm").read(), open("/proc/self/status").read().split("Seccomp:")[1].split()[0]]`;
    const { results } = await world.run(context, own);
    assert.deepEqual(results, [{ json: [true, 0, true, [0, 1, 2, 3], 'python3\n', '2'] }]);
    const { out } = await world.run(context, '!cat /proc/self/cgroup; readlink /proc/self/ns/mnt');
    const shell = await world.api.exec(world.id, 'cat /proc/self/cgroup; readlink /proc/self/ns/mnt');
    assert.equal(out, shell.out);
  });

  it('the heap and the stack can grow, threads and processes can be started', async () => {
    const context = await world.context();
    const { results, error } = await world.run(context, `
import threading, subprocess, os, sys
data = [bytes(100) for _ in range(300000)]; del data
sys.setrecursionlimit(20000)
def deep(n): return n and 1 + deep(n - 1)
out = []
t = threading.Thread(target=lambda: out.append(deep(500))); t.start(); t.join()
pid = os.fork()
if pid == 0: os._exit(7)
[out[0], deep(3000), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), subprocess.check_output(["echo", "x"]).decode(), len(os.urandom(4))]`);
    assert.equal(error, undefined, JSON.stringify(error));
    assert.deepEqual(results, [{ json: [500, 3000, 7, 'x\n', 4] }]);
  });

  it('a variable that Python reads at its start gets an interpreter started cold', async () => {
    assert.deepEqual(await from({ env_vars: { OTHER: '1', TZ: 'Asia/Tokyo' } }), FROM_SNAPSHOT);
    for (const env_vars of [{ PYTHONHASHSEED: '0' }, { LD_LIBRARY_PATH: '/x' }, { HOME: '/tmp' }, { LANG: 'de_DE.UTF-8' }])
      assert.match((await from({ env_vars }))[0].text, /python3/, JSON.stringify(env_vars));
    const context = await world.context({ env_vars: { TZ: 'Asia/Tokyo' } });
    assert.deepEqual((await world.run(context, 'import time; time.tzname')).results, [{ text: "('JST', 'JST')" }]);
  });

  it('a hundred contexts at once all succeed and take little memory each', async () => {
    const id = await world.sandbox();
    const made = await Promise.all(Array.from({ length: 100 }, () => world.context({}, id)));
    const told = await Promise.all(made.map((context, i) => world.run(context, String(i), {}, id)));
    assert.deepEqual(told.map(({ results }) => results[0].text), made.map((_, i) => String(i)));
    const code = 'int(next(l for l in open("/proc/self/smaps_rollup") if l.startswith("Pss_Anon")).split()[1])';
    const kilobytes = Number((await world.run(made[0], code, {}, id)).results[0].text);
    if (!process.env.BERM_SANITIZED) assert.ok(kilobytes < 12 * 1024, `${kilobytes} KiB of its own`);
  });

  it('after a package was installed, and with a snapshot that does not fit, interpreters start cold', async () => {
    const id = await world.sandbox();
    await world.api.exec(id, 'mkdir -p "$(python3 -c "import site; print(site.getsitepackages()[0])")/newly_installed"');
    assert.match((await world.run(await world.context({}, id), EXE, {}, id)).results[0].text, /python3/);
    for (const damage of ['printf x | dd of=/usr/lib/berm/python.snapshot bs=1 seek=20 conv=notrunc', 'echo nothing >/usr/lib/berm/python.snapshot',
      'cp /bin/false /usr/lib/berm/restore', 'printf "#!/bin/sh\\nsleep 100" >/usr/lib/berm/restore']) {
      const other = await world.sandbox();
      const done = await world.api.exec(other, damage.includes('sleep') ? damage.replace('sleep 100', 'exec 3>&-; exit 9') : damage);
      assert.equal(done.code, 0, done.err);
      const context = await world.context({}, other);
      assert.match((await world.run(context, EXE, {}, other)).results[0].text, /python3/, damage);
      assert.match((await world.run(await world.context({}, other), EXE, {}, other)).results[0].text, /python3/);
    }
  });
});
