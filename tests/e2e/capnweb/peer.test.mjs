// The protocol with its published implementation as the peer, in both roles, over a pipe.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { RpcSession, RpcStub, RpcTarget } from 'capnweb';

import { test } from '../lib/test.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
const program = join(resolve(root, process.env.BERM_BUILD ?? 'build'), 'tests/tools/capnweb_peer');

// Lines of a child process as a transport of the package.
class Lines {
  #waiting = [];
  #lines = [];
  #ended = false;

  constructor(child) {
    this.child = child;
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => {
      const waiter = this.#waiting.shift();
      if (waiter) waiter.done(line);
      else this.#lines.push(line);
    });
    reader.on('close', () => {
      this.#ended = true;
      for (const waiter of this.#waiting) waiter.fail(new Error('the peer is gone'));
    });
  }

  async send(message) {
    this.child.stdin.write(`${message}\n`);
  }

  receive() {
    if (this.#lines.length > 0) return Promise.resolve(this.#lines.shift());
    if (this.#ended) return Promise.reject(new Error('the peer is gone'));
    return new Promise((done, fail) => this.#waiting.push({ done, fail }));
  }

  abort() {
    this.child.stdin.end();
  }
}

function startPeer(role, main) {
  const child = spawn(program, [role], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => { said += data; });
  child.stdin.on('error', () => {});
  const exited = once(child, 'exit');
  const session = new RpcSession(new Lines(child), main);
  return {
    session,
    api: session.getRemoteMain(),
    async end() { // what is left there
      child.stdin.end();
      const [code] = await exited;
      assert.equal(code, 0, said);
      return said.trim();
    },
  };
}

async function idle(session) {
  for (let i = 0; i < 6000; i++) {
    const { imports, exports } = session.getStats();
    if (imports === 1 && exports === 1) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  assert.fail(`not everything was released: ${JSON.stringify(session.getStats())}`);
}

// Results that are only passed on are not waited for, and so have to be disposed of.
async function passedOn(promise, use) {
  try {
    await use(promise);
  } finally {
    promise[Symbol.dispose]();
  }
}

const NOTHING_LEFT = 'exports=1 imports=1 held=0';

async function withPeer(use) {
  const peer = startPeer('serve');
  await use(peer.api, peer.session);
  await idle(peer.session);
  assert.equal(await peer.end(), NOTHING_LEFT);
}

async function length(stream) {
  let n = 0;
  for await (const piece of stream) n += piece.length;
  return n;
}

test('every kind of value comes back from our side as it went there', () => withPeer(async (api) => {
  const error = Object.assign(new RangeError('far'), { code: 'X', details: { a: [1, { b: null }] } });
  const value = {
    none: undefined, null: null, yes: true, int: 42, negative: -7, big: 2 ** 52, fraction: 0.1, tiny: 5e-324, huge: 1e300,
    inf: Infinity, ninf: -Infinity, nan: NaN, bigint: 123456789012345678901234567890n, date: new Date(1700000000123),
    empty: [], nested: [[], [1, [2]], {}], text: 'grüße \u0000 \u{1f600} "\\\n', bytes: new Uint8Array([0, 1, 254, 255]), error,
  };
  const back = await api.echo(value);
  assert.ok(back.bytes instanceof Uint8Array);
  assert.deepEqual([...back.bytes], [0, 1, 254, 255]);
  assert.ok(back.error instanceof RangeError && back.error.message === 'far' && back.error.code === 'X');
  assert.deepEqual(back.error.details, { a: [1, { b: null }] });
  assert.ok('none' in back);
  assert.deepEqual({ ...back, bytes: 0, error: 0 }, { ...value, bytes: 0, error: 0 });
  assert.equal(await api.echo('a\ud800b'), 'a\ufffdb');
  let deep = 1;
  for (let i = 0; i < 60; i++) deep = [deep];
  assert.deepEqual(await api.echo(deep), deep);
}));

test('headers, requests and responses pass through', () => withPeer(async (api) => {
  const headers = await api.echo(new Headers({ 'x-a': '1' }));
  assert.equal(headers.get('x-a'), '1');
  const response = await api.echo(new Response(null, { status: 201, headers: { 'x-b': '2' } }));
  assert.deepEqual([response.status, response.headers.get('x-b')], [201, '2']);
  const request = await api.echo(new Request('http://host/path', { method: 'DELETE' }));
  assert.deepEqual([request.url, request.method], ['http://host/path', 'DELETE']);
}));

test('calls are pipelined on results and on their properties', () => withPeer(async (api) => {
  const counter = api.makeCounter('p');
  assert.equal(await counter.inc(5), 5);
  assert.equal(await counter.inc(2), 7);
  const held = await counter;
  assert.equal(await held.value, 7);
  await passedOn(api.add(1, 2), async (three) => {
    await passedOn(counter.inc(1), async (eight) => assert.equal(await api.add(three, eight), 11));
  });
  await passedOn(api.nested(9), async (nested) => assert.equal(await nested.deep[0].x, 9));
  const sub = await api.sub;
  assert.equal(await sub.add(20, 22), 42);
  sub[Symbol.dispose]();
  held[Symbol.dispose]();
  counter[Symbol.dispose]();
}));

test('errors arrive with their properties, and whatever else was thrown', () => withPeer(async (api) => {
  const error = await api.fail('File not found', 'FILE_NOT_FOUND', { path: '/x' }).then(() => assert.fail(), (e) => e);
  assert.deepEqual([error.message, error.code, error.details], ['File not found', 'FILE_NOT_FOUND', { path: '/x' }]);
  assert.equal(await api.failWith('just this').then(() => assert.fail(), (e) => e), 'just this');
  await assert.rejects(async () => api.nope(), TypeError);
  await passedOn(api.nested(1), (nested) => assert.rejects(async () => nested.deep[0].x(), TypeError));
}));

test('callbacks are called in order, and a failing one fails the call', () => withPeer(async (api) => {
  const heard = [];
  assert.equal(await api.callMe((line) => { heard.push(line.text); }, 100), 'done');
  assert.deepEqual(heard, Array.from({ length: 100 }, (_, i) => `line${i}`));
  await assert.rejects(async () => api.callMe(() => { throw new Error('enough'); }, 3), /enough/);
}));

test('streams of ten megabytes go both ways', () => withPeer(async (api) => {
  assert.equal(await length(await api.stream(160, 65536)), 10 << 20);
  let left = 160;
  const source = new ReadableStream({
    pull(controller) {
      if (left-- === 0) controller.close();
      else controller.enqueue(new Uint8Array(65536));
    },
  });
  assert.deepEqual(await api.consume('/f', source, 's'), { path: '/f', bytesWritten: 10 << 20 });
}));

test('streams end early from either side', () => withPeer(async (api) => {
  const reader = (await api.stream(1000000, 65536)).getReader();
  await reader.read();
  await reader.cancel(new Error('enough'));
  let cancelled;
  const endless = new ReadableStream({
    pull(controller) { controller.enqueue(new Uint8Array(65536)); },
    cancel(reason) { cancelled = reason; },
  });
  await assert.rejects(async () => api.consume('/f', endless, 's', 1000000), /refused/);
  for (let i = 0; i < 6000 && !cancelled; i++) await new Promise((done) => setTimeout(done, 10));
  assert.match(String(cancelled?.message), /no thanks/);
  await assert.rejects(async () => length(await api.brokenStream(3)), /source broke/);
}));

test('an object of ours comes home and a promise of ours is waited for', () => withPeer(async (api) => {
  const sub = await api.sub;
  assert.deepEqual(await api.take(sub), { p: 'svc' });
  sub[Symbol.dispose]();
}));

test('map() is refused, and nothing stays behind', () => withPeer(async (api) => {
  await passedOn(api.echo([1, 2, 3]), (list) => assert.rejects(async () => list.map((x) => api.add(x, 1)), /map/));
}));

test('our side as the caller: values, errors, pipelining, functions and streams', async () => {
  const reports = new Map();
  let all;
  const finished = new Promise((done) => { all = done; });
  let seen;
  class Counter extends RpcTarget {
    #n;
    constructor(n) { super(); this.#n = n; }
    inc(by) { return this.#n += by; }
  }
  class Slow extends RpcTarget {
    async give(n) { await new Promise((done) => setTimeout(done, 50)); return n; }
  }
  class Main extends RpcTarget {
    values(...args) { seen = args; return ['ok', new Date(5), { deep: [new Uint8Array([7])] }]; }
    fail() { throw Object.assign(new TypeError('wrong'), { code: 'C' }); }
    makeCounter(n) { return new Counter(n); }
    async useFunction(f) { return [await f(1), await f(41)]; }
    consume(stream) { return length(stream); }
    late(n) { return { promised: new RpcStub(new Slow()).give(n) }; }
    report(name, ok, value) {
      reports.set(name, [ok, value]);
      if (reports.size === 7) all();
    }
  }
  const peer = startPeer('call', new Main());
  await finished;
  assert.deepEqual([seen[0], seen[1].getTime(), seen[2], [...seen[3]]],
    [undefined, 1700000000123, 12345678901234567890n, [0, 1, 2, 254, 255]]);
  const [ok, values] = reports.get('values');
  assert.deepEqual([ok, values[0], values[1].getTime(), [...values[2].deep[0]]], [true, 'ok', 5, [7]]);
  assert.equal(reports.get('fail')[0], false);
  assert.deepEqual([reports.get('fail')[1].name, reports.get('fail')[1].message, reports.get('fail')[1].code], ['TypeError', 'wrong', 'C']);
  assert.deepEqual(reports.get('inc'), [true, 6]);
  assert.deepEqual(reports.get('useFunction'), [true, [2, 42]]);
  assert.deepEqual(reports.get('consume'), [true, 10 << 20]);
  assert.deepEqual(reports.get('stream end'), [true, undefined]);
  assert.deepEqual(reports.get('late'), [true, { promised: 3 }]);
  await idle(peer.session);
  assert.equal(await peer.end(), NOTHING_LEFT);
});

// --- without a peer: what it costs

async function replay(messages, times) {
  const directory = await mkdtemp(join(tmpdir(), 'berm-capnweb-'));
  const file = join(directory, 'messages');
  await writeFile(file, messages.map((m) => `${m}\n`).join(''));
  const child = spawn(program, ['replay', file, String(times)], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => { said += data; });
  const [code] = await once(child, 'exit');
  await rm(directory, { recursive: true });
  assert.equal(code, 0, said);
  return Object.fromEntries([...said.matchAll(/(\w+)=([\d.]+)/g)].map(([, k, v]) => [k, Number(v)]));
}

test('a million small calls leave nothing and take no more memory than the first ones', { timeout: 300000 }, async () => {
  const messages = ['["push",["pipeline",0,["add"],[1,2]]]', '["pull",#]', '["release",#,1]'];
  const few = await replay(messages, 1000);
  const many = await replay(messages, process.env.BERM_SANITIZED ? 100_000 : 1_000_000);
  console.log(`# ${Math.round(many.cpu * 1e9 / many.rounds)} ns of CPU a call`);
  assert.deepEqual([many.exports, many.imports, many.held], [1, 1, 0]);
  /* The address sanitizer keeps what is freed for a while. */
  if (!process.env.BERM_SANITIZED) assert.ok(many.maxrss < few.maxrss + 1024, `${few.maxrss} KiB, then ${many.maxrss} KiB`);
});

test('a stream costs little more than copying it', async () => {
  const chunk = Buffer.alloc(65536, 'x').toString('base64').replace(/=+$/, '');
  const write = `["stream",["pipeline",1,["write"],[["bytes","${chunk}"]]]]`;
  const messages = ['["pipe"]', '["push",["pipeline",0,["consume"],["/f",["readable",1]]]]', ...Array(160).fill(write)];
  const cost = await replay(messages, 1);
  console.log(`# ${Math.round((10 << 20) / cost.cpu / 1e6)} MB of a stream in a second of CPU`);
  assert.ok(cost.cpu < (process.env.BERM_SANITIZED ? 1 : 0.05), `${cost.cpu} s`); /* 200 MB/s */
});
