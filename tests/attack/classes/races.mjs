/* B2: the file routes are asked by a client, done by the agent, and the names are the attacker's. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import * as report from '../lib/report.mjs';
import { refusedItems } from '../lib/verdict.mjs';

const ROUNDS = 60;
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'b/a', 'd/file', 'f/root/x', 'a/../b/a'];

const json = (path, body) => ['POST', `container/api/${path}`, JSON.stringify(body)];

/* One of each kind of request, about a name that is something else by the time that it is looked up. */
const requests = (at) => [
  ['GET', `file${at}`],
  ['PUT', `file${at}`, 'evil'],
  json('read', { path: at }),
  json('write', { path: at, content: 'evil' }),
  json('exists', { path: at }),
  json('stat', { path: at }),
  json('list-files', { path: at, options: { recursive: true, includeHidden: true } }),
  json('mkdir', { path: `${at}/new`, recursive: true }),
  json('rename', { oldPath: at, newPath: `${at}.new` }),
  json('move', { sourcePath: `${at}.new`, destinationPath: at }),
  json('delete', { path: at }),
];

export function registerRaces(world) {
  test('B2-race: names that change between look and use lead no file route out, and hold nobody up', async () => {
    const sandbox = await world.sandbox({ limits: { cpuMillis: 1000 } });
    const before = fs.statSync(world.canary);
    assert.equal((await sandbox.exec(['mkdir', '/workspace/race'])).status, 0);
    const swapping = sandbox.start(['B2-swap', '/workspace/race', world.canaryDirectory]);
    await swapping.line;

    const answers = { done: 0, refused: 0 };
    const ask = async ([method, route, body]) => {
      const response = await fetch(`${sandbox.base}/${route}`, { method, body, signal: AbortSignal.timeout(120_000) });
      const text = await response.text();
      answers[response.ok ? 'done' : 'refused']++;
      if (!response.ok) assert.ok(JSON.parse(text).code, `${method} ${route}: ${response.status} without a code: ${text}`);
    };
    for (let round = 0; round < ROUNDS; round++) await Promise.all(requests(`/workspace/race/${NAMES[round % NAMES.length]}`).map(ask));
    const archive = await fetch(`${sandbox.base}/persist`, { method: 'POST', signal: AbortSignal.timeout(120_000) });
    await archive.arrayBuffer().catch(() => {}); /* tar may give up on what it read */
    assert.ok(answers.done > 0 && answers.refused > 0, JSON.stringify(answers));

    const after = fs.statSync(world.canary);
    assert.deepEqual([after.mtimeMs, after.ctimeMs, after.ino], [before.mtimeMs, before.ctimeMs, before.ino]);
    assert.equal(fs.readFileSync(world.canary, 'utf8'), 'canary');
    const now = await sandbox.describe();
    assert.equal(now.generation, sandbox.generation, 'the agent did not survive');
    assert.equal((await sandbox.exec(['true'])).status, 0);
    await sandbox.destroy();
    const swapped = await swapping.done;
    assert.ok(swapped.error, 'it went on until its sandbox ended');
    report.add({ id: 'B2-race', items: answers.done + answers.refused, layers: [`the sandbox's own root (${answers.done} done inside, ${answers.refused} refused)`] });
  });

  test('B2-deputy: what a program inside may not open, no file route opens for it', async () => {
    const sandbox = await world.shared();
    const paths = async (probe, verb) => refusedItems(await sandbox.probe([probe])).map(({ name }) => name)
      .filter((name) => name.startsWith(`${verb} /`)).map((name) => name.slice(verb.length + 1));
    const [writable, telling] = [await paths('B5-write', 'write'), await paths('B5-read', 'look at')];
    assert.ok(writable.length > 20 && telling.length > 5, `${writable.length} ${telling.length}`);
    const through = [];
    for (const path of writable) {
      /* An empty body: a file of the kernel's that could be opened after all is not changed by it. */
      const put = await fetch(`${sandbox.base}/file${path}`, { method: 'PUT', body: '' });
      if (put.ok) through.push(`PUT ${path}`);
      const write = await fetch(`${sandbox.base}/container/api/write`, { method: 'POST', body: JSON.stringify({ path, content: '' }) });
      if (write.ok) through.push(`write ${path}`);
    }
    for (const path of telling) {
      const got = await fetch(`${sandbox.base}/file${path}`);
      if (got.ok && (await got.text()).length > 0) through.push(`GET ${path}`);
    }
    assert.deepEqual(through, []);
    assert.equal((await sandbox.describe()).generation, sandbox.generation);
    report.add({ id: 'B2-deputy', items: 2 * writable.length + telling.length, layers: ['read-only and masked /proc and /sys, for the agent too'] });
  });
}
