/* The connection to a daemon: requests by the name of their route, answers as JSON, text or a stream of bytes. */
import { errorOf, transportError } from './error-codes.js';
import { pathOf, routes } from './routes.js';

const environment = (name) => globalThis.process?.env?.[name];
const inNode = Boolean(globalThis.process?.versions?.node) && globalThis.navigator?.userAgent !== 'Cloudflare-Workers';

function defaultUrl() {
  return environment('BERM_URL') ?? (inNode ? undefined : globalThis.location?.origin) ?? 'http://127.0.0.1:8787';
}

/* What is undefined is left out; so does JSON.stringify, but a query and header fields are no JSON. */
export function defined(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

function searchOf(query = {}) {
  const search = new URLSearchParams(query instanceof URLSearchParams ? query : defined(query)).toString();
  return search && `?${search}`;
}

/* Over HTTP/1.1 a page can send what it has as a whole only. */
const wholeBodies = (fetch) => async (url, init) =>
  fetch(url, { ...init, body: init.body instanceof ReadableStream ? await new Response(init.body).blob() : init.body });

export class Connection {
  #apiKey;
  #send;

  /* `url` and `apiKey`: BERM_URL and BERM_API_KEY otherwise; in a page its own origin. `fetch`: another one. */
  constructor({ url = defaultUrl(), apiKey = environment('BERM_API_KEY'), fetch } = {}) {
    const parsed = new URL(url);
    if (!/^https?:$/.test(parsed.protocol)) throw new TypeError(`the daemon's URL must begin with http:// or https://: ${url}`);
    this.url = parsed.href.replace(/\/+$/, '');
    this.#apiKey = apiKey;
    this.#send = fetch && wholeBodies(fetch);
  }

  /* fetch() of Node ends a request that is silent for five minutes; a command may well be. */
  async #transport() {
    this.#send ??= inNode ? (await import('./node.js')).fetchByHttp : wholeBodies(globalThis.fetch.bind(globalThis));
    return this.#send;
  }

  /*
   * A Response, or the error that it tells. `json`: the body; `body`: the same as bytes, text or stream; `idempotencyKey`: a
   * repeated request with the same key is answered like the first.
   */
  async request(route, values, { json, body, query, headers, signal, idempotencyKey, method = routes[route][0] } = {}) {
    if (signal?.aborted) throw new Error('Operation was aborted');
    const search = searchOf(query);
    const init = {
      method,
      signal,
      body: json === undefined ? body : JSON.stringify(json),
      headers: {
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#apiKey ? { authorization: `Bearer ${this.#apiKey}` } : {}),
        ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
        ...headers,
      },
    };
    const url = this.url + pathOf(route, values) + search;
    const response = await this.#attempt(route, url, init);
    if (response.ok) return response;
    const retryAfter = Number(response.headers.get('retry-after')) || undefined;
    throw errorOf(response.status, await response.text(), route, retryAfter);
  }

  async #attempt(route, url, init) {
    try {
      const send = await this.#transport();
      return await send(url, init);
    } catch (cause) {
      if (init.signal?.aborted) throw new Error('Operation was aborted', { cause });
      throw transportError(cause, route);
    }
  }

  async json(route, values, options) {
    const response = await this.request(route, values, options);
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch {
      throw errorOf(response.status, JSON.stringify({ code: 'INVALID_JSON_RESPONSE', message: `${route}: the answer is no JSON` }), route);
    }
  }

  /* The body as a stream; cancelling it closes the request. */
  async stream(route, values, options) {
    return (await this.request(route, values, options)).body;
  }

  /* A WebSocket URL; the key goes into a field of the upgrade request, where that can be set. */
  socketUrl(route, values, query) {
    return this.url.replace(/^http/, 'ws') + pathOf(route, values) + searchOf(query);
  }

  /* An open WebSocket with `binaryType` "arraybuffer". In Node it is made here; a browser sends its cookies. */
  async socket(url) {
    if (inNode) {
      const { NodeSocket } = await import('./node.js');
      return NodeSocket.connect(url, this.#apiKey ? { authorization: `Bearer ${this.#apiKey}` } : {}, (status, text) => errorOf(status, text, 'terminal'));
    }
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve, { once: true });
      socket.addEventListener('error', () => reject(transportError(new Error('the WebSocket could not be opened'), 'terminal')), { once: true });
    });
    return socket;
  }
}
