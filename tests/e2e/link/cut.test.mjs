/* The cable between a daemon and its edge is cut under load. Each has a network of its own, with nothing but that cable between. */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from './app.mjs';
import { Edge, newKey } from './edge.mjs';
import { Gangway } from './gangway.mjs';
import { Line, whyNoLine } from './line.mjs';

/* Five seconds are promised, to machines that have the time; a visitor waits a part of it. */
const BACK_MS = 60000;
const PATIENCE_MS = process.env.BERM_SANITIZED === '1' ? 10000 : 2000;

describe('a cable between a daemon and its edge that is cut', { skip: whyNoDaemon() ?? whyNoLine() }, () => {
  let line, edge, daemon, api, ways, urls, generation, uptime;

  const enter = (host) => ['nsenter', '--net', '--target', String(line.at[host])];
  const link = async () => (await api.get('/v1/link')).json;
  const sandbox = async () => (await api.get('/v1/sandbox/app')).json;
  /* When pid 1 of the sandbox began. */
  const began = async () => (await api.exec('app', "cut -d' ' -f22 /proc/1/stat")).out.trim();

  /* A visitor who does not wait forever. */
  async function answers(url) {
    const request = edge.open(url);
    const answer = new Promise((resolve) => {
      request.once('response', (response) => response.resume().once('end', () => resolve(response.statusCode === 200)).once('error', () => resolve(false)));
      request.once('error', () => resolve(false)).once('close', () => resolve(false));
    });
    const timer = setTimeout(() => request.destroy(), PATIENCE_MS);
    request.end();
    const good = await answer;
    clearTimeout(timer);
    return good;
  }

  /*
   * Cut until `condition`, with requests to all names all the time; resolves to the ms from the mending until all names
   * have answered.
   */
  async function cutUntil(what, condition) {
    const visitors = [...urls, ...urls].map((url) => ({ url, whole: 0, failed: 0 }));
    const all = (name, than) => visitors.every((visitor, i) => visitor[name] > than[i]);
    const counts = (name) => visitors.map((visitor) => visitor[name]);
    let stop = false;
    const running = visitors.map(async (visitor) => {
      while (!stop) {
        if (await answers(visitor.url)) visitor.whole++;
        else {
          visitor.failed++;
          await delay(20);
        }
      }
    });
    try {
      await until('there is load on all names', () => all('whole', visitors.map(() => 10)), 60000);
      await line.bad('cut');
      const failed = counts('failed');
      await until('nobody waits for an answer from before', () => all('failed', failed), 60000);
      const cut = counts('whole');
      await until(what, condition, 60000);
      assert.deepEqual(counts('whole'), cut, 'nothing gets through what is cut');
      await line.bad('mend');
      const mended = performance.now();
      await until('all names answer', () => all('whole', cut), 120000);
      const took = performance.now() - mended;
      await until('there is load again', () => all('whole', cut.map((n) => n + 10)), 60000);
      return took;
    } finally {
      stop = true;
      await Promise.all(running);
    }
  }

  before(async () => {
    line = await new Line().start();
    line.ip('home', 'link set lo up');
    ways = [new Gangway(enter('home'), `${line.dir}/api`), new Gangway(enter('edge'), `${line.dir}/web`)];
    edge = await new Edge({ keys: { home: newKey() }, enter: enter('edge'), host: '10.77.0.1' }).start();
    daemon = await new Daemon({ options: ['--sandbox-image', 'base', ...edge.daemonOptions('home')], enter: enter('home') }).start();
    daemon.port = await ways[0].open(daemon.port);
    edge.ports.secure = await ways[1].open(edge.ports.secure);
    api = new Api(daemon);
    await until('the link is up', async () => (await link()).state === 'up', 60000);
    await serve(api, 'app', 8080);
    urls = [(await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url,
      `${(await api.post('/v1/sandbox/app/tunnel/8080')).json.url}/`];
    await serve(api, 'app', 8081);
    urls.push(`${(await api.post('/v1/sandbox/app/tunnel/8081', { name: 'web' })).json.url}/`);
    generation = (await sandbox()).generation;
    uptime = await began();
    assert.match(uptime, /^\d+$/);
  });
  after(async () => {
    api?.close();
    await daemon?.stop();
    await edge?.stop();
    for (const way of ways ?? []) await way.close();
    await line?.end();
  });

  async function check(t, what, condition) {
    const took = await cutUntil(what, condition);
    t.diagnostic(`back after ${Math.round(took)} ms`);
    assert.ok(took < BACK_MS, `the names were back ${Math.round(took)} ms after the cable`);
    assert.equal((await sandbox()).generation, generation, 'the sandbox is another one');
    assert.equal(await began(), uptime, 'the sandbox has been started again');
    assert.equal((await link()).state, 'up');
  }

  test('for a moment', { timeout: 240000 }, (t) => check(t, 'nothing', () => true));

  test('until both ends have given the link up: another one has the same names', { timeout: 240000 }, (t) => {
    const lost = [edge, daemon].map((end) => end.log('link.down').length);
    return check(t, 'the link is lost', () => [edge, daemon].every((end, i) => end.log('link.down').length > lost[i]));
  });
});
