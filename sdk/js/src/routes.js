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
  setLabels: ['PUT', '/v1/sandbox/{id}/labels'],
  changeLabels: ['PATCH', '/v1/sandbox/{id}/labels'],
  changeEnv: ['PATCH', '/v1/sandbox/{id}/env'],
  stats: ['GET', '/v1/sandbox/{id}/stats'],
  events: ['GET', '/v1/sandbox/{id}/events'],
  allEvents: ['GET', '/v1/events'],

  execArgv: ['POST', '/v1/sandbox/{id}/exec'],
  exec: ['POST', '/v1/sandbox/{id}/execute'],
  execStream: ['POST', '/v1/sandbox/{id}/exec-stream'],

  startProcess: ['POST', '/v1/sandbox/{id}/processes'],
  listProcesses: ['GET', '/v1/sandbox/{id}/processes'],
  getProcess: ['GET', '/v1/sandbox/{id}/processes/{process}'],
  killProcess: ['DELETE', '/v1/sandbox/{id}/processes/{process}'],
  killAllProcesses: ['DELETE', '/v1/sandbox/{id}/processes'],
  processLogs: ['GET', '/v1/sandbox/{id}/processes/{process}/logs'],
  processStream: ['GET', '/v1/sandbox/{id}/processes/{process}/stream'],
  processInput: ['POST', '/v1/sandbox/{id}/processes/{process}/input'],
  signalProcess: ['POST', '/v1/sandbox/{id}/processes/{process}/signal'],

  readFile: ['POST', '/v1/sandbox/{id}/files/read'],
  readFileStream: ['POST', '/v1/sandbox/{id}/files/read/stream'],
  writeFile: ['POST', '/v1/sandbox/{id}/files/write'],
  deleteFile: ['POST', '/v1/sandbox/{id}/files/delete'],
  renameFile: ['POST', '/v1/sandbox/{id}/files/rename'],
  moveFile: ['POST', '/v1/sandbox/{id}/files/move'],
  mkdir: ['POST', '/v1/sandbox/{id}/files/mkdir'],
  listFiles: ['POST', '/v1/sandbox/{id}/files/list'],
  statFile: ['POST', '/v1/sandbox/{id}/files/stat'],
  getFile: ['GET', '/v1/sandbox/{id}/file/{+path}'],
  exists: ['POST', '/v1/sandbox/{id}/files/exists'],
  persist: ['POST', '/v1/sandbox/{id}/persist'],
  hydrate: ['POST', '/v1/sandbox/{id}/hydrate'],

  watch: ['POST', '/v1/sandbox/{id}/watch'],
  checkChanges: ['POST', '/v1/sandbox/{id}/watch/check'],
  gitCheckout: ['POST', '/v1/sandbox/{id}/git/checkout'],
  waitForPort: ['POST', '/v1/sandbox/{id}/ports/{port}/wait'],

  createContext: ['POST', '/v1/sandbox/{id}/contexts'],
  listContexts: ['GET', '/v1/sandbox/{id}/contexts'],
  deleteContext: ['DELETE', '/v1/sandbox/{id}/contexts/{context}'],
  interruptContext: ['POST', '/v1/sandbox/{id}/contexts/{context}/interrupt'],
  runCode: ['POST', '/v1/sandbox/{id}/code'],

  createSession: ['POST', '/v1/sandbox/{id}/container/api/session/create'],
  deleteSession: ['DELETE', '/v1/sandbox/{id}/session/{session}'],
  listSessions: ['GET', '/v1/sandbox/{id}/sessions'],
  terminal: ['GET', '/v1/sandbox/{id}/pty'],
  /* In the place of `*` stands the caller's method. */
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
  listSecrets: ['GET', '/v1/secrets'],
  putSecret: ['PUT', '/v1/secrets/{name}'],
  deleteSecret: ['DELETE', '/v1/secrets/{name}'],
  link: ['GET', '/v1/link'],
  poolStats: ['GET', '/v1/pool/stats'],
  primePool: ['POST', '/v1/pool/prime'],
  shutdownPool: ['POST', '/v1/pool/shutdown-prewarmed'],
  openapi: ['GET', '/v1/openapi.json'],
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
