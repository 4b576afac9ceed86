/*
 * What the documentation says for a machine with systemd, done by a living systemd (machine.mjs): the blocks ```sh needs=systemd
 * are run as they stand, in order, and in between is looked at what the units promise.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { makeCertificate } from '../edge/certificates.mjs';
import { imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { blocksOf, build, files, root } from './blocks.mjs';
import { Machine } from './machine.mjs';

const [installAsUser, install, edge, upgrade, ...others] = files.flatMap((file) => blocksOf(file).filter((block) => block.needs === 'systemd'));
const skip = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names/base')) ? undefined : `no image base in ${imagesDir}`);
const standIns = '/usr/local/stand-ins';
const asReader = { cwd: root, env: { BUILD: build, PATH: `${standIns}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin` } };

let machine, top, noMachine;
const show = (unit, property) => machine.must(`systemctl show -P ${property} ${unit}`);
const ask = async (url) => JSON.parse(await machine.must(`curl -sS --max-time 60 '${url}'`));
const link = async () => (await ask('http://127.0.0.1:8787/v1/link')).state;

/* What lived on when it is the same: the process that was started in the sandbox first of all. */
const keptProcess = () => machine.must(`berm exec kept -- sh -c 'cut -d " " -f 22 /proc/$(cat kept.pid)/stat && cat kept.file'`);
let kept;

before(async () => {
  if (skip) return;
  top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-systemd-'));
  machine = new Machine([root, build]);
  try {
    await machine.boot();
  } catch (error) {
    noMachine = `systemd cannot be booted here: ${error.message}`;
    console.log(noMachine);
  }
});

after(async () => {
  await machine?.destroy();
  if (top) fs.rmSync(top, { recursive: true });
});

/* A test that needs the machine, of which only `before` knows whether it boots. */
const there = (name, run) => test(name, { skip }, (t) => noMachine ? t.skip(noMachine) : run(t));

there('Berm is installed as the documentation says', async () => {
  /* Minutes of downloads, which tests/e2e/images has. All else that the block names is what it installs. */
  await machine.write(`${standIns}/berm`, '#!/bin/bash\n[ "$*" = "image build" ] || exec /usr/local/bin/berm "$@"\n', 0o755);
  await machine.write(`${standIns}/sudo`, '#!/bin/bash\nexec "$@"\n', 0o755); // which is no package of the tests
  /* Whatever root's umask is. */
  await machine.must(`umask 077\n${installAsUser.script}`, asReader);
  assert.match(await machine.must(`umask 077\n${install.script}`, asReader), /^ok +daemon/m);
  assert.match(await machine.must('setpriv --reuid nobody --clear-groups berm ls --json'), /"sandboxes"/);
  for (const file of Object.values(JSON.parse(await machine.must(`meson introspect --installed '${build}'`))))
    await machine.must(`test -e '${file}'`);
  assert.equal(await machine.must('systemctl is-enabled berm; systemctl is-active berm'), 'enabled\nactive');
  assert.deepEqual(await ask('http://127.0.0.1:8787/health'), { ok: true });
  assert.match(await machine.must('journalctl -u berm -o cat'), /event=listening address=127\.0\.0\.1:8787 /);
  const warnings = await machine.must('journalctl -u berm -o cat -p warning');
  assert.match(warnings, / level=warn program=bermd event=auth\.no_keys /);
  assert.doesNotMatch(warnings, / level=info /);
});

there('the unit gives bermd what it says, and bermd keeps nothing of root', async () => {
  const pid = await show('berm', 'MainPID');
  const status = await machine.must(`cat /proc/${pid}/status`);
  const user = await machine.must('id -u berm');
  assert.match(status, new RegExp(`^Uid:\t${user}\t${user}\t${user}\t${user}$`, 'm'));
  assert.match(status, /^CapEff:\t0+$/m);
  assert.match(status, /^CapBnd:\t0+$/m);
  assert.match(status, /^NoNewPrivs:\t1$/m);
  /* Where the machine's root may raise them. */
  const may = (BigInt(`0x${/^CapEff:\t(\w+)$/m.exec(await machine.must('cat /proc/1/status'))[1]}`) >> 24n & 1n) === 1n;
  const files = /^Max open files +(\d+) +(\d+)/m.exec(await machine.must(`cat /proc/${pid}/limits`));
  const highest = Number(/^Max open files +\d+ +(\d+)/m.exec(await machine.must('cat /proc/1/limits'))[1]);
  assert.equal(files[1], files[2]);
  assert.equal(Number(files[1]), may ? 1048576 : Math.min(highest, 1048576));
  if (may) assert.equal(await machine.must(`cat /proc/${pid}/oom_score_adj`), '-500');
  assert.equal(await show('berm', 'TasksMax'), 'infinity');
});

there('a sandbox has nothing of the service manager, nor of the importance of the daemon', async () => {
  await machine.must('berm create --keep-alive --name kept kept');
  const inside = await machine.must(`berm exec kept -- sh -c 'env; cat /proc/1/environ 2>/dev/null | tr "\\0" "\\n"'`);
  assert.doesNotMatch(inside, /INVOCATION_ID|NOTIFY_SOCKET|JOURNAL_STREAM|SYSTEMD/);
  assert.equal(await machine.must('berm exec kept -- cat /proc/self/oom_score_adj'), '0');
  await machine.must(`berm exec kept -- sh -c 'setsid sleep infinity >/dev/null 2>&1 & echo $! >kept.pid; echo written >kept.file'`);
  kept = await keptProcess();
  assert.match(kept, /^\d+\nwritten$/);
});

there('a stop ends the daemon only, and the next one finds the sandboxes', async () => {
  await machine.must('systemctl stop berm');
  assert.equal(await show('berm', 'Result'), 'success');
  assert.equal((await machine.run('curl -s http://127.0.0.1:8787/health')).status, 7);
  await machine.must('pgrep -xf "sleep infinity"');
  await machine.must('systemctl daemon-reload && systemctl start berm');
  assert.equal(await keptProcess(), kept);
});

there('a stop gives requests in flight the time that the settings give, also where the service manager has less', async () => {
  await machine.write('/etc/systemd/system/berm.service.d/short.conf', '[Service]\nTimeoutStopSec=1\n');
  await machine.must(`sed -i 's/^\\[server\\]$/&\\ndrain_timeout = 4m/' /etc/berm/berm.conf; systemctl daemon-reload; systemctl restart berm`);
  const flying = machine.must(`berm exec kept -- sh -c 'touch started; sleep 4; echo ended'`);
  await until('the command runs', async () => (await machine.run('berm exec kept -- test -e started')).status === 0);
  await machine.must('systemctl stop berm');
  assert.equal(await show('berm', 'Result'), 'success');
  assert.equal(await flying, 'ended');
  await machine.must('rm -r /etc/systemd/system/berm.service.d; systemctl daemon-reload; systemctl start berm');
});

there('an upgrade as the documentation says ends no sandbox', async () => {
  const before = await show('berm', 'MainPID');
  await machine.must(upgrade.script, asReader);
  assert.notEqual(await show('berm', 'MainPID'), before);
  assert.equal(await show('berm', 'NeedDaemonReload'), 'no');
  assert.equal(await keptProcess(), kept);
});

there('a daemon that is killed is started again, and finds them as well', async () => {
  const before = await show('berm', 'MainPID');
  await machine.must(`kill -9 ${before}`);
  await until('another bermd serves', async () => ![before, '0'].includes(await show('berm', 'MainPID')) && (await machine.run('systemctl is-active berm')).status === 0);
  assert.equal(await keptProcess(), kept);
});

there('the Docker socket of the default settings is there, also the second time', async () => {
  await machine.must(`sed -i 's/^#\\(docker_socket\\(_group\\)\\? =\\)/\\1/' /etc/berm/berm.conf`);
  for (let i = 0; i < 2; i++) {
    await machine.must('systemctl restart berm');
    assert.equal(await machine.must('curl -sS --unix-socket /run/berm/docker.sock http://docker/_ping'), 'OK');
  }
  assert.equal(await machine.must('stat -c %U:%G:%a /run/berm/docker.sock'), 'root:berm:660');
});

there('an edge is set up as the documentation says, and a daemon reached by it', async () => {
  const names = ['sandbox.example.com', '*.sandbox.example.com'];
  const certificate = fs.readFileSync(makeCertificate(top, 'edge', names), 'utf8');
  await machine.write('/etc/berm/edge.pem', certificate, 0o640);
  await machine.write('/etc/berm/authority.pem', certificate.split('-----BEGIN PRIVATE')[0]);
  await machine.must('chgrp berm /etc/berm/edge.pem; echo 127.0.0.1 sandbox.example.com >>/etc/hosts');
  await machine.write(`${standIns}/editor`, '#!/bin/bash\n[ -s "$1" ]\n', 0o755); // the domain is the documentation's
  await machine.must(edge.script, { ...asReader, cwd: '/root' });
  assert.equal(await machine.must('systemctl is-enabled berm-edge; systemctl is-active berm-edge'), 'enabled\nactive');
  assert.equal(await machine.must('stat -c %U:%G:%a /etc/berm/edge.keys'), 'root:berm:640');
  assert.match(await machine.must(`cat /proc/$(systemctl show -P MainPID berm-edge)/status`), /^CapEff:\t0+$/m);

  const settings = /```ini\n(\[edge\]\nlink = [^`]*)```/.exec(fs.readFileSync(path.join(root, 'docs/operations.md'), 'utf8'))[1];
  await machine.must(`install -m 600 /root/home.key /etc/berm/edge.key; cat >>/etc/berm/berm.conf; systemctl restart berm`,
    { input: `\n${settings}link_authority = /etc/berm/authority.pem\n` });
  await until('the link is up', async () => (await link()) === 'up');
  assert.deepEqual((await ask('http://127.0.0.1/v1/links')).links.map((one) => one.name), ['home']);
  assert.equal(await keptProcess(), kept);
});

there('a key that is taken out of the edge’s list loses its link with a reload, and has it again with the next', async () => {
  const before = await show('berm-edge', 'MainPID');
  await machine.must(`sed -i 's/^home /other /' /etc/berm/edge.keys && systemctl reload berm-edge`);
  await until('the link is down', async () => (await ask('http://127.0.0.1/v1/links')).links.every((one) => one.name !== 'home'));
  await machine.must(`sed -i 's/^other /home /' /etc/berm/edge.keys && systemctl reload berm-edge`);
  /* Five wrong keys within a minute, and for the rest of it the edge does not ask this address any more. */
  await until('the link is up again', async () => (await link()) === 'up', 250000);
  assert.equal(await show('berm-edge', 'MainPID'), before);
});

there('an edge that cannot start yet is tried until it can', async () => {
  await machine.must('mv /etc/berm/edge.pem /etc/berm/late.pem');
  assert.notEqual((await machine.run('systemctl restart berm-edge')).status, 0);
  /* More often than the five times that systemd has by itself. */
  await until('it has been tried', async () => Number(await show('berm-edge', 'NRestarts')) > 5, 250000);
  await machine.must('mv /etc/berm/late.pem /etc/berm/edge.pem');
  await until('it serves', async () => (await machine.run('systemctl is-active berm-edge')).status === 0);
  await until('the link is up', async () => (await link()) === 'up');
});

there('keys of auth.keys_file are read again with a reload', async () => {
  await machine.write('/etc/berm/keys', 'first-key-of-the-file\n', 0o640);
  await machine.must(`chgrp berm /etc/berm/keys; sed -i 's/^#keys_file/keys_file/' /etc/berm/berm.conf; systemctl restart berm`);
  const before = await show('berm', 'MainPID');
  const status = (key) => machine.must(`curl -sS -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer ${key}' http://127.0.0.1:8787/v1/sandboxes`);
  assert.deepEqual([await status('first-key-of-the-file'), await status('second-key-of-the-file')], ['200', '401']);
  await machine.must('echo second-key-of-the-file >>/etc/berm/keys; systemctl reload berm');
  await until('the second key is taken', async () => (await status('second-key-of-the-file')) === '200');
  assert.equal(await show('berm', 'MainPID'), before);
});

there('the machine can be shut down at once, and has its sandboxes’ identities when it is booted again', async () => {
  await machine.powerOff();
  await machine.boot();
  assert.equal(await machine.must('systemctl is-active berm berm-edge; systemctl list-units --failed --plain --no-legend'), 'active\nactive');
  const list = JSON.parse(await machine.must('curl -sS -H "Authorization: Bearer first-key-of-the-file" http://127.0.0.1:8787/v1/sandboxes'));
  assert.ok(list.sandboxes.some((one) => one.name === 'kept'), JSON.stringify(list));
});

there('--stop-all leaves nothing of a daemon that was stopped', async () => {
  const left = async () => (await machine.run('pgrep -f "^(berm-agent|/usr/local/.*berm-spawn) "')).out;
  await machine.must('berm exec kept -- true', { env: { BERM_API_KEY: 'first-key-of-the-file' } });
  await machine.must('systemctl stop berm');
  assert.notEqual(await left(), '');
  await machine.must('bermd --stop-all');
  assert.equal(await left(), '');
  assert.deepEqual(await machine.must('find /sys/fs/cgroup -name "berm" -type d'), '');
  await machine.freed();
});

test('every block that needs systemd is one of those', () => assert.deepEqual([typeof upgrade, others], ['object', []]));
