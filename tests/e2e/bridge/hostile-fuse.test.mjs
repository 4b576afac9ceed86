/* A FUSE server that lies: it harms the sandbox that runs it and nobody else, and that sandbox ends as quickly as any. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { Docker } from '../lib/docker.mjs';
import { test } from '../lib/test.mjs';

const none = fs.existsSync(path.join(imagesDir, 'names/base')) ? false : 'needs the image base';

/*
 * The protocol itself, without a library: `huge` says that it has 2^62 bytes and gives zeros for ever, `short` says 1 GB and has
 * none, `more` says 1 byte and gives for ever, `endless` is a directory whose list has no end, `hang` is never answered.
 */
const server = `
import ctypes, os, struct, sys
target = sys.argv[1]
fd = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"liar", target.encode(), b"fuse.liar", 0, b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fd): sys.exit(os.strerror(ctypes.get_errno()))
nodes = {b"huge": (2, 1 << 62), b"short": (3, 1 << 30), b"more": (4, 1), b"endless": (5, 0)}
sizes = {node: size for node, size in nodes.values()}
def attr(node):
    directory = node in (1, 5)
    return struct.pack("<6Q10I", node, sizes.get(node, 0), 0, 0, 0, 0, 0, 0, 0, 0o40755 if directory else 0o100644, 1, 0, 0, 0, 4096, 0)
def listing(node, offset, room):
    out = b""
    names = [b"huge", b"short", b"more", b"endless"] if node == 1 else None
    while True:
        if names is not None and offset >= len(names): return out
        name = names[offset] if names is not None else b"entry-%d" % offset
        offset += 1
        entry = struct.pack("<QQII", 100 + offset, offset, len(name), 8) + name
        entry += bytes(-len(entry) % 8)
        if len(out) + len(entry) > room: return out
        out += entry
def answer(op, node, body):
    if op == 26: return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0, 0)
    if op == 1:
        name = body.rstrip(b"\\0")
        if name == b"hang": return None
        if name not in nodes and node != 5: return -2, b""
        found = nodes.get(name, (6, 0))[0]
        return 0, struct.pack("<QQQQII", found, 0, 1, 1, 0, 0) + attr(found)
    if op == 3: return 0, struct.pack("<QII", 1, 0, 0) + attr(node)
    if op in (14, 27): return 0, struct.pack("<QII", 1, 1 if op == 14 else 0, 0)
    if op == 15: return 0, b"" if node == 3 else bytes(struct.unpack_from("<QQI", body)[2])
    if op == 28: return 0, listing(node, *struct.unpack_from("<QQI", body)[1:])
    if op in (18, 25, 29, 34): return 0, b""
    if op in (2, 36, 42): return None
    return -38, b""
while True:
    request = os.read(fd, 1 << 18)
    _, op, unique, node = struct.unpack_from("<IIQQ", request)
    reply = answer(op, node, request[40:])
    if reply is not None:
        error, data = reply
        try: os.write(fd, struct.pack("<IiQ", 16 + len(data), error, unique) + data)
        except OSError: pass
`;

/* Mounts over each of the paths in turn, so often; tells what became of it. */
const mounter = `
import collections, ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
count, paths = int(sys.argv[1]), sys.argv[2:]
told = collections.Counter()
fds = []
for i in range(count):
    fds.append(os.open("/dev/fuse", os.O_RDWR))
    rc = libc.mount(b"x", paths[i % len(paths)].encode(), b"fuse.x", 0, b"fd=%d,rootmode=40000,user_id=0,group_id=0" % fds[-1])
    told[os.strerror(ctypes.get_errno()) if rc else "done"] += 1
    if rc: os.close(fds.pop())
print(dict(told), flush=True)
`;

const sanitized = process.env.BERM_SANITIZED === '1';
const agentTimeout = sanitized ? 10000 : 5000;
const SOON_MS = 20000; /* the second that is promised, for machines that have the time */

describe('a hostile FUSE server', { skip: whyNoDaemon() || none }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = new Daemon({ docker: true, options: ['--sandbox-image', 'base', '--sandbox-agent-timeout', `${agentTimeout / 1000}s`] });
    await daemon.start();
    api = new Api(daemon);
    assert.equal((await api.put('/v1/sandbox/fine', {})).status, 201);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8'))[1]) / 1024;
  const fine = async () => (await api.exec('fine', ['echo', 'fine'])).out === 'fine\n';

  async function liar(id, spec) {
    await make(id, spec);
    assert.equal((await api.call('PUT', `/v1/sandbox/${id}/file/workspace/liar.py`, { body: server })).status, 200);
    const { code, out, err } = await api.exec(id, ['bash', '-c', 'mkdir -p /workspace/m; (setsid python3 /workspace/liar.py /workspace/m >/tmp/said 2>&1 &); for i in $(seq 500); do mountpoint -q /workspace/m && exit; sleep 0.02; done; cat /tmp/said; exit 1']);
    assert.equal(code, 0, out + err);
  }

  /* What is done to it, while which nobody else is held up; then its end. */
  async function suffer(id, requests) {
    const before = resident();
    const pending = requests.map(([method, target, body]) => api.call(method, `/v1/sandbox/${id}/${target}`, { body: body && JSON.stringify(body), headers: body && { 'content-type': 'application/json' } }).catch((error) => error));
    for (let i = 0; i < 10; i++) assert.ok(await fine());
    assert.ok(resident() - before < 100, `bermd grew by ${resident() - before} MiB`);
    await destroy(id);
    await Promise.all(pending);
    assert.ok(await fine());
  }

  /*
   * {first, namespace} of each sandbox: the first of its ids on the host, and its pid namespace, told by itself before it
   * turns bad. Both, for the ids may be those of another daemon's sandbox, too.
   */
  const places = new Map();

  async function make(id, spec = {}) {
    assert.equal((await api.put(`/v1/sandbox/${id}`, { limits: { memoryBytes: 256 << 20 }, ...spec })).status, 201);
    const { out } = await api.exec(id, ['sh', '-c', 'readlink /proc/self/ns/pid; cat /proc/self/uid_map']);
    const [namespace, map] = out.trim().split('\n');
    places.set(id, { first: Number(map.trim().split(/ +/)[1]), namespace });
  }

  const hasProcess = ({ first, namespace }) => fs.readdirSync('/proc').some((pid) => {
    try {
      const uid = /^\d+$/.test(pid) ? fs.statSync(`/proc/${pid}`).uid : 0;
      return uid >= first && uid < first + 65536 && fs.readlinkSync(`/proc/${pid}/ns/pid`) === namespace;
    } catch {
      return false; /* it has just ended */
    }
  });

  /* Answered, and all its processes gone, soon. */
  async function destroy(id) {
    const place = places.get(id);
    assert.ok(place.first >= 2 ** 31 && hasProcess(place));
    const from = Date.now();
    assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
    await until('it is gone', async () => (await api.get(`/v1/sandbox/${id}`)).status === 404 && !hasProcess(place));
    const took = Date.now() - from;
    assert.ok(took < SOON_MS, `${took} ms`);
  }

  test('it lies about sizes', async () => {
    await liar('sizes');
    const { out } = await api.exec('sizes', ['bash', '-c', 'stat -c %s /workspace/m/huge; cat /workspace/m/short | wc -c; head -c 100000 /workspace/m/more | wc -c']);
    assert.deepEqual(out.trim().split('\n'), [String(2n ** 62n), '0', '100000']);
    const names = ['huge', 'short', 'more'];
    await suffer('sizes', [...names.map((name) => ['GET', `file/workspace/m/${name}`]), ...names.map((name) => ['POST', 'container/api/read', { path: `/workspace/m/${name}` }])]);
  });

  test('its directory has no end', async () => {
    await liar('endless');
    const { out } = await api.exec('endless', ['bash', '-c', 'ls -U /workspace/m/endless | head -n 3']);
    assert.equal(out, 'entry-0\nentry-1\nentry-2\n');
    await suffer('endless', [['POST', 'container/api/list-files', { path: '/workspace/m', options: { recursive: true } }], ['POST', 'container/api/list-files', { path: '/workspace/m/endless' }]]);
  });

  test('it does not answer', async () => {
    await liar('silent');
    await suffer('silent', [['GET', 'file/workspace/m/hang'], ['POST', 'container/api/read', { path: '/workspace/m/hang' }], ['POST', 'container/api/exists', { path: '/workspace/m/hang' }]]);
  });

  test('the agent that it holds up is given up on after a while, with an error that says so, and nobody else waits', async () => {
    await liar('held');
    const hanging = api.get('/v1/sandbox/held/file/workspace/m/hang');
    const ping = () => api.get('/v1/sandbox/held/container/api/ping').then(() => false);
    await until('the agent hangs', () => Promise.race([ping(), delay(1500, true)]));
    let given = 0;
    const held = [hanging, api.get('/v1/sandbox/held/file/workspace/liar.py'), api.exec('held', ['true']),
      api.call('PUT', '/v1/sandbox/held/file/workspace/big', { body: Buffer.alloc(16 << 20) })];
    for (const one of held) one.then(() => { given++; });
    assert.ok(await fine());
    for (const target of ['/health', '/v1/sandboxes', '/v1/sandbox/held', '/v1/sandbox/held/stats'])
      assert.equal((await api.get(target)).status, 200, target);
    assert.equal(given, 0, 'the others were answered first');
    for (const { status, json } of await Promise.all(held)) {
      assert.equal(status, 504);
      assert.equal(json.code ?? json.error.code, 'timed_out');
    }
    assert.equal((await held.at(-1)).headers.connection, 'close'); /* nobody takes the rest of the body */
    await destroy('held');
  });

  test('a sandbox that is held up falls asleep as any, and is fine when it wakes', async () => {
    await liar('tired', { sleepAfter: 1 });
    assert.equal((await api.get('/v1/sandbox/tired/file/workspace/m/hang')).status, 504);
    await until('it sleeps', async () => (await api.get('/v1/sandbox/tired')).json.state === 'sleeping');
    assert.equal((await api.exec('tired', ['echo', 'awake'])).out, 'awake\n');
  });

  test('an answer that takes longer than that is waited for as long as the agent lives', async () => {
    const { status, json } = await api.post('/v1/sandbox/fine/container/api/execute', { command: `sleep ${agentTimeout * 2 / 1000}; echo late` });
    assert.equal(status, 200);
    assert.equal(json.stdout, 'late');
  });

  test('ten thousand mounts, also over what the agent uses: 64 of a sandbox, and its neighbours come and go as ever', { timeout: 300000 }, async () => {
    const attempts = sanitized ? 110 : 1000; /* of each */
    const boxes = Array.from({ length: 10 }, (_, i) => `many${'abcdefghij'[i]}`);
    const paths = ['/workspace', '/tmp', '/etc', '/usr', '/root', '/home', '/var', '/run', '/opt', '/proc', '/dev/shm'];
    await Promise.all(boxes.map(async (id) => {
      await make(id);
      assert.equal((await api.call('PUT', `/v1/sandbox/${id}/file/workspace/mounter.py`, { body: mounter })).status, 200);
    }));
    const told = Promise.all(boxes.map(async (id) => {
      const { out, err, text } = await api.exec(id, ['python3', '/workspace/mounter.py', String(attempts), ...paths]);
      return out || err || text;
    }));
    let done = false;
    told.finally(() => (done = true));
    const took = [];
    while (!done) {
      assert.equal((await api.put('/v1/sandbox/visitor', {})).status, 201);
      assert.equal((await api.exec('visitor', ['echo', 'here'])).out, 'here\n');
      const from = Date.now();
      assert.equal((await api.delete('/v1/sandbox/visitor')).status, 204);
      took.push(Date.now() - from);
    }
    assert.ok(took.sort((a, b) => a - b)[took.length >> 1] < SOON_MS, `${took} ms`);
    const refused = paths.reduce((sum, target, i) => sum + (/^.(proc|dev)/.test(target) ? Math.ceil((attempts - i) / paths.length) : 0), 0);
    for (const text of await told)
      assert.equal(text, `{'done': 64, 'Operation not permitted': ${refused}, 'No space left on device': ${attempts - 64 - refused}}\n`);
    for (const id of boxes) await destroy(id);
    assert.ok(await fine());
  });

  test('nothing is mounted over a volume or in it', async () => {
    const docker = new Docker(daemon.dockerSocket);
    assert.equal((await docker.post('/volumes/create', { Name: 'vol' })).status, 201);
    const created = await docker.post('/containers/create?name=voluminous', { Image: 'cloudflare/sandbox:1', HostConfig: { Binds: ['vol:/vol'] } });
    assert.equal(created.status, 201, created.text);
    assert.equal((await docker.post('/containers/voluminous/start')).status, 204);
    const id = (await api.get('/v1/sandboxes')).json.sandboxes.find((sandbox) => sandbox.labels['docker.name'] === 'voluminous').id;
    assert.equal((await api.call('PUT', `/v1/sandbox/${id}/file/workspace/mounter.py`, { body: mounter })).status, 200);
    const { out, err } = await api.exec(id, ['sh', '-c', 'mkdir /vol/in; echo kept >/vol/in/file; python3 /workspace/mounter.py 20 /vol /vol/in; cat /vol/in/file']);
    assert.equal(out, "{'Operation not permitted': 20}\nkept\n", err);
    assert.equal((await docker.delete('/containers/voluminous?force=1')).status, 204);
    assert.equal((await docker.delete('/volumes/vol')).status, 204);
  });
});
