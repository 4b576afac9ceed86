/* The list by the command line. */
import { createInterface } from 'node:readline';

import { berm, start } from '../../cli/program.mjs';

const described = ({ state, labels, limits }) => ({ state, labels, pids: limits.pids });

export function cli(url) {
  const call = (args, input) => berm(args, { env: { BERM_URL: url }, input });
  const succeed = async (args, input) => {
    const result = await call(args, input);
    if (result.status !== 0) throw new Error(`berm ${args.join(' ')}: ${result.status} ${result.err}`);
    return result;
  };
  const json = async (args) => JSON.parse((await succeed([...args, '--json'])).out);

  /* Reads lines until one gives a result, and ends the program. `first` is called with the first one. */
  const follow = async (args, wanted, first = () => {}) => {
    const { child, done } = start(args, { env: { BERM_URL: url } });
    try {
      let count = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        if (count++ === 0) await first();
        const found = wanted(line);
        if (found) return found;
      }
      throw new Error(`berm ${args.join(' ')}: ${(await done).err}`);
    } finally {
      child.kill('SIGTERM');
      await done;
    }
  };

  /* Of `exec`, 125 is berm's own failure, told on stderr. */
  const exec = async (args, input) => {
    const result = await call(['exec', ...args], input);
    if (result.status === 125) throw new Error(result.err);
    return { exitCode: result.status, stdout: result.out, stderr: result.err };
  };

  const ops = {
    exec(id, { command, session, cwd, env = {}, timeoutMs }) {
      const options = [
        ...(session ? ['-s', session] : []), ...(cwd ? ['-w', cwd] : []), ...(timeoutMs ? ['--timeout', `${timeoutMs}ms`] : []),
        ...Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
      ];
      return exec([...options, id, '--', ...(session ? ['eval', command] : ['bash', '-c', command])]);
    },
    async execLimited(id, { command, limits }) {
      const flags = { cpuMs: '--cpu-time', wallMs: '--wall-time', memory: '--memory', outputBytes: '--output-bytes', pids: '--pids' };
      const options = Object.entries(limits).flatMap(([name, value]) => [flags[name] ?? `--${name}`, name.endsWith('Ms') ? `${value}ms` : String(value)]);
      const { exitCode, stdout, stderr } = await exec([...options, '--usage', '--json', id, '--', 'bash', '-c', command]);
      return { exitCode, stdout, reason: JSON.parse(stderr.trim().split('\n').at(-1)).reason };
    },
    execArgv: (id, { argv, stdin }) => exec([...(stdin === undefined ? [] : ['-i']), id, '--', ...argv], stdin),
    async execStream(id, { command }) {
      const { stdout, exitCode } = await exec([id, '--', 'bash', '-c', command]);
      return { stdout, exitCode };
    },
    async writeFile(id, { path, text, base64 }) {
      await succeed(['cp', '-q', '-', `${id}:${path}`], text ?? Buffer.from(base64, 'base64'));
      return {};
    },
    async readFile(id, { path }) {
      const { stdout } = await succeed(['cp', '-q', `${id}:${path}`, '-']);
      return { base64: stdout.toString('base64'), size: stdout.length };
    },
    createSession: async (id, { id: name, cwd, env = {} }) => {
      const options = [...(cwd ? ['-w', cwd] : []), ...Object.entries(env).flatMap(([key, value]) => ['-e', `${key}=${value}`])];
      return { id: (await succeed(['session', 'create', ...options, id, name])).out.trim() };
    },
    deleteSession: async (id, args) => (await succeed(['session', 'rm', id, args.id]), {}),
    startProcess: async (id, { command, id: name }) => ({ id: (await succeed(['process', 'start', '--id', name, id, command])).out.trim() }),
    listProcesses: async (id) => (await succeed(['ps', '-q', id])).out.split('\n').filter(Boolean),
    async processLogs(id, args) {
      const { stdout, stderr } = await json(['process', 'logs', id, args.id]);
      return { stdout, stderr };
    },
    waitForLog: (id, args) => follow(['process', 'logs', '-f', id, args.id], (line) => line.includes(args.text) && { line }),
    waitForExit: async (id, args) => ({ exitCode: (await call(['process', 'logs', '-f', id, args.id])).status }),
    waitForPort: async (id, args) => (await succeed(['port', 'wait', ...(args.mode === 'http' ? ['--path', '/'] : []), '--process', args.id, id, String(args.port)]), {}),
    killProcess: async (id, args) => (await succeed(['process', 'kill', id, args.id]), {}),
    async getProcess(id, args) {
      const found = (await json(['ps', id])).processes.find((entry) => entry.id === args.id);
      return found ? { status: found.status, exitCode: found.exitCode } : null;
    },
    killAllProcesses: async (id) => ({ count: Number((await json(['process', 'kill', '--all', id])).killed) }),
    mkdir: async (id, { path, recursive }) => (await succeed(['file', 'mkdir', ...(recursive ? ['-p'] : []), id, path]), {}),
    deleteFile: async (id, { path }) => (await succeed(['file', 'rm', id, path]), {}),
    renameFile: async (id, { from, to }) => (await succeed(['file', 'mv', id, from, to]), {}),
    moveFile: async (id, { from, to }) => (await succeed(['file', 'mv', id, from, to]), {}),
    async statFile(id, { path }) {
      const { name, type, size } = (await json(['file', 'stat', id, path])).file;
      return { name, type, size };
    },
    async listFiles(id, { path }) {
      return (await json(['file', 'ls', id, path])).files.map(({ name, type }) => ({ name, type })).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
    watchOne: (id, { path, create }) => follow(['watch', id, path], (line) => {
      const event = JSON.parse(line);
      return event.type === 'event' && { type: event.eventType, path: event.path };
    }, () => succeed(['exec', id, '--', 'touch', create])),
    async gitCheckout(id, { url: repository, target }) {
      const { directory } = await json(['git', 'clone', id, repository, ...(target ? [target] : [])]);
      return { branch: (await exec([id, '--', 'git', '-C', directory, 'branch', '--show-current'])).stdout.trim(), target: directory };
    },
    async createContext(id, { language }) {
      const created = await json(['context', 'create', '-l', language, id]);
      return (await ops.listContexts(id)).find((context) => context.id === created.id);
    },
    async runCode(id, { code, context }) {
      const run = { stdout: '', results: [], error: null };
      const { out, err } = await call(['code', 'run', '--json', '-c', context, id, code]);
      if (err.startsWith('berm: ')) throw new Error(err);
      for (const line of out.match(/.*\n/g) ?? []) {
        if (!line.startsWith('{"type":')) {
          run.stdout += line;
          continue;
        }
        const { type, metadata, ...forms } = JSON.parse(line);
        if (type === 'result') run.results.push(forms);
        else if (type === 'error') run.error = forms.ename;
      }
      return run;
    },
    listContexts: async (id) => (await json(['context', 'ls', id])).contexts.map(({ id: context, language }) => ({ id: context, language })),
    deleteContext: async (id, args) => (await succeed(['context', 'rm', id, args.id]), {}),
    persist: async (id) => ({ base64: (await succeed(['persist', id])).stdout.toString('base64') }),
    hydrate: async (id, { base64 }) => (await succeed(['hydrate', id], Buffer.from(base64, 'base64')), {}),
    async exposePort(id, { port, name, token }) {
      const exposed = await json(['port', 'expose', ...(name ? ['--name', name] : []), ...(token ? ['--token', token] : []), id, String(port)]);
      return { port: exposed.port, name: exposed.name, url: exposed.url };
    },
    listPorts: async (id) => (await json(['port', 'ls', id])).ports.map(({ port, name, url: at }) => ({ port, name, url: at })),
    unexposePort: async (id, { port }) => (await succeed(['port', 'rm', id, String(port)]), {}),
    async openTunnel(id, args) {
      const { port, url: at } = await json(['tunnel', 'open', id, String(args.port)]);
      return { port, url: at };
    },
    listTunnels: async (id) => (await json(['tunnel', 'ls', id])).tunnels.map(({ port, url: at }) => ({ port, url: at })),
    closeTunnel: async (id, { port }) => (await succeed(['tunnel', 'rm', id, String(port)]), {}),
    setEgress: async (id, { policy }) => (await succeed(['egress', 'set', id, JSON.stringify(policy)]), ops.getEgress(id)),
    getEgress: async (id) => JSON.parse((await succeed(['egress', 'show', id])).out).policy,
    resetEgress: async (id) => (await succeed(['egress', 'reset', id]), ops.getEgress(id)),
    async configure(id, { labels = {}, limits = {} }) {
      const options = Object.entries(labels).flatMap(([name, value]) => ['-l', `${name}=${value}`]);
      if (limits.pids !== undefined) options.push('--pids', String(limits.pids));
      return described(await json(['create', ...options, id]));
    },
    describe: async (id) => described(await json(['inspect', id])),
    listByLabel: async (_, { label, value }) => (await json(['ls', '-l', `${label}=${value}`])).sandboxes.map((sandbox) => sandbox.id),
    isRunning: async (id) => ({ running: (await json(['ls'])).sandboxes.some((sandbox) => sandbox.id === id && sandbox.state === 'running') }),
    events: async (id) => (await json(['logs', id])).events.map(({ event }) => event),
    destroy: async (id) => (await succeed(['rm', id]), {}),
  };
  const absent = {
    execOnce: 'no option', writeStdin: 'no verb', checkChanges: 'no verb', exists: 'berm exec ID -- test -e', terminal: 'shell wants a terminal of its own',
  };
  const differs = { 'a session that exits is told, and begins anew': 'the status of the shell is that of the command' };
  return { name: 'berm', ops, absent, differs, codes: false, close: async () => {} };
}
