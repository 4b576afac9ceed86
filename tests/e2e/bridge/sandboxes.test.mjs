/* Making, describing, listing, changing and deleting sandboxes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { Api, collect, outcome } from '../lib/api.mjs';
import { Daemon, image, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';

describe('sandboxes', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;

  before(async () => {
    daemon = await new Daemon({ options: ['--sandbox-max-memory', '2GiB'] }).start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  test('PUT makes one with all settings and describes it', async () => {
    const settings = { name: 'Everything named', image, limits: { memoryBytes: 256 << 20, cpuMillis: 500, pids: 64, diskBytes: 64 << 20, nofile: 256 },
      env: { GREETING: 'hello there' }, labels: { team: 'a', stage: 'test' }, sleepAfter: '90s', keepAlive: true };
    const made = await api.put('/v1/sandbox/full', settings);
    assert.equal(made.status, 201, made.text);
    assert.equal(made.headers['berm-generation'], '1');
    const { createdAt, startedAt, lastUsedAt, imageDigest, ...rest } = made.json;
    assert.deepEqual(rest, { id: 'full', name: 'Everything named', state: 'running', generation: 1, image, limits: settings.limits, env: ['GREETING'],
      labels: settings.labels, network: 'internet', sleepAfter: 90, keepAlive: true, endReason: null, exitStatus: null });
    assert.match(imageDigest, /^sha256:[0-9a-f]{64}$/);
    for (const time of [createdAt, startedAt, lastUsedAt]) assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60000);
    const inside = await api.exec('full', ['sh', '-c', 'echo $GREETING; ulimit -n']);
    assert.equal(inside.out, 'hello there\n256\n');
    assert.deepEqual((await api.get('/v1/sandbox/full')).json.limits, settings.limits);
  });

  test('PUT again is harmless, and changes what it names', async () => {
    const path = '/v1/sandbox/again';
    assert.equal((await api.put(path, { labels: { a: '1' } })).status, 201);
    const same = await api.put(path, { labels: { a: '1' } });
    assert.equal(same.status, 200);
    assert.equal(same.json.generation, 1);
    const changed = await api.put(path, { env: { NEW: 'value' }, sleepAfter: 5000 });
    assert.equal(changed.status, 200);
    assert.deepEqual([changed.json.labels, changed.json.sleepAfter, changed.json.env], [{ a: '1' }, 5000, ['NEW']]);
    assert.equal((await api.exec('again', ['sh', '-c', 'echo $NEW'])).out, 'value\n');
    const emptied = await api.put(path, '');
    assert.equal(emptied.status, 200);
    assert.deepEqual(emptied.json.labels, { a: '1' });
  });

  test('a name is for people: any text on one line, not unique, changed and taken away, also over a restart', async () => {
    const name = 'Für Zoë, 試験 🧪';
    assert.equal((await api.put('/v1/sandbox/nameless', {})).json.name, null);
    for (const id of ['namea', 'nameb']) assert.equal((await api.put(`/v1/sandbox/${id}`, { name })).json.name, name);
    const listed = async () => (await api.get(`/v1/sandboxes?name=${encodeURIComponent(name)}`)).json.sandboxes.map(({ id }) => id);
    assert.deepEqual(await listed(), ['namea', 'nameb']);
    assert.equal((await api.put('/v1/sandbox/namea', { labels: { a: '1' } })).json.name, name);
    await daemon.end('SIGKILL');
    await daemon.start();
    api.close();
    api = new Api(daemon);
    assert.deepEqual(await listed(), ['namea', 'nameb']);
    assert.equal((await api.put('/v1/sandbox/namea', { name: 'Other' })).json.name, 'Other');
    const gone = await api.put('/v1/sandbox/nameb', { name: '' });
    assert.deepEqual([gone.json.name, gone.json.generation], [null, 1]);
    assert.deepEqual(await listed(), []);
    for (const bad of [5, 'x'.repeat(129), 'two\nlines', 'red \u001b[31m', 'turned \u202e round', 'NUL \u0000', '\u0085']) {
      const refused = await api.put('/v1/sandbox/namea', { name: bad });
      assert.deepEqual([refused.status, refused.json.context?.field], [400, 'name'], JSON.stringify(bad));
    }
    assert.equal((await api.get('/v1/sandbox/namea')).json.name, 'Other');
  });

  test('another image is a conflict, an unknown one is not found and makes nothing', async () => {
    await api.put('/v1/sandbox/conflict', {});
    const other = await api.put('/v1/sandbox/conflict', { image: 'other' });
    assert.equal(other.status, 409);
    assert.equal(other.json.code, 'conflict');
    const unknown = await api.put('/v1/sandbox/unknown', { image: 'no-such-image' });
    assert.equal(unknown.status, 404);
    assert.equal(unknown.json.code, 'image_not_found');
    assert.equal((await api.get('/v1/sandbox/unknown')).status, 404);
  });

  test('wrong members are named and make nothing', async () => {
    for (const [body, field] of [[{ imgae: 'x' }, 'imgae'], [{ limits: { memory: 5 } }, 'limits.memory'], [{ limits: { memoryBytes: 4 << 30 } }, 'limits.memoryBytes'],
      [{ env: { A: 1 } }, 'env'], [{ labels: { 'a b': 'x' } }, 'labels'], [{ sleepAfter: 'soon' }, 'sleepAfter'], [{ keepAlive: 1 }, 'keepAlive']]) {
      const response = await api.put('/v1/sandbox/wrong', body);
      assert.equal(response.status, 400, JSON.stringify(body));
      assert.equal(response.json.code, 'invalid_request');
      assert.equal(response.json.context.field, field);
    }
    assert.equal((await api.put('/v1/sandbox/wrong', '{')).status, 400);
    assert.equal((await api.put('/v1/sandbox/wrong', '[]')).status, 400);
    assert.equal((await api.get('/v1/sandbox/wrong')).status, 404);
  });

  test('limits change while it runs', async () => {
    await api.put('/v1/sandbox/live', { limits: { pids: 16 } });
    const crowd = 'for i in $(seq 40); do sleep 5 & done; echo started; kill $(jobs -p)';
    assert.notEqual((await api.exec('live', crowd)).err, '');
    const changed = await api.put('/v1/sandbox/live', { limits: { pids: 200 } });
    assert.equal(changed.status, 200);
    assert.equal(changed.json.limits.pids, 200);
    const roomy = await api.exec('live', crowd);
    assert.equal(roomy.out, 'started\n');
    assert.equal(roomy.err, '');
    assert.equal(changed.json.generation, 1);
  });

  test('a memory limit kills what exceeds it and not the sandbox', async () => {
    await api.put('/v1/sandbox/oom', { limits: { memoryBytes: 64 << 20 } });
    const greedy = await api.exec('oom', ['sh', '-c', 'head -c 200000000 /dev/zero | tail | wc -c']);
    assert.notEqual(greedy.out, '200000000\n');
    assert.equal((await api.exec('oom', ['echo', 'alive'])).out, 'alive\n');
    assert.ok((await api.get('/v1/sandbox/oom?usage=true')).json.usage.oomKills > 0);
    assert.equal((await api.get('/v1/sandbox/oom')).json.generation, 1);
  });

  test('GET knows what exists, with its use of resources when asked', async () => {
    assert.equal((await api.get('/v1/sandbox/nobody')).status, 404);
    assert.equal((await api.get('/v1/sandbox/nobody')).json.code, 'sandbox_not_found');
    await api.exec('usage', ['sh', '-c', 'head -c 3000000 /dev/urandom > /workspace/x; sync']);
    const { usage } = (await api.get('/v1/sandbox/usage?usage=true')).json;
    assert.ok(usage.memoryBytes > 0 && usage.cpuUsec > 0 && usage.pids >= 1);
    assert.equal((await api.get('/v1/sandbox/usage')).json.usage, undefined);
  });

  test('lists are in order of creation, in pages, by label and state', async () => {
    for (let i = 0; i < 5; i++) await api.put(`/v1/sandbox/list${'abcde'[i]}`, { labels: { group: 'list', half: String(i % 2) } });
    const ids = async (query) => (await api.get(`/v1/sandboxes?${query}`)).json.sandboxes.map((sandbox) => sandbox.id);
    assert.deepEqual(await ids('label=group=list'), ['lista', 'listb', 'listc', 'listd', 'liste']);
    assert.deepEqual(await ids('label=group%3Dlist&label=half=1'), ['listb', 'listd']);
    assert.deepEqual(await ids('label=half'), await ids('label=group=list'));
    assert.deepEqual(await ids('label=group=other'), []);
    assert.deepEqual(await ids('label=group=list&state=sleeping'), []);
    const seen = [];
    let cursor = null;
    for (let pages = 0; pages < 10; pages++) {
      const { json } = await api.get(`/v1/sandboxes?label=group=list&limit=2${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
      seen.push(...json.sandboxes.map((sandbox) => sandbox.id));
      cursor = json.cursor;
      if (seen.length === 2) await api.delete('/v1/sandbox/listb'); /* the last one of the page: the next must not shift */
      if (!cursor) break;
    }
    assert.deepEqual(seen, ['lista', 'listb', 'listc', 'listd', 'liste']);
    for (const bad of ['limit=0', 'limit=1001', 'limit=x', 'cursor=zzz', 'cursor=s1.-5', 'label=a%20b=c', 'label=%zz'])
      assert.equal((await api.get(`/v1/sandboxes?${bad}`)).status, 400, bad);
  });

  test('a deleted id is free: the next use of it is a new sandbox', async () => {
    await api.put('/v1/sandbox/reused/', '');
    await api.exec('reused', ['touch', '/workspace/mark']);
    assert.equal((await api.delete('/v1/sandbox/reused')).status, 204);
    assert.equal((await api.get('/v1/sandbox/reused')).status, 404);
    assert.equal((await api.exec('reused', ['ls', '/workspace'])).out, '');
  });

  test('deleting ends what is in flight with a typed error', async () => {
    const request = api.open('POST', '/v1/sandbox/doomed/exec');
    request.end(JSON.stringify({ argv: ['sh', '-c', 'echo started; sleep 60'] }));
    const [answer] = await once(request, 'response');
    await once(answer, 'readable'); /* it runs: what has not begun is refused as a whole */
    const running = collect(answer);
    await api.delete('/v1/sandbox/doomed');
    const response = outcome((await running).text);
    assert.equal(answer.statusCode, 200);
    assert.equal(response.out, 'started\n');
    assert.equal(response.terminals, 1);
    assert.equal(response.failure.code, 'exec_transport_error');
    assert.equal(response.failure.reason, 'destroyed');
  });

  test('many first uses at once make one sandbox', async () => {
    const responses = await Promise.all(Array.from({ length: 20 }, () => api.exec('herd', ['sh', '-c', 'echo $$; cat /proc/1/stat'])));
    assert.ok(responses.every((response) => response.code === 0));
    assert.equal((await api.get('/v1/sandbox/herd')).json.generation, 1);
    assert.equal((await api.get('/v1/sandbox/herd/events')).json.events.length, 1);
  });

  test('a wrong generation is refused and starts nothing', async () => {
    await api.put('/v1/sandbox/gen', {});
    const with_ = (generation, id = 'gen') => api.exec(id, ['true'], { headers: { 'berm-if-generation': generation } });
    assert.equal((await with_('1')).status, 200);
    const stale = await with_('2');
    assert.equal(stale.status, 410);
    assert.equal(stale.json.code, 'stale_generation');
    assert.equal((await with_('1', 'never')).status, 410);
    assert.equal((await api.get('/v1/sandbox/never')).status, 404);
    assert.equal((await with_('x')).status, 400);
    assert.equal((await with_('0')).status, 400);
    assert.equal((await api.delete('/v1/sandbox/gen', { headers: { 'berm-if-generation': '7' } })).status, 410);
    assert.equal((await api.delete('/v1/sandbox/gen', { headers: { 'berm-if-generation': '1' } })).status, 204);
  });

  test('events tell the life of a sandbox', async () => {
    await api.put('/v1/sandbox/events', {});
    await api.put('/v1/sandbox/events', { labels: { x: 'y' } });
    const { events } = (await api.get('/v1/sandbox/events/events')).json;
    assert.deepEqual(events.map((entry) => entry.event), ['created', 'configured']);
    assert.ok(events.every((entry) => Math.abs(Date.parse(entry.time) - Date.now()) < 60000));
    assert.equal((await api.get('/v1/sandbox/nobody/events')).status, 404);
  });

  test('requests are passed on to the control server, its internal routes are not', async () => {
    const at = (path) => `/v1/sandbox/pass/container${path}`;
    const ping = await api.get(at('/api/ping'));
    assert.equal(ping.status, 200);
    assert.equal(ping.json.success, true);
    assert.equal(ping.headers['access-control-allow-origin'], '*');
    const executed = await api.post(at('/api/execute?x=1'), { command: 'echo hi' });
    assert.equal(executed.json.stdout, 'hi\n'.trim() === executed.json.stdout ? 'hi' : 'hi\n');
    const missing = await api.post(at('/api/read'), { path: '/nope' });
    assert.equal(missing.status, 404);
    assert.equal(missing.json.code, 'FILE_NOT_FOUND');
    for (const path of ['/berm/v1/exec', '//berm/v1/exec', '/./berm/v1/exec', '/x/../berm/v1/exec', '/%62erm/v1/exec', '/%2e/berm/v1/file?path=/etc/passwd', '/berm'])
      assert.equal((await api.post(at(path), { argv: ['true'] })).json.code, 'not_found', path);
    const keyless = await api.get(at('/ws'), { headers: { connection: 'upgrade', upgrade: 'websocket' }, agent: false });
    assert.deepEqual([keyless.status, keyless.text], [503, 'WebSocket upgrade failed']);
    assert.equal((await api.get('/v1/sandbox/pass/container')).status, 404);
  });
});
