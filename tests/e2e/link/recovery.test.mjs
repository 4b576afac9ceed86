/* Kills under load: of the edge, the daemon, berm-link on either side. The same names answer soon, and no sandbox notices. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, describe } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';

import { Api } from '../lib/api.mjs';
import { isAlive } from '../edge/cloudflared.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from './app.mjs';
import { DOMAIN, Edge, kept, newKey } from './edge.mjs';
import { follow } from './events.mjs';

const skip = whyNoDaemon();
const BACK_MS = 60000; /* 5 s are promised, to machines that have the time */

describe('a link that breaks', { skip }, () => {
  let edge, daemon, api, preview, urls, generation;

  const isUp = async () => (await api.get('/v1/link')).json.state === 'up';
  const answers = async (url) => (await edge.visit(url).catch(() => ({}))).status === 200;

  const worker = (of) => kept(of, 'berm-link').worker;

  /*
   * Requests without a pause to a preview, a quick and a named tunnel, while `action` runs and until all are answered
   * again: how long each was not, and how many were whole.
   */
  async function underLoad(action) {
    const names = urls.map((url) => ({ url, whole: 0, last: Date.now(), gap: 0 }));
    let stop = false;
    const client = async (name) => {
      while (!stop) {
        if (await answers(`${name.url}load`)) {
          name.whole++;
          name.gap = Math.max(name.gap, Date.now() - name.last);
          name.last = Date.now();
        } else await delay(20);
      }
    };
    const clients = [...names, ...names, ...names].map(client);
    try {
      await until('there is load', () => names.every(({ whole }) => whole > 20), 60000);
      await action();
      const before = names.map(({ whole }) => whole);
      await until('requests are answered again', () => names.every(({ whole }, i) => whole > before[i] + 10), 60000);
    } finally {
      stop = true;
      await Promise.all(clients);
    }
    for (const { url, gap } of names) assert.ok(gap < BACK_MS, `nothing of ${url} was answered for ${gap} ms`);
    assert.equal((await api.get('/v1/sandbox/app')).json.generation, generation, 'the sandbox is another one');
  }

  before(async () => {
    edge = await new Edge({ keys: { home: newKey(), away: newKey() } }).start();
    daemon = await new Daemon({ options: ['--sandbox-image', 'base', ...edge.daemonOptions('home')] }).start();
    api = new Api(daemon);
    await until('the link is up', isUp);
    await serve(api, 'app', 8080);
    preview = (await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url;
    urls = [preview, `${(await api.post('/v1/sandbox/app/tunnel/8080')).json.url}/`];
    await serve(api, 'app', 8081);
    urls.push(`${(await api.post('/v1/sandbox/app/tunnel/8081', { name: 'web' })).json.url}/`);
    generation = (await api.get('/v1/sandbox/app')).json.generation;
    assert.ok(await answers(preview));
  });
  after(async () => {
    api.close();
    await daemon.stop();
    await edge.stop();
  });

  test('the edge is killed', () => underLoad(async () => {
    assert.deepEqual(await edge.end('SIGKILL'), [null, 'SIGKILL']);
    await edge.start();
  }));

  test('an edge waits for a port that its predecessor has not let go of yet', async () => {
    const holder = net.createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const next = new Edge({ keys: { home: newKey() } });
    next.ports.link = holder.address().port;
    const started = next.start();
    await until('it is asked for', () => next.child.pid > 0);
    await delay(300);
    assert.equal(next.log('link.listening').length, 0);
    holder.close();
    await started;
    await next.stop();
  });

  test('the daemon is killed', () => underLoad(async () => {
    await daemon.end('SIGKILL');
    await daemon.start();
    api.close();
    api = new Api(daemon);
  }));

  test('berm-link is killed at the edge', () => underLoad(() => process.kill(worker(edge.child.pid), 'SIGKILL')));

  test('berm-link is killed at the daemon', () => underLoad(() => process.kill(worker(daemon.pid), 'SIGKILL')));

  test('the network is cut without a word, and comes back', () => underLoad(async () => {
    /* What is stopped answers nothing, as if its cable were pulled. */
    const pid = worker(daemon.pid);
    process.kill(pid, 'SIGSTOP');
    await delay(1500);
    process.kill(pid, 'SIGCONT');
  }));

  test('berm-link and its keeper are killed at the daemon', () => underLoad(async () => {
    const { keeper, worker, spare } = kept(daemon.pid, 'berm-link');
    process.kill(keeper, 'SIGKILL');
    await until('the worker is gone as well', () => !isAlive(worker));
    assert.ok(isAlive(spare));
  }));

  test('an edge that stops lets requests end, and the daemon finds its successor', async () => {
    const request = edge.open(`${preview}events`);
    request.end();
    await new Promise((resolve) => request.once('response', resolve));
    const ended = edge.end('SIGTERM');
    await until('it drains', () => edge.log('draining').length > 0);
    request.destroy();
    assert.deepEqual(await ended, [0, null]);
    await edge.start();
    await until('the preview answers', () => answers(preview));
  });

  test('a second daemon with the key takes over, and gives way again', async () => {
    const second = await new Daemon({ options: edge.daemonOptions('home'), poolSize: 0 }).start();
    try {
      await until('it has taken over', () => edge.log('link.taken_over').length > 0);
    } finally {
      await second.stop();
    }
    await until('the first one serves', () => answers(preview));
  });

  test('a wrong key is refused, told, and not asked for again and again', async () => {
    const stranger = await new Daemon({ options: edge.daemonOptions('away'), poolSize: 0 }).start();
    try {
      const other = new Api(stranger);
      await until('the key is known', async () => (await other.get('/v1/link')).json.state === 'up');
      /* It is up at the daemon while its answer is on the way to the edge. */
      await until('the edge serves it', async () => (await edge.visit(`https://x-away.${DOMAIN}/`)).status === 404);
      const { told, stop } = await follow(other);
      edge.setKeys({ ...edge.keys, away: newKey() });
      edge.child.kill('SIGHUP');
      await until('the link is closed', () => edge.log('link.key_gone').length > 0);
      await until('it is told why', async () => (await other.get('/v1/link')).json.state === 'refused');
      assert.match((await other.get('/v1/link')).json.error, /no such key/);
      await until('it is told', () => told().some(({ event, detail }) => event === 'link_refused' && /no such key/.test(detail)));
      stop();
      other.close();
      assert.ok(await answers(preview), 'the other daemon is not affected');
    } finally {
      await stranger.stop();
    }
  });

  test('before an edge has ever answered nothing is exposed, and that is told', async () => {
    const lonely = await new Daemon({ options: ['--edge-link', '127.0.0.1:1', '--edge-link-key', `${edge.top}/key-of-home`], poolSize: 0 }).start();
    try {
      const other = new Api(lonely);
      await other.put('/v1/sandbox/x', {});
      const ports = await other.post('/v1/sandbox/x/ports', { port: 8080 });
      assert.deepEqual([ports.status, ports.json.code], [503, 'link_down']);
      const tunnel = await other.post('/v1/sandbox/x/tunnel/8080');
      assert.deepEqual([tunnel.status, tunnel.json.code], [502, 'tunnel_error']);
      assert.match(tunnel.json.error, /has not told yet/);
      assert.deepEqual((await other.get('/v1/sandbox/x/tunnels')).json.tunnels, []);
      other.close();
    } finally {
      await lonely.stop();
    }
  });
});
