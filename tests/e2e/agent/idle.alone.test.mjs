// What a client that says nothing and is told nothing sees with the agent's own times: a comment every fifteen seconds on
// an event stream, and no end of it, of a WebSocket or of a terminal. (That an open answer has no deadline at all, and when
// a WebSocket is pinged, the unit tests server_life and ws show with a clock of their own.)
import assert from 'node:assert/strict';
import { after, before } from 'node:test';

import { test } from '../lib/test.mjs';
import { Channel } from './channel.mjs';
import { Agent, SESSIONLESS, sleep } from './helper.mjs';
import { TerminalClient } from './terminal-client.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

test('by default a silent stream has its comment after fifteen seconds, and nothing that is idle is cut', async () => {
  const channel = await Channel.open(agent);
  const id = channel.start('POST', '/api/execute/stream', { command: 'while [ ! -e /tmp/go ]; do sleep 0.05; done; echo late', sessionId: SESSIONLESS });
  await channel.event(id);
  const terminal = await TerminalClient.ready(agent, { sessionId: 'idle' });
  const stream = await agent.request('POST', '/api/watch', { path: '/workspace' }, { onResponse: true });
  const told = [];
  stream.on('data', (piece) => told.push([Date.now(), piece.toString()]));
  stream.on('close', () => told.push([Date.now(), 'closed']));
  while (told.length < 1) await sleep(20);
  const [[began, first]] = told;
  assert.match(first, /"type":"watching"/);
  while (told.length < 2) await sleep(20);
  assert.equal(told[1][1], ': keep-alive\n\n');
  const after = (told[1][0] - began) / 1000;
  assert.ok(after > 13 && after < 100, `${after} s`);

  await agent.run('touch /workspace/new /tmp/go', { session: SESSIONLESS });
  while (!told.some(([, text]) => text.includes('/workspace/new'))) await sleep(20);
  assert.ok(!told.some(([, text]) => text === 'closed'));
  const late = await channel.event(id);
  assert.match(JSON.stringify(late), /late/);
  assert.equal(await terminal.run('echo still $((40 + 2))'), 'still 42');
  stream.destroy();
  channel.close();
  terminal.close();
});
