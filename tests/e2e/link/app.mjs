/* What runs in the sandboxes of these tests: a server that shows what it was asked, streams, echoes and swallows. */
import { until } from '../lib/daemon.mjs';

export const SERVER = `
import base64, hashlib, http.server, json, socketserver, sys, threading
go = threading.Event()
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def answer(self, body, status=200, headers=()):
        self.send_response(status)
        for k, v in headers: self.send_header(k, v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def chunk(self, text):
        self.wfile.write(b'%x\\r\\n%s\\r\\n' % (len(text), text))
        self.wfile.flush()
    def events(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        self.chunk(b'data: 1\\n\\n')
        go.wait(100)
        go.clear()
        self.chunk(b'data: 2\\n\\n')
        self.wfile.write(b'0\\r\\n\\r\\n')
    def zeros(self, n):
        self.send_response(200)
        self.send_header('Content-Length', str(n))
        self.end_headers()
        piece = bytes(1 << 20)
        while n > 0:
            self.wfile.write(piece[:min(n, len(piece))])
            n -= min(n, len(piece))
    def websocket(self):
        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        self.send_response(101)
        self.send_header('Upgrade', 'websocket')
        self.send_header('Connection', 'Upgrade')
        self.send_header('Sec-WebSocket-Accept', base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2: return
            n = head[1] & 127
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i & 3] for i, b in enumerate(self.rfile.read(n)))
            self.wfile.write(bytes([head[0], n]) + data)
            self.wfile.flush()
    def do_GET(self):
        if self.path == '/go':
            go.set()
            return self.answer(b'gone')
        if self.path == '/events': return self.events()
        if self.path.startswith('/zeros/'): return self.zeros(int(self.path[7:]))
        if self.headers['Upgrade'] == 'websocket': return self.websocket()
        if self.path == '/cookie': return self.answer(b'', 200, [('Set-Cookie', 'a=1; Domain=edge.test; Path=/')])
        self.answer(json.dumps({'path': self.path, 'headers': [[k.lower(), v] for k, v in self.headers.items()]}).encode(), 200, [('Content-Type', 'application/json')])
    def do_POST(self):
        n, total, h = int(self.headers.get('Content-Length', 0)), 0, hashlib.sha256()
        while total < n:
            piece = self.rfile.read(min(1 << 20, n - total))
            if not piece: return
            total += len(piece)
            h.update(piece)
        self.answer(('%d %s' % (total, h.hexdigest())).encode())
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64
    def server_bind(self): # HTTPServer's looks its own name up
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]
S(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
`;

export async function serve(api, id, port) {
  await api.put(`/v1/sandbox/${id}/file/workspace/server.py`, SERVER);
  await api.exec(id, `nohup python3 server.py ${port} >/dev/null 2>&1 &`);
  const hex = port.toString(16).toUpperCase();
  await until('the server listens', async () => (await api.exec(id, 'cat /proc/net/tcp')).out.includes(`:${hex} `));
}
