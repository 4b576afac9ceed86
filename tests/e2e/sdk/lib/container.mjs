// What a Durable Object has of its container, made of an HTTP address that leads to a control server.
import http from 'node:http';
import { WebSocket } from 'ws';

import { workersSocketOf } from './globals.mjs';

const DISCONNECTED = 'Network connection lost.';

// The address of `port` in the container: { host, port, prefix, headers } from what was given for all ports or for 3000.
function addressOf(target, port) {
  const { origin, prefix = '', headers = {} } = typeof target === 'function' ? target(port) : target;
  const url = new URL(origin);
  return { host: url.hostname, port: Number(url.port), prefix, headers };
}

function upgrade(address, path, headers, signal) {
  return new Promise((done, fail) => {
    const own = ['connection', 'upgrade', 'host', 'sec-websocket-key', 'sec-websocket-version', 'sec-websocket-extensions'];
    const passed = Object.fromEntries([...headers].filter(([name]) => !own.includes(name)));
    const socket = new WebSocket(`ws://${address.host}:${address.port}${address.prefix}${path}`, {
      headers: { ...passed, ...address.headers }, perMessageDeflate: false, maxPayload: 1 << 30,
    });
    const abort = () => socket.terminate();
    signal?.addEventListener('abort', abort);
    const end = workersSocketOf(socket);
    socket.on('open', () => {
      signal?.removeEventListener('abort', abort);
      done(new Response(null, { status: 101, webSocket: end }));
    });
    socket.on('unexpected-response', async (_, response) => {
      const pieces = [];
      for await (const piece of response) pieces.push(piece);
      done(new Response(Buffer.concat(pieces), { status: response.statusCode, headers: headersOf(response) }));
      socket.terminate();
    });
    socket.on('error', (error) => fail(new Error(`${DISCONNECTED} ${error.message}`)));
  });
}

function headersOf(response) {
  const headers = new Headers();
  for (let i = 0; i < response.rawHeaders.length; i += 2) headers.append(response.rawHeaders[i], response.rawHeaders[i + 1]);
  return headers;
}

/*
 * @cloudflare/containers pipes each body on and drops the promise of that, which is rejected when a client cancels; the
 * Workers runtime does not mind, Node ends with it.
 */
function bodyOf(response) {
  let over = false;
  const body = new ReadableStream({
    start(controller) {
      const end = (how) => { if (!over) { over = true; how(); } };
      response.on('data', (bytes) => {
        if (over) return;
        controller.enqueue(new Uint8Array(bytes));
        if (controller.desiredSize <= 0) response.pause();
      });
      response.on('end', () => end(() => controller.close()));
      response.on('error', (error) => end(() => controller.error(new Error(`${DISCONNECTED} ${error.message}`))));
    },
    pull() { response.resume(); },
    cancel() {
      over = true;
      response.destroy();
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: 64 * 1024 }));
  body.pipeTo = (...to) => ReadableStream.prototype.pipeTo.apply(body, to).catch(() => {});
  return body;
}

const EMPTY = [101, 204, 205, 304];

function exchange(address, agent, request, path, body) {
  return new Promise((done, fail) => {
    const out = http.request({
      host: address.host, port: address.port, agent, method: request.method, path: address.prefix + path,
      headers: { ...Object.fromEntries(request.headers), ...address.headers }, signal: request.signal ?? undefined,
    }, (response) => {
      const stream = EMPTY.includes(response.statusCode) ? null : bodyOf(response);
      done(new Response(stream, { status: response.statusCode, statusText: response.statusMessage, headers: headersOf(response) }));
    });
    out.on('error', (error) => fail(error.name === 'AbortError' ? error : new Error(`${DISCONNECTED} ${error.message}`)));
    out.end(body);
  });
}

/*
 * `target`: { origin: 'http://127.0.0.1:PORT', prefix: '/what/is/before/the/path', headers }, or a function that makes
 * one of a port's number.
 */
export class Container {
  running = false;
  #target;
  #agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
  #exit;

  constructor(target) {
    this.#target = target;
  }

  start() {
    this.running = true;
  }

  monitor() {
    return new Promise((done) => { this.#exit = done; });
  }

  getTcpPort(port) {
    return {
      fetch: async (input, init) => {
        const request = input instanceof Request ? input : new Request(input, init);
        const url = new URL(request.url);
        const address = addressOf(this.#target, port);
        if (request.headers.get('upgrade')?.toLowerCase() === 'websocket')
          return upgrade(address, url.pathname + url.search, request.headers, request.signal);
        const body = request.body ? Buffer.from(await request.arrayBuffer()) : undefined;
        return exchange(address, this.#agent, request, url.pathname + url.search, body);
      },
    };
  }

  signal() {
    this.running = false;
    this.#exit?.();
  }

  async destroy() {
    this.signal();
    this.#agent.destroy();
  }

  async interceptOutboundHttp() {}
  async interceptAllOutboundHttp() {}
}
