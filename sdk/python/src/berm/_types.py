"""What calls answer with. Members have the names of the JSON documents in Python's spelling; what a document lacks is None."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Mapping, Optional, Type, TypeVar

from ._errors import camel, error_of_event

__all__ = [
    "ExecResult", "ArgvResult", "ExecEvent", "LogEvent", "ProcessLogs", "LogMatch", "PortEvent", "FileResult", "ReadFileResult",
    "FileEvent", "FileInfo", "WatchEvent", "Changes", "GitCheckout", "CodeContext", "CodeEvent", "CodeError", "Execution",
    "ExposedPort", "TunnelInfo", "TerminalExit",
]

T = TypeVar("T")


def build(kind: Type[T], document: Mapping[str, Any], **more: Any) -> T:
    """An instance of a dataclass from JSON; members it does not know are passed over."""
    known = {entry.name: document[camel(entry.name)] for entry in fields(kind) if camel(entry.name) in document}  # type: ignore[arg-type]
    return kind(**{**known, **more})


@dataclass(frozen=True)
class ExecResult:
    success: bool
    exit_code: int
    stdout: str
    stderr: str
    command: str = ""
    duration: int = 0
    timestamp: str = ""
    session_id: Optional[str] = None
    usage: Optional[Dict[str, Any]] = None  # the receipt, with `limits`


@dataclass(frozen=True)
class ArgvResult:
    exit_code: int
    stdout: bytes
    stderr: bytes
    usage: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class ExecEvent:
    """`type`: start, stdout, stderr, complete, error."""

    type: str
    timestamp: str = ""
    data: Optional[str] = None
    command: Optional[str] = None
    exit_code: Optional[int] = None
    error: Optional[str] = None
    code: Optional[str] = None
    reason: Optional[str] = None
    usage: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class LogEvent:
    """`type`: process_info, stdout, stderr, truncated, exit, error. `offset`: the place in its stream after it."""

    type: str
    process_id: str = ""
    timestamp: str = ""
    data: str = ""
    exit_code: Optional[int] = None
    offset: Optional[int] = None
    error: Optional[str] = None
    code: Optional[str] = None
    reason: Optional[str] = None


@dataclass(frozen=True)
class ProcessLogs:
    process_id: str
    stdout: str
    stderr: str


@dataclass(frozen=True)
class LogMatch:
    line: str
    match: Any = None


@dataclass(frozen=True)
class PortEvent:
    """`type`: watching, ready, process_exited, error."""

    type: str
    port: int = 0
    status_code: Optional[int] = None
    exit_code: Optional[int] = None
    error: Optional[str] = None
    code: Optional[str] = None
    reason: Optional[str] = None


@dataclass(frozen=True)
class FileResult:
    """Of write_file, mkdir, delete_file, rename_file and move_file."""

    success: bool
    path: str
    timestamp: str = ""
    new_path: Optional[str] = None
    recursive: Optional[bool] = None


@dataclass(frozen=True)
class ReadFileResult:
    path: str
    content: str
    encoding: str
    is_binary: bool
    mime_type: str
    size: int
    timestamp: str = ""

    @property
    def data(self) -> bytes:
        """The content as bytes, whatever its encoding here."""
        return base64.b64decode(self.content) if self.encoding == "base64" else self.content.encode()


@dataclass(frozen=True)
class FileEvent:
    """Of read_file_stream. `type`: metadata, chunk, complete, error."""

    type: str
    mime_type: Optional[str] = None
    size: Optional[int] = None
    is_binary: Optional[bool] = None
    encoding: Optional[str] = None
    data: Optional[str] = None
    bytes_read: Optional[int] = None
    error: Optional[str] = None


@dataclass(frozen=True)
class FileInfo:
    name: str
    absolute_path: str
    relative_path: str
    type: str
    size: int
    modified_at: str
    mode: str
    permissions: Dict[str, bool]


@dataclass(frozen=True)
class WatchEvent:
    """`type`: watching, event, resync, error, stopped. `event_type`: create, modify, delete, move_from, move_to, attrib."""

    type: str
    path: Optional[str] = None
    watch_id: Optional[str] = None
    event_type: Optional[str] = None
    is_directory: Optional[bool] = None
    timestamp: Optional[str] = None
    error: Optional[str] = None
    reason: Optional[str] = None


@dataclass(frozen=True)
class Changes:
    """`status`: unchanged, changed, or resync with a `reason`."""

    status: str
    version: str
    reason: Optional[str] = None
    timestamp: str = ""


@dataclass(frozen=True)
class GitCheckout:
    repo_url: str
    branch: str
    target_dir: str
    timestamp: str = ""


@dataclass(frozen=True)
class CodeContext:
    id: str
    language: str
    cwd: str = "/workspace"


@dataclass(frozen=True)
class CodeEvent:
    """`type`: stdout, stderr, result, error, execution_complete. `value`: the whole document."""

    type: str
    value: Mapping[str, Any]


@dataclass(frozen=True)
class CodeError:
    name: str
    message: str
    traceback: List[str] = field(default_factory=list)


@dataclass
class Execution:
    code: str
    stdout: List[str] = field(default_factory=list)
    stderr: List[str] = field(default_factory=list)
    results: List[Dict[str, Any]] = field(default_factory=list)
    error: Optional[CodeError] = None
    execution_count: Optional[int] = None

    @property
    def text(self) -> Optional[str]:
        """The last value as text."""
        return next((result["text"] for result in reversed(self.results) if "text" in result), None)

    def take(self, event: CodeEvent) -> None:
        value = event.value
        if event.type == "stdout":
            self.stdout.append(value["text"])
        elif event.type == "stderr":
            self.stderr.append(value["text"])
        elif event.type == "result":
            self.results.append({key: entry for key, entry in value.items() if key not in ("type", "metadata")})
        elif event.type == "error" and "ename" not in value:
            raise error_of_event(value.get("code"), value.get("error"), value.get("reason"))  # not the code's, but the stream's
        elif event.type == "error":
            self.error = CodeError(value["ename"], value["evalue"], value.get("traceback") or [])
        elif event.type == "execution_complete":
            self.execution_count = value.get("execution_count")


@dataclass(frozen=True)
class ExposedPort:
    url: str
    port: int
    path: Optional[str] = None
    name: Optional[str] = None
    token: Optional[str] = None
    expires_at: Optional[str] = None


@dataclass(frozen=True)
class TunnelInfo:
    id: str
    port: int
    url: str
    hostname: str
    created_at: str
    name: Optional[str] = None


@dataclass(frozen=True)
class TerminalExit:
    code: int
    signal: Optional[str] = None
