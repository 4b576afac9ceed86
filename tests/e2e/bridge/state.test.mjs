/* Labels, environment, statistics and the life-cycle events of sandboxes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { checkAnswer } from '../lib/openapi.mjs';
import { test } from '../lib/test.mjs';

describe('labels, environment, statistics, events', { skip: whyNoDaemon() }, () => {
  let daemon;
  let api;
  const path = (id, rest = '') => `/v1/sandbox/${id}${rest}`;

  before(async () => {
    daemon = await new Daemon().start();
    api = new Api(daemon);
  });
  after(async () => {
    api.close();
    await daemon.stop();
  });

  /* A stream of events that collects what comes. */
  async function follow(target, headers = {}) {
    const request = api.open('GET', target, { agent: false, headers: { accept: 'text/event-stream', ...headers } });
    request.end();
    const [response] = await once(request, 'response');
    assert.equal(response.statusCode, 200);
    const stream = { text: '', ended: false, close: () => request.destroy(),
      get events() {
        return [...this.text.matchAll(/^data: (.*)$/gm)].map((m) => JSON.parse(m[1]));
      } };
    response.on('data', (piece) => (stream.text += piece)).on('end', () => (stream.ended = true)).on('error', () => {});
    await until('the stream is open', () => stream.text.startsWith(':\n\n'));
    return stream;
  }
  const names = (events) => events.map((event) => event.event);

  test('labels: PUT replaces, PATCH changes what it names, and both make a sandbox', async () => {
    const made = await api.put(path('labels', '/labels'), { team: 'a', stage: 'test' });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual(made.json.labels, { team: 'a', stage: 'test' });
    const patched = await api.call('PATCH', path('labels', '/labels'), { body: { stage: null, owner: 'me', team: 'b' } });
    assert.equal(patched.status, 200);
    assert.deepEqual(patched.json.labels, { team: 'b', owner: 'me' });
    assert.deepEqual((await api.put(path('labels', '/labels'), {})).json.labels, {});
    assert.deepEqual((await api.call('PATCH', path('fresh', '/labels'), { body: { a: '1', b: null } })).json.labels, { a: '1' });
    for (const body of [{ 'a b': 'x' }, { a: 1 }, { a: 'x'.repeat(257) }]) {
      const wrong = await api.call('PATCH', path('labels', '/labels'), { body });
      assert.deepEqual([wrong.status, wrong.json.context.field], [400, 'labels']);
    }
    assert.equal((await api.put(path('never', '/labels'), '[]')).json.context.field, 'body');
    assert.equal((await api.put(path('never', '/env'), '')).status, 400);
    assert.equal((await api.get(path('never'))).status, 404);
  });

  test('labels stay bounded however often they are patched', async () => {
    const some = (from) => Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`label${from + i}`, 'x']));
    assert.equal((await api.call('PATCH', path('many', '/labels'), { body: some(0) })).status, 201);
    const more = await api.call('PATCH', path('many', '/labels'), { body: some(100) });
    assert.deepEqual([more.status, more.json.context.field], [400, 'labels']);
    assert.equal(Object.keys((await api.get(path('many'))).json.labels).length, 40);
  });

  test('the environment of a running sandbox changes for what starts later, and what is taken away is gone', async () => {
    const env = async () => (await api.exec('env', 'echo ${A-none} ${B-none} ${C-none}')).out;
    await api.put(path('env', '/env'), { A: '1', B: '2' });
    assert.equal(await env(), '1 2 none\n');
    const patched = await api.call('PATCH', path('env', '/env'), { body: { B: null, C: '3' } });
    assert.deepEqual(patched.json.env.sort(), ['A', 'C']);
    assert.equal(await env(), '1 none 3\n');
    assert.equal((await api.put(path('env', '/env'), { C: '4' })).status, 200);
    assert.equal(await env(), 'none none 4\n');
    await api.put(path('env'), { env: {} });
    assert.equal(await env(), 'none none none\n');
    assert.deepEqual((await api.get(path('env'))).json.env, []);
  });

  test('statistics tell what a running sandbox uses, and start none', async () => {
    assert.equal((await api.get(path('nobody', '/stats'))).status, 404);
    await api.exec('stats', 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done');
    const stats = (await api.get(path('stats', '/stats'))).json;
    assert.equal(stats.state, 'running');
    assert.ok(stats.usage.cpuUsec > 1000 && stats.usage.memoryBytes > 0 && stats.usage.pids >= 1, JSON.stringify(stats));
    assert.equal(stats.limits.pids, (await api.get(path('stats'))).json.limits.pids);
    await api.put(path('stats'), { sleepAfter: 1 });
    await until('it sleeps', async () => (await api.get(path('stats'))).json.state === 'sleeping');
    const asleep = (await api.get(path('stats', '/stats'))).json;
    assert.deepEqual([asleep.state, asleep.usage], ['sleeping', null]);
  });

  test('the disk\'s figure is that of now: btrfs counts at its commits, half a minute apart', async () => {
    const used = async () => (await api.get('/v1/sandbox/diskuse/stats')).json.usage.diskBytes;
    assert.equal((await api.put('/v1/sandbox/diskuse', {})).status, 201);
    const before = await used();
    await api.exec('diskuse', ['sh', '-c', 'head -c 20000000 /dev/urandom >/workspace/x']);
    const written = await used() - before;
    assert.ok(written >= 20000000 && written < 21000000, `${written}`);
    await api.delete('/v1/sandbox/diskuse');
  });

  test('events tell the life of a sandbox, with reasons, as a list and as they come', async () => {
    const all = await follow('/v1/events');
    await api.put(path('life'), { sleepAfter: 6 }); /* not before it is followed, nor once more before the list is asked for */
    const one = await follow(path('life', '/events'));
    await until('it sleeps', () => names(one.events).includes('slept'));
    await api.exec('life', ['true']);
    await api.put(path('life', '/labels'), { a: 'b' });
    const listed = await api.get(path('life', '/events'));
    assert.deepEqual(names(listed.json.events), ['created', 'slept', 'started', 'configured']);
    assert.deepEqual(listed.json.events.map((e) => [e.number, e.reason, e.generation]), [[0, null, 1], [1, 'slept', 1], [2, null, 2], [3, null, 2]]);
    await api.delete(path('life'));
    await until('both know of the end', () => one.ended && names(all.events.filter((e) => e.sandbox === 'life')).includes('destroyed'));
    assert.deepEqual(names(one.events), ['slept', 'started', 'configured', 'destroyed']);
    assert.deepEqual([one.events.at(-1).reason, one.events[0].sandbox], ['destroyed', 'life']);
    const { sandbox, ...first } = one.events[0];
    assert.deepEqual(first, listed.json.events[1]);
    assert.deepEqual(names(all.events.filter((e) => e.sandbox === 'life')), ['created', 'slept', 'started', 'configured', 'destroyed']);
    checkAnswer('GET', '/v1/events', { status: 200, headers: { 'content-type': 'text/event-stream' }, text: all.text });
    all.close();
  });

  test('a stream goes on behind the last event that its client has', async () => {
    await api.put(path('again'), {});
    for (const value of ['1', '2']) await api.put(path('again', '/labels'), { value });
    const behind = await follow(path('again', '/events'), { 'last-event-id': '0' });
    await until('what was missed', () => behind.events.length === 2);
    assert.deepEqual(behind.events.map((e) => e.number), [1, 2]);
    assert.ok(behind.text.includes('id: 1\ndata: {'));
    behind.close();
    const bad = await api.get(path('again', '/events'), { headers: { accept: 'text/event-stream', 'last-event-id': 'x' } });
    assert.deepEqual([bad.status, bad.json.context.field], [400, 'Last-Event-ID']);
    assert.equal((await api.get(path('nobody', '/events'), { headers: { accept: 'text/event-stream' } })).status, 404);
  });

  test('a stream keeps nothing awake, ends with the daemon, and the list survives', async () => {
    const all = await follow('/v1/events');
    await api.put(path('idle'), { sleepAfter: 4 }); /* not before it is followed */
    const idle = await follow(path('idle', '/events'));
    await until('it sleeps although it is followed', () => names(idle.events).includes('slept'));
    idle.close();
    await daemon.end();
    await until('the stream has ended', () => all.ended);
    await daemon.start();
    api.close();
    api = new Api(daemon);
    assert.deepEqual(names((await api.get(path('idle', '/events'))).json.events), ['created', 'slept']);
  });
});
