/* A real browser that is logged in to the console and looks at a page that a sandbox wrote; and the console over TLS. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';

import { makeCertificate } from '../edge/certificates.mjs';
import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { Browser, whyNoBrowser } from './browser.mjs';

const skip = whyNoDaemon() ?? whyNoBrowser();

describe('the console beside hostile pages', { skip }, () => {
  let daemon, api, browser, page, home, secure, files, preview;

  before(async () => {
    files = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-tls-'));
    fs.chmodSync(files, 0o755);
    const certificate = makeCertificate(files, 'localhost', ['localhost']);
    fs.chmodSync(certificate, 0o644);
    daemon = await new Daemon({ poolSize: 1, options: ['--sandbox-image', 'base', '--tls-listen', '127.0.0.1:0', '--tls-certificate', certificate] }).start();
    const { address } = daemon.log('tls.listening')[0];
    home = `http://localhost:${daemon.port}/`;
    secure = `https://localhost:${address.slice(address.lastIndexOf(':') + 1)}/`;
    api = new Api(daemon);
    api.key = (await api.post('/v1/keys', {})).json.key;
    await api.put('/v1/sandbox/hostile/file/workspace/index.html', '<!doctype html><title>hostile</title>');
    await api.exec('hostile', 'nohup python3 -m http.server 8080 >/dev/null 2>&1 &');
    await until('the server listens', async () => (await api.exec('hostile', 'cat /proc/net/tcp')).out.includes(':1F90 '));
    preview = (await api.post('/v1/sandbox/hostile/ports', { port: 8080 })).json;
    browser = await Browser.open({ ignoreHTTPSErrors: true });
    ({ page } = browser);
  });
  after(async () => {
    await browser.close();
    api.close();
    await daemon.stop();
    fs.rmSync(files, { recursive: true });
  });

  async function login(url) {
    await page.goto(url);
    await page.getByLabel('API key').fill(api.key);
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: 'hostile' }).waitFor();
  }

  const sandboxes = async () => (await api.get('/v1/sandboxes')).json.sandboxes.map(({ id }) => id);

  test('a page of a preview can use the cookie for nothing', async () => {
    await login(home);
    const evil = await browser.context.newPage();
    for (const url of [preview.url, home + preview.path.slice(1)]) {
      await evil.goto(url);
      assert.equal(await evil.title(), 'hostile');
      const outcome = await evil.evaluate(async (target) => {
        const read = (url, options) => fetch(url, { credentials: 'include', ...options }).then((response) => response.status, () => 'refused');
        const socket = new WebSocket(`${target.replace('http', 'ws')}v1/sandbox/hostile/pty`);
        const terminal = new Promise((resolve) => {
          socket.onopen = () => resolve('open');
          socket.onclose = () => resolve('refused');
        });
        return {
          list: await read(`${target}v1/sandboxes`),
          make: await read(`${target}v1/sandbox/made/exec`, { method: 'POST', mode: 'no-cors', body: '{"argv":["true"]}' }),
          logout: await read(`${target}v1/logout`, { method: 'POST', mode: 'no-cors' }),
          terminal: await terminal,
        };
      }, home);
      assert.deepEqual([outcome.list, outcome.terminal], ['refused', 'refused'], url);
    }
    /* By a form, which needs no script of its own and sends the page's visitor along. */
    await evil.goto(preview.url);
    await Promise.all([evil.waitForURL((url) => url.href.startsWith(home), { waitUntil: 'commit' }), evil.evaluate((target) => {
      const form = Object.assign(document.createElement('form'), { method: 'POST', enctype: 'text/plain', action: `${target}v1/sandbox/formed/exec` });
      form.append(Object.assign(document.createElement('input'), { name: '{"argv":["true"],"x":"', value: '"}' }));
      document.body.append(form);
      form.submit();
    }, home)]);
    assert.match(await evil.innerText('body'), /unauthorized/);
    assert.deepEqual(await sandboxes(), ['hostile']);
    await evil.close();
    await page.reload();
    await page.getByRole('link', { name: 'hostile' }).waitFor(); /* not logged out either */
  });

  test('a cookie that a preview puts beside the console\'s logs nobody out', async () => {
    const evil = await browser.context.newPage();
    await evil.goto(preview.url);
    await evil.evaluate(`document.cookie = 'berm-session=${'b'.repeat(52)}; Domain=localhost; Path=/v1'`);
    /* Chromium refuses that for localhost. Under a domain of one's own it does not: the same, put there by hand. */
    await browser.context.addCookies([{ name: 'berm-session', value: 'b'.repeat(52), domain: 'localhost', path: '/v1' }]);
    await evil.close();
    await page.reload();
    await page.getByRole('link', { name: 'hostile' }).waitFor();
  });

  test('the console stands in no frame', async () => {
    const evil = await browser.context.newPage();
    await evil.goto(preview.url);
    const refused = evil.waitForEvent('console', (message) => /frame-ancestors/.test(message.text()));
    await evil.evaluate((target) => document.body.append(Object.assign(document.createElement('iframe'), { src: target })), home);
    await refused;
    await evil.close();
  });

  test('over TLS the cookie is bound to its host, and terminals work', async () => {
    await login(secure);
    const cookies = (await browser.context.cookies(secure)).filter(({ name }) => name === '__Host-berm-session');
    assert.deepEqual(cookies.map(({ secure: only, httpOnly, sameSite, path: where }) => ({ only, httpOnly, sameSite, where })),
      [{ only: true, httpOnly: true, sameSite: 'Strict', where: '/' }]);
    await page.getByRole('link', { name: 'hostile' }).click();
    await page.locator('[data-status=ready]').waitFor();
    await page.keyboard.type('echo $((6 * 7))-over-tls\n');
    await page.locator('.xterm-rows').filter({ hasText: '42-over-tls' }).waitFor();
  });
});
