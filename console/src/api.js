/* The HTTP API: calls, event streams, and the paths of a sandbox. The browser adds the cookie. */

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error ?? body?.message ?? `The server answered ${status}`);
    this.status = status;
    this.code = body?.code;
    this.field = body?.context?.field;
  }
}

/* Called when the session is over. */
let onUnauthorized = () => {};
export const setUnauthorized = (callback) => (onUnauthorized = callback);

async function failure(response) {
  const text = await response.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text.slice(0, 300) || undefined };
  }
  if (response.status === 401) onUnauthorized();
  return new ApiError(response.status, body);
}

/* The response; `body`: an object is sent as JSON, anything else as it is. */
export async function request(method, path, { body, signal, headers = {} } = {}) {
  const json = body !== undefined && Object.getPrototypeOf(body) === Object.prototype;
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      cache: 'no-store',
      headers: { ...(json ? { 'content-type': 'application/json' } : {}), ...headers },
      body: json ? JSON.stringify(body) : body,
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, { error: 'The server cannot be reached', code: 'unreachable' });
  }
  if (!response.ok) throw await failure(response);
  return response;
}

/* Its JSON, or null when the answer is empty. */
export async function call(method, path, options) {
  const text = await (await request(method, path, options)).text();
  return text ? JSON.parse(text) : null;
}

/* The events of a stream: {event, data}, one after the other. */
export async function* events(method, path, options) {
  const response = await request(method, path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        const event = /^event: ?(.*)$/m.exec(block)?.[1] ?? 'message';
        const data = [...block.matchAll(/^data: ?(.*)$/gm)].map((match) => match[1]).join('\n');
        if (data) yield { event, data };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/* --- the routes --- */

export const sandboxPath = (id, rest = '') => `/v1/sandbox/${encodeURIComponent(id)}${rest}`;

export const loginState = () => call('GET', '/v1/login');
export const login = (key) => call('POST', '/v1/login', { body: { key } });
export const logout = () => call('POST', '/v1/logout');

/* All of them, in pages of 1000. */
export async function listSandboxes(signal) {
  const all = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await call('GET', `/v1/sandboxes?limit=1000${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { signal });
    all.push(...page.sandboxes);
    cursor = page.cursor;
  }
  return all;
}

export const listImages = () => call('GET', '/v1/images');
export const newId = async () => (await call('POST', '/v1/sandbox')).id;
export const getSandbox = (id, signal) => call('GET', sandboxPath(id, '?usage=true'), { signal });
export const getStats = (id, signal) => call('GET', sandboxPath(id, '/stats'), { signal });
export const putSandbox = (id, settings = {}) => call('PUT', sandboxPath(id), { body: settings });
export const deleteSandbox = (id) => call('DELETE', sandboxPath(id));
export const listEvents = (id, signal) => call('GET', sandboxPath(id, '/events'), { signal });

export const listFiles = (id, path) =>
  call('POST', sandboxPath(id, '/files/list'), { body: { path, options: { includeHidden: true } } });
export const readFile = (id, path, encoding) => call('POST', sandboxPath(id, '/files/read'), { body: { path, encoding } });
export const writeFile = (id, path, content, encoding = 'utf-8') =>
  call('POST', sandboxPath(id, '/files/write'), { body: { path, content, encoding } });
export const makeDirectory = (id, path) => call('POST', sandboxPath(id, '/files/mkdir'), { body: { path } });
export const deleteFile = (id, path) => call('POST', sandboxPath(id, '/files/delete'), { body: { path } });
/* Only below /workspace: streamed, of any type. */
export const filePath = (id, path) => sandboxPath(id, `/file${path.split('/').map(encodeURIComponent).join('/')}`);
export const uploadFile = (id, path, blob) => call('PUT', filePath(id, path), { body: blob });

export const listProcesses = (id, signal) => call('GET', sandboxPath(id, '/processes'), { signal });
export const startProcess = (id, command) => call('POST', sandboxPath(id, '/processes'), { body: { command } });
export const killProcess = (id, process) => call('DELETE', sandboxPath(id, `/processes/${encodeURIComponent(process)}`));
export const processEvents = (id, process, signal) =>
  events('GET', sandboxPath(id, `/processes/${encodeURIComponent(process)}/stream`), { signal });

export const createContext = (id, language) => call('POST', sandboxPath(id, '/contexts'), { body: { language } });
export const deleteContext = (id, context) => call('DELETE', sandboxPath(id, `/contexts/${encodeURIComponent(context)}`));
export const interruptContext = (id, context) =>
  call('POST', sandboxPath(id, `/contexts/${encodeURIComponent(context)}/interrupt`));
export const runCode = (id, context, code, signal) =>
  events('POST', sandboxPath(id, '/code'), { body: { context_id: context, code }, signal });

export const listPorts = (id, signal) => call('GET', sandboxPath(id, '/ports'), { signal });
export const exposePort = (id, port) => call('POST', sandboxPath(id, '/ports'), { body: { port } });
export const unexposePort = (id, port) => call('DELETE', sandboxPath(id, `/ports/${port}`));
export const listTunnels = (id, signal) => call('GET', sandboxPath(id, '/tunnels'), { signal });
export const openTunnel = (id, port) => call('POST', sandboxPath(id, `/tunnel/${port}`));
export const closeTunnel = (id, port) => call('DELETE', sandboxPath(id, `/tunnel/${port}`));

export const getEgress = (id, signal) => call('GET', sandboxPath(id, '/egress'), { signal });
export const putEgress = (id, policy) => call('PUT', sandboxPath(id, '/egress'), { body: policy });
export const resetEgress = (id) => call('DELETE', sandboxPath(id, '/egress'));

/* Calls `tell` when a sandbox has begun, ended or changed; the browser connects again by itself. Returns what ends it. */
export function followSandboxes(tell) {
  const source = new EventSource('/v1/events');
  source.onmessage = tell;
  return () => source.close();
}

/* Runs a command in a shell of its own: its standard output. */
export async function capture(id, argv, signal) {
  let out = '';
  for await (const { event, data } of events('POST', sandboxPath(id, '/exec'), { body: { argv }, signal })) {
    if (event === 'stdout') out += atob(data);
    else if (event === 'error') throw new ApiError(502, JSON.parse(data));
  }
  return out;
}

export const terminalUrl = (id, cols, rows) =>
  `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}` +
  sandboxPath(id, `/pty?session=console&cols=${cols}&rows=${rows}`);
