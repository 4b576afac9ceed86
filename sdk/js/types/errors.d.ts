/* The classes of errors; tell them apart by `code`, which is the same in every client. */

export interface ErrorResponse {
  code: string;
  message: string;
  context?: Record<string, any>;
  httpStatus?: number;
  operation?: string;
  timestamp?: string;
  suggestion?: string;
  documentation?: string;
}

export class SandboxError extends Error {
  constructor(response: ErrorResponse, options?: { cause?: unknown });
  readonly errorResponse: Required<Pick<ErrorResponse, 'code' | 'message' | 'context' | 'httpStatus' | 'timestamp'>> & ErrorResponse;
  readonly code: string;
  readonly context: Record<string, any>;
  readonly httpStatus: number;
  readonly operation: string | undefined;
  readonly suggestion: string | undefined;
  readonly timestamp: string;
  readonly documentation: string | undefined;
  toJSON(): Record<string, unknown>;
}

/** Ids, ports, tokens and languages that are refused before anybody is asked. */
export class SandboxSecurityError extends Error {
  constructor(message: string, code?: string);
  readonly code?: string;
}

/** What exists in a Worker only, or not in this version of the daemon. */
export class NotSupportedError extends SandboxError {
  constructor(method: string, why: string, options?: { cause?: unknown });
  readonly method: string;
}

export class FileNotFoundError extends SandboxError {
  readonly path: string;
}
export class FileExistsError extends SandboxError {
  readonly path: string;
}
export class FileTooLargeError extends SandboxError {
  readonly path: string;
}
export class PermissionDeniedError extends SandboxError {
  readonly path: string;
}
export class FileSystemError extends SandboxError {
  readonly path: string;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class CommandNotFoundError extends SandboxError {
  readonly command: string;
}
export class CommandError extends SandboxError {
  readonly command: string;
  readonly exitCode: number;
  readonly stdout: string | undefined;
  readonly stderr: string | undefined;
}
export class ProcessNotFoundError extends SandboxError {
  readonly processId: string;
}
export class ProcessError extends SandboxError {
  readonly processId: string;
  readonly pid: number | undefined;
  readonly exitCode: number;
  readonly stderr: string | undefined;
}
export class ProcessReadyTimeoutError extends SandboxError {
  readonly processId: string;
  readonly command: string;
  readonly condition: string;
  readonly timeout: number;
}
export class ProcessExitedBeforeReadyError extends SandboxError {
  readonly processId: string;
  readonly command: string;
  readonly condition: string;
  readonly exitCode: number;
}
export class SessionAlreadyExistsError extends SandboxError {
  readonly sessionId: string;
  readonly containerPlacementId: string | null;
}
export class SessionDestroyedError extends SandboxError {
  readonly sessionId: string;
}
export class SessionTerminatedError extends SandboxError {
  readonly sessionId: string;
  readonly exitCode: number | null;
}
export class PortAlreadyExposedError extends SandboxError {
  readonly port: number;
  readonly portName: string | undefined;
  readonly stderr: string | undefined;
}
export class PortNotExposedError extends SandboxError {
  readonly port: number;
  readonly portName: string | undefined;
  readonly stderr: string | undefined;
}
export class InvalidPortError extends SandboxError {
  readonly port: number;
  readonly reason: string;
}
export class ServiceNotRespondingError extends SandboxError {
  readonly port: number;
  readonly portName: string | undefined;
  readonly stderr: string | undefined;
}
export class PortInUseError extends SandboxError {
  readonly port: number;
  readonly portName: string | undefined;
  readonly stderr: string | undefined;
}
export class PortError extends SandboxError {
  readonly port: number;
  readonly portName: string | undefined;
  readonly stderr: string | undefined;
}
export class CustomDomainRequiredError extends SandboxError {}
export class GitError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class GitRepositoryNotFoundError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class GitAuthenticationError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class GitBranchNotFoundError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class GitNetworkError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class GitCloneError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class GitCheckoutError extends SandboxError {
  readonly repository: string;
  readonly branch: string | undefined;
  readonly targetDir: string | undefined;
  readonly stderr: string | undefined;
  readonly exitCode: number;
}
export class InvalidGitUrlError extends SandboxError {
  readonly validationErrors: { field: string; message: string; code: string }[];
}
export class InterpreterNotReadyError extends SandboxError {
  readonly retryAfter: number | undefined;
  readonly progress: number | undefined;
}
export class ContextNotFoundError extends SandboxError {
  readonly contextId: string;
}
export class CodeExecutionError extends SandboxError {
  readonly contextId: string;
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: string[];
}
export class ValidationFailedError extends SandboxError {
  readonly validationErrors: { field: string; message: string; code: string }[];
}
export class BackupNotFoundError extends SandboxError {
  readonly backupId: string | undefined;
  readonly expiredAt: string | undefined;
  readonly dir: string;
}
export class BackupExpiredError extends SandboxError {
  readonly backupId: string | undefined;
  readonly expiredAt: string | undefined;
  readonly dir: string;
}
export class InvalidBackupConfigError extends SandboxError {
  readonly reason: string;
}
export class BackupCreateError extends SandboxError {
  readonly backupId: string | undefined;
  readonly expiredAt: string | undefined;
  readonly dir: string;
}
export class BackupRestoreError extends SandboxError {
  readonly backupId: string | undefined;
  readonly expiredAt: string | undefined;
  readonly dir: string;
}
export class BucketMountError extends SandboxError {}
export class S3FSMountError extends BucketMountError {}
export class BucketUnmountError extends BucketMountError {}
export class MissingCredentialsError extends BucketMountError {}
export class InvalidMountConfigError extends BucketMountError {}
export class ContainerUnavailableError extends SandboxError {
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
}
export class OperationInterruptedError extends SandboxError {
  readonly reason: string;
}
export class RPCTransportError extends SandboxError {
  readonly kind: string;
  readonly originalMessage: string;
}
export class InvalidRequestError extends SandboxError {
  readonly field: string | undefined;
}
export class UnauthorizedError extends SandboxError {}
export class NotFoundError extends SandboxError {}
export class SandboxNotFoundError extends SandboxError {}
export class ConflictError extends SandboxError {}
export class StaleGenerationError extends SandboxError {}
