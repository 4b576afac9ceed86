/* Two daemons behind one edge: one that stalls is its own visitors' trouble. And what is told of a link that comes and goes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http2 from 'node:http2';
import { after, before, describe } from 'node:test';

import { Api, collect } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from './app.mjs';
import { Edge, newKey } from './edge.mjs';
import { follow } from './events.mjs';

describe('two daemons behind one edge', { skip: whyNoDaemon() }, () => {
  let edge;
  const daemons = {}, apis = {}, tunnels = {};
  const isUp = async (name) => (await apis[name].get('/v1/link')).json.state === 'up';

  before(async () => {
    edge = await new Edge({ keys: { home: newKey(), away: newKey() } }).start();
    for (const name of ['home', 'away']) {
      daemons[name] = await new Daemon({ options: ['--sandbox-image', 'base', ...edge.daemonOptions(name)] }).start();
      apis[name] = new Api(daemons[name]);
      await until('the link is up', () => isUp(name));
      await serve(apis[name], 'app', 8080);
      tunnels[name] = (await apis[name].post('/v1/sandbox/app/tunnel/8080')).json.url;
    }
  });
  after(async () => {
    for (const api of Object.values(apis)) api.close();
    for (const daemon of Object.values(daemons)) await daemon.stop();
    await edge.stop();
  });

  test('one that stalls holds up nobody but who asks for it', async () => {
    const stalled = [];
    daemons.away.child.kill('SIGSTOP');
    try {
      let answered = 0;
      for (let i = 0; i < 100; i++)
        stalled.push(edge.visit(`${tunnels.away}/`).then((answer) => { answered++; return answer; }));
      for (let i = 0; i < 30; i++) assert.equal((await edge.visit(`${tunnels.home}/`)).status, 200);
      assert.equal(answered, 0, 'the other one does stall');
    } finally {
      daemons.away.child.kill('SIGCONT');
    }
    for (const answer of await Promise.all(stalled)) assert.equal(answer.status, 200);
  });

  test('events tell when the link serves and when it is gone', async () => {
    const { told, stop } = await follow(apis.home);
    edge.child.kill('SIGKILL');
    await edge.exited;
    await until('it is told', () => told().some(({ event }) => event === 'link_down'));
    await edge.start();
    await until('it is told', () => told().at(-1).event === 'link_up' || told().at(-1).event === 'link_moved');
    const events = told();
    assert.deepEqual(events.slice(0, 2).map(({ event, sandbox, generation }) => [event, sandbox, generation]),
      [['link_down', undefined, 0], ['link_up', undefined, 0]]);
    assert.ok(events[0].detail.length > 0);
    assert.match(events[1].detail, /^(quic|h2) /);
    assert.ok(events[1].number > events[0].number);
    stop();
  });
});

/* Its successor can have a TCP port while it drains, but no UDP port. */
describe('a link over HTTP/2', { skip: whyNoDaemon() }, () => {
  const H2 = ['--edge-link-transport', 'h2'];
  let edge, daemon, api, preview;

  before(async () => {
    edge = await new Edge({ keys: { home: newKey() }, options: H2 }).start();
    daemon = await new Daemon({ options: ['--sandbox-image', 'base', ...edge.daemonOptions('home', H2)] }).start();
    api = new Api(daemon);
    await until('the link is up', async () => (await api.get('/v1/link')).json.state === 'up');
    await serve(api, 'app', 8080);
    preview = (await api.post('/v1/sandbox/app/ports', { port: 8080, token: 'abc_1' })).json.url;
  });
  after(async () => {
    api.close();
    await daemon.stop();
    await edge.stop();
  });

  test('visitors who go away by the thousand end nobody else\'s link', { timeout: 300000 }, async () => {
    const { told, stop } = await follow(api);
    const requestsOpen = async () => (await edge.ask('/v1/links')).json.links[0]?.requestsOpen;
    await api.exec('app', 'pkill -STOP -f server.py');
    for (let round = 0; round < 15; round++) {
      const visitor = http2.connect(`https://127.0.0.1:${edge.ports.secure}`, { rejectUnauthorized: false }).on('error', () => {});
      for (let i = 0; i < 90; i++) visitor.request({ ':authority': new URL(preview).host, ':path': '/' }).on('error', () => {});
      await until('they wait for an answer', async () => await requestsOpen() >= 90);
      visitor.destroy();
      await until('they are gone', async () => await requestsOpen() < 20);
    }
    await api.exec('app', 'pkill -CONT -f server.py');
    assert.equal((await edge.visit(preview)).status, 200);
    assert.deepEqual(told().filter(({ event }) => event.startsWith('link_')), []);
    stop();
  });

  test('an edge that drains hands it to its successor, which is told as a move', async () => {
    const { told, stop } = await follow(api);
    const next = new Edge({ keys: edge.keys, options: H2 }), watched = edge.open(`${preview}events`);
    Object.assign(next, { ports: edge.ports, certificate: edge.certificate });
    watched.end();
    const [response] = await once(watched, 'response');
    const ended = edge.end();
    await until('it drains', () => edge.log('draining').length > 0);
    try {
      await next.start();
      await until('it is told', () => told().some(({ event }) => event === 'link_moved'));
      assert.equal((await next.visit(`${preview}go`)).status, 200);
      assert.ok((await collect(response)).text.endsWith('data: 2\n\n'), 'what the old one had begun is whole');
      assert.deepEqual(await ended, [0, null]);
      assert.deepEqual(told().map(({ event }) => event), ['link_moved']);
      assert.match(told()[0].detail, /^h2 /);
    } finally {
      stop();
      fs.rmSync(edge.top, { recursive: true });
      edge = next;
    }
  });
});
