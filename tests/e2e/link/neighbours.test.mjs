/* Two daemons behind one edge: one that stalls is its own visitors' trouble. And what is told of a link that comes and goes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';

import { Api } from '../lib/api.mjs';
import { Daemon, until, whyNoDaemon } from '../lib/daemon.mjs';
import { test } from '../lib/test.mjs';
import { serve } from './app.mjs';
import { Edge, newKey } from './edge.mjs';

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
      for (let i = 0; i < 50; i++) {
        const began = performance.now();
        assert.equal((await edge.visit(`${tunnels.home}/`)).status, 200);
        assert.ok(performance.now() - began < 2000, `${performance.now() - began} ms`);
      }
      assert.equal(answered, 0, 'the other one does stall');
    } finally {
      daemons.away.child.kill('SIGCONT');
    }
    for (const answer of await Promise.all(stalled)) assert.equal(answer.status, 200);
  });

  test('events tell when the link serves and when it is gone', async () => {
    const request = apis.home.open('GET', '/v1/events', { agent: false });
    request.end();
    const [stream] = await once(request, 'response');
    let text = '';
    stream.setEncoding('utf8').on('data', (piece) => { text += piece; });
    const told = () => text.split('\n').filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)));
    await until('it follows', () => text.length > 0);
    edge.child.kill('SIGKILL');
    await edge.exited;
    await until('it is told', () => told().some(({ event }) => event === 'link_down'), 15000);
    await edge.start();
    await until('it is told', () => told().at(-1).event === 'link_up' || told().at(-1).event === 'link_moved', 15000);
    const events = told();
    assert.deepEqual(events.slice(0, 2).map(({ event, sandbox, generation }) => [event, sandbox, generation]),
      [['link_down', undefined, 0], ['link_up', undefined, 0]]);
    assert.ok(events[0].detail.length > 0);
    assert.match(events[1].detail, /^(quic|h2) /);
    assert.ok(events[1].number > events[0].number);
    stream.destroy();
  });
});
