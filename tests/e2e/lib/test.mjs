/* node:test with a deadline for each test, so that something that hangs is named. */
import { test as plain } from 'node:test';

export const test = (name, run) => plain(name, { timeout: 30000 }, run);
