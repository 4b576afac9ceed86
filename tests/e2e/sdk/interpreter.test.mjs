// The published SDK: code contexts and executions, on the sandbox and by the class CodeInterpreter.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe } from 'node:test';

import { Agent } from '../agent/helper.mjs';
import { World, whyNotHere } from '../interpreter/helper.mjs';
import { test } from '../lib/test.mjs';
import { Sdk, sdk as published } from './lib/sandbox.mjs';

describe('the SDK\'s code interpreter over http', { skip: whyNotHere() }, () => {
  let world;
  let sdk;
  let sandbox;

  before(async () => {
    world = await World.start();
    sdk = await Sdk.open({ origin: world.daemon.url, prefix: `/v1/sandbox/${world.id}/container` }, { transport: 'http' });
    sandbox = sdk.sandbox;
  });
  after(async () => {
    await sdk?.close();
    await world?.stop();
  });

  test('runCode makes a context by itself and keeps it', async () => {
    const first = await sandbox.runCode('x = 20\nprint("out")\nx + 1');
    assert.equal(first.error, undefined);
    assert.match(first.logs.stdout.join(''), /^out\n/);
    assert.equal(first.results[0].text, '21');
    assert.equal((await sandbox.runCode('x')).results[0].text, '20');
  });

  test('contexts are created, listed and deleted', async () => {
    const python = await sandbox.createCodeContext({ language: 'python', cwd: '/tmp', envVars: { OWN: 'yes' } });
    const script = await sandbox.createCodeContext({ language: 'javascript' });
    assert.deepEqual([python.language, python.cwd, python.createdAt instanceof Date], ['python', '/tmp', true]);
    const ids = (await sandbox.listCodeContexts()).map(({ id }) => id);
    assert.ok(ids.includes(python.id) && ids.includes(script.id));
    assert.deepEqual((await sandbox.runCode('import os; [os.getcwd(), os.environ["OWN"]]', { context: python })).results[0].json, ['/tmp', 'yes']);
    await sandbox.deleteCodeContext(script.id);
    assert.ok(!(await sandbox.listCodeContexts()).some(({ id }) => id === script.id));
    await assert.rejects(sandbox.deleteCodeContext(script.id), { name: 'ContextNotFoundError', code: 'CONTEXT_NOT_FOUND' });
  });

  test('callbacks hear output, results and errors', async () => {
    const heard = [];
    const hear = (kind) => (event) => { heard.push([kind, event]); };
    const context = await sandbox.createCodeContext({ language: 'python' });
    const result = await sandbox.runCode('import sys\nprint("o"); print("e", file=sys.stderr); display(5); 1 / 0',
      { context, onStdout: hear('out'), onStderr: hear('err'), onResult: hear('result'), onError: hear('error') });
    assert.deepEqual([result.error.name, result.error.message], ['ZeroDivisionError', 'division by zero']);
    assert.ok(result.error.traceback.length > 1);
    assert.deepEqual([...new Set(heard.map(([kind]) => kind))].sort(), ['err', 'error', 'out', 'result']);
    assert.equal(heard.find(([kind]) => kind === 'result')[1].text, '5');
  });

  test('rich results have their formats', async () => {
    const context = await sandbox.createCodeContext({ language: 'python' });
    const frame = await sandbox.runCode('import pandas; pandas.DataFrame({"a": [1]})', { context });
    assert.deepEqual(frame.results.flatMap((result) => Object.keys(result).filter((key) => ['html', 'text'].includes(key) && result[key])), ['html', 'text']);
    const plot = await sandbox.runCode('import matplotlib.pyplot as plt; plt.plot([1, 2]);', { context });
    assert.match(plot.results[0].png, /^iVBOR/);
    assert.equal(plot.results[0].chart.type, 'line');
  });

  test('JavaScript and TypeScript run too, five runs at once in order', async () => {
    const context = await sandbox.createCodeContext({ language: 'javascript' });
    await sandbox.runCode('let counter = 0;', { context });
    const runs = await Promise.all(Array.from({ length: 5 }, () => sandbox.runCode('counter++; counter;', { context })));
    assert.deepEqual(runs.map(({ results }) => results[0].text).sort(), ['1', '2', '3', '4', '5']);
    assert.equal((await sandbox.runCode('const n: number = 6; n', { language: 'typescript' })).results[0].text, '6');
  });

  test('runCodeStream streams events', async () => {
    const context = await sandbox.createCodeContext({ language: 'python' });
    const types = [];
    for await (const event of published.parseSSEStream(await sandbox.runCodeStream('print(1)', { context }))) types.push(event.type);
    assert.deepEqual(types, ['stdout', 'execution_complete']);
  });

  test('an unknown context is the typed error', async () => {
    await assert.rejects(sandbox.runCode('1', { context: { id: 'nope', language: 'python', cwd: '/', createdAt: new Date(), lastUsed: new Date() } }),
      (error) => /not found|CONTEXT_NOT_FOUND/i.test(`${error.code} ${error.message}`));
  });
});

for (const transport of ['websocket', 'rpc'])
  describe(`the SDK's code interpreter over ${transport}, Python in a real sandbox`, { skip: whyNotHere() }, () => {
    let world;
    let sdk;
    before(async () => {
      world = await World.start();
      sdk = await Sdk.open({ origin: world.daemon.url, prefix: `/v1/sandbox/${world.id}/container` }, { transport });
    });
    after(async () => {
      await sdk?.close();
      await world?.stop();
    });

    test('state, directory and variables are the context\'s; callbacks hear output, results and errors', async () => {
      const { sandbox } = sdk;
      const context = await sandbox.createCodeContext({ language: 'python', cwd: '/tmp', envVars: { OWN: 'yes' } });
      assert.deepEqual([context.language, context.cwd, context.createdAt instanceof Date], ['python', '/tmp', true]);
      const heard = [];
      const hear = (kind) => (event) => { heard.push([kind, event.text ?? event.name]); };
      const callbacks = { onStdout: hear('out'), onStderr: hear('err'), onResult: hear('result'), onError: hear('error') };
      const first = await sandbox.runCode('import os, sys\nx = 20\nprint("o"); print("e", file=sys.stderr); display(5)\n[os.getcwd(), os.environ["OWN"]]',
        { context, ...callbacks });
      assert.equal(first.error, undefined);
      assert.deepEqual(first.results.at(-1).json, ['/tmp', 'yes']);
      assert.match(first.logs.stdout.join(''), /^o\nOut\[1\]: /);
      assert.equal(first.logs.stderr.join(''), 'e\n');
      assert.ok(heard.some(([kind, text]) => kind === 'result' && text === '5'));
      const failed = await sandbox.runCode('x / 0', { context, ...callbacks });
      assert.deepEqual([failed.error.name, failed.error.message], ['ZeroDivisionError', 'division by zero']);
      assert.ok(failed.error.traceback.length > 1);
      assert.deepEqual(heard.filter(([kind]) => kind === 'error'), [['error', 'ZeroDivisionError']]);
      assert.equal((await sandbox.runCode('x + 1', { context })).results[0].text, '21');
      const syntax = await sandbox.runCode('x = = 1', { context });
      assert.equal(syntax.error.name, 'SyntaxError');
    });

    test('a table, a picture with its chart, and what only the stream shows', async () => {
      const { sandbox } = sdk;
      const context = await sandbox.createCodeContext({ language: 'python' });
      const table = await sandbox.runCode('import pandas; pandas.DataFrame({"a": [1]})', { context });
      assert.deepEqual(table.results.map(({ html, text }) => [Boolean(html), Boolean(text)]), [[true, false], [false, true]]);
      const plot = await sandbox.runCode('import matplotlib.pyplot as plt; plt.bar(["a", "b"], [1, 2]);', { context });
      assert.match(plot.results[0].png, /^iVBOR/);
      if (transport === 'websocket') assert.equal(plot.results[0].chart.type, 'bar'); // onResult has no chart over RPC
      const types = [];
      for await (const event of published.parseSSEStream(await sandbox.runCodeStream('print(1)\n1', { context }))) types.push(event.type);
      assert.deepEqual([...new Set(types)], ['stdout', 'result', 'execution_complete']);
    });

    test('contexts are each other\'s strangers; one that dies says so, and is deleted', async () => {
      const { sandbox } = sdk;
      const [one, other] = await Promise.all([1, 2].map(() => sandbox.createCodeContext({ language: 'python' })));
      await sandbox.runCode('mine = 1', { context: one });
      assert.equal((await sandbox.runCode('mine', { context: other })).error.name, 'NameError');
      assert.equal((await sandbox.runCode('import os; os._exit(3)', { context: one })).error.name, 'InterpreterDied');
      assert.ok((await sandbox.listCodeContexts()).some(({ id }) => id === one.id));
      await sandbox.deleteCodeContext(one.id);
      assert.ok(!(await sandbox.listCodeContexts()).some(({ id }) => id === one.id));
      await assert.rejects(sandbox.deleteCodeContext(one.id), /not found/i);
      assert.equal((await sandbox.runCode('"still"', { context: other })).results[0].text, "'still'");
    });

    test('the class CodeInterpreter by itself keeps a context of its own', async () => {
      const interpreter = new published.CodeInterpreter(() => sdk.object.client.interpreter);
      await interpreter.runCode('own = 6', { language: 'python' });
      assert.equal((await interpreter.runCode('own * 7', { language: 'python' })).results[0].text, '42');
    });
  });

/* The other transports lead to an agent of our own, with the machine's node. */
const noNode = ['/usr/local/bin/node', '/usr/bin/node'].some((file) => fs.existsSync(file)) ? undefined : 'no node in the system\'s directories';
for (const transport of ['websocket', 'rpc'])
  describe(`the SDK's code interpreter over ${transport}`, { skip: noNode }, () => {
    let agent;
    let sdk;
    before(async () => {
      agent = await Agent.start({ env: { SANDBOX_VERSION: '0.12.10' } });
      sdk = await Sdk.open({ origin: `http://127.0.0.1:${agent.port}` }, { transport });
    });
    after(async () => {
      await sdk?.close();
      await agent?.stop();
    });

    test('code runs, keeps its state and tells its errors', async () => {
      const { sandbox } = sdk;
      const context = await sandbox.createCodeContext({ language: 'javascript', cwd: '/tmp', envVars: { OWN: 'yes' } });
      const heard = [];
      const first = await sandbox.runCode('let x = 20; console.log("out"); ({ x, cwd: process.cwd(), own: process.env.OWN })',
        { context, onStdout: ({ text }) => { heard.push(text); } });
      assert.deepEqual([first.results[0].json, heard.join('')], [{ x: 20, cwd: '/tmp', own: 'yes' }, 'out\n']);
      assert.equal((await sandbox.runCode('x + 1', { context })).results[0].text, '21');
      const failed = await sandbox.runCode('nowhere', { context });
      assert.deepEqual([failed.error.name, failed.error.message], ['ReferenceError', 'nowhere is not defined']);
      const died = await sandbox.runCode('process.exit(4)', { context });
      assert.equal(died.error.name, 'InterpreterDied');
      assert.deepEqual((await sandbox.listCodeContexts()).map(({ id }) => id), [context.id]);
      await sandbox.deleteCodeContext(context.id);
      await assert.rejects(sandbox.deleteCodeContext(context.id), /not found/i);
    });
  });
