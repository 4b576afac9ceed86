import { NotSupportedError } from './errors.js';

export * from './errors.js';
export { Berm } from './berm.js';
export { collectFile, streamFile } from './file-stream.js';
export { CodeInterpreter, Execution } from './interpreter.js';
export { isProcess, isProcessStatus, Process } from './process.js';
export { getSandbox, Sandbox, sandboxId } from './sandbox.js';
export { ExecutionSession, isExecResult } from './session.js';
export { asyncIterableToSSEStream, parseSSEStream, responseToAsyncIterable } from './sse.js';
export { Terminal } from './terminal.js';

/* The daemon answers preview URLs itself, so a request for one never comes here. */
export function proxyToSandbox() {
  throw new NotSupportedError('proxyToSandbox', "the daemon serves preview URLs itself; point their domain's wildcard record at it");
}

export function proxyTerminal() {
  throw new NotSupportedError('proxyTerminal', 'it answers the upgrade request of a Worker; use openTerminal() or terminalUrl()');
}

/* There is no Durable Object that could be reset, and no platform below the daemon. */
export const isDurableObjectCodeUpdateReset = () => false;
export const isPlatformTransientError = () => false;
