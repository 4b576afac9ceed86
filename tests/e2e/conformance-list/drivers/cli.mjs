/* The list by the command line. */
import { berm } from '../../cli/program.mjs';

const described = ({ state, labels, limits }) => ({ state, labels, pids: limits.pids });
const byExec = (command) => `berm exec ID -- ${command}`;

export function cli(url) {
  const call = (args, input) => berm(args, { env: { BERM_URL: url }, input });
  const succeed = async (args, input) => {
    const result = await call(args, input);
    if (result.status !== 0) throw new Error(`berm ${args.join(' ')}: ${result.status} ${result.err}`);
    return result;
  };
  const json = async (args) => JSON.parse((await succeed([...args, '--json'])).out);

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
  const noVerb = 'no verb';
  const absent = {
    createSession: 'exec -s makes the session', deleteSession: noVerb,
    startProcess: noVerb, getProcess: noVerb, listProcesses: noVerb, processLogs: noVerb, waitForLog: noVerb, waitForExit: noVerb,
    waitForPort: noVerb, writeStdin: noVerb, killProcess: noVerb, killAllProcesses: noVerb,
    mkdir: byExec('mkdir'), deleteFile: byExec('rm'), renameFile: byExec('mv'), moveFile: byExec('mv'), exists: byExec('test -e'), listFiles: byExec('ls'),
    watchOne: noVerb, checkChanges: noVerb, gitCheckout: byExec('git clone'),
    createContext: noVerb, runCode: noVerb, listContexts: noVerb, deleteContext: noVerb,
    terminal: noVerb, persist: 'cp -r', hydrate: 'cp -r',
  };
  const differs = { 'a session that exits is told, and begins anew': 'the status of the shell is that of the command' };
  return { name: 'berm', ops, absent, differs, codes: false, close: async () => {} };
}
