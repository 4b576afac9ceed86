/* What JavaScript and TypeScript code is answered. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { test } from '../lib/test.mjs';
import { World, whyNotHere } from './helper.mjs';

const skip = whyNotHere();

describe('the JavaScript interpreter', { skip }, () => {
  let world, context;
  before(async () => {
    world = await World.start();
    context = await world.context({ language: 'javascript' });
  });
  after(() => world?.stop());
  const run = (code, more) => world.run(context, code, more);
  const value = async (code) => {
    const { results, error } = await run(code);
    assert.equal(error, undefined, JSON.stringify(error));
    assert.ok(results.length <= 1);
    return results[0];
  };

  test('output goes where it belongs, and the last value is the result', async () => {
    const { out, err, results } = await run('console.log("out"); console.error("err"); 1 + 1');
    assert.deepEqual([out, err, results], ['out\n', 'err\n', [{ text: '2' }]]);
  });

  test('objects and arrays are JSON, other values are as node shows them, undefined is none', async () => {
    assert.deepEqual(await value('({ a: [1, "x", null] })'), { json: { a: [1, 'x', null] } });
    assert.deepEqual(await value('{ a: 1, b: 2 }'), { json: { a: 1, b: 2 } });
    assert.deepEqual(await value('[1, 2]'), { json: [1, 2] });
    for (const [code, text] of [['"s"', "'s'"], ['null', 'null'], ['10n', '10n'], ['() => 1', '[Function (anonymous)]'], ['new Map([[1, 2]])', 'Map(1) { 1 => 2 }'],
      ['const c = {}; c.c = c; c', '<ref *1> { c: [Circular *1] }'], ['Symbol("k")', 'Symbol(k)'], ['({ n: 1n })', '{ n: 1n }']])
      assert.deepEqual(await value(code), { text }, code);
    assert.equal(await value('undefined'), undefined);
    assert.deepEqual(await value('["\\ud800"]'), { json: ['\ufffd'] });
    assert.deepEqual(Object.keys(await value('let deep = []; for (let i = 0; i < 300; i++) deep = [deep]; deep')), ['text']);
  });

  test('a declaration has its value, other statements have none', async () => {
    assert.deepEqual(await value('const declared = 5'), { text: '5' });
    assert.deepEqual(await value('const data = [1, 2]\n  .map((x) => x * 2)\n'), { json: [2, 4] });
    assert.deepEqual(await value('function named() {}'), { text: '[Function: named]' });
    assert.deepEqual(await value('class Named { a() { return {} } }'), { text: '[class Named]' });
    for (const code of ['if (true) { 1 }', 'for (const i of [1]) i', 'try { 1 } catch {}', 'while (false) 1'])
      assert.equal(await value(code), undefined, code);
    assert.deepEqual(await value('const text = `\nconst fake = 1;\n`; text.length'), { text: '17' });
    assert.deepEqual(await value('const re = /[/]const x = 1/g; re.test("/const x = 1")'), { text: 'true' });
  });

  test('names may be declared again, in any way', async () => {
    for (const kind of ['const', 'let', 'const', 'var', 'let', 'const'])
      assert.deepEqual(await value(`${kind} again = "${kind}"; again`), { text: `'${kind}'` });
    await value('function other() { return 1 }');
    assert.deepEqual(await value('const other = () => 2; other()'), { text: '2' });
    await value('class Same {}');
    assert.deepEqual(await value('class Same { two() { return 2 } }\nnew Same().two()'), { text: '2' });
    await value('const { part, ...others } = { part: 1, b: 2 }');
    assert.deepEqual(await value('[part, others]'), { json: [1, { b: 2 }] });
  });

  test('state and globals stay', async () => {
    await value('global.kept = 1; let counter = 0;');
    assert.deepEqual(await value('kept'), { text: '1' });
    const counts = await Promise.all(Array.from({ length: 5 }, () => run('counter++; counter;')));
    assert.deepEqual(counts.map(({ results }) => results[0].text).sort(), ['1', '2', '3', '4', '5']); /* connections have no order */
  });

  test('await works at the top level, and a promise as the result is awaited', async () => {
    assert.deepEqual(await value('const awaited = await Promise.resolve(42); awaited'), { text: '42' });
    assert.deepEqual(await value('Promise.resolve(123)'), { text: '123' });
    assert.deepEqual(await value('(async () => "hello world")()'), { text: "'hello world'" });
    assert.deepEqual(await value('await new Promise((done) => setTimeout(() => done(30), 5))'), { text: '30' });
  });

  test('modules can be required and imported', async () => {
    assert.deepEqual(await value('typeof require("fs").readFileSync'), { text: "'function'" });
    assert.deepEqual(await value('import path, { join as j } from "path"; import * as os from "os";\n[path.sep, j("a", "b"), typeof os.EOL]'),
      { json: ['/', 'a/b', 'string'] });
    assert.deepEqual(await value('const fs = await import("node:fs"); typeof fs.readFileSync'), { text: "'function'" });
    await value('fs.writeFileSync("own.mjs", "export const here = 7;")');
    assert.deepEqual(await value('import { here } from "./own.mjs"; here'), { text: '7' });
  });

  test('errors have their names, messages and frames, and are printed', async () => {
    const { error, err, results } = await run('function thrower() { throw new TypeError("wrong") }\nthrower()');
    assert.deepEqual([error.ename, error.evalue], ['TypeError', 'wrong']);
    assert.match(error.traceback[1], /^ +at thrower \(cell-\d+:1:28\)$/);
    assert.equal(err, `${error.traceback.join('\n')}\n`);
    assert.deepEqual(results, []);
    assert.equal((await run('nowhere')).error.evalue, 'nowhere is not defined');
    assert.equal((await run('const = 1')).error.ename, 'SyntaxError');
    assert.deepEqual(((e) => [e.ename, e.evalue])((await run('throw "text"')).error), ['Error', 'text']);
  });

  test('an asynchronous throw is one error and no result', async () => {
    for (const code of ['await Promise.reject(new RangeError("late"))', '(async () => { await 1; throw new RangeError("late") })()']) {
      const { error, results } = await run(code);
      assert.deepEqual([error.ename, error.evalue, results], ['RangeError', 'late', []]);
    }
  });

  test('what fails in a callback is printed and does not end the context', async () => {
    const { err, results } = await run('setTimeout(() => { throw new Error("behind") }, 1); await new Promise((d) => setTimeout(d, 50)); 1');
    assert.match(err, /Uncaught Error: behind/);
    assert.deepEqual(results, [{ text: '1' }]);
  });

  for (const [what, code] of [['a loop', 'while (true) {}'], ['an await', 'await new Promise(() => {})']])
    test(`an interrupt stops ${what} and keeps the context`, async () => {
      await value('const before = 1');
      const stream = await world.stream(context, `console.log("started"); ${code}`);
      assert.deepEqual(await stream.next(), { type: 'stdout', text: 'started\n' });
      assert.equal((await world.interrupt(context)).json.interrupted, true);
      assert.equal((await stream.rest()).error.ename, 'InterruptedError');
      assert.deepEqual(await value('before'), { text: '1' });
    });

  /* Also where code listens for the signal itself, which takes it away from node's own watch. */
  for (const [what, first] of [['nobody else', '0'], ['the cell', 'process.on("SIGINT", () => { globalThis.heard = true }); 0'],
    ['a callback', 'setTimeout(() => process.once("SIGINT", () => {}), 1); await new Promise((d) => setTimeout(d, 30)); 0'],
    ['somebody for a moment', 'process.on("SIGINT", console.log); process.off("SIGINT", console.log); 0']])
    test(`interrupts stop one execution each, when ${what} listens for SIGINT`, async () => {
      const own = await world.context({ language: 'js' });
      assert.deepEqual((await world.run(own, first)).results, [{ text: '0' }]);
      for (const code of ['while (true) {}', 'await new Promise(() => {})', 'for (;;);', 'await new Promise((d) => setTimeout(d, 60000))']) {
        const stream = await world.stream(own, `console.log("started"); ${code}`);
        assert.deepEqual(await stream.next(), { type: 'stdout', text: 'started\n' });
        assert.equal((await world.interrupt(own)).json.interrupted, true);
        assert.equal((await stream.rest()).error.ename, 'InterruptedError', code);
        for (let i = 0; i < 5; i++) assert.deepEqual((await world.run(own, `let sum = 0; for (let i = 0; i < 1e6; i++) sum += i; ${i}`)).results, [{ text: String(i) }]);
      }
      await world.remove(own);
    });

  test('code that listens for SIGINT hears it, and may stop listening', async () => {
    const own = await world.context({ language: 'js' });
    const hears = (n) => `globalThis.heard = 0; ${n} await new Promise((d) => setTimeout(d, 20)); process.kill(process.pid, "SIGINT"); await new Promise((d) => setTimeout(d, 60000))`;
    const { error } = await world.run(own, hears('process.on("SIGINT", () => { heard++; });'));
    assert.equal(error.ename, 'InterruptedError');
    assert.deepEqual((await world.run(own, '[heard, process.listenerCount("SIGINT")]')).results[0].json[0], 1);
    assert.deepEqual((await world.run(own, 'process.removeAllListeners("SIGINT"); 1')).results, [{ text: '1' }]);
    const stream = await world.stream(own, 'console.log("started"); while (true) {}');
    await stream.next();
    await world.interrupt(own);
    assert.equal((await stream.rest()).error.ename, 'InterruptedError');
    assert.deepEqual((await world.run(own, '1')).results, [{ text: '1' }]);
    await world.remove(own);
  });

  test('a wait for what nothing will resolve may be collected too', async () => {
    const wait = await world.context({ language: 'javascript' });
    const stream = await world.stream(wait, 'require("v8").setFlagsFromString("--expose-gc"); const collect = require("vm").runInNewContext("gc");' +
      'setTimeout(() => { collect(); collect(); console.log("collected"); }, 1); await new Promise(() => {})');
    assert.equal((await stream.next()).text, 'collected\n');
    await world.interrupt(wait);
    assert.equal((await stream.rest()).error.ename, 'InterruptedError');
    assert.deepEqual((await world.run(wait, 'collect(); await 1; 2')).results, [{ text: '2' }]);
  });

  /* A `{`, even in a comment, is enough for a cell to go to the inspector. */
  test('a cell that needs no inspector is told as one that goes there', async () => {
    const [short, long] = [await world.context({ language: 'javascript' }), await world.context({ language: 'javascript' })];
    for (const code of ['1 + 1', 'x = 5', 'x', '"s"', 'undefined', 'null', '[1, 2]', '(1, 2)', '1;', ';', '', '// c', 'throw 5', 'throw null', 'throw new Error("x")', 'null.x',
      '(() => nothing)()', '[1].map((q) => q.a.b)', 'JSON.parse("x")', 'x = = 1', '/(/', '`a`', 'return 1', 'new.target', 'super.x', 'yield', 'console.log("hi"); 3', 'Promise.resolve(4)',
      'Promise.reject(new Error("no"))', 'Promise.resolve().then(() => 0).then(() => 0).then(() => console.log("deep")); 1', 'delete x', 'x', 'typeof x', 'this === globalThis',
      'y = 3\ny + 1', 'y\n++\ny', 'a: 1', '010', '10n', 'Symbol("q")', 'new Map([[1, 2]])', 'new Date(0)', '(x => x)(3)', 'display(1); 4', 'new Error("e").message', 'throw new SyntaxError("own")',
      'require("vm").runInThisContext("throw new Error(1)")', '"\\ud800"', '<!-- x', 'void 0', '-0', '"use strict"; undeclared = 1', 'undeclared']) {
      const told = async (context, text) => {
        const { out, err, results, error, count } = await world.run(context, text);
        return { code, out, err, results, error: error && { ...error, timestamp: undefined }, count };
      };
      assert.deepEqual(await told(short, code), await told(long, `${code}\n// {`));
    }
  });

  test('what an interrupt left behind may be collected', async () => {
    const stream = await world.stream(context, 'console.log("started"); await new Promise(() => {})');
    await stream.next();
    await world.interrupt(context);
    assert.equal((await stream.rest()).error.ename, 'InterruptedError');
    await value('require("v8").setFlagsFromString("--expose-gc"); globalThis.collect = require("vm").runInNewContext("gc"); 1');
    assert.deepEqual(await value('collect(); await new Promise((done) => setImmediate(done)); collect(); before'), { text: '1' });
  });

  test('a time limit ends the code and not the context', async () => {
    assert.equal((await run('while (true) {}', { timeout_ms: 100 })).error.ename, 'TimeoutError');
    assert.deepEqual(await value('1'), { text: '1' });
  });

  test('display() and the display symbol give other representations', async () => {
    const { results } = await run('display({ [Symbol.for("Jupyter.display")]: () => ({ "text/html": "<b>x</b>", "text/plain": "x" }) }); 2');
    assert.deepEqual(results, [{ html: '<b>x</b>' }, { text: 'x' }, { text: '2' }]);
  });

  test('a program that is started gets no descriptor of the interpreter', async () => {
    assert.deepEqual(await value('require("child_process").execSync("ls /proc/self/fd").toString().trim().split("\\n").length'), { text: '4' });
  });

  test('process.exit ends the context with an error', async () => {
    const mortal = await world.context({ language: 'node' });
    const { error } = await world.run(mortal, 'console.log(1); process.exit(3)');
    assert.equal(error.ename, 'InterpreterDied');
    assert.match(error.evalue, /exited with code 3/);
    assert.equal((await world.execute(mortal, '1')).json.code, 'INTERNAL_ERROR');
    assert.equal((await world.remove(mortal)).status, 200);
  });

  test('TypeScript runs without its types, and what cannot be compiled is an error', async () => {
    const typescript = await world.context({ language: 'TS' });
    const enumeration = 'interface A { x: number }\nenum E { P, Q }\nconst a: A = { x: E.Q as number };\na';
    assert.deepEqual((await world.run(typescript, enumeration)).results, [{ json: { x: 1 } }]);
    assert.deepEqual((await world.run(typescript, 'const n: number = 5')).results, [{ text: '5' }]);
    assert.deepEqual((await world.run(typescript, 'import { existsSync } from "fs"; existsSync("/etc")')).results, [{ text: 'true' }]);
    const { error, err } = await world.run(typescript, 'type T = ;');
    assert.equal(error.ename, 'TranspileError');
    assert.match(err, /^TypeScript compilation error: /);
    assert.equal((await world.execute(typescript, '1', { language: 'javascript' })).json.code, 'CODE_EXECUTION_ERROR');
  });
});
