// Our JSON parser against Node's. On text that is UTF-8, ours must accept exactly what JSON.parse accepts, less four
// classes of documents that are refused on purpose and that `classify` recognises by itself; and it must read the
// same value. BERM_BUILD names the build directory, BERM_SEED another seed than the usual one.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'node:test';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const tool = resolve(root, process.env.BERM_BUILD ?? 'build', 'tests/differential/json_tool');
const seed = Number(process.env.BERM_SEED ?? 20240229) >>> 0;
const MAX_DEPTH = 128;

console.log(`# seed ${seed}`);

/* --- the tool --- */

function askTool(kind, cases) {
  const chunks = [];
  for (const bytes of cases) {
    const head = Buffer.alloc(5);
    head.writeUInt32LE(bytes.length + 1);
    head.write(kind, 4);
    chunks.push(head, bytes);
  }
  const run = spawnSync(tool, { input: Buffer.concat(chunks), maxBuffer: 1 << 30 });
  if (run.error) throw run.error;
  assert.equal(run.status, 0, run.stderr.toString());
  const results = [];
  for (let at = 0; at < run.stdout.length;) {
    const n = run.stdout.readUInt32LE(at);
    const body = run.stdout.subarray(at + 4, at + 4 + n);
    results.push({ ok: body[0] === 0x2b, body: body.subarray(1) });
    at += 4 + n;
  }
  assert.equal(results.length, cases.length);
  return results;
}

/* --- what Node says --- */

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function nodeParse(bytes) {
  try {
    const text = strictDecoder.decode(bytes);
    return { ok: true, text, value: JSON.parse(text) };
  } catch (error) {
    return { ok: false, error };
  }
}

// Which of the refused classes a document that JSON.parse accepts belongs to. As its grammar is known to be right,
// tokens are enough.
function classify(text) {
  const found = new Set();
  const open = []; // of objects the set of keys, of arrays null
  let expectKey = false;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*|[{}[\],:]/g)) {
    if (token === '{' || token === '[') {
      open.push(token === '{' ? new Set() : null);
      if (open.length > MAX_DEPTH) found.add('depth');
      expectKey = token === '{';
    } else if (token === '}' || token === ']') {
      open.pop();
      expectKey = false;
    } else if (token === ',') {
      expectKey = open.at(-1) !== null;
    } else if (token === ':') {
      expectKey = false;
    } else if (token[0] === '"') {
      const string = JSON.parse(token);
      if (!string.isWellFormed()) found.add('lone surrogate');
      if (expectKey) {
        if (open.at(-1).has(string)) found.add('duplicate key');
        open.at(-1).add(string);
      }
    } else if (!Number.isFinite(Number(token))) {
      found.add('overflow');
    }
  }
  return found;
}

function sameValue(a, b) {
  if (typeof a !== 'object' || a === null || b === null) return Object.is(a, b);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  const others = Object.keys(b);
  return keys.length === others.length && keys.every((key, i) => key === others[i] && sameValue(a[key], b[key]));
}

const counts = {};
const count = (name) => { counts[name] = (counts[name] ?? 0) + 1; };

function compare(cases) {
  const results = askTool('J', cases);
  cases.forEach((bytes, i) => {
    const ours = results[i];
    const theirs = nodeParse(bytes);
    const about = () => `case ${i} of seed ${seed}: ${JSON.stringify(bytes.toString('latin1').slice(0, 2000))}\n` +
      `ours: ${ours.ok ? 'accepted' : ours.body}, Node: ${theirs.ok ? 'accepted' : theirs.error.message}`;
    if (!theirs.ok) {
      assert.ok(!ours.ok, about());
      count('both refuse');
      return;
    }
    const classes = classify(theirs.text);
    assert.equal(ours.ok, classes.size === 0, about());
    if (!ours.ok) {
      for (const name of classes) count(`only ours refuses: ${name}`);
      return;
    }
    assert.ok(sameValue(JSON.parse(strictDecoder.decode(ours.body)), theirs.value), about());
    count('both accept, same value');
  });
}

/* --- generated documents --- */

function generator(start) {
  let state = start;
  const random = () => { // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(random() * n);
  const pick = (list) => list[below(list.length)];
  const times = (n, make) => Array.from({ length: n }, make);
  return { random, below, pick, times };
}

const ESCAPES = ['\\"', '\\\\', '\\/', '\\b', '\\f', '\\n', '\\r', '\\t', '\\u0000', '\\u001f', '\\u00e9', '\\uFFFF',
  '\\ud83d\\ude00', '\\uDBFF\\uDFFF', '\\ud800\\udc00'];
const BAD_ESCAPES = ['\\ud800', '\\udfff', '\\ud800\\u0041', '\\udc00\\ud800', '\\x41', '\\u12', '\\', '\\U0041'];
const CHARACTERS = ['a', 'Z', '0', ' ', '/', "'", '<', '\u007f', '\u0080', 'é', '߿', 'ࠀ', '€', '\u2028', '\ud7ff', '\ue000',
  '\ufeff', '\ufffd', '\uffff', '😀', '\u{10ffff}', 'plain text of some length'];
const NUMBERS = ['0', '-0', '1', '-1', '10', '1.0', '0.1', '1e5', '1E-5', '-2.5e+10', '0e0', '9007199254740993',
  '9223372036854775807', '9223372036854775808', '-9223372036854775808', '-9223372036854775809', '1e308', '5e-324',
  '1e-400', '123456789012345678901234567890', '0.30000000000000004', '2.2250738585072011e-308',
  '179769313486231580793728971405301e276', '1.7976931348623158e308'];
const BAD_NUMBERS = ['1e400', '-1e999', '01', '-', '1.', '.5', '+1', '1e', '1e+', '0x10', '--1', 'NaN', 'Infinity', '1_0'];
const SPACE = ['', '', '', '', ' ', '\n', '\t', '\r\n', '  '];
const BAD_SPACE = ['\u00a0', '\f', '\v', '\u2028', '\ufeff', '\0', '/**/'];
const PIECES = ['{', '}', '[', ']', ',', ':', '"', '\\', 'null', 'true', 'false', '0', '-', '.', 'e', 'E', '+', ' ', '\n',
  '\0', '\x1f', '\u00e9', ...BAD_ESCAPES, ...BAD_NUMBERS, ...BAD_SPACE, '{}', '[]', '""', '"a":1', ',"a":1', ',1', '\\u'];
const BAD_BYTES = [[0x80], [0xc0, 0x80], [0xc3], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x98], [0xf4, 0x90, 0x80, 0x80],
  [0xff], [0xfe]];

function documents(start) {
  const { random, below, pick, times } = generator(start);
  const odd = (p) => random() < p;

  const string = () => `"${times(below(6), () =>
    odd(0.3) ? pick(odd(0.02) ? BAD_ESCAPES : ESCAPES) : pick(CHARACTERS)).join('')}"`;
  const digits = () => times(1 + below(20), () => below(10)).join('');
  const number = () => {
    if (odd(0.5)) return pick(odd(0.03) ? BAD_NUMBERS : NUMBERS);
    const whole = odd(0.3) ? '0' : `${1 + below(9)}${odd(0.5) ? digits() : ''}`;
    return `${odd(0.3) ? '-' : ''}${whole}${odd(0.5) ? `.${digits()}` : ''}` +
      `${odd(0.4) ? `${pick(['e', 'E'])}${pick(['', '+', '-'])}${below(odd(0.1) ? 420 : 30)}` : ''}`;
  };
  const space = () => pick(odd(0.005) ? BAD_SPACE : SPACE);
  const key = () => (odd(0.6) ? `"k${below(40)}"` : string());
  const value = (depth) => {
    const kind = below(depth > 5 ? 5 : 9);
    if (kind === 0) return pick(['null', 'true', 'false']);
    if (kind <= 2) return number();
    if (kind <= 4) return string();
    const n = odd(0.02) ? below(60) : below(6);
    if (kind <= 6) return `[${space()}${times(n, () => space() + value(depth + 1) + space()).join(',')}]`;
    return `{${space()}${times(n, () => `${space()}${key()}${space()}:${space()}${value(depth + 1)}${space()}`).join(',')}}`;
  };
  const nested = () => {
    const depth = pick([1, 10, 100, 126, 127, 128, 129, 130, 1000]);
    const kinds = times(depth, () => odd(0.5));
    return kinds.map((object) => (object ? '{"a":' : '[')).join('') + value(6) +
      kinds.reverse().map((object) => (object ? '}' : ']')).join('');
  };
  const document = () => Buffer.from(space() + (odd(0.01) ? nested() : value(0)) + space());

  const mutations = [
    (b) => { const at = below(b.length + 1); return Buffer.concat([b.subarray(0, at), Buffer.from(pick(PIECES)), b.subarray(at)]); },
    (b) => { const at = below(b.length + 1); return Buffer.concat([b.subarray(0, at), Buffer.from(pick(BAD_BYTES)), b.subarray(at)]); },
    (b) => { const at = below(b.length + 1); return Buffer.concat([b.subarray(0, at), b.subarray(at + 1 + below(4))]); },
    (b) => { const c = Buffer.from(b); if (c.length) c[below(c.length)] ^= 1 << below(8); return c; },
    (b) => { const c = Buffer.from(b); if (c.length) c[below(c.length)] = pick(PIECES).charCodeAt(0); return c; },
    (b) => { const at = below(b.length + 1); const end = at + below(20); return Buffer.concat([b.subarray(0, end), b.subarray(at)]); },
    (b) => b.subarray(0, below(b.length + 1)),
    (b) => { const other = document(); return Buffer.concat([b.subarray(0, below(b.length + 1)), other.subarray(below(other.length + 1))]); },
  ];
  return (n) => times(n, (_, i) => {
    let bytes = document();
    for (let rounds = i % 2 ? 1 + below(3) : 0; rounds > 0; rounds--) bytes = pick(mutations)(bytes);
    return bytes;
  });
}

test('60,000 generated and mutated documents are read as Node reads them', () => {
  compare(documents(seed)(60000));
  console.log(`# ${JSON.stringify(counts)}`);
  assert.ok(counts['both accept, same value'] > 15000);
  assert.ok(counts['both refuse'] > 10000);
  for (const name of ['duplicate key', 'lone surrogate', 'depth', 'overflow'])
    assert.ok(counts[`only ours refuses: ${name}`] >= 10, name);
});

test('documents written by hand are read as Node reads them', () => {
  const texts = [
    '', ' ', '\ufeff{}', '{}\0', '"\u2028\u2029"', '{"__proto__":{"a":1}}', '{"constructor":1,"hasOwnProperty":2}',
    '{"1":1,"0":0,"-1":2,"01":3}', '{"a":1,"a":1}', '{"a":{"a":1}}', '{"\\u0061":1,"a":2}', '["\\ud800"]',
    '{"\\udfff":1}', '["\\ud83d\\ude00"]', '["\\ud83d"," \\ude00"]', '1e309', '-1e309', '1e-999999', '-0', '[-0.0]', '0.1e1',
    `[${'9'.repeat(400)}]`, `[0.${'0'.repeat(400)}1]`, `${'1'.repeat(308)}`, `${'1'.repeat(309)}`,
    '['.repeat(128) + ']'.repeat(128), '['.repeat(129) + ']'.repeat(129), '{"a":'.repeat(128) + '1' + '}'.repeat(128),
    '{"a":'.repeat(129) + '1' + '}'.repeat(129), '['.repeat(100000), `"${'x'.repeat(100000)}"`, `"${'€'.repeat(40000)}"`,
    `"${'\\n'.repeat(40000)}"`, `[${'0,'.repeat(50000)}0]`,
    `{${Array.from({ length: 3000 }, (_, i) => `"${i}":${i}`).join()}}`,
    `{${Array.from({ length: 3000 }, (_, i) => `"k${i % 2999}":${i}`).join()}}`,
  ];
  const bytes = [...BAD_BYTES.map((bad) => Buffer.from([0x22, ...bad, 0x22])), ...BAD_BYTES.map((bad) => Buffer.from(bad)),
    Buffer.from([0xff, 0xfe, 0x5b, 0, 0x5d, 0]), Buffer.from([0xef, 0xbb, 0xbf, 0x31])];
  compare([...texts.map((text) => Buffer.from(text)), ...bytes]);
});

test('doubles of every size keep their value', () => {
  const { below } = generator(seed);
  const view = new DataView(new ArrayBuffer(8));
  const numbers = Array.from({ length: 20000 }, () => {
    view.setUint32(0, below(2 ** 32));
    view.setUint32(4, below(2 ** 32));
    return view.getFloat64(0);
  }).filter(Number.isFinite);
  compare(numbers.map((number) => Buffer.from(String(number))));
});

test('what is not UTF-8 is replaced as the decoder of the WHATWG does it', () => {
  const { below, pick, times } = generator(seed);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const leads = [0xc2, 0xdf, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xc0, 0x80, 0xbf, 0x90, 0x9f, 0xa0, 0x8f, 0x41, 0x22, 0x00];
  const cases = times(20000, (_, i) => Buffer.from(times(below(40), () => (i % 2 ? below(256) : pick(leads)))));
  askTool('U', cases).forEach((ours, i) => {
    assert.equal(strictDecoder.decode(ours.body), decoder.decode(cases[i]), cases[i].toString('hex'));
  });
  askTool('S', cases).forEach((ours, i) => {
    assert.equal(JSON.parse(strictDecoder.decode(ours.body)), decoder.decode(cases[i]), cases[i].toString('hex'));
  });
});
