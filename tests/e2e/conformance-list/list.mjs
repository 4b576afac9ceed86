/*
 * The list of what every way into a sandbox can do, and what it answers: list.json. A case is a sandbox of its own and a
 * row of steps: {op, args, expect | error, save}. `expect` is the whole result in the neutral shape of the op; in it
 * {"$match": re} is a text, {"$any": true} anything. "${name}" is what an earlier step has saved, or the sandbox's id.
 *
 * A driver is one way: {name, ops: {op: async (id, args) => result}, absent: {op: why}, differs: {case: why}, codes, close()}.
 * An op that fails throws an error with a `code`; `codes: false` is for a way that has no codes to tell,
 * `aliases` for codes of another name.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';

export const cases = JSON.parse(fs.readFileSync(new URL('list.json', import.meta.url)));
export const opNames = [...new Set(cases.flatMap(({ steps }) => steps.map(({ op }) => op)))];

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
const freshId = () => [...randomBytes(20)].map((byte) => alphabet[byte & 31]).join('');

/* A case can be run by a driver that has all its ops, unless its way deliberately does something else there. */
export const runnable = ({ ops, differs = {} }, { name, steps }) => !(name in differs) && steps.every(({ op }) => op in ops);

export async function run(driver, { steps }) {
  const saved = { sandbox: freshId() };
  try {
    for (const [index, step] of steps.entries()) {
      const what = `${driver.name}, step ${index + 1}: ${step.op} ${JSON.stringify(step.args)}`;
      const outcome = await attempt(driver, step.op, saved.sandbox, filled(step.args, saved));
      if ('error' in step) {
        assert.ok(outcome.error, `${what} should fail with ${step.error}, not give ${JSON.stringify(outcome.result)}`);
        const { code } = outcome.error;
      if (driver.codes !== false) assert.equal(driver.aliases?.[code] ?? code, step.error, `${what}: ${outcome.error.stack}`);
        continue;
      }
      assert.ok(!outcome.error, `${what}: ${outcome.error?.stack}`);
      check(outcome.result, filled(step.expect, saved), what);
      for (const [name, member] of Object.entries(step.save ?? {})) saved[name] = outcome.result[member];
    }
  } finally {
    await driver.ops.destroy(saved.sandbox, {});
  }
}

async function attempt(driver, op, id, args) {
  try {
    return { result: await driver.ops[op](id, args) };
  } catch (error) {
    return { error };
  }
}

function filled(value, saved) {
  if (typeof value === 'string') return value.replace(/\$\{(\w+)\}/g, (whole, name) => saved[name] ?? whole);
  if (Array.isArray(value)) return value.map((entry) => filled(entry, saved));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, filled(entry, saved)]));
  return value;
}

/* Equal to the last member, but for what is a matcher. */
function check(actual, expected, what) {
  if (expected?.$any) return;
  if (expected?.$match) {
    assert.equal(typeof actual, 'string', what);
    assert.match(actual, new RegExp(expected.$match), what);
  } else if (typeof expected === 'object' && expected !== null) {
    assert.ok(typeof actual === 'object' && actual !== null, `${what}: ${JSON.stringify(actual)}`);
    assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), `${what}: ${JSON.stringify(actual)}`);
    for (const key of Object.keys(expected)) check(actual[key], expected[key], `${what}, ${key}`);
  } else {
    assert.deepEqual(actual, expected, what);
  }
}
