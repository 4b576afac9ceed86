/*
 * docs/compatibility.md names a test for each statement. Here the names are held against the sources of the tests, so that
 * a row cannot go on naming a test that was renamed or never written, and no entry of the reference is without a row.
 *
 * A cell says `agent/files: "title", "start of a title …"; unit agent_glob`. A title stands in the file named last
 * before it, `the same` is the file of the row above, and `…` is any text.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const text = fs.readFileSync(path.join(root, 'docs/compatibility.md'), 'utf8');
const ANY = Symbol('any text');
const ENTRIES = { A: 54, B: 26 }; /* of the list of surprises */

const tokens = (string, hole) => string.split(hole).flatMap((piece, i) => [...(i > 0 ? [ANY] : []), ...piece]);

/* Whether a quoted name can be a title; what it has where the title has a variable must be said somewhere in the source. */
function fits(name, title, source, eaten = '') {
  const said = () => source.includes(eaten.trim());
  if (name.length === 0) return said() && title.every((token) => token === ANY);
  if (name[0] === ANY) {
    if (!said()) return false;
    for (let i = 0; i <= title.length; i++) if (fits(name.slice(1), title.slice(i), source)) return true;
    return false;
  }
  if (title[0] === ANY) return (said() && fits(name, title.slice(1), source)) || fits(name.slice(1), title, source, eaten + name[0]);
  return title.length > 0 && name[0] === title[0] && said() && fits(name.slice(1), title.slice(1), source);
}

const sources = new Map();

/* {source, titles}, each title a list of characters and ANY, of a test file of Node.js or of cmocka. */
function sourceOf(file) {
  if (!sources.has(file)) {
    const source = fs.readFileSync(file, 'utf8');
    const calls = file.endsWith('.c') ? /\b(?:cmocka_unit_test\w*|TEST|BY_HAND)\((\w+)/g : /\w*[tT]est\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)/g;
    const titles = [...source.matchAll(calls)].map(([, single, double, template]) =>
      tokens((single ?? double ?? template).replace(/\\(.)/g, '$1'), template === undefined ? /$^/ : /\$\{(?:[^{}]|\{[^{}]*\})*\}/));
    sources.set(file, { source, titles });
  }
  return sources.get(file);
}

function fileNamed(kind, name) {
  const below = (...names) => names.map((n) => path.join(root, 'tests', n)).find((f) => fs.existsSync(f));
  if (kind === 'unit') return below(`unit/${name}.c`, `unit/test_${name}.c`);
  return below(`e2e/${name}.test.mjs`, `e2e/${name}.alone.test.mjs`, `e2e/${name}.mjs`);
}

/* [{line, statement, proof}] of all tables. */
const rows = text.split('\n').flatMap((line, i) => {
  const [, statement, proof] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
  return proof === undefined || proof === 'Test' || proof === '---' ? [] : [{ line: i + 1, statement, proof }];
});

const NAMES = /"((?:[^"\\]|\\.)*)"|'(".*?)'|\b(unit):? ([a-z0-9_]+)|\b((?:agent|bridge|capnweb|cli|conformance(?:-list)?|console|docker|docs|edge|interpreter|mcp|sdks?|workers)\/[a-z0-9-]+)\b|\b(the same)\b/g;

function wrongIn({ line, proof }, above) {
  const wrong = [];
  let file;
  for (const [, plain, quoted, unit, unitName, e2e, same] of proof.matchAll(NAMES)) {
    if (same) file = above;
    else if (unit || e2e) {
      file = fileNamed(unit, unitName ?? e2e);
      if (!file) wrong.push(`line ${line}: there is no ${unit ?? 'test file'} ${unitName ?? e2e}`);
    } else if (!file) wrong.push(`line ${line}: no file is named before ${plain ?? quoted}`);
    else {
      const { source, titles } = sourceOf(file);
      const name = (plain ?? quoted).trim();
      const wanted = tokens(file.endsWith('.c') ? name.replace(/[^\w…]+/g, '_') : name, /[_ ]?…[_ ]?/);
      if (!titles.some((title) => fits(wanted, title, source))) wrong.push(`line ${line}: ${path.relative(root, file)} has no test "${name}"`);
    }
  }
  return { wrong, file: file ?? above };
}

test('every test that is named exists', () => {
  const wrong = [];
  let above;
  for (const row of rows) {
    const found = wrongIn(row, above);
    wrong.push(...found.wrong);
    above = found.file;
  }
  assert.ok(rows.length > 100);
  assert.deepEqual(wrong, []);
});

test('every statement has something that proves it', () => {
  assert.deepEqual(rows.filter(({ proof }) => proof === '').map(({ line, statement }) => `line ${line}: ${statement}`), []);
});

test('every entry of the list of surprises has a row', () => {
  const missing = Object.entries(ENTRIES).flatMap(([group, count]) => Array.from({ length: count }, (_, i) => `${group}${i + 1}`))
    .filter((entry) => !rows.some(({ statement }) => new RegExp(`\\b${entry}\\b`).test(statement)));
  assert.deepEqual(missing, []);
});
