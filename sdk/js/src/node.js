/*
 * What Node lacks: a fetch without time limits and a WebSocket that can carry a key. Loaded in Node only; bundlers for
 * browsers leave this file out (`browser` in package.json).
 */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { Readable } from 'node:stream';

const agents = { 'http:': new http.Agent({ keepAlive: true }), 'https:': new https.Agent({ keepAlive: true }) };
const modules = { 'http:': http, 'https:': https };
const bodiless = new Set([101, 204, 205, 304]);

/* fetch() by node:http: no redirects, no limits of time, otherwise the same. */
export function fetchByHttp(url, { method, headers, body, signal }) {
  const target = new URL(url);
  return new Promise((resolve, reject) => {
    const request = modules[target.protocol].request(target, { method, headers: lengthOf(body, method, headers), agent: agents[target.protocol], signal });
    request.on('error', reject);
    request.on('response', (message) => {
      const fields = new Headers();
      for (let i = 0; i < message.rawHeaders.length; i += 2) fields.append(message.rawHeaders[i], message.rawHeaders[i + 1]);
      const status = message.statusCode;
      if (bodiless.has(status)) message.resume();
      resolve(new Response(bodiless.has(status) ? null : webStream(message), { status, statusText: message.statusMessage, headers: fields }));
    });
    if (body instanceof ReadableStream) pour(body, request).catch((error) => request.destroy(error));
    else request.end(body);
  });
}

function lengthOf(body, method, headers) {
  if (body instanceof ReadableStream || headers['content-length'] !== undefined) return headers;
  if (body === undefined) return method === 'GET' ? headers : { ...headers, 'content-length': '0' };
  return { ...headers, 'content-length': String(typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength) };
}

async function pour(stream, request) {
  for await (const piece of Readable.fromWeb(stream)) {
    if (request.destroyed) return;
    if (!request.write(piece)) await new Promise((resolve) => request.once('drain', resolve).once('close', resolve));
  }
  request.end();
}

/* The bytes of a message as a web stream that holds one piece at most, and whose cancelling closes the connection. */
function webStream(message) {
  const pieces = message.iterator({ destroyOnReturn: true });
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    },
    cancel() {
      message.destroy();
    },
  }, { highWaterMark: 0 });
}

const magic = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'; /* RFC 6455, 1.3 */
const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };
const longestMessage = 16 * 1024 * 1024;

/* The client's side of a WebSocket: the events and methods of the browser's that a terminal needs. */
export class NodeSocket extends EventTarget {
  #socket;
  #input = Buffer.alloc(0);
  #message = []; /* of one that comes in several frames */
  #held = 0; /* bytes in it */
  #messageKind;
  #closed;

  /* `refusal`(status, text) makes the error of an upgrade that is refused. */
  static connect(url, headers, refusal) {
    const target = new URL(url.replace(/^ws/, 'http'));
    const key = randomBytes(16).toString('base64');
    return new Promise((resolve, reject) => {
      const request = modules[target.protocol].request(target, {
        headers: { ...headers, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key },
      });
      request.on('error', reject);
      request.on('response', async (message) => {
        let text = '';
        for await (const piece of message) text += piece;
        reject(refusal(message.statusCode, text));
      });
      request.on('upgrade', (message, socket, head) => {
        const accept = createHash('sha1').update(key + magic).digest('base64');
        if (message.headers['sec-websocket-accept'] !== accept) {
          socket.destroy();
          reject(refusal(502, ''));
        } else {
          resolve(new NodeSocket(socket, head));
        }
      });
      request.end();
    });
  }

  constructor(socket, head) {
    super();
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#end(1006, ''));
    /* Nothing is delivered before whoever awaits connect() has been able to listen. */
    setImmediate(() => {
      this.#receive(head);
      socket.on('data', (piece) => this.#receive(piece));
    });
  }

  send(data) {
    if (typeof data === 'string') this.#write(opcodes.text, Buffer.from(data));
    else this.#write(opcodes.binary, Buffer.from(data.buffer ?? data, data.byteOffset, data.byteLength));
  }

  close(code = 1000) {
    this.#write(opcodes.close, Buffer.from([code >> 8, code & 255]));
    this.#socket.end();
  }

  #write(opcode, payload) {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    const length = payload.length;
    const head = Buffer.alloc(2 + (length > 65535 ? 8 : length > 125 ? 2 : 0));
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (length > 65535 ? 127 : length > 125 ? 126 : length);
    if (length > 65535) head.writeBigUInt64BE(BigInt(length), 2);
    else if (length > 125) head.writeUInt16BE(length, 2);
    const mask = randomBytes(4);
    const masked = Buffer.from(payload);
    for (let i = 0; i < length; i++) masked[i] ^= mask[i & 3];
    this.#socket.write(Buffer.concat([head, mask, masked]));
  }

  #receive(piece) {
    this.#input = this.#input.length ? Buffer.concat([this.#input, piece]) : piece;
    for (;;) {
      const frame = takeFrame(this.#input);
      if (frame === undefined) return;
      if (frame === null || this.#held + frame.size > longestMessage) {
        this.#socket.destroy();
        return;
      }
      this.#input = this.#input.subarray(frame.size);
      this.#take(frame);
    }
  }

  #take({ opcode, last, payload }) {
    if (opcode === opcodes.ping) this.#write(opcodes.pong, payload);
    else if (opcode === opcodes.close) {
      this.#write(opcodes.close, payload);
      this.#socket.end();
      this.#end(payload.length >= 2 ? payload.readUInt16BE(0) : 1005, payload.subarray(2).toString());
    } else if (opcode <= opcodes.binary) {
      if (opcode) this.#messageKind = opcode;
      this.#message.push(payload);
      this.#held += payload.length;
      if (last) this.#deliver(Buffer.concat(this.#message.splice(0)));
    }
  }

  #deliver(bytes) {
    this.#held = 0;
    const data = this.#messageKind === opcodes.text ? bytes.toString() : bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    this.dispatchEvent(Object.assign(new Event('message'), { data }));
  }

  #end(code, reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason }));
  }
}

/* The first frame of `input`: undefined while it is not there as a whole, null if no server may send it. */
function takeFrame(input) {
  if (input.length < 2) return undefined;
  const short = input[1] & 127;
  const extra = short === 127 ? 8 : short === 126 ? 2 : 0;
  if (input[0] & 0x70 || input[1] & 0x80) return null; /* an extension nobody agreed on, or a mask */
  if (input.length < 2 + extra) return undefined;
  const length = extra === 8 ? Number(input.readBigUInt64BE(2)) : extra === 2 ? input.readUInt16BE(2) : short;
  if (length > longestMessage) return null;
  const size = 2 + extra + length;
  if (input.length < size) return undefined;
  return { opcode: input[0] & 15, last: Boolean(input[0] & 0x80), payload: input.subarray(2 + extra, size), size };
}
