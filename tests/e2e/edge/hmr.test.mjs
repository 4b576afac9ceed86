/* People's own dev server: vite with its hot module replacement, and a WebSocket, through preview URLs in a browser. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Browser, whyNoBrowser } from '../console/browser.mjs';
import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

const project = path.join(path.dirname(fileURLToPath(import.meta.url)), 'vite');
const skip = whyNoDaemon() ?? (fs.existsSync(path.join(imagesDir, 'names', 'base')) ? whyNoBrowser() : 'needs the image base');

const FILES = {
  'index.html': '<!doctype html><link rel="icon" href="data:,"><p id="text"></p><script type="module" src="/main.js"></script>',
  'text.js': "export const text = 'before';",
  'main.js': `import { text } from './text.js';
const show = (text) => { document.getElementById('text').textContent = text; };
show(text);
import.meta.hot.accept('./text.js', (changed) => show(changed.text));`,
  'vite.config.js': "export default { clearScreen: false, server: { host: '127.0.0.1', port: 5173, strictPort: true } };",
  'echo.js': `import { WebSocketServer } from 'ws';
new WebSocketServer({ host: '127.0.0.1', port: 8091 }).on('connection', (ws) =>
  ws.on('message', (bytes, binary) => ws.send(bytes, { binary })));`,
};

describe('a dev server in a browser', { skip }, () => {
  let daemon, api, browser, url;
  const id = 'vite';
  const put = (name, text) => api.put(`/v1/sandbox/${id}/file/workspace/app/${name}`, text);
  const expose = async (port) => (await api.post(`/v1/sandbox/${id}/ports`, { port })).json.url;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    await put('modules.tar', execFileSync('tar', ['cf', '-', '-C', project, 'node_modules', 'package.json'], { maxBuffer: 1 << 26 }));
    for (const [name, text] of Object.entries(FILES)) await put(name, text);
    await api.exec(id, 'cd app && tar xf modules.tar && rm modules.tar && (nohup node node_modules/vite/bin/vite.js >vite.log 2>&1 & nohup node echo.js >echo.log 2>&1 &)');
    for (const port of ['1435', '1F9B']) /* 5173 and 8091 */
      await until('both listen', async () => (await api.exec(id, 'cat /proc/net/tcp')).out.includes(`0100007F:${port} `));
    url = await expose(5173);
    browser = await Browser.open();
  });
  after(async () => {
    await browser?.close();
    api.close();
    await daemon.stop();
  });

  test('a file that is edited through the API is replaced in the page, which is not loaded again', async () => {
    const { page } = browser;
    await page.goto(url);
    await page.waitForFunction(() => document.getElementById('text').textContent === 'before');
    await page.evaluate(() => { globalThis.sameDocument = true; });
    await put('text.js', "export const text = 'after';");
    await page.waitForFunction(() => document.getElementById('text').textContent === 'after');
    assert.equal(await page.evaluate(() => globalThis.sameDocument), true);
    browser.assertQuiet();
  });

  test('a WebSocket brings back text and bytes, also many', async () => {
    const echoed = await browser.page.evaluate(async (address) => {
      const ws = new WebSocket(address);
      ws.binaryType = 'arraybuffer';
      await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = () => reject(new Error('no connection')); });
      const say = (message) => new Promise((resolve) => {
        ws.onmessage = ({ data }) => resolve(data);
        ws.send(message);
      });
      const large = await say(new Uint8Array(1 << 20).fill(7));
      const answer = [await say('hällo'), large.byteLength, new Uint8Array(large).every((byte) => byte === 7)];
      ws.close();
      return answer;
    }, (await expose(8091)).replace(/^http/, 'ws'));
    assert.deepEqual(echoed, ['hällo', 1 << 20, true]);
    browser.assertQuiet();
  });
});
