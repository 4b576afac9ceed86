/* node:test with a deadline for each test, so that something that hangs is named: test(name, run) or test(name, options, run). */
import { test as plain } from 'node:test';

export function test(name, ...rest) {
  const run = rest.pop();
  if (typeof run !== 'function') throw new TypeError(`${name}: a test without a function would pass`);
  return plain(name, { timeout: 300000, ...rest[0] }, run);
}
