/* The console as a person uses it: Debian's Chromium, a real daemon, real sandboxes. Pictures go to build/screenshots. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { Browser, whyNoBrowser } from './browser.mjs';
import { daemonWithAThousand, openList } from './thousand.mjs';

const skip = whyNoDaemon() ?? whyNoBrowser();
const HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';

describe('the console', { skip }, () => {
  let daemon, api, browser, page, home;

  before(async () => {
    daemon = await new Daemon({ poolSize: 1, options: ['--sandbox-image', 'base'] }).start();
    api = new Api(daemon);
    api.key = (await api.post('/v1/keys', { label: 'console' })).json.key;
    browser = await Browser.open();
    ({ page } = browser);
    home = `http://localhost:${daemon.port}/`;
  });
  after(async () => {
    await browser.close();
    api.close();
    await daemon.stop();
  });

  const tab = (name) => page.getByRole('tab', { name }).click();
  const button = (name) => page.getByRole('button', { name, exact: true });
  const terminalShows = (text) => page.locator('.xterm-rows').filter({ hasText: text }).waitFor();

  /* A picture of what is there; nothing that axe-core calls serious; nothing broader than the screen. */
  async function look(name) {
    await browser.shot(name);
    assert.deepEqual(await browser.violations(), [], name);
    assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${name} is broader than the screen`);
    browser.assertQuiet();
  }

  test('logs in with a key, by keyboard', async () => {
    await page.goto(home);
    await page.getByLabel('API key').waitFor();
    await look('1-login');
    await page.keyboard.type('berm_certainly-not-this-one');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'not one of the API keys' }).waitFor();
    browser.said = []; /* Chromium calls every 401 an error */
    await page.getByLabel('API key').fill(api.key);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Sandboxes' }).waitFor();
    assert.deepEqual(await page.evaluate('document.cookie'), '', 'scripts cannot see the cookie');
    assert.ok(!(await page.evaluate('JSON.stringify([localStorage, sessionStorage])')).includes(api.key));
    await page.getByText('There is no sandbox yet').waitFor();
    await look('2-no-sandbox');
  });

  test('hears of sandboxes that come and go', async () => {
    await api.put('/v1/sandbox/other', {});
    await page.getByRole('link', { name: 'other' }).waitFor({ timeout: 60000 });
    await api.delete('/v1/sandbox/other');
    await page.getByRole('link', { name: 'other' }).waitFor({ state: 'detached', timeout: 60000 });
  });

  test('creates a sandbox', async () => {
    await button('New sandbox').click();
    await page.getByLabel('Name').fill('A friend of mine');
    await page.getByLabel('Id', { exact: true }).fill('hello');
    await page.getByLabel('Labels').fill('team=a');
    await look('3-create');
    await button('Create').click();
    await page.locator('[data-status=ready]').waitFor();
    const { labels, name } = (await api.get('/v1/sandbox/hello')).json;
    assert.deepEqual([labels, name], [{ team: 'a' }, 'A friend of mine']);
    await page.getByRole('heading', { name: 'A friend of mine' }).waitFor();
  });

  test('types in the terminal', async () => {
    await page.keyboard.type('echo $((6 * 7))-from-here; stty size\n');
    await terminalShows('42-from-here');
    await look('4-terminal');
    const [, rows] = await until('it tells its size', async () => /(\d+) \d+\s*root@/.exec(await page.locator('.xterm-rows').innerText()));
    assert.ok(Number(rows) > 10, 'the terminal has the size of its place');
    await page.reload();
    await terminalShows('42-from-here'); /* the terminal is still there */
  });

  test('makes, edits, uploads, downloads and deletes files', async () => {
    await tab('Files');
    await button('New file').click();
    await page.getByLabel('Name').fill('notes.txt');
    await button('Create').click();
    const editor = page.getByLabel('Content of /workspace/notes.txt');
    await editor.fill(`first line\n${HOSTILE}\n`);
    await page.keyboard.press('Control+s');
    await until('the file is saved', async () => (await api.get('/v1/sandbox/hello/file/workspace/notes.txt')).text === `first line\n${HOSTILE}\n`);
    await page.locator('input[type=file]').setInputFiles({ name: `${'<b>up'}.bin`, mimeType: 'application/octet-stream', buffer: Buffer.from([0, 255, 1]) });
    await page.getByRole('button', { name: '<b>up.bin', exact: true }).waitFor();
    await look('5-files');
    const [download] = await Promise.all([page.waitForEvent('download'), button('Download <b>up.bin').click()]);
    assert.deepEqual([...fs.readFileSync(await download.path())], [0, 255, 1]);
    await button('Delete <b>up.bin').click();
    await button('Delete').click();
    await page.getByRole('button', { name: '<b>up.bin', exact: true }).waitFor({ state: 'detached' });
    assert.equal((await api.get('/v1/sandbox/hello/file/workspace/%3Cb%3Eup.bin')).status, 404);
  });

  test('starts a process, follows its output and kills it', async () => {
    await tab('Processes');
    await page.getByLabel('Command').fill('for i in 1 2 3; do echo "line $i"; done; cat notes.txt; sleep 1000');
    await page.keyboard.press('Enter');
    const log = page.getByRole('log');
    await log.filter({ hasText: 'line 3' }).filter({ hasText: HOSTILE }).waitFor();
    await look('6-processes');
    await page.getByRole('button', { name: /^Kill/ }).click();
    await log.filter({ hasText: 'ended with 143' }).waitFor();
  });

  test('runs Python and JavaScript: text, table, plot, error', async () => {
    await tab('Notebook');
    await page.getByLabel('Code').fill(`import pandas as pd, matplotlib.pyplot as plt
print("some text")
plt.plot([1, 4, 9, 16]); plt.title("squares"); plt.show()
pd.DataFrame({"name": ["one", "two"], "value": [1, 2]})`);
    await page.keyboard.press('Shift+Enter');
    await page.getByRole('img', { name: 'Chart: squares' }).waitFor();
    await page.frameLocator('iframe').getByRole('cell', { name: 'two' }).waitFor();
    assert.ok(await page.getByRole('img', { name: 'Chart: squares' }).evaluate((image) => image.naturalWidth > 100));
    await look('7-notebook');
    await button('Cell').click();
    const cell = page.getByRole('article').nth(1);
    await cell.getByLabel('Language').selectOption('javascript');
    await cell.getByLabel('Code').fill('const all = [1, 2, 3].map((n) => n * 2);\nall.total.value');
    await cell.getByRole('button', { name: 'Run' }).click();
    await cell.locator('.failure').filter({ hasText: 'Cannot read properties of undefined' }).waitFor();
    await look('8-error');
  });

  test('shows HTML without running any of it', async () => {
    await button('Cell').click();
    const cell = page.getByRole('article').nth(2);
    await cell.getByLabel('Language').selectOption('python');
    await cell.getByLabel('Code').fill(`from IPython.display import HTML\nHTML('''${HOSTILE}<a href="${home}" target="_top">out</a><p>marked</p>''')`);
    await cell.getByRole('button', { name: 'Run' }).click();
    await cell.frameLocator('iframe').getByText('marked').waitFor();
    assert.equal(await cell.locator('iframe').getAttribute('sandbox'), '');
    await cell.frameLocator('iframe').getByText('out').click();
    assert.match(page.url(), /notebook$/, 'a link leads nowhere');
    browser.said = []; /* what Chromium tells of what it has refused */
  });

  test('opens a preview and a tunnel with one click', async () => {
    await api.exec('hello', 'nohup python3 -m http.server 8080 >/dev/null 2>&1 &');
    await tab('Ports');
    const chip = page.getByRole('listitem').filter({ hasText: '8080' });
    await chip.getByRole('button', { name: 'Preview' }).click();
    await chip.getByRole('button', { name: 'Tunnel' }).click();
    assert.deepEqual(await page.locator('.chips strong').allInnerTexts(), ['8080'], 'what bermd listens on is not shown');
    const links = page.locator('.url a');
    await links.nth(1).waitFor();
    await look('9-ports');
    const [preview] = await Promise.all([page.context().waitForEvent('page'), links.first().click()]);
    await preview.getByRole('link', { name: 'notes.txt' }).waitFor();
    assert.match(new URL(preview.url()).hostname, /^8080-hello-\w+\.localhost$/);
    assert.equal(await preview.evaluate('window.opener'), null);
    assert.equal(await preview.evaluate(`fetch('${home}v1/sandboxes', { credentials: 'include' }).then((r) => r.status, () => 'refused')`), 'refused');
    await preview.close();
    browser.said = []; /* what the preview's page was refused */
    await button('Close the preview of port 8080').click();
    await until('the preview is gone', async () => (await api.get('/v1/sandbox/hello/ports')).json.ports.length === 0);
  });

  test('shows what egress refused, and changes the policy', async () => {
    await api.exec('hello', 'curl -s -m 2 http://10.0.0.1/');
    await tab('Egress');
    await page.getByRole('cell', { name: '10.0.0.1:80' }).waitFor();
    await button('Deny all').click();
    await until('the policy holds', async () => (await api.get('/v1/sandbox/hello/egress')).json.policy.mode === 'deny');
    const policy = async () => (await api.get('/v1/sandbox/hello/egress')).json.policy;
    await page.getByLabel('Hosts').fill('pypi.org, *.debian.org');
    await page.getByLabel('Address ranges').fill('93.184.216.0/24');
    await page.locator('input[name=ports]').fill('443 8000-8999');
    await button('Apply').click();
    await until('the form holds', async () => (await policy()).cidrs?.length === 1);
    assert.deepEqual(await policy(), { mode: 'deny', hosts: ['pypi.org', '*.debian.org'], cidrs: ['93.184.216.0/24'], ports: [443, '8000-8999'] });
    const detailed = { mode: 'deny', hosts: ['pypi.org', { host: 'example.com', methods: ['GET'] }], deny: { hosts: ['bad.example.com'] } };
    await api.put('/v1/sandbox/hello/egress', detailed);
    await page.waitForFunction(() => document.querySelector('[name=hosts]').value === 'pypi.org example.com');
    await page.getByLabel('Hosts').fill('example.com');
    await button('Apply').click();
    await until('what the form does not show is kept', async () => (await policy()).hosts.length === 1);
    assert.deepEqual(await policy(), { ...detailed, hosts: [{ host: 'example.com', methods: ['GET'] }] });
    await look('10-egress');
    await tab('Details');
    await page.getByRole('cell', { name: 'configured' }).first().waitFor();
    await look('11-details');
  });

  test('text of a sandbox has never become a part of the page', async () => {
    assert.equal(await page.evaluate('window.pwned'), undefined);
    assert.equal(await page.locator('main img[src="x"]').count(), 0);
    for (const frame of page.frames()) assert.equal(await frame.evaluate('window.pwned').catch(() => undefined), undefined);
  });

  test('goes from tab to tab with the arrow keys, and to the search with a slash', async () => {
    await page.getByRole('tab', { name: 'Details' }).press('ArrowRight');
    await page.getByRole('tab', { name: 'Terminal', selected: true }).waitFor();
    await page.goto(home);
    await page.getByRole('link', { name: 'A friend of mine' }).waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('team=b');
    await page.getByText('No sandbox matches.').waitFor();
    await page.getByLabel('Search sandboxes').fill('team=a run');
    await page.getByRole('link', { name: 'A friend of mine' }).waitFor();
    await page.getByLabel('Search sandboxes').fill('');
  });

  test('is light or dark, and fits a phone', async () => {
    const colour = () => page.evaluate('getComputedStyle(document.body.parentElement).backgroundColor');
    const light = await colour();
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.notEqual(await colour(), light);
    await page.getByRole('img', { name: /^CPU/ }).waitFor();
    await look('12-list-dark');
    await button('Switch to light').click();
    assert.equal(await colour(), light);
    await page.reload();
    assert.equal(await colour(), light, 'the choice is kept');
    await page.setViewportSize({ width: 390, height: 780 });
    await page.getByRole('link', { name: 'A friend of mine' }).waitFor();
    await look('13-phone-list');
    await button('Switch to dark').click();
    await page.getByRole('link', { name: 'A friend of mine' }).click();
    await terminalShows('42-from-here');
    await look('14-phone-terminal');
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  test('shows that a sandbox is busy', async () => {
    await api.exec('hello', 'nohup sh -c "while :; do :; done" >/dev/null 2>&1 &');
    await page.locator('.stat').first().filter({ hasText: /^CPU\d\d\d? %/ }).waitFor();
    await look('15-busy');
  });

  test('destroys the sandbox, and logs out', async () => {
    await button('Destroy').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Destroy' }).click();
    await page.getByText('There is no sandbox yet').waitFor();
    assert.equal((await api.get('/v1/sandbox/hello')).status, 404);
    browser.said = browser.said.filter((line) => !/404/.test(line)); /* a figure that was asked for at that moment */
    await button('Log out').click();
    await page.getByLabel('API key').waitFor();
    browser.assertQuiet();
  });
});

describe('a thousand sandboxes', { skip }, () => {
  let daemon, browser;

  before(async () => {
    daemon = await daemonWithAThousand();
    browser = await Browser.open();
  });
  after(async () => {
    await browser.close();
    await daemon.stop();
  });

  test('are listed', async (t) => {
    t.diagnostic(`${(await openList(browser.page, daemon)).toFixed(0)} ms`); /* bench/run console measures it */
    assert.equal(await browser.page.getByRole('table').getAttribute('aria-rowcount'), '1001');
  });

  test('are scrolled through and searched', async () => {
    const { page } = browser;
    await page.goto(`http://localhost:${daemon.port}/#/`);
    await page.getByRole('link', { name: 'copyjjj', exact: true }).waitFor();
    await browser.shot('16-thousand');
    await page.locator('.rows').evaluate((rows) => rows.scrollTo(0, rows.scrollHeight));
    await page.getByRole('link', { name: 'original' }).waitFor();
    assert.ok((await page.getByRole('row').count()) < 60, 'only the rows that are seen are in the page');
    await page.getByLabel('Search sandboxes').fill('copyfgh stage=test');
    await page.getByRole('heading', { name: '1 of 1000' }).waitFor();
    await page.getByRole('link', { name: 'copyfgh' }).waitFor();
    browser.assertQuiet();
  });
});
