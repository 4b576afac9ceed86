/*
 * Every request that this SDK makes, in one place: method and path below `/v1`. `{…}` is filled in by the caller;
 * `{+…}` is a path whose slashes stay. The tests hold it against the daemon's OpenAPI document.
 */
export const routes = {
  health: ['GET', '/health'],
  createId: ['POST', '/v1/sandbox'],
  destroy: ['DELETE', '/v1/sandbox/{id}'],
  configure: ['PUT', '/v1/sandbox/{id}'],
  describe: ['GET', '/v1/sandbox/{id}'],
  running: ['GET', '/v1/sandbox/{id}/running'],
  listSandboxes: ['GET', '/v1/sandboxes'],
  events: ['GET', '/v1/sandbox/{id}/events'],

  execArgv: ['POST', '/v1/sandbox/{id}/exec'],
  exec: ['POST', '/v1/sandbox/{id}/container/api/execute'],
  execStream: ['POST', '/v1/sandbox/{id}/container/api/execute/stream'],

  startProcess: ['POST', '/v1/sandbox/{id}/container/api/process/start'],
  listProcesses: ['GET', '/v1/sandbox/{id}/container/api/process/list'],
  getProcess: ['GET', '/v1/sandbox/{id}/container/api/process/{process}'],
  killProcess: ['DELETE', '/v1/sandbox/{id}/container/api/process/{process}'],
  killAllProcesses: ['DELETE', '/v1/sandbox/{id}/container/api/process/kill-all'],
  processLogs: ['GET', '/v1/sandbox/{id}/container/api/process/{process}/logs'],
  processStream: ['GET', '/v1/sandbox/{id}/container/api/process/{process}/stream'],
  processInput: ['POST', '/v1/sandbox/{id}/container/api/process/{process}/stdin'],
  signalProcess: ['POST', '/v1/sandbox/{id}/container/api/process/{process}/signal'],

  readFile: ['POST', '/v1/sandbox/{id}/container/api/read'],
  readFileStream: ['POST', '/v1/sandbox/{id}/container/api/read/stream'],
  writeFile: ['POST', '/v1/sandbox/{id}/container/api/write'],
  deleteFile: ['POST', '/v1/sandbox/{id}/container/api/delete'],
  renameFile: ['POST', '/v1/sandbox/{id}/container/api/rename'],
  moveFile: ['POST', '/v1/sandbox/{id}/container/api/move'],
  mkdir: ['POST', '/v1/sandbox/{id}/container/api/mkdir'],
  listFiles: ['POST', '/v1/sandbox/{id}/container/api/list-files'],
  exists: ['POST', '/v1/sandbox/{id}/container/api/exists'],
  getFile: ['GET', '/v1/sandbox/{id}/file/{+path}'],
  putFile: ['PUT', '/v1/sandbox/{id}/file/{+path}'],
  persist: ['POST', '/v1/sandbox/{id}/persist'],
  hydrate: ['POST', '/v1/sandbox/{id}/hydrate'],

  watch: ['POST', '/v1/sandbox/{id}/container/api/watch'],
  checkChanges: ['POST', '/v1/sandbox/{id}/container/api/watch/check'],
  gitCheckout: ['POST', '/v1/sandbox/{id}/container/api/git/checkout'],
  waitForPort: ['POST', '/v1/sandbox/{id}/container/api/port-watch'],

  createContext: ['POST', '/v1/sandbox/{id}/container/api/contexts'],
  listContexts: ['GET', '/v1/sandbox/{id}/container/api/contexts'],
  deleteContext: ['DELETE', '/v1/sandbox/{id}/container/api/contexts/{context}'],
  interruptContext: ['POST', '/v1/sandbox/{id}/container/api/contexts/{context}/interrupt'],
  runCode: ['POST', '/v1/sandbox/{id}/container/api/execute/code'],

  createSession: ['POST', '/v1/sandbox/{id}/container/api/session/create'],
  deleteSession: ['POST', '/v1/sandbox/{id}/container/api/session/delete'],
  listSessions: ['GET', '/v1/sandbox/{id}/container/api/session/list'],
  terminal: ['GET', '/v1/sandbox/{id}/pty'],
  container: ['*', '/v1/sandbox/{id}/container/{+rest}'],

  exposePort: ['POST', '/v1/sandbox/{id}/ports'],
  listPorts: ['GET', '/v1/sandbox/{id}/ports'],
  unexposePort: ['DELETE', '/v1/sandbox/{id}/ports/{port}'],
  openTunnel: ['POST', '/v1/sandbox/{id}/tunnel/{port}'],
  closeTunnel: ['DELETE', '/v1/sandbox/{id}/tunnel/{port}'],
  listTunnels: ['GET', '/v1/sandbox/{id}/tunnels'],
  mountBucket: ['POST', '/v1/sandbox/{id}/mount'],
  unmountBucket: ['POST', '/v1/sandbox/{id}/unmount'],

  getEgress: ['GET', '/v1/sandbox/{id}/egress'],
  resetEgress: ['DELETE', '/v1/sandbox/{id}/egress'],

  host: ['GET', '/v1/host'],
  listImages: ['GET', '/v1/images'],
  listKeys: ['GET', '/v1/keys'],
  createKey: ['POST', '/v1/keys'],
  deleteKey: ['DELETE', '/v1/keys/{key}'],
  poolStats: ['GET', '/v1/pool/stats'],
  primePool: ['POST', '/v1/pool/prime'],
  shutdownPool: ['POST', '/v1/pool/shutdown-prewarmed'],
  metrics: ['GET', '/metrics'],
};

/* The path of a route with its blanks filled in, each value escaped. `.` and `..` would lead to another route. */
export function pathOf(route, values = {}) {
  return routes[route][1].replace(/\{(\+?)(\w+)\}/g, (_, slashes, name) => {
    const value = values[name];
    if (value === undefined) throw new TypeError(`${route} needs ${name}`);
    const segments = slashes ? String(value).split('/') : [String(value)];
    if (segments.some((segment) => segment === '.' || segment === '..')) throw new TypeError(`${name} may not be ${value}`);
    return segments.map(encodeURIComponent).join('/');
  });
}
