/*
 * Code of a Worker that has taken over its container, with all rights that it can have there. `at` as in scenarios.mjs, and
 * daemon().
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import os from 'node:os';

/* Everything that an answer could come from says one of these words. */
const marks = ['MARK-OF-THE-HOST', 'berm', 'BEGIN CERTIFICATE', '"status"', 'Docker'];

const reach = (hosts, ports, paths) => `
import concurrent.futures, socket
def ask(host, port, path):
    try:
        s = socket.create_connection((host, port), 3)
        s.settimeout(3)
        s.sendall(("GET %s HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" % (path, host)).encode())
        got = b""
        while len(got) < 4096 and (piece := s.recv(4096)): got += piece
        return "%s:%d%s %s" % (host, port, path, got.decode("latin1"))
    except OSError as error: return ""
jobs = [(h, p, u) for h in ${JSON.stringify(hosts)} for p in ${JSON.stringify(ports)} for u in ${JSON.stringify(paths)}]
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    for text in pool.map(lambda job: ask(*job), jobs):
        if any(mark in text for mark in ${JSON.stringify(marks)}): print(text)
`;

/* Names of the host's sockets, in the file system and out of it, and what would lead around the redirection of what goes out. */
const escape = (socketPath) => `
import os, socket, struct
def attempt(what, do):
    try: do()
    except OSError as error: return
    print("possible:", what)
def unix(name):
    s = socket.socket(socket.AF_UNIX)
    s.connect(name)
for name in ["${socketPath}", "/run/berm/docker.sock", "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"]:
    attempt("connect to " + name, lambda: unix(name))
for line in open("/proc/net/unix").read().splitlines()[1:]:
    name = line.split()[7] if len(line.split()) > 7 else ""
    if name.startswith("@"): attempt("connect to " + name, lambda: unix("\\0" + name[1:]))
def option(level, name, value):
    s = socket.socket()
    s.setsockopt(level, name, value)
attempt("SO_MARK", lambda: option(socket.SOL_SOCKET, 36, 1))
attempt("IP_TRANSPARENT", lambda: option(0, 19, 1))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
def rtnetlink(kind, body):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.send(struct.pack("<IHHII", 16 + len(body), kind, 5, 1, 0) + body)
    error = struct.unpack_from("<i", s.recv(4096), 16)[0]
    if error: raise OSError(-error, "")
attempt("delete the default route", lambda: rtnetlink(25, struct.pack("<8BI", 2, 0, 0, 0, 254, 0, 0, 0, 0)))
attempt("delete the local routes", lambda: rtnetlink(25, struct.pack("<8BI", 2, 0, 0, 0, 255, 0, 0, 2, 0)))
attempt("take lo down", lambda: rtnetlink(16, struct.pack("<BxHiII", 0, 0, 1, 0, 1)))
attempt("nftables", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for pid in (1, 2):
    for kind in ("net", "mnt", "user"):
        def enter():
            fd = os.open("/proc/%d/ns/%s" % (pid, kind), os.O_RDONLY)
            if os.readlink("/proc/%d/ns/%s" % (pid, kind)) == os.readlink("/proc/self/ns/" + kind): raise OSError
            if libc.setns(fd, 0): raise OSError
        attempt("enter %s of %d" % (kind, pid), enter)
if libc.unshare(0x40000000) == 0: print("possible: a network namespace of its own")
if libc.unshare(0x10000000) == 0: print("possible: a user namespace of its own")
`;

export function attacks(at) {
  const { test, call } = at;
  const python = async (id, text) => {
    await call(id, 'writeFile', ['/tmp/attack.py', text]);
    const { stdout, stderr, exitCode } = await call(id, 'exec', ['python3 /tmp/attack.py && echo end']);
    assert.equal(exitCode, 0, stderr);
    assert.match(stdout, /end\n?$/, stderr);
    return stdout.replace(/end\n?$/, '');
  };

  test('a container that was taken over reaches no port of the host, of the daemon or of another container', async () => {
    await call('neighbour', 'exec', ['true']);
    await call('neighbour', 'startProcess', ["python3 -c 'import http.server as h, socketserver as s; H = type(\"H\", (h.BaseHTTPRequestHandler,), {\"do_GET\": lambda self: (self.send_response(200), self.end_headers(), self.wfile.write(b\"MARK-OF-THE-HOST\"))}); s.TCPServer((\"0.0.0.0\", 8123), H).serve_forever()'"]);
    await call('curious', 'exec', ['true']);
    const marker = net.createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 200 OK\r\n\r\nMARK-OF-THE-HOST')).listen(0, '0.0.0.0');
    await once(marker, 'listening');
    try {
      const addresses = Object.values(os.networkInterfaces()).flat().filter((a) => a.family === 'IPv4').map((a) => a.address);
      const all = (await at.docker().get('/containers/json?all=1')).json;
      const sides = await Promise.all(all.filter((c) => c.Names[0].endsWith('-proxy')).map(async (c) => (await at.docker().get(`/containers/${c.Id}/json`)).json));
      const ports = sides.map((c) => Number(c.NetworkSettings.Ports['39001/tcp'][0].HostPort));
      assert.ok(ports.length >= 2);
      assert.match(await (await fetch(`http://127.0.0.1:${ports[0]}/ca`)).text(), /BEGIN CERTIFICATE/); /* the probe would know it */
      const hosts = [...new Set(['127.0.0.1', '::1', '0.0.0.0', ...addresses, '169.254.169.254', 'localhost', 'host.docker.internal'])];
      const found = await python('curious', reach(hosts, [...ports, at.daemon().port, at.wrangler().port, marker.address().port, 39001, 8123], ['/health', '/ca', '/info']));
      assert.equal(found, '');
    } finally {
      marker.close();
    }
  });

  test('nor a socket of the host by its name, nor a way around the redirection of what goes out', async () => {
    assert.equal(await python('curious', escape(at.docker().socketPath)), '');
    assert.equal((await call('curious', 'exec', ['echo unharmed'])).stdout.trim(), 'unharmed');
  });
}
