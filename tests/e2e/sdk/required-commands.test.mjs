/*
 * The statements that the reference marks as required by upstream's own tests, about sessions and commands (10 and group A
 * of 90), one test each, with the published client over each of its transports. docs/compatibility.md lists them.
 */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { SESSIONLESS } from '../agent/helper.mjs';
import { test } from '../lib/test.mjs';
import { Clients, eventsOf as all } from './lib/clients.mjs';
import { Sdk } from './lib/sandbox.mjs';

const ABANDONED_MS = 150; // after which a command is given up that waits for a gate

const textOf = (events, type) => events.filter((e) => e.type === type).map((e) => e.data).join('');

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`what is required of commands, over ${transport}`, () => {
    let clients;
    let agent;
    let target;
    let sandbox;
    let bare; // without a default session
    let sessions = 0;
    const newSession = (options = {}) => sandbox.createSession({ id: `own-${++sessions}`, ...options });

    before(async () => {
      clients = await Clients.open(transport, { CLOUDFLARE_PLACEMENT_ID: 'place-7', OF_IMAGE: 'image', BOTH: 'image' });
      ({ agent, target, sandbox, bare } = clients);
    });
    after(() => clients.close());

    /* A command that waits for a gate and is given up meanwhile; the gate opens for it later. */
    const abandon = async (session, { before: first = 'true', after: then }) => {
      const gate = await agent.gate();
      await assert.rejects(session.exec(`${first}; ${gate.wait}; ${then}`, { timeout: ABANDONED_MS }), /timeout/);
      return gate;
    };

    test('10.2: a second create of a session is a 409 of its own class, with the session and the placement id', async () => {
      const session = await newSession();
      await assert.rejects(sandbox.createSession({ id: session.id }), (error) => {
        assert.deepEqual([error.name, error.code, error.httpStatus], ['SessionAlreadyExistsError', 'SESSION_ALREADY_EXISTS', 409]);
        assert.deepEqual(error.context, { sessionId: session.id, containerPlacementId: 'place-7' });
        if (transport !== 'rpc') assert.equal(typeof error.suggestion, 'string');
        return true;
      });
    });

    test('A16: a new object takes the default session that is there for its own, and its placement id', async () => {
      await sandbox.exec('export OF_THE_FIRST=1');
      const again = await Sdk.open(target, { transport });
      assert.equal((await again.sandbox.exec('echo $OF_THE_FIRST')).stdout, '1');
      assert.equal(await again.object.getContainerPlacementId(), 'place-7');
      await again.close();
    });

    test('10.2: a directory that is not there starts the session at home, without an error', async () => {
      const session = await newSession({ cwd: '/no/such/directory' });
      assert.equal((await session.exec('pwd; echo $HOME')).stdout, '/root\n/root');
    });

    test('10.2: of two creates of one id at the same time one wins', async () => {
      const made = await Promise.allSettled(['a', 'b'].map(() => sandbox.createSession({ id: 'contested' })));
      assert.deepEqual(made.map((m) => m.status).sort(), ['fulfilled', 'rejected']);
      assert.equal(made.find((m) => m.status === 'rejected').reason.code, 'SESSION_ALREADY_EXISTS');
    });

    test('10.2: of an abandoned command nothing more is run once its session is deleted', async () => {
      const session = await newSession();
      const gate = await abandon(session, { before: 'echo $$ >/tmp/owner', after: 'touch /tmp/never' });
      await sandbox.exec('while [ ! -s /tmp/owner ]; do sleep 0.01; done');
      await sandbox.deleteSession(session.id);
      await sandbox.exec(`exec 5<>${gate.path}; echo >&5; while kill -0 $(cat /tmp/owner) 2>/dev/null; do sleep 0.01; done`);
      assert.equal((await sandbox.exists('/tmp/never')).exists, false);
    });

    test('10.2: deleting a session ends its processes, and their streams have a last event', async () => {
      const session = await newSession();
      const process = await session.startProcess('echo up; sleep 600');
      const stream = all(await sandbox.streamProcessLogs(process.id));
      const events = all(await session.execStream('echo up; sleep 600'));
      await process.waitForLog('up');
      await sandbox.deleteSession(session.id);
      assert.equal((await stream).at(-1).type, 'exit');
      const last = (await events).at(-1);
      assert.equal(last.type, 'complete');
      assert.ok(last.exitCode > 0);
      assert.match((await sandbox.getProcess(process.id)).status, /^(killed|error)$/);
    });

    for (const [command, stdout] of [['cat', ''], ['read x; echo "[$?]"', '[1]'], ['grep foo; echo "[$?]"', '[1]'], ['wc -c', '0']]) {
      test(`10.3, A18: stdin of "${command}" is at its end in every mode`, async () => {
        assert.equal((await sandbox.exec(command)).stdout.trim(), stdout);
        assert.equal((await bare.sandbox.exec(command)).stdout.trim(), stdout);
        for (const one of [sandbox, bare.sandbox]) {
          assert.equal(textOf(await all(await one.execStream(command)), 'stdout').trim(), stdout);
          const process = await one.startProcess(command);
          await process.waitForExit();
          assert.equal((await one.getProcessLogs(process.id)).stdout.trim(), stdout);
        }
      });
    }

    test('10.3: an unknown command is 127 with "not found", and the session stays', async () => {
      const { success, exitCode, stderr } = await sandbox.exec('no-such-command-z --flag');
      assert.deepEqual([success, exitCode], [false, 127]);
      assert.match(stderr, /not found/);
      assert.equal((await sandbox.exec('echo on')).stdout, 'on');
    });

    test('10.3, A9: a directory of one command that is not there is told, and nothing is run', async () => {
      const result = await sandbox.exec('touch /tmp/ran-anyway', { cwd: '/no/such dir' });
      assert.deepEqual([result.success, result.exitCode, result.stdout], [false, 1, '']);
      assert.match(result.stderr, /^Failed to change directory to '\/no\/such dir'/);
      assert.equal((await sandbox.exists('/tmp/ran-anyway')).exists, false);
      await assert.rejects(bare.sandbox.exec('true', { cwd: '/no/such dir' }), { code: 'COMMAND_EXECUTION_ERROR', httpStatus: 500 });
    });

    test('10.3, A13: variables of one command are put back, also those that it exports again', async () => {
      const session = await newSession({ env: { KEPT: 'own' } });
      const inside = await session.exec('printf "%s|%s" "$KEPT" "$NEW"; export KEPT=changed NEW=changed', { env: { KEPT: 'once', NEW: '$(no) `no` "\'\n' } });
      assert.equal(inside.stdout, 'once|$(no) `no` "\'');
      assert.equal((await session.exec('echo "$KEPT|${NEW-unset}"')).stdout, 'own|unset');
    });

    test('10.3, A13: the directory of one command is left again, also when it goes elsewhere', async () => {
      const session = await newSession({ cwd: '/tmp' });
      assert.equal((await session.exec('pwd; cd /etc; pwd', { cwd: '/' })).stdout, '/\n/etc');
      assert.equal((await session.exec('pwd')).stdout, '/tmp');
    });

    test('10.3: a variable is that of the command, else of the session, else of the image', async () => {
      const session = await newSession({ env: { BOTH: 'session' } });
      const show = (options) => session.exec('echo "$BOTH $OF_IMAGE"', options).then((r) => r.stdout);
      assert.equal(await show({ env: { BOTH: 'command', OF_IMAGE: 'command' } }), 'command command');
      assert.equal(await show(), 'session image');
      await session.exec('export BOTH=exported');
      assert.equal(await show(), 'exported image');
      assert.equal((await (await newSession()).exec('echo $BOTH')).stdout, 'image');
    });

    test('10.3: a name that is no name of a variable is an error that says so, and nothing is run', async () => {
      await assert.rejects(sandbox.exec('touch /tmp/ran-anyway', { env: { 'a-b': 'x' } }),
        (error) => error.code === 'COMMAND_EXECUTION_ERROR' && /Invalid environment variable name/.test(error.message));
      assert.equal((await sandbox.exists('/tmp/ran-anyway')).exists, false);
    });

    test('10.3, A3: a command that takes too long is an error with the limit in its words, and goes on', async () => {
      const session = await newSession();
      const gate = await agent.gate();
      await assert.rejects(session.exec(`touch /tmp/effect; ${gate.wait}; touch /tmp/went-on`, { timeout: ABANDONED_MS }), (error) => {
        assert.deepEqual([error.code, error.httpStatus], ['COMMAND_EXECUTION_ERROR', 500]);
        assert.match(error.message, new RegExp(`timeout.*${ABANDONED_MS}ms`));
        return true;
      });
      await sandbox.exec('while [ ! -e /tmp/effect ]; do sleep 0.01; done'); // other sessions are as before
      const behind = session.exec('ls /tmp/went-on');
      await gate.open();
      assert.equal((await behind).stdout, '/tmp/went-on');
    });

    test('10.3: the limit of a command counts before that of its session, both ways', async () => {
      const [short, long] = [await newSession({ commandTimeoutMs: 100 }), await newSession({ commandTimeoutMs: 600000 })];
      await assert.rejects(short.exec('sleep 600'), /timeout.*100ms/);
      await assert.rejects(long.exec('sleep 600', { timeout: 120 }), /timeout.*120ms/);
      const other = await newSession({ commandTimeoutMs: 100 });
      assert.equal((await other.exec('sleep 0.3; echo done', { timeout: 600000 })).stdout, 'done');
      for (const { id } of [short, long, other]) await sandbox.deleteSession(id);
    });

    test('10.3, A17: a session is deleted at once although an abandoned command runs, which that ends', async () => {
      const session = await newSession();
      await assert.rejects(session.exec('sleep 654 & wait', { timeout: ABANDONED_MS }), /timeout/);
      assert.deepEqual(await sandbox.deleteSession(session.id).then((d) => [d.success, d.sessionId]), [true, session.id]);
      assert.equal((await sandbox.exec('echo others live')).stdout, 'others live');
    });

    test('10.3: sessions run beside each other, and a kill waits for none of them', async () => {
      const [one, two] = [await newSession(), await newSession()];
      const process = await one.startProcess('sleep 600');
      const gate = await agent.gate();
      let ended = false;
      const held = one.exec(`${gate.wait}; echo through`).then((result) => { ended = true; return result; });
      assert.equal((await two.exec('echo beside')).stdout, 'beside');
      await one.killProcess(process.id);
      assert.equal(ended, false);
      await gate.open();
      assert.equal((await held).stdout, 'through');
    });

    test('10.3.2, A4: a limit without a session is a result: 124, the line on stderr, all killed', async () => {
      const result = await bare.sandbox.exec('sleep 987 & sleep 987', { timeout: 50 });
      assert.deepEqual([result.success, result.exitCode, result.stdout], [false, 124, '']);
      /* bash may get to say that a child was terminated before it is. */
      assert.match(result.stderr, /^(Terminated\n)?Command timed out after 50ms$/);
      assert.equal((await sandbox.exec('pgrep -fx "sleep 987"')).exitCode, 1);
    });

    test('10.4, A12: a stream that is cancelled does not end its command', async () => {
      const gate = await agent.gate();
      const reader = (await sandbox.execStream(`echo begun; ${gate.wait}; touch /tmp/went-on-alone`)).getReader();
      await reader.read();
      await reader.cancel();
      assert.equal((await sandbox.exec('echo free')).stdout, 'free'); // A11: nor does it hold the session
      await gate.open();
      assert.equal((await sandbox.exec('while [ ! -e /tmp/went-on-alone ]; do sleep 0.01; done; echo seen')).stdout, 'seen');
    });

    test('10.4.1: an unknown command in a stream is its words on stderr and 127; false is 1', async () => {
      const events = await all(await sandbox.execStream('no-such-command-z'));
      assert.match(textOf(events, 'stderr'), /not found/);
      assert.deepEqual([events[0].type, events.at(-1).type, events.at(-1).exitCode], ['start', 'complete', 127]);
      assert.equal((await all(await sandbox.execStream('false'))).at(-1).exitCode, 1);
    });

    test('10.4.2: a stream without a session has what was written and no newline more', async () => {
      const events = await all(await bare.sandbox.execStream("printf '%s' x"));
      assert.deepEqual(events.map((e) => e.type), ['start', 'stdout', 'complete']);
      assert.equal(textOf(events, 'stdout'), 'x');
    });

    test('A1: exit ends the session with its code and words; the next call has a new one without its state', async () => {
      const session = await newSession({ env: { OWN: 'x' }, cwd: '/tmp' });
      await assert.rejects(session.exec('echo lost; exit 42'), (error) => {
        assert.deepEqual([error.name, error.code, error.httpStatus], ['SessionTerminatedError', 'SESSION_TERMINATED', 410]);
        assert.deepEqual([error.context.sessionId, error.context.exitCode], [session.id, 42]);
        assert.match(error.message, /shell exited.*exit code: 42/);
        return true;
      });
      assert.equal((await session.exec('echo "${OWN-none} $PWD"')).stdout, 'none /workspace');
      assert.equal((await bare.sandbox.exec('exit 42')).exitCode, 42); // A2
    });

    test('A6: a limit of 0 is over at once', async () => {
      await assert.rejects(agent.post('/api/execute', { command: 'sleep 600', sessionId: 'zero', timeoutMs: 0 }).then((reply) => {
        assert.equal(reply.status, 500);
        throw Object.assign(new Error(reply.json.message), { code: reply.json.code });
      }), { code: 'COMMAND_EXECUTION_ERROR', message: /timeout.*0ms/ });
      await sandbox.deleteSession('zero');
    });

    test('A8: one newline goes in a session, none without, and a session\'s stream ends in one', async () => {
      for (const [command, inSession, without, streamed] of [['printf x', 'x', 'x', 'x\n'], ['echo x', 'x', 'x\n', 'x\n'],
        ["printf 'a\\n\\n'", 'a\n', 'a\n\n', 'a\n\n'], ["printf 'a\\0b'", 'ab', 'a\0b', 'ab\n']]) {
        assert.equal((await sandbox.exec(command)).stdout, inSession, command);
        assert.equal((await bare.sandbox.exec(command)).stdout, without, command);
        assert.equal(textOf(await all(await sandbox.execStream(command)), 'stdout'), streamed, command);
      }
    });

    test('95: null variables are skipped, unset by setEnvVars, and an empty one is set', async () => {
      const shown = await sandbox.exec('echo "${A-unset} ${B-unset}"', { env: { A: undefined, B: '' } });
      assert.equal(shown.stdout, 'unset ');
      await sandbox.setEnvVars({ C: 'x', D: '' });
      assert.equal((await sandbox.exec('echo "$C ${D-unset}"')).stdout, 'x ');
      await sandbox.setEnvVars({ C: null });
      assert.equal((await sandbox.exec('printenv C')).exitCode, 1);
      assert.equal((await agent.run('echo "${N-unset}"', { session: SESSIONLESS, env: { N: null } })).stdout, 'unset\n');
    });

    test('95: session state is shared by the requests of one session and by nobody else', async () => {
      const [one, two] = [await newSession({ env: { WHO: 'one' } }), await newSession({ env: { WHO: 'two' }, cwd: '/tmp' })];
      await one.exec('mine() { echo "mine $WHO"; }; export LATER=1; mkdir -p sub; cd sub');
      assert.equal((await one.exec('mine; pwd')).stdout, 'mine one\n/workspace/sub');
      assert.equal((await two.exec('mine; echo "$? $WHO ${LATER-none} $PWD"')).stdout, '127 two none /tmp');
      await one.writeFile('/tmp/of-one', 'shared');
      assert.equal((await two.readFile('of-one')).content, 'shared');
    });

    test('E7: commands see the version of the server', async () => {
      assert.equal((await sandbox.exec('echo $SANDBOX_VERSION $LANG $LC_ALL')).stdout, '0.12.10 C.UTF-8 C.UTF-8');
    });
  });
}
