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

  toJSON() {
    const { name, message, code, context, httpStatus, operation, suggestion, timestamp, documentation, stack } = this;
    return { name, message, code, context, httpStatus, operation, suggestion, timestamp, documentation, stack };
  }
}

/* Gives a class a getter for each of these members of one of its own. */
function mirror(type, source, members) {
  for (const member of members) Object.defineProperty(type.prototype, member, { get() { return this[source][member]; }, configurable: true });
}

mirror(SandboxError, 'errorResponse', ['code', 'context', 'httpStatus', 'operation', 'suggestion', 'timestamp', 'documentation']);
const expose = (type, ...members) => mirror(type, 'context', members);

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
