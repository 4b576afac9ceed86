/* The list by plain requests, as docs/api.md tells them. */
import { connect } from './websocket.mjs';

const described = ({ state, labels, limits }) => ({ state, labels, pids: limits.pids });

export function http(url) {
  const failure = async (response) => {
    const body = await response.json();
    return Object.assign(new Error(body.message ?? body.error), { code: body.code });
  };
  const send = async (method, path, body, headers = {}) => {
    const json = body !== undefined && typeof body === 'object' && !Buffer.isBuffer(body);
    const response = await fetch(url + path, { method, headers, body: json ? JSON.stringify(body) : body });
    if (!response.ok) throw await failure(response);
    return response;
  };
  const call = async (...request) => {
    const text = await (await send(...request)).text();
    return text ? JSON.parse(text) : {};
  };
  const at = (id, rest = '') => `/v1/sandbox/${id}${rest}`;
  const ask = (id, method, route, body) => call(method, at(id, route), body);
  const without = '__DISABLE_SESSION__';

  /* The documents of an event stream; the caller's leaving the loop closes it. */
  async function* events(id, method, route, body) {
    let rest = '';
    for await (const piece of (await send(method, at(id, route), body)).body) {
      rest += Buffer.from(piece).toString('utf8'); /* all that the list sends is ASCII */
      const blocks = rest.split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) if (block.startsWith('data: ')) yield JSON.parse(block.slice(6));
    }
  }

  async function find(stream, wanted) {
    for await (const event of stream) {
      const found = wanted(event);
      if (found) return found;
    }
    throw new Error('the stream ended');
  }

  const ops = {
    async exec(id, { command, session = without, cwd, env, timeoutMs }) {
      const { exitCode, stdout, stderr } = await ask(id, 'POST', '/execute', { command, sessionId: session, cwd, env, timeoutMs });
      return { exitCode, stdout, stderr };
    },
    async execLimited(id, { command, limits }) {
      const { exitCode, stdout, usage } = await ask(id, 'POST', '/execute', { command, limits, sessionId: without });
      return { exitCode, stdout, reason: usage.reason };
    },
    async execOnce(id, { command, key }) {
      const { exitCode, stdout } = await call('POST', at(id, '/execute'), { command, sessionId: without }, { 'idempotency-key': key });
      return { exitCode, stdout };
    },
    async execArgv(id, { argv, stdin }) {
      const document = JSON.stringify({ argv });
      const type = stdin === undefined ? 'application/json' : 'application/x-berm-exec';
      const response = await send('POST', at(id, '/exec'), stdin === undefined ? document : `${document}\n${stdin}`, { 'content-type': type });
      const output = { stdout: '', stderr: '' };
      for (const [, event, data] of (await response.text()).matchAll(/^event: (.*)\ndata: (.*)\n$/gm)) {
        if (event in output) output[event] += Buffer.from(data, 'base64');
        else return { exitCode: JSON.parse(data).exit_code, ...output };
      }
      throw new Error('no end');
    },
    async execStream(id, { command }) {
      let stdout = '';
      return find(events(id, 'POST', '/exec-stream', { command }), (event) => {
        if (event.type === 'stdout') stdout += event.data;
        return event.type === 'complete' && { stdout, exitCode: event.exitCode };
      });
    },
    createSession: async (id, args) => ({ id: (await ask(id, 'POST', '/container/api/session/create', args)).data.id }),
    deleteSession: async (id, args) => (await ask(id, 'DELETE', `/session/${args.id}`), {}),

    startProcess: async (id, { command, id: processId, stdin }) => ({ id: (await ask(id, 'POST', '/processes', { command, processId, stdin })).processId }),
    async getProcess(id, args) {
      try {
        const { status, exitCode } = (await ask(id, 'GET', `/processes/${args.id}`)).process;
        return { status, exitCode };
      } catch (error) {
        if (error.code === 'PROCESS_NOT_FOUND') return null;
        throw error;
      }
    },
    listProcesses: async (id) => (await ask(id, 'GET', '/processes')).processes.map((entry) => entry.id),
    async processLogs(id, args) {
      const { stdout, stderr } = await ask(id, 'GET', `/processes/${args.id}/logs`);
      return { stdout, stderr };
    },
    async waitForLog(id, args) {
      let seen = '';
      return find(events(id, 'GET', `/processes/${args.id}/stream`), (event) => {
        if (event.type === 'stdout') seen += event.data;
        const line = seen.split('\n').find((entry) => entry.includes(args.text));
        return line && { line };
      });
    },
    waitForExit: (id, args) => find(events(id, 'GET', `/processes/${args.id}/stream`), ({ type, exitCode }) => type === 'exit' && { exitCode }),
    waitForPort: (id, { id: processId, port, mode }) => find(events(id, 'POST', `/ports/${port}/wait`, { mode, processId }), ({ type }) => {
      if (type === 'process_exited') throw Object.assign(new Error(type), { code: 'PROCESS_EXITED_BEFORE_READY' });
      return type === 'ready' && {};
    }),
    writeStdin: async (id, { id: process, data, close }) => (await ask(id, 'POST', `/processes/${process}/input`, { data, close }), {}),
    killProcess: async (id, args) => (await ask(id, 'DELETE', `/processes/${args.id}`), {}),
    killAllProcesses: async (id) => ({ count: (await ask(id, 'DELETE', '/processes')).cleanedCount }),

    writeFile: async (id, { path, text, base64 }) => (await call('PUT', at(id, `/file${path}`), base64 === undefined ? text : Buffer.from(base64, 'base64')), {}),
    async readFile(id, { path }) {
      const { content, size } = await ask(id, 'POST', '/files/read', { path, encoding: 'base64' });
      return { base64: content, size };
    },
    mkdir: async (id, args) => (await ask(id, 'POST', '/files/mkdir', args), {}),
    deleteFile: async (id, args) => (await ask(id, 'POST', '/files/delete', args), {}),
    renameFile: async (id, { from, to }) => (await ask(id, 'POST', '/files/rename', { oldPath: from, newPath: to }), {}),
    moveFile: async (id, { from, to }) => (await ask(id, 'POST', '/files/move', { sourcePath: from, destinationPath: to }), {}),
    async statFile(id, args) {
      const { name, type, size } = (await ask(id, 'POST', '/files/stat', args)).file;
      return { name, type, size };
    },
    exists: async (id, args) => ({ exists: (await ask(id, 'POST', '/files/exists', args)).exists }),
    async listFiles(id, { path }) {
      return (await ask(id, 'POST', '/files/list', { path })).files.map(({ name, type }) => ({ name, type })).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async watchOne(id, { path, create }) {
      const stream = events(id, 'POST', '/watch', { path });
      await stream.next(); /* it is in place */
      await ask(id, 'POST', '/execute', { command: `touch ${create}` });
      return find(stream, (event) => event.type === 'event' && { type: event.eventType, path: event.path });
    },
    async checkChanges(id, args) {
      const { status, version } = await ask(id, 'POST', '/watch/check', args);
      return { status, version };
    },
    async gitCheckout(id, { url: repoUrl, target }) {
      const { branch, targetDir } = await ask(id, 'POST', '/git/checkout', { repoUrl, targetDir: target });
      return { branch, target: targetDir };
    },

    async createContext(id, args) {
      const { contextId, language } = await ask(id, 'POST', '/contexts', args);
      return { id: contextId, language };
    },
    async runCode(id, { code, context }) {
      const run = { stdout: '', results: [], error: null };
      for await (const event of events(id, 'POST', '/code', { code, context_id: context })) {
        const { type, metadata, ...forms } = event;
        if (type === 'stdout') run.stdout += event.text;
        else if (type === 'result') run.results.push(forms);
        else if (type === 'error') run.error = event.ename;
      }
      return run;
    },
    listContexts: async (id) => (await ask(id, 'GET', '/contexts')).contexts.map(({ id: context, language }) => ({ id: context, language })),
    deleteContext: async (id, args) => (await ask(id, 'DELETE', `/contexts/${args.id}`), {}),
    terminal: (id, { cols, rows, input }) => connect(`${url.replace('http', 'ws')}${at(id, `/pty?cols=${cols}&rows=${rows}`)}`, input),

    async exposePort(id, args) {
      const { port, name, url: where } = await call('POST', at(id, '/ports'), args);
      return { port, name, url: where };
    },
    listPorts: async (id) => (await call('GET', at(id, '/ports'))).ports.map(({ port, name, url: where }) => ({ port, name, url: where })),
    unexposePort: (id, { port }) => call('DELETE', at(id, `/ports/${port}`)),
    async openTunnel(id, args) {
      const { port, url: where } = await call('POST', at(id, `/tunnel/${args.port}`));
      return { port, url: where };
    },
    listTunnels: async (id) => (await call('GET', at(id, '/tunnels'))).tunnels.map(({ port, url: where }) => ({ port, url: where })),
    closeTunnel: (id, { port }) => call('DELETE', at(id, `/tunnel/${port}`)),

    setEgress: async (id, { policy }) => (await call('PUT', at(id, '/egress'), policy)).policy,
    getEgress: async (id) => (await call('GET', at(id, '/egress'))).policy,
    resetEgress: async (id) => (await call('DELETE', at(id, '/egress'))).policy,
    configure: async (id, settings) => described(await call('PUT', at(id), settings)),
    describe: async (id) => described(await call('GET', at(id))),
    listByLabel: async (_, { label, value }) => (await call('GET', `/v1/sandboxes?${new URLSearchParams({ label: `${label}=${value}` })}`)).sandboxes.map((s) => s.id),
    persist: async (id) => ({ base64: Buffer.from(await (await send('POST', at(id, '/persist'))).arrayBuffer()).toString('base64') }),
    hydrate: async (id, { base64 }) => (await call('POST', at(id, '/hydrate'), Buffer.from(base64, 'base64')), {}),
    isRunning: (id) => call('GET', at(id, '/running')),
    events: async (id) => (await call('GET', at(id, '/events'))).events.map(({ event }) => event),
    destroy: (id) => call('DELETE', at(id)),
  };
  return { name: 'HTTP', ops, absent: {}, close: async () => {} };
}
