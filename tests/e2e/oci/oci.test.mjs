/*
 * The OCI back end through the whole daemon: what a client sees must not depend on who makes the container. Runs with each
 * runtime that is installed (BERM_OCI_RUNTIMES: a colon-separated list instead).
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';

const MIB = 1 << 20;
const places = process.env.BERM_OCI_RUNTIMES?.split(':') ?? ['/usr/bin/crun', '/usr/sbin/runc', '/usr/bin/runsc'];
const runtimes = places.filter((file) => fs.existsSync(file));

function whyNot() {
  const reason = whyNoDaemon() ?? (runtimes.length === 0 ? 'no OCI runtime is installed' : undefined);
  if (reason && process.env.BERM_MUST_WORK === '1') throw new Error(`these tests must run here: ${reason}`);
  return reason;
}

const skip = whyNot();

/* The processes of the host in a group of a data directory's: those of one sandbox, the runtime's own included. */
const processesInGroup = (data, group) =>
  fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      const { dev, ino } = fs.statSync(data, { bigint: true }); /* other daemons have groups of that name, too */
      const path = `/berm/${dev.toString(16)}-${ino.toString(16)}/${group}`;
      return new RegExp(`${path}(/|$)`, 'm').test(fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
    } catch {
      return false; /* gone meanwhile */
    }
  });

for (const runtime of skip ? [] : runtimes) {
  describe(`sandboxes made by ${path.basename(runtime)}`, () => {
    const gvisor = path.basename(runtime) === 'runsc';
    const daemon = new Daemon({ options: ['--sandbox-runtime', `oci:${runtime}`], poolSize: 0 });
    let api;
    const processesIn = (group) => processesInGroup(daemon.data, group);
    const bundles = () => fs.readdirSync(path.join(daemon.data, 'oci')).filter((name) => /^s\d/.test(name));
    const created = async (settings = {}) => {
      const id = await api.newId();
      const { status, text } = await api.put(`/v1/sandbox/${id}`, settings);
      assert.equal(status, 201, text);
      return id;
    };

    before(async () => {
      await daemon.start();
      api = new Api(daemon);
    });
    after(async () => {
      api?.close();
      await daemon.stop();
    });

    test('a command runs, with its output, its status and its standard input', async () => {
      const id = await created();
      const plain = await api.exec(id, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
      assert.deepEqual([plain.out, plain.err, plain.code], ['out\n', 'err\n', 7]);
      const fed = await api.exec(id, ['cat'], { stdin: 'through\n' });
      assert.equal(fed.out, 'through\n');
    });

    test('a session keeps its state', async () => {
      const id = await created();
      const { json } = await api.post(`/v1/sandbox/${id}/session`);
      await api.exec(id, 'here=kept', { session: json.id });
      assert.equal((await api.exec(id, 'echo $here', { session: json.id })).out, 'kept\n');
    });

    test('files are written and read back', async () => {
      const id = await created();
      const bytes = Buffer.from(Array.from({ length: MIB }, (_, i) => (i * 7) & 0xff));
      assert.equal((await api.put(`/v1/sandbox/${id}/file/workspace/deep/er/file`, bytes)).status, 200);
      const back = await api.get(`/v1/sandbox/${id}/file/workspace/deep/er/file`);
      assert.ok(back.bytes.equals(bytes));
    });

    if (gvisor) test('its kernel is gVisor', async () => {
      const id = await created();
      assert.match((await api.exec(id, ['dmesg'])).out, /gVisor/);
      assert.match((await api.exec(id, ['grep', '-E', '^(Uid|CapBnd):', '/proc/self/status'])).out, /Uid:\t0\t.*\nCapBnd:\t00000000800405fb/);
    });

    if (gvisor) test('what makes it has no right outside the sandbox', async () => {
      const known = new Set(bundles());
      await created();
      const [bundle] = bundles().filter((name) => !known.has(name));
      const processes = processesIn(bundle);
      assert.ok(processes.length >= 4, 'relay, runsc, gofer and sentry');
      for (const pid of processes) {
        const uids = fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/\nUid:\t(.*)/)[1].split('\t').map(Number);
        for (const uid of uids) assert.ok(uid >= 2 ** 31, `${pid} runs as ${uid}`);
      }
    });

    if (!gvisor) test('it is as isolated as the native one', async () => {
      const id = await created();
      const { out } = await api.exec(id, ['grep', '-E', '^(Uid|CapBnd|NoNewPrivs|Seccomp):', '/proc/self/status']);
      assert.match(out, /Uid:\t0\t/);
      assert.match(out, /CapBnd:\t00000000800405fb/);
      assert.match(out, /NoNewPrivs:\t1/);
      assert.match(out, /Seccomp:\t2/);
      const map = await api.exec(id, ['cat', '/proc/self/uid_map']);
      const [inside, outside, count] = map.out.trim().split(/\s+/).map(Number);
      assert.deepEqual([inside, count], [0, 65536]);
      assert.ok(outside >= 2 ** 31);
      const links = await api.exec(id, ['sh', '-c', 'ls /sys/class/net; grep -vcE "^(Iface|lo)" /proc/net/route; ls /proc | grep -cE "^[0-9]+$"']);
      const [network, routes, processes] = links.out.trim().split('\n');
      assert.equal(network, 'lo');
      assert.equal(routes, '0');
      assert.ok(Number(processes) < 8);
    });

    test("mounts, namespaces and the agent's memory are out of reach", async () => {
      const id = await created();
      const refused = ['mount -t tmpfs none /mnt', 'echo x > /.berm-agent', 'echo 1 > /proc/sys/kernel/panic'];
      if (!gvisor) refused.push('unshare -U true', 'cat /proc/1/environ', 'cat /.berm-agent', 'cat /proc/1/exe');
      for (const script of refused)
        assert.notEqual((await api.exec(id, ['sh', '-c', script])).code, 0, script);
      assert.equal((await api.exec(id, ['true'])).code, 0);
    });

    test('the limits of memory, processes, files and disk hold', async () => {
      /* The processes and the memory of gVisor itself count. */
      const pids = gvisor ? 128 : 32;
      const id = await created({ limits: { memoryBytes: (gvisor ? 256 : 64) * MIB, pids, nofile: 128, diskBytes: 32 * MIB } });
      assert.equal((await api.exec(id, ['sh', '-c', 'ulimit -n'])).out, '128\n');
      const full = await api.exec(id, ['sh', '-c', 'head -c 64M /dev/zero > /workspace/full']);
      assert.match(full.err, /Disk quota exceeded|No space left/);
      await api.exec(id, ['rm', '/workspace/full']);
      const eater = await api.exec(id, gvisor ? ['dd', 'if=/dev/zero', 'of=/dev/shm/x', 'bs=1M', 'count=512']
        : ['bash', '-c', 'a=$(head -c 128M /dev/zero | tr "\\0" x); echo ${#a}']);
      assert.notEqual(eater.code, 0);
      if (gvisor) return; /* a sentry that gets no further thread gives up, and the sandbox ends */
      const forks = await api.exec(id, ['sh', '-c', 'for i in $(seq 64); do sleep 30 > /dev/null 2>&1 & done']);
      assert.match(forks.err, /Cannot fork/);
      const { json } = await api.get(`/v1/sandbox/${id}?usage=true`);
      assert.ok(json.usage.pids <= pids, `${json.usage.pids} processes`);
    });

    test('changed limits hold at once', async () => {
      const id = await created();
      assert.equal((await api.put(`/v1/sandbox/${id}`, { limits: { diskBytes: 16 * MIB } })).status, 200);
      assert.match((await api.exec(id, ['sh', '-c', 'head -c 32M /dev/zero > /workspace/full'])).err, /Disk quota exceeded|No space left/);
    });

    test('a port of the sandbox belongs to its own network', async () => {
      const id = await created();
      const answer = await api.get(`/v1/sandbox/${id}/container/api/ping`);
      assert.equal(answer.status, 200);
    });

    test('destroying takes the processes, the bundle and the state with it', async () => {
      const known = new Set(bundles());
      const id = await created();
      const [bundle] = bundles().filter((name) => !known.has(name));
      await api.exec(id, ['bash', '-c', 'setsid sleep 600 > /dev/null 2>&1 & true']);
      assert.ok(processesIn(bundle).length >= 2);
      assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
      await until('its processes to end', () => processesIn(bundle).length === 0);
      const states = () => fs.readdirSync(path.join(daemon.data, 'oci', 'state'));
      await until('its bundle and state to go', () => !bundles().includes(bundle) && !states().includes(bundle));
    });

    test('a sandbox outlives the daemon and the spawner', async () => {
      const id = await created();
      await api.exec(id, ['sh', '-c', 'echo kept > /workspace/kept; setsid sleep 600 > /dev/null 2>&1 &']);
      await daemon.end('SIGKILL');
      await daemon.start();
      assert.equal((await api.exec(id, ['cat', '/workspace/kept'])).out, 'kept\n');
      const worker = daemon.worker();
      process.kill(worker, 'SIGKILL');
      await until('another worker', () => daemon.worker() !== worker && daemon.worker() > 0);
      const after = await until('the sandbox to be served again', async () => {
        const answer = await api.exec(id, ['cat', '/workspace/kept']);
        return answer.out === undefined ? false : answer;
      });
      assert.equal(after.out, 'kept\n');
      assert.equal((await api.get(`/v1/sandbox/${id}`)).json.generation, 1);
      assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
    });

    test('eight at once, and nothing of the host is given away', async () => {
      const ids = await Promise.all(Array.from({ length: 8 }, () => created()));
      const outputs = await Promise.all(ids.map((id) => api.exec(id, ['echo', id])));
      assert.deepEqual(outputs.map(({ out }) => out.trim()), ids);
      const { uid, gid, mode } = fs.statSync('/dev/null');
      assert.deepEqual([uid, gid, mode & 0o777], [0, 0, 0o666]);
      await Promise.all(ids.map((id) => api.delete(`/v1/sandbox/${id}`)));
    });
  });
}

/* The daemon ends, and its last words, which may be read after its end is known, say why. */
async function refused(runtime, words) {
  const daemon = new Daemon({ options: ['--sandbox-runtime', `oci:${runtime}`], poolSize: 0 });
  await daemon.start().catch(() => {}); /* it may end before it listens */
  const [code] = await daemon.exited;
  assert.equal(code, 1);
  await until(`it says ${words}`, () => words.test(daemon.lines.join('\n')));
  fs.rmSync(daemon.top, { recursive: true });
}

test('a runtime that does not exist, that others can write or that cannot take the agent over is refused', { skip }, async () => {
  await refused('/nonexistent/crun', /OCI runtime \/nonexistent\/crun: No such file/);
  await refused('/usr/bin/kata-runtime', /none of crun, runc and runsc/);
  const top = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-oci-'));
  const program = path.join(top, 'crun');
  fs.copyFileSync(runtimes[0], program);
  fs.chmodSync(program, 0o777);
  await refused(program, /only root can write/);
  fs.rmSync(top, { recursive: true });
});

if (skip) test('sandboxes made by an OCI runtime', { skip }, () => {});
