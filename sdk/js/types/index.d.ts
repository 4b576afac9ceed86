/*
 * The types of berm-sandbox. What the Cloudflare SDK has too is assignable to its types (the tests compile that); what is
 * Berm's own says so.
 */
export * from './errors.js';

// Commands

export type Variables = Record<string, string | undefined>;

export interface BaseExecOptions {
  /** Milliseconds. */
  timeout?: number;
  /** Variables of this command only. */
  env?: Variables;
  cwd?: string;
  /** Accepted for the SDK's sake; output is UTF-8. */
  encoding?: string;
}

/** Berm's own: what a command may use; `{}` asks for the receipt alone. It runs in no session then. */
export interface CommandLimits {
  cpuMs?: number;
  memory?: number;
  pids?: number;
  wallMs?: number;
  outputBytes?: number;
  network?: false;
}
/** Berm's own: what it has used, and why it ended. */
export interface Receipt {
  cpuMs: number | null;
  maxRss: number | null;
  ioBytes: number | null;
  netBytes: number | null;
  reason: string;
}

export interface ExecOptions extends BaseExecOptions {
  /** Berm's own. */
  limits?: CommandLimits;
  /** With `onOutput`: output as it comes. */
  stream?: boolean;
  onOutput?: (stream: 'stdout' | 'stderr', data: string) => void;
  onComplete?: (result: ExecResult) => void;
  onError?: (error: Error) => void;
  signal?: AbortSignal;
  origin?: 'user' | 'internal';
  sessionId?: string;
  /** Berm's own: a repeated request with the same key is answered like the first. */
  idempotencyKey?: string;
}

export interface ExecResult {
  success: boolean;
  exitCode: number;
  stdout: string;
  stderr: string;
  command: string;
  /** Milliseconds. */
  duration: number;
  timestamp: string;
  sessionId?: string;
  /** Berm's own: with `limits`. */
  usage?: Receipt;
}

export interface ArgvOptions extends BaseExecOptions {
  /** Berm's own. */
  limits?: CommandLimits;
  /** Names a session, which then has no standard input. */
  sessionId?: string;
  stdin?: string | Uint8Array | ArrayBuffer | ReadableStream<Uint8Array>;
  signal?: AbortSignal;
  idempotencyKey?: string;
}

export interface ArgvResult {
  exitCode: number;
  stdout: Uint8Array;
  stderr: Uint8Array;
  usage?: Receipt;
}

export interface StreamOptions extends BaseExecOptions {
  /** Berm's own. */
  limits?: CommandLimits;
  sessionId?: string;
  bufferSize?: number;
  signal?: AbortSignal;
}

export interface ExecEvent {
  type: 'start' | 'stdout' | 'stderr' | 'complete' | 'error';
  timestamp: string;
  data?: string;
  command?: string;
  exitCode?: number;
  result?: ExecResult;
  error?: string;
  sessionId?: string;
  pid?: number;
}

// Processes

export type ProcessStatus = 'starting' | 'running' | 'completed' | 'failed' | 'killed' | 'error';

export interface ProcessOptions extends BaseExecOptions {
  /** Berm's own. */
  limits?: CommandLimits;
  sessionId?: string;
  processId?: string;
  autoCleanup?: boolean;
  onExit?: (code: number | null) => void;
  onOutput?: (stream: 'stdout' | 'stderr', data: string) => void;
  onStart?: (process: Process) => void;
  onError?: (error: Error) => void;
  /** Berm's own: gives it a standard input that `writeStdin` writes to. */
  stdin?: boolean;
  /** Berm's own: bytes kept of each of stdout and stderr. */
  logLimit?: number;
  idempotencyKey?: string;
}

export interface WaitForLogResult {
  line: string;
  match?: RegExpMatchArray;
}

export interface WaitForPortOptions {
  mode?: 'http' | 'tcp';
  path?: string;
  status?: number | { min: number; max: number };
  timeout?: number;
  interval?: number;
}

export class Process {
  private constructor();
  readonly id: string;
  readonly pid?: number;
  readonly command: string;
  readonly status: ProcessStatus;
  readonly startTime: Date;
  readonly endTime?: Date;
  readonly exitCode?: number;
  readonly sessionId?: string;
  /** Berm's own: with `limits`. */
  readonly usage?: Receipt;
  kill(signal?: string): Promise<void>;
  getStatus(): Promise<ProcessStatus>;
  getLogs(): Promise<{ stdout: string; stderr: string }>;
  waitForLog(pattern: string | RegExp, timeout?: number): Promise<WaitForLogResult>;
  waitForPort(port: number, options?: WaitForPortOptions): Promise<void>;
  waitForExit(timeout?: number): Promise<{ exitCode: number }>;
  /** Berm's own: for a process that was started with `stdin: true`. */
  writeStdin(data?: string | Uint8Array, options?: { close?: boolean }): Promise<void>;
  /** Berm's own: how many processes of its tree were signalled. */
  signal(signal: string | number): Promise<number>;
}

export interface LogEvent {
  type: 'stdout' | 'stderr' | 'exit' | 'error';
  timestamp: string;
  data: string;
  processId: string;
  sessionId?: string;
  exitCode?: number;
}

export interface PortWatchRequest {
  port: number;
  mode?: 'http' | 'tcp';
  path?: string;
  statusMin?: number;
  statusMax?: number;
  processId?: string;
  interval?: number;
}

// Files

export type FileEncoding = 'utf-8' | 'utf8' | 'base64' | 'none';

interface FileAnswer {
  success: boolean;
  path: string;
  timestamp: string;
  exitCode?: number;
}

export interface MkdirResult extends FileAnswer {
  recursive: boolean;
}
export type WriteFileResult = FileAnswer;
export type DeleteFileResult = FileAnswer;
export interface RenameFileResult extends FileAnswer {
  newPath: string;
}
export type MoveFileResult = RenameFileResult;
export interface FileExistsResult extends FileAnswer {
  exists: boolean;
}

export interface ReadFileResult extends FileAnswer {
  content: string;
  encoding?: 'utf-8' | 'base64';
  isBinary?: boolean;
  mimeType?: string;
  size?: number;
}

export interface ReadFileStreamResult {
  success: true;
  path: string;
  content: ReadableStream<Uint8Array>;
  size: number;
  mimeType: string;
  timestamp: string;
}

export interface FileInfo {
  name: string;
  absolutePath: string;
  relativePath: string;
  type: 'file' | 'directory' | 'symlink' | 'other';
  size: number;
  modifiedAt: string;
  mode: string;
  permissions: { readable: boolean; writable: boolean; executable: boolean };
}

export interface ListFilesOptions {
  recursive?: boolean;
  includeHidden?: boolean;
  sessionId?: string;
}

export interface ListFilesResult extends FileAnswer {
  files: FileInfo[];
  count: number;
}

export interface FileMetadata {
  mimeType: string;
  size: number;
  isBinary: boolean;
  encoding: 'utf-8' | 'base64';
}
export type FileChunk = string | Uint8Array;
export type FileStreamEvent =
  | ({ type: 'metadata' } & FileMetadata)
  | { type: 'chunk'; data: string }
  | { type: 'complete'; bytesRead: number }
  | { type: 'error'; error: string };

export interface WatchOptions {
  recursive?: boolean;
  include?: string[];
  exclude?: string[];
  sessionId?: string;
}
export interface CheckChangesOptions extends WatchOptions {
  since?: string;
}
export type FileWatchEventType = 'create' | 'modify' | 'delete' | 'move_from' | 'move_to' | 'attrib';
export type FileWatchSSEEvent =
  | { type: 'watching'; path: string; watchId: string }
  | { type: 'event'; eventType: FileWatchEventType; path: string; isDirectory: boolean; timestamp: string }
  | { type: 'resync'; reason: string }
  | { type: 'error'; error: string }
  | { type: 'stopped'; reason: string };
export type CheckChangesResult =
  | { success: true; status: 'unchanged' | 'changed'; version: string; timestamp: string }
  | { success: true; status: 'resync'; reason: 'expired' | 'restarted'; version: string; timestamp: string };

export interface GitCheckoutOptions {
  branch?: string;
  targetDir?: string;
  depth?: number;
  cloneTimeoutMs?: number;
  sessionId?: string;
  idempotencyKey?: string;
}
export interface GitCheckoutResult {
  success: boolean;
  repoUrl: string;
  branch: string;
  targetDir: string;
  timestamp: string;
  exitCode?: number;
}

// Code

export interface CreateContextOptions {
  language?: 'python' | 'javascript' | 'typescript';
  cwd?: string;
  envVars?: Variables;
  timeout?: number;
}
export interface CodeContext {
  readonly id: string;
  readonly language: string;
  readonly cwd: string;
  readonly createdAt: Date;
  readonly lastUsed: Date;
}
export interface OutputMessage {
  text: string;
  timestamp: number;
}
export interface ChartData {
  type: 'line' | 'bar' | 'scatter' | 'pie' | 'histogram' | 'heatmap' | 'unknown';
  title?: string;
  data: any;
  layout?: any;
  config?: any;
  library?: 'matplotlib' | 'plotly' | 'altair' | 'seaborn' | 'unknown';
  image?: string;
}
export interface ResultForms {
  text?: string;
  html?: string;
  png?: string;
  jpeg?: string;
  svg?: string;
  /** Berm's own. */
  pdf?: string;
  latex?: string;
  markdown?: string;
  javascript?: string;
  json?: any;
  chart?: ChartData;
  data?: any;
}
export interface Result extends ResultForms {
  formats(): string[];
}
export interface ExecutionError {
  name: string;
  message: string;
  traceback: string[];
  lineNumber?: number;
}
export interface RunCodeOptions {
  context?: CodeContext;
  language?: 'python' | 'javascript' | 'typescript';
  /** Refused: variables belong to a context. */
  envVars?: Variables;
  timeout?: number;
  signal?: AbortSignal;
  idempotencyKey?: string;
  onStdout?: (output: OutputMessage) => void | Promise<void>;
  onStderr?: (output: OutputMessage) => void | Promise<void>;
  onResult?: (result: Result) => void | Promise<void>;
  onError?: (error: ExecutionError) => void | Promise<void>;
}
export interface ExecutionResult {
  code: string;
  logs: { stdout: string[]; stderr: string[] };
  error?: ExecutionError;
  executionCount?: number;
  results: ResultForms[];
}
export class Execution {
  constructor(code: string, context: CodeContext);
  readonly code: string;
  readonly context: CodeContext;
  results: Result[];
  logs: { stdout: string[]; stderr: string[] };
  error?: ExecutionError;
  executionCount?: number;
  toJSON(): ExecutionResult;
}
export class CodeInterpreter {
  constructor(sandbox: Sandbox);
  createCodeContext(options?: CreateContextOptions): Promise<CodeContext>;
  runCode(code: string, options?: RunCodeOptions): Promise<Execution>;
  runCodeStream(code: string, options?: RunCodeOptions): Promise<ReadableStream<Uint8Array>>;
  listCodeContexts(): Promise<CodeContext[]>;
  deleteCodeContext(contextId: string): Promise<void>;
  /** Berm's own: stops the code that runs and keeps the context; false when nothing ran. */
  interruptCodeContext(contextId: string): Promise<boolean>;
}

// Terminals

export interface PtyOptions {
  cols?: number;
  rows?: number;
  shell?: string;
}
/** Berm's own. Iterating gives the output until the connection ends. */
export class Terminal implements AsyncIterable<Uint8Array> {
  private constructor();
  readonly exited: Promise<{ code: number; signal?: string } | undefined>;
  write(data: string | Uint8Array): void;
  resize(cols: number, rows: number): void;
  close(): void;
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array>;
}

// Buckets and backups

export interface BucketCredentials {
  accessKeyId: string;
  secretAccessKey: string;
}
export type BucketProvider = 'r2' | 's3' | 'gcs';
export interface MountBucketOptions {
  endpoint?: string;
  provider?: BucketProvider;
  credentials?: BucketCredentials;
  readOnly?: boolean;
  s3fsOptions?: string[];
  prefix?: string;
  credentialProxy?: boolean;
  /** Refused: what is synchronised with a binding exists in Workers only. */
  localBucket?: boolean;
}
export interface BackupOptions {
  dir: string;
  [option: string]: unknown;
}
export interface DirectoryBackup {
  readonly id: string;
  readonly dir: string;
  readonly localBucket?: boolean;
}
export interface RestoreBackupResult {
  success: boolean;
  dir: string;
  id: string;
}

// Sessions

export interface SessionOptions {
  id?: string;
  name?: string;
  env?: Variables;
  cwd?: string;
  isolation?: boolean;
  commandTimeoutMs?: number;
}
export interface SessionDeleteResult {
  success: boolean;
  sessionId: string;
  timestamp: string;
}

export class ExecutionSession {
  protected constructor(...internal: never[]);
  readonly id: string;
  exec(command: string, options?: ExecOptions): Promise<ExecResult>;
  execStream(command: string, options?: StreamOptions): Promise<ReadableStream<Uint8Array>>;
  /** Berm's own: a program with its arguments, bytes in and out. */
  execArgv(argv: string[], options?: ArgvOptions): Promise<ArgvResult>;
  startProcess(command: string, options?: ProcessOptions, sessionId?: string): Promise<Process>;
  listProcesses(sessionId?: string): Promise<Process[]>;
  getProcess(id: string, sessionId?: string): Promise<Process | null>;
  killProcess(id: string, signal?: string, sessionId?: string): Promise<void>;
  killAllProcesses(sessionId?: string): Promise<number>;
  cleanupCompletedProcesses(): Promise<number>;
  getProcessLogs(id: string): Promise<{ stdout: string; stderr: string; processId: string }>;
  /** `from` is Berm's own: "<stdout>,<stderr>", offsets of an earlier stream's events. */
  streamProcessLogs(processId: string, options?: { signal?: AbortSignal; from?: string }): Promise<ReadableStream<Uint8Array>>;
  /** Berm's own. */
  writeProcessStdin(id: string, data?: string | Uint8Array, options?: { close?: boolean }): Promise<void>;
  /** Berm's own. */
  signalProcess(id: string, signal: string | number): Promise<number>;
  /** Berm's own: the events that Process.waitForPort() waits for. */
  watchPort(request: PortWatchRequest, options?: { signal?: AbortSignal }): Promise<ReadableStream<Uint8Array>>;
  writeFile(path: string, content: string | ReadableStream<Uint8Array>, options?: { encoding?: string; sessionId?: string; idempotencyKey?: string }): Promise<WriteFileResult>;
  readFile(path: string, options: { encoding: 'none'; sessionId?: string }): Promise<ReadFileStreamResult>;
  readFile(path: string, options?: { encoding?: Exclude<FileEncoding, 'none'>; sessionId?: string }): Promise<ReadFileResult>;
  /** Berm's own: a part of a file below /workspace, or all of it, as bytes. */
  readBytes(path: string, options?: { offset?: number; length?: number }): Promise<Uint8Array>;
  readFileStream(path: string, options?: { sessionId?: string }): Promise<ReadableStream<Uint8Array>>;
  mkdir(path: string, options?: { recursive?: boolean; sessionId?: string }): Promise<MkdirResult>;
  deleteFile(path: string, sessionId?: string): Promise<DeleteFileResult>;
  renameFile(oldPath: string, newPath: string, sessionId?: string): Promise<RenameFileResult>;
  moveFile(sourcePath: string, destinationPath: string, sessionId?: string): Promise<MoveFileResult>;
  listFiles(path: string, options?: ListFilesOptions): Promise<ListFilesResult>;
  /** Berm's own: what listFiles() tells of an entry. */
  statFile(path: string, sessionId?: string): Promise<FileInfo>;
  exists(path: string, sessionId?: string): Promise<FileExistsResult>;
  watch(path: string, options?: WatchOptions & { signal?: AbortSignal }): Promise<ReadableStream<Uint8Array>>;
  checkChanges(path: string, options?: CheckChangesOptions): Promise<CheckChangesResult>;
  gitCheckout(repoUrl: string, options?: GitCheckoutOptions): Promise<GitCheckoutResult>;
  setEnvVars(envVars: Record<string, string | undefined | null>): Promise<void>;
  createCodeContext(options?: CreateContextOptions): Promise<CodeContext>;
  runCode(code: string, options?: RunCodeOptions): Promise<ExecutionResult>;
  runCodeStream(code: string, options?: RunCodeOptions): Promise<ReadableStream<Uint8Array>>;
  listCodeContexts(): Promise<CodeContext[]>;
  deleteCodeContext(contextId: string): Promise<void>;
  /** Berm's own. */
  interruptCodeContext(contextId: string): Promise<boolean>;
  mountBucket(bucket: string, mountPath: string, options: MountBucketOptions): Promise<void>;
  unmountBucket(mountPath: string): Promise<void>;
  /** Not supported: throws. */
  createBackup(options: BackupOptions): Promise<DirectoryBackup>;
  /** Not supported: throws. */
  restoreBackup(backup: DirectoryBackup): Promise<RestoreBackupResult>;
  /** Not supported outside Workers: throws. */
  terminal(request: Request, options?: PtyOptions): Promise<Response>;
  /** Berm's own: the session's terminal, open and ready. */
  openTerminal(options?: PtyOptions): Promise<Terminal>;
  /** Berm's own: the WebSocket of the same. */
  terminalUrl(options?: PtyOptions): string;
}

// The sandbox

export interface Limits {
  memoryBytes?: number;
  cpuMillis?: number;
  pids?: number;
  diskBytes?: number;
  nofile?: number;
}
/** As in docs/api.md. */
export interface EgressPolicy {
  mode?: 'allow' | 'deny';
  hosts?: (string | { host: string; ports?: (number | string)[]; methods?: string[]; paths?: string[] })[];
  cidrs?: (string | { cidr: string; ports?: (number | string)[] })[];
  ports?: (number | string)[];
  deny?: { hosts?: string[]; cidrs?: string[] };
}
export interface EgressState {
  network: 'internet' | 'none';
  state: 'up' | 'down' | 'none';
  isDefault: boolean;
  policy: EgressPolicy;
  counters: Record<string, number>;
  denied: { time: string; what: string; reason: string; host: string | null; address: string | null; port: number | null }[];
}
/** Settings of a sandbox, Berm's own but for `sleepAfter`, `keepAlive` and `labels`. */
export interface Settings {
  /** What people call it in lists, not unique; '' takes it away. The id comes from the name that getSandbox() is given. */
  displayName?: string;
  sleepAfter?: string | number;
  keepAlive?: boolean;
  labels?: Record<string, string>;
  image?: string;
  limits?: Limits;
  env?: Record<string, string | null>;
  network?: 'internet' | 'none';
  egress?: EgressPolicy;
}
export type SandboxTransport = 'http' | 'websocket' | 'rpc';
export interface SandboxOptions extends Settings {
  enableDefaultSession?: boolean;
  normalizeId?: boolean;
  /** Without effect: the daemon has its own. */
  containerTimeouts?: { instanceGetTimeoutMS?: number; portReadyTimeoutMS?: number; waitIntervalMS?: number };
  /** Without effect: there is one transport, which can do what each of these can. */
  transport?: SandboxTransport;
}
export interface ConnectionOptions {
  /** The daemon; default BERM_URL, in a page its own origin. */
  url?: string;
  /** Default BERM_API_KEY. */
  apiKey?: string;
  fetch?: typeof fetch;
}
export interface Usage {
  memoryBytes: number;
  memoryPeakBytes: number;
  cpuUsec: number;
  diskBytes: number;
  pids: number;
  oomKills: number;
  networkBytesIn: number;
  networkBytesOut: number;
}
export interface Description {
  id: string;
  name: string | null;
  state: 'creating' | 'running' | 'sleeping' | 'stopped';
  generation: number;
  image: string;
  imageDigest: string;
  limits: Required<Limits>;
  env: string[];
  labels: Record<string, string>;
  network: 'internet' | 'none';
  sleepAfter: number;
  keepAlive: boolean;
  createdAt: string;
  startedAt: string | null;
  lastUsedAt: string | null;
  endReason: string | null;
  exitStatus: number | null;
  usage?: Usage | null;
}
export interface Stats {
  state: Description['state'];
  generation: number;
  time: string;
  limits: Required<Limits>;
  usage: Usage | null;
}
export interface SandboxEvent {
  /** In streams; events of the link to an edge have none. */
  sandbox?: string;
  number: number;
  time: string;
  event: string;
  reason: string | null;
  detail: string | null;
  generation: number;
}
export interface ExposedPort {
  url: string;
  port: number;
  name?: string;
  token?: string;
  path?: string;
  expiresAt?: string;
}

/** How a daemon behind NAT is reached. All but `state` are missing where no edge is configured. */
export interface Link {
  state: 'off' | 'connecting' | 'authenticating' | 'refused' | 'up' | 'broken';
  /** Cloudflare's edge is used. */
  connector?: 'cloudflared';
  processes?: number;
  edge?: string;
  name?: string | null;
  url?: string | null;
  transport?: 'quic' | 'h2' | null;
  peer?: string | null;
  error?: string | null;
  since?: string;
  links?: number;
  streams?: number;
  streamsOpen?: number;
}

export interface TunnelInfo {
  id: string;
  port: number;
  url: string;
  hostname: string;
  createdAt: string;
  name?: string;
}
export interface TunnelOptions {
  name?: string;
}

export class Sandbox extends ExecutionSession {
  /** As it was given; `id` is what the daemon knows it under. */
  readonly name: string;
  readonly interpreter: CodeInterpreter;
  readonly tunnels: {
    get(port: number, options?: TunnelOptions): Promise<TunnelInfo>;
    list(): Promise<TunnelInfo[]>;
    destroy(portOrInfo: number | TunnelInfo): Promise<void>;
  };
  /** Berm's own. */
  readonly egress: {
    get(): Promise<EgressState>;
    set(policy: EgressPolicy): Promise<EgressState>;
    reset(): Promise<EgressState>;
  };
  /** Berm's own: makes the sandbox now, or changes settings. */
  configure(settings?: Settings, options?: { idempotencyKey?: string }): Promise<Description>;
  /** Berm's own. */
  describe(options?: { usage?: boolean }): Promise<Description>;
  /** Berm's own. */
  stats(): Promise<Stats>;
  /** Berm's own. */
  events(): Promise<SandboxEvent[]>;
  /** Berm's own: a stream of the events to come, or of those behind the one with the number `after`. */
  followEvents(options?: { after?: number; signal?: AbortSignal }): Promise<ReadableStream<Uint8Array>>;
  /** Berm's own. */
  isRunning(): Promise<boolean>;
  start(): Promise<void>;
  setSleepAfter(sleepAfter: string | number): Promise<void>;
  setKeepAlive(keepAlive: boolean): Promise<void>;
  setLabels(labels: Record<string, string>): Promise<void>;
  /** Berm's own: those that are named; null takes away. */
  changeLabels(changes: Record<string, string | null>): Promise<void>;
  getState(): Promise<{ status: 'running' | 'healthy' | 'stopped' | 'stopped_with_code'; lastChange: number; exitCode?: number }>;
  destroy(): Promise<void>;
  createSession(options?: SessionOptions): Promise<ExecutionSession>;
  getSession(sessionId: string): Promise<ExecutionSession>;
  deleteSession(sessionId: string): Promise<SessionDeleteResult>;
  /** Berm's own. */
  listSessions(): Promise<string[]>;
  getContainerPlacementId(): Promise<string | null | undefined>;
  /** Berm's own: /workspace as a tar stream. */
  persist(options?: { excludes?: string[] }): Promise<ReadableStream<Uint8Array>>;
  /** Berm's own. */
  hydrate(archive: Uint8Array | ReadableStream<Uint8Array>): Promise<void>;
  exposePort(port: number, options?: { hostname?: string; name?: string; token?: string; expiresIn?: number }): Promise<ExposedPort>;
  unexposePort(port: number): Promise<void>;
  getExposedPorts(hostname?: string): Promise<(ExposedPort & { status: 'active' })[]>;
  isPortExposed(port: number): Promise<boolean>;
  fetch(request: Request): Promise<Response>;
  /** Port 3000, the control server, only. */
  containerFetch(request: Request | string | URL, portOrInit?: number | RequestInit, port?: number): Promise<Response>;
  setAllowedHosts(hosts: string[]): Promise<void>;
  setDeniedHosts(hosts: string[]): Promise<void>;
  allowHost(host: string): Promise<void>;
  denyHost(host: string): Promise<void>;
  removeAllowedHost(host: string): Promise<void>;
  removeDeniedHost(host: string): Promise<void>;
  /** Not supported outside Workers: throws, like those below. */
  wsConnect(request: Request, port: number): Promise<Response>;
  stop(signal?: string | number): Promise<never>;
  startAndWaitForPorts(...args: unknown[]): Promise<never>;
  renewActivityTimeout(): Promise<never>;
  schedule(...args: unknown[]): Promise<never>;
  deleteSchedules(name: string): Promise<never>;
  listSchedules(name: string): Promise<never>;
  setOutboundHandler(...args: unknown[]): Promise<never>;
  setOutboundByHost(...args: unknown[]): Promise<never>;
  setOutboundByHosts(...args: unknown[]): Promise<never>;
  removeOutboundByHost(host: string): Promise<never>;
  setContainerTimeouts(timeouts: SandboxOptions['containerTimeouts']): Promise<never>;
  setTransport(transport: SandboxTransport): Promise<never>;
  setSandboxName(name: string): Promise<never>;
  validatePortToken(port: number, token: string): Promise<never>;
}

/** A handle; makes no request by itself. Names that are no ids of the daemon's are written in base32 there. */
export function getSandbox(id: string, options?: SandboxOptions & ConnectionOptions): Sandbox;
/** With a daemon in the place of a Worker's namespace. */
export function getSandbox(daemon: Berm, id: string, options?: SandboxOptions): Sandbox;
/** The id under which the daemon knows a name. */
export function sandboxId(name: string): string;

/** A daemon. */
export class Berm {
  constructor(options?: ConnectionOptions);
  readonly url: string;
  sandbox(id: string, options?: SandboxOptions): Sandbox;
  newId(): Promise<string>;
  listSandboxes(options?: { labels?: Record<string, string | null>; state?: Description['state']; name?: string; limit?: number; cursor?: string }): Promise<{ sandboxes: Description[]; cursor: string | null }>;
  sandboxes(options?: { labels?: Record<string, string | null>; state?: Description['state']; name?: string }): AsyncGenerator<Description>;
  followEvents(options?: { signal?: AbortSignal }): Promise<ReadableStream<Uint8Array>>;
  health(): Promise<{ ok: boolean }>;
  host(): Promise<Record<string, unknown>>;
  images(): Promise<{ name: string; digest: string; sizeBytes: number; createdAt: string; default: boolean }[]>;
  keys(): Promise<{ id: string; label: string | null; createdAt: string }[]>;
  createKey(options?: { label?: string }): Promise<{ id: string; key: string; label: string | null; createdAt: string }>;
  deleteKey(id: string): Promise<void>;
  secrets(): Promise<{ name: string; setAt: string }[]>;
  setSecret(name: string, value: string): Promise<{ name: string; setAt: string }>;
  deleteSecret(name: string): Promise<void>;
  /** The link to the public edge of a daemon behind NAT; only `state` without one. */
  link(): Promise<Link>;
  poolStats(): Promise<{ warm: number; assigned: number; total: number; config: Record<string, number>; maxInstances: number | null }>;
  primePool(): Promise<void>;
  shutdownPrewarmed(): Promise<void>;
  openapi(): Promise<any>;
  metrics(): Promise<string>;
}

// Helpers

export function parseSSEStream<T>(stream: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<T>;
export function responseToAsyncIterable<T>(response: Response, signal?: AbortSignal): AsyncGenerator<T>;
export function asyncIterableToSSEStream<T>(events: AsyncIterable<T>, options?: { signal?: AbortSignal; serialize?: (event: T) => string }): ReadableStream<Uint8Array>;
export function streamFile(stream: ReadableStream<Uint8Array>): AsyncGenerator<FileChunk, FileMetadata>;
export function collectFile(stream: ReadableStream<Uint8Array>): Promise<{ content: string | Uint8Array; metadata: FileMetadata }>;
export function isExecResult(value: any): value is ExecResult;
export function isProcess(value: any): value is Process;
export function isProcessStatus(value: string): value is ProcessStatus;
/** Always false: there is no Durable Object that could be reset. */
export function isDurableObjectCodeUpdateReset(error: unknown): boolean;
/** Always false: there is no platform below the daemon. */
export function isPlatformTransientError(error: unknown): boolean;
/** Not supported: throws. The daemon serves preview URLs itself. */
export function proxyToSandbox(request?: Request, env?: unknown): never;
/** Not supported: throws. */
export function proxyTerminal(...args: unknown[]): never;
