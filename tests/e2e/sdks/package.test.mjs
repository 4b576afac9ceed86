/* The packages as they are installed: what is in them, that they need nothing, that their types are the published SDK's. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { test } from '../lib/test.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const js = path.join(root, 'sdk/js');
const python = path.join(root, 'sdk/python');

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', ...options, env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...options.env } });
  assert.equal(result.status, 0, `${command} ${args.join(' ')}: ${result.stdout}${result.stderr}`);
  return result.stdout;
}

test('the npm package holds sources, types and README, and depends on nothing', () => {
  const [packed] = JSON.parse(run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: js }));
  const files = packed.files.map((file) => file.path).sort();
  const sources = fs.readdirSync(path.join(js, 'src')).map((name) => `src/${name}`);
  assert.deepEqual(files, ['README.md', 'package.json', ...sources, 'types/errors.d.ts', 'types/index.d.ts'].sort());
  const manifest = JSON.parse(fs.readFileSync(path.join(js, 'package.json')));
  for (const kind of ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies', 'scripts']) assert.equal(manifest[kind], undefined, kind);
});

test('an installed package is imported by its name', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-npm-'));
  try {
    const [{ filename }] = JSON.parse(run('npm', ['pack', js, '--json', '--ignore-scripts'], { cwd: directory }));
    fs.mkdirSync(path.join(directory, 'node_modules/berm-sandbox'), { recursive: true });
    run('tar', ['xf', filename, '-C', 'node_modules/berm-sandbox', '--strip-components=1'], { cwd: directory });
    const program = "import { getSandbox } from 'berm-sandbox'; console.log(getSandbox('my-sandbox').id)";
    assert.equal(run(process.execPath, ['--input-type=module', '-e', program], { cwd: directory }), 'nv4s243bnzsge33y\n');
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test('only the file for Node names modules of Node, so that pages can load the rest', () => {
  for (const name of fs.readdirSync(path.join(js, 'src'))) {
    const text = fs.readFileSync(path.join(js, 'src', name), 'utf8');
    assert.equal(/from 'node:|import\('node:/.test(text), name === 'node.js', name);
    for (const [, imported] of text.matchAll(/(?:from|import\() ?'([^']+)'/g)) assert.match(imported, /^(\.\/|node:)/, name);
  }
});

test('the types take what is written for the published SDK', () => {
  const compiler = path.join(root, 'tests/node_modules/typescript/bin/tsc');
  run(process.execPath, [compiler, '-p', path.join(root, 'tests/e2e/sdks')]);
});

test('every method that the types promise is there, and no other', async () => {
  const { Berm, ExecutionSession, Process, Sandbox, Terminal, CodeInterpreter, ...rest } = await import('../../../sdk/js/src/index.js');
  const text = fs.readFileSync(path.join(js, 'types/index.d.ts'), 'utf8') + fs.readFileSync(path.join(js, 'types/errors.d.ts'), 'utf8');
  for (const [name, type] of Object.entries({ Berm, ExecutionSession, Process, Sandbox, Terminal, CodeInterpreter })) {
    const body = new RegExp(`export class ${name}\\b.*?\\{\\n(.*?)\\n\\}`, 's').exec(text)[1];
    const promised = new Set([...body.matchAll(/^ {2}(\w+)\(/gm)].map((match) => match[1]));
    const internal = ['constructor', 'call', 'open', 'look', 'socket', 'socketUrl', 'describeWith', 'forget', 'id'];
    const inherited = (method) => method in Object.getPrototypeOf(type.prototype);
    const present = Object.getOwnPropertyNames(type.prototype).filter((method) => !internal.includes(method) && !inherited(method));
    assert.deepEqual(present.sort(), [...promised].filter((method) => method !== 'constructor').sort(), name);
  }
  for (const name of Object.keys(rest)) assert.match(text, new RegExp(`export (class|function) ${name}\\b`), name);
});

test('the Python package is generated, parses as 3.9, and imports the standard library only', () => {
  run(path.join(python, 'generate'), ['--check']);
  const check = `
import ast, pathlib, sys
for file in pathlib.Path(sys.argv[1]).rglob("*.py"):
    for node in ast.walk(ast.parse(file.read_text(), feature_version=(3, 9))):
        if isinstance(node, ast.Import): names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0: names = [node.module]
        else: continue
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names, (file, name)
`;
  run('python3', ['-c', check, path.join(python, 'src')]);
  run('python3', ['-W', 'error', '-c', 'import berm; berm.Berm("http://127.0.0.1:1").sandbox("a")'], { env: { PYTHONPATH: path.join(python, 'src') } });
});

test('both kinds of the Python client have the same methods', () => {
  const check = `
import berm, inspect
for name in ("Berm", "Sandbox", "Session", "Process", "Terminal", "EventStream"):
    def public(type): return {key: list(inspect.signature(value).parameters) for key, value in inspect.getmembers(type, callable) if not key.startswith("_")}
    assert public(getattr(berm, name)) == public(getattr(berm, "Async" + name)), name
`;
  run('python3', ['-c', check], { env: { PYTHONPATH: path.join(python, 'src') } });
});
