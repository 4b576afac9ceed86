/* Running a probe outside: as root on the host, in namespaces that end with it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parse } from './verdict.mjs';

/* mount, pid, network, ipc, uts: what a probe changes there nobody else sees. */
const THROW_AWAY = ['--fork', '--pid', '--mount-proc', '--mount', '--propagation', 'private', '--net', '--ipc', '--uts'];

export async function run(command, args, { cwd, env, input = '', timeoutMs = 600_000 } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const chunks = [];
  const errors = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  child.stderr.on('data', (chunk) => errors.push(chunk));
  child.stdin.on('error', () => {}); /* it may end without reading */
  child.stdin.end(input);
  const [status, signal] = await once(child, 'close');
  return { status: status ?? signal, text: Buffer.concat(chunks).toString(), errors: Buffer.concat(errors).toString() };
}

/*
 * `namespaces`: in throw-away ones (the default); `setup`: a line of sh to run there first, for example to bring
 * the loopback up.
 */
export async function control(probe, args, { namespaces = true, setup = ':', ...options } = {}) {
  const script = ['sh', '-c', `${setup}; exec "$0" "$@"`, probe, ...args];
  const command = namespaces ? ['unshare', ...THROW_AWAY, ...script] : script;
  const { status, text, errors } = await run(command[0], command.slice(1), options);
  return parse(status, text + errors);
}
