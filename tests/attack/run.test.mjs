/*
 * The attack suite: see README.md. Needs root, a built tree (BERM_BUILD, default build) and the image `minimal`
 * (BERM_IMAGES, default /var/lib/berm/images).
 */
import { after, before, describe, test } from 'node:test';
import { registerDaemon } from './classes/daemon.mjs';
import { registerFiles } from './classes/files.mjs';
import { registerInterpreter } from './classes/interpreter.mjs';
import { registerKernel } from './classes/kernel.mjs';
import { registerNetwork } from './classes/network.mjs';
import { registerPersistence } from './classes/persistence.mjs';
import { registerRaces } from './classes/races.mjs';
import { registerResources } from './classes/resources.mjs';
import * as report from './lib/report.mjs';
import { World, whyNot } from './lib/world.mjs';

const skip = whyNot();

if (skip) {
  test('the attack suite', { skip }, () => {});
} else {
  describe('attacks', { concurrency: 1 }, () => {
    const world = new World();
    before(() => world.start());
    after(async () => {
      report.print();
      await world.stop();
    });
    registerKernel(world);
    registerFiles(world);
    registerRaces(world);
    registerResources(world);
    registerNetwork(world);
    registerPersistence(world);
    registerDaemon(world);
    registerInterpreter(world);
  });
}
