/* A sandbox, and what of it no session has: settings, life, network, ports, tunnels. */
import { NotSupportedError, SandboxSecurityError } from './errors.js';
import { Connection, defined } from './http.js';
import { CodeInterpreter } from './interpreter.js';
import { checkVariables, ExecutionSession, noSession } from './session.js';

const reservedNames = ['www', 'api', 'admin', 'root', 'system', 'cloudflare', 'workers'];
const nativeId = /^[a-z2-7]{1,128}$/;
const defaultSession = 'default';

/* The id under which the daemon knows a name: the name if it may be one, else its UTF-8 in base32. */
export function sandboxId(name) {
  if (nativeId.test(name)) return name;
  let bits = 0;
  let count = 0;
  let id = '';
  for (const byte of new TextEncoder().encode(name)) {
    bits = ((bits << 8) | byte) & 0xfff;
    for (count += 8; count >= 5; count -= 5) id += 'abcdefghijklmnopqrstuvwxyz234567'[(bits >> (count - 5)) & 31];
  }
  return count ? id + 'abcdefghijklmnopqrstuvwxyz234567'[(bits << (5 - count)) & 31] : id;
}

function checkName(name) {
  if (typeof name !== 'string' || name.length < 1 || name.length > 63)
    throw new SandboxSecurityError('Sandbox ID must be 1-63 characters long.', 'INVALID_SANDBOX_ID_LENGTH');
  if (name.startsWith('-') || name.endsWith('-'))
    throw new SandboxSecurityError('Sandbox ID cannot start or end with hyphens.', 'INVALID_SANDBOX_ID_HYPHENS');
  if (reservedNames.includes(name.toLowerCase()))
    throw new SandboxSecurityError(`Reserved sandbox ID '${name}' is not allowed.`, 'RESERVED_SANDBOX_ID');
  if (sandboxId(name).length > 128)
    throw new SandboxSecurityError('Sandbox ID is longer than 80 bytes of UTF-8.', 'INVALID_SANDBOX_ID_LENGTH');
}

function checkPort(port) {
  if (!Number.isInteger(port) || port < 1024 || port > 65535 || port === 3000)
    throw new SandboxSecurityError(`Invalid port number: ${port}. Must be 1024-65535, excluding 3000 (sandbox control plane).`, 'INVALID_PORT');
}

/*
 * A handle; makes no request by itself. `getSandbox(id, options)`, or with a connection (`new Berm({url, apiKey})`) in the
 * place of a Worker's namespace: `getSandbox(berm, id, options)`.
 */
export function getSandbox(...args) {
  const [connection, name, options = {}] = typeof args[0] === 'string' ? [undefined, ...args] : args;
  if (connection !== undefined && !(connection instanceof Connection))
    throw new TypeError('getSandbox() takes an id, or a connection made by new Berm() and an id');
  const used = options.normalizeId ? String(name).toLowerCase() : name;
  checkName(used);
  return new Sandbox(connection ?? new Connection(options), used, options);
}

export class Sandbox extends ExecutionSession {
  #connection;
  #id;
  #settings; /* what the options say, to be sent before the first use */
  #configured;
  #sessionless;
  #placement;
  #hosts = Promise.resolve();

  constructor(connection, name, options) {
    super(undefined, options.enableDefaultSession === false ? noSession : defaultSession);
    this.#connection = connection;
    this.#id = sandboxId(name);
    this.name = name;
    this.#sessionless = options.enableDefaultSession === false;
    const { displayName, sleepAfter, keepAlive, labels, image, limits, env, network, egress } = options;
    this.#settings = defined({ displayName, sleepAfter, keepAlive, labels, image, limits, env, network, egress });
    this.interpreter = new CodeInterpreter(this);
    this.tunnels = new Tunnels(this);
    this.egress = new Egress(this);
  }

  get id() {
    return this.#id;
  }

  // Requests, for the parts of the SDK

  /* Sends the options once; a failure is the caller's, and the next one tries again. */
  #ready() {
    if (Object.keys(this.#settings).length === 0) return undefined;
    this.#configured ??= this.describeWith(this.#settings).catch((error) => {
      this.#configured = undefined;
      throw error;
    });
    return this.#configured;
  }

  async call(route, values = {}, options) {
    await this.#ready();
    return this.#connection.json(route, { id: this.#id, ...values }, options);
  }

  async open(route, values = {}, options) {
    await this.#ready();
    return this.#connection.stream(route, { id: this.#id, ...values }, options);
  }

  async socket(route, values, query) {
    await this.#ready();
    return this.#connection.socket(this.socketUrl(route, values, query));
  }

  socketUrl(route, values, query) {
    return this.#connection.socketUrl(route, { id: this.#id, ...values }, query);
  }

  /* A request that may be about a sandbox that is not there: it never makes one. */
  look(route, values = {}, options) {
    return this.#connection.json(route, { id: this.#id, ...values }, options);
  }

  // Settings and life

  describeWith({ displayName, ...settings }, options) {
    return this.#connection.json('configure', { id: this.#id }, { json: defined({ name: displayName, ...settings }), ...options });
  }

  /* Berm's own: makes the sandbox now, or changes settings; the daemon's description of it. */
  async configure(settings = {}, { idempotencyKey } = {}) {
    await this.#ready();
    return this.describeWith(settings, { idempotencyKey });
  }

  /* Berm's own: the daemon's description; `usage`: with what it uses. SandboxNotFoundError if there is none. */
  describe({ usage } = {}) {
    return this.look('describe', {}, { query: { usage } });
  }

  /* Berm's own: limits and what it uses now; `usage` is null while it does not run. */
  stats() {
    return this.look('stats');
  }

  /* Berm's own: the last events of its life, oldest first. */
  async events() {
    return (await this.look('events')).events;
  }

  /* Berm's own: a stream of the events to come, or of those behind the one with the number `after`. */
  async followEvents({ after, signal } = {}) {
    const headers = { accept: 'text/event-stream', ...(after === undefined ? {} : { 'last-event-id': String(after) }) };
    return this.#connection.stream('events', { id: this.#id }, { headers, signal });
  }

  async isRunning() {
    return (await this.look('running')).running;
  }

  async start() {
    await this.configure();
  }

  async setSleepAfter(sleepAfter) {
    await this.configure({ sleepAfter });
  }

  async setKeepAlive(keepAlive) {
    await this.configure({ keepAlive });
  }

  async setLabels(labels) {
    await this.call('setLabels', {}, { json: labels });
  }

  /* Berm's own: those that are named; null takes away. */
  async changeLabels(changes) {
    await this.call('changeLabels', {}, { json: changes });
  }

  async getState() {
    let sandbox;
    try {
      sandbox = await this.describe();
    } catch (error) {
      if (error.code !== 'sandbox_not_found') throw error;
      return { status: 'stopped', lastChange: 0 };
    }
    const lastChange = Date.parse(sandbox.startedAt ?? sandbox.createdAt);
    if (sandbox.state === 'creating') return { status: 'running', lastChange };
    if (sandbox.state === 'running') return { status: 'healthy', lastChange };
    if (sandbox.endReason === 'exited' && sandbox.exitStatus !== null) return { status: 'stopped_with_code', lastChange, exitCode: sandbox.exitStatus };
    return { status: 'stopped', lastChange };
  }

  async destroy() {
    await this.#connection.request('destroy', { id: this.#id });
    this.#configured = undefined;
    this.interpreter.forget();
  }

  // Variables and sessions

  /* For all that starts from now on, and in the shell of the default session. */
  async setEnvVars(variables) {
    checkVariables(variables);
    const changes = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value ?? null]));
    await this.call('changeEnv', {}, { json: changes });
    if (!this.#sessionless) await super.setEnvVars(variables);
  }

  async createSession({ id = `session-${Date.now()}`, env, cwd, commandTimeoutMs, name, isolation } = {}) {
    if (id === noSession) throw new SandboxSecurityError(`Session ID '${noSession}' is reserved for internal use`);
    const created = await this.call('createSession', {}, { json: { id, env, cwd, commandTimeoutMs, name, isolation } });
    this.#placement = created.containerPlacementId;
    return new ExecutionSession(this, id);
  }

  async getSession(id) {
    return new ExecutionSession(this, id);
  }

  async deleteSession(sessionId) {
    if (sessionId === defaultSession)
      throw new Error(`Cannot delete default session '${sessionId}'. Use sandbox.destroy() to terminate the sandbox.`);
    return this.call('deleteSession', { session: sessionId });
  }

  /* Berm's own: the ids of the sessions there are. */
  async listSessions() {
    return (await this.call('listSessions')).data;
  }

  async getContainerPlacementId() {
    return this.#placement;
  }

  // The workspace as an archive

  /* Berm's own: /workspace as a tar stream; `excludes` are patterns of GNU tar. */
  persist({ excludes = [] } = {}) {
    return this.open('persist', {}, { query: { excludes: excludes.length ? excludes.join(',') : undefined } });
  }

  async hydrate(archive) {
    await this.call('hydrate', {}, { body: archive, headers: { 'content-type': 'application/x-tar' } });
  }

  // Ports

  /* The daemon's configuration says under which host name; `hostname` is not looked at. */
  async exposePort(port, { name, token, expiresIn } = {}) {
    checkPort(port);
    return this.call('exposePort', {}, { json: { port, name, token, expiresIn } });
  }

  async unexposePort(port) {
    checkPort(port);
    await this.#connection.request('unexposePort', { id: this.#id, port });
  }

  async getExposedPorts() {
    const { ports } = await this.look('listPorts');
    return ports.map((entry) => ({ ...entry, status: 'active' })).sort((a, b) => a.port - b.port);
  }

  async isPortExposed(port) {
    return (await this.getExposedPorts()).some((entry) => entry.port === port);
  }

  /* The control server of the sandbox, which is what listens on port 3000. Other ports are reached by exposePort(). */
  async containerFetch(request, portOrInit, port) {
    const [init, target] = typeof portOrInit === 'object' ? [portOrInit, port] : [{}, portOrInit];
    if ((target ?? 3000) !== 3000) throw new NotSupportedError('containerFetch to a port', 'outside Workers a port is reached by the URL of exposePort()');
    const { url, method, headers, body } = request instanceof Request ? request : { url: request, ...init };
    const { pathname, searchParams } = new URL(url, 'http://localhost');
    await this.#ready();
    return this.#connection.request('container', { id: this.#id, rest: decodeURIComponent(pathname.slice(1)) },
      { method: method ?? 'GET', headers: Object.fromEntries(new Headers(headers)), body: body ?? undefined, query: Object.fromEntries(searchParams) });
  }

  fetch(request) {
    return this.containerFetch(request);
  }

  // Hosts that may be reached, as @cloudflare/containers names it

  setAllowedHosts(hosts) {
    return this.#changeHosts((policy) => ({ ...policy, mode: 'deny', hosts }));
  }

  setDeniedHosts(hosts) {
    return this.#changeHosts((policy) => ({ ...policy, deny: { ...policy.deny, hosts } }));
  }

  allowHost(host) {
    return this.#changeHosts((policy) => ({ ...policy, mode: 'deny', hosts: added(policy.mode === 'deny' ? policy.hosts : [], host) }));
  }

  denyHost(host) {
    return this.#changeHosts((policy) => ({ ...policy, deny: { ...policy.deny, hosts: added(policy.deny?.hosts, host) } }));
  }

  removeAllowedHost(host) {
    return this.#changeHosts((policy) => ({ ...policy, hosts: without(policy.hosts, host) }));
  }

  removeDeniedHost(host) {
    return this.#changeHosts((policy) => ({ ...policy, deny: { ...policy.deny, hosts: without(policy.deny?.hosts, host) } }));
  }

  /* One change after another: each reads the policy and writes it back. */
  #changeHosts(change) {
    const result = this.#hosts.then(async () => {
      await this.configure();
      const { policy } = await this.egress.get();
      await this.egress.set(change(policy));
    });
    this.#hosts = result.catch(() => {});
    return result;
  }
}

const added = (list = [], host) => [...without(list, host), host];
const without = (list = [], host) => list.filter((entry) => (entry.host ?? entry) !== host);

class Tunnels {
  #sandbox;

  constructor(sandbox) {
    this.#sandbox = sandbox;
  }

  async get(port, { name } = {}) {
    checkPort(port);
    return this.#sandbox.call('openTunnel', { port }, name === undefined ? {} : { json: { name } });
  }

  async list() {
    return (await this.#sandbox.look('listTunnels')).tunnels;
  }

  async destroy(portOrInfo) {
    const port = portOrInfo?.port ?? portOrInfo;
    checkPort(port);
    await this.#sandbox.open('closeTunnel', { port });
  }
}

/* Berm's own: the network policy of the sandbox. */
class Egress {
  #sandbox;

  constructor(sandbox) {
    this.#sandbox = sandbox;
  }

  get() {
    return this.#sandbox.call('getEgress');
  }

  /* Makes the sandbox if there is none, with this policy from its beginning. */
  async set(policy) {
    await this.#sandbox.configure({ egress: policy });
    return this.get();
  }

  reset() {
    return this.#sandbox.call('resetEgress');
  }
}

/* What exists because there is a Durable Object or a Worker around the sandbox. */
const inWorkersOnly = {
  wsConnect: 'it passes on the upgrade request of a Worker; connect to the URL of exposePort()',
  stop: 'a sandbox sleeps by itself after sleepAfter; destroy() ends it',
  startAndWaitForPorts: 'start() starts it; Process.waitForPort() waits for a port',
  renewActivityTimeout: 'every request renews it',
  schedule: 'schedules are alarms of a Durable Object',
  deleteSchedules: 'schedules are alarms of a Durable Object',
  listSchedules: 'schedules are alarms of a Durable Object',
  setOutboundHandler: 'handlers are code of a Worker; the policy of egress decides here',
  setOutboundByHost: 'handlers are code of a Worker; the policy of egress decides here',
  setOutboundByHosts: 'handlers are code of a Worker; the policy of egress decides here',
  removeOutboundByHost: 'handlers are code of a Worker; the policy of egress decides here',
  setContainerTimeouts: 'the daemon has its own',
  setTransport: 'there is one transport',
  setSandboxName: 'the id is the name',
  validatePortToken: 'tokens are checked by the daemon',
};
for (const [method, why] of Object.entries(inWorkersOnly)) {
  Object.defineProperty(Sandbox.prototype, method, {
    async value() {
      throw new NotSupportedError(method, why);
    },
    writable: true,
    configurable: true,
  });
}
