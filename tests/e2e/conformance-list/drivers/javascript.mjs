/* The list by the JavaScript SDK. Commands without a session go without one; all else takes the default. */
import { Berm, getSandbox, parseSSEStream } from '../../../../sdk/js/src/index.js';

const noSession = '__DISABLE_SESSION__';
const text = (bytes) => new TextDecoder().decode(bytes);
const described = ({ state, labels, limits }) => ({ state, labels, pids: limits.pids });

export function javascript(url) {
  const berm = new Berm({ url });
  const handles = new Map();
  const of = (id) => handles.get(id) ?? handles.set(id, getSandbox(berm, id)).get(id);
  const process = async (id, args) => {
    const found = await of(id).getProcess(args.id);
    if (!found) throw Object.assign(new Error('no such process'), { code: 'PROCESS_NOT_FOUND' });
    return found;
  };

  const ops = {
    async exec(id, { command, session = noSession, cwd, env, timeoutMs }) {
      const { exitCode, stdout, stderr } = await of(id).exec(command, { sessionId: session, cwd, env, timeout: timeoutMs });
      return { exitCode, stdout, stderr };
    },
    async execLimited(id, { command, limits }) {
      const { exitCode, stdout, usage } = await of(id).exec(command, { limits });
      return { exitCode, stdout, reason: usage.reason };
    },
    async execOnce(id, { command, key }) {
      const { exitCode, stdout } = await of(id).exec(command, { sessionId: noSession, idempotencyKey: key });
      return { exitCode, stdout };
    },
    async execArgv(id, { argv, stdin }) {
      const { exitCode, stdout, stderr } = await of(id).execArgv(argv, { stdin });
      return { exitCode, stdout: text(stdout), stderr: text(stderr) };
    },
    async execStream(id, { command }) {
      let stdout = '';
      for await (const event of parseSSEStream(await of(id).execStream(command))) {
        if (event.type === 'stdout') stdout += event.data;
        if (event.type === 'complete') return { stdout, exitCode: event.exitCode };
      }
      throw new Error('no end');
    },
    createSession: async (id, args) => ({ id: (await of(id).createSession(args)).id }),
    deleteSession: async (id, args) => (await of(id).deleteSession(args.id), {}),

    startProcess: async (id, { command, id: processId, stdin }) => ({ id: (await of(id).startProcess(command, { processId, stdin })).id }),
    async getProcess(id, args) {
      const found = await of(id).getProcess(args.id);
      return found && { status: found.status, exitCode: found.exitCode };
    },
    listProcesses: async (id) => (await of(id).listProcesses()).map((entry) => entry.id),
    async processLogs(id, args) {
      const { stdout, stderr } = await of(id).getProcessLogs(args.id);
      return { stdout, stderr };
    },
    waitForLog: async (id, args) => ({ line: (await (await process(id, args)).waitForLog(args.text)).line }),
    waitForExit: async (id, args) => (await process(id, args)).waitForExit(),
    waitForPort: async (id, args) => (await (await process(id, args)).waitForPort(args.port, { mode: args.mode })) ?? {},
    writeStdin: async (id, args) => (await of(id).writeProcessStdin(args.id, args.data, { close: args.close })) ?? {},
    killProcess: async (id, args) => (await of(id).killProcess(args.id)) ?? {},
    killAllProcesses: async (id) => ({ count: await of(id).killAllProcesses() }),

    async writeFile(id, { path, text: content, base64 }) {
      await of(id).writeFile(path, content ?? base64, base64 === undefined ? {} : { encoding: 'base64' });
      return {};
    },
    async readFile(id, { path }) {
      const { content, size } = await of(id).readFile(path, { encoding: 'base64' });
      return { base64: content, size };
    },
    mkdir: async (id, { path, recursive }) => (await of(id).mkdir(path, { recursive }), {}),
    deleteFile: async (id, { path }) => (await of(id).deleteFile(path), {}),
    renameFile: async (id, { from, to }) => (await of(id).renameFile(from, to), {}),
    moveFile: async (id, { from, to }) => (await of(id).moveFile(from, to), {}),
    async statFile(id, args) {
      const { name, type, size } = await of(id).statFile(args.path);
      return { name, type, size };
    },
    exists: async (id, { path }) => ({ exists: (await of(id).exists(path)).exists }),
    async listFiles(id, { path }) {
      return (await of(id).listFiles(path)).files.map(({ name, type }) => ({ name, type })).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    async watchOne(id, { path, create }) {
      const stream = await of(id).watch(path);
      await of(id).exec(`touch ${create}`);
      for await (const event of parseSSEStream(stream)) if (event.type === 'event') return { type: event.eventType, path: event.path };
      throw new Error('no event');
    },
    async checkChanges(id, { path, since }) {
      const { status, version } = await of(id).checkChanges(path, { since });
      return { status, version };
    },
    async gitCheckout(id, { url: repository, target }) {
      const { branch, targetDir } = await of(id).gitCheckout(repository, { targetDir: target });
      return { branch, target: targetDir };
    },

    async createContext(id, args) {
      const { id: context, language } = await of(id).createCodeContext(args);
      return { id: context, language };
    },
    async runCode(id, { code, context }) {
      const { logs, results, error } = await of(id).runCode(code, { context: { id: context } });
      return { stdout: logs.stdout.join(''), results, error: error?.name ?? null };
    },
    listContexts: async (id) => (await of(id).listCodeContexts()).map(({ id: context, language }) => ({ id: context, language })),
    deleteContext: async (id, args) => (await of(id).deleteCodeContext(args.id)) ?? {},
    async terminal(id, { cols, rows, input }) {
      const terminal = await of(id).openTerminal({ cols, rows });
      terminal.write(input);
      let output = '';
      for await (const piece of terminal) output += text(piece);
      return { output, exitCode: (await terminal.exited).code };
    },

    async exposePort(id, { port, name, token }) {
      const exposed = await of(id).exposePort(port, { hostname: 'localhost', name, token });
      return { port: exposed.port, name: exposed.name, url: exposed.url };
    },
    listPorts: async (id) => (await of(id).getExposedPorts('localhost')).map(({ port, name, url: at }) => ({ port, name, url: at })),
    unexposePort: async (id, { port }) => (await of(id).unexposePort(port)) ?? {},
    async openTunnel(id, { port }) {
      const tunnel = await of(id).tunnels.get(port);
      return { port: tunnel.port, url: tunnel.url };
    },
    listTunnels: async (id) => (await of(id).tunnels.list()).map(({ port, url: at }) => ({ port, url: at })),
    closeTunnel: async (id, { port }) => (await of(id).tunnels.destroy(port)) ?? {},

    setEgress: async (id, { policy }) => (await of(id).egress.set(policy)).policy,
    getEgress: async (id) => (await of(id).egress.get()).policy,
    resetEgress: async (id) => (await of(id).egress.reset()).policy,
    configure: async (id, settings) => described(await of(id).configure(settings)),
    describe: async (id) => described(await of(id).describe()),
    async listByLabel(_, { label, value }) {
      return (await berm.listSandboxes({ labels: { [label]: value } })).sandboxes.map((sandbox) => sandbox.id);
    },
    async persist(id) {
      const bytes = await new Response(await of(id).persist()).arrayBuffer();
      return { base64: Buffer.from(bytes).toString('base64') };
    },
    hydrate: async (id, { base64 }) => (await of(id).hydrate(Buffer.from(base64, 'base64'))) ?? {},
    isRunning: async (id) => ({ running: await of(id).isRunning() }),
    events: async (id) => (await of(id).events()).map(({ event }) => event),
    destroy: async (id) => (await of(id).destroy()) ?? {},
  };
  return { name: 'JavaScript', ops, absent: {}, close: async () => {} };
}
