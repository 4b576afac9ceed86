/* The list of fault points is the source's: a new point must be walked, and none may be walked that is not there. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { daemonPoints, spawnerPoints } from './lib/points.mjs';
import { root } from './lib/programs.mjs';

/* The macro itself is explained in the header that defines it. */
function pointsBelow(directory) {
  const files = fs.readdirSync(path.join(root, directory), { recursive: true }).filter((name) => name.endsWith('.c'));
  const texts = files.map((name) => fs.readFileSync(path.join(root, directory, name), 'utf8'));
  return [...new Set(texts.flatMap((text) => [...text.matchAll(/FAULT_POINT\("([^"]+)"\)/g)].map((match) => match[1])))].sort();
}

test('every fault point of the daemon has a scenario that dies there', () => {
  assert.deepEqual(pointsBelow('src/daemon'), Object.keys(daemonPoints).sort());
});

test('every fault point of the spawner has a scenario that dies there', () => {
  assert.deepEqual(pointsBelow('src/spawn'), Object.keys(spawnerPoints).sort());
});

test('no other program has fault points', () => {
  const others = fs.readdirSync(path.join(root, 'src')).filter((name) => !['daemon', 'spawn'].includes(name));
  assert.deepEqual(others.flatMap((name) => pointsBelow(path.join('src', name))), []);
});
