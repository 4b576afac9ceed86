// How we frame HTTP/1.1 against how others do: Node's parser (llhttp 9 in the versions we test with), asked directly
// and, for the cases written by hand, through a node:http server on a socket; and the older llhttp 8 that Debian packages.
// Two rules: we never accept what both refuse, and never frame differently from what both agree on. Refusing more
// than they do is what our parser is for. BERM_BUILD names the build directory, BERM_SEED another seed than the
// usual one, BERM_MUTATIONS another number of mutated cases.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const { HTTPParser, methods } = createRequire(import.meta.url)('_http_common');

const here = dirname(fileURLToPath(import.meta.url));
const ours = resolve(here, '../..', process.env.BERM_BUILD ?? 'build', 'tests/differential/h1_tool');
const seed = Number(process.env.BERM_SEED ?? 20240229) >>> 0;
const mutations = Number(process.env.BERM_MUTATIONS ?? 12000);

console.log(`# seed ${seed}, Node's llhttp is ${process.versions.llhttp}`);

const scratch = mkdtempSync(join(tmpdir(), 'berm-h1-'));
test.after(() => rmSync(scratch, { recursive: true }));

function buildPackagedLlhttp() {
  const sources = ['llhttp.c', 'api.c', 'http.c'].map((name) => `/usr/share/llhttp/${name}`);
  assert.ok(existsSync(sources[0]), 'the package node-llhttp has to be installed');
  const program = join(scratch, 'llhttp_tool');
  const includes = ['-I/usr/share/include', '-I/usr/share/include/llhttp'];
  execFileSync('cc', ['-O1', ...includes, join(here, 'llhttp_tool.c'), ...sources, '-o', program]);
  return program;
}

/* --- asking: each gives { messages: [{ start, fields, body, complete }], end, reason } per case --- */

const hex = (text) => Buffer.from(text, 'latin1').toString('hex');
const trimmed = (text) => text.replace(/^[ \t]+|[ \t]+$/g, '');

function readAnswer(block) {
  const answer = { messages: [], end: '', reason: '' };
  for (const line of block.split('\n')) {
    const [kind, ...words] = line.split(' ');
    const message = answer.messages.at(-1);
    if (kind === 'm' || kind === 's') answer.messages.push({ start: line, fields: [], body: '', complete: false });
    else if (kind === 'f') message.fields.push(words.join(' '));
    else if (kind === 'b') message.body += words[0];
    else if (kind === 'c') message.complete = true;
    else if (kind === 'end') [answer.end, answer.reason = ''] = words;
  }
  return answer;
}

function askProgram(program, cases) {
  const input = [];
  for (const { kind, bytes } of cases) {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(bytes.length + 1);
    head.write(kind, 4);
    input.push(head, bytes);
  }
  const run = spawnSync(program, { input: Buffer.concat(input), maxBuffer: 1 << 30 });
  if (run.error) throw run.error;
  assert.equal(run.status, 0, run.stderr.toString());
  const answers = run.stdout.toString('latin1').split('\n\n').slice(0, -1).map(readAnswer);
  assert.equal(answers.length, cases.length);
  return answers;
}

function askNode({ kind, bytes }) {
  const answer = { messages: [], end: 'more', reason: '' };
  const parser = new HTTPParser();
  let flushed = [];
  let url = '';
  parser.initialize(kind === 'q' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {});
  parser[HTTPParser.kOnMessageBegin | 0] = () => {
    flushed = [];
    url = '';
  };
  parser[HTTPParser.kOnHeaders | 0] = (fields, part) => {
    flushed.push(...fields);
    url += part;
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, fields, method, target, status) => {
    const all = fields ?? flushed;
    const message = { start: '', fields: [], body: '', complete: false };
    message.start = kind === 'q' ? `m ${hex(methods[method])} ${hex(target ?? url)}` : `s ${status}`;
    for (let i = 0; i < all.length; i += 2) message.fields.push(`${hex(all[i])} ${hex(trimmed(all[i + 1]))}`);
    answer.messages.push(message);
    return kind === 'h' ? 1 : 0;
  };
  parser[HTTPParser.kOnBody | 0] = (piece) => {
    answer.messages.at(-1).body += piece.toString('hex');
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    answer.messages.at(-1).complete = true;
  };
  const took = parser.execute(bytes);
  if (took instanceof Error) {
    answer.end = 'refused';
    answer.reason = took.code;
  } else if (took < bytes.length) {
    answer.end = 'upgrade';
  } else if (kind !== 'q') {
    parser.finish();
  }
  parser.close();
  return answer;
}

// What a node:http server makes of the bytes. Its messages have their bodies whole or are not complete.
function askNodeServer(port, recorded, { bytes }) {
  return new Promise((done, failed) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const record = { messages: [], end: 'more', reason: '' };
    socket.on('connect', () => {
      recorded.set(socket.localPort, record);
      socket.end(bytes);
    });
    socket.on('error', (error) => (error.code === 'ECONNRESET' || error.code === 'EPIPE' ? undefined : failed(error)));
    socket.on('close', () => done(record));
    socket.resume();
  });
}

function startNodeServer(recorded) {
  const server = http.createServer({ insecureHTTPParser: false, keepAliveTimeout: 200 }, (request, response) => {
    const record = recorded.get(request.socket.remotePort);
    const message = { start: `m ${hex(request.method)} ${hex(request.url)}`, fields: [], body: '', complete: false };
    for (let i = 0; i < request.rawHeaders.length; i += 2)
      message.fields.push(`${hex(request.rawHeaders[i])} ${hex(trimmed(request.rawHeaders[i + 1]))}`);
    record.messages.push(message);
    request.on('data', (piece) => (message.body += piece.toString('hex')));
    request.on('end', () => {
      message.complete = true;
      response.end();
    });
    request.on('error', () => {});
  });
  server.on('checkContinue', (request, response) => server.emit('request', request, response));
  server.on('clientError', (error, socket) => {
    const record = recorded.get(socket.remotePort);
    if (record && error.code?.startsWith('HPE_') && error.code !== 'HPE_INVALID_EOF_STATE') {
      record.end = 'refused';
      record.reason = error.code;
    }
    socket.destroy();
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)));
}

/* --- the rules --- */

// llhttp knows a closed list of methods; one that it does not know frames nothing differently.
const isKnownMethod = (message) => message.start[0] === 's' || methods.some((m) => message.start.split(' ')[1] === hex(m));

const same = (a, b) => a.start === b.start && a.body === b.body && a.fields.join() === b.fields.join();

// Did the parser get as far as message `i`, and refuse there what we took: its head, or its body?
function refuses(answer, i, message) {
  const reached = answer.messages.filter((m) => m.complete).length;
  return answer.end === 'refused' && reached === i && (!answer.messages[i] || message.complete);
}

// Why our answer breaks a rule, or null.
function complaint(our, a, b) {
  for (const [i, message] of our.messages.entries()) {
    const [x, y] = [a.messages[i], b.messages[i]];
    if (!isKnownMethod(message)) return null;
    if (refuses(a, i, message) && refuses(b, i, message)) return `both refuse message ${i}`;
    if (!message.complete || !x?.complete || !y?.complete) continue;
    if (same(x, y) && !same(message, x)) return `message ${i} is framed differently`;
  }
  return null;
}

function check(cases, answers, others) {
  const counts = { accepted: 0, stricter: 0 };
  for (const [i, our] of answers.entries()) {
    const wrong = complaint(our, others[0][i], others[1][i]);
    if (wrong) {
      const show = JSON.stringify(cases[i].bytes.toString('latin1'));
      const views = [our, others[0][i], others[1][i]].map((answer) => JSON.stringify(answer)).join('\n');
      assert.fail(`${wrong}: ${cases[i].kind} ${show}\n${views}`);
    }
    const most = Math.max(...others.map((all) => all[i].messages.filter((m) => m.complete).length));
    const complete = our.messages.filter((m) => m.complete).length;
    counts.accepted += complete > 0;
    counts.stricter += complete < most;
  }
  return counts;
}

/* --- cases --- */

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const post = (fields, body = '') => `POST /p HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`;
const chunked = (body) => post('Transfer-Encoding: chunked\r\n', body);

const requests = [
  get,
  get + get + get,
  `\r\n${get}`,
  `\r\n\r\n${get}`,
  'GET /a/b?c=d&e HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\nX-Empty:\r\nX-Space: \t a b \t\r\n\r\n',
  'GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'GET / HTTP/1.0\r\n\r\n',
  'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n' + get,
  post('Content-Length: 5\r\n', 'hello') + get,
  post('Content-Length: 0\r\n') + get,
  post('Content-Length: 005\r\n', 'hello') + get,
  post('Content-Length: 50\r\n', 'hello'),
  post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello') + get,
  post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello') + get,
  post('Content-Length: 5, 5\r\n', 'hello') + get,
  post('Content-Length: +5\r\n', 'hello') + get,
  post('Content-Length: 5 \r\n', 'hello') + get,
  post('Content-Length: 0x5\r\n', 'hello') + get,
  post('Content-Length: 18446744073709551621\r\n', 'hello') + get,
  post('Content-Length : 5\r\n', 'hello') + get,
  post('Content-Length:\r\n 5\r\n', 'hello') + get,
  post('Expect: 100-continue\r\nContent-Length: 5\r\n', 'hello') + get,
  chunked('5\r\nhello\r\n0\r\n\r\n') + get,
  chunked('5;a=b;c="d e"\r\nhello\r\n0\r\nTrailer: x\r\n\r\n') + get,
  chunked('00005\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n') + get,
  chunked('5 \r\nhello\r\n0\r\n\r\n') + get,
  chunked('5;\r\nhello\r\n0\r\n\r\n') + get,
  chunked('5\nhello\n0\n\n') + get,
  chunked('5\r\nhello0\r\n\r\n') + get,
  chunked('5\r\nhelloXX0\r\n\r\n') + get,
  chunked('5\r\nhello\r\n0\r\n\rX') + get,
  chunked('5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n') + get,
  chunked('5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n') + get,
  chunked('5;a=\n\r\nhello\r\n0\r\n\r\n') + get,
  chunked('-1\r\nhello\r\n0\r\n\r\n') + get,
  chunked('FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n') + get,
  chunked('10000000000000005\r\nhello\r\n0\r\n\r\n') + get,
  post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n') + get,
  post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n') + get,
  post('Transfer-Encoding: chunked\r\nConnection: close\r\n', '0\r\n\r\n') + get,
  'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\n\r' + get,
  'GET / HTTP/1.1\nHost: a\n\n' + get,
  'GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n' + get,
  'GET / HTTP/1.1\r\n Host: a\r\n\r\n' + get,
  'GET / HTTP/1.1\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n' + get,
  'GET  / HTTP/1.1\r\nHost: a\r\n\r\n' + get,
  'GET / HTTP/1.1 \r\nHost: a\r\n\r\n' + get,
  'GET /\x80\xff HTTP/1.1\r\nHost: a\r\n\r\n' + get,
  'GET / HTTP/2.0\r\nHost: a\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n' + get,
  'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n' + get,
  'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n' + get,
  'GET /',
  'GET / HTTP/1.1\r\nHost',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
];

const ok = (fields, body = '') => `HTTP/1.1 200 OK\r\n${fields}\r\n${body}`;

const responses = [
  ok('Content-Length: 5\r\n', 'hello'),
  ok('Content-Length: 5\r\n', 'hello') + ok('Content-Length: 0\r\n') + ok('Content-Length: 1\r\n', 'x'),
  ok('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n0\r\nT: x\r\n\r\n') + ok('Content-Length: 0\r\n'),
  ok('', 'until the end'),
  ok('Connection: close\r\nContent-Length: 5\r\n', 'hello'),
  'HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello' + ok('Content-Length: 0\r\n'),
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' + ok('Content-Length: 5\r\n', 'hello'),
  'HTTP/1.1 204 No Content\r\n\r\n' + ok('Content-Length: 0\r\n'),
  'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello' + ok('Content-Length: 0\r\n'),
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n' + ok('Content-Length: 0\r\n'),
  'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nother bytes',
  'HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
  ok('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!'),
  ok('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
  ok('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
  ok('Transfer-Encoding: identity\r\n', 'hello'),
  ok('Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\n'),
  ok('Transfer-Encoding: chunked\r\n', '5\r\nhelloXX0\r\n\r\n'),
  'garbage\r\n\r\n',
];

const asCases = (kind, texts) => texts.map((text) => ({ kind, bytes: Buffer.from(text, 'latin1') }));
const byHand = [...asCases('q', requests), ...asCases('r', responses), ...asCases('h', responses)];

function makeRandom(state) {
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

const words = [
  '\r', '\n', '\r\n', '\r\n\r\n', ' ', '\t', '\0', ':', ',', ';', '=', '"', '0', '5', 'a', '\x7f', '\x80', '\x0b', '\x0c', '%', '#', '\\',
  'chunked', 'identity', 'gzip', 'close', 'keep-alive', 'HTTP/1.1', 'HTTP/1.0', 'GET', 'POST', 'HEAD', 'Host: b\r\n', 'X: y\r\n',
  'Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: x\r\n', ' folded\r\n',
  'Connection: close\r\n', 'Connection: upgrade\r\nUpgrade: x\r\n', '0\r\n\r\n', '5\r\nhello\r\n', '5;a=b\r\n', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
];

function mutate(text, all, random) {
  for (let i = Math.max(1, random(4)); i > 0; i--) {
    const at = random(text.length + 1);
    const other = all[random(all.length)];
    const n = 1 + random(4);
    const cut = (from, to) => text.slice(0, from) + text.slice(to);
    const changes = [
      () => cut(at, at + n),
      () => text.slice(0, at) + words[random(words.length)] + text.slice(at),
      () => text.slice(0, at) + words[random(words.length)] + text.slice(at + n),
      () => text.slice(0, at) + String.fromCharCode(random(256)) + text.slice(at + 1),
      () => text.slice(0, at) + other.slice(random(other.length)),
      () => text.slice(0, at) + text.slice(Math.max(0, at - 20 * n)),
      () => text.slice(0, at),
    ];
    text = changes[random(changes.length)]();
  }
  return text;
}

function mutated(kind, seeds, count, random) {
  return asCases(kind, Array.from({ length: count }, () => mutate(seeds[random(seeds.length)], seeds, random)));
}

/* --- tests --- */

test('what is written by hand is framed as both parsers do, or refused', () => {
  const packaged = buildPackagedLlhttp();
  const counts = check(byHand, askProgram(ours, byHand), [byHand.map(askNode), askProgram(packaged, byHand)]);
  console.log(`# by hand: ${byHand.length} cases, ${counts.accepted} accepted, ${counts.stricter} refused by us alone`);
  assert.ok(counts.accepted > 40 && counts.stricter > 10);
});

test('what a node:http server reads from a socket is read the same way', async () => {
  const cases = asCases('q', requests);
  const recorded = new Map();
  const server = await startNodeServer(recorded);
  const served = [];
  for (const one of cases) served.push(await askNodeServer(server.address().port, recorded, one));
  server.closeAllConnections();
  server.close();
  check(cases, askProgram(ours, cases), [served, cases.map(askNode)]);
  assert.ok(served.filter((record) => record.messages.length > 0).length > 20);
});

test('mutations are framed as both parsers do, or refused', () => {
  const packaged = join(scratch, 'llhttp_tool');
  const random = makeRandom(seed);
  const cases = [
    ...mutated('q', requests, mutations, random),
    ...mutated('r', responses, Math.ceil(mutations / 3), random),
    ...mutated('h', responses, Math.ceil(mutations / 10), random),
  ];
  const counts = check(cases, askProgram(ours, cases), [cases.map(askNode), askProgram(packaged, cases)]);
  console.log(`# mutations: ${cases.length} cases, ${counts.accepted} accepted, ${counts.stricter} refused by us alone`);
  assert.ok(counts.accepted > cases.length / 10 && counts.stricter > 0);
});
