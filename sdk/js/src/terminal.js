/* A terminal of a sandbox: keys in, bytes of the screen out. */

export class Terminal {
  #socket;
  #pieces = [];
  #wake = () => {};
  #over = false;

  /* Takes over an open WebSocket; resolves when the terminal is ready. What was on the screen comes first. */
  static open(socket) {
    return new Promise((resolve, reject) => {
      const terminal = new Terminal(socket, (error) => (error ? reject(error) : resolve(terminal)));
    });
  }

  constructor(socket, settled) {
    this.#socket = socket;
    /* {code, signal?} of the shell, or undefined when the connection ended before it. */
    this.exited = new Promise((resolve) => {
      socket.addEventListener('message', ({ data }) => {
        if (typeof data !== 'string') this.#show(new Uint8Array(data));
        else this.#control(data, settled, resolve);
      });
      socket.addEventListener('close', ({ reason }) => {
        this.#over = true;
        this.#wake();
        settled(new Error(`the terminal was closed${reason ? `: ${reason}` : ''}`));
        resolve(undefined);
      });
    });
  }

  #show(bytes) {
    this.#pieces.push(bytes);
    this.#wake();
  }

  /* What the sandbox says may be no JSON, or no message that is known: it is passed over. */
  #control(text, settled, exited) {
    let message;
    try {
      message = JSON.parse(text) ?? {};
    } catch {
      return;
    }
    if (message.type === 'ready') settled();
    else if (message.type === 'error') settled(new Error(message.message));
    else if (message.type === 'exit') exited({ code: message.code, ...(message.signal ? { signal: message.signal } : {}) });
  }

  /* Text or bytes, as if typed. */
  write(data) {
    this.#socket.send(typeof data === 'string' ? new TextEncoder().encode(data) : data);
  }

  resize(cols, rows) {
    this.#socket.send(JSON.stringify({ type: 'resize', cols, rows }));
  }

  /* Ends the connection; the terminal of a session goes on. */
  close() {
    this.#socket.close();
  }

  /* The output, as Uint8Array pieces, until the connection ends. */
  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#pieces.length) yield this.#pieces.shift();
      if (this.#over) return;
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }
}
