/* The conformance list through every way into a sandbox, with equal results. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';

import { Daemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { whyNotHere } from '../interpreter/helper.mjs';
import { cli } from './drivers/cli.mjs';
import { http } from './drivers/http.mjs';
import { javascript } from './drivers/javascript.mjs';
import { libberm } from './drivers/libberm.mjs';
import { python } from './drivers/python.mjs';
import { cases, opNames, run, runnable } from './list.mjs';

const ways = [http, javascript, (url) => python(url, 'blocking'), (url) => python(url, 'asyncio'), cli, libberm];

describe('the conformance list', { skip: whyNotHere() }, () => {
  let daemon;
  const drivers = [];
  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-image', 'base'] }).start();
    for (const way of ways) drivers.push(way(daemon.url));
  });
  after(async () => {
    for (const driver of drivers) await driver.close();
    await daemon.stop();
  });

  test('a way that lacks an operation says so, with the reason', () => {
    for (const { name, ops, absent, differs = {} } of drivers) {
      assert.deepEqual(opNames.filter((op) => !(op in ops)).sort(), Object.keys(absent).sort(), name);
      for (const other of Object.keys(differs)) assert.ok(cases.some((entry) => entry.name === other), other);
    }
  });

  for (const entry of cases) {
    test(entry.name, async () => {
      const ended = await Promise.allSettled(drivers.filter((driver) => runnable(driver, entry)).map((driver) => run(driver, entry)));
      const failures = ended.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.message);
      assert.deepEqual(failures, []);
    });
  }
});
