/*
 * What can go wrong, as classes. The names, codes and getters are those of the Cloudflare SDK; below them are the ones
 * for what only Berm's daemon says. Tell errors apart by `code`: it is the same on both sides.
 */

export class SandboxError extends Error {
  /* `response`: {code, message, context, httpStatus, operation?, timestamp?, suggestion?} */
  constructor(response, options) {
    super(response.message, options);
    this.name = new.target.name;
    this.errorResponse = { context: {}, httpStatus: 500, timestamp: new Date().toISOString(), ...response };
  }

  get code() {
    return this.errorResponse.code;
  }

  get context() {
    return this.errorResponse.context;
  }

  get httpStatus() {
    return this.errorResponse.httpStatus;
  }

  get operation() {
    return this.errorResponse.operation;
  }

  get suggestion() {
    return this.errorResponse.suggestion;
  }

  get timestamp() {
    return this.errorResponse.timestamp;
  }

  get documentation() {
    return this.errorResponse.documentation;
  }

  toJSON() {
    const { name, message, code, context, httpStatus, operation, suggestion, timestamp, documentation, stack } = this;
    return { name, message, code, context, httpStatus, operation, suggestion, timestamp, documentation, stack };
  }
}

/* Gives a class a getter for each of these members of the context. */
function expose(type, ...members) {
  for (const member of members) {
    Object.defineProperty(type.prototype, member, { get() { return this.context[member]; }, configurable: true });
  }
}

export class FileNotFoundError extends SandboxError {}
export class FileExistsError extends SandboxError {}
export class FileTooLargeError extends SandboxError {}
export class PermissionDeniedError extends SandboxError {}
export class FileSystemError extends SandboxError {}
for (const type of [FileNotFoundError, FileExistsError, FileTooLargeError, PermissionDeniedError]) expose(type, 'path');
expose(FileSystemError, 'path', 'stderr', 'exitCode');

export class CommandNotFoundError extends SandboxError {}
export class CommandError extends SandboxError {}
expose(CommandNotFoundError, 'command');
expose(CommandError, 'command', 'exitCode', 'stdout', 'stderr');

export class ProcessNotFoundError extends SandboxError {}
export class ProcessError extends SandboxError {}
export class ProcessReadyTimeoutError extends SandboxError {}
export class ProcessExitedBeforeReadyError extends SandboxError {}
expose(ProcessNotFoundError, 'processId');
expose(ProcessError, 'processId', 'pid', 'exitCode', 'stderr');
expose(ProcessReadyTimeoutError, 'processId', 'command', 'condition', 'timeout');
expose(ProcessExitedBeforeReadyError, 'processId', 'command', 'condition', 'exitCode');

export class SessionAlreadyExistsError extends SandboxError {}
export class SessionDestroyedError extends SandboxError {}
export class SessionTerminatedError extends SandboxError {}
expose(SessionAlreadyExistsError, 'sessionId', 'containerPlacementId');
expose(SessionDestroyedError, 'sessionId');
expose(SessionTerminatedError, 'sessionId', 'exitCode');

export class PortAlreadyExposedError extends SandboxError {}
export class PortNotExposedError extends SandboxError {}
export class InvalidPortError extends SandboxError {}
export class ServiceNotRespondingError extends SandboxError {}
export class PortInUseError extends SandboxError {}
export class PortError extends SandboxError {}
export class CustomDomainRequiredError extends SandboxError {}
expose(InvalidPortError, 'port', 'reason');
for (const type of [PortAlreadyExposedError, PortNotExposedError, ServiceNotRespondingError, PortInUseError, PortError])
  expose(type, 'port', 'portName', 'stderr');

export class GitError extends SandboxError {}
export class GitRepositoryNotFoundError extends SandboxError {}
export class GitAuthenticationError extends SandboxError {}
export class GitBranchNotFoundError extends SandboxError {}
export class GitNetworkError extends SandboxError {}
export class GitCloneError extends SandboxError {}
export class GitCheckoutError extends SandboxError {}
export class InvalidGitUrlError extends SandboxError {}
for (const type of [GitError, GitRepositoryNotFoundError, GitAuthenticationError, GitBranchNotFoundError, GitNetworkError,
  GitCloneError, GitCheckoutError]) expose(type, 'repository', 'branch', 'targetDir', 'stderr', 'exitCode');
expose(InvalidGitUrlError, 'validationErrors');

export class InterpreterNotReadyError extends SandboxError {}
export class ContextNotFoundError extends SandboxError {}
export class CodeExecutionError extends SandboxError {}
export class ValidationFailedError extends SandboxError {}
expose(InterpreterNotReadyError, 'retryAfter', 'progress');
expose(ContextNotFoundError, 'contextId');
expose(CodeExecutionError, 'contextId', 'ename', 'evalue', 'traceback');
expose(ValidationFailedError, 'validationErrors');

export class BackupNotFoundError extends SandboxError {}
export class BackupExpiredError extends SandboxError {}
export class InvalidBackupConfigError extends SandboxError {}
export class BackupCreateError extends SandboxError {}
export class BackupRestoreError extends SandboxError {}
for (const type of [BackupNotFoundError, BackupExpiredError, BackupCreateError, BackupRestoreError])
  expose(type, 'backupId', 'expiredAt', 'dir');
expose(InvalidBackupConfigError, 'reason');

export class BucketMountError extends SandboxError {}
export class S3FSMountError extends BucketMountError {}
export class BucketUnmountError extends BucketMountError {}
export class MissingCredentialsError extends BucketMountError {}
export class InvalidMountConfigError extends BucketMountError {}

/* The daemon has no room for another sandbox. The only error that is worth trying again as it is. */
export class ContainerUnavailableError extends SandboxError {}
/* The sandbox ended under the request; `reason` is `runtime_replaced`, `context.endReason` what the daemon says. */
export class OperationInterruptedError extends SandboxError {}
/* The connection to the daemon could not be made or broke. */
export class RPCTransportError extends SandboxError {}
expose(ContainerUnavailableError, 'reason', 'retryAfterMs');
expose(OperationInterruptedError, 'reason');
expose(RPCTransportError, 'kind', 'originalMessage');

/* Ids, ports, tokens and languages that are refused before anybody is asked. */
export class SandboxSecurityError extends Error {
  constructor(message, code) {
    super(message);
    this.name = 'SandboxSecurityError';
    this.code = code;
  }
}

/* Berm's own. */
export class InvalidRequestError extends SandboxError {}
export class UnauthorizedError extends SandboxError {}
export class NotFoundError extends SandboxError {}
export class SandboxNotFoundError extends SandboxError {}
export class ConflictError extends SandboxError {}
export class StaleGenerationError extends SandboxError {}
expose(InvalidRequestError, 'field');

/* What exists in a Worker only, or not in this version of the daemon. `method` names it. */
export class NotSupportedError extends SandboxError {
  constructor(method, why, options) {
    super({ code: 'NOT_SUPPORTED', message: `${method} is not supported: ${why}`, httpStatus: 501, context: { method } }, options);
  }

  get method() {
    return this.context.method;
  }
}

const byCode = {
  FILE_NOT_FOUND: FileNotFoundError,
  FILE_EXISTS: FileExistsError,
  FILE_TOO_LARGE: FileTooLargeError,
  PERMISSION_DENIED: PermissionDeniedError,
  IS_DIRECTORY: FileSystemError,
  NOT_DIRECTORY: FileSystemError,
  NO_SPACE: FileSystemError,
  TOO_MANY_FILES: FileSystemError,
  RESOURCE_BUSY: FileSystemError,
  READ_ONLY: FileSystemError,
  NAME_TOO_LONG: FileSystemError,
  TOO_MANY_LINKS: FileSystemError,
  FILESYSTEM_ERROR: FileSystemError,
  COMMAND_NOT_FOUND: CommandNotFoundError,
  COMMAND_PERMISSION_DENIED: CommandError,
  COMMAND_EXECUTION_ERROR: CommandError,
  INVALID_COMMAND: CommandError,
  STREAM_START_ERROR: CommandError,
  PROCESS_NOT_FOUND: ProcessNotFoundError,
  PROCESS_PERMISSION_DENIED: ProcessError,
  PROCESS_ERROR: ProcessError,
  PROCESS_READY_TIMEOUT: ProcessReadyTimeoutError,
  PROCESS_EXITED_BEFORE_READY: ProcessExitedBeforeReadyError,
  SESSION_ALREADY_EXISTS: SessionAlreadyExistsError,
  SESSION_DESTROYED: SessionDestroyedError,
  SESSION_TERMINATED: SessionTerminatedError,
  PORT_ALREADY_EXPOSED: PortAlreadyExposedError,
  PORT_NOT_EXPOSED: PortNotExposedError,
  INVALID_PORT: InvalidPortError,
  INVALID_PORT_NUMBER: InvalidPortError,
  SERVICE_NOT_RESPONDING: ServiceNotRespondingError,
  PORT_IN_USE: PortInUseError,
  PORT_OPERATION_ERROR: PortError,
  CUSTOM_DOMAIN_REQUIRED: CustomDomainRequiredError,
  GIT_REPOSITORY_NOT_FOUND: GitRepositoryNotFoundError,
  GIT_AUTH_FAILED: GitAuthenticationError,
  GIT_BRANCH_NOT_FOUND: GitBranchNotFoundError,
  GIT_NETWORK_ERROR: GitNetworkError,
  GIT_CLONE_FAILED: GitCloneError,
  GIT_CHECKOUT_FAILED: GitCheckoutError,
  INVALID_GIT_URL: InvalidGitUrlError,
  GIT_OPERATION_FAILED: GitError,
  INTERPRETER_NOT_READY: InterpreterNotReadyError,
  CONTEXT_NOT_FOUND: ContextNotFoundError,
  CODE_EXECUTION_ERROR: CodeExecutionError,
  VALIDATION_FAILED: ValidationFailedError,
  BACKUP_NOT_FOUND: BackupNotFoundError,
  BACKUP_EXPIRED: BackupExpiredError,
  INVALID_BACKUP_CONFIG: InvalidBackupConfigError,
  BACKUP_CREATE_FAILED: BackupCreateError,
  BACKUP_RESTORE_FAILED: BackupRestoreError,
  BUCKET_MOUNT_ERROR: BucketMountError,
  S3FS_MOUNT_ERROR: S3FSMountError,
  BUCKET_UNMOUNT_ERROR: BucketUnmountError,
  MISSING_CREDENTIALS: MissingCredentialsError,
  INVALID_MOUNT_CONFIG: InvalidMountConfigError,
  mount_error: BucketMountError,
  unmount_error: BucketUnmountError,
  CONTAINER_UNAVAILABLE: ContainerUnavailableError,
  OPERATION_INTERRUPTED: OperationInterruptedError,
  RPC_TRANSPORT_ERROR: RPCTransportError,
  invalid_request: InvalidRequestError,
  unauthorized: UnauthorizedError,
  not_found: NotFoundError,
  sandbox_not_found: SandboxNotFoundError,
  conflict: ConflictError,
  stale_generation: StaleGenerationError,
};

/* What the daemon has a word of its own for and the SDK another. */
const translated = {
  capacity_exceeded: (context, retryAfter) => ({
    code: 'CONTAINER_UNAVAILABLE',
    context: { ...context, reason: 'max_container_instances_exceeded', retryable: true,
      ...(retryAfter ? { retryAfterMs: retryAfter * 1000 } : {}) },
  }),
  sandbox_died: (context) => ({
    code: 'OPERATION_INTERRUPTED',
    context: { ...context, endReason: context.reason, reason: 'runtime_replaced', admitted: 'unknown', retryable: true },
  }),
};

/* The error that a response's status and body say. `operation`: the method that was called. */
export function errorOf(status, text, operation, retryAfter) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (typeof body !== 'object' || body === null || typeof body.code !== 'string')
    return new SandboxError({ code: 'INTERNAL_ERROR', message: `HTTP error! status: ${status}`, httpStatus: status, context: { body: text.slice(0, 1000) } });
  const message = body.message ?? body.error ?? body.code;
  const context = body.context ?? body.details ?? {};
  if (body.code === 'not_implemented') return new NotSupportedError(operation, message);
  const other = translated[body.code]?.(context, retryAfter);
  return errorFrom({ ...body, message, context, httpStatus: status, ...other });
}

/* The error of the class that its code stands for. */
export function errorFrom(response, options) {
  return new (byCode[response.code] ?? SandboxError)(response, options);
}

export function transportError(cause, operation) {
  const originalMessage = cause?.cause?.message ?? cause?.message ?? String(cause);
  return errorFrom({ code: 'RPC_TRANSPORT_ERROR', message: `${operation}: ${originalMessage}`, httpStatus: 503,
    context: { kind: 'connection_failed', originalMessage, retryable: true } }, { cause });
}
