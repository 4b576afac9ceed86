/*
 * Every command of the documentation is run. Of README.md and docs/*.md, the fenced blocks of the language `sh` are one
 * bash script per file, in order, against a daemon of this test's; a block `text` right behind one is what that one prints,
 * where `…` stands for anything. A block that cannot run like that has a word for why, ```sh needs=systemd, of which
 * `apart` knows what is done with it instead; and each command of it is looked at: is there such a verb, flag, target, file?
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { blocksOf, build, files, root } from './blocks.mjs';
import { exportRootfs } from '../images/store.mjs';
import { Daemon, imagesDir, whyNoDaemon } from '../lib/daemon.mjs';
import { environmentIn, exampleIn, whyNoWrangler } from '../workers/wrangler.mjs';

const skip = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : `no image base in ${imagesDir}`);

let top;

before(() => {
  /* The place where the reader stands: the source tree, built. */
  top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-docs-'));
  for (const name of fs.readdirSync(root)) if (!name.startsWith('build') && name !== '.git') fs.symlinkSync(path.join(root, name), path.join(top, name));
  fs.symlinkSync(build, path.join(top, 'build'));
});

after(() => fs.rmSync(top, { recursive: true }));

const installed = () => Object.values(JSON.parse(execFileSync('meson', ['introspect', '--installed', build], { encoding: 'utf8' })));
const said = (program, ...args) => execFileSync(path.join(build, program), args, { encoding: 'utf8' });

/* What each program has to be told so that the command can be one: the words behind it are `args`. */
const looks = {
  berm(args) {
    const verbs = said('berm', 'help', '--list').split('\n').map((line) => line.split(/\s{2,}|\t/)[0]);
    const verb = [args.slice(0, 2).join(' '), args[0]].find((words) => verbs.includes(words));
    assert.ok(verb, `berm ${args.join(' ')}: no such verb`);
    const help = said('berm', 'help', ...verb.split(' '));
    for (const option of args.slice(0, args.indexOf('--') < 0 ? args.length : args.indexOf('--')).filter((arg) => arg.startsWith('--'))) assert.ok(help.includes(option), `berm ${verb} ${option}`);
  },
  bermd(args) {
    const help = said('bermd', '--help');
    for (const option of args.filter((arg) => arg.startsWith('--'))) assert.ok(help.includes(option), `bermd ${option}`);
  },
  make(args) {
    const makefile = fs.readFileSync(path.join(root, 'Makefile'), 'utf8');
    for (const arg of args) assert.match(makefile, arg.includes('=') ? new RegExp(`\\$\\(${arg.split('=')[0]}\\)`) : new RegExp(`^${arg}:`, 'm'), `make ${arg}`);
  },
  systemctl(args) {
    if (args[0] === 'daemon-reload') return;
    assert.ok(installed().some((file) => file.endsWith(`/systemd/system/${args.at(-1)}.service`)), args.at(-1));
  },
  sudo: ([program, ...args]) => (looks[program] ? looks[program](args) : assert.fail(program)),
  'systemd-sysusers': () => assert.ok(installed().some((file) => file.includes('/sysusers.d/'))),
};

function examine(block) {
  execFileSync('bash', ['-n'], { input: block.script });
  for (const command of block.script.replace(/\$\([^()]*(?:\([^()]*\)[^()]*)*\)/g, 'X').replace(/#.*$/gm, '').split(/\n|&&|\|\||[|;]|&(?=\s*$)/m)) {
    const words = command.trim().split(/\s+/).filter((word) => !/^[A-Z_]+=\S*$/.test(word) || /^make /.test(command.trim())).filter((word) => !/^[<>]/.test(word));
    if (words.length === 0 || words[0] === '') continue;
    if (looks[words[0]]) looks[words[0]](words.slice(1));
    else execFileSync('bash', ['-c', 'type -- "$1"', '_', words[0]]);
    for (const word of words.filter((one) => /^\/usr\/(?:local\/)?(?:share|libexec)\/berm\//.test(one))) assert.ok(installed().includes(word), word);
  }
}

/* `make run` as a reader runs it, on another port, until Ctrl-C. */
async function makeRun(block) {
  const data = fs.mkdtempSync(path.join(top, 'data of make run '));
  const child = spawn('bash', ['-c', `${block.script} ARGS="--listen 127.0.0.1:0 --log-format json --images '${imagesDir}' --data '${data}' --sandbox-image minimal"`],
    { cwd: top, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit'); /* not 'close': berm-spawn outlives bermd and has its standard error */
  try {
    let err = '';
    const address = await new Promise((resolve, reject) => {
      child.stderr.on('data', (piece) => {
        err += piece;
        const line = err.split('\n').find((one) => one.startsWith('{') && one.endsWith('}') && JSON.parse(one).event === 'listening');
        if (line) resolve(JSON.parse(line).address);
      });
      child.once('exit', (status) => reject(new Error(`make run ended with ${status}: ${err}`)));
    });
    assert.deepEqual(await (await fetch(`http://${address}/health`)).json(), { ok: true });
    assert.equal((await fetch(`http://${address}/v1/sandbox/made/exec`, { method: 'POST', body: '{"argv":["true"]}' })).status, 200);
    process.kill(-child.pid, 'SIGINT');
    await ended;
  } finally {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    child.stderr.destroy();
    said('bermd', '--stop-all', '--data', data);
  }
}

/* The copy is of a daemon that serves, and it is a whole database. */
async function backUp(block) {
  await withDaemon(async (daemon) => {
    await fetch(`${daemon.url}/v1/sandbox/kept`, { method: 'PUT', body: '{}' });
    execFileSync('bash', ['-ec', block.script.replaceAll('/var/lib/berm', daemon.data).replaceAll('/var/backups', top)]);
    const look = (query) => execFileSync('sqlite3', [path.join(top, 'berm.db'), query], { encoding: 'utf8' }).trim();
    assert.equal(look('pragma integrity_check'), 'ok');
    assert.match(look('.dump'), /'kept'/);
  });
}

/* What `make install` runs last. Its first part sets the prefix of the build directory, which here is the one that other tests run from. */
async function install(block) {
  const to = path.join(top, 'package');
  execFileSync('make', ['-n', ...block.script.trim().split(/\s+/).slice(1)], { cwd: root, env: { ...process.env, TMPDIR: top } });
  execFileSync('meson', ['install', '-C', build, '--no-rebuild', '--quiet', '--destdir', to], { stdio: 'pipe' });
  for (const file of installed().filter((one) => !one.endsWith('/image'))) assert.ok(fs.existsSync(to + file), file);
  const find = (name) => to + installed().find((file) => file.endsWith(`/${name}`));
  assert.match(execFileSync(find('bin/berm'), ['version'], { encoding: 'utf8' }), /\d/);
  const conf = execFileSync('find', [to, '-name', 'berm.conf', '-path', '*/berm/berm.conf'], { encoding: 'utf8' }).trim();
  execFileSync(find('sbin/bermd'), ['--config', conf, '--print-config'], { stdio: 'pipe' });
  for (const unit of ['berm.service', 'berm-edge.service']) {
    const copy = path.join(top, unit);
    fs.writeFileSync(copy, fs.readFileSync(find(unit), 'utf8').replace(/^(Exec\w+=-?)(?=\/\S*berm)/gm, `$1${to}`));
    execFileSync('systemd-analyze', ['verify', '--man=no', copy], { stdio: 'pipe' });
  }
}

/* In an image store of the reader's own. Alpine's archive has no bash, as the block says: ours is of the files of another image. */
async function makeImages(block) {
  const store = path.join(top, 'store'), archive = path.join(top, 'alpine-minirootfs.tar');
  exportRootfs(archive);
  execFileSync('gzip', ['--fast', archive]);
  execFileSync(path.join(build, 'berm'), ['image', 'import', '--images', store, 'first', `${archive}.gz`], { stdio: 'pipe' });
  const daemon = await new Daemon({ options: ['--images', store, '--sandbox-image', 'first'] }).start();
  try {
    const { status, err, printed } = await run([block], daemon, { BERM_IMAGES: store });
    assert.equal(status, 0, err);
    assert.match(printed[0], /^NAME="?Debian/m);
    for (const name of ['minimal', 'alpine']) assert.ok(fs.existsSync(path.join(store, 'names', name)), name);
  } finally {
    await daemon.stop();
  }
}

/* From the directory of a Worker, until Ctrl-C and the end of the shell. What is typed second is typed when bermd is there. */
async function wranglerDev(block) {
  const work = fs.mkdtempSync(path.join(top, 'worker-')), data = path.join(work, 'data'), programs = path.join(work, 'stand-ins');
  const there = environmentIn(work);
  fs.chmodSync(top, 0o755);
  fs.chmodSync(work, 0o755);
  fs.mkdirSync(programs);
  fs.writeFileSync(path.join(programs, 'npx'), `#!/bin/bash
until curl -sf --unix-socket '${work}/docker.sock' http://docker/_ping; do sleep 0.1; done
PATH='${there.PATH}'; exec npx "$@"\n`, { mode: 0o755 });
  const script = block.script.replaceAll('/run/berm', work).replaceAll('/usr/local/bin', build).replace(' developers', ' root'); // a group that is there
  const child = spawn('bash', ['-euc', `trap 'kill $!; wait $!' EXIT\n${script}`], { cwd: exampleIn(work), detached: true, stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...there, PATH: `${programs}:${build}:${there.PATH}`, BERM_LISTEN: '127.0.0.1:0', BERM_DATA: data, BERM_IMAGES: imagesDir } });
  const ended = once(child, 'exit'); /* not 'close': berm-spawn outlives bermd and has its standard error */
  try {
    let output = '';
    const url = await new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => {
        output += piece;
        const ready = /Ready on (http:\/\/\S+)\n/.exec(output);
        if (ready) resolve(ready[1]);
      });
      child.once('exit', (status) => reject(new Error(`ended with ${status}: ${output}`)));
    });
    assert.deepEqual(await (await fetch(`${url}/run`)).json(), { output: '5050', exitCode: 0 });
    process.kill(-child.pid, 'SIGINT');
    await ended;
  } finally {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    child.stdout.destroy();
    child.stderr.destroy();
    said('bermd', '--stop-all', '--data', data);
  }
}

const apart = {
  'a-terminal-of-its-own': { run: makeRun },
  sqlite3: { run: backUp },
  'a-build-of-its-own': { run: install },
  'root-and-minutes': { run: makeImages },
  wrangler: { run: wranglerDev, why: whyNoWrangler() },
  'the-tests': { elsewhere: 'whatever runs this' },
  systemd: { elsewhere: 'systemd.test.mjs' }, // on a machine of its own, where it is booted
};

async function withDaemon(use) {
  const daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
  try {
    return await use(daemon);
  } finally {
    await daemon.stop();
  }
}

/* What each block printed, up to the one that failed. */
async function run(blocks, daemon, more = {}) {
  const script = ['set -euo pipefail', ...blocks.map((block, i) => `printf '\\n#block ${i}\\n'\n${block.script}`)].join('\n');
  const child = spawn('bash', ['-c', script.replaceAll('127.0.0.1:8787', `127.0.0.1:${daemon.port}`).replaceAll('/tmp/', `${top}/`)], {
    cwd: top,
    env: { ...process.env, PATH: `${build}:${process.env.PATH}`, BERM_URL: daemon.url, BERM_IMAGES: imagesDir, TMPDIR: top, ...more },
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
    for (const block of blocks.filter((one) => one.needs)) {
      assert.ok(apart[block.needs], `line ${block.line}: needs ${block.needs}`);
      await t.test(`line ${block.line}, which is run apart or looked at`, async () => {
        examine(block);
        if (apart[block.needs].elsewhere) return;
        if (apart[block.needs].why) t.diagnostic(`line ${block.line} was looked at, not run: ${apart[block.needs].why}`);
        else await apart[block.needs].run(block);
      });
    }
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
