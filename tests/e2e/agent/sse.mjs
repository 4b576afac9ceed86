// Reads a stream of server-sent events of the agent ("data: {...}") while it comes.
export class EventReader {
  static async open(agent, path, body, { headers } = {}) {
    const reader = new EventReader();
    reader.cancel = new AbortController();
    reader.response = await agent.post(path, body, { headers, signal: reader.cancel.signal, onResponse: true });
    reader.status = reader.response.statusCode;
    reader.events = [];
    reader.comments = 0;
    reader.ended = false;
    reader.wake = () => {};
    let text = '';
    reader.response.setEncoding('utf8');
    reader.response.on('data', (piece) => {
      text += piece;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) reader.#take(text.slice(0, end));
      reader.wake();
    });
    reader.response.on('error', () => {});
    reader.response.on('close', () => { reader.ended = true; reader.rest = text; reader.wake(); });
    return reader;
  }

  #take(frame) {
    if (frame.startsWith(':')) this.comments++;
    else if (frame.startsWith('data: ') && !frame.includes('\n')) this.events.push(JSON.parse(frame.slice(6)));
    else throw new Error(`bad frame: ${frame}`);
  }

  // Resolves with what `find(events)` returns once that is truthy.
  async until(find, ms = 60000) {
    const deadline = Date.now() + ms;
    for (;;) {
      const found = find(this.events);
      if (found) return found;
      if (this.ended || Date.now() > deadline)
        throw new Error(`${this.ended ? 'the stream ended' : 'timed out'} waiting for ${find}, with ${JSON.stringify(this.events.slice(-50))}`);
      await new Promise((done) => {
        const timer = setTimeout(done, Math.max(1, deadline - Date.now()));
        this.wake = () => { clearTimeout(timer); done(); };
      });
    }
  }

  event(match, ms) {
    return this.until((events) => events.find((e) => Object.entries(match).every(([k, v]) => e[k] === v)), ms);
  }

  async end(ms) {
    await this.until(() => this.ended, ms);
    return this.events;
  }

  close() { this.cancel.abort(); }
}
