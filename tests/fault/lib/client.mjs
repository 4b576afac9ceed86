/* A client of bermd that tells an answer which came whole from a connection that broke. */
import http from 'node:http';

/* The events of a stream: {event, data}; a last one that is cut off is dropped. */
function parseEvents(text) {
  const blocks = text.split('\n\n');
  blocks.pop();
  return blocks.map((block) => {
    const pairs = block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]);
    const { event, data } = Object.fromEntries(pairs);
    return { event, data };
  });
}

export class Client {
  constructor(port, key) {
    this.port = port;
    this.key = key;
  }

  /* Sends the head and `body`; resolves with the response once its head is there. `body` may be an async iterable. */
  async open(method, path, body, headers = {}) {
    const options = { host: '127.0.0.1', port: this.port, method, path, agent: false, headers: { ...headers } };
    if (this.key) options.headers.Authorization = `Bearer ${this.key}`;
    const request = http.request(options);
    const answered = new Promise((resolve, reject) => {
      request.once('response', resolve);
      request.once('error', reject);
      request.once('close', () => reject(new Error('the connection was closed without an answer')));
    });
    answered.catch(() => {});
    request.setTimeout(120_000, () => request.destroy(new Error(`no answer to ${method} ${path} for 120 s`)));
    if (body?.[Symbol.asyncIterator]) {
      for await (const piece of body) if (!request.destroyed) request.write(piece);
      request.end();
    } else {
      request.end(body);
    }
    return answered;
  }

  /* {status, bytes, json}. Rejects when the answer did not come whole. */
  async call(method, path, body, headers) {
    const response = await this.open(method, path, body, headers);
    const chunks = [];
    for await (const chunk of response) chunks.push(chunk);
    if (!response.complete) throw new Error('the answer was cut off');
    const bytes = Buffer.concat(chunks);
    const isJson = response.headers['content-type']?.startsWith('application/json');
    return { status: response.statusCode, bytes, json: isJson ? JSON.parse(bytes) : undefined };
  }

  get = (path) => this.call('GET', path);
  put = (path, value) => this.call('PUT', path, JSON.stringify(value));
  post = (path, value) => this.call('POST', path, value === undefined ? undefined : JSON.stringify(value));
  remove = (id) => this.call('DELETE', `/v1/sandbox/${id}`);
  describe = async (id) => (await this.get(`/v1/sandbox/${id}`)).json;
  write = (id, path, bytes) => this.call('PUT', `/v1/sandbox/${id}/file${path}`, bytes);
  read = async (id, path) => (await this.get(`/v1/sandbox/${id}/file${path}`)).bytes;

  /* "created", "started: generation 2", … */
  async events(id) {
    const { events } = (await this.get(`/v1/sandbox/${id}/events`)).json;
    return events.map(({ event, detail }) => (detail ? `${event}: ${detail}` : event));
  }

  /* All of them, whatever their state. */
  async sandboxes() {
    return (await this.get('/v1/sandboxes?limit=1000')).json.sandboxes;
  }

  /* {code, out, err} of a bash command; `code` is undefined when the stream ended with an error event, then `error` has it. */
  async run(id, command, { session, onOutput, ...more } = {}) {
    const headers = { 'Content-Type': 'application/json', ...(session && { 'Session-Id': session }) };
    const response = await this.open('POST', `/v1/sandbox/${id}/exec`, JSON.stringify({ argv: ['bash', '-c', command], ...more }), headers);
    let text = '';
    for await (const chunk of response) {
      text += chunk;
      onOutput?.();
    }
    if (!response.complete) throw new Error('the stream was cut off');
    if (response.statusCode !== 200) throw Object.assign(new Error(text), { status: response.statusCode });
    const events = parseEvents(text);
    const bytes = (name) => Buffer.concat(events.filter((e) => e.event === name).map((e) => Buffer.from(e.data, 'base64'))).toString();
    const last = JSON.parse(events.at(-1).data);
    return { code: last.exit_code, error: last.code, out: bytes('stdout'), err: bytes('stderr') };
  }
}
