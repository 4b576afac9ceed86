// The published SDK: background processes, their logs and streams, the same over each of its route transports.
// What upstream's own suites process-lifecycle, process-readiness, streaming-operations and stream-controller-race ask.
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { logsAtOnce } from '../agent/helper.mjs';
import { test } from '../lib/test.mjs';
import { Clients, eventsOf as all } from './lib/clients.mjs';
import { sdk as published } from './lib/sandbox.mjs';

const { parseSSEStream, streamFile } = published;

async function until(condition, ms = 60000) {
  for (const end = Date.now() + ms; ; await new Promise((done) => setTimeout(done, 20))) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `not within ${ms} ms`);
  }
}

const text = (events, type) => events.filter((e) => e.type === type).map((e) => e.data).join('');

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`processes with the SDK over ${transport}`, () => {
    let clients;
    let sandbox;
    let bare;

    before(async () => {
      clients = await Clients.open(transport);
      ({ sandbox, bare } = clients);
    });
    after(() => clients.close());

    test('startProcess gives a pid, and the logs right after it hold what was written', async () => {
      let process;
      const logs = await logsAtOnce(async () => (process = await sandbox.startProcess("echo 'hello there'; echo oops >&2")),
        ({ id }) => sandbox.getProcessLogs(id), ({ stdout, stderr }) => stdout && stderr);
      assert.equal(typeof process.pid, 'number');
      assert.match(process.id, /^proc_\d+_[a-z0-9]{6}$/);
      assert.deepEqual([logs.stdout, logs.stderr], ['hello there\n', 'oops\n']);
    });

    test('a started process is in the list at once and running', async () => {
      const process = await sandbox.startProcess('sleep 60', { processId: 'listed' });
      assert.equal(process.id, 'listed');
      const listed = (await sandbox.listProcesses()).find((p) => p.id === 'listed');
      assert.deepEqual([listed.status, listed.command, listed.pid], ['running', 'sleep 60', process.pid]);
      assert.equal(await (await sandbox.getProcess('listed')).getStatus(), 'running');
      await sandbox.killProcess('listed');
      assert.equal((await sandbox.getProcess('listed')).status, 'killed');
      assert.equal(await sandbox.getProcess('no-such-process'), null);
    });

    test('killing what is not there is a 404 that says so', async () => {
      await assert.rejects(sandbox.killProcess('no-such-process'), (error) => {
        assert.deepEqual([error.name, error.code], ['ProcessNotFoundError', 'PROCESS_NOT_FOUND']);
        assert.match(error.message, /not found|does not exist|invalid|unknown/i);
        return true;
      });
    });

    test('killAllProcesses ends them all', async () => {
      for (let i = 0; i < 3; i++) await sandbox.startProcess(`bash -c 'sleep 6${i} & sleep 6${i}; true'`);
      assert.ok((await sandbox.killAllProcesses()) >= 3);
      assert.deepEqual((await sandbox.listProcesses()).filter((p) => p.status === 'running'), []);
    });

    test('a loop that ignores SIGTERM is killed after the grace, with 137', async () => {
      const process = await sandbox.startProcess("bash -c 'trap \"\" TERM; echo ready; while :; do :; done'");
      await process.waitForLog('ready', 60000);
      const begun = Date.now();
      await process.kill();
      assert.ok(Date.now() - begun >= 4000);
      const record = await sandbox.getProcess(process.id);
      assert.deepEqual([record.status, record.exitCode], ['killed', 137]);
    });

    test('waitForLog finds what was written before and after, on stdout and stderr', async () => {
      const process = await sandbox.startProcess('echo "server on 8080"; sleep 0.3; echo "warn: late" >&2; sleep 60');
      assert.match((await process.waitForLog('server on', 60000)).line, /server on 8080/);
      assert.match((await process.waitForLog(/warn: (\w+)/, 60000)).match[1], /late/);
      await process.kill();
    });

    test('waitForLog fails when the process ends first, or the text never comes', async () => {
      const ends = await sandbox.startProcess('echo other; exit 1');
      await assert.rejects(ends.waitForLog('never', 60000), (error) => /exit/i.test(error.message));
      const stays = await sandbox.startProcess('sleep 60');
      await assert.rejects(stays.waitForLog('never', 300), (error) => error.code === 'PROCESS_READY_TIMEOUT');
      await stays.kill();
    });

    test('waitForExit gives the exit code of what ends and of what is killed', async () => {
      const process = await sandbox.startProcess('sleep 0.2; exit 3');
      assert.equal((await process.waitForExit(60000)).exitCode, 3);
      assert.equal((await process.waitForExit(60000)).exitCode, 3);
      const other = await sandbox.startProcess('sleep 60');
      const waiting = other.waitForExit(60000);
      await other.kill();
      assert.equal((await waiting).exitCode, 143);
    });

    test('a log stream replays, follows and ends with exit', async () => {
      const process = await sandbox.startProcess('for i in 1 2 3; do echo "n $i"; sleep 0.1; done');
      const events = await all(await sandbox.streamProcessLogs(process.id));
      assert.equal(text(events, 'stdout'), 'n 1\nn 2\nn 3\n');
      assert.deepEqual([events.at(-1).type, events.at(-1).exitCode], ['exit', 0]);
    });

    test('processes see the environment of their session, and any session sees them', async () => {
      const one = await sandbox.createSession({ id: `env-${transport}`, env: { WHO: 'one' } });
      await one.setEnvVars({ LATER: 'set' });
      const process = await one.startProcess('echo "$WHO $LATER"; sleep 60');
      assert.equal((await process.waitForLog('one', 60000)).line, 'one set');
      assert.ok((await sandbox.listProcesses()).some((p) => p.id === process.id));
      await sandbox.deleteSession(`env-${transport}`);
      await until(async () => (await sandbox.getProcess(process.id)).status !== 'running');
    });

    test('execStream: start, output as it comes, complete', async () => {
      const events = await all(await sandbox.execStream('echo "$((6 * 7))"; sleep 0.2; echo err >&2; exit 2', { env: { A: 'b' } }));
      assert.equal(events[0].type, 'start');
      assert.deepEqual([text(events, 'stdout'), text(events, 'stderr')], ['42\n', 'err\n']);
      assert.deepEqual([events.at(-1).type, events.at(-1).exitCode], ['complete', 2]);
      const unknown = await all(await sandbox.execStream('no-such-command-y'));
      assert.match(text(unknown, 'stderr'), /not found/);
      assert.equal(unknown.at(-1).exitCode, 127);
    });

    test('exec with stream and onOutput', async () => {
      const pieces = [];
      const result = await sandbox.exec('echo a; echo b >&2', { stream: true, onOutput: (stream, data) => pieces.push(`${stream}:${data}`) });
      assert.equal(result.exitCode, 0);
      assert.deepEqual(pieces.sort(), ['stderr:b\n', 'stdout:a\n']);
    });

    test('streams can be cancelled at any time and everything goes on', async () => {
      const endless = await sandbox.startProcess('while :; do echo tick; sleep 0.005; done');
      for (let i = 0; i < 5; i++) {
        const reader = (await sandbox.streamProcessLogs(endless.id)).getReader();
        await reader.read();
        await reader.cancel();
      }
      await Promise.all([1, 2, 3].map(async () => {
        let n = 0;
        for await (const event of parseSSEStream(await sandbox.streamProcessLogs(endless.id))) if (event && ++n === 3) break;
      }));
      const reader = (await sandbox.execStream('while :; do echo tock; sleep 0.01; done')).getReader();
      await reader.read();
      await reader.cancel();
      assert.equal((await sandbox.exec('echo still here')).stdout, 'still here');
      assert.ok((await sandbox.killAllProcesses()) >= 2);
    });

    test('without a default session output is exact in streams, too', async () => {
      const events = await all(await bare.sandbox.execStream('printf %s "${HIDDEN-missing}"'));
      assert.equal(text(events, 'stdout'), 'missing');
      assert.equal(events.at(-1).exitCode, 0);
      assert.ok(!events.some((e) => e.type === 'error'));
      const process = await bare.sandbox.startProcess('sleep 60');
      await process.kill();
      assert.equal((await bare.sandbox.getProcess(process.id)).exitCode, 143);
    });

    test('files are streamed as text and as bytes', async () => {
      await sandbox.writeFile('/workspace/s.txt', 'streamed\n');
      const pieces = [];
      for await (const piece of streamFile(await sandbox.readFileStream('/workspace/s.txt'))) pieces.push(piece);
      assert.deepEqual(pieces, ['streamed\n']);
      await sandbox.exec('head -c 200001 /dev/urandom >/workspace/s.bin; sha256sum </workspace/s.bin >/workspace/s.sum');
      const bytes = [];
      for await (const piece of streamFile(await sandbox.readFileStream('/workspace/s.bin'))) bytes.push(Buffer.from(piece));
      const { createHash } = await import('node:crypto');
      const sum = createHash('sha256').update(Buffer.concat(bytes)).digest('hex');
      assert.ok((await sandbox.readFile('/workspace/s.sum')).content.startsWith(sum));
      await assert.rejects(async () => {
        for await (const piece of streamFile(await sandbox.readFileStream('/workspace/none.txt'))) assert.fail(`${piece}`);
      }, /not found/i);
    });
  });
}
