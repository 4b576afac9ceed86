/* The JavaScript SDK in a page: the same files, the page's own fetch and WebSocket. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Browser, whyNoBrowser } from '../console/browser.mjs';
import { Daemon, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const sources = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../sdk/js/src');

/* What an application puts before a daemon: its own pages, here the SDK's files, and the daemon's routes under one origin. */
async function startFront(port) {
  const server = http.createServer((request, response) => {
    if (request.url.startsWith('/page/')) {
      const name = path.basename(request.url);
      const isPage = name === 'index.html';
      response.writeHead(200, { 'content-type': isPage ? 'text/html' : 'text/javascript' });
      response.end(isPage ? '<!doctype html><title>page</title>' : fs.readFileSync(path.join(sources, name)));
      return;
    }
    const { method, url, headers } = request;
    request.pipe(http.request({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    }));
  });
  server.on('upgrade', ({ method, url, rawHeaders }, socket, head) => {
    const fields = rawHeaders.map((text, i) => text + (i % 2 ? '\r\n' : ': ')).join('');
    const upstream = net.connect(port, '127.0.0.1', () => upstream.write(`${method} ${url} HTTP/1.1\r\n${fields}\r\n${head}`));
    socket.pipe(upstream).pipe(socket);
    for (const end of [socket, upstream]) end.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

describe('the JavaScript SDK in a browser', { skip: whyNoDaemon() ?? whyNoBrowser() }, () => {
  let daemon;
  let browser;
  let front;
  before(async () => {
    daemon = await new Daemon().start();
    browser = await Browser.open();
    front = await startFront(daemon.port);
    await browser.page.goto(`http://localhost:${front.address().port}/page/index.html`);
  });
  after(async () => {
    await browser.close();
    front.close();
    await daemon.stop();
  });

  test('commands, files, streams, errors and a terminal', async () => {
    const seen = await browser.page.evaluate(async () => {
      const berm = await import('/page/index.js');
      const sandbox = berm.getSandbox('from-a-page', { labels: { in: 'page' } });
      const text = (bytes) => new TextDecoder().decode(bytes);
      const result = { exec: (await sandbox.exec('echo out; echo err >&2; false')) };
      await sandbox.writeFile('/workspace/a.bin', new Blob([new Uint8Array([0, 1, 254])]).stream());
      result.bytes = [...await sandbox.readBytes('/workspace/a.bin')];
      result.stream = [];
      for await (const event of berm.parseSSEStream(await sandbox.execStream('echo one; exit 4'))) result.stream.push(event.data ?? event.exitCode ?? event.type);
      result.error = await sandbox.readFile('/missing').catch((error) => [error instanceof berm.FileNotFoundError, error.code]);
      result.sorted = text((await sandbox.execArgv(['sort'], { stdin: 'b\na\n' })).stdout);
      const terminal = await sandbox.openTerminal({ cols: 90, rows: 25 });
      terminal.write('stty size; exit 6\r');
      let screen = '';
      for await (const piece of terminal) screen += text(piece);
      result.terminal = [screen.includes('25 90'), await terminal.exited];
      await sandbox.destroy();
      return result;
    });
    const { exitCode, stdout, stderr } = seen.exec;
    assert.deepEqual([exitCode, stdout, stderr], [1, 'out', 'err']);
    assert.deepEqual(seen.bytes, [0, 1, 254]);
    assert.deepEqual(seen.stream, ['start', 'one\n', 4]);
    assert.deepEqual(seen.error, [true, 'FILE_NOT_FOUND']);
    assert.equal(seen.sorted, 'a\nb\n');
    assert.deepEqual(seen.terminal, [true, { code: 6 }]);
    /* Chromium itself tells of the answer of 404. */
    assert.ok(browser.said.every((line) => line.includes('404')), browser.said.join('\n'));
  });
});
