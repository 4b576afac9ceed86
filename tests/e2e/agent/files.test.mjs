// The file routes: reference/container/30.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS } from './helper.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());
const call = (route, body) => agent.post(`/api/${route}`, body);
const sh = async (command) => (await agent.run(command, { session: SESSIONLESS })).stdout;

async function fails(reply, status, code, context) {
  const { json, status: got } = await reply;
  assert.equal(got, status, JSON.stringify(json));
  assert.equal(json.code, code);
  assert.equal(json.httpStatus, status);
  assert.deepEqual(json.context, context);
  assert.equal(json.operation, context.operation);
  return json;
}

// --- write and read ---

test('write, then read back', async () => {
  const written = await call('write', { path: '/workspace/hello.txt', content: 'Hello, wörld\n' });
  assert.equal(written.status, 200);
  assert.deepEqual(Object.keys(written.json).sort(), ['path', 'success', 'timestamp']);
  const { timestamp, ...read } = (await call('read', { path: '/workspace/hello.txt' })).json;
  assert.ok(timestamp);
  assert.deepEqual(read, { success: true, path: '/workspace/hello.txt', content: 'Hello, wörld\n', encoding: 'utf-8', isBinary: false,
    mimeType: 'text/plain', size: 14 });
});

test('write makes parents with 0755 and files with 0644, and keeps the mode of a file that is there', async () => {
  await call('write', { path: '/tmp/p/q/r/new.txt', content: '' });
  assert.equal(await sh('stat -c "%a %s" /tmp/p/q/r /tmp/p/q/r/new.txt | cut -d" " -f1'), '755\n644\n');
  await sh('chmod 750 /tmp/p/q/r/new.txt; ln -s new.txt /tmp/p/q/r/link');
  await call('write', { path: '/tmp/p/q/r/link', content: 'x' });
  assert.equal(await sh('stat -c "%a %s" /tmp/p/q/r/new.txt'), '750 1\n');
});

test('base64 both ways', async () => {
  const bytes = Buffer.from([...Array(256).keys()]);
  for (const n of [0, 1, 2, 3, 255, 256]) {
    const content = bytes.subarray(0, n).toString('base64');
    assert.equal((await call('write', { path: '/tmp/b.png', content, encoding: 'base64' })).status, 200);
    const read = (await call('read', { path: '/tmp/b.png' })).json;
    assert.deepEqual([read.encoding, read.isBinary, read.content, read.size], ['base64', true, content, n]);
  }
  await call('write', { path: '/tmp/b.png', content: 'YWI', encoding: 'base64' });
  assert.equal(await sh('cat /tmp/b.png'), 'ab');
  await fails(call('write', { path: '/tmp/b.png', content: 'YW\nI=', encoding: 'base64' }), 400, 'VALIDATION_FAILED',
    { validationErrors: [{ field: 'content', message: 'is not valid base64', code: 'INVALID_BASE64' }] });
  await call('write', { path: '/tmp/b.png', content: 'plain', encoding: 'whatever' });
  assert.equal(await sh('cat /tmp/b.png'), 'plain');
});

test('encoding of a read', async () => {
  await call('write', { path: '/tmp/e.txt', content: 'text' });
  const forced = (await call('read', { path: '/tmp/e.txt', encoding: 'base64' })).json;
  assert.deepEqual([forced.content, forced.encoding, forced.isBinary, forced.mimeType], ['dGV4dA==', 'base64', true, 'text/plain']);
  await call('write', { path: '/tmp/e.png', content: '/w==', encoding: 'base64' });
  for (const encoding of ['utf-8', 'utf8']) assert.equal((await call('read', { path: '/tmp/e.png', encoding })).json.content, '\ufffd');
  for (const encoding of ['none', 'latin1', null, undefined]) assert.equal((await call('read', { path: '/tmp/e.png', encoding })).json.content, '/w==');
});

test('the type comes from the name, else from file(1)', async () => {
  const cases = [['a.txt', 'text/plain', true], ['dump.sql', 'application/x-sql', false], ['m.rs', 'application/rls-services+xml', true],
    ['a.json', 'application/json', true], ['x.tar.gz', undefined, false], ['i.svg', 'image/svg+xml', true], ['d.docx', undefined, false],
    ['k.pem', undefined, false], ['a.ts', undefined, undefined]];
  for (const [name, type, text] of cases) {
    await call('write', { path: `/tmp/types/${name}`, content: 'plain text\n' });
    const read = (await call('read', { path: `/tmp/types/${name}` })).json;
    if (type) assert.equal(read.mimeType, type, name);
    if (text !== undefined) assert.equal(read.isBinary, !text, name);
  }
  for (const [name, content, type] of [['A.TXT', 'plain text\n', 'text/plain'], ['.bashrc', '#!/bin/sh\necho\n', 'text/x-shellscript'], ['Makefile', 'a:\n\tb\n', /^text\//],
    ['-dash', 'text\n', 'text/plain'], ['empty', '', 'inode/x-empty']]) {
    await call('write', { path: `/workspace/${name}`, content });
    for (const path of [`/workspace/${name}`, name]) {
      const read = (await call('read', { path })).json;
      assert.match(read.mimeType, type instanceof RegExp ? type : new RegExp(`^${type}$`));
      assert.deepEqual([read.isBinary, read.content, read.path], [false, content, path]);
    }
  }
});

test('a byte order mark goes, its bytes count', async () => {
  await call('write', { path: '/tmp/bom.txt', content: '\ufeffx' });
  const read = (await call('read', { path: '/tmp/bom.txt' })).json;
  assert.deepEqual([read.content, read.size], ['x', 4]);
});

test('large files, up to the limit of 32 MiB', async () => {
  const limit = 32 * 1024 * 1024;
  await sh(`head -c ${limit} /dev/zero | tr '\\0' y >/tmp/max.txt; cp /tmp/max.txt /tmp/over.txt; echo >>/tmp/over.txt; head -c 5000000 /dev/urandom >/tmp/r.bin`);
  const read = (await call('read', { path: '/tmp/max.txt' })).json;
  assert.deepEqual([read.content.length, read.size], [limit, limit]);
  const json = await fails(call('read', { path: '/tmp/over.txt' }), 413, 'FILE_TOO_LARGE',
    { path: '/tmp/over.txt', operation: 'file.read', actualSize: limit + 1, maxSize: limit });
  assert.equal('suggestion' in json, false);
  const random = (await call('read', { path: '/tmp/r.bin' })).json;
  await call('write', { path: '/tmp/r2.bin', content: random.content, encoding: 'base64' });
  assert.equal(await sh('cmp /tmp/r.bin /tmp/r2.bin && echo same'), 'same\n');
});

test('a JSON body of 56 MB, as backups send them', async () => {
  const content = 'a'.repeat(56 * 1024 * 1024);
  assert.equal((await call('write', { path: '/tmp/big.b64', content, encoding: 'base64' })).status, 200);
  assert.equal(await sh('stat -c %s /tmp/big.b64'), `${42 * 1024 * 1024}\n`);
});

test('what /proc makes up is read to its end', async () => {
  const read = (await call('read', { path: '/proc/self/status', encoding: 'utf-8' })).json;
  assert.match(read.content, /^Name:/);
  assert.equal(read.size, Buffer.byteLength(read.content));
});

test('what cannot be read as a file is not found', async () => {
  await sh('mkfifo /tmp/fifo; ln -s nowhere /tmp/dangling; mkdir -p /tmp/dir');
  for (const path of ['/tmp/nope', '/tmp/nope/deeper', '/tmp/e.txt/x', '/tmp/dir', '/dev/null', '/tmp/dangling', '/tmp/fifo']) {
    const json = await fails(call('read', { path }), 404, 'FILE_NOT_FOUND', { path, operation: 'file.read' });
    assert.match(json.message, /not found/);
    assert.match(json.suggestion, new RegExp(path));
  }
});

test('write fails with a reason where there can be no file', async () => {
  await sh('mkdir -p /tmp/dir; mkfifo /tmp/wfifo');
  for (const path of ['/tmp/dir', '/tmp/e.txt/x', '/proc/nope/x', '/tmp/wfifo', '/usr/readonly']) {
    const { json } = await call('write', { path, content: 'x' });
    assert.equal(json.code, 'FILESYSTEM_ERROR', path);
    assert.deepEqual(Object.keys(json.context), ['path', 'operation', 'stderr']);
    assert.equal(json.operation, 'file.write');
  }
  assert.equal((await call('write', { path: '/tmp/x' })).status, 400);
  assert.equal((await call('write', { path: '/tmp/x', content: 5 })).status, 400);
});

// --- delete ---

test('delete removes files and links, not directories', async () => {
  await sh('mkdir -p /tmp/del/dir; cd /tmp/del; touch file; ln -s file link; ln -s dir dirlink; ln -s nowhere dangling');
  assert.equal((await call('delete', { path: '/tmp/del/link' })).status, 200);
  assert.equal((await call('delete', { path: '/tmp/del/file' })).json.path, '/tmp/del/file');
  assert.equal(await sh('ls /tmp/del'), 'dangling\ndir\ndirlink\n');
  for (const path of ['/tmp/del/dir', '/tmp/del/dirlink']) {
    const json = await fails(call('delete', { path }), 400, 'IS_DIRECTORY', { path, operation: 'file.delete' });
    assert.match(json.message, /Cannot delete directory/);
    assert.match(json.message, /deleteFile\(\)/);
  }
  for (const path of ['/tmp/del/file', '/tmp/del/dangling']) await fails(call('delete', { path }), 404, 'FILE_NOT_FOUND', { path, operation: 'file.delete' });
  const { json } = await call('delete', { path: '/proc/version' });
  assert.equal(json.code, 'FILESYSTEM_ERROR');
  assert.equal(json.context.exitCode, 1);
});

// --- mkdir ---

test('mkdir', async () => {
  const made = await call('mkdir', { path: '/tmp/mk' });
  assert.deepEqual([made.json.success, made.json.path, made.json.recursive], [true, '/tmp/mk', false]);
  const { json } = await call('mkdir', { path: '/tmp/mk' });
  assert.deepEqual([json.code, json.httpStatus, json.context.path, json.context.options, json.context.exitCode, typeof json.context.stderr],
    ['FILESYSTEM_ERROR', 500, '/tmp/mk', {}, 1, 'string']);
  assert.equal((await call('mkdir', { path: '/tmp/mk/a/b', recursive: false })).json.context.options.recursive, false);
  for (const path of ['/tmp/mk/a/b/c', '/tmp/mk/a/b/c', '/tmp/mk//d/./e/', '-dashed/dir', '/']) {
    const reply = await call('mkdir', { path, recursive: true });
    assert.deepEqual([reply.status, reply.json.recursive], [200, true], path);
  }
  assert.equal(await sh('ls -d /tmp/mk/a/b/c /tmp/mk/d/e /workspace/-dashed/dir'), '/tmp/mk/a/b/c\n/tmp/mk/d/e\n/workspace/-dashed/dir\n');
  await call('write', { path: '/tmp/mk/file', content: '' });
  assert.equal((await call('mkdir', { path: '/tmp/mk/file', recursive: true })).json.code, 'FILESYSTEM_ERROR');
  assert.equal((await call('mkdir', { path: '/tmp/mk/file/x', recursive: true })).json.code, 'FILESYSTEM_ERROR');
  assert.equal((await call('mkdir', { path: '/tmp/z', recursive: 'yes' })).status, 400);
});

// --- exists ---

test('exists follows links and never fails for what is not there', async () => {
  await sh('ln -s nowhere /tmp/ex-dangling; ln -s /etc/passwd /tmp/ex-link');
  for (const [path, exists] of [['/etc/passwd', true], ['/etc', true], ['/tmp/ex-link', true], ['/tmp/ex-dangling', false], ['/nope', false],
    ['/etc/passwd/x', false], ['/dev/null', true], ['.', true]]) {
    const reply = await call('exists', { path });
    assert.deepEqual([reply.status, reply.json.success, reply.json.path, reply.json.exists], [200, true, path, exists]);
  }
});

// --- rename and move ---

for (const [route, from, to] of [['rename', 'oldPath', 'newPath'], ['move', 'sourcePath', 'destinationPath']]) {
  const mv = (a, b) => call(route, { [from]: a, [to]: b });
  const dir = `/tmp/mv-${route}`;

  test(`${route} does what mv does`, async () => {
    await sh(`mkdir -p ${dir}/d ${dir}/into/sub; cd ${dir}; echo 1 >a; echo 2 >b; echo 3 >d/f; ln -s a link; ln -s nowhere dangling`);
    const reply = await mv(`${dir}/a`, `${dir}/a2`);
    const { timestamp, ...rest } = reply.json;
    assert.ok(timestamp);
    assert.deepEqual(rest, { success: true, path: `${dir}/a`, newPath: `${dir}/a2` });
    assert.equal((await mv(`${dir}/a2`, `${dir}/b`)).status, 200);
    assert.equal(await sh(`cat ${dir}/b`), '1\n');
    assert.deepEqual((await mv(`${dir}/b`, `${dir}/into`)).json.newPath, `${dir}/into`);
    assert.equal((await mv(`${dir}/d`, `${dir}/into/`)).status, 200);
    assert.equal((await mv(`${dir}/dangling`, `${dir}/into`)).status, 200);
    assert.equal((await mv(`${dir}/link`, `${dir}/new-link`)).status, 200);
    assert.equal(await sh(`cd ${dir}; ls . into into/d; readlink new-link`), '.:\ninto\nnew-link\n\ninto:\nb\nd\ndangling\nsub\n\ninto/d:\nf\na\n');
  });

  test(`${route} refuses what mv refuses`, async () => {
    await sh(`mkdir -p ${dir}/r/full/x ${dir}/r/over/full/y; cd ${dir}/r; echo f >file; ln file hard`);
    const operation = `file.${route}`;
    await fails(mv(`${dir}/r/none`, '/tmp/x'), 404, 'FILE_NOT_FOUND', { path: `${dir}/r/none`, operation });
    for (const [a, b] of [['file', 'no/such/dir/file'], ['full', 'full/x'], ['full', 'file'], ['full', 'over'], ['file', 'file'], ['file', './file']]) {
      const { json, status } = await mv(`${dir}/r/${a}`, `${dir}/r/${b}`);
      assert.deepEqual([status, json?.code, json?.context[from], json?.context[to], json?.context.exitCode, typeof json?.context.stderr, json?.operation],
        [500, 'FILESYSTEM_ERROR', `${dir}/r/${a}`, `${dir}/r/${b}`, 1, 'string', undefined], `${a} ${b}`);
    }
    assert.equal((await mv(`${dir}/r/file`, `${dir}/r/hard`)).status, 200);
    assert.equal(await sh(`cd ${dir}/r; ls; cat hard`), 'full\nhard\nover\nf\n');
  });

  test(`${route} to another file system copies everything`, async () => {
    await sh(`rm -rf /other/*; mkdir -p ${dir}/x/tree/sub/empty; cd ${dir}/x/tree; echo data >f; ln f sub/hard; ln -s ../f sub/soft; ln -s /nope dangling; mkfifo pipe;
      chmod 4711 f; chmod 2750 sub; touch -d 2001-02-03T04:05:06.123456789Z f sub; head -c 3000000 /dev/urandom >big; chown 12:34 big; sha256sum big >/tmp/sum`);
    const listing = 'find . -printf "%p %y %m %U %G %l %n\\n" | sort; stat -c %y f sub';
    const before = await sh(`cd ${dir}/x/tree && ${listing}`);
    assert.equal((await mv(`${dir}/x/tree`, '/other/tree')).status, 200);
    assert.equal(await sh(`cd /other/tree && ${listing}`), before);
    assert.equal(await sh(`cd /other/tree && sha256sum -c /tmp/sum; [ f -ef sub/hard ] && echo linked; ls ${dir}/x /other`), 'big: OK\nlinked\n/other:\ntree\n\n' + `${dir}/x:\n`);
    await sh(`echo old >${dir}/x/target; echo new >/other/one`);
    assert.equal((await mv('/other/one', `${dir}/x/target`)).status, 200);
    assert.equal(await sh(`cat ${dir}/x/target; rm -r /other/tree; ls -A /other`), 'new\n');
    await sh(`mkdir -p /other/d/k ${dir}/x/d/occupied`);
    assert.equal((await mv('/other/d', `${dir}/x/`)).json.code, 'FILESYSTEM_ERROR');
    assert.equal(await sh(`ls /other/d; ls -A ${dir}/x; rm -r /other/d`), 'k\nd\ntarget\n');
  });

  test(`${route} holds its session while it copies, and no other`, async () => {
    await sh(`rm -rf /other/*; mkdir ${dir}/many; cd ${dir}/many; for i in $(seq 2000); do echo $i >$i; done`);
    const session = `copy-${route}`;
    const copy = call(route, { [from]: `${dir}/many`, [to]: '/other/many', sessionId: session });
    const behind = agent.run('ls /other/many | wc -l', { session });
    assert.equal((await agent.run('echo x', { session: 'other' })).stdout, 'x');
    assert.equal((await copy).status, 200);
    assert.equal((await behind).stdout, '2000');
  });

  test(`${route} with bad paths`, async () => {
    for (const [a, b, field] of [['', '/x', from], [undefined, '/x', from], ['/x', 'a\0b', to], ['/x', 'y'.repeat(4097), to], [5, '/x', from]]) {
      const { status, json } = await mv(a, b);
      assert.deepEqual([status, json.code, json.context.errors[0].field, json.context.errors[0].code], [500, 'SECURITY_VALIDATION_FAILED', field, 'INVALID_PATH']);
      assert.deepEqual(Object.keys(json.context), [from, to, 'errors']);
    }
  });
}

// --- list-files ---

test('list-files: the members of an entry', async () => {
  await sh('mkdir -p /workspace/L; cd /workspace/L; printf ab >f1.txt; chmod 6754 f1.txt; touch -d 2020-02-03T04:05:06.789Z f1.txt');
  const { timestamp, ...rest } = (await call('list-files', { path: '/workspace/L' })).json;
  assert.ok(timestamp);
  assert.deepEqual(rest, { success: true, path: '/workspace/L', count: 1, files: [{ name: 'f1.txt', absolutePath: '/workspace/L/f1.txt', relativePath: 'f1.txt',
    type: 'file', size: 2, modifiedAt: '2020-02-03T04:05:06.789Z', mode: 'rwxr-xr--', permissions: { readable: true, writable: true, executable: true } }] });
});

test('list-files: options, types and odd names', async () => {
  await sh("mkdir -p /tmp/ls/vis/.h2 /tmp/ls/.hid; cd /tmp/ls; touch vis/.h2/k vis/k .hid/seen .dot plain 'tab\there' $'new\\nline' '[ab]' ./-x; ln -s vis slink; mkfifo pipe");
  const list = async (options, path = '/tmp/ls') => (await call('list-files', { path, options })).json.files;
  const names = (files) => files.map((f) => f.relativePath).sort();
  assert.deepEqual(names(await list()), ['-x', '[ab]', 'new\nline', 'pipe', 'plain', 'slink', 'tab\there', 'vis']);
  assert.deepEqual(names(await list({ includeHidden: true })), ['-x', '.dot', '.hid', '[ab]', 'new\nline', 'pipe', 'plain', 'slink', 'tab\there', 'vis']);
  assert.deepEqual(names(await list({ recursive: true })), ['-x', '.hid/seen', '[ab]', 'new\nline', 'pipe', 'plain', 'slink', 'tab\there', 'vis', 'vis/.h2/k', 'vis/k']);
  assert.equal((await list({ recursive: true, includeHidden: true })).length, 14);
  const types = Object.fromEntries((await list()).map((f) => [f.name, f.type]));
  assert.deepEqual([types.plain, types.vis, types.slink, types.pipe], ['file', 'directory', 'symlink', 'other']);
  assert.deepEqual(names(await list({}, '/tmp/ls/.hid')), ['seen']);
  assert.deepEqual(names(await list({}, '/tmp/ls/slink')), ['k']);
  const { files } = (await call('list-files', { path: 'vis', sessionId: 'ls', options: null })).json ?? {};
  assert.equal(files, undefined);
  await agent.run('cd /tmp/ls', { session: 'ls' });
  assert.equal((await call('list-files', { path: 'vis', sessionId: 'ls' })).json.files[0].absolutePath, 'vis/k');
  assert.ok((await call('list-files', { path: '.', sessionId: 'ls' })).json.files.some((f) => f.absolutePath === './plain'));
  assert.ok((await call('list-files', { path: '/tmp/ls/', sessionId: 'ls' })).json.files.some((f) => f.absolutePath === '/tmp/ls/plain'));
});

test('list-files: large and deep trees', async () => {
  await sh('mkdir /tmp/wide; cd /tmp/wide; seq 20000 | xargs touch; d=/tmp/deep; for i in $(seq 300); do d=$d/d; done; mkdir -p $d');
  assert.equal((await call('list-files', { path: '/tmp/wide' })).json.count, 20000);
  assert.equal((await call('list-files', { path: '/tmp/deep', options: { recursive: true } })).json.count, 300);
});

test('list-files: a large tree leaves room for others, and is whole', async () => {
  await sh(`python3 -c "
import os
for i in range(400):
    os.makedirs('/tmp/huge/%d' % i)
    for j in range(100): open('/tmp/huge/%d/%d' % (i, j), 'w').close()"`);
  let done = false, pings = 0;
  const listed = call('list-files', { path: '/tmp/huge', options: { recursive: true } }).then((reply) => { done = true; return reply; });
  while (!done) {
    assert.equal((await agent.get('/api/ping')).status, 200);
    pings++;
  }
  assert.equal((await listed).json.count, 40400);
  assert.equal((await listed).json.files.length, 40400);
  assert.ok(pings > 3, `${pings}`);
  const cancel = new AbortController();
  const gone = agent.post('/api/list-files', { path: '/tmp/huge', options: { recursive: true } }, { signal: cancel.signal });
  setImmediate(() => cancel.abort());
  await assert.rejects(gone);
  assert.equal((await call('exists', { path: '/tmp/huge' })).json.exists, true);
});

test('list-files: what is no directory', async () => {
  await call('write', { path: '/tmp/lsfile', content: '' });
  await fails(call('list-files', { path: '/tmp/nope' }), 404, 'FILE_NOT_FOUND', { path: '/tmp/nope', operation: 'directory.list' });
  const json = await fails(call('list-files', { path: '/tmp/lsfile' }), 400, 'NOT_DIRECTORY', { path: '/tmp/lsfile', operation: 'directory.list' });
  assert.match(json.message, /not a directory/);
  assert.equal((await call('list-files', { path: '/tmp', options: 5 })).status, 400);
  assert.equal((await call('list-files', { path: '/tmp', options: { recursive: 1 } })).status, 400);
});

// --- common rules ---

test('a session that has just been made is in its directory at once', async () => {
  for (let i = 0; i < 20; i++) {
    const sessionId = `just-made-${i}`;
    await agent.post('/api/session/create', { id: sessionId, cwd: '/etc' });
    assert.equal((await call('exists', { path: 'passwd', sessionId })).json.exists, true);
  }
});

test('relative paths start at the directory of the session, sessionless ones at /workspace', async () => {
  await agent.run('mkdir -p /tmp/here; cd /tmp/here', { session: 'rel' });
  await call('write', { path: 'in-session', content: 'x', sessionId: 'rel' });
  await call('write', { path: 'sub/no-session', content: 'x', sessionId: SESSIONLESS });
  await call('write', { path: '../workspace/default-session', content: 'x' });
  assert.equal(await sh('ls /tmp/here/in-session /workspace/sub/no-session /workspace/default-session | wc -l'), '3\n');
  assert.equal((await call('rename', { oldPath: 'in-session', newPath: 'renamed', sessionId: 'rel' })).status, 200);
  assert.equal((await call('exists', { path: 'renamed', sessionId: 'rel' })).json.exists, true);
  await agent.run('mkdir /tmp/short; cd /tmp/short; rmdir /tmp/short', { session: 'rel' });
  assert.equal((await call('write', { path: 'x', content: '', sessionId: 'rel' })).json.code, 'FILESYSTEM_ERROR');
});

for (const route of ['read', 'write', 'delete', 'mkdir', 'exists', 'list-files']) {
  test(`${route} refuses bad paths with the field`, async () => {
    for (const path of [undefined, null, '', 5, 'a\0b', 'x'.repeat(4097), []]) {
      const { status, json } = await call(route, { path, content: '' });
      assert.equal(status, 400);
      assert.equal(json.code, 'VALIDATION_FAILED');
      assert.deepEqual([json.context.validationErrors[0].field, json.context.validationErrors[0].code], ['path', 'INVALID_PATH']);
    }
    const long = await call(route, { path: '漢'.repeat(1365), content: '' }); // 4095 bytes, 1365 characters
    assert.notEqual(long.json.code, 'VALIDATION_FAILED');
  });

  test(`${route} with a blank or dead session`, async () => {
    for (const sessionId of ['', '  ']) {
      const { status, json } = await call(route, { path: '/tmp', content: '', sessionId });
      assert.deepEqual([status, json.code, json.context.path], [500, 'FILESYSTEM_ERROR', '/tmp']);
    }
    assert.equal((await call(route, { path: '/tmp', content: '', sessionId: 5 })).status, 400);
    const session = `dead-${route}`;
    const { stdout: pid } = await agent.run('echo $$', { session });
    await agent.killed(pid);
    const { status, json } = await call(route, { path: '/tmp', content: '', sessionId: session });
    assert.deepEqual([status, json.code, json.context], [410, 'SESSION_TERMINATED', { sessionId: session, exitCode: 137 }]);
    assert.notEqual((await call(route, { path: '/tmp/alive', content: '', sessionId: session })).status, 410);
  });
}

test('file routes do not look at X-Session-Id', async () => {
  await agent.run('cd /etc', { session: 'header' });
  const reply = await agent.post('/api/exists', { path: 'passwd' }, { headers: { 'X-Session-Id': 'header' } });
  assert.equal(reply.json.exists, false);
});
