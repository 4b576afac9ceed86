// Streams over /ws: reference/container/70, cancel and disconnect semantics.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before } from 'node:test';

import { test } from '../lib/test.mjs';
import { Agent, sanitized } from './helper.mjs';
import { Channel } from './channel.mjs';

let agent;
before(async () => { agent = await Agent.start(); });
after(() => agent.stop());

const channelTest = (name, run) => test(name, async () => {
  const channel = await Channel.open(agent);
  try { await run(channel); } finally { channel.close(); }
});

// All of a stream: the messages up to its last one.
async function all(channel, id) {
  const messages = [];
  do messages.push(await channel.event(id)); while (messages.at(-1).type === 'stream');
  return messages;
}

const parse = (message) => JSON.parse(message.data);
const background = async (command, more = {}) => (await agent.post('/api/process/start', { command, ...more })).json.processId;

channelTest('each event is a message with its data as text, and the last message has no body', async (channel) => {
  const messages = await all(channel, channel.start('POST', '/api/execute/stream', { command: 'printf "a\\nb"; echo c >&2; exit 3', sessionId: '__DISABLE_SESSION__' }));
  const last = messages.pop();
  for (const message of messages) assert.deepEqual(Object.keys(message).sort(), ['data', 'id', 'type']);
  const events = messages.map(parse);
  assert.equal(events[0].type, 'start');
  assert.equal(events.filter((e) => e.type === 'stdout').map((e) => e.data).join(''), 'a\nb');
  assert.equal(events.filter((e) => e.type === 'stderr').map((e) => e.data).join(''), 'c\n');
  assert.deepEqual([events.at(-1).type, events.at(-1).exitCode], ['complete', 3]);
  assert.deepEqual([last.type, last.status, last.done, 'body' in last], ['response', 200, true, false]);
});

channelTest('the events are those of HTTP, one for one', async (channel) => {
  const body = { command: 'echo one; echo two >&2', sessionId: '__DISABLE_SESSION__' };
  const over = (await all(channel, channel.start('POST', '/api/execute/stream', body))).slice(0, -1).map(parse);
  const plain = (await agent.post('/api/execute/stream', body)).text.split('\n\n').filter((block) => block && block !== ': keep-alive').map((e) => JSON.parse(e.slice(6)));
  const strip = ({ timestamp, pid, ...rest }) => JSON.stringify(rest);
  assert.deepEqual(over.map(strip).sort(), plain.map(strip).sort());
});

channelTest('a route that would stream but fails is a plain response', async (channel) => {
  for (const [method, path, body, status] of [['GET', '/api/process/none/stream', undefined, 404],
    ['POST', '/api/watch', { path: '/workspace/none' }, 404], ['POST', '/api/watch', { path: '/etc' }, 403]]) {
    const [message, ...more] = await all(channel, channel.start(method, path, body));
    assert.deepEqual([message.type, message.status, more.length, typeof message.body.code], ['response', status, 0, 'string']);
  }
});

channelTest('a cancel ends the delivery with a last response, and the process runs on', async (channel) => {
  const process = await background('i=0; while sleep 0.02; do echo $((i += 1)); done');
  const stream = channel.start('GET', `/api/process/${process}/stream`);
  while (parse(await channel.event(stream)).type !== 'stdout');
  channel.send({ type: 'cancel', id: stream });
  assert.deepEqual(await channel.answer(stream), { type: 'response', id: stream, status: 200, done: true });
  channel.unclaimed.length = 0;
  assert.equal((await channel.request('GET', `/api/process/${process}`)).body.process.status, 'running');
  assert.equal((await channel.request('POST', '/api/execute', { command: 'sleep 0.1; echo ok' })).body.stdout, 'ok');
  assert.equal(channel.unclaimed.length, 0);
  await agent.request('DELETE', `/api/process/${process}`);
});

channelTest('a cancel right behind its request ends the stream as well', async (channel) => {
  const process = await background('while sleep 0.02; do echo x; done');
  for (let i = 0; i < 20; i++) {
    const stream = channel.start('GET', `/api/process/${process}/stream`);
    channel.send({ type: 'cancel', id: stream });
    const messages = await all(channel, stream);
    assert.deepEqual([messages.at(-1).status, messages.at(-1).done], [200, true]);
  }
  await agent.request('DELETE', `/api/process/${process}`);
});

test('a cancel is for its own connection, and the end of one leaves the streams of others', async () => {
  const [one, two] = await Promise.all([Channel.open(agent), Channel.open(agent)]);
  const process = await background('while sleep 0.02; do echo tick; done');
  for (const channel of [one, two]) channel.start('GET', `/api/process/${process}/stream`, undefined, { id: 'same' });
  await Promise.all([one.event('same'), two.event('same')]);
  two.send({ type: 'cancel', id: 'same' });
  await two.answer('same');
  one.unclaimed.length = 0;
  assert.equal((await one.event('same')).type, 'stream');
  two.close();
  await agent.run('true');
  one.unclaimed.length = 0;
  assert.equal((await one.event('same')).type, 'stream');
  one.close();
  await agent.request('DELETE', `/api/process/${process}`);
});

test('after many connections with streams nothing is left of them', async () => {
  const process = await background('while sleep 0.02; do echo tick; done');
  const count = async () => Number((await agent.run('ls /proc/1/fd | wc -l')).stdout);
  const before = await count();
  for (let i = 0; i < 30; i++) {
    const channel = await Channel.open(agent);
    const streams = [channel.start('GET', `/api/process/${process}/stream`), channel.start('POST', '/api/watch', { path: '/workspace' })];
    await Promise.all(streams.map((id) => channel.event(id)));
    channel.close();
  }
  for (let now = Infinity; now > before + 10;) now = await count();
  assert.equal((await agent.get(`/api/process/${process}`)).json.process.status, 'running');
  await agent.request('DELETE', `/api/process/${process}`);
});

channelTest('a watch tells what happens while other requests are made', async (channel) => {
  const watch = channel.start('POST', '/api/watch', { path: '/workspace' });
  assert.equal(parse(await channel.event(watch)).type, 'watching');
  await channel.request('POST', '/api/write', { path: '/workspace/seen.txt', content: 'x' });
  const event = parse(await channel.event(watch));
  assert.deepEqual([event.eventType, event.path], ['create', '/workspace/seen.txt']);
});

channelTest('a log of a hundred megabytes comes whole, also past a pause, and no memory grows', async (channel) => {
  const lines = sanitized ? 1_200_000 : 12_000_000;
  const process = await background(`seq 1 ${lines}`, { sessionId: '__DISABLE_SESSION__' });
  const stream = channel.start('GET', `/api/process/${process}/stream`);
  let bytes = 0, digest = 0, paused = 0;
  for (;;) {
    const message = await channel.event(stream);
    if (message.type === 'response') break;
    const event = parse(message);
    if (event.type !== 'stdout') continue;
    bytes += event.data.length;
    digest += event.data.charCodeAt(0);
    if (bytes > 5e6 && paused++ === 0) {
      channel.socket.pause();
      for (let i = 0; i < 10; i++) await agent.run('true');
      channel.socket.resume();
    }
  }
  const whole = [...Array(8).keys()].reduce((sum, i) => sum + Math.max(0, Math.min(lines, 10 ** (i + 1) - 1) - 10 ** i + 1) * (i + 2), 0);
  assert.equal(bytes, whole);
});

channelTest('a stream to a client that stops reading is held, not lost, and others go on', async (channel) => {
  const other = await Channel.open(agent);
  const process = await background('seq 1 400000; echo end', { sessionId: '__DISABLE_SESSION__' });
  const stream = channel.start('GET', `/api/process/${process}/stream`);
  await channel.event(stream);
  channel.socket.pause();
  for (let i = 0; i < 20; i++) assert.equal((await other.request('POST', '/api/execute', { command: 'echo x' })).status, 200);
  channel.socket.resume();
  const events = (await all(channel, stream)).slice(0, -1).map(parse);
  const text = events.filter((e) => e.type === 'stdout').map((e) => e.data).join('');
  assert.equal(text, `${[...Array(400000).keys()].map((i) => i + 1).join('\n')}\nend\n`);
  assert.equal(events.at(-1).type, 'exit');
  other.close();
});

test('a client that closes in the middle of everything does no harm', async () => {
  for (let i = 0; i < 10; i++) {
    const channel = await Channel.open(agent);
    channel.start('POST', '/api/execute/stream', { command: 'echo x; sleep 0.01; echo y' });
    channel.start('POST', '/api/execute', { command: 'echo z' });
    channel.start('POST', '/api/port-watch', { port: 1 });
    channel.socket.close(3000, 'done');
    await once(channel.socket, 'close');
  }
  assert.equal((await agent.run('echo alive')).stdout, 'alive');
});
