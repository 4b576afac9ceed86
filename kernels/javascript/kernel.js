// The JavaScript and TypeScript kernel of the code interpreter: one node process per context, and a channel to the
// agent, which also brought this text. Frames are as in kernels/python/kernel.py.
//
// Code runs in the main context by way of V8's inspector in its REPL mode: the same mode that browsers' consoles use,
// with top-level await, redeclaration and completion values as the engine itself understands them.
(fd, require, importer) => {
  'use strict';
  const { Session } = require('inspector');
  const { createRequire, isBuiltin } = require('module');
  const { pathToFileURL } = require('url');
  const fs = require('fs');
  const net = require('net');
  const path = require('path');
  const util = require('util');
  const vm = require('vm');
  const { promiseHooks } = require('v8');
  const { types } = util;
  const { stringify, parse } = JSON;

  const FRAME_MAX = 32 * 1024 * 1024;
  const HOLD_MAX = 64 * 1024;
  const DEPTH_MAX = 100;
  const TRANSPILER_PLACES = ['/usr/local/lib/node_modules', '/usr/lib/node_modules'];
  let transpile; // of a TypeScript context

  // --- frames ---

  const pause = new Int32Array(new SharedArrayBuffer(4));

  let held; // frames that go along with the next one

  // False: it is too large for a frame and was not sent. `hold`: it may go along with the next one.
  function send(kind, value, hold = false) {
    const payload = stringify(value);
    const size = Buffer.byteLength(payload);
    if (size + 1 > FRAME_MAX) return false;
    let data = Buffer.allocUnsafe(size + 5);
    data.writeUInt32LE(size + 1, 0);
    data[4] = kind.charCodeAt(0);
    data.write(payload, 5);
    if (held) data = Buffer.concat([held, data]);
    held = hold && interrupt && data.length <= HOLD_MAX ? data : undefined; // not for what an earlier cell left behind
    if (!held) write(data);
    return true;
  }

  function write(data) {
    for (let done = 0; done < data.length;) {
      try {
        done += fs.writeSync(fd, data, done);
      } catch (error) {
        // The channel does not block: it is read by the event loop. Frames are written at once all the same, so
        // that what is shown is on its way also when the code behind it never yields.
        if (error.code !== 'EAGAIN') process.exit(0);
        Atomics.wait(pause, 0, 0, 1);
      }
    }
  }

  function receive(onFrame) {
    let held = Buffer.alloc(0);
    const socket = new net.Socket({ fd, readable: true, writable: false });
    socket.on('data', (data) => {
      held = held.length ? Buffer.concat([held, data]) : data;
      while (held.length >= 4 && held.length >= 4 + held.readUInt32LE(0)) {
        const size = held.readUInt32LE(0);
        const frame = held.subarray(4, 4 + size);
        held = held.subarray(4 + size);
        onFrame(String.fromCharCode(frame[0]), parse(frame.subarray(1).toString()));
      }
    });
    socket.on('close', () => process.exit(0));
    socket.on('error', () => process.exit(0));
  }

  // --- results ---

  const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, '\ufffd');

  // As strict JSON has it, or undefined.
  function plain(value) {
    const deep = (v, depth) => depth > DEPTH_MAX ||
      (v !== null && typeof v === 'object' && Object.values(v).some((item) => deep(item, depth + 1)));
    try {
      let text = stringify(value);
      if (text === undefined) return undefined;
      if (/\\u[dD][89a-fA-F]/.test(text))
        text = stringify(value, (key, item) => (typeof item === 'string' ? wellFormed(item) : item));
      const copy = parse(text);
      return deep(copy, 0) || /\\u[dD][89a-fA-F]/.test(text) ? undefined : copy;
    } catch {
      return undefined; // circular, a BigInt, a toJSON() that throws
    }
  }

  const MIME = { 'image/png': 'png', 'image/jpeg': 'jpeg', 'image/svg+xml': 'svg', 'application/pdf': 'pdf', 'text/html': 'html',
    'application/json': 'json', 'text/latex': 'latex', 'text/markdown': 'markdown', 'application/javascript': 'javascript',
    'text/plain': 'text' };
  const DISPLAY = Symbol.for('Jupyter.display');
  let tooLarge = 0;

  const tell = (result, hold) => { if (!send('r', result, hold)) tooLarge++; };
  const inspect = (value) => wellFormed(util.inspect(value));
  const isPlainObject = (value) => value !== null && typeof value === 'object' && !types.isMap(value) && !types.isSet(value) &&
    !types.isNativeError(value) && !types.isRegExp(value) && !types.isPromise(value) && !types.isWeakMap(value) &&
    !types.isWeakSet(value) && !types.isBoxedPrimitive(value) && !ArrayBuffer.isView(value) && !types.isAnyArrayBuffer(value);

  async function show(value, hold = false) {
    if (value === undefined) return;
    if (value !== null && typeof value === 'object' && typeof value[DISPLAY] === 'function') {
      const bundle = await value[DISPLAY]();
      for (const [mime, name] of Object.entries(MIME))
        if (bundle?.[mime] !== undefined && bundle[mime] !== null)
          tell({ [name]: name === 'json' ? plain(bundle[mime]) ?? null : wellFormed(String(bundle[mime])) });
      return;
    }
    const copy = isPlainObject(value) ? plain(value) : undefined;
    tell(copy === undefined ? { text: inspect(value) } : { json: copy }, hold);
  }

  // --- running ---

  const GROUP = 'cell';
  let session;
  let taken; // what the inspector handed over
  let sinkId;
  let evaluation; // { expression, onReply } of the cell that starts
  let interrupt; // rejects the wait for the cell that runs
  let awaited; // the promise that the evaluation is: if V8 collected it, the inspector would answer from inside of the
  let endHook; // collection, and that ends the process. It is the first one that is made under this hook.
  let holdsObjects = false; // the inspector, for the cell that runs
  let count = 0;

  const post = (method, params) => new Promise((done, fail) => {
    session.post(method, params, (error, reply) => (error ? fail(new Error(error.message)) : done(reply)));
  });

  // The value behind what the inspector tells of it.
  async function take(remote) {
    if (remote.objectId === undefined) {
      if (remote.type === 'bigint') return BigInt(remote.unserializableValue.slice(0, -1));
      return remote.unserializableValue === undefined ? remote.value : Number(remote.unserializableValue);
    }
    await post('Runtime.callFunctionOn', { objectId: sinkId, functionDeclaration: 'function (v) { this.value = v; }',
      arguments: [{ objectId: remote.objectId }] });
    const { value } = taken;
    taken.value = undefined;
    return value;
  }

  // Also after an interrupt: an evaluation that nothing will ever end must not stay with the inspector (see `awaited`).
  function connect() {
    session?.disconnect();
    session = new Session();
    session.connect();
    taken = {};
    hidden('__berm_taken', taken);
    session.post('Runtime.evaluate', { expression: '__berm_taken' }, (error, reply) => { sinkId = reply.result.objectId; });
    delete globalThis.__berm_taken;
  }

  class Interrupted extends Error {
    get name() { return 'InterruptedError'; }
  }

  // SIGINT. node's thread that ends code which never yields is made and joined for each evaluation that asks for it,
  // unless it is there already, and then the signal is its own: so we keep it, and an interrupt comes as a frame too, for
  // what waits. Until somebody else wants to hear of the signal: from then on node does as always, and we listen as well.
  let watchdog; // node's functions for that thread, while we keep it
  let inEvaluator = false;
  let stoppedByWatchdog = false;
  let listenForSignal = () => {}; // node's own, called for each new listener of a signal

  function keepWatchdog() {
    const [own] = process.rawListeners('newListener').filter(({ name }) => name === 'startListeningIfSignal');
    const binding = own && findWatchdog();
    if (binding?.startSigintWatchdog() !== true) {
      process.on('SIGINT', onInterrupt);
      return;
    }
    watchdog = binding;
    listenForSignal = own;
    process.removeListener('newListener', own);
    process.prependListener('newListener', (name) => {
      if (name !== 'SIGINT') own(name);
      else if (!inEvaluator) shareSignal(); // else it would take the signal away from the thread; start() sees to it
    });
  }

  function findWatchdog() {
    try {
      const binding = process.binding('contextify');
      return typeof binding.stopSigintWatchdog === 'function' && binding.watchdogHasPendingSigint() === false ? binding : undefined;
    } catch {
      return undefined; // another node
    }
  }

  function shareSignal() {
    watchdog?.stopSigintWatchdog(); // gives the signal its default action, so node listens behind it
    listenForSignal('SIGINT');
    if (!watchdog) return;
    watchdog = undefined;
    process.on('SIGINT', onInterrupt);
  }

  // A signal that no evaluation took. It would be taken for the next interrupt's.
  function forgetSignal() {
    if (!watchdog?.watchdogHasPendingSigint()) return;
    watchdog.stopSigintWatchdog();
    watchdog.startSigintWatchdog();
  }

  // An interrupt is announced by a frame. While somebody listens for the signal it has its default action for a moment at
  // the start and at the end of each evaluation, and would be the end of this process: so it is sent when we say that this
  // is no such moment. We cannot say so where code never yields; then it comes 50 ms later.
  function onInterruptAnnounced() {
    if (!interrupt) return; // nothing runs
    if (watchdog || process.listeners('SIGINT').includes(onInterrupt)) send('s', {});
    else onInterrupt(); // code took us off
  }

  // The frame behind the signal.
  function onInterruptSent() {
    if (!watchdog) return; // we listen for the signal itself
    // node's thread must have seen it, or it would end the next evaluation.
    for (let i = 0; !stoppedByWatchdog && !watchdog.watchdogHasPendingSigint() && i < 100; i++) Atomics.wait(pause, 0, 0, 1);
    forgetSignal();
    onInterrupt();
  }

  const evaluator = new vm.Script('globalThis[Symbol.for("berm.evaluate")]()', { filename: 'berm-kernel' });

  // Runs a script under node's watch for SIGINT, which also ends code that never yields.
  function watched(script) {
    inEvaluator = true;
    awaited = undefined;
    endHook = () => {};
    try {
      return script.runInThisContext({ breakOnSigint: true, displayErrors: false });
    } catch (error) {
      if (error?.code !== 'ERR_SCRIPT_EXECUTION_INTERRUPTED') throw error;
      stoppedByWatchdog = true;
      throw new Interrupted('the execution was interrupted');
    } finally {
      inEvaluator = false;
      endHook();
      if (process.listenerCount('SIGINT') > 0) shareSignal();
    }
  }

  function start(expression) {
    const reply = new Promise((done, fail) => {
      evaluation = { expression, onReply: (error, value) => (error ? fail(new Error(error.message)) : done(value)) };
    });
    reply.catch(() => {}); // it comes even if the start was interrupted
    watched(evaluator);
    return reply;
  }

  class Thrown {
    constructor(value, details) {
      this.value = value;
      this.details = details;
    }
  }

  async function evaluate(expression) {
    holdsObjects = true;
    const reply = await start(expression);
    if (reply.exceptionDetails)
      throw new Thrown(await take(reply.exceptionDetails.exception ?? { value: reply.exceptionDetails.text }), reply.exceptionDetails);
    return { value: await take(reply.result) }; // in a box, or the promise would be awaited here
  }

  const compiled = (code, options) => {
    try {
      return new vm.Script(code, options);
    } catch {
      return undefined;
    }
  };

  // Code without any of these is the same as a script and in V8's REPL mode: it declares and awaits nothing, and none of
  // its statements is one that has no value. Without the inspector it takes half of the time.
  const NEEDS_REPL = new RegExp('[{#]|\\b(?:let|const|var|class|function|async|await|import|export|using|if|for|while|do|' +
    'switch|try|with|eval|Function|arguments)\\b');
  const REPL_TURNS = 5; // more turns of the microtasks than the inspector takes: what the code left there has its turn before the end

  async function runScript(script) {
    let value;
    try {
      value = watched(script);
    } catch (error) {
      throw error instanceof Interrupted ? error : new Thrown(error);
    }
    for (let i = 0; i < REPL_TURNS; i++) await undefined;
    return { value }; // in a box, or the promise would be awaited here
  }

  function sourceOf(javascript) {
    const trimmed = javascript.trim();
    // What looks like an object is one, as in consoles, and no block.
    if (/^\{[^]*\}$/.test(trimmed) && compiled(`(${trimmed})`)) return { text: `(${trimmed})` };
    return scanSource(javascript);
  }

  const ASSIGNMENTS_MAX = 16;

  // In its REPL mode V8 lets names be declared again, but not in another way than before (a function or a var as a
  // let, or the reverse). It names the first of those; that one is assigned to instead.
  async function run(code) {
    const javascript = transpile ? transpile(code) : code;
    const name = `cell-${count + 1}`;
    const script = NEEDS_REPL.test(javascript) ? undefined : compiled(javascript, { filename: name });
    if (script) {
      count++;
      await show(await (await runScript(script)).value, true);
      return;
    }
    const source = sourceOf(javascript);
    count++;
    let { text } = source;
    let outcome;
    for (let tries = 0; !outcome; tries++) {
      try {
        outcome = await evaluate(`${text}\n//# sourceURL=${name}`);
      } catch (thrown) {
        const taken = thrown?.value instanceof SyntaxError && /^Identifier '(.+)' has already been declared$/.exec(thrown.value.message)?.[1];
        const changed = taken && tries < ASSIGNMENTS_MAX ? assignInstead(text, taken) : undefined;
        if (changed === undefined || changed === text) throw thrown;
        text = changed;
      }
    }
    if (!source.isStatement) await show(await outcome.value, true);
  }

  // Frames below the first one of ours are all ours.
  function stackOf(error) {
    const lines = wellFormed(String(error?.stack ?? error)).split('\n');
    let own = lines.findIndex((line) => /^ +at .*(?:berm-kernel|node:inspector):/.test(line));
    while (own > 0 && / \(node:vm:\d/.test(lines[own - 1])) own--;
    const kept = (own < 0 ? lines : lines.slice(0, own)).filter((line) => !line.includes('(node:internal/'));
    return kept.length > 1 && kept.at(-1).endsWith('at new Promise (<anonymous>)') && own >= 0 ? kept.slice(0, -1) : kept;
  }

  function errorOf(error) {
    const value = error instanceof Thrown ? error.value : error;
    if (!types.isNativeError(value) && !(value instanceof Error))
      return { ename: 'Error', evalue: wellFormed(typeof value === 'string' ? value : inspect(value)), traceback: [] };
    const lines = stackOf(value);
    const details = error instanceof Thrown && value instanceof SyntaxError ? error.details : undefined;
    if (details && lines.length === 1) lines.push(`    at cell-${count}:${details.lineNumber + 1}:${details.columnNumber + 1}`);
    return { ename: wellFormed(String(value.name || value.constructor?.name || 'Error')),
      evalue: wellFormed(String(value.message)), traceback: lines };
  }

  async function execute({ code }) {
    tooLarge = 0;
    stoppedByWatchdog = false;
    forgetSignal();
    if (!watchdog && !process.listeners('SIGINT').includes(onInterrupt)) process.on('SIGINT', onInterrupt);
    const interrupted = new Promise((_, fail) => { interrupt = fail; });
    let failure;
    try {
      await Promise.race([run(code), interrupted]);
      if (tooLarge) throw new RangeError(`${tooLarge} result(s) larger than ${FRAME_MAX >> 20} MiB were not sent`);
    } catch (error) {
      failure = errorOf(error);
      if (error instanceof Interrupted) connect();
    }
    interrupt = undefined;
    interrupted.catch(() => {});
    if (failure) {
      process.stderr.write(`${failure.traceback.join('\n') || failure.evalue}\n`);
      if (!send('e', failure)) send('e', { ...failure, evalue: failure.evalue.slice(0, 65536), traceback: [] });
    }
    send('d', {});
    if (holdsObjects) session.post('Runtime.releaseObjectGroup', { objectGroup: GROUP });
    holdsObjects = false;
  }

  function onInterrupt() {
    interrupt?.(new Interrupted('the execution was interrupted'));
  }

  // --- the world that code sees ---

  async function importFrom(specifier) {
    const name = String(specifier);
    if (isBuiltin(name) || /^[a-z]+:/i.test(name)) return importer(name);
    try {
      return await importer(pathToFileURL(globalThis.require.resolve(name)).href);
    } catch (error) {
      if (error?.code !== 'MODULE_NOT_FOUND' && error?.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
      return importer(name);
    }
  }

  const hidden = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });

  function prepare() {
    connect();
    const { Console } = require('console');
    hidden('console', new Console({ stdout: process.stdout, stderr: process.stderr }));
    hidden('display', (value) => show(value));
    hidden('__berm_import', importFrom);
    hidden(Symbol.for('berm.evaluate'), () => {
      const { expression, onReply } = evaluation;
      endHook = promiseHooks.onInit((promise) => { awaited ??= promise; });
      session.post('Runtime.evaluate', { expression, replMode: true, objectGroup: GROUP }, onReply);
    });
    // What fails behind the back of a cell is told where its output is, and the context goes on.
    process.on('uncaughtException', (error) => process.stderr.write(`Uncaught ${stackOf(error).join('\n')}\n`));
    process.on('unhandledRejection', (error) => process.stderr.write(`Uncaught (in promise) ${stackOf(error).join('\n')}\n`));
    keepWatchdog();
  }

  function findTranspiler() {
    for (const place of TRANSPILER_PLACES) {
      let sucrase;
      try {
        sucrase = require(path.join(place, 'sucrase'));
      } catch (error) {
        if (error.code === 'MODULE_NOT_FOUND') continue;
        throw error;
      }
      return (code) => sucrase.transform(code, { transforms: ['typescript'], disableESTransforms: true, keepUnusedImports: true }).code;
    }
    const { stripTypeScriptTypes } = require('module');
    if (!stripTypeScriptTypes) throw new Error('there is no TypeScript transpiler: neither sucrase nor a node that has one');
    return (code) => stripTypeScriptTypes(code, { mode: 'transform' });
  }

  function become({ cwd, env, language }) {
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, env);
    process.chdir(cwd);
    hidden('require', createRequire(path.join(cwd, 'cell.js')));
    hidden('__dirname', cwd);
    hidden('__filename', path.join(cwd, 'cell.js'));
    if (language !== 'typescript') return;
    const toJavaScript = findTranspiler();
    transpile = (code) => {
      try {
        return toJavaScript(code);
      } catch (error) {
        const wrapped = new SyntaxError(`TypeScript compilation error: ${error.message}`);
        wrapped.name = 'TranspileError';
        wrapped.stack = wrapped.message;
        throw wrapped;
      }
    };
  }

  let queue = Promise.resolve();
  const onFrame = (kind, value) => {
    if (kind === 'X') {
      queue = queue.then(() => execute(value));
    } else if (kind === 'I') {
      try {
        become(value);
        send('R', {});
      } catch (error) {
        send('F', { message: String(error.message) });
        process.exit(1);
      }
    } else if (kind === 'C') {
      if (value.signal === true) onInterruptSent();
      else onInterruptAnnounced();
    }
  };

  prepare();
  send('P', {});
  receive(onFrame);
}
