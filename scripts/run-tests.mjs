/*
 * Runs the test suites one after the other and counts: scripts/node scripts/run-tests.mjs BUILD [SUITE ...]
 * The last line of the output is "N passed, N failed" (", N skipped"); the exit status is 1 when anything failed.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const SUITE_TIMEOUT_MS = 20 * 60 * 1000;
const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '..');
const build = path.resolve(process.argv[2] ?? 'build');
const images = process.env.BERM_IMAGES ?? '/var/lib/berm/images';
const environment = { ...process.env, BERM_BUILD: build, BERM_IMAGES: images };

/* Resolves to the exit status; a suite that hangs is ended with everything it started in its process group. */
function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...environment, ...options.env },
      stdio: ['ignore', options.quiet ? 'ignore' : 'inherit', 'inherit'],
      detached: true,
    });
    const end = (signal) => {
      try {
        process.kill(-child.pid, signal);
      } catch {
        /* it has just ended by itself */
      }
    };
    const timer = setTimeout(() => {
      console.log(`${command} has not ended after ${SUITE_TIMEOUT_MS / 60000} minutes`);
      end('SIGKILL');
    }, SUITE_TIMEOUT_MS);
    const stop = () => end('SIGTERM');
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
    child.on('error', (error) => {
      console.log(`${command}: ${error.message}`);
      clearTimeout(timer);
      resolve(-1);
    });
    child.on('close', (status) => {
      clearTimeout(timer);
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      resolve(status ?? -1);
    });
  });
}

const failures = []; /* a line each, told at the end, where a log that is cut still has it */

/* One test program of cmocka: each of its tests counts; one that died counts as one more failure. */
function countProgram(result) {
  const output = result.stdout ?? '';
  const count = (pattern) => (output.match(pattern) ?? []).length;
  const counts = {
    passed: count(/^\[ {7}OK \] /gm),
    failed: count(/^\[ {2}FAILED {2}\] (?!\d+ test\(s\))(?=[^\n]*$)/gm),
    skipped: count(/^\[ {2}SKIPPED \] (?!\d+ test\(s\))/gm),
  };
  /* cmocka names failed and skipped tests twice: where they happen and in its summary. */
  if (/^\[ {2}FAILED {2}\] \d+ test\(s\), listed below/m.test(output)) counts.failed /= 2;
  if (/^\[ {2}SKIPPED \] \d+ test\(s\), listed below/m.test(output)) counts.skipped /= 2;
  const ok = result.result === 'OK' || result.result === 'SKIP';
  if (!ok && counts.failed === 0) counts.failed = 1;
  if (ok && counts.passed + counts.skipped === 0) counts[result.result === 'OK' ? 'passed' : 'skipped'] = 1;
  return counts;
}

async function unit() {
  const log = path.join(build, 'meson-logs/testlog.json');
  fs.rmSync(log, { force: true });
  const slower = process.env.BERM_SANITIZED ? ['--timeout-multiplier', '4'] : [];
  const status = await run('meson', ['test', '-C', build, '--no-rebuild', '--print-errorlogs', ...slower]);
  const total = { passed: 0, failed: 0, skipped: 0 };
  const lines = fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').filter(Boolean) : [];
  for (const line of lines) {
    const result = JSON.parse(line);
    const counts = countProgram(result);
    if (counts.failed > 0) failures.push(`unit test ${result.name}: ${result.result}`);
    for (const key of Object.keys(total)) total[key] += counts[key];
  }
  if (status !== 0 && total.failed === 0) total.failed = 1;
  return total;
}

function testFiles(directory) {
  return fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.mjs'))
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => !file.includes('node_modules'))
    .sort();
}

/* Test files run three at a time where a suite says so, but those that measure time against time: they are `*.alone.test.mjs`. */
async function nodeSuite(name, concurrency = 1) {
  const directory = path.join(root, 'tests', name);
  const files = fs.existsSync(directory) ? testFiles(directory) : [];
  const alone = files.filter((file) => file.endsWith('.alone.test.mjs'));
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [some, atOnce] of [[files.filter((file) => !alone.includes(file)), concurrency], [alone, 1]]) {
    const counts = await nodeFiles(some, atOnce);
    for (const key of Object.keys(total)) total[key] += counts[key];
  }
  return total;
}

async function nodeFiles(files, concurrency) {
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0 };
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-tests-'));
  const tap = path.join(work, 'tap');
  const failed = path.join(work, 'failed');
  const ours = (name) => new URL(name, import.meta.url).href;
  const reporters = ['spec', 'stdout', 'tap', tap, ours('slowest-tests.mjs'), 'stdout', ours('failed-tests.mjs'), failed].map((value, i) =>
    i % 2 ? `--test-reporter-destination=${value}` : `--test-reporter=${value}`);
  /* The leak checker traces its own process, which the daemon and the agent forbid; unit tests look for leaks. */
  const env = process.env.BERM_SANITIZED ? { ASAN_OPTIONS: 'detect_leaks=0' } : {};
  const status = await run(process.execPath, ['--test', `--test-concurrency=${concurrency}`, ...reporters, ...files], { env });
  const text = fs.existsSync(tap) ? fs.readFileSync(tap, 'utf8') : '';
  if (fs.existsSync(failed)) failures.push(...fs.readFileSync(failed, 'utf8').split('\n').filter(Boolean));
  fs.rmSync(work, { recursive: true });
  const sum = (word) => Number((text.match(new RegExp(`^# ${word} (\\d+)$`, 'm')) ?? [])[1] ?? 0);
  const total = { passed: sum('pass'), failed: sum('fail') + sum('cancelled'), skipped: sum('skipped') + sum('todo') };
  if (status !== 0 && total.failed === 0) total.failed = 1;
  return total;
}

const suites = {
  unit,
  differential: () => nodeSuite('differential'),
  e2e: () => nodeSuite('e2e', 3),
  attack: () => nodeSuite('attack'),
  fault: () => nodeSuite('fault'),
};

const wanted = process.argv.length > 3 ? process.argv.slice(3) : Object.keys(suites);
const total = { passed: 0, failed: 0, skipped: 0 };
const summary = [];
for (const name of wanted) {
  if (!(name in suites)) {
    console.log(`there is no suite ${name}: ${Object.keys(suites).join(' ')}`);
    process.exit(2);
  }
  console.log(`\n== ${name}`);
  const started = Date.now();
  const counts = await suites[name]();
  for (const key of Object.keys(total)) total[key] += counts[key];
  const seconds = Math.round((Date.now() - started) / 1000);
  summary.push(`${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped (${seconds} s)`);
}
console.log(`\n${summary.join('\n')}\n`);
for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ''}`);
process.exit(total.failed > 0 ? 1 : 0);
