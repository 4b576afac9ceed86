// One connection to a terminal (/ws/pty), as a test sees it.
import { once } from 'node:events';
import { WebSocket } from 'ws';

export class TerminalClient {
  frames = []; // in order: { bytes } or { message }
  output = Buffer.alloc(0); // all binary frames together
  messages = []; // all text frames
  closed; // { code, reason }
  #wake = new Set();

  // `agent`: whatever has a port.
  static async open(agent, query, { path = '/ws/pty', keep = true, headers } = {}) {
    const client = new TerminalClient();
    client.keep = keep;
    client.received = 0;
    client.socket = new WebSocket(`ws://127.0.0.1:${agent.port}${path}?${new URLSearchParams(query)}`,
      { headers, perMessageDeflate: false, maxPayload: 1 << 30 });
    client.socket.on('message', (data, binary) => client.#take(data, binary));
    client.socket.on('close', (code, reason) => {
      client.closed = { code, reason: reason.toString() };
      client.#changed();
    });
    client.socket.on('error', () => {});
    await once(client.socket, 'open');
    return client;
  }

  // Open and ready.
  static async ready(agent, query, options) {
    const client = await TerminalClient.open(agent, query, options);
    await client.message('ready');
    return client;
  }

  #take(data, binary) {
    if (binary) {
      this.received += data.length;
      this.onBytes?.(data);
      if (this.keep) {
        this.frames.push({ bytes: data });
        this.output = Buffer.concat([this.output, data]);
      }
    } else {
      const message = JSON.parse(data.toString());
      this.frames.push({ message });
      this.messages.push(message);
    }
    this.#changed();
  }

  #changed() {
    for (const wake of [...this.#wake]) wake();
  }

  // Until `condition()` gives something.
  until(what, condition, ms = 60000) {
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        this.#wake.delete(look);
        fail(new Error(`not within ${ms} ms: ${what}; output ends ${JSON.stringify(this.text.slice(-500))}, ` +
          `messages ${JSON.stringify(this.messages)}, closed ${JSON.stringify(this.closed)}`));
      }, ms);
      const look = () => {
        const value = condition();
        if (!value) return;
        clearTimeout(timer);
        this.#wake.delete(look);
        done(value);
      };
      this.#wake.add(look);
      look();
    });
  }

  get text() { return this.output.toString('utf8'); }
  message(type) { return this.until(`message ${type}`, () => this.messages.find((m) => m.type === type)); }
  sees(pattern) { return this.until(`output ${pattern}`, () => this.text.match(pattern)); }
  end() { return this.until('the close', () => this.closed); }

  keys(text) { this.socket.send(Buffer.from(text)); }
  control(message) { this.socket.send(typeof message === 'string' ? message : JSON.stringify(message)); }
  resize(cols, rows) { this.control({ type: 'resize', cols, rows }); }

  // Runs a command line and returns what it printed. The marks are not in the echo of the line.
  async run(line) {
    const mark = `m${Math.random().toString(36).slice(2)}`;
    this.keys(`echo ${mark.slice(0, 3)}""${mark.slice(3)}b; ${line}; echo ${mark.slice(0, 3)}""${mark.slice(3)}e\r`);
    const [, output] = await this.sees(new RegExp(`${mark}b\r\n([^]*?)${mark}e\r\n`));
    return output.replaceAll('\r\n', '\n').trimEnd();
  }

  close() { this.socket.terminate(); }
}
