/* The bridge API over plain sockets: paths go out exactly as they are given, bodies come back as bytes. */
import { once } from 'node:events';
import http from 'node:http';

import { checkAnswer } from './openapi.mjs';

export class Api {
  constructor(daemon, key) {
    this.daemon = daemon;
    this.key = key;
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  }

  close() {
    this.agent.destroy();
  }

  /* An open request; the caller writes and ends it. */
  open(method, path, { headers = {}, agent = this.agent } = {}) {
    const request = http.request({ host: '127.0.0.1', port: this.daemon.port, method, path, agent,
      headers: { ...(this.key ? { authorization: `Bearer ${this.key}` } : {}), ...headers } });
    request.on('error', () => {});
    return request;
  }

  /* {status, headers, bytes, text, json}; `body`: string, Buffer, or an object that is sent as JSON. */
  async call(method, path, { body, headers = {}, agent } = {}) {
    const request = this.open(method, path, { headers, agent: agent ?? this.agent });
    const failed = new Promise((_, reject) => request.once('error', reject));
    const object = body !== undefined && typeof body === 'object' && !Buffer.isBuffer(body);
    request.end(object ? JSON.stringify(body) : body);
    const [response] = await Promise.race([once(request, 'response'), failed]);
    const answer = await collect(response);
    if (!headers.host) checkAnswer(method, path, answer); /* else it may be a preview's */
    return answer;
  }

  get(path, options) {
    return this.call('GET', path, options);
  }

  put(path, body, options = {}) {
    return this.call('PUT', path, { body, ...options });
  }

  post(path, body, options = {}) {
    return this.call('POST', path, { body, ...options });
  }

  delete(path, options) {
    return this.call('DELETE', path, options);
  }

  /* Runs a command: {status, code, out, err, events, ...}; `code` is undefined without an exit event. */
  async exec(id, argv, { session, stdin, headers = {}, ...more } = {}) {
    const document = JSON.stringify({ ...(typeof argv === 'string' ? { command: argv } : { argv }), ...more });
    const response = await this.call('POST', `/v1/sandbox/${id}/exec`, {
      body: stdin === undefined ? document : Buffer.concat([Buffer.from(`${document}\n`), Buffer.from(stdin)]),
      headers: { ...(stdin === undefined ? {} : { 'content-type': 'application/x-berm-exec' }),
        ...(session ? { 'session-id': session } : {}), ...headers },
    });
    return { ...response, ...outcome(response.text) };
  }

  async newId() {
    return (await this.post('/v1/sandbox')).json.id;
  }
}

export async function collect(response) {
  const pieces = [];
  for await (const piece of response) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  const text = bytes.toString();
  let json;
  if (text && /json/.test(response.headers['content-type'] ?? '')) json = JSON.parse(text);
  return { status: response.statusCode, headers: response.headers, bytes, text, json };
}

/* Splits an event stream strictly: anything but whole "event/data" pairs and the comments of a silent one is an error. */
export function parseEvents(text) {
  return text.split('\n\n').slice(0, -1).filter((block) => block !== ': keep-alive').map((block) => {
    const match = /^event: ([a-z]+)\ndata: (.*)$/.exec(block);
    if (!match) throw new Error(`not an event: ${JSON.stringify(block)}`);
    return { event: match[1], data: match[2] };
  });
}

export function outcome(text) {
  if (!/^(: keep-alive\n\n)*event: /.test(text)) return {}; /* a command that is silent for long begins with comments */
  const events = parseEvents(text);
  const bytes = (name) => Buffer.concat(events.filter((e) => e.event === name).map((e) => Buffer.from(e.data, 'base64')));
  const last = events.at(-1);
  return {
    events,
    outBytes: bytes('stdout'),
    out: bytes('stdout').toString(),
    err: bytes('stderr').toString(),
    code: last?.event === 'exit' ? JSON.parse(last.data).exit_code : undefined,
    failure: last?.event === 'error' ? JSON.parse(last.data) : undefined,
    terminals: events.filter((e) => e.event === 'exit' || e.event === 'error').length,
  };
}
