/* The checks of the Python SDK, each as a test of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Daemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { whyNotHere } from '../interpreter/helper.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));

describe('the Python SDK', { skip: whyNotHere() }, () => {
  let daemon;
  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
  });
  after(() => daemon.stop());

  for (const group of ['Names', 'Http', 'Blocking', 'Asyncio']) {
    test(group, async () => {
      const env = { ...process.env, BERM_URL: daemon.url, BERM_IMAGE: 'base', PYTHONPATH: path.join(here, '../../../sdk/python/src'), PYTHONDONTWRITEBYTECODE: '1' };
      const child = spawn('python3', ['-W', 'error::DeprecationWarning', path.join(here, 'python_checks.py'), group], { env });
      let report = '';
      child.stderr.on('data', (piece) => (report += piece));
      const [status] = await once(child, 'close');
      assert.equal(status, 0, report);
      assert.match(report, /^Ran [1-9]\d* tests? in .*\n\nOK\n$/m);
    });
  }
});
