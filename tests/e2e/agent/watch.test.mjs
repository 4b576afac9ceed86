// File watches: reference/container/50, 90 (A47 to A49, B19), 95.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Agent, SESSIONLESS, sleep } from './helper.mjs';
import { EventReader } from './sse.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

const sh = async (command) => {
  const reply = await agent.run(command, { session: SESSIONLESS });
  assert.equal(reply.exitCode, 0, `${command}: ${JSON.stringify(reply)}`);
  return reply.stdout;
};
let directories = 0;
const makeDirectory = async () => {
  const path = `/workspace/w${++directories}`;
  await sh(`mkdir ${path}`);
  return path;
};
const watch = async (path, more = {}) => {
  const reader = await EventReader.open(agent, '/api/watch', { path, ...more });
  assert.equal(reader.status, 200);
  await reader.event({ type: 'watching' });
  return reader;
};
const check = async (path, since, more = {}) => (await agent.post('/api/watch/check', { path, since, ...more })).json;
const of = (reader) => reader.events.filter((e) => e.type === 'event');
const short = (reader, root) => of(reader).map((e) => `${e.eventType} ${e.path.slice(root.length + 1)}${e.isDirectory ? '/' : ''}`);
const seen = (reader, eventType, path) => reader.event({ type: 'event', eventType, path });
// Everything before has been told once this file has been.
const settle = async (reader, root) => {
  await sh(`touch ${root}/settled`);
  await seen(reader, 'create', `${root}/settled`);
};

// --- the stream ---

test('the first event is watching, with the path and an id; then create, modify and delete come', async () => {
  const root = await makeDirectory();
  const w = await watch(root);
  assert.equal(w.response.headers['content-type'], 'text/event-stream');
  assert.deepEqual(Object.keys(w.events[0]), ['type', 'path', 'watchId']);
  assert.equal(w.events[0].path, root);
  assert.match(w.events[0].watchId, /^watch-\d+-\d{13}$/);
  await sh(`echo x > ${root}/f.txt`);
  const create = await seen(w, 'create', `${root}/f.txt`);
  assert.deepEqual(Object.keys(create).sort(), ['eventType', 'isDirectory', 'path', 'timestamp', 'type']);
  assert.equal(create.isDirectory, false);
  assert.match(create.timestamp, /^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/);
  await seen(w, 'modify', `${root}/f.txt`);
  await sh(`rm ${root}/f.txt; mkdir ${root}/d`);
  await seen(w, 'delete', `${root}/f.txt`);
  assert.equal((await seen(w, 'create', `${root}/d`)).isDirectory, true);
  assert.deepEqual(short(w, root), ['create f.txt', 'modify f.txt', 'delete f.txt', 'create d/']);
  w.close();
});

test('a relative path starts at /workspace, is trimmed and normalised', async () => {
  const root = await makeDirectory();
  const w = await watch(`  ${root.slice(11)}/x/..//./ \n`);
  assert.equal(w.events[0].path, root);
  w.close();
});

test('a rename gives move_from and move_to without a cookie, also across directories', async () => {
  const root = await makeDirectory();
  await sh(`mkdir ${root}/a ${root}/b; touch ${root}/a/x`);
  const w = await watch(root);
  await sh(`mv ${root}/a/x ${root}/b/y`);
  await seen(w, 'move_to', `${root}/b/y`);
  assert.deepEqual(short(w, root), ['move_from a/x', 'move_to b/y']);
  w.close();
});

test('a directory that is moved keeps telling, under its new name', async () => {
  const root = await makeDirectory();
  await sh(`mkdir -p ${root}/a/deep/er ${root}/b`);
  const w = await watch(root);
  await sh(`mv ${root}/a ${root}/b/c && touch ${root}/b/c/deep/er/f && mkdir ${root}/a && touch ${root}/a/g`);
  await seen(w, 'create', `${root}/a/g`);
  assert.deepEqual(short(w, root), ['move_from a/', 'move_to b/c/', 'create b/c/deep/er/f', 'create a/', 'create a/g']);
  w.close();
});

test('two directories that are exchanged both keep telling', async () => {
  const root = await makeDirectory();
  await sh(`mkdir -p ${root}/a/in-a ${root}/b/in-b`);
  const w = await watch(root);
  await sh(`python3 -c "
import ctypes, sys
sys.exit(ctypes.CDLL(None, use_errno=True).renameat2(-100, b'${root}/a', -100, b'${root}/b', 2))"
touch ${root}/a/in-b/x ${root}/b/in-a/y`);
  await seen(w, 'create', `${root}/b/in-a/y`);
  await seen(w, 'create', `${root}/a/in-b/x`);
  w.close();
});

test('what is made in a directory that has just been moved in is told, and not what it brought along', async () => {
  const root = await makeDirectory();
  const w = await watch(root);
  for (let i = 0; i < 20; i++) await sh(`mkdir -p /workspace/outside${i}/deep/er; touch /workspace/outside${i}/old /workspace/outside${i}/deep/old`);
  await sleep(50); // beyond the slack that is given to the clock of files
  for (let i = 0; i < 20; i++) {
    const [from, to] = [`/workspace/outside${i}`, `${root}/in${i}`];
    await sh(`mv ${from} ${to}; echo > ${to}/new; echo > ${to}/deep/er/new; mkdir ${to}/deep/fresh; echo > ${to}/deep/fresh/new; mv ${to}/deep/old ${to}/deep/moved`);
  }
  await sh(`echo > ${root}/last`);
  await seen(w, 'create', `${root}/last`);
  for (let i = 0; i < 20; i++) {
    for (const name of ['new', 'deep/er/new', 'deep/fresh/', 'deep/fresh/new']) {
      const told = of(w).filter((e) => e.eventType === 'create' && e.path === `${root}/in${i}/${name.replace(/\/$/, '')}`);
      assert.equal(told.length, 1, `in${i}/${name}: ${told.length} times`);
    }
    assert.ok(of(w).some((e) => ['create', 'move_to'].includes(e.eventType) && e.path === `${root}/in${i}/deep/moved`), `in${i}/deep/moved`);
    for (const old of ['old', 'deep', 'deep/er']) {
      assert.ok(!of(w).some((e) => e.eventType === 'create' && e.path === `${root}/in${i}/${old}`), `in${i}/${old} came along`);
    }
  }
  w.close();
});

test('directories are moved in while others make files in them: none is lost', async () => {
  const root = await makeDirectory();
  const w = await watch(root);
  await sh(`python3 - <<'END'
import os, threading
for i in range(20):
    os.makedirs(f'/workspace/busy{i}/sub')
    d = os.open(f'/workspace/busy{i}/sub', os.O_RDONLY)
    go = threading.Event()
    def work():
        go.wait()
        for n in range(30):
            os.close(os.open(f'f{n}', os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=d))
    thread = threading.Thread(target=work); thread.start()
    go.set()
    os.rename(f'/workspace/busy{i}', f'${root}/busy{i}')
    thread.join()
    os.close(os.open(f'${root}/busy{i}/sub/after', os.O_CREAT | os.O_WRONLY, 0o644))
    os.close(d)
os.close(os.open('${root}/last', os.O_CREAT | os.O_WRONLY, 0o644))
END`);
  await seen(w, 'create', `${root}/last`); // the root tells this; what is read below may be told later
  for (let i = 0; i < 20; i++) await seen(w, 'create', `${root}/busy${i}/sub/after`);
  await settle(w, root);
  const created = of(w).filter((e) => e.eventType === 'create').map((e) => e.path);
  assert.equal(new Set(created).size, created.length, 'told twice');
  for (let i = 0; i < 20; i++) {
    // Those are told which came after the move, a run to the end; what was there before the move may be told or not.
    const told = [...Array(30).keys()].filter((n) => created.includes(`${root}/busy${i}/sub/f${n}`));
    assert.deepEqual(told, [...Array(told.length).keys()].map((n) => 30 - told.length + n), `busy${i}: ${told}`);
  }
  w.close();
});

test('a directory moved in is watched; one moved out is not any more', async () => {
  const root = await makeDirectory();
  await sh(`mkdir -p ${root}/watched /workspace/outside/deep`);
  const w = await watch(`${root}/watched`);
  await sh(`mv /workspace/outside ${root}/watched/in`);
  await sh(`touch ${root}/watched/in/deep/f`);
  await seen(w, 'create', `${root}/watched/in/deep/f`);
  await sh(`mv ${root}/watched/in /workspace/outside`);
  await seen(w, 'move_from', `${root}/watched/in`);
  for (let i = 0; ; i++) { // until it is no more taken for a move within the tree
    const before = of(w).length;
    await sh(`touch /workspace/outside/deep/f${i}; touch ${root}/watched/t${i}`);
    await seen(w, 'create', `${root}/watched/t${i}`);
    if (!of(w).slice(before).some((e) => e.path.includes('deep'))) break;
    assert.ok(i < 200);
  }
  w.close();
});

test('nothing is lost between a mkdir and the first files inside', async () => {
  const root = await makeDirectory();
  const w = await watch(root);
  for (let i = 0; i < 20; i++) await sh(`mkdir -p ${root}/${i}/a/b/c; for d in ${i} ${i}/a ${i}/a/b ${i}/a/b/c; do echo x > ${root}/$d/f; done`);
  await settle(w, root);
  for (let i = 0; i < 20; i++) {
    for (const d of ['', '/a', '/a/b', '/a/b/c']) {
      for (const path of [`${root}/${i}${d}`, `${root}/${i}${d}/f`]) {
        const events = of(w).filter((e) => e.path === path && e.eventType === 'create');
        assert.equal(events.length, 1, `${path}: ${events.length}`);
      }
    }
  }
  w.close();
});

test('a tree that is unpacked at once is told completely', async () => {
  const root = await makeDirectory();
  await sh('mkdir -p /tmp/many; cd /tmp/many; for i in $(seq 30); do mkdir -p $i/x/y; for j in $(seq 10); do echo > $i/x/y/$j; done; done');
  const w = await watch(root);
  await sh(`cp -r /tmp/many ${root}/`);
  await w.until(() => of(w).filter((e) => e.eventType === 'create').length >= 391);
  await settle(w, root);
  assert.equal(new Set(of(w).filter((e) => e.eventType === 'create').map((e) => e.path)).size, 392);
  w.close();
});

test('equal events within a window are one', async () => {
  const root = await makeDirectory();
  const w = await watch(root);
  await sh(`python3 -c "
f = open('${root}/f', 'w')
for i in range(500): f.write('x'); f.flush()"`);
  await settle(w, root);
  assert.ok(of(w).filter((e) => e.eventType === 'modify').length < 10, JSON.stringify(short(w, root)));
  w.close();
});

test('not recursive means the directory alone', async () => {
  const root = await makeDirectory();
  await sh(`mkdir ${root}/d`);
  const w = await watch(root, { recursive: false });
  await sh(`touch ${root}/d/f; mkdir ${root}/e; touch ${root}/e/f`);
  await settle(w, root);
  assert.deepEqual(short(w, root), ['create e/', 'create settled']);
  w.close();
});

test('a file can be watched', async () => {
  const root = await makeDirectory();
  await sh(`echo x > ${root}/f`);
  const w = await watch(`${root}/f`);
  await sh(`echo y >> ${root}/f; touch ${root}/g`);
  await seen(w, 'modify', `${root}/f`);
  assert.equal(of(w)[0].isDirectory, false);
  await sh(`rm ${root}/f`);
  await w.event({ type: 'stopped' });
  await w.end();
});

test('events chooses the kinds, attrib only when it is asked for', async () => {
  const root = await makeDirectory();
  await sh(`touch ${root}/f`);
  const all = await watch(root), some = await watch(root, { events: ['attrib', 'delete'] });
  assert.notEqual(all.events[0].watchId, some.events[0].watchId);
  await sh(`chmod 600 ${root}/f; echo x > ${root}/f; rm ${root}/f`);
  await seen(all, 'delete', `${root}/f`);
  await seen(some, 'delete', `${root}/f`);
  assert.deepEqual(short(some, root), ['attrib f', 'delete f']);
  assert.deepEqual(short(all, root), ['modify f', 'delete f']);
  all.close();
  some.close();
});

test('links are not followed below the root, but the root may be one', async () => {
  const root = await makeDirectory();
  await sh(`mkdir -p ${root}/real /tmp/away; ln -s ${root}/real ${root}/link; ln -s /tmp/away ${root}/real/out; ln -s .. ${root}/real/up`);
  const w = await watch(`${root}/link`);
  assert.equal(w.events[0].path, `${root}/link`);
  await sh(`touch /tmp/away/x ${root}/real/f; ln -s /tmp/away ${root}/real/new; touch /tmp/away/y`);
  await settle(w, `${root}/link`);
  assert.deepEqual(short(w, `${root}/link`), ['create f', 'create new', 'create settled']);
  w.close();
});

test('any bytes may be in a name', async () => {
  const root = await makeDirectory();
  const w = await watch(root);
  await sh(`cd ${root}; touch 'a|b' 'ü' $'new\\nline' '"q\\' $'bad\\xff'; mkdir 'd|e'; touch 'd|e/f'`);
  for (const name of ['a|b', 'ü', 'new\nline', '"q\\', 'bad\ufffd', 'd|e/f']) await seen(w, 'create', `${root}/${name}`);
  w.close();
});

// --- patterns ---

test('.git, node_modules and .DS_Store are excluded unless patterns are given', async () => {
  const root = await makeDirectory();
  await sh(`cd ${root}; mkdir .git node_modules`);
  const plain = await watch(root), all = await watch(root, { exclude: [] }), other = await watch(root, { exclude: ['*.log'] }),
    including = await watch(root, { include: ['*.js'] }), empty = await watch(root, { include: [] });
  assert.equal(empty.events[0].watchId, plain.events[0].watchId);
  await sh(`cd ${root}; touch .git/HEAD node_modules/m.js .DS_Store a.log a.js .gitignore; mkdir -p sub/node_modules; touch sub/node_modules/z.js`);
  for (const w of [plain, all, other]) await settle(w, root);
  await seen(including, 'create', `${root}/sub/node_modules/z.js`);
  assert.deepEqual(short(plain, root), ['create a.log', 'create a.js', 'create .gitignore', 'create sub/', 'create settled']);
  assert.ok(short(all, root).includes('create .git/HEAD') && short(all, root).includes('create sub/node_modules/z.js'));
  assert.ok(short(other, root).includes('create node_modules/m.js') && !short(other, root).includes('create a.log'));
  assert.deepEqual(short(including, root).sort(), ['create a.js', 'create node_modules/m.js', 'create sub/node_modules/z.js']);
  for (const w of [plain, all, other, including, empty]) w.close();
});

test('include lets only what matches through, in new directories as well', async () => {
  const root = await makeDirectory();
  const w = await watch(root, { include: ['*.ts'] });
  await sh(`cd ${root}; touch a.js a.ts; mkdir -p x/y; touch x/y/b.js x/y/b.ts`);
  await seen(w, 'create', `${root}/x/y/b.ts`);
  assert.deepEqual(short(w, root).filter((e) => e.startsWith('create')), ['create a.ts', 'create x/y/b.ts']);
  w.close();
});

test('a directory that is excluded by its place is watched after it has left it', async () => {
  const root = await makeDirectory();
  await sh(`cd ${root}; mkdir -p a/skip/deep b`);
  const w = await watch(root, { exclude: ['a/skip'] });
  await sh(`cd ${root}; touch a/skip/deep/x; mv a/skip b/skip; touch b/skip/deep/y; mv b c; touch c/skip/deep/z`);
  await seen(w, 'create', `${root}/c/skip/deep/z`);
  assert.equal(of(w).some((e) => e.path.startsWith(`${root}/a/skip`)), false);
  w.close();
});

// --- the end of a watch ---

test('a root that goes away ends the stream with stopped, also while a shell is in it', async () => {
  for (const [session, command] of [[null, (r) => `rm -r ${r}`], ['inside', (r) => `rmdir ${r}`], [null, (r) => `mv ${r} ${r}.old`]]) {
    const root = await makeDirectory();
    if (session) await agent.run(`cd ${root}`, { session });
    const w = await watch(root);
    await sh(command(root));
    assert.match((await w.event({ type: 'stopped' })).reason, /removed|moved/);
    await w.end();
    assert.equal((await agent.post('/api/watch', { path: root })).status, 404);
  }
});

test('after a cancel the same path can be watched at once, and the old watch is gone', async () => {
  const root = await makeDirectory();
  const ids = new Set();
  for (let i = 0; i < 10; i++) {
    const w = await watch(root);
    ids.add(w.events[0].watchId);
    w.close();
    await w.end();
  }
  assert.ok(ids.size >= 9, [...ids].join());
});

test('who asks for the same gets the same watch', async () => {
  const root = await makeDirectory();
  const a = await watch(root, { exclude: ['b', 'a'] }), b = await watch(`${root}/`, { exclude: ['a', 'b', 'a'] }), c = await watch(root, { exclude: ['a'] });
  assert.equal(a.events[0].watchId, b.events[0].watchId);
  assert.notEqual(a.events[0].watchId, c.events[0].watchId);
  await sh(`touch ${root}/x`);
  for (const w of [a, b, c]) await seen(w, 'create', `${root}/x`);
  a.close();
  await sh(`touch ${root}/y`);
  for (const w of [b, c]) await seen(w, 'create', `${root}/y`);
  b.close();
  c.close();
});

test('the end of the agent is told to all', async () => {
  const other = await Agent.start();
  const reader = await EventReader.open(other, '/api/watch', { path: '/workspace' });
  await reader.event({ type: 'watching' });
  process.kill(await other.hostPid(), 'SIGTERM');
  assert.deepEqual(await other.exited, [0, null]);
  await reader.end();
  assert.equal(reader.events.at(-1).type, 'stopped');
  await other.stop();
});

// --- check ---

test('check: unchanged, changed and the form of the version', async () => {
  const root = await makeDirectory();
  const first = await check(root);
  assert.deepEqual(Object.keys(first).sort(), ['status', 'success', 'timestamp', 'version']);
  assert.equal(first.status, 'unchanged');
  assert.match(first.version, /^watch-\d+-\d+:0$/);
  assert.deepEqual((await check(root, first.version)).status, 'unchanged');
  await sh(`touch ${root}/f`);
  const changed = await check(root, first.version);
  assert.equal(changed.status, 'changed');
  assert.notEqual(changed.version, first.version);
  assert.equal(changed.reason, undefined);
  assert.equal((await check(root)).status, 'unchanged');
});

test('check: what happened before it counts, whether or not the agent has read of it yet', async () => {
  const root = await makeDirectory();
  let { version } = await check(root);
  for (let i = 0; i < 100; i++) {
    await agent.post('/api/write', { path: `${root}/f`, content: String(i) });
    const changed = await check(root, version);
    assert.equal(changed.status, 'changed', `write ${i}`);
    version = changed.version;
  }
});

test('check: resync, and what since may be', async () => {
  const root = await makeDirectory();
  const expired = await check(root, 'watch-1-1:5');
  assert.deepEqual([expired.status, expired.reason], ['resync', 'expired']);
  const restarted = await check(root, 'watch-1-1:5');
  assert.deepEqual([restarted.status, restarted.reason, restarted.version], ['resync', 'restarted', expired.version]);
  const flat = await check(root, expired.version, { recursive: false });
  assert.deepEqual([flat.status, flat.reason], ['resync', 'expired']);
  const future = expired.version.replace(/:.*/, ':99');
  const reply = await agent.post('/api/watch/check', { path: root, since: future });
  assert.deepEqual([reply.status, reply.json.code, reply.json.context], [400, 'VALIDATION_FAILED', { since: future, currentVersion: expired.version }]);
  for (const since of ['', ' ', 'x', 'watch-1-1', 'watch-1-1:', 'watch-1-1:x', 'watch--1:1', 'a\0b', 5, 'watch-1-1:99999999999999999999']) {
    const bad = await agent.post('/api/watch/check', { path: root, since });
    assert.deepEqual([bad.status, bad.json.code, bad.json.context], [400, 'VALIDATION_FAILED', { since }]);
  }
});

test('check: changes between two checks count although nobody is connected, and streams share the watch', async () => {
  const root = await makeDirectory();
  const { version } = await check(root);
  const w = await watch(root);
  assert.equal(w.events[0].watchId, version.split(':')[0]);
  w.close();
  await w.end();
  await sh(`touch ${root}/f; rm ${root}/f`);
  let next;
  do next = await check(root, version); while (next.status === 'unchanged');
  assert.equal(next.version.split(':')[0], version.split(':')[0]);
});

test('check of a root that was removed and made again is a resync', async () => {
  const root = await makeDirectory();
  const { version } = await check(root);
  await sh(`rmdir ${root}`);
  assert.equal((await agent.post('/api/watch/check', { path: root, since: version })).status, 404);
  await sh(`mkdir ${root}`);
  assert.equal((await check(root, version)).status, 'resync');
});

// --- refusals ---

test('what is wrong with a request is told with the offending values', async () => {
  const root = await makeDirectory();
  const cases = [
    [{}, {}], [{ path: '' }, { path: '' }], [{ path: ' ' }, { path: ' ' }], [{ path: 5 }, { path: 5 }],
    [{ path: 'a\0b' }, { path: 'a\0b' }],
    [{ path: root, include: ['a'], exclude: ['b'] }, { include: ['a'], exclude: ['b'] }],
    [{ path: root, include: 'a' }, { include: 'a' }], [{ path: root, include: [1] }, { include: [1] }],
    [{ path: root, include: ['[a]'] }, { pattern: '[a]', include: ['[a]'] }],
    [{ path: root, exclude: ['x', '{a}'] }, { pattern: '{a}', exclude: ['x', '{a}'] }],
    [{ path: root, exclude: [''] }, { pattern: '', exclude: [''] }], [{ path: root, exclude: ['a\0'] }, { pattern: 'a\0', exclude: ['a\0'] }],
    [{ path: root, recursive: 'yes' }, { recursive: 'yes' }], [{ path: root, events: ['nope'] }, { events: ['nope'] }],
  ];
  for (const route of ['/api/watch', '/api/watch/check']) {
    for (const [body, context] of cases) {
      const { status, json } = await agent.post(route, body);
      assert.deepEqual([status, json.code, json.context], [400, 'VALIDATION_FAILED', context]);
    }
    for (const body of ['', 'nonsense', '[]', '5']) assert.deepEqual((await agent.post(route, body)).json.code, 'VALIDATION_FAILED');
  }
});

test('only what is in /workspace can be watched, and only what is there', async () => {
  for (const route of ['/api/watch', '/api/watch/check']) {
    for (const [path, resolvedPath] of [['/etc', '/etc'], ['/', '/'], ['/workspace/../etc', '/etc'], ['..', '/'], ['/workspacex', '/workspacex']]) {
      const { status, json } = await agent.post(route, { path });
      assert.deepEqual([status, json.code, json.context], [403, 'PERMISSION_DENIED', { path, resolvedPath, workspaceRoot: '/workspace' }]);
    }
    const { status, json } = await agent.post(route, { path: '/workspace/nope' });
    assert.deepEqual([status, json.code, json.context], [404, 'FILE_NOT_FOUND', { path: '/workspace/nope' }]);
    assert.match(json.message, /not found/i);
  }
});

// --- size ---

test('fifty thousand directories can be watched, and the agent answers meanwhile', async () => {
  const root = await makeDirectory();
  await sh(`python3 -c "
import os
for i in range(250):
    os.mkdir('${root}/%d' % i)
    for j in range(199): os.mkdir('${root}/%d/%d' % (i, j))"`);
  const reader = await EventReader.open(agent, '/api/watch', { path: root });
  let pings = 0;
  while (!reader.events.length) {
    assert.equal((await agent.get('/api/ping')).status, 200);
    pings++;
  }
  assert.equal(reader.events[0].type, 'watching', JSON.stringify(reader.events));
  assert.ok(pings > 5, `${pings}`);
  await sh(`touch ${root}/249/198/f; rm -r ${root}/0; mv ${root}/1 ${root}/one; touch ${root}/one/7/f`);
  await seen(reader, 'create', `${root}/249/198/f`);
  await seen(reader, 'create', `${root}/one/7/f`);
  reader.close();
  await sh(`rm -r ${root}`);
});

test('more directories than can be watched: that is the answer, or the end of a watch that grows; others go on', async () => {
  const small = await Agent.start({ watches: 40 });
  try {
    const run = async (command) => assert.equal((await small.run(command, { session: SESSIONLESS })).exitCode, 0, command);
    await run('mkdir -p /workspace/few /workspace/many; for i in {1..60}; do mkdir /workspace/many/$i; done');
    const few = await EventReader.open(small, '/api/watch', { path: '/workspace/few' });
    await few.event({ type: 'watching' });
    const reason = /^there are more directories than can be watched: fs\.inotify\.max_user_watches is \d+$/;
    const many = await EventReader.open(small, '/api/watch', { path: '/workspace/many' });
    assert.match((await many.event({ type: 'error' })).error, reason);
    await many.end();
    const looked = await small.post('/api/watch/check', { path: '/workspace/many' });
    assert.deepEqual([looked.status, looked.json.code, looked.json.context], [500, 'WATCH_START_ERROR', { path: '/workspace/many' }]);
    assert.match(looked.json.message.replace("Cannot watch '/workspace/many': ", ''), reason);
    await run('echo > /workspace/few/f');
    await few.event({ type: 'event', eventType: 'create', path: '/workspace/few/f' });
    const growing = await EventReader.open(small, '/api/watch', { path: '/workspace/few/..', exclude: ['many'] });
    await growing.event({ type: 'watching' });
    await run('for i in {1..60}; do mkdir /workspace/few/$i; done');
    assert.match((await growing.event({ type: 'error' })).error, reason);
    await growing.end();
    few.close();
  } finally {
    await small.stop();
  }
});

test('more events than the kernel keeps are told as a resync, and the tree is whole afterwards', async () => {
  const root = await makeDirectory();
  const { version } = await check(root);
  const w = await watch(root);
  const pid = await agent.hostPid();
  process.kill(pid, 'SIGSTOP'); // so that nobody reads
  try {
    const { spawnSync } = await import('node:child_process');
    const code = `
import os
for i in range(20000): open('f%d' % i, 'w').close()
os.makedirs('d/e/f')`;
    const run = spawnSync('nsenter', ['-t', String(pid), '-m', '-r', `--wd=/proc/${pid}/root${root}`, 'python3', '-c', code], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
  } finally { process.kill(pid, 'SIGCONT'); }
  await w.event({ type: 'resync' });
  // That may have been for what this stream alone has dropped; the kernel's comes at the end of its queue.
  let next;
  for (const deadline = Date.now() + 60000; next?.status !== 'resync'; next = await check(root, version)) assert.ok(Date.now() < deadline, JSON.stringify(next));
  assert.equal(next.reason, 'restarted');
  // What comes to be while the tree is read again belongs to the resync; after that each new file is told.
  const told = () => of(w).some((e) => e.eventType === 'create' && e.path.startsWith(`${root}/d/e/f/g`));
  for (let i = 0; !told(); i++) {
    await sh(`touch ${root}/d/e/f/g${i}`);
    await sleep(20);
    assert.ok(i < 500, 'the tree is never watched again');
  }
  w.close();
});

test('a reader that does not read costs a bounded memory, and others go on', async () => {
  const root = await makeDirectory();
  const slow = await EventReader.open(agent, '/api/watch', { path: root });
  slow.response.pause();
  const w = await watch(root);
  for (let round = 0; round < 5; round++) {
    await sh(`cd ${root}; for i in $(seq 2000); do : > ${'x'.repeat(200)}$i; done; rm -f x*; touch round-${round}`);
    /* Told, or among what was too much for the kernel. */
    await w.until((events) => events.some(({ type, eventType, path }) => type === 'resync' || (eventType === 'create' && path === `${root}/round-${round}`)));
  }
  slow.response.resume();
  await slow.event({ type: 'watching' });
  slow.close();
  w.close();
});
