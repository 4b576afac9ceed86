/* A FUSE server that lies: it harms the sandbox that runs it and nobody else, and that sandbox ends as quickly as any. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
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

describe('a hostile FUSE server', { skip: whyNoDaemon() || none }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    assert.equal((await api.put('/v1/sandbox/fine', {})).status, 201);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8'))[1]) / 1024;
  const fine = async () => (await api.exec('fine', ['echo', 'fine'])).out === 'fine\n';

  async function liar(id) {
    assert.equal((await api.put(`/v1/sandbox/${id}`, { limits: { memoryBytes: 256 << 20 } })).status, 201);
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
    const from = Date.now();
    assert.equal((await api.delete(`/v1/sandbox/${id}`)).status, 204);
    await until('it is gone', async () => (await api.get(`/v1/sandbox/${id}`)).status === 404);
    assert.ok(Date.now() - from < 1000, `${Date.now() - from} ms`);
    await Promise.all(pending);
    assert.ok(await fine());
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
});
