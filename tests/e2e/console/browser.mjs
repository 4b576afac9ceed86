/*
 * Debian's Chromium, driven by playwright-core, with a profile of its own and nothing to reach but this machine. What a
 * page says on its console is kept: the tests hold that there is no error.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const PROGRAM = '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE *.localhost , EXCLUDE 127.0.0.1'];
const axe = fs.readFileSync(path.join(root, 'tests/node_modules/axe-core/axe.min.js'), 'utf8');

export const screenshots = path.join(path.resolve(process.env.BERM_BUILD ?? path.join(root, 'build')), 'screenshots');

/* Why there can be no browser here, or undefined. With BERM_MUST_WORK=1 that is an error instead. */
export function whyNoBrowser() {
  if (fs.existsSync(PROGRAM)) return undefined;
  if (process.env.BERM_MUST_WORK === '1') throw new Error(`these tests must run here: ${PROGRAM} is not installed`);
  return `${PROGRAM} is not installed`;
}

export class Browser {
  /* `options`: more of playwright's. */
  static async open(options = {}) {
    const browser = new Browser();
    browser.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-browser-'));
    browser.context = await chromium.launchPersistentContext(browser.profile, { executablePath: PROGRAM, headless: true, args: FLAGS,
      viewport: { width: 1280, height: 800 }, acceptDownloads: true, ...options });
    browser.context.setDefaultTimeout(100000);
    browser.said = [];
    browser.context.on('page', (page) => browser.listen(page));
    browser.page = browser.context.pages()[0];
    browser.listen(browser.page);
    return browser;
  }

  listen(page) {
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && this.said.push(`${message.text()} (${message.location().url})`));
    page.on('pageerror', (error) => this.said.push(String(error)));
  }

  /* Nothing has gone wrong in any page so far. */
  assertQuiet() {
    assert.deepEqual(this.said, []);
  }

  async shot(name, page = this.page) {
    fs.mkdirSync(screenshots, { recursive: true });
    await page.screenshot({ path: path.join(screenshots, `${name}.png`) });
  }

  /* What axe-core finds that is serious or worse, as text. Its script comes by the debugger, past the page's policy. */
  async violations(page = this.page) {
    const session = await this.context.newCDPSession(page);
    await session.send('Runtime.evaluate', { expression: `${axe};0` });
    const { result } = await session.send('Runtime.evaluate', { awaitPromise: true, returnByValue: true,
      expression: 'axe.run({ resultTypes: ["violations"] }).then((r) => r.violations)' });
    await session.detach();
    return result.value.filter(({ impact }) => ['serious', 'critical'].includes(impact))
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
  }

  async close() {
    await this.context.close();
    fs.rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/* The processor time that all processes of the browser with this profile have taken, in seconds. */
export function cpuSeconds(profile) {
  const ticks = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      if (!descends(pid, profile)) return 0;
      const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
      return Number(fields[11]) + Number(fields[12]);
    } catch {
      return 0; /* it has ended in the meantime */
    }
  });
  return ticks.reduce((sum, each) => sum + each, 0) / 100;
}

/* Whether a process or one of those above it was started with the profile. */
function descends(pid, profile) {
  for (let at = pid; Number(at) > 1; at = /^PPid:\s+(\d+)$/m.exec(fs.readFileSync(`/proc/${at}/status`, 'utf8'))[1])
    if (fs.readFileSync(`/proc/${at}/cmdline`, 'utf8').includes(`--user-data-dir=${profile}`)) return true;
  return false;
}
