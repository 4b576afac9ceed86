/* Many idle WebSockets, as bytes: `serve PORT` takes them, `open PORT HOST COUNT` holds them through a proxy. */
import net from 'node:net';

const [verb, port, host, count] = process.argv.slice(2);

function serve() {
  net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n'));
  }).listen(Number(port), '127.0.0.1', 16384);
}

function open() {
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), '127.0.0.1');
    socket.on('error', reject);
    socket.once('data', (data) => (String(data).startsWith('HTTP/1.1 101 ') ? resolve(socket) : reject(new Error(String(data)))));
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
  });
}

if (verb === 'serve') {
  serve();
} else {
  for (let i = 0; i < Number(count); i += 100)
    await Promise.all(Array.from({ length: Math.min(100, Number(count) - i) }, open));
  console.log('open');
}
