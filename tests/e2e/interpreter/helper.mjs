/* Code contexts of one sandbox of the image base, over the control server that the container route leads to. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { once } from 'node:events';
import { Api } from '../lib/api.mjs';
import { Daemon, imagesDir, whyNoDaemon } from '../lib/daemon.mjs';

/* Why these tests cannot run, or undefined. */
export function whyNotHere() {
  const reason = whyNoDaemon();
  if (reason) return reason;
  return fs.existsSync(path.join(imagesDir, 'names', 'base')) ? undefined : `no image base in ${imagesDir}`;
}

export function parseEvents(text) {
  return text.split('\n\n').filter((block) => block && !block.startsWith(':')).map((block) => {
    assert.match(block, /^data: [^\n]*$/);
    return JSON.parse(block.slice(6));
  });
}

export class World {
  count = 0;

  static async start({ env, image = 'base', options = [] } = {}) {
    const world = new World();
    world.daemon = await new Daemon({ options: ['--sandbox-image', image, ...options] }).start();
    world.api = new Api(world.daemon);
    world.id = await world.sandbox(env);
    return world;
  }

  async sandbox(env) {
    const id = `interpreter${String.fromCharCode(97 + this.count++)}`;
    const reply = await this.api.put(`/v1/sandbox/${id}`, { env });
    assert.equal(reply.status, 201, reply.text);
    return id;
  }

  async stop() {
    this.api.close();
    await this.daemon.stop();
  }

  url(rest, id = this.id) {
    return `/v1/sandbox/${id}/container/${rest}`;
  }

  async context(options = {}, id = this.id) {
    const reply = await this.api.post(this.url('api/contexts', id), options);
    assert.equal(reply.status, 200, reply.text);
    return reply.json.contextId;
  }

  contexts() {
    return this.api.get(this.url('api/contexts'));
  }

  remove(context) {
    return this.api.delete(this.url(`api/contexts/${context}`));
  }

  interrupt(context) {
    return this.api.post(this.url(`api/contexts/${context}/interrupt`), {});
  }

  execute(context, code, more = {}, id = this.id) {
    return this.api.post(this.url('api/execute/code', id), { context_id: context, code, ...more });
  }

  /* {events, out, err, results, error, count} of code that was accepted. */
  async run(context, code, more, id) {
    const reply = await this.execute(context, code, more, id);
    assert.equal(reply.status, 200, reply.text);
    assert.equal(reply.headers['content-type'], 'text/event-stream');
    return told(parseEvents(reply.text));
  }

  /* An open stream of an execution: `next()` is its next event, undefined at the end. */
  async stream(context, code, more = {}) {
    const request = this.api.open('POST', this.url('api/execute/code'), { agent: false });
    request.end(JSON.stringify({ context_id: context, code, ...more }));
    const [response] = await once(request, 'response');
    assert.equal(response.statusCode, 200);
    const events = eventsOf(response);
    return { request, response, next: async () => (await events.next()).value, rest: () => rest(events) };
  }
}

async function* eventsOf(response) {
  let text = '';
  response.on('error', () => {});
  for await (const piece of response) {
    text += piece;
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) yield* parseEvents(text.slice(0, end + 2));
  }
}

async function rest(events) {
  const all = [];
  for await (const event of events) all.push(event);
  return told(all);
}

export function told(events) {
  const texts = (type) => events.filter((event) => event.type === type).map((event) => event.text).join('');
  const last = events.at(-1);
  assert.ok(['execution_complete', 'error'].includes(last?.type), `no end: ${JSON.stringify(last)}`);
  return {
    events, out: texts('stdout'), err: texts('stderr'),
    results: events.filter((event) => event.type === 'result').map(({ type, metadata, ...result }) => result),
    error: last.type === 'error' ? last : undefined,
    count: last.execution_count,
  };
}
