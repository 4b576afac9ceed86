/* Code contexts and what comes out of code. */
import { errorOfEvent } from './error-codes.js';
import { NotSupportedError, SandboxSecurityError } from './errors.js';
import { defined } from './http.js';
import { parseSSEStream } from './sse.js';

const languages = {
  python: 'python', python3: 'python',
  javascript: 'javascript', js: 'javascript', node: 'javascript',
  typescript: 'typescript', ts: 'typescript',
};
const forms = ['text', 'html', 'png', 'jpeg', 'svg', 'pdf', 'latex', 'markdown', 'javascript', 'json', 'chart', 'data'];

function languageOf(name = 'python') {
  const language = languages[String(name).toLowerCase()];
  if (!language) throw new SandboxSecurityError(`Unsupported language '${name}'. Supported languages: python, javascript, typescript`, 'INVALID_LANGUAGE');
  return language;
}

/* One value that code has shown, in one or more forms. */
class Result {
  constructor(event) {
    for (const form of forms) if (event[form] !== undefined) this[form] = event[form];
  }

  formats() {
    return forms.filter((form) => this[form] !== undefined);
  }
}

export class Execution {
  results = [];
  logs = { stdout: [], stderr: [] };
  error = undefined;
  executionCount = undefined;

  constructor(code, context) {
    this.code = code;
    this.context = context;
  }

  toJSON() {
    return { code: this.code, logs: this.logs, error: this.error, executionCount: this.executionCount, results: this.results.map((result) => ({ ...result })) };
  }

  /* Takes one event of the stream in and tells the caller's functions. */
  async take(event, { onStdout, onStderr, onResult, onError }) {
    switch (event.type) {
      case 'stdout':
      case 'stderr':
        this.logs[event.type].push(event.text);
        await (event.type === 'stdout' ? onStdout : onStderr)?.({ text: event.text, timestamp: Date.now() });
        break;
      case 'result':
        this.results.push(new Result(event));
        await onResult?.(this.results.at(-1));
        break;
      case 'error':
        if (event.ename === undefined) throw errorOfEvent(event); /* not the code's, but the stream's */
        this.error = { name: event.ename, message: event.evalue, traceback: event.traceback ?? [] };
        await onError?.(this.error);
        break;
      case 'execution_complete':
        this.executionCount = event.execution_count;
        break;
    }
  }
}

export class CodeInterpreter {
  #sandbox;
  #standard = new Map(); /* language → promise of the context that runs code which names none */

  constructor(sandbox) {
    this.#sandbox = sandbox;
  }

  async createCodeContext({ language, cwd = '/workspace', envVars, timeout } = {}) {
    const canonical = languageOf(language);
    const created = await this.#sandbox.call('createContext', {}, {
      json: { language: canonical, cwd, env_vars: envVars && defined(envVars) }, signal: timeout && AbortSignal.timeout(timeout),
    });
    const now = new Date(created.timestamp);
    return { id: created.contextId, language: created.language, cwd: created.cwd, createdAt: now, lastUsed: now };
  }

  async #contextFor(language) {
    const canonical = languageOf(language);
    if (!this.#standard.has(canonical)) {
      const creation = this.createCodeContext({ language: canonical });
      this.#standard.set(canonical, creation);
      creation.catch(() => this.#standard.delete(canonical));
    }
    return this.#standard.get(canonical);
  }

  /* Contexts end with their sandbox. */
  forget() {
    this.#standard.clear();
  }

  async runCode(code, options = {}) {
    const { stream, context } = await this.#start(code, options);
    const execution = new Execution(code, context);
    for await (const event of parseSSEStream(stream, options.signal)) await execution.take(event, options);
    return execution;
  }

  async runCodeStream(code, options = {}) {
    return (await this.#start(code, options)).stream;
  }

  async #start(code, { context, language, envVars, timeout, signal, idempotencyKey }) {
    if (envVars) throw new NotSupportedError('runCode with envVars', 'variables belong to a context; give them to createCodeContext()');
    const used = context ?? await this.#contextFor(language);
    const stream = await this.#sandbox.open('runCode', {}, {
      json: { context_id: used.id, code, language: language && languageOf(language), timeout_ms: timeout }, signal, idempotencyKey,
    });
    return { stream, context: used };
  }

  async listCodeContexts() {
    const { contexts, timestamp } = await this.#sandbox.call('listContexts');
    return contexts.map((context) => ({ ...context, createdAt: new Date(timestamp), lastUsed: new Date(timestamp) }));
  }

  async deleteCodeContext(contextId) {
    await this.#sandbox.call('deleteContext', { context: contextId });
    for (const [language, creation] of this.#standard)
      if ((await creation.catch(() => undefined))?.id === contextId) this.#standard.delete(language);
  }

  /* Berm's own: stops the code that runs and keeps the context; false when nothing ran. */
  async interruptCodeContext(contextId) {
    return (await this.#sandbox.call('interruptContext', { context: contextId })).interrupted;
  }
}
