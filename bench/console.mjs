/* What the console costs: a list of a thousand sandboxes, and the open page of a busy one. Exit status 3: a target was missed. */
import { Api } from '../tests/e2e/lib/api.mjs';
import { Daemon } from '../tests/e2e/lib/daemon.mjs';
import { Browser, cpuSeconds } from '../tests/e2e/console/browser.mjs';
import { daemonWithAThousand, openList } from '../tests/e2e/console/thousand.mjs';

const RUNS = 20, SECONDS = 10;
let missed = false;

function target(what, value, unit, limit) {
  const met = value <= limit;
  missed ||= !met;
  console.log(`  ${what.padEnd(40)} ${value.toFixed(1).padStart(10)} ${unit.padEnd(12)}  target <= ${limit}   ${met ? 'met' : 'NOT MET'}`);
}

async function list() {
  const daemon = await daemonWithAThousand();
  const browser = await Browser.open();
  const times = [];
  await openList(browser.page, daemon); /* the code is cold */
  for (let i = 0; i < RUNS; i++) times.push(await openList(browser.page, daemon));
  await browser.close();
  await daemon.stop();
  times.sort((a, b) => a - b);
  target('a list of 1,000, p50', times[RUNS / 2], 'ms', 100);
  console.log(`  min ${times[0].toFixed(1)} ms, max ${times.at(-1).toFixed(1)} ms, n=${RUNS}`);
}

async function busy() {
  const daemon = await new Daemon({ poolSize: 1, options: ['--sandbox-image', 'base'] }).start();
  const api = new Api(daemon);
  await api.exec('busy', 'nohup sh -c "while :; do :; done" >/dev/null 2>&1 &');
  const browser = await Browser.open();
  await browser.page.goto(`${daemon.url}/#/s/busy/processes`);
  await browser.page.locator('.stat').first().filter({ hasText: /^CPU\d\d\d? %/ }).waitFor();
  await browser.page.waitForTimeout(2000); /* what loading left behind */
  const from = { cpu: cpuSeconds(browser.profile), time: performance.now() };
  await browser.page.waitForTimeout(1000 * SECONDS);
  const share = (cpuSeconds(browser.profile) - from.cpu) / ((performance.now() - from.time) / 1000);
  await browser.close();
  api.close();
  await daemon.stop();
  target('the page of a busy sandbox', 100 * share, '% of a core', 5);
}

console.log('the console, in headless Chromium');
await list();
await busy();
process.exit(missed ? 3 : 0);
