/*
 * The statements that the reference marks as required by upstream's own tests, about processes, files, watches, terminals
 * and connections (20 to 70 and group A of 90) as far as no other file here holds them, with the published client over each
 * of its transports. docs/compatibility.md lists them.
 */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { logsAtOnce } from '../agent/helper.mjs';
import { test } from '../lib/test.mjs';
import { Clients, eventsOf as all } from './lib/clients.mjs';
import { Sdk, sdk as published } from './lib/sandbox.mjs';

const { parseSSEStream, streamFile } = published;

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`what is required of processes, files and watches, over ${transport}`, () => {
    let clients;
    let agent;
    let target;
    let sdk;
    let sandbox;
    let bare;

    before(async () => {
      clients = await Clients.open(transport);
      ({ agent, target, sdk, sandbox, bare } = clients);
    });
    after(() => clients.close());

    test('20, A24: a process of one session is seen, waited for and killed by another', async () => {
      const [one, two] = await Promise.all(['one', 'two'].map((id) => sandbox.createSession({ id })));
      const process = await one.startProcess('echo ready; sleep 600');
      assert.ok((await two.listProcesses()).some(({ id, status }) => id === process.id && status === 'running'));
      const seen = await two.getProcess(process.id);
      assert.match((await seen.waitForLog('ready')).line, /ready/);
      await two.killProcess(process.id);
      assert.deepEqual(await one.getProcess(process.id).then((p) => [p.status, p.exitCode]), ['killed', 143]);
    });

    test('20: a process that runs does not hold up the commands of its session', async () => {
      const gate = await agent.gate();
      const process = await sandbox.startProcess(`${gate.wait}; echo through`);
      assert.equal((await sandbox.exec('echo free')).stdout, 'free');
      assert.equal(await process.getStatus(), 'running');
      await gate.open();
      assert.equal((await process.waitForExit()).exitCode, 0);
    });

    for (const [where, one] of [['in a session', () => sandbox], ['without one', () => bare.sandbox]]) {
      test(`20, A20: a kill takes four levels of shells and what they put into the background, ${where}`, async () => {
        const leaf = `sleep 4321${where.length}`;
        const process = await one().startProcess(`bash -c 'bash -c "bash -c \\"${leaf} & ${leaf}; true\\"; true"; true'; true`);
        await sandbox.exec(`until [ "$(pgrep -cfx '${leaf}')" = 2 ]; do sleep 0.01; done`);
        await one().killProcess(process.id);
        assert.equal((await sandbox.exec(`pgrep -fx '${leaf}'`)).exitCode, 1);
        assert.equal((await one().getProcess(process.id)).status, 'killed');
      });
    }

    test('A19, A21: what has ended cannot be killed; 137 and 143 are killed, 124 is failed', async () => {
      for (const [code, status] of [[0, 'completed'], [1, 'failed'], [124, 'failed'], [137, 'killed'], [143, 'killed']]) {
        const process = await sandbox.startProcess(`exit ${code}`);
        assert.equal((await process.waitForExit()).exitCode, code);
        assert.equal((await sandbox.getProcess(process.id)).status, status);
        await assert.rejects(process.kill(), { code: 'COMMAND_NOT_FOUND', httpStatus: 404 });
      }
    });

    test('20: of several streams of a process one that is cancelled ends neither it nor the others', async () => {
      const gate = await agent.gate();
      const process = await sandbox.startProcess(`echo one; ${gate.wait}; echo two`);
      const left = (await sandbox.streamProcessLogs(process.id)).getReader();
      const others = [1, 2].map(async () => all(await sandbox.streamProcessLogs(process.id)));
      await left.read();
      await left.cancel();
      assert.equal(await process.getStatus(), 'running');
      await gate.open();
      for (const events of await Promise.all(others)) {
        assert.equal(events.filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'one\ntwo\n');
        assert.deepEqual([events.at(-1).type, events.at(-1).exitCode], ['exit', 0]);
      }
    });

    test('20: a thousand short processes have their whole logs right after their start', async () => {
      for (let i = 0; i < 1000; i += 50) {
        await Promise.all(Array.from({ length: 50 }, async (_, k) => {
          const logs = await logsAtOnce(() => sandbox.startProcess(`echo out ${i + k}; echo err >&2`), (process) => process.getLogs(),
            ({ stdout, stderr }) => stdout && stderr);
          assert.deepEqual([logs.stdout, logs.stderr], [`out ${i + k}\n`, 'err\n']);
        }));
      }
    });

    test('A22: what has ended stays in the list, with its logs, whatever was asked for', async () => {
      const process = await sandbox.startProcess('echo kept', { autoCleanup: true });
      await process.waitForExit();
      assert.equal(await sandbox.cleanupCompletedProcesses(), 0);
      assert.ok((await sandbox.listProcesses()).some(({ id, status }) => id === process.id && status === 'completed'));
      assert.equal((await sandbox.getProcessLogs(process.id)).stdout, 'kept\n');
    });

    test('30: office formats are binary, by their names', async () => {
      const base = 'application/vnd.openxmlformats-officedocument.';
      for (const [name, type] of [['a.docx', `${base}wordprocessingml.document`], ['a.xlsx', `${base}spreadsheetml.sheet`],
        ['a.pptx', `${base}presentationml.presentation`], ['a.doc', 'application/msword'], ['a.xls', 'application/vnd.ms-excel'],
        ['a.pdf', 'application/pdf'], ['a.zip', 'application/zip']]) {
        await sandbox.writeFile(`/workspace/${name}`, 'PK text');
        const read = await sandbox.readFile(`/workspace/${name}`);
        assert.deepEqual([read.mimeType, read.isBinary, read.encoding], [type, true, 'base64'], name);
        assert.equal(Buffer.from(read.content, 'base64').toString(), 'PK text');
      }
    });

    test('A26: text or base64 goes by the name, in its case; what no table knows by file(1)', async () => {
      for (const [name, content, binary] of [['dump.sql', 'select 1;\n', true], ['key.pem', 'x\n', true], ['a.json', '{}', false],
        ['a.svg', '<svg/>', false], ['a.ts', 'let x', false], ['UPPER.TXT', 'plain text\n', false], ['Makefile', 'all:\n\ttrue\n', false], ['empty', '', false]]) {
        await sandbox.writeFile(`/workspace/${name}`, content);
        const read = await sandbox.readFile(`/workspace/${name}`);
        assert.equal(read.isBinary, binary, `${name}: ${read.mimeType}`);
        assert.equal(Buffer.from(read.content, read.encoding === 'base64' ? 'base64' : 'utf8').toString(), content);
      }
    });

    test('A25: missing parents of a written file are made, and its mode stays', async () => {
      await sandbox.writeFile('/workspace/new/deep/run.sh', 'echo first');
      await sandbox.exec('chmod 755 /workspace/new/deep/run.sh');
      await sandbox.writeFile('/workspace/new/deep/run.sh', 'echo second');
      assert.equal((await sandbox.exec('/workspace/new/deep/run.sh; stat -c %a /workspace/new/deep/run.sh')).stdout, 'second\n755');
    });

    test('30, A29: a directory is not deleted, a file not listed, a directory not read; each says so', async () => {
      await sandbox.mkdir('/workspace/full', { recursive: true });
      await sandbox.writeFile('/workspace/full/a', '');
      await assert.rejects(sandbox.deleteFile('/workspace/full'), (error) => {
        assert.deepEqual([error.code, error.httpStatus], ['IS_DIRECTORY', 400]);
        return /Cannot delete directory/.test(error.message) && error.message.includes('deleteFile()');
      });
      await assert.rejects(sandbox.listFiles('/workspace/full/a'), (error) => error.code === 'NOT_DIRECTORY' && error.httpStatus === 400 && /not a directory/i.test(error.message));
      await assert.rejects(sandbox.readFile('/workspace/full'), { code: 'FILE_NOT_FOUND', httpStatus: 404 });
      await assert.rejects(sandbox.mkdir('/workspace/full'), { code: 'FILESYSTEM_ERROR', httpStatus: 500 });
      const missing = [sandbox.readFile('/workspace/no'), sandbox.deleteFile('/workspace/no'), sandbox.listFiles('/workspace/no'),
        sandbox.renameFile('/workspace/no', '/workspace/n'), sandbox.moveFile('/workspace/no', '/workspace/n')];
      for (const one of missing) await assert.rejects(one, (error) => error.code === 'FILE_NOT_FOUND' && error.httpStatus === 404 && /not found|does not exist|no such file/i.test(error.message));
      assert.equal((await sandbox.exists('/workspace/full/a')).exists, true);
    });

    test('30, A33: hidden entries are left out by their own name, also when the directory is hidden or all is listed', async () => {
      await sandbox.exec('mkdir -p /workspace/.h/sub /workspace/.h/.in; touch /workspace/.h/{a,b,.c,sub/d,.in/e}');
      const names = async (options) => (await sandbox.listFiles('/workspace/.h', options)).files.map((f) => f.relativePath).sort();
      assert.deepEqual(await names(), ['a', 'b', 'sub']);
      assert.deepEqual(await names({ includeHidden: true }), ['.c', '.in', 'a', 'b', 'sub']);
      assert.deepEqual(await names({ recursive: true }), ['.in/e', 'a', 'b', 'sub', 'sub/d']);
      assert.deepEqual(await names({ recursive: true, includeHidden: true }), ['.c', '.in', '.in/e', 'a', 'b', 'sub', 'sub/d']);
    });

    test('A31, A32, A34: moves go into directories; relative paths are those of the session, and stay so', async () => {
      const session = await sandbox.createSession({ id: 'moving' });
      await session.exec('mkdir -p /tmp/m/into; cd /tmp/m; echo x >f');
      const moved = await session.moveFile('f', 'into');
      assert.deepEqual([moved.path, moved.newPath], ['f', 'into']);
      assert.deepEqual((await session.listFiles('into')).files.map((f) => [f.name, f.absolutePath, f.relativePath]), [['f', 'into/f', 'f']]);
      assert.equal((await session.readFile('into/f')).content, 'x\n');
      assert.equal((await bare.sandbox.exists('into/f')).exists, false);
    });

    test('A27, A28: pieces of a stream decode by themselves; a file that is not there is an error in it', async () => {
      await sandbox.exec('head -c 200000 /dev/urandom >/workspace/r.bin');
      const bytes = [];
      for await (const piece of streamFile(await sandbox.readFileStream('/workspace/r.bin'))) bytes.push(Buffer.from(piece));
      assert.deepEqual(bytes.map((b) => b.length), [65535, 65535, 65535, 3395]);
      await assert.rejects(async () => { for await (const piece of streamFile(await sandbox.readFileStream('/workspace/no'))) assert.fail(`${piece}`); }, /not found/i);
    });

    /* What a watch tells until `last` is written, by path below the root; its end is that of the directory. */
    const told = async (root, options, write) => {
      await sandbox.exec(`mkdir -p ${root}/node_modules ${root}/sub`);
      const paths = new Set();
      for await (const event of parseSSEStream(await sandbox.watch(root, options))) {
        if (event.type === 'watching') for (const name of write) await sandbox.writeFile(`${root}/${name}`, 'x');
        else if (event.type === 'stopped') break;
        else if (event.path.includes('/last')) await sandbox.exec(`rm -rf ${root}`);
        else if (event.eventType !== 'delete') paths.add(event.path.slice(root.length + 1));
      }
      return [...paths].filter((path) => /\.\w+$/.test(path)).sort();
    };

    test('A48: exclude replaces what is excluded by default, include excludes nothing, both are refused', async () => {
      const files = ['node_modules/in.js', 'a.js', 'a.ts', 'sub/b.ts', 'last.ts'];
      assert.deepEqual(await told('/workspace/w1', {}, files), ['a.js', 'a.ts', 'sub/b.ts']);
      assert.deepEqual(await told('/workspace/w2', { exclude: ['*.js'] }, ['node_modules/in.ts', ...files]), ['a.ts', 'node_modules/in.ts', 'sub/b.ts']);
      assert.deepEqual(await told('/workspace/w3', { include: ['*.ts'] }, ['node_modules/in.ts', ...files]), ['a.ts', 'node_modules/in.ts', 'sub/b.ts']);
      assert.deepEqual(await told('/workspace/w4', { include: ['*.ts'], exclude: [] }, files), ['a.ts', 'sub/b.ts']);
      await sandbox.mkdir('/workspace/w5');
      await assert.rejects(sandbox.watch('/workspace/w5', { include: ['a'], exclude: ['b'] }));
    });

    test('50: what is written right after watching is told', async () => {
      await sandbox.mkdir('/workspace/soon');
      for (let i = 0; i < 20; i++) {
        for await (const event of parseSSEStream(await sandbox.watch('/workspace/soon'))) {
          if (event.type === 'watching') await sandbox.writeFile(`/workspace/soon/f${i}`, '');
          else if (event.path === `/workspace/soon/f${i}`) break;
        }
      }
    });

    test('50: there is no registry of ports', async () => {
      for (const [method, path] of [['GET', '/api/exposed-ports'], ['POST', '/api/expose-port'], ['POST', '/api/port-check'], ['GET', '/proxy/8080/'], ['GET', '/api/health']])
        assert.deepEqual(await agent.request(method, path, method === 'POST' ? {} : undefined).then((r) => [r.status, r.json.code, r.json.context]), [404, 'UNKNOWN_ERROR', {}]);
    });

    test('A46: nothing is lost or doubled between the replay of a terminal and what comes live', async () => {
      await sandbox.createSession({ id: 'counting' });
      const socketFor = async () => {
        const socket = await sdk.terminal('counting');
        const viewer = { socket, bytes: '' };
        socket.addEventListener('message', ({ data }) => {
          if (typeof data === 'string') viewer.readyAt ??= viewer.bytes.length;
          else viewer.bytes += Buffer.from(data).toString('latin1');
          viewer.wake?.();
        });
        socket.accept();
        viewer.until = async (condition) => { while (!condition()) await new Promise((done) => { viewer.wake = done; }); };
        await viewer.until(() => viewer.readyAt !== undefined);
        return viewer;
      };
      const first = await socketFor();
      first.socket.send(Buffer.from('stty -echo; for ((i = 0; i < 4000; i++)); do echo "<$i>"; done; echo o""ver\r'));
      await first.until(() => first.bytes.includes('<100>'));
      const others = await Promise.all([1, 2, 3].map(socketFor));
      for (const viewer of [first, ...others]) {
        await viewer.until(() => viewer.bytes.includes('over\r\n'));
        const numbers = [...viewer.bytes.matchAll(/<(\d+)>\r\n/g)].map((m) => Number(m[1]));
        assert.deepEqual(numbers, Array.from({ length: 4000 }, (_, i) => i));
        viewer.socket.close(1000);
      }
    });

    test('70: the end of one connection, or a cancel on it, leaves the streams of another', async () => {
      const gate = await agent.gate();
      const process = await sandbox.startProcess(`echo one; ${gate.wait}; echo two`);
      const other = await Sdk.open(target, { transport, name: 'other' });
      const third = await Sdk.open(target, { transport, name: 'third' });
      const stays = all(await sandbox.streamProcessLogs(process.id));
      const cancelled = (await other.sandbox.streamProcessLogs(process.id)).getReader();
      await cancelled.read();
      await cancelled.cancel();
      await (await third.sandbox.streamProcessLogs(process.id)).getReader().read();
      third.object.client.disconnect();
      await gate.open();
      assert.equal((await stays).filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'one\ntwo\n');
      assert.equal((await other.sandbox.exec('echo on')).stdout, 'on');
      await other.close();
      await third.close();
    });
  });
}
