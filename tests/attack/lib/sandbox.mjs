/* One sandbox, over the HTTP API. */
import { initsBelow } from './host.mjs';
import { parse } from './verdict.mjs';

/* The events of an exec's answer, as they come. */
async function* events(body) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
      if (text.startsWith(':')) continue; /* a comment: it is silent for long */
      const fields = Object.fromEntries(text.slice(0, end).split('\n').map((line) => line.split(/: ?(.*)/s, 2)));
      yield { event: fields.event, data: fields.data };
    }
  }
}

export class Sandbox {
  constructor(world, id, probePath) {
    this.world = world;
    this.id = id;
    this.probePath = probePath;
    this.base = `${world.url}/v1/sandbox/${id}`;
  }

  /* Gives the error's JSON, or undefined. */
  async create(settings) {
    const before = new Set(initsBelow(this.world.daemonPid));
    const response = await fetch(this.base, { method: 'PUT', body: JSON.stringify({ keepAlive: true, ...settings }) });
    const answer = await response.json();
    if (!response.ok) return answer;
    this.generation = answer.generation;
    /* There is no warm pool, and nobody else creates: the new agent is this sandbox's. */
    this.hostPid = initsBelow(this.world.daemonPid).find((pid) => !before.has(pid));
    return undefined;
  }

  /*
   * Starts a command. `line` gives the first of its output; `done` gives {status, stdout, stderr} or {error} with the
   * error's JSON, be it from before the start or from the end of the stream.
   */
  start(args, options) {
    return this.#stream([this.probePath, ...args], options);
  }

  #stream(argv, { cwd, timeoutMs = 600_000, env } = {}) {
    let sawLine;
    const line = new Promise((resolve) => { sawLine = resolve; });
    const done = this.#read(argv, { cwd, timeoutMs, env }, sawLine).finally(sawLine);
    return { line, done };
  }

  async #read(argv, { cwd, timeoutMs, env }, sawLine) {
    const request = { argv, cwd, timeout_ms: timeoutMs, env };
    const response = await fetch(`${this.base}/exec`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-berm-exec' },
      body: `${JSON.stringify(request)}\n`,
    });
    if (!response.ok) return { error: await response.json() };
    const output = { stdout: '', stderr: '' };
    for await (const { event, data } of events(response.body)) {
      if (event === 'exit') return { status: JSON.parse(data).exit_code, ...output };
      if (event === 'error') return { error: JSON.parse(data), ...output };
      output[event] += Buffer.from(data, 'base64').toString();
      if (output.stdout.includes('\n')) sawLine();
    }
    return { error: { code: 'truncated' }, ...output };
  }

  exec(argv, options) {
    return this.#stream(argv, options).done;
  }

  /* Runs berm-probe: the verdict of parse(), and `error` if the command never started or the sandbox died of it. */
  async probe(args, options) {
    const { status: code, stdout = '', stderr = '', error } = await this.exec([this.probePath, ...args], options);
    return { ...parse(code, stdout + stderr), error };
  }

  async put(file, content, mode) {
    const response = await fetch(`${this.base}/file${file}`, { method: 'PUT', body: content });
    if (!response.ok) throw new Error(`put ${file}: ${await response.text()}`);
    const { status: code, error } = await this.exec(['chmod', mode.toString(8), file]);
    if (code !== 0) throw new Error(`chmod ${file}: ${code} ${JSON.stringify(error)}`);
  }

  async describe() {
    const response = await fetch(`${this.base}?usage=true`);
    return response.json();
  }

  async destroy() {
    const response = await fetch(this.base, { method: 'DELETE' });
    if (response.status !== 204) throw new Error(`destroy: ${response.status}`);
  }
}
