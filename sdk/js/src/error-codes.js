/* From the codes of the wire to classes of errors. */
import * as errors from './errors.js';

const byCode = {
  FILE_NOT_FOUND: errors.FileNotFoundError,
  FILE_EXISTS: errors.FileExistsError,
  FILE_TOO_LARGE: errors.FileTooLargeError,
  PERMISSION_DENIED: errors.PermissionDeniedError,
  IS_DIRECTORY: errors.FileSystemError,
  NOT_DIRECTORY: errors.FileSystemError,
  NO_SPACE: errors.FileSystemError,
  TOO_MANY_FILES: errors.FileSystemError,
  RESOURCE_BUSY: errors.FileSystemError,
  READ_ONLY: errors.FileSystemError,
  NAME_TOO_LONG: errors.FileSystemError,
  TOO_MANY_LINKS: errors.FileSystemError,
  FILESYSTEM_ERROR: errors.FileSystemError,
  COMMAND_NOT_FOUND: errors.CommandNotFoundError,
  COMMAND_PERMISSION_DENIED: errors.CommandError,
  COMMAND_EXECUTION_ERROR: errors.CommandError,
  INVALID_COMMAND: errors.CommandError,
  STREAM_START_ERROR: errors.CommandError,
  PROCESS_NOT_FOUND: errors.ProcessNotFoundError,
  PROCESS_PERMISSION_DENIED: errors.ProcessError,
  PROCESS_ERROR: errors.ProcessError,
  PROCESS_READY_TIMEOUT: errors.ProcessReadyTimeoutError,
  PROCESS_EXITED_BEFORE_READY: errors.ProcessExitedBeforeReadyError,
  SESSION_ALREADY_EXISTS: errors.SessionAlreadyExistsError,
  SESSION_DESTROYED: errors.SessionDestroyedError,
  SESSION_TERMINATED: errors.SessionTerminatedError,
  PORT_ALREADY_EXPOSED: errors.PortAlreadyExposedError,
  PORT_NOT_EXPOSED: errors.PortNotExposedError,
  INVALID_PORT: errors.InvalidPortError,
  INVALID_PORT_NUMBER: errors.InvalidPortError,
  SERVICE_NOT_RESPONDING: errors.ServiceNotRespondingError,
  PORT_IN_USE: errors.PortInUseError,
  PORT_OPERATION_ERROR: errors.PortError,
  CUSTOM_DOMAIN_REQUIRED: errors.CustomDomainRequiredError,
  GIT_REPOSITORY_NOT_FOUND: errors.GitRepositoryNotFoundError,
  GIT_AUTH_FAILED: errors.GitAuthenticationError,
  GIT_BRANCH_NOT_FOUND: errors.GitBranchNotFoundError,
  GIT_NETWORK_ERROR: errors.GitNetworkError,
  GIT_CLONE_FAILED: errors.GitCloneError,
  GIT_CHECKOUT_FAILED: errors.GitCheckoutError,
  INVALID_GIT_URL: errors.InvalidGitUrlError,
  GIT_OPERATION_FAILED: errors.GitError,
  INTERPRETER_NOT_READY: errors.InterpreterNotReadyError,
  CONTEXT_NOT_FOUND: errors.ContextNotFoundError,
  CODE_EXECUTION_ERROR: errors.CodeExecutionError,
  VALIDATION_FAILED: errors.ValidationFailedError,
  BACKUP_NOT_FOUND: errors.BackupNotFoundError,
  BACKUP_EXPIRED: errors.BackupExpiredError,
  INVALID_BACKUP_CONFIG: errors.InvalidBackupConfigError,
  BACKUP_CREATE_FAILED: errors.BackupCreateError,
  BACKUP_RESTORE_FAILED: errors.BackupRestoreError,
  BUCKET_MOUNT_ERROR: errors.BucketMountError,
  S3FS_MOUNT_ERROR: errors.S3FSMountError,
  BUCKET_UNMOUNT_ERROR: errors.BucketUnmountError,
  MISSING_CREDENTIALS: errors.MissingCredentialsError,
  INVALID_MOUNT_CONFIG: errors.InvalidMountConfigError,
  mount_error: errors.BucketMountError,
  unmount_error: errors.BucketUnmountError,
  CONTAINER_UNAVAILABLE: errors.ContainerUnavailableError,
  OPERATION_INTERRUPTED: errors.OperationInterruptedError,
  RPC_TRANSPORT_ERROR: errors.RPCTransportError,
  exec_transport_error: errors.RPCTransportError,
  exec_error: errors.CommandError,
  invalid_request: errors.InvalidRequestError,
  unauthorized: errors.UnauthorizedError,
  not_found: errors.NotFoundError,
  sandbox_not_found: errors.SandboxNotFoundError,
  conflict: errors.ConflictError,
  stale_generation: errors.StaleGenerationError,
};

/* The bridge has one code for all that a mount can fail with; which one it is, by the SDK's name, is its reason. */
const ofMount = (context) => (byCode[context.reason]?.prototype instanceof errors.BucketMountError ? { code: context.reason } : {});

/* What the daemon has a word of its own for and the SDK another. */
const translated = {
  capacity_exceeded: (context, retryAfter) => ({
    code: 'CONTAINER_UNAVAILABLE',
    context: { ...context, reason: 'max_container_instances_exceeded', retryable: true,
      ...(retryAfter ? { retryAfterMs: retryAfter * 1000 } : {}) },
  }),
  mount_error: ofMount,
  unmount_error: ofMount,
  sandbox_died: (context) => ({
    code: 'OPERATION_INTERRUPTED',
    context: { ...context, endReason: context.reason, reason: 'runtime_replaced', admitted: 'unknown', retryable: true },
  }),
};

/* The error of the class that its code stands for. */
export function errorFrom(response, options) {
  return new (byCode[response.code] ?? errors.SandboxError)(response, options);
}

/* In the layout of the daemon, `error` being the message, or in that of the control server. */
function told(body, httpStatus, retryAfter) {
  const message = body.message ?? body.error ?? body.code;
  const context = body.context ?? body.details ?? {};
  return errorFrom({ ...body, message, context, httpStatus, ...translated[body.code]?.(context, retryAfter) });
}

/* The error that a response's status and body tell. `operation`: the method that was called. */
export function errorOf(status, text, operation, retryAfter) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  if (typeof body?.code !== 'string')
    return new errors.SandboxError({ code: 'INTERNAL_ERROR', message: `HTTP error! status: ${status}`, httpStatus: status, context: { body: text.slice(0, 1000) } });
  if (body.code === 'not_implemented') return new errors.NotSupportedError(operation, body.message ?? body.error);
  return told(body, status, retryAfter);
}

/* The error that an `error` event of a stream tells. */
export function errorOfEvent({ code = 'COMMAND_EXECUTION_ERROR', error, data, reason }) {
  return told({ code, message: error ?? data ?? 'The stream failed', context: reason === undefined ? {} : { reason } }, 502);
}

export function transportError(cause, operation) {
  const originalMessage = cause?.cause?.message ?? cause?.message ?? String(cause);
  return errorFrom({ code: 'RPC_TRANSPORT_ERROR', message: `${operation}: ${originalMessage}`, httpStatus: 503,
    context: { kind: 'connection_failed', originalMessage, retryable: true } }, { cause });
}
