// One WebSocket of the routes, with its messages sorted by the requests they belong to.
import { once } from 'node:events';
import { WebSocket } from 'ws';

export class Channel {
  unclaimed = []; // messages that nobody has asked for yet
  #waiting = []; // { matches, done }
  #next = 0;

  static async open(agent, path = '/ws', { headers } = {}) {
    const channel = new Channel();
    channel.socket = new WebSocket(`ws://127.0.0.1:${agent.port}${path}`, { headers, perMessageDeflate: false, maxPayload: 1 << 30 });
    channel.socket.on('message', (data, binary) => {
      if (binary) throw new Error('a binary message');
      channel.#take(JSON.parse(data.toString()));
    });
    channel.socket.on('error', () => {});
    await once(channel.socket, 'open');
    return channel;
  }

  #take(message) {
    const at = this.#waiting.findIndex(({ matches }) => matches(message));
    if (at < 0) this.unclaimed.push(message);
    else this.#waiting.splice(at, 1)[0].done(message);
  }

  // The next message that matches.
  expect(matches) {
    const at = this.unclaimed.findIndex(matches);
    if (at >= 0) return Promise.resolve(this.unclaimed.splice(at, 1)[0]);
    return new Promise((done) => this.#waiting.push({ matches, done }));
  }

  next() { return this.expect(() => true); }
  // The message that ends a request.
  answer(id) { return this.expect((m) => m.id === id && m.type !== 'stream'); }
  // The next message of a stream, or its end.
  event(id) { return this.expect((m) => m.id === id); }

  send(message) { this.socket.send(JSON.stringify(message)); }

  start(method, path, body, { id = `r${this.#next++}`, headers } = {}) {
    this.send({ type: 'request', id, method, path, body, headers });
    return id;
  }

  request(method, path, body, options) { return this.answer(this.start(method, path, body, options)); }

  close() { this.socket.terminate(); }
}
