/*
 * The errors of 80-errors.md as the published client makes them of ours, over each of its transports: class, code, status,
 * suggestion and the members of the context that its classes show; and what 40 and 60 require of contexts and clones.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';

import { GitServer } from '../agent/git-server.mjs';
import { test } from '../lib/test.mjs';
import { Clients } from './lib/clients.mjs';

const hasPython = spawnSync('/usr/bin/python3', ['-c', 'import IPython']).status === 0 && 'the machine has IPython';
const noNode = ['/usr/local/bin/node', '/usr/bin/node'].some((file) => fs.existsSync(file)) ? undefined : 'no node in the system\'s directories';

for (const transport of ['http', 'websocket', 'rpc']) {
  describe(`errors, contexts and clones over ${transport}`, () => {
    const suggested = transport !== 'rpc'; // whose errors have code, message and context only
    let clients, sandbox, git;

    before(async () => {
      git = await GitServer.start();
      clients = await Clients.open(transport);
      ({ sandbox } = clients);
    });
    after(async () => {
      await clients.close();
      await git.stop();
    });

    // `members`: what the context holds, each a value or an expression that matches it.
    const fails = async (what, [name, code, status, message, suggestion], members = {}) => {
      await assert.rejects(what, (error) => {
        assert.deepEqual([error.name, error.code, error.httpStatus], [name, code, status], error.message);
        assert.match(error.message, message);
        assert.ok(!Number.isNaN(Date.parse(error.timestamp)));
        if (suggestion && suggested) assert.match(error.suggestion, suggestion);
        else assert.equal(error.suggestion, undefined, code);
        for (const [key, value] of Object.entries(members)) {
          if (value instanceof RegExp) assert.match(error.context[key], value);
          else assert.deepEqual(error.context[key], value, key);
        }
        return true;
      });
    };

    test('80: files', async () => {
      await fails(sandbox.readFile('/tmp/none'), ['FileNotFoundError', 'FILE_NOT_FOUND', 404, /not found/, /\/tmp\/none/], { path: '/tmp/none', operation: 'file.read' });
      await fails(sandbox.deleteFile('/tmp/none'), ['FileNotFoundError', 'FILE_NOT_FOUND', 404, /not found/, /\/tmp\/none/], { path: '/tmp/none', operation: 'file.delete' });
      await fails(sandbox.renameFile('/tmp/none', '/tmp/b'), ['FileNotFoundError', 'FILE_NOT_FOUND', 404, /not found/, /./], { path: '/tmp/none', operation: 'file.rename' });
      await fails(sandbox.moveFile('/tmp/none', '/tmp/b'), ['FileNotFoundError', 'FILE_NOT_FOUND', 404, /not found/, /./], { path: '/tmp/none', operation: 'file.move' });
      await fails(sandbox.listFiles('/tmp/none'), ['FileNotFoundError', 'FILE_NOT_FOUND', 404, /not found/, /./], { path: '/tmp/none', operation: 'directory.list' });
      await fails(sandbox.deleteFile('/tmp'), ['FileSystemError', 'IS_DIRECTORY', 400, /Cannot delete directory.*deleteFile\(\)/, /directory/], { path: '/tmp', operation: 'file.delete' });
      await fails(sandbox.listFiles('/etc/passwd'), ['FileSystemError', 'NOT_DIRECTORY', 400, /not a directory/, /directory/], { path: '/etc/passwd', operation: 'directory.list' });
      await fails(sandbox.mkdir('/tmp'), ['FileSystemError', 'FILESYSTEM_ERROR', 500, /exists/], { path: '/tmp', exitCode: 1, stderr: /exists/ });
      await sandbox.exec('truncate -s 33554433 /tmp/large; truncate -s 33554432 /tmp/fits');
      await fails(sandbox.readFile('/tmp/large'), ['FileTooLargeError', 'FILE_TOO_LARGE', 413, /./],
        { path: '/tmp/large', operation: 'file.read', actualSize: 33554433, maxSize: 33554432 });
      assert.equal((await sandbox.readFile('/tmp/fits')).size, 33554432);
    });

    test('80, 85: paths and contents', async () => {
      const invalid = (what, field, code) => assert.rejects(what, (error) => {
        assert.deepEqual([error.name, error.code, error.httpStatus, Boolean(error.suggestion)], ['ValidationFailedError', 'VALIDATION_FAILED', 400, suggested], error.message);
        const [{ message, ...entry }, ...more] = error.context.validationErrors;
        assert.ok(message);
        assert.deepEqual([entry, ...more], [{ field, code }]);
        return true;
      });
      for (const path of ['', 'a\0b', 'x'.repeat(4097)]) {
        await invalid(sandbox.readFile(path), 'path', 'INVALID_PATH');
        await invalid(sandbox.writeFile(path, ''), 'path', 'INVALID_PATH');
        await invalid(sandbox.deleteFile(path), 'path', 'INVALID_PATH');
        await invalid(sandbox.mkdir(path), 'path', 'INVALID_PATH');
        await invalid(sandbox.listFiles(path), 'path', 'INVALID_PATH');
        await invalid(sandbox.exists(path), 'path', 'INVALID_PATH');
        await fails(sandbox.renameFile(path, '/tmp/b'), ['SandboxError', 'SECURITY_VALIDATION_FAILED', 500, /Path/]);
        await fails(sandbox.moveFile('/tmp/b', path), ['SandboxError', 'SECURITY_VALIDATION_FAILED', 500, /Path/]);
      }
      await assert.rejects(sandbox.writeFile('/tmp/b64', 'no base64!', { encoding: 'base64' }), (error) => error.code === 'VALIDATION_FAILED' && error.httpStatus === 400);
    });

    test('80: commands, processes and sessions', async () => {
      await fails(sandbox.killProcess('none'), ['ProcessNotFoundError', 'PROCESS_NOT_FOUND', 404, /not found/, /./], { processId: 'none' });
      await fails(sandbox.getProcessLogs('none'), ['ProcessNotFoundError', 'PROCESS_NOT_FOUND', 404, /not found/, /./], { processId: 'none' });
      const done = await sandbox.startProcess('true');
      await done.waitForExit();
      await fails(sandbox.killProcess(done.id), ['CommandNotFoundError', 'COMMAND_NOT_FOUND', 404, /not found/, /./], { command: done.id });
      await fails(sandbox.startProcess('  '), ['CommandError', 'INVALID_COMMAND', 400, /./]);
      const session = await sandbox.createSession({ id: 'short' });
      await fails(sandbox.createSession({ id: 'short' }), ['SessionAlreadyExistsError', 'SESSION_ALREADY_EXISTS', 409, /already exists/, /short/],
        { sessionId: 'short', containerPlacementId: null });
      await fails(session.exec('exit 7'), ['SessionTerminatedError', 'SESSION_TERMINATED', 410, /shell exited.*exit code: 7/, /7/], { sessionId: 'short', exitCode: 7 });
      const busy = await sandbox.createSession({ id: 'busy' }); // its shell is, until that ends
      await fails(busy.exec('sleep 60', { timeout: 50 }), ['CommandError', 'COMMAND_EXECUTION_ERROR', 500, /timeout.*50ms/], { command: 'sleep 60', stderr: /timeout/ });
      await fails(sandbox.exec('true', { env: { '1BAD': 'x' } }), ['CommandError', 'COMMAND_EXECUTION_ERROR', 500, /Invalid environment variable name/]);
    });

    test('60, 80: clones', async () => {
      const url = `${git.url}/public/repo.git`;
      for (const bad of ['', '  ', 'http://x/\0', `http://x/${'y'.repeat(2048)}`])
        await fails(sandbox.gitCheckout(bad, { targetDir: '/tmp/bad' }), ['InvalidGitUrlError', 'INVALID_GIT_URL', 400, /URL/]);
      await assert.rejects(sandbox.gitCheckout(url, { targetDir: 'a\0b' }), (error) => error.code === 'VALIDATION_FAILED' &&
        error.context.validationErrors[0].field === 'targetDirectory' && error.context.validationErrors[0].code === 'INVALID_PATH');
      const none = `${git.url.replace('http://', 'http://user:secret@')}/public/none.git`, told = none.replace('user:secret', '******');
      await fails(sandbox.gitCheckout(none, { targetDir: '/tmp/none' }), ['GitError', 'GIT_OPERATION_FAILED', 500, /not found/],
        { repository: told, targetDir: '/tmp/none', exitCode: 128, stderr: /not found/ });
      await fails(sandbox.gitCheckout(url, { targetDir: '/tmp/branch', branch: 'none' }), ['GitError', 'GIT_OPERATION_FAILED', 500, /none/], { exitCode: 128 });
      await fails(sandbox.gitCheckout(`${git.url}/hang/repo.git`, { targetDir: '/tmp/hang', cloneTimeoutMs: 200 }),
        ['GitNetworkError', 'GIT_NETWORK_ERROR', 502, /0\.2 seconds/], { exitCode: 124, stderr: 'Operation timed out' });
      for (const depth of transport === 'rpc' ? [-1] : [0, -1, 1.5]) await assert.rejects(sandbox.gitCheckout(url, { targetDir: '/tmp/depth', depth }), /depth/i);
      const full = await sandbox.gitCheckout(url, { targetDir: '/tmp/full' });
      assert.deepEqual([full.repoUrl, full.branch, full.targetDir], [url, 'main', '/tmp/full']);
      assert.equal((await sandbox.exec('git -C /tmp/full rev-parse --is-shallow-repository')).stdout, 'false');
      assert.equal((await sandbox.gitCheckout(url)).targetDir, '/workspace/repo');
    });

    test('40, 80: Python that is not there', { skip: hasPython }, async () => {
      await fails(sandbox.createCodeContext({ language: 'python' }), ['SandboxError', 'PYTHON_NOT_AVAILABLE', 501, /Python interpreter not available.*-python/], { originalError: /./ });
    });

    test('40, 80: contexts that are not there', async () => {
      await fails(sandbox.deleteCodeContext('none'), ['ContextNotFoundError', 'CONTEXT_NOT_FOUND', 404, /not found/, /none/], { contextId: 'none' });
      await assert.rejects(sandbox.runCode('1', { context: { id: 'none', language: 'javascript' } }), /not found/);
    });

    test('40: six contexts at once; five executions of one are done in order', { skip: noNode }, async () => {
      const contexts = await Promise.all([...Array(6)].map(() => sandbox.createCodeContext({ language: 'javascript' })));
      assert.equal(new Set(contexts.map(({ id }) => id)).size, 6);
      const [context] = contexts;
      await sandbox.runCode('globalThis.count = 0', { context });
      const counted = await Promise.all([...Array(5)].map(() => sandbox.runCode('await null; ++count', { context })));
      assert.deepEqual(counted.map(({ results, error }) => error?.message ?? results[0].text).sort(), ['1', '2', '3', '4', '5']);
      await Promise.all(contexts.map(({ id }) => sandbox.deleteCodeContext(id)));
      assert.deepEqual(await sandbox.listCodeContexts(), []);
    });
  });
}
