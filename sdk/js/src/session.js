/*
 * Everything that can be done in a session, which is what an ExecutionSession is and what a Sandbox does in its default
 * session. Sessions differ in directory and variables of their shell only; files and processes are the sandbox's.
 */
import { errorFrom, errorOfEvent } from './error-codes.js';
import { NotSupportedError, SandboxSecurityError } from './errors.js';
import { bytesOf } from './file-stream.js';
import { defined } from './http.js';
import { Process } from './process.js';
import { parseSSEStream, readEvents } from './sse.js';
import { Terminal } from './terminal.js';

/* The session id by which the control server knows calls that use no session. */
export const noSession = '__DISABLE_SESSION__';

const present = (variables) => variables && Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value !== null));
const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

/* The names go into a command of the shell's. */
export function checkVariables(variables) {
  for (const name of Object.keys(variables))
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new SandboxSecurityError(`Invalid environment variable name: ${JSON.stringify(name)}`);
}

function sessionIdOf(sessionId, standard) {
  if (sessionId === undefined) return standard;
  if (String(sessionId).trim() === '') throw new Error('sessionId must not be empty or whitespace');
  return sessionId;
}

export class ExecutionSession {
  #sandbox;
  #id;

  /* `sandbox`: what has call() and open(), for requests to the sandbox. */
  constructor(sandbox, id) {
    this.#sandbox = sandbox ?? this;
    this.#id = id;
  }

  get id() {
    return this.#id;
  }

  /* A request in the session, or in the one that the caller names. */
  #do(route, json, { sessionId, signal, idempotencyKey } = {}) {
    return this.#sandbox.call(route, {}, { json: { ...json, sessionId: sessionIdOf(sessionId, this.#id) }, signal, idempotencyKey });
  }

  // Commands

  async exec(command, options = {}) {
    const { stream, onOutput, onComplete, onError } = options;
    const started = Date.now();
    try {
      const answer = stream && onOutput ? await this.#execStreaming(command, options) : await this.#execute(command, options);
      const result = { ...answer, command, duration: Date.now() - started, timestamp: answer.timestamp ?? new Date().toISOString() };
      onComplete?.(result);
      return result;
    } catch (error) {
      onError?.(error);
      throw error;
    }
  }

  async #execute(command, { timeout, env, cwd, origin, limits, sessionId = limits && noSession, signal, idempotencyKey }) {
    const json = { command, timeoutMs: timeout, env: present(env), cwd, origin, limits };
    const { success, exitCode, stdout, stderr, timestamp, usage } = await this.#do('exec', json, { sessionId, signal, idempotencyKey });
    return defined({ success, exitCode, stdout, stderr, timestamp, usage, sessionId: this.#shown(sessionId) });
  }

  async #execStreaming(command, options) {
    const output = { stdout: '', stderr: '' };
    for await (const event of parseSSEStream(await this.execStream(command, options), options.signal)) {
      if (Object.hasOwn(output, event.type)) {
        output[event.type] += event.data;
        options.onOutput(event.type, event.data);
      } else if (event.type === 'complete') {
        const exitCode = event.exitCode ?? 1;
        const { timestamp, usage } = event;
        return defined({ success: exitCode === 0, exitCode, ...output, timestamp, usage, sessionId: this.#shown(options.sessionId ?? (options.limits && noSession)) });
      } else if (event.type === 'error') {
        throw errorOfEvent(event);
      }
    }
    throw new Error('Stream ended without completion event');
  }

  /* The id as results show it: the token for "no session" is ours alone. */
  #shown(sessionId) {
    const id = sessionIdOf(sessionId, this.#id);
    return id === noSession ? undefined : id;
  }

  async execStream(command, { timeout, env, cwd, limits, sessionId = limits && noSession, signal } = {}) {
    return this.#sandbox.open('execStream', {}, {
      json: { command, timeoutMs: timeout, env: present(env), cwd, limits, sessionId: sessionIdOf(sessionId, this.#id) }, signal,
    });
  }

  /*
   * Berm's own: a program with its arguments, bytes in and out: {exitCode, stdout, stderr}, the outputs as Uint8Array. `stdin`:
   * text, bytes or a stream. In no session unless `sessionId` names one, which then has no standard input.
   */
  async execArgv(argv, options = {}) {
    const output = { stdout: [], stderr: [] };
    for await (const event of this.#argvEvents(argv, options)) {
      const { type, exitCode, usage } = event;
      if (type === 'exit') return defined({ exitCode, stdout: joined(output.stdout), stderr: joined(output.stderr), usage });
      output[event.type].push(event.bytes);
    }
    throw new Error('Stream ended without completion event');
  }

  async *#argvEvents(argv, { timeout, env, cwd, limits, sessionId, stdin, signal, idempotencyKey }) {
    const document = JSON.stringify({ argv, timeout_ms: timeout, env: present(env), cwd, limits });
    const stream = await this.#sandbox.open('execArgv', {}, {
      body: stdin === undefined ? document : withStdin(document, stdin),
      headers: { 'content-type': stdin === undefined ? 'application/json' : 'application/x-berm-exec', ...(sessionId ? { 'session-id': sessionId } : {}) },
      signal, idempotencyKey,
    });
    for await (const { event, data } of readEvents(stream, signal)) {
      if (event === 'stdout' || event === 'stderr') yield { type: event, bytes: bytesOf(data) };
      else if (event === 'exit') {
        const { exit_code: exitCode, usage } = JSON.parse(data);
        yield { type: 'exit', exitCode, usage };
      } else if (event === 'error') {
        throw errorOfEvent(JSON.parse(data));
      }
    }
  }

  // Processes

  async startProcess(command, options = {}, sessionId = options.sessionId ?? (options.limits && noSession)) {
    const { timeout, env, cwd, encoding, processId, autoCleanup, stdin, logLimit, limits, idempotencyKey, onStart, onOutput, onExit, onError } = options;
    let process;
    try {
      const json = { command, timeoutMs: timeout, env: present(env), cwd, encoding, processId, autoCleanup, stdin, logLimit, limits };
      const started = await this.#do('startProcess', json, { sessionId, idempotencyKey });
      process = new Process(this, { id: started.processId, pid: started.pid, command, status: 'running', startTime: started.timestamp, sessionId: this.#shown(sessionId) });
    } catch (error) {
      onError?.(error);
      throw error;
    }
    onStart?.(process);
    if (onOutput || onExit) this.#follow(process.id, { onOutput, onExit }).catch((error) => onError?.(error));
    return process;
  }

  async #follow(id, { onOutput, onExit }) {
    for await (const event of parseSSEStream(await this.streamProcessLogs(id))) {
      if (event.type === 'stdout' || event.type === 'stderr') onOutput?.(event.type, event.data);
      else if (event.type === 'exit') onExit?.(event.exitCode ?? null);
      else if (event.type === 'error') throw errorOfEvent(event);
    }
  }

  /* A sandbox that has not been used yet is not made to say that nothing runs in it. */
  async #orNothing(route, nothing) {
    try {
      return await this.#sandbox.call(route);
    } catch (error) {
      if (error.code === 'sandbox_not_found') return nothing;
      throw error;
    }
  }

  async listProcesses(sessionId) {
    const { processes } = await this.#orNothing('listProcesses', { processes: [] });
    return processes.map((entry) => new Process(this, { ...entry, sessionId: this.#shown(sessionId) }));
  }

  async getProcess(id, sessionId) {
    try {
      const { process } = await this.#sandbox.call('getProcess', { process: id });
      return new Process(this, { ...process, sessionId: this.#shown(sessionId) });
    } catch (error) {
      if (error.code === 'PROCESS_NOT_FOUND' || error.code === 'sandbox_not_found') return null;
      throw error;
    }
  }

  /* The first signal is SIGTERM unless another is named; SIGKILL follows after five seconds. */
  async killProcess(id, signal) {
    await this.#sandbox.call('killProcess', { process: id }, { query: { signal } });
  }

  async killAllProcesses() {
    return (await this.#orNothing('killAllProcesses', { cleanedCount: 0 })).cleanedCount;
  }

  /* Records go by themselves, the oldest first; like the SDK's, this removes none. */
  async cleanupCompletedProcesses() {
    return 0;
  }

  async getProcessLogs(id) {
    const { stdout, stderr, processId } = await this.#sandbox.call('processLogs', { process: id });
    return { stdout, stderr, processId };
  }

  /* `from` (Berm's own): "<stdout>,<stderr>", offsets of an earlier stream's events, to go on there. */
  streamProcessLogs(id, { signal, from } = {}) {
    return this.#sandbox.open('processStream', { process: id }, { query: { from }, signal });
  }

  async writeProcessStdin(id, data, { close } = {}) {
    const binary = data !== undefined && typeof data !== 'string';
    await this.#sandbox.call('processInput', { process: id }, { json: { data: binary ? base64Of(data) : data, encoding: binary ? 'base64' : undefined, close } });
  }

  async signalProcess(id, signal) {
    return (await this.#sandbox.call('signalProcess', { process: id }, { json: { signal } })).signalled;
  }

  /* The events of a port that is waited for; what Process.waitForPort() is made of. */
  watchPort({ port, ...request }, { signal } = {}) {
    return this.#sandbox.open('waitForPort', { port }, { json: request, signal });
  }

  // Files

  async writeFile(path, content, { encoding, sessionId, idempotencyKey } = {}) {
    if (typeof content === 'string') return this.#do('writeFile', { path, content, encoding }, { sessionId, idempotencyKey });
    const { exitCode, stderr } = await this.execArgv(['sh', '-c', writeScript, 'sh', await this.#absolute(path, sessionId)], { stdin: content, idempotencyKey });
    if (exitCode) throw failedFile('file.write', path, exitCode, stderr);
    return { success: true, path, timestamp: new Date().toISOString() };
  }

  async readFile(path, { encoding, sessionId } = {}) {
    if (encoding !== 'none') return this.#do('readFile', { path, encoding }, { sessionId });
    const { size, mimeType } = await this.#metadata(path, sessionId);
    const output = this.#argvEvents(['cat', '--', await this.#absolute(path, sessionId)], {});
    return { success: true, path, content: outputOf(output, path), size, mimeType, timestamp: new Date().toISOString() };
  }

  /* A path that means the same outside the session: a session that streams would be busy for as long. */
  async #absolute(path, sessionId) {
    if (path.startsWith('/')) return path;
    const session = this.#shown(sessionId);
    return session ? `${(await this.exec('pwd', { sessionId: session, origin: 'internal' })).stdout}/${path}` : `/workspace/${path}`;
  }

  async #metadata(path, sessionId) {
    for await (const event of parseSSEStream(await this.readFileStream(path, { sessionId }))) {
      if (event.type === 'metadata') return event;
      if (event.type !== 'error') continue;
      await this.#do('readFile', { path, encoding: 'base64' }, { sessionId }); /* tells the error with its code */
      throw new Error(`File streaming error: ${event.error}`);
    }
    throw new Error('Stream ended unexpectedly');
  }

  /* Berm's own: a part of a file below /workspace, or all of it, as bytes. */
  async readBytes(path, { offset = 0, length } = {}) {
    const headers = offset || length !== undefined ? { range: `bytes=${offset}-${length === undefined ? '' : offset + length - 1}` } : {};
    const absolute = await this.#absolute(path);
    return joined(await pieces(await this.#sandbox.open('getFile', { path: absolute.slice(1) }, { headers })));
  }

  readFileStream(path, { sessionId } = {}) {
    return this.#sandbox.open('readFileStream', {}, { json: { path, sessionId: sessionIdOf(sessionId, this.#id) } });
  }

  mkdir(path, { recursive, sessionId } = {}) {
    return this.#do('mkdir', { path, recursive }, { sessionId });
  }

  deleteFile(path, sessionId) {
    return this.#do('deleteFile', { path }, { sessionId });
  }

  renameFile(oldPath, newPath, sessionId) {
    return this.#do('renameFile', { oldPath, newPath }, { sessionId });
  }

  moveFile(sourcePath, destinationPath, sessionId) {
    return this.#do('moveFile', { sourcePath, destinationPath }, { sessionId });
  }

  listFiles(path, { recursive, includeHidden, sessionId } = {}) {
    return this.#do('listFiles', { path, options: { recursive, includeHidden } }, { sessionId });
  }

  /* Berm's own: what listFiles() tells of an entry. */
  async statFile(path, sessionId) {
    return (await this.#do('statFile', { path }, { sessionId })).file;
  }

  exists(path, sessionId) {
    return this.#do('exists', { path }, { sessionId });
  }

  /* Resolves when the watch is in place; the stream begins with its first event all the same. */
  async watch(path, { recursive = true, include, exclude, sessionId, signal } = {}) {
    sessionIdOf(sessionId, this.#id);
    const stream = await this.#sandbox.open('watch', {}, { json: { path, recursive, include, exclude }, signal });
    return afterFirstEvent(stream);
  }

  checkChanges(path, { recursive = true, include, exclude, since, sessionId } = {}) {
    sessionIdOf(sessionId, this.#id);
    return this.#sandbox.call('checkChanges', {}, { json: { path, recursive, include, exclude, since } });
  }

  async gitCheckout(repoUrl, { branch, targetDir, depth, cloneTimeoutMs = 600000, sessionId, idempotencyKey } = {}) {
    return this.#do('gitCheckout', { repoUrl, branch, targetDir, depth, timeoutMs: cloneTimeoutMs }, { sessionId, idempotencyKey });
  }

  // The shell's variables, terminals

  /* Sets variables in this session's shell; undefined and null unset. */
  async setEnvVars(variables) {
    checkVariables(variables);
    for (const [name, value] of Object.entries(variables)) {
      const set = value !== undefined && value !== null;
      const { exitCode, stderr } = await this.exec(set ? `export ${name}=${quote(value)}` : `unset ${name}`, { origin: 'internal' });
      if (exitCode) throw new Error(`Failed to ${set ? 'set' : 'unset'} ${name}: ${stderr}`);
    }
  }

  terminal() {
    throw new NotSupportedError('terminal(request)', 'it answers the upgrade request of a Worker; openTerminal() and terminalUrl() are for everywhere else');
  }

  /* Berm's own: the session's terminal, open and ready. */
  async openTerminal({ cols, rows, shell } = {}) {
    return Terminal.open(await this.#sandbox.socket('terminal', {}, { cols, rows, shell, session: this.#shown() }));
  }

  /* The WebSocket of the same, for xterm.js in a page that the daemon knows by its cookie. */
  terminalUrl({ cols, rows, shell } = {}) {
    return this.#sandbox.socketUrl('terminal', {}, { cols, rows, shell, session: this.#shown() });
  }

  // Sandbox-wide, offered in a session too

  createCodeContext(options) {
    return this.#sandbox.interpreter.createCodeContext(options);
  }

  async runCode(code, options) {
    return (await this.#sandbox.interpreter.runCode(code, options)).toJSON();
  }

  runCodeStream(code, options) {
    return this.#sandbox.interpreter.runCodeStream(code, options);
  }

  listCodeContexts() {
    return this.#sandbox.interpreter.listCodeContexts();
  }

  deleteCodeContext(contextId) {
    return this.#sandbox.interpreter.deleteCodeContext(contextId);
  }

  interruptCodeContext(contextId) {
    return this.#sandbox.interpreter.interruptCodeContext(contextId);
  }

  async mountBucket(bucket, mountPath, { localBucket, endpoint, provider, credentials, readOnly, s3fsOptions, prefix, credentialProxy } = {}) {
    if (localBucket) throw new NotSupportedError('mountBucket with localBucket', 'there is no binding to synchronise with outside Workers');
    const options = defined({ endpoint, provider, credentials, readOnly, s3fsOptions, prefix, credentialProxy });
    await this.#sandbox.call('mountBucket', {}, { json: endpoint ? { bucket, mountPath, options } : { binding: bucket, mountPath, options } });
  }

  async unmountBucket(mountPath) {
    await this.#sandbox.call('unmountBucket', {}, { json: { mountPath } });
  }

  async createBackup() {
    throw new NotSupportedError('createBackup', 'the SDK keeps backups in a bucket of the Worker; persist() gives the workspace as an archive');
  }

  async restoreBackup() {
    throw new NotSupportedError('restoreBackup', 'the SDK keeps backups in a bucket of the Worker; hydrate() takes an archive');
  }
}

/* Writes standard input to a file beside the destination and puts it in its place, keeping the mode of what was there. */
const writeScript = `d=$(dirname -- "$1") && mkdir -p -- "$d" && t="$1.$$.part" && trap 'rm -f -- "$t"' EXIT &&
{ [ ! -f "$1" ] || cp -p -- "$1" "$t"; } && cat >"$t" && mv -f -- "$t" "$1"`;

function failedFile(operation, path, exitCode, stderr) {
  const text = new TextDecoder().decode(stderr).trim();
  return errorFrom({ code: 'FILESYSTEM_ERROR', message: `${operation} of ${path} failed: ${text}`, httpStatus: 500, operation,
    context: { path, operation, exitCode, stderr: text } });
}

function withStdin(document, stdin) {
  const head = new TextEncoder().encode(`${document}\n`);
  if (typeof stdin === 'string') return joined([head, new TextEncoder().encode(stdin)]);
  if (!(stdin instanceof ReadableStream)) return joined([head, new Uint8Array(stdin.buffer ?? stdin, stdin.byteOffset, stdin.byteLength)]);
  const reader = stdin.getReader();
  let first = head;
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = first ? { value: first } : await reader.read();
      first = undefined;
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}

/* Standard output of a command as a stream of bytes, which fails when the command does. */
function outputOf(events, path) {
  const errors = [];
  return new ReadableStream({
    async pull(controller) {
      for (;;) {
        const { value, done } = await events.next();
        if (done) throw new Error('Stream ended unexpectedly');
        if (value.type === 'stderr') errors.push(value.bytes);
        else if (value.type === 'stdout') return controller.enqueue(value.bytes);
        else if (value.exitCode === 0) return controller.close();
        else throw failedFile('file.read', path, value.exitCode, joined(errors));
      }
    },
    cancel: () => events.return(),
  }, { highWaterMark: 0 });
}

/* A stream of events, once its first one has come whole: an `error` becomes the caller's. */
async function afterFirstEvent(stream) {
  const [look, whole] = stream.tee();
  for await (const event of parseSSEStream(look)) {
    if (event.type !== 'error') return whole;
    whole.cancel().catch(() => {});
    throw errorFrom({ code: 'WATCH_START_ERROR', message: event.error, httpStatus: 500 });
  }
  throw new Error('Stream ended unexpectedly');
}

async function pieces(stream) {
  const reader = stream.getReader();
  const read = [];
  for (let step = await reader.read(); !step.done; step = await reader.read()) read.push(step.value);
  return read;
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of parts) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

function base64Of(bytes) {
  const view = new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset, bytes.byteLength);
  let text = '';
  for (let i = 0; i < view.length; i += 32768) text += String.fromCharCode(...view.subarray(i, i + 32768));
  return btoa(text);
}

export function isExecResult(value) {
  return typeof value === 'object' && value !== null && typeof value.success === 'boolean' && typeof value.exitCode === 'number' &&
    typeof value.stdout === 'string' && typeof value.stderr === 'string';
}
