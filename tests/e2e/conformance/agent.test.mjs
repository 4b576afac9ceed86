/* Statements of the control server's reference at their edges, through the daemon. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('conformance of the control server', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  let execute;

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
    const id = await api.newId();
    execute = (command, sessionId, more = {}) => api.post(`/v1/sandbox/${id}/container/api/execute`, { command, sessionId, ...more });
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('no name of a variable is refused without the words that clients look for', async () => {
    for (const name of ['1A', 'A-B', '', 'A=B', 'A B']) {
      const { status, json } = await execute('echo ran', 'names', { env: { [name]: 'x' } });
      assert.ok(status >= 400, `${name}: ${status}`);
      assert.match(json.message, /Invalid environment variable name/);
    }
  });

  test('a shell that can no longer report is a typed error, not silence', async () => {
    const { status, json } = await execute('exec 10<&- 11<&- 12<&-', 'mute', { timeoutMs: 20000 });
    assert.deepEqual([status, json.code], [410, 'SESSION_TERMINATED']);
    assert.equal((await execute('echo fresh', 'mute')).json.stdout, 'fresh');
  });

  test('a program that replaces the shell ends it with its own status', async () => {
    for (const [command, exitCode] of [['exec true', 0], ['exec sh -c "exit 6"', 6], ['exec sh -c "kill -9 $$"', 137]]) {
      const { status, json } = await execute(command, 'replaced');
      assert.deepEqual([status, json.code, json.context.exitCode], [410, 'SESSION_TERMINATED', exitCode], command);
    }
  });
});
