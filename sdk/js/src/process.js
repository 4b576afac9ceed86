/* A process in the background, and waiting for what it does. */
import { errorFrom, errorOfEvent } from './error-codes.js';
import { parseSSEStream } from './sse.js';

export class Process {
  #session;

  constructor(session, { id, pid, command, status, startTime, endTime, exitCode, sessionId, usage }) {
    this.#session = session;
    this.id = id;
    this.pid = pid;
    this.command = command;
    this.status = status;
    this.startTime = new Date(startTime);
    this.endTime = endTime === undefined ? undefined : new Date(endTime);
    this.exitCode = exitCode;
    this.sessionId = sessionId;
    this.usage = usage; /* Berm's own: the receipt of one that was started with `limits` */
  }

  kill(signal) {
    return this.#session.killProcess(this.id, signal);
  }

  async getStatus() {
    return (await this.#session.getProcess(this.id))?.status ?? 'error';
  }

  async getLogs() {
    const { stdout, stderr } = await this.#session.getProcessLogs(this.id);
    return { stdout, stderr };
  }

  /* The line with the text, or the match of the expression; looks at what is there already first. */
  waitForLog(pattern, timeout) {
    const condition = typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern);
    const find = finder(pattern);
    return this.#within(condition, timeout, async (signal) => {
      const seen = { stdout: '', stderr: '' };
      for await (const event of parseSSEStream(await this.#session.streamProcessLogs(this.id, { signal }), signal)) {
        if (event.type === 'exit') throw this.#exited(condition, event.exitCode ?? 1);
        if (event.type === 'error') throw errorOfEvent(event);
        if (!Object.hasOwn(seen, event.type)) continue;
        seen[event.type] += event.data;
        const found = find(seen[event.type]);
        if (found) return found;
      }
      throw this.#exited(condition, 0);
    });
  }

  waitForPort(port, { mode = 'http', path = '/', status = { min: 200, max: 399 }, timeout, interval = 500 } = {}) {
    const condition = mode === 'tcp' ? `port ${port} (TCP)` : `port ${port} (HTTP ${path})`;
    const { min, max } = typeof status === 'number' ? { min: status, max: status } : status;
    const request = { port, mode, path, statusMin: min, statusMax: max, processId: this.id, interval };
    return this.#within(condition, timeout, async (signal) => {
      for await (const event of parseSSEStream(await this.#session.watchPort(request, { signal }), signal)) {
        if (event.type === 'ready') return;
        if (event.type === 'process_exited') throw this.#exited(condition, event.exitCode ?? 1);
        if (event.type === 'error') throw errorOfEvent({ code: 'PROCESS_ERROR', ...event });
      }
      throw new Error('Port watch stream ended unexpectedly');
    });
  }

  waitForExit(timeout) {
    return this.#within('process exit', timeout, async (signal) => {
      for await (const event of parseSSEStream(await this.#session.streamProcessLogs(this.id, { signal }), signal)) {
        if (event.type === 'exit') return { exitCode: event.exitCode ?? 1 };
        if (event.type === 'error') throw errorOfEvent(event);
      }
      throw new Error(`Process ${this.id}: the stream ended unexpectedly without exit event`);
    });
  }

  /* Berm's own: bytes for a process that was started with `stdin: true`, and a signal for its whole tree. */
  writeStdin(data, options) {
    return this.#session.writeProcessStdin(this.id, data, options);
  }

  signal(signal) {
    return this.#session.signalProcess(this.id, signal);
  }

  async #within(condition, timeout, wait) {
    const controller = new AbortController();
    let late = false;
    const timer = timeout === undefined ? undefined : setTimeout(() => {
      late = true;
      controller.abort();
    }, timeout);
    try {
      return await wait(controller.signal);
    } catch (error) {
      if (!late) throw error;
      throw errorFrom({ code: 'PROCESS_READY_TIMEOUT', httpStatus: 408, message: `Process did not become ready within ${timeout}ms. Waiting for: ${condition}`,
        context: { processId: this.id, command: this.command, condition, timeout } });
    } finally {
      clearTimeout(timer);
    }
  }

  #exited(condition, exitCode) {
    return errorFrom({ code: 'PROCESS_EXITED_BEFORE_READY', httpStatus: 500,
      message: `Process exited with code ${exitCode} before becoming ready. Waiting for: ${condition}`,
      context: { processId: this.id, command: this.command, condition, exitCode } });
  }
}

/* Looks for the pattern in a text that grows: the result of waitForLog(), or undefined. */
function finder(pattern) {
  if (typeof pattern === 'string') {
    return (text) => {
      const at = text.indexOf(pattern);
      if (at < 0) return undefined;
      if (pattern.includes('\n')) return { line: pattern };
      const end = text.indexOf('\n', at);
      return { line: text.slice(text.lastIndexOf('\n', at) + 1, end < 0 ? undefined : end) };
    };
  }
  const expression = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
  return (text) => {
    const match = expression.exec(text);
    return match ? { line: match[0], match } : undefined;
  };
}

export function isProcess(value) {
  return typeof value === 'object' && value !== null && typeof value.id === 'string' && typeof value.command === 'string' && isProcessStatus(value.status);
}

export function isProcessStatus(value) {
  return ['starting', 'running', 'completed', 'failed', 'killed', 'error'].includes(value);
}
