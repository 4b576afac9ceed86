// What the Workers runtime has and Node has not: sockets in pairs, responses that carry one, and streams of its own.
import { timingSafeEqual } from 'node:crypto';
import { WebSocket } from 'ws';

// One end of a WebSocket as Workers code sees it. Messages wait until accept().
export class WorkersSocket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  readyState = WorkersSocket.OPEN;
  #accepted = false;
  #early = [];
  #link; // { send(data), close(code, reason) }

  link(link) {
    this.#link = link;
  }

  // What has come already is told when whoever accepts has had the time to listen.
  accept() {
    queueMicrotask(() => {
      for (let event; (event = this.#early.shift());) this.dispatchEvent(event);
      this.#accepted = true;
    });
  }

  send(data) {
    if (this.readyState !== WorkersSocket.OPEN) throw new TypeError("Can't call WebSocket send() after close().");
    this.#link.send(data);
  }

  close(code, reason) {
    if (this.readyState >= WorkersSocket.CLOSING) return;
    this.readyState = WorkersSocket.CLOSING;
    this.#link.close(code, reason);
  }

  // From the other end.
  deliver(data) {
    this.#emit(new MessageEvent('message', { data }));
  }

  end(code, reason, wasClean) {
    if (this.readyState === WorkersSocket.CLOSED) return;
    this.readyState = WorkersSocket.CLOSED;
    this.#emit(Object.assign(new Event('close'), { code, reason, wasClean }));
  }

  #emit(event) {
    if (this.#accepted) this.dispatchEvent(event);
    else this.#early.push(event);
  }
}

export class WebSocketPair {
  constructor() {
    const ends = [new WorkersSocket(), new WorkersSocket()];
    for (const i of [0, 1]) {
      const other = ends[1 - i];
      ends[i].link({
        send: (data) => queueMicrotask(() => other.deliver(data)),
        close: (code, reason) => queueMicrotask(() => {
          other.end(code ?? 1005, reason ?? '', true);
          ends[i].end(code ?? 1005, reason ?? '', true);
        }),
      });
      this[i] = ends[i];
    }
  }
}

// The Workers end of a connected WebSocket of the package `ws`.
export function workersSocketOf(socket) {
  const end = new WorkersSocket();
  const exactly = (data) => data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  end.link({ send: (data) => socket.send(data), close: (code, reason) => socket.close(code, reason) });
  socket.on('message', (data, binary) => end.deliver(binary ? exactly(data) : data.toString()));
  socket.on('close', (code, reason) => end.end(code, reason.toString(), code !== 1006));
  socket.on('error', () => end.dispatchEvent(new Event('error')));
  return end;
}

class WorkersResponse extends Response {
  constructor(body, init = {}) {
    const upgraded = init.status === 101; // which Node's own refuses
    super(body, upgraded ? { headers: init.headers } : init);
    if (upgraded) Object.defineProperty(this, 'status', { value: 101 });
    this.webSocket = init.webSocket ?? null;
  }
}

class FixedLengthStream extends TransformStream {
  constructor(length) {
    let left = Number(length);
    super({
      transform(chunk, controller) {
        left -= chunk.byteLength;
        if (left < 0) throw new TypeError('more bytes than the length of the stream');
        controller.enqueue(chunk);
      },
      flush() {
        if (left > 0) throw new TypeError('fewer bytes than the length of the stream');
      },
    });
  }
}

// The SDK leaves timers behind for requests that were answered long ago; they must not hold the test program up.
function timersThatHoldNothing(start) {
  return (...args) => start(...args).unref();
}

export function installGlobals() {
  crypto.subtle.timingSafeEqual = (a, b) => timingSafeEqual(new Uint8Array(a), new Uint8Array(b));
  Object.assign(globalThis, {
    Response: WorkersResponse, WebSocketPair, WebSocket, FixedLengthStream, IdentityTransformStream: TransformStream,
    setTimeout: timersThatHoldNothing(setTimeout), setInterval: timersThatHoldNothing(setInterval),
  });
}
