/* E: the code interpreter. A context may start from memory that was prepared elsewhere: nothing may come along. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { imagesDir } from '../../e2e/lib/daemon.mjs';
import * as report from '../lib/report.mjs';
import { parse, reachedItems } from '../lib/verdict.mjs';

const skip = fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : 'no image base';

async function call(sandbox, method, rest, body) {
  const response = await fetch(`${sandbox.base}/container/${rest}`, { method, body: body && JSON.stringify(body) });
  assert.equal(response.status, 200, await response.clone().text());
  return response;
}

async function context(sandbox, options = {}) {
  return (await (await call(sandbox, 'POST', 'api/contexts', { language: 'python', ...options })).json()).contextId;
}

/* What the code's last expression is, a JSON value. */
async function run(sandbox, id, code) {
  const text = await (await call(sandbox, 'POST', 'api/execute/code', { context_id: id, code })).text();
  const events = text.split('\n\n').filter((block) => block.startsWith('data: ')).map((block) => JSON.parse(block.slice(6)));
  const error = events.find(({ type }) => type === 'error');
  assert.equal(error, undefined, JSON.stringify(error));
  return events.find(({ type }) => type === 'result')?.json;
}

/* How often a text is in the memory of the interpreter. The text itself is nowhere in the search: only a pattern is. */
const scan = (text) => `
import re
pattern = re.compile(b"${[...text].map((c) => `[${c}]`).join('')}")
found = 0
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in maps:
        span, rights, *_ = line.split()
        if "r" not in rights or "[v" in line: continue
        start, end = (int(x, 16) for x in span.split("-"))
        while start < end:
            memory.seek(start)
            piece = memory.read(min(end - start, 1 << 22))
            if not piece: break
            found += len(pattern.findall(piece))
            start += len(piece)
[found]`;

const STATUS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'Uid', 'Gid', 'Groups'];

export function registerInterpreter(world) {
  test('E1-memory: a context holds nothing of another sandbox or of the daemon', { skip }, async () => {
    const [a, b] = [await world.sandbox({ image: 'base' }), await world.sandbox({ image: 'base' })];
    const secret = randomBytes(12).toString('hex');
    const canary = 'in the environment of the daemon';
    const first = await context(a, { env_vars: { SECRET: secret, PROOF: canary } });
    assert.ok((await run(a, first, scan(secret)))[0] > 0, 'the search finds what is there');
    assert.ok((await run(a, first, scan(canary)))[0] > 0, 'the search finds what is there');
    for (let i = 0; i < 3; i++) {
      const second = await context(b);
      assert.deepEqual(await run(b, second, scan(secret)), [0]);
      assert.deepEqual(await run(b, second, scan(canary)), [0]);
    }
    report.add({ id: 'E1-memory', items: 2, proven: 2, layers: ['contexts are processes of their sandbox'] });
  });

  test('E1-files: a context finds no file of another sandbox, by whatever way leads out of its own', { skip }, async () => {
    const [a, b] = [await world.sandbox({ image: 'base' }), await world.sandbox({ image: 'base' })];
    const name = `secret-${randomBytes(8).toString('hex')}`;
    const places = ['/workspace', '/tmp', '/dev/shm', '/root'];
    const written = await run(a, await context(a), `[open(p + "/${name}", "w").write("x") for p in ${JSON.stringify(places)}]`);
    assert.deepEqual(written, [1, 1, 1, 1]);
    const code = (sought) => `
import glob
roots = ["", *glob.glob("/proc/[0-9]*/root"), *glob.glob("/proc/[0-9]*/cwd"), "/proc/self/root/..", "/dev/fd/0/..", "/../.."]
[p for r in roots for d in ${JSON.stringify(places)} for p in glob.glob(r + d + "/${sought}") + glob.glob(r + "/*/${sought}")]`;
    assert.ok((await run(a, await context(a), code(name))).length >= 4, 'the search finds what is there');
    assert.deepEqual(await run(b, await context(b), code(name)), []);
    report.add({ id: 'E1-files', items: places.length, proven: places.length, layers: ['mount namespace', 'pid namespace'] });
  });

  test('E1-descriptors: an interpreter has its three and the channel, its programs have none of them', { skip }, async () => {
    const sandbox = await world.sandbox({ image: 'base' });
    const id = await context(sandbox);
    const own = await run(sandbox, id, 'import os\nd = os.open("/proc/self/fd", os.O_RDONLY)\nnames = sorted(int(n) for n in os.listdir(d))\nos.close(d)\n[n for n in names if n != d]');
    assert.deepEqual(own.slice(0, 4), [0, 1, 2, 3]);
    assert.ok(own.length <= 5, `more descriptors than its own: ${own}`); /* the directory of the listing */
    const [status, text] = await run(sandbox, id, `import subprocess\np = subprocess.run(["${sandbox.probePath}", "B1-inherited"], stdout=-1)\n[p.returncode, p.stdout.decode()]`);
    assert.equal(status, 1, text);
    assert.deepEqual(reachedItems(parse(status, text)), []);
    report.add({ id: 'E1-descriptors', items: own.length, layers: ['descriptors'] });
  });

  test('E1-rights: an interpreter has the rights of any process of its sandbox', { skip }, async () => {
    const sandbox = await world.sandbox({ image: 'base' });
    const of = (text) => Object.fromEntries(text.split('\n').map((line) => line.split(/:\s*/)).filter(([name]) => STATUS.includes(name)));
    const id = await context(sandbox);
    const [inside] = await run(sandbox, id, '[open("/proc/self/status").read()]');
    const [program] = await run(sandbox, id, 'import subprocess\n[subprocess.check_output(["cat", "/proc/self/status"]).decode()]');
    const shell = await sandbox.exec(['cat', '/proc/self/status']);
    assert.deepEqual(of(inside), of(shell.stdout));
    assert.deepEqual(of(program), of(shell.stdout));
    const [cgroup] = await run(sandbox, id, '[open("/proc/self/cgroup").read()]');
    assert.equal(cgroup, (await sandbox.exec(['cat', '/proc/self/cgroup'])).stdout);
    report.add({ id: 'E1-rights', items: STATUS.length + 1, layers: ['the agent\'s child'] });
  });

  test('E1-snapshot: what one sandbox does to its snapshot no other one sees', { skip }, async () => {
    const [a, b] = [await world.sandbox({ image: 'base' }), await world.sandbox({ image: 'base' })];
    const digest = async (sandbox) => (await sandbox.exec(['sh', '-c', 'sha256sum /usr/lib/berm/* /usr/bin/python3 2>/dev/null'])).stdout;
    const before = await digest(b);
    await a.exec(['sh', '-c', 'for f in /usr/lib/berm/* /usr/bin/python3.11; do dd if=/dev/urandom of=$f bs=4096 count=64 conv=notrunc; done']);
    assert.notEqual(await digest(a), before);
    assert.equal(await digest(b), before);
    assert.deepEqual(await run(b, await context(b), '[1 + 1]'), [2]);
    report.add({ id: 'E1-snapshot', items: 1, proven: 1, layers: ['overlay'] });
  });
}
