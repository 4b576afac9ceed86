/* What the SDKs ask for is in the API's description, and what is there they can ask for, or do without for a reason. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { routes } from '../../../sdk/js/src/routes.js';
import { document } from '../lib/openapi.mjs';
import { test } from '../lib/test.mjs';

const python = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../sdk/python/src');

const absent = {
  writeFile: 'writeFile() with a stream, which is not bounded and knows other places than the workspace',
  readNoFile: 'an error', writeNoFile: 'an error',
  createSession: 'the control server\'s route tells SESSION_ALREADY_EXISTS',
  putEnv: 'configure() with env',
  putEgress: 'egress.set() is a part of the settings, so that it can make the sandbox',
  listDirectory: 'listFiles() by POST',
  getOpenApiPage: 'for people', getOpenApiHtml: 'for people',
  getLogin: 'for pages of the console', login: 'for pages of the console', logout: 'for pages of the console', console: 'a page', consoleFile: 'a page',
  mcpPost: 'a protocol of its own', mcpGet: 'a protocol of its own', mcpDelete: 'a protocol of its own',
};
/* Operations that stand for all methods of a path; the SDKs pass on the ones that they need. */
const passages = /^(container|preview)(Get|Head|Post|Put|Patch|Delete|Options)$/;

/* "GET /v1/sandbox/{}/processes" → operationId. The control server's routes are one passage here. */
const operations = new Map(Object.entries(document.paths).flatMap(([template, methods]) =>
  Object.entries(methods).filter(([, operation]) => operation.operationId)
    .map(([method, { operationId }]) => [`${method.toUpperCase()} ${template.replace(/\{\w+\}/g, '{}')}`, operationId])));

function keyOf([method, template]) {
  const general = template.replace(/\{\+?\w+\}/g, '{}').replace(/\/container\/.+$/, '/container/{}');
  return `${method === '*' ? 'GET' : method} ${general}`;
}

function check(table) {
  const asked = new Set();
  for (const [name, route] of Object.entries(table)) {
    assert.ok(operations.has(keyOf(route)), `${name}: ${keyOf(route)} is not in openapi.json`);
    asked.add(operations.get(keyOf(route)));
  }
  const unasked = [...operations.values()].filter((operation) => !asked.has(operation) && !passages.test(operation));
  assert.deepEqual(unasked.sort(), Object.keys(absent).sort());
}

test('the JavaScript SDK and openapi.json know the same operations', () => check(routes));

test('the Python SDK and openapi.json know the same operations', () => {
  const program = 'import json; from berm._routes import ROUTES; print(json.dumps(ROUTES))';
  const { stdout, stderr } = spawnSync('python3', ['-c', program], { encoding: 'utf8', env: { ...process.env, PYTHONPATH: python, PYTHONDONTWRITEBYTECODE: '1' } });
  assert.equal(stderr, '');
  check(JSON.parse(stdout));
});

test('every route in the tables is used', async () => {
  const fs = await import('node:fs');
  const read = (directory, names) => names.map((name) => fs.readFileSync(path.join(directory, name), 'utf8')).join('\n');
  const js = path.resolve(python, '../../js/src');
  const sources = [
    [read(js, fs.readdirSync(js).filter((name) => name !== 'routes.js')), (name) => name],
    [read(path.join(python, 'berm/_async'), ['session.py', 'sandbox.py']), (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)],
  ];
  for (const [text, spelling] of sources)
    for (const name of Object.keys(routes)) if (name !== 'container') assert.match(text, new RegExp(`['"]${spelling(name)}['"]`), name);
});
