/*
 * Every command of the documentation is run. Of README.md and docs/*.md, the fenced blocks of the language `sh` are one
 * bash script per file, in order, against a daemon of this test's; a block `text` right behind one is what that one prints,
 * where `…` stands for anything. A block that cannot run in a test says why: ```sh needs=systemd
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Daemon, imagesDir, whyNoDaemon } from '../lib/daemon.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const build = path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build'));
const skip = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : `no image base in ${imagesDir}`);
const files = ['README.md', ...fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md')).sort().map((name) => `docs/${name}`)];

/* [{line, needs, script, output}] */
function blocksOf(file) {
  const blocks = [];
  let open;
  for (const [i, line] of fs.readFileSync(path.join(root, file), 'utf8').split('\n').entries()) {
    const fence = /^```(\S*)\s*(.*)$/.exec(line);
    if (!fence) {
      open?.lines.push(line);
      if (!open && line.trim() !== '') blocks.push({ language: 'prose' });
    } else if (open) {
      blocks.push(open);
      open = undefined;
    } else {
      open = { language: fence[1], needs: /^needs=(.+)$/.exec(fence[2])?.[1], line: i + 1, lines: [] };
    }
  }
  assert.equal(open, undefined, `${file}: a block is not closed`);
  return blocks.flatMap((block, i) => block.language !== 'sh' ? [] : [{
    line: block.line,
    needs: block.needs,
    script: block.lines.join('\n'),
    output: blocks[i + 1]?.language === 'text' ? blocks[i + 1].lines.join('\n') : undefined,
  }]);
}

let top;

before(() => {
  /* The place where the reader stands: the source tree, built. */
  top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-docs-'));
  for (const name of fs.readdirSync(root)) if (!name.startsWith('build') && name !== '.git') fs.symlinkSync(path.join(root, name), path.join(top, name));
  fs.symlinkSync(build, path.join(top, 'build'));
});

after(() => fs.rmSync(top, { recursive: true }));

async function withDaemon(use) {
  const daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
  try {
    return await use(daemon);
  } finally {
    await daemon.stop();
  }
}

/* What each block printed, up to the one that failed. */
async function run(blocks, daemon) {
  const script = ['set -euo pipefail', ...blocks.map((block, i) => `printf '\\n#block ${i}\\n'\n${block.script}`)].join('\n');
  const child = spawn('bash', ['-c', script.replaceAll('127.0.0.1:8787', `127.0.0.1:${daemon.port}`)], {
    cwd: top,
    env: { ...process.env, PATH: `${build}:${process.env.PATH}`, BERM_URL: daemon.url, BERM_IMAGES: imagesDir, TMPDIR: top },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '', err = '';
  child.stdout.on('data', (piece) => (out += piece));
  child.stderr.on('data', (piece) => (err += piece));
  const [status] = await once(child, 'close');
  return { status, err, printed: out.split(/\n#block \d+\n/).slice(1) };
}

const like = (pattern) => new RegExp(`^${pattern.trim().split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]*?')}$`);

for (const file of files) {
  const blocks = blocksOf(file);
  if (blocks.length === 0) continue;
  test(file, { skip }, async (t) => {
    const wanted = blocks.filter((block) => !block.needs);
    const { status, err, printed } = await withDaemon((daemon) => run(wanted, daemon));
    for (const [i, block] of wanted.entries()) {
      if (i >= printed.length) break;
      await t.test(`line ${block.line}`, () => {
        assert.ok(status === 0 || i < printed.length - 1, `status ${status}\n${printed[i]}\n${err.slice(-2000)}`);
        if (block.output !== undefined) assert.match(printed[i].trim(), like(block.output));
      });
    }
    for (const block of blocks.filter((one) => one.needs)) await t.test(`line ${block.line}`, { skip: `needs ${block.needs}` }, () => {});
    assert.equal(status, 0);
  });
}

test('every metric that the documentation and the dashboard name is one of the daemon', { skip }, async () => {
  const metrics = await withDaemon(async (daemon) => (await fetch(`${daemon.url}/metrics`)).text());
  const there = new Set([...metrics.matchAll(/^# TYPE (\S+) (\S+)/gm)].flatMap(([, name, type]) =>
    type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name]));
  let named = 0;
  for (const file of ['docs/operations.md', 'dist/grafana-dashboard.json'])
    for (const [name] of fs.readFileSync(path.join(root, file), 'utf8').matchAll(/\bberm_[a-z_]+[a-z]\b/g)) {
      assert.ok(there.has(name), `${file}: ${name}`);
      named++;
    }
  assert.ok(named > 20);
});

test('the reference is what the OpenAPI document says', () => {
  const written = execFileSync(process.execPath, [path.join(root, 'scripts/reference.mjs')], { encoding: 'utf8' });
  assert.equal(fs.readFileSync(path.join(root, 'docs/reference.md'), 'utf8'), written, 'scripts/node scripts/reference.mjs >docs/reference.md');
});

test('every link inside the documentation leads to a file', () => {
  for (const file of files)
    for (const [, target] of fs.readFileSync(path.join(root, file), 'utf8').matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g))
      assert.ok(fs.existsSync(path.join(root, path.dirname(file), target)), `${file}: ${target}`);
});
