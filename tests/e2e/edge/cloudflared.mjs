/*
 * A cloudflared made by the tests, that behaves as quick-tunnels.md says: it prints where its metrics server is and, for
 * a quick tunnel, a URL, and passes requests on to the origin that it was given. In place of Cloudflare's edge there is a
 * port of the loopback. What it does is written into the file `mode` beside it, when it starts.
 */
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { once } from 'node:events';

import { collect } from '../lib/api.mjs';

const program = (dir) => `#!/usr/bin/env python3
import http.client, http.server, json, os, random, signal, sys, threading, time

DIR = ${JSON.stringify(dir)}
mode = open(DIR + '/mode').read().strip()
args = sys.argv[1:]
origin = args[args.index('--url') + 1].removeprefix('http://')
quick = 'run' not in args
label = '-'.join(random.choice(['amber', 'brook', 'cedar', 'delta', 'ember', 'fjord']) for _ in range(3)) + '-%d' % os.getpid()

def say(message):
    os.write(2, (json.dumps({'level': 'info', 'message': message}) + '\\n').encode())

class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = 0 if mode == 'hangs' else 1
        body = json.dumps({'status': 200, 'readyConnections': ready}).encode()
        if mode == 'silent-metrics':
            time.sleep(1000)
        self.send_response(200 if ready else 503)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass

class Edge(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        out = http.client.HTTPConnection(origin)
        out.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ('connection', 'x-forwarded-for'):
                out.putheader(name, value)
        out.putheader('X-Forwarded-For', '203.0.113.7')
        out.putheader('X-Forwarded-Proto', 'https')
        out.putheader('Cf-Connecting-Ip', '203.0.113.7')
        out.endheaders(body or None)
        answer = out.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ('connection', 'transfer-encoding', 'content-length', 'date', 'server'):
                self.send_header(name, value)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_POST = do_PUT = do_GET
    def log_message(self, *a): pass

def serve(handler):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port

port = serve(Edge)
fds = {}
for fd in os.listdir('/proc/self/fd'):
    try:
        fds[fd] = os.readlink('/proc/self/fd/' + fd)
    except OSError:
        pass
status = open('/proc/self/status').read()
me = {'pid': os.getpid(), 'uid': os.getuid(), 'groups': os.getgroups(), 'args': args, 'env': dict(os.environ), 'fds': fds, 'label': label, 'port': port,
      'origin': origin, 'noNewPrivs': 'NoNewPrivs:\\t1' in status, 'caps': [l.split()[1] for l in status.splitlines() if l.startswith('Cap')]}
with open(DIR + '/runs/.%d' % os.getpid(), 'w') as out:
    json.dump(me, out)
os.rename(DIR + '/runs/.%d' % os.getpid(), DIR + '/runs/%d' % os.getpid())

if mode == 'dies':
    sys.exit(3)
if mode == 'limited':
    os.write(2, b'ERR Error unmarshaling QuickTunnel response: error code: 1015 error="invalid character" status_code="429 Too Many Requests"\\n')
    sys.exit(1)
if mode == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0: # what it has started goes with it
        time.sleep(1000)
        sys.exit()
if mode == 'hostile':
    os.write(2, b'\\x00\\xff\\x1b[2J{"message":' + b'[' * 5000 + b'\\n')
    for bad in ('https://api.trycloudflare.com/tunnel', 'https://x.trycloudflare.com.evil.example', 'https://x.trycloudflare.com@evil.example',
                'https://-x-.trycloudflare.com', 'https://a\\r\\nSet-Cookie: x=1.trycloudflare.com', 'metrics server on 127.0.0.1:99999', 'metrics server on 127.0.0.1:0'):
        say(bad)
if mode == 'chatty':
    os.write(1, b'https://no.trycloudflare.com' * 1) # without a newline, and then
    for _ in range(160):
        os.write(1, b'x' * 65536) # 10 MB in one line
    os.write(1, b'\\n')
    for _ in range(20000):
        os.write(2, b'y' * 500 + b'\\n')
say('Starting metrics server on 127.0.0.1:%d/metrics' % serve(Metrics))
if quick:
    say('+' + '-' * 80 + '+')
    say('|  https://%s.trycloudflare.com  |' % ('Same-As-Another' if mode == 'same' else label))
while True:
    time.sleep(1000)
`;

export class FakeCloudflared {
  /* In a directory of the test's. */
  constructor(top) {
    this.dir = path.join(top, 'cloudflared');
    this.program = path.join(this.dir, 'cloudflared');
    fs.mkdirSync(path.join(this.dir, 'runs'), { recursive: true });
    fs.chmodSync(this.dir, 0o755);
    fs.chmodSync(path.join(this.dir, 'runs'), 0o777);
    this.install();
    this.mode = 'good';
  }

  install() {
    fs.writeFileSync(this.program, program(this.dir), { mode: 0o755 });
  }

  set mode(text) {
    fs.writeFileSync(path.join(this.dir, 'mode'), text);
  }

  /* Of all that were ever started, oldest first. */
  runs() {
    return fs.readdirSync(path.join(this.dir, 'runs')).filter((name) => !name.startsWith('.'))
      .map((name) => JSON.parse(fs.readFileSync(path.join(this.dir, 'runs', name), 'utf8'))).sort((a, b) => a.pid - b.pid);
  }

  alive() {
    return this.runs().filter(({ pid }) => isAlive(pid));
  }

  /* What a browser gets at Cloudflare's edge for a URL. */
  async visit(url, { run, path: at = '/', method = 'GET', body, headers = {} } = {}) {
    const { host, hostname } = new URL(url);
    const through = run ?? this.runs().find(({ label }) => hostname.startsWith(`${label}.`));
    const request = http.request({ host: '127.0.0.1', port: through.port, path: at, method, agent: false, headers: { host, ...headers } });
    request.end(body);
    return collect((await once(request, 'response'))[0]);
  }
}

/* Not a zombie either. */
export function isAlive(pid) {
  try {
    return !/^State:\t[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
