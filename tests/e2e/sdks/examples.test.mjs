/* What the READMEs of the SDKs and the examples show is what happens. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Daemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { whyNotHere } from '../interpreter/helper.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');

/* The programs of a README and the output that it shows below each. */
function programs(file, language) {
  const text = fs.readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`\\n\\n\`\`\`text\\n(.*?)^\`\`\``, 'gms'))].map(([, program, output]) => ({ program, output }));
}

describe('the SDKs as their documents show them', { skip: whyNotHere(), concurrency: true }, () => {
  let daemon;
  let work;
  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    work = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-examples-'));
    fs.mkdirSync(path.join(work, 'node_modules'));
    fs.symlinkSync(path.join(root, 'sdk/js'), path.join(work, 'node_modules/berm-sandbox'));
  });
  after(async () => {
    fs.rmSync(work, { recursive: true });
    await daemon.stop();
  });

  async function run(command, args, input = '') {
    const env = { ...process.env, BERM_URL: daemon.url, PYTHONPATH: path.join(root, 'sdk/python/src'), PYTHONDONTWRITEBYTECODE: '1', NO_COLOR: '1' };
    const child = spawn(command, args, { cwd: work, env });
    let out = '';
    let err = '';
    child.stdout.on('data', (piece) => (out += piece));
    child.stderr.on('data', (piece) => (err += piece));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const [status] = await once(child, 'close');
    assert.equal(status, 0, `${command} ${args.join(' ')}: ${err}`);
    return out;
  }

  const kinds = [
    ['sdk/js/README.md', 'js', process.execPath, ['--input-type=module', '-'], 4],
    ['sdk/python/README.md', 'python', 'python3', ['-W', 'error', '-'], 4],
  ];
  for (const [file, language, command, args, count] of kinds) {
    test(`every program in ${file} prints what is shown`, async () => {
      const found = programs(file, language);
      assert.equal(found.length, count);
      const outputs = await Promise.all(found.map(({ program }) => run(command, args, program)));
      assert.deepEqual(outputs.map((output) => output.replace(/ +$/gm, '')), found.map(({ output }) => output));
    });
  }

  test('examples/node draws a chart', async () => {
    fs.copyFileSync(path.join(root, 'examples/node/chart.mjs'), path.join(work, 'chart.mjs'));
    assert.equal(await run(process.execPath, ['chart.mjs', 'out.png']), '{ rows: 3, most: 9 }\n');
    assert.equal(fs.readFileSync(path.join(work, 'out.png')).subarray(1, 4).toString(), 'PNG');
  });

  test('examples/python judges', async () => {
    const out = await run('python3', [path.join(root, 'examples/python/judge.py')]);
    assert.equal(out, 'right: accepted\nwrong: wrong answer\nendless: too slow\ngreedy: died\n');
  });

  test('examples/curl makes its tour', async () => {
    const out = await run(path.join(root, 'examples/curl/tour.sh'), []);
    assert.equal(out, '{"state":"running","labels":{"tour":"yes"},"pids":100}\n{"ok":true}\napple\ncherry\n13\nit\'s $HOME\n{"exit_code":0}\n42\n1\ntrue\n');
  });
});
