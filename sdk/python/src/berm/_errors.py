"""What can go wrong.

The classes and codes are those of the Cloudflare SDK, and some for what only Berm's daemon says. Tell errors apart by
`code`, which is the same in every client. Members of `context` are attributes too, in Python's spelling: `error.exit_code`.
"""

from __future__ import annotations

import builtins
import json
import re
from typing import Any, Dict, Optional, Type

__all__ = [
    "SandboxError", "FileNotFoundError", "FileExistsError", "FileTooLargeError", "PermissionDeniedError", "FileSystemError",
    "CommandNotFoundError", "CommandError", "ProcessNotFoundError", "ProcessError", "ProcessReadyTimeoutError",
    "ProcessExitedBeforeReadyError", "SessionAlreadyExistsError", "SessionDestroyedError", "SessionTerminatedError",
    "PortAlreadyExposedError", "PortNotExposedError", "InvalidPortError", "ServiceNotRespondingError", "PortInUseError",
    "PortError", "CustomDomainRequiredError", "GitError", "GitRepositoryNotFoundError", "GitAuthenticationError",
    "GitBranchNotFoundError", "GitNetworkError", "GitCloneError", "GitCheckoutError", "InvalidGitUrlError",
    "InterpreterNotReadyError", "ContextNotFoundError", "CodeExecutionError", "ValidationFailedError", "BackupNotFoundError",
    "BackupExpiredError", "InvalidBackupConfigError", "BackupCreateError", "BackupRestoreError", "BucketMountError",
    "S3FSMountError", "BucketUnmountError", "MissingCredentialsError", "InvalidMountConfigError", "ContainerUnavailableError",
    "OperationInterruptedError", "RPCTransportError", "InvalidRequestError", "UnauthorizedError", "NotFoundError",
    "SandboxNotFoundError", "ConflictError", "StaleGenerationError", "NotSupportedError", "SandboxSecurityError",
]


def camel(name: str) -> str:
    """exit_code -> exitCode"""
    return re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)


class SandboxError(Exception):
    def __init__(self, code: str, message: str, context: Optional[Dict[str, Any]] = None, http_status: int = 500,
                 operation: Optional[str] = None, suggestion: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.context: Dict[str, Any] = context or {}
        self.http_status = http_status
        self.operation = operation
        self.suggestion = suggestion

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Any:
        return _restored, (type(self), self.__dict__)

    def __getattr__(self, name: str) -> Any:
        context = self.__dict__.get("context", {})
        if camel(name) in context:
            return context[camel(name)]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def _restored(kind: Type[SandboxError], members: Dict[str, Any]) -> SandboxError:
    error = kind.__new__(kind)
    error.__dict__.update(members)
    error.args = (members["message"],)
    return error


class FileNotFoundError(SandboxError, builtins.FileNotFoundError):
    pass


class FileExistsError(SandboxError, builtins.FileExistsError):
    pass


class FileTooLargeError(SandboxError):
    pass


class PermissionDeniedError(SandboxError):
    pass


class FileSystemError(SandboxError):
    pass


class CommandNotFoundError(SandboxError):
    pass


class CommandError(SandboxError):
    pass


class ProcessNotFoundError(SandboxError):
    pass


class ProcessError(SandboxError):
    pass


class ProcessReadyTimeoutError(SandboxError):
    pass


class ProcessExitedBeforeReadyError(SandboxError):
    pass


class SessionAlreadyExistsError(SandboxError):
    pass


class SessionDestroyedError(SandboxError):
    pass


class SessionTerminatedError(SandboxError):
    pass


class PortAlreadyExposedError(SandboxError):
    pass


class PortNotExposedError(SandboxError):
    pass


class InvalidPortError(SandboxError):
    pass


class ServiceNotRespondingError(SandboxError):
    pass


class PortInUseError(SandboxError):
    pass


class PortError(SandboxError):
    pass


class CustomDomainRequiredError(SandboxError):
    pass


class GitError(SandboxError):
    pass


class GitRepositoryNotFoundError(SandboxError):
    pass


class GitAuthenticationError(SandboxError):
    pass


class GitBranchNotFoundError(SandboxError):
    pass


class GitNetworkError(SandboxError):
    pass


class GitCloneError(SandboxError):
    pass


class GitCheckoutError(SandboxError):
    pass


class InvalidGitUrlError(SandboxError):
    pass


class InterpreterNotReadyError(SandboxError):
    pass


class ContextNotFoundError(SandboxError):
    pass


class CodeExecutionError(SandboxError):
    pass


class ValidationFailedError(SandboxError):
    pass


class BackupNotFoundError(SandboxError):
    pass


class BackupExpiredError(SandboxError):
    pass


class InvalidBackupConfigError(SandboxError):
    pass


class BackupCreateError(SandboxError):
    pass


class BackupRestoreError(SandboxError):
    pass


class BucketMountError(SandboxError):
    pass


class S3FSMountError(BucketMountError):
    pass


class BucketUnmountError(BucketMountError):
    pass


class MissingCredentialsError(BucketMountError):
    pass


class InvalidMountConfigError(BucketMountError):
    pass


class ContainerUnavailableError(SandboxError):
    """The daemon has no room for another sandbox: the only error that is worth trying again as it is."""


class OperationInterruptedError(SandboxError):
    """The sandbox ended under the request; `context["endReason"]` is what the daemon says."""


class RPCTransportError(SandboxError):
    """The connection to the daemon could not be made or broke."""


class InvalidRequestError(SandboxError):
    pass


class UnauthorizedError(SandboxError):
    pass


class NotFoundError(SandboxError):
    pass


class SandboxNotFoundError(SandboxError):
    pass


class ConflictError(SandboxError):
    pass


class StaleGenerationError(SandboxError):
    """The sandbox has been started anew since."""


class NotSupportedError(SandboxError):
    """What exists in a Worker only, or not in this version of the daemon."""

    def __init__(self, method: str, why: str) -> None:
        super().__init__("NOT_SUPPORTED", f"{method} is not supported: {why}", {"method": method}, 501)


class SandboxSecurityError(ValueError):
    """Ids, ports and languages that are refused before anybody is asked."""

    def __init__(self, message: str, code: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code


_BY_CODE = {
    "FILE_NOT_FOUND": FileNotFoundError,
    "FILE_EXISTS": FileExistsError,
    "FILE_TOO_LARGE": FileTooLargeError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "IS_DIRECTORY": FileSystemError,
    "NOT_DIRECTORY": FileSystemError,
    "NO_SPACE": FileSystemError,
    "TOO_MANY_FILES": FileSystemError,
    "RESOURCE_BUSY": FileSystemError,
    "READ_ONLY": FileSystemError,
    "NAME_TOO_LONG": FileSystemError,
    "TOO_MANY_LINKS": FileSystemError,
    "FILESYSTEM_ERROR": FileSystemError,
    "COMMAND_NOT_FOUND": CommandNotFoundError,
    "COMMAND_PERMISSION_DENIED": CommandError,
    "COMMAND_EXECUTION_ERROR": CommandError,
    "INVALID_COMMAND": CommandError,
    "STREAM_START_ERROR": CommandError,
    "PROCESS_NOT_FOUND": ProcessNotFoundError,
    "PROCESS_PERMISSION_DENIED": ProcessError,
    "PROCESS_ERROR": ProcessError,
    "PROCESS_READY_TIMEOUT": ProcessReadyTimeoutError,
    "PROCESS_EXITED_BEFORE_READY": ProcessExitedBeforeReadyError,
    "SESSION_ALREADY_EXISTS": SessionAlreadyExistsError,
    "SESSION_DESTROYED": SessionDestroyedError,
    "SESSION_TERMINATED": SessionTerminatedError,
    "PORT_ALREADY_EXPOSED": PortAlreadyExposedError,
    "PORT_NOT_EXPOSED": PortNotExposedError,
    "INVALID_PORT": InvalidPortError,
    "INVALID_PORT_NUMBER": InvalidPortError,
    "SERVICE_NOT_RESPONDING": ServiceNotRespondingError,
    "PORT_IN_USE": PortInUseError,
    "PORT_OPERATION_ERROR": PortError,
    "CUSTOM_DOMAIN_REQUIRED": CustomDomainRequiredError,
    "GIT_REPOSITORY_NOT_FOUND": GitRepositoryNotFoundError,
    "GIT_AUTH_FAILED": GitAuthenticationError,
    "GIT_BRANCH_NOT_FOUND": GitBranchNotFoundError,
    "GIT_NETWORK_ERROR": GitNetworkError,
    "GIT_CLONE_FAILED": GitCloneError,
    "GIT_CHECKOUT_FAILED": GitCheckoutError,
    "INVALID_GIT_URL": InvalidGitUrlError,
    "GIT_OPERATION_FAILED": GitError,
    "INTERPRETER_NOT_READY": InterpreterNotReadyError,
    "CONTEXT_NOT_FOUND": ContextNotFoundError,
    "CODE_EXECUTION_ERROR": CodeExecutionError,
    "VALIDATION_FAILED": ValidationFailedError,
    "BACKUP_NOT_FOUND": BackupNotFoundError,
    "BACKUP_EXPIRED": BackupExpiredError,
    "INVALID_BACKUP_CONFIG": InvalidBackupConfigError,
    "BACKUP_CREATE_FAILED": BackupCreateError,
    "BACKUP_RESTORE_FAILED": BackupRestoreError,
    "BUCKET_MOUNT_ERROR": BucketMountError,
    "S3FS_MOUNT_ERROR": S3FSMountError,
    "BUCKET_UNMOUNT_ERROR": BucketUnmountError,
    "MISSING_CREDENTIALS": MissingCredentialsError,
    "INVALID_MOUNT_CONFIG": InvalidMountConfigError,
    "mount_error": BucketMountError,
    "unmount_error": BucketUnmountError,
    "CONTAINER_UNAVAILABLE": ContainerUnavailableError,
    "OPERATION_INTERRUPTED": OperationInterruptedError,
    "RPC_TRANSPORT_ERROR": RPCTransportError,
    "exec_transport_error": RPCTransportError,
    "exec_error": CommandError,
    "invalid_request": InvalidRequestError,
    "unauthorized": UnauthorizedError,
    "not_found": NotFoundError,
    "sandbox_not_found": SandboxNotFoundError,
    "conflict": ConflictError,
    "stale_generation": StaleGenerationError,
}


def error_from(code: str, message: str, **more: Any) -> SandboxError:
    """The error of the class that the code stands for."""
    return _BY_CODE.get(code, SandboxError)(code, message, **more)


def _told(code: str, message: str, context: Dict[str, Any], retry_after: Optional[str] = None, **more: Any) -> SandboxError:
    """Where the daemon has a word of its own and the SDK another, the SDK's."""
    if code == "capacity_exceeded":
        code = "CONTAINER_UNAVAILABLE"
        context = {**context, "reason": "max_container_instances_exceeded", "retryable": True}
        if retry_after and retry_after.isdigit():
            context["retryAfterMs"] = int(retry_after) * 1000
    elif code in ("mount_error", "unmount_error") and issubclass(_BY_CODE.get(str(context.get("reason")), SandboxError), BucketMountError):
        code = str(context["reason"])
    elif code == "sandbox_died":
        code = "OPERATION_INTERRUPTED"
        context = {**context, "endReason": context.get("reason"), "reason": "runtime_replaced", "admitted": "unknown", "retryable": True}
    return error_from(code, message, context=context, **more)


def error_of(status: int, text: bytes, operation: str, retry_after: Optional[str] = None) -> SandboxError:
    """The error that a response's status and body tell."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        excerpt = text[:1000].decode(errors="replace")
        return SandboxError("INTERNAL_ERROR", f"HTTP error! status: {status}", {"body": excerpt}, status)
    code = body["code"]
    message = body.get("message") or body.get("error") or code
    if code == "not_implemented":
        return NotSupportedError(operation, message)
    return _told(code, message, body.get("context") or body.get("details") or {}, retry_after, http_status=status,
                 operation=body.get("operation"), suggestion=body.get("suggestion"))


def error_of_event(code: Optional[str], message: Optional[str], reason: Optional[str]) -> SandboxError:
    """The error that an `error` event of a stream tells."""
    context = {} if reason is None else {"reason": reason}
    return _told(code or "COMMAND_EXECUTION_ERROR", message or "The stream failed", context, http_status=502)


def transport_error(cause: BaseException, operation: str) -> SandboxError:
    original = str(cause) or type(cause).__name__
    context = {"kind": "connection_failed", "originalMessage": original, "retryable": True}
    return error_from("RPC_TRANSPORT_ERROR", f"{operation}: {original}", context=context, http_status=503)
