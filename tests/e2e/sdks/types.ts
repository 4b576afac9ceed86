/* Compiled, not run: what is written for the published SDK's types takes ours, and what only Berm has is typed. */
import type * as Published from '@cloudflare/sandbox';
import * as berm from '../../../sdk/js/types/index.js';

declare const sandbox: berm.Sandbox;
declare const stream: ReadableStream<Uint8Array>;

export const asSandbox: Published.ISandbox = sandbox;
export const asSession: Promise<Published.ExecutionSession> = sandbox.createSession({ id: 'a', env: { A: undefined }, commandTimeoutMs: 5 });
export const result: Promise<Published.ExecResult> = sandbox.exec('true', { timeout: 5, stream: true, onOutput: (which: 'stdout' | 'stderr', data: string) => void [which, data] });
export const options: berm.SandboxOptions = {} as Published.SandboxOptions;
export const process: Promise<Published.Process> = sandbox.startProcess('true');
export const tunnel: Promise<berm.TunnelInfo> = sandbox.tunnels.get(8080) satisfies Promise<{ url: string }>;
export const exposed: Promise<{ url: string; port: number }> = sandbox.exposePort(8080, { hostname: 'example.com' });
export const events: AsyncIterable<Published.LogEvent> = berm.parseSSEStream<berm.LogEvent>(stream);
export const file: Promise<{ content: string | Uint8Array; metadata: Published.FileMetadata }> = berm.collectFile(stream);

/* The exported values are there, all but what is a part of a Worker. */
type InWorkersOnly = 'ContainerProxy' | `${string}Client`;
export const missing: Exclude<keyof typeof Published, InWorkersOnly | keyof typeof berm> extends never ? true : Exclude<keyof typeof Published, InWorkersOnly | keyof typeof berm> = true;

async function own() {
  const handle: berm.Sandbox = berm.getSandbox('demo', { url: 'http://127.0.0.1:8787', image: 'base', limits: { pids: 5 }, egress: { mode: 'deny' } });
  const { stdout } = await handle.execArgv(['cat'], { stdin: 'x' });
  const bytes: number = stdout.length;
  for await (const piece of await handle.openTerminal({ cols: 80 })) bytes satisfies number & typeof piece.length;
  try {
    await handle.readFile('/missing');
  } catch (error) {
    if (error instanceof berm.FileNotFoundError) error.path.trim();
  }
  // @ts-expect-error a port is a number
  await handle.exposePort('8080');
  // @ts-expect-error there is no such option
  berm.getSandbox('demo', { sleepafter: 5 });
}
void own;
