/* How libberm takes streams and terminals that are late, broken or hostile, seen through `berm`. Needs no sandbox. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';

import { stream, withMock } from './mock.mjs';
import { berm, start } from './program.mjs';

const data = (event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`;
const follow = (body, check) => withMock(
  (request, response) => {
    request.resume();
    stream(response).end(body);
  },
  async (mock, env) => check(await berm(['process', 'logs', '-f', 'mock', 'p'], { env })));

test('a process is followed to its exit, whatever comes between', () =>
  follow(`: comment\n\n${data({ type: 'process_info' })}${data({ type: 'stdout', data: 'größe\n' })}${data({ type: 'later', x: 1 })}` +
    data({ type: 'stderr', data: 'e' }) + data({ type: 'exit', exitCode: 12 }), ({ out, err, status }) => {
    assert.deepEqual([out, err, status], ['größe\n', 'e', 12]);
  }));

for (const [what, body] of [
  ['ends without a status', data({ type: 'stdout', data: 'x' })],
  ['has an event that is not JSON', data('{')],
  ['has an event without a type', data({ kind: 'stdout' })],
  ['has output that is a number', data({ type: 'stdout', data: 5 })],
  ['has an exit code that is a text', data({ type: 'exit', exitCode: 'zero' })],
]) {
  test(`a stream that ${what} is a failure of berm`, () => follow(body, ({ status, err }) => {
    assert.equal(status, 1);
    assert.match(err, /^berm: the stream /m);
  }));
}

test('what came before a stream broke is shown', () =>
  follow(data({ type: 'stdout', data: 'first\n' }) + data('{'), ({ out, status }) => {
    assert.equal(out, 'first\n');
    assert.equal(status, 1);
  }));

test('a reader that waits holds the stream up, and loses nothing', async () => {
  const line = data({ type: 'stdout', data: `${'x'.repeat(65535)}\n` });
  let written = 0;
  await withMock(
    (request, response) => {
      request.resume();
      stream(response);
      const more = () => {
        while (written++ < 2000) if (!response.write(line)) return response.once('drain', more);
        return response.end(data({ type: 'exit', exitCode: 0 }));
      };
      more();
    },
    async (mock, env) => {
      const { child, done } = start(['process', 'logs', '-f', 'mock', 'p'], { env });
      child.stdout.pause();
      /* What the pipes and sockets between us hold is far less than the whole. */
      let before = -1;
      while (before !== written) {
        before = written;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      assert.ok(written < 1500, `${written} pieces were taken without a reader`);
      child.stdout.resume();
      assert.equal((await done).stdout.length, 2000 * 65536);
    });
});

/* --- terminals --- */

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const frame = (opcode, text, first = 0x80) => Buffer.concat([Buffer.from([first | opcode, Buffer.byteLength(text)]), Buffer.from(text)]);
const ends = Buffer.concat([frame(1, '{"type":"exit","code":7}'), frame(8, Buffer.from([0x03, 0xe8]))]);

/* A server that answers the upgrade and then sends `frames`; `accept` may be wrong. */
async function withTerminal({ frames = Buffer.alloc(0), accept, answer, close = true }, check) {
  const seen = [];
  const server = net.createServer((socket) => {
    let head = '';
    socket.on('error', () => {});
    socket.on('data', (piece) => {
      if (head.includes('\r\n\r\n')) return seen.push(piece);
      head += piece.toString('latin1');
      const key = /Sec-WebSocket-Key: (.*)\r\n/.exec(head)?.[1];
      if (!head.includes('\r\n\r\n')) return undefined;
      const proof = accept ?? createHash('sha1').update(key + guid).digest('base64');
      socket.write(answer ?? `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${proof}\r\n\r\n`);
      for (const byte of frames) socket.write(Buffer.from([byte]));
      return close && socket.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const env = { BERM_URL: `http://127.0.0.1:${server.address().port}/some/prefix`, BERM_API_KEY: 'secret-of-sixteen' };
    await check(await berm(['shell', 'mock'], { env }), seen);
  } finally {
    server.close();
  }
}

test('a terminal shows bytes and ends with its program, in pieces of any size', () =>
  withTerminal({ frames: Buffer.concat([frame(2, 'one'), frame(9, 'ping'), frame(2, 'two', 0), frame(0, ' three'), frame(1, '{"type":"ready"}'), ends]) }, ({ out, status }) => {
    assert.deepEqual([out, status], ['onetwo three', 7]);
  }));

for (const [what, options, message] of [
  ['proves nothing', { accept: 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=', frames: ends }, /not that of a WebSocket/],
  ['is not HTTP', { answer: 'hello\r\n\r\n' }, /not HTTP/],
  ['is a refusal', { answer: 'HTTP/1.1 404 Not Found\r\nContent-Length: 33\r\n\r\n{"error":"no such","code":"gone"}' }, /no such/],
  ['is a redirect', { answer: 'HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n' }, /answered 302/],
  ['is cut off', { frames: frame(2, 'x') }, /connection broke/],
  ['closes before its program ended', { frames: frame(8, Buffer.from('\x03\xe9away', 'latin1')) }, /was closed: away/],
  ['masks its frames', { frames: Buffer.from([0x82, 0x81, 1, 2, 3, 4, 5]) }, /malformed/],
  ['has reserved bits', { frames: frame(2, 'x', 0xc0) }, /malformed/],
  ['announces more than anybody wants', { frames: Buffer.from([0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]) }, /malformed/],
  ['tells what is not JSON', { frames: frame(1, '{') }, /malformed/],
]) {
  test(`a terminal that ${what} is a failure of berm`, () => withTerminal(options, ({ status, err }) => {
    assert.equal(status, 1, err);
    assert.match(err, message);
    assert.doesNotMatch(err, /secret/);
  }));
}

test('what came along with the answer that opened a terminal is shown at once', async () => {
  const server = net.createServer((socket) => {
    let head = '';
    socket.on('error', () => {});
    socket.on('data', (piece) => {
      if (head.includes('\r\n\r\n')) return;
      head += piece.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      const proof = createHash('sha1').update(/Sec-WebSocket-Key: (.*)\r\n/.exec(head)[1] + guid).digest('base64');
      socket.write(Buffer.concat([Buffer.from(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${proof}\r\n\r\n`),
        frame(2, 'prompt'), frame(1, '{"type":"ready"}')]));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const shell = start(['shell', 'mock'], { env: { BERM_URL: `http://127.0.0.1:${server.address().port}` }, keepStdin: true });
  try {
    assert.equal(String((await once(shell.child.stdout, 'data'))[0]), 'prompt');
  } finally {
    shell.child.kill('SIGTERM');
    await shell.done;
    server.close();
  }
});
