/* libberm as others get it: its headers, what it exports, its binary interface, and the examples that are built with it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe } from 'node:test';
import { promisify } from 'node:util';

import { test } from '../lib/test.mjs';
import { startDaemon, whyNoDaemon } from './daemon.mjs';
import { buildDir, root } from './program.mjs';

const run = promisify(execFile);
const headers = ['berm.h', 'berm_stream.h', 'berm_work.h'];
const source = path.join(root, 'src/client');
const sanitized = process.env.BERM_SANITIZED === '1';
const sanitizers = sanitized ? ['-fsanitize=address,undefined'] : [];
const text = headers.map((name) => fs.readFileSync(path.join(source, name), 'utf8')).join('\n')
  .replace(/\/\*[^]*?\*\//g, '').replace(/^#.*$/gm, '');

const functions = () => [...text.matchAll(/^(?:int|void|const char \*)\s*(berm_\w+)\([^;]*\);/gm)];
const structs = () => [...text.matchAll(/^struct (berm_\w+) \{([^}]*)\};/gm)].map(([, name, body]) => ({ name,
  fields: body.split(';').map((field) => field.trim().replace(/\[.*?\]/g, '')).filter(Boolean)
    .flatMap((field) => field.split(',').map((part) => /(\w+)$/.exec(part.trim())[1])) }));
/* {name: version}: what came later is under a later one. */
const inMap = () => Object.fromEntries([...fs.readFileSync(path.join(source, 'libberm.map'), 'utf8').matchAll(/^(BERM_\d+) \{([^}]*)\}/gm)]
  .flatMap(([, version, body]) => [...body.matchAll(/^ +(berm_\w+);$/gm)].map(([, name]) => [name, version])));
const exported = async (args) => (await run('nm', args)).stdout.split('\n').map((line) => / T (berm_\w+|\w+)(@@BERM_\d)?$/.exec(line)?.[1]).filter(Boolean);

describe('libberm', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'berm-library-'));
  const prefix = path.join(directory, 'usr');

  before(async () => {
    const info = JSON.parse((await run('meson', ['introspect', '--installed', buildDir])).stdout);
    const names = new Set(['libberm.a', 'libberm.pc', ...headers]);
    const place = (to) => path.join(prefix, path.basename(path.dirname(to)) === 'pkgconfig' ? 'lib/pkgconfig' : to.endsWith('.h') ? 'include' : 'lib', path.basename(to));
    let configured;
    for (const [from, to] of Object.entries(info)) {
      if (!names.has(path.basename(to)) && !/libberm\.so(\.\d+){3}$/.test(to)) continue;
      fs.mkdirSync(path.dirname(place(to)), { recursive: true });
      fs.copyFileSync(from, place(to));
      if (to.endsWith('.pc')) configured = place(to);
    }
    const lib = path.join(prefix, 'lib');
    const real = fs.readdirSync(lib).find((name) => /^libberm\.so\.\d+\.\d+\.\d+$/.test(name));
    for (const name of ['libberm.so', 'libberm.so.0']) {
      fs.rmSync(path.join(lib, name), { force: true });
      fs.symlinkSync(real, path.join(lib, name));
    }
    fs.writeFileSync(configured, fs.readFileSync(configured, 'utf8').replace(/^prefix=.*$/m, `prefix=${prefix}`)
      .replace(/^libdir=.*$/m, 'libdir=${prefix}/lib').replace(/^includedir=.*$/m, 'includedir=${prefix}/include'));
  });
  after(() => fs.rmSync(directory, { recursive: true }));

  const config = async (...args) => (await run('pkg-config', [...args, 'libberm'],
    { env: { ...process.env, PKG_CONFIG_PATH: path.join(prefix, 'lib/pkgconfig') } })).stdout.trim().split(/\s+/);
  /* Statically: with our archive, and libcurl as the machine has it. */
  const build = async (name, isStatic = false) => {
    const program = path.join(directory, isStatic ? `${name}-static` : name);
    const flags = await config('--cflags', '--libs');
    const libs = isStatic ? [...flags.map((flag) => (flag === '-lberm' ? '-l:libberm.a' : flag)), '-lcurl'] : flags;
    await run('cc', ['-std=gnu11', '-g', '-O1', '-Wall', '-Wextra', '-Werror', ...sanitizers,
      path.join(root, 'examples/c', `${name}.c`), '-o', program, ...libs, '-pthread', `-Wl,-rpath,${prefix}/lib`]);
    return program;
  };

  test('each header stands alone, in C and in C++11', async () => {
    for (const header of headers) {
      const file = path.join(source, header);
      await run('cc', ['-std=c99', '-D_DEFAULT_SOURCE', '-pedantic-errors', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c', '-include', file, '/dev/null']);
      await run('g++', ['-std=c++11', '-pedantic-errors', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-x', 'c++', '-include', file, '/dev/null']);
    }
  });

  test('what is declared is exported, under its version, and nothing else', async () => {
    const declared = functions().map((match) => match[1]).sort();
    assert.ok(declared.length > 80 && (await config('--libs', '--static')).includes('-lcurl'));
    assert.deepEqual(Object.keys(inMap()).sort(), declared);
    assert.deepEqual((await exported(['-D', '--defined-only', path.join(prefix, 'lib/libberm.so')])).sort(), declared);
    assert.deepEqual((await exported(['-g', '--defined-only', path.join(prefix, 'lib/libberm.a')])).sort(), declared);
    const { stdout } = await run('nm', ['-D', '--with-symbol-versions', path.join(prefix, 'lib/libberm.so')]);
    for (const [name, version] of Object.entries(inMap())) assert.match(stdout, new RegExp(` ${name}@@${version}$`, 'm'));
  });

  test('the binary interface is the one that was checked in', async () => {
    const lines = structs().map(({ name, fields }) => `printf("struct ${name} %zu\\n", sizeof(struct ${name}));\n` +
      fields.map((field) => `printf("  ${field} %zu\\n", offsetof(struct ${name}, ${field}));\n`).join(''));
    const file = path.join(directory, 'layout.c');
    fs.writeFileSync(file, `#include <berm.h>\n#include <stdio.h>\nint main(void) {\n${lines.join('')}return 0; }\n`);
    await run('cc', [`-I${source}`, file, '-o', `${file}.out`]);
    const layout = (await run(`${file}.out`)).stdout;
    const signatures = functions().map((match) => match[0].replace(/\s+/g, ' ')).sort().join('\n');
    const recorded = path.join(root, 'tests/e2e/cli/libberm.abi');
    if (process.env.BERM_RECORD_ABI === '1') fs.writeFileSync(recorded, `${layout}${signatures}\n`);
    assert.equal(`${layout}${signatures}\n`, fs.readFileSync(recorded, 'utf8'),
      'libberm changed for programs that are built already; if that is meant: BERM_RECORD_ABI=1, and another version');
  });

  describe('examples', { skip: whyNoDaemon() }, () => {
    let daemon;

    before(async () => (daemon = await startDaemon()));
    after(() => daemon?.stop());

    const valgrind = sanitized ? [] : ['valgrind', '--quiet', '--error-exitcode=99', '--leak-check=full',
      '--errors-for-leak-kinds=definite,indirect,possible', '--track-fds=no'];
    const expected = {
      run: '13 \nhello from C\nended with 7\n',
      poll: 'a file was made\noutput: done\nexit: 0\n',
      threads: 'sum 50\n',
      calls: 'given up\nthe client goes on\nruns: 1\nruns: 1\nthe terminal ended with 5\n',
      tour: 'directory: /workspace/a/c\nmoved: yes\nended with 137 because of outputBytes; time is known: yes\nreader is running\ngot words\nthe terminal ended with 5\n' +
        'an archive of whole blocks: yes\n404 FILE_NOT_FOUND\n',
    };

    for (const [name, output] of Object.entries(expected))
      test(`${name}.c does what it says, and leaks nothing`, async () => {
        const command = [...valgrind, await build(name)];
        const { stdout, stderr } = await run(command[0], command.slice(1), { env: { ...process.env, BERM_URL: daemon.url } });
        assert.deepEqual(stdout.replace(/^13$/m, '13 ').split('\n').sort(), output.split('\n').sort(), stderr);
      });

    test('a program can be linked with the static library', async () => {
      const { stdout } = await run(await build('run', true), [], { env: { ...process.env, BERM_URL: daemon.url } });
      assert.match(stdout, /hello from C\nended with 7\n$/);
    });
  });
});
