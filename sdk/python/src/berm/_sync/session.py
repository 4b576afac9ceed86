# Made by sdk/python/generate from _async/session.py.
"""Everything that can be done in a session, which is what a Session is and what a Sandbox does in its default one.

Sessions differ in directory and variables of their shell only; files and processes are the sandbox's. Times are seconds.
"""

from __future__ import annotations

import base64
import json
import shlex
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from .._errors import SandboxError, error_from, error_of_event
from .._ids import NO_SESSION, check_variables, language_of
from .._types import (ArgvResult, Changes, CodeContext, CodeEvent, ExecEvent, ExecResult, Execution, FileEvent, FileInfo, FileResult,
                      GitCheckout, LogEvent, PortEvent, ProcessLogs, ReadFileResult, WatchEvent, build)
from .http import ByteStream, EventStream, Transport
from .io import Body, Lock, pieces_of
from .process import Process
from .terminal import Terminal

Env = Optional[Mapping[str, Optional[str]]]
Limits = Optional[Mapping[str, Any]]  # cpuMs, memory, pids, wallMs, outputBytes, network; {} asks for the receipt alone

# Writes standard input to a file beside the destination and puts it in its place, keeping the mode of what was there.
_WRITE = """d=$(dirname -- "$1") && mkdir -p -- "$d" && t="$1.$$.part" && trap 'rm -f -- "$t"' EXIT &&
{ [ ! -f "$1" ] || cp -p -- "$1" "$t"; } && cat >"$t" && mv -f -- "$t" "$1\""""


def present(mapping: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


def milliseconds(seconds: Optional[float]) -> Optional[int]:
    return None if seconds is None else round(seconds * 1000)


def event_maker(kind: Any) -> Callable[[Optional[str], str], Any]:
    return lambda _, data: build(kind, json.loads(data))


def _code_event(_: Optional[str], data: str) -> CodeEvent:
    value = json.loads(data)
    return CodeEvent(value["type"], value)


class Session:
    def __init__(self, transport: Transport, sandbox: Optional["Session"], sandbox_id: str, session: str) -> None:
        self._transport = transport
        self._sandbox = sandbox or self
        self._sandbox_id = sandbox_id
        self._session = session
        self._contexts: Dict[str, CodeContext] = {}
        self._contexts_lock = Lock()

    @property
    def id(self) -> str:
        return self._session

    # Requests

    def _ready(self) -> None:
        """The sandbox sends its options before its first use."""
        self._sandbox._ready()

    def _json(self, route: str, json_body: Any = None, values: Optional[Mapping[str, object]] = None, **options: Any) -> Any:
        self._ready()
        return self._transport.json(route, {"id": self._sandbox_id, **(values or {})}, json_body=json_body, **options)

    def _in_session(self, route: str, body: Mapping[str, Any], session_id: Optional[str], **options: Any) -> Any:
        return self._json(route, {**present(body), "sessionId": self._session_for(session_id)}, **options)

    def _events(self, route: str, kind: Any, json_body: Any = None, values: Optional[Mapping[str, object]] = None,
                      **options: Any) -> EventStream:
        self._ready()
        response = self._transport.request(route, {"id": self._sandbox_id, **(values or {})}, json_body=json_body, **options)
        return EventStream(response, kind if callable(kind) and not isinstance(kind, type) else event_maker(kind))

    def _session_for(self, session_id: Optional[str]) -> str:
        if session_id is None:
            return self._session
        if not session_id.strip():
            raise ValueError("session_id must not be empty or whitespace")
        return session_id

    def _shown(self, session_id: Optional[str]) -> Optional[str]:
        session = self._session_for(session_id)
        return None if session == NO_SESSION else session

    # Commands

    def exec(self, command: str, *, timeout: Optional[float] = None, env: Env = None, cwd: Optional[str] = None,
                   session_id: Optional[str] = None, limits: Limits = None, on_output: Optional[Callable[[str, str], None]] = None,
                   idempotency_key: Optional[str] = None) -> ExecResult:
        """Runs a shell command to its end. A status other than 0 is a result, not an error. With limits it runs in no session."""
        started = time.monotonic()
        session_id = _limited(session_id, limits)
        if on_output is not None:
            document = self._exec_streaming(command, timeout, env, cwd, session_id, limits, on_output)
        else:
            body = {"command": command, "timeoutMs": milliseconds(timeout), "env": env and present(env), "cwd": cwd, "limits": limits}
            document = self._in_session("exec", body, session_id, idempotency_key=idempotency_key)
        return build(ExecResult, document, command=command, duration=round((time.monotonic() - started) * 1000), session_id=self._shown(session_id))

    def _exec_streaming(self, command: str, timeout: Optional[float], env: Env, cwd: Optional[str], session_id: Optional[str],
                              limits: Limits, on_output: Callable[[str, str], None]) -> Dict[str, Any]:
        output = {"stdout": "", "stderr": ""}
        with self.exec_stream(command, timeout=timeout, env=env, cwd=cwd, session_id=session_id, limits=limits) as events:
            for event in events:
                if event.type in output:
                    output[event.type] += event.data
                    on_output(event.type, event.data)
                elif event.type == "complete":
                    code = 1 if event.exit_code is None else event.exit_code
                    return {**output, "exitCode": code, "success": code == 0, "timestamp": event.timestamp, "usage": event.usage}
                elif event.type == "error":
                    raise error_of_event(event.code, event.error or event.data, event.reason)
        raise error_from("COMMAND_EXECUTION_ERROR", "Stream ended without completion event")

    def exec_stream(self, command: str, *, timeout: Optional[float] = None, env: Env = None, cwd: Optional[str] = None,
                          session_id: Optional[str] = None, limits: Limits = None) -> EventStream:
        """ExecEvents as the command runs; closing the stream leaves it running."""
        body = {"command": command, "timeoutMs": milliseconds(timeout), "env": env and present(env), "cwd": cwd, "limits": limits,
                "sessionId": self._session_for(_limited(session_id, limits))}
        return self._events("exec_stream", ExecEvent, present(body))

    def exec_argv(self, argv: Sequence[str], *, stdin: Union[str, Body, None] = None, timeout: Optional[float] = None, env: Env = None,
                        cwd: Optional[str] = None, session_id: Optional[str] = None, limits: Limits = None,
                        idempotency_key: Optional[str] = None) -> ArgvResult:
        """A program with its arguments, bytes in and out. In no session unless one is named, which then has no stdin."""
        pieces: Dict[str, List[bytes]] = {"stdout": [], "stderr": []}
        request = {"argv": list(argv), "timeout_ms": milliseconds(timeout), "env": env and present(env), "cwd": cwd, "limits": limits}
        with self._argv_events(request, stdin, session_id, idempotency_key) as events:
            for name, data in events:
                if name in pieces:
                    pieces[name].append(base64.b64decode(data))
                elif name == "exit":
                    end = json.loads(data)
                    return ArgvResult(end["exit_code"], b"".join(pieces["stdout"]), b"".join(pieces["stderr"]), end.get("usage"))
                elif name == "error":
                    document = json.loads(data)
                    raise error_of_event(document["code"], document["error"], document.get("reason"))
        raise error_from("COMMAND_EXECUTION_ERROR", "Stream ended without completion event")

    def _argv_events(self, request: Mapping[str, Any], stdin: Union[str, Body, None], session_id: Optional[str],
                           idempotency_key: Optional[str]) -> EventStream:
        document = json.dumps(present(request)).encode()
        headers = {"Content-Type": "application/json" if stdin is None else "application/x-berm-exec"}
        if session_id is not None:
            headers["Session-Id"] = session_id
        body: Body = document
        if isinstance(stdin, str):
            body = document + b"\n" + stdin.encode()
        elif isinstance(stdin, (bytes, bytearray)):
            body = document + b"\n" + bytes(stdin)
        elif stdin is not None:
            body = _after(document + b"\n", stdin)
        return self._events("exec_argv", lambda name, data: (name, data), body=body, headers=headers, idempotency_key=idempotency_key)

    # Processes

    def start_process(self, command: str, *, process_id: Optional[str] = None, timeout: Optional[float] = None, env: Env = None,
                            cwd: Optional[str] = None, session_id: Optional[str] = None, stdin: bool = False,
                            log_limit: Optional[int] = None, limits: Limits = None, idempotency_key: Optional[str] = None) -> Process:
        session_id = _limited(session_id, limits)
        body = {"command": command, "processId": process_id, "timeoutMs": milliseconds(timeout), "env": env and present(env), "cwd": cwd,
                "stdin": stdin or None, "logLimit": log_limit, "limits": limits}
        started = self._in_session("start_process", body, session_id, idempotency_key=idempotency_key)
        document = {"id": started["processId"], "pid": started.get("pid"), "command": command, "status": "running", "startTime": started["timestamp"]}
        return Process(self, document, self._shown(session_id))

    def list_processes(self) -> List[Process]:
        """All of the sandbox, whatever session they were started in."""
        answer = self._or_nothing("list_processes", {"processes": []})
        return [Process(self, entry, self._shown(None)) for entry in answer["processes"]]

    def _or_nothing(self, route: str, nothing: Dict[str, Any]) -> Dict[str, Any]:
        """A sandbox that has not been used yet is not made to say that nothing runs in it."""
        try:
            return self._json(route)
        except SandboxError as error:
            if error.code == "sandbox_not_found":
                return nothing
            raise

    def get_process(self, process_id: str) -> Optional[Process]:
        try:
            document = self._json("get_process", values={"process": process_id})
        except SandboxError as error:
            if error.code in ("PROCESS_NOT_FOUND", "sandbox_not_found"):
                return None
            raise
        return Process(self, document["process"], self._shown(None))

    def kill_process(self, process_id: str, signal: Optional[str] = None) -> None:
        self._json("kill_process", values={"process": process_id}, query={"signal": signal})

    def kill_all_processes(self) -> int:
        return (self._or_nothing("kill_all_processes", {"cleanedCount": 0}))["cleanedCount"]

    def get_process_logs(self, process_id: str) -> ProcessLogs:
        return build(ProcessLogs, self._json("process_logs", values={"process": process_id}))

    def stream_process_logs(self, process_id: str, from_offsets: Optional[str] = None, deadline: Optional[float] = None) -> EventStream:
        """LogEvents: all so far, then as they come, to the exit. `from_offsets`: "<stdout>,<stderr>", to go on there."""
        return self._events("process_stream", LogEvent, values={"process": process_id}, query={"from": from_offsets}, deadline=deadline)

    def write_process_stdin(self, process_id: str, data: Union[str, bytes, None] = None, close: bool = False) -> None:
        body: Dict[str, Any] = {"close": close}
        if isinstance(data, str):
            body["data"] = data
        elif data is not None:
            body.update(data=base64.b64encode(data).decode(), encoding="base64")
        self._json("process_input", body, {"process": process_id})

    def signal_process(self, process_id: str, signal: str) -> int:
        """How many processes of the tree were signalled."""
        return (self._json("signal_process", {"signal": signal}, {"process": process_id}))["signalled"]

    def watch_port(self, port: int, *, mode: str = "http", path: str = "/", status_min: int = 200, status_max: int = 399,
                         process_id: Optional[str] = None, interval: int = 500, deadline: Optional[float] = None) -> EventStream:
        """PortEvents until something answers on the port; what Process.wait_for_port is made of."""
        body = {"mode": mode, "path": path, "statusMin": status_min, "statusMax": status_max, "processId": process_id, "interval": interval}
        return self._events("wait_for_port", PortEvent, present(body), {"port": port}, deadline=deadline)

    # Files

    def write_file(self, path: str, content: Union[str, Body], *, encoding: Optional[str] = None, session_id: Optional[str] = None,
                         idempotency_key: Optional[str] = None) -> FileResult:
        """Text, bytes, or pieces of bytes, which are streamed and put in place as a whole."""
        if isinstance(content, (bytes, bytearray)):
            content, encoding = base64.b64encode(content).decode(), "base64"
        if isinstance(content, str):
            body = {"path": path, "content": content, "encoding": encoding}
            return build(FileResult, self._in_session("write_file", body, session_id, idempotency_key=idempotency_key))
        result = self.exec_argv(["sh", "-c", _WRITE, "sh", self._absolute(path, session_id)], stdin=content,
                                      idempotency_key=idempotency_key)
        if result.exit_code:
            text = result.stderr.decode(errors="replace").strip()
            raise error_from("FILESYSTEM_ERROR", f"file.write of {path} failed: {text}",
                             context={"path": path, "operation": "file.write", "exitCode": result.exit_code, "stderr": text})
        return FileResult(True, path)

    def _absolute(self, path: str, session_id: Optional[str]) -> str:
        """A path that means the same outside the session."""
        if path.startswith("/"):
            return path
        session = self._shown(session_id)
        return f"{(self.exec('pwd', session_id=session)).stdout if session else '/workspace'}/{path}"

    def read_file(self, path: str, *, encoding: Optional[str] = None, session_id: Optional[str] = None) -> ReadFileResult:
        """Text as it is, all else in base64; `.data` is the bytes. At most 32 MiB."""
        return build(ReadFileResult, self._in_session("read_file", {"path": path, "encoding": encoding}, session_id))

    def read_bytes(self, path: str, *, offset: int = 0, length: Optional[int] = None) -> bytes:
        """A part of a file below /workspace, or all of it."""
        self._ready()
        span = f"bytes={offset}-{'' if length is None else offset + length - 1}"
        headers = {"Range": span} if offset or length is not None else {}
        absolute = self._absolute(path, None)
        response = self._transport.request("get_file", {"id": self._sandbox_id, "path": absolute[1:]}, headers=headers)
        return response.read_all()

    def read_file_stream(self, path: str, *, session_id: Optional[str] = None) -> EventStream:
        """FileEvents: metadata, chunks (base64 of what is not text), complete. A missing file is an `error` event."""
        return self._events("read_file_stream", FileEvent, {"path": path, "sessionId": self._session_for(session_id)})

    def mkdir(self, path: str, *, recursive: bool = False, session_id: Optional[str] = None) -> FileResult:
        return build(FileResult, self._in_session("mkdir", {"path": path, "recursive": recursive}, session_id))

    def delete_file(self, path: str, *, session_id: Optional[str] = None) -> FileResult:
        return build(FileResult, self._in_session("delete_file", {"path": path}, session_id))

    def rename_file(self, old_path: str, new_path: str, *, session_id: Optional[str] = None) -> FileResult:
        return build(FileResult, self._in_session("rename_file", {"oldPath": old_path, "newPath": new_path}, session_id))

    def move_file(self, source_path: str, destination_path: str, *, session_id: Optional[str] = None) -> FileResult:
        body = {"sourcePath": source_path, "destinationPath": destination_path}
        return build(FileResult, self._in_session("move_file", body, session_id))

    def list_files(self, path: str, *, recursive: bool = False, include_hidden: bool = False, session_id: Optional[str] = None) -> List[FileInfo]:
        body = {"path": path, "options": {"recursive": recursive, "includeHidden": include_hidden}}
        return [build(FileInfo, entry) for entry in (self._in_session("list_files", body, session_id))["files"]]

    def stat_file(self, path: str, *, session_id: Optional[str] = None) -> FileInfo:
        """What list_files tells of an entry."""
        return build(FileInfo, (self._in_session("stat_file", {"path": path}, session_id))["file"])

    def exists(self, path: str, *, session_id: Optional[str] = None) -> bool:
        return (self._in_session("exists", {"path": path}, session_id))["exists"]

    def watch(self, path: str, *, recursive: bool = True, include: Optional[Sequence[str]] = None,
                    exclude: Optional[Sequence[str]] = None) -> EventStream:
        """WatchEvents; returns when the watch is in place. Closing the stream ends it."""
        body = {"path": path, "recursive": recursive, "include": include and list(include), "exclude": exclude and list(exclude)}
        events = self._events("watch", WatchEvent, present(body))
        for first in events:
            if first.type == "error":
                events.close()
                raise error_from("WATCH_START_ERROR", first.error or "the watch could not be started")
            events.push_back(first)
            break
        return events

    def check_changes(self, path: str, *, recursive: bool = True, include: Optional[Sequence[str]] = None,
                            exclude: Optional[Sequence[str]] = None, since: Optional[str] = None) -> Changes:
        body = {"path": path, "recursive": recursive, "include": include and list(include), "exclude": exclude and list(exclude), "since": since}
        return build(Changes, self._json("check_changes", present(body)))

    def git_checkout(self, repo_url: str, *, branch: Optional[str] = None, target_dir: Optional[str] = None, depth: Optional[int] = None,
                           clone_timeout: float = 600, session_id: Optional[str] = None, idempotency_key: Optional[str] = None) -> GitCheckout:
        body = {"repoUrl": repo_url, "branch": branch, "targetDir": target_dir, "depth": depth, "timeoutMs": milliseconds(clone_timeout)}
        return build(GitCheckout, self._in_session("git_checkout", body, session_id, idempotency_key=idempotency_key))

    # The shell's variables, terminals

    def set_env_vars(self, variables: Mapping[str, Optional[str]]) -> None:
        """Sets variables in this session's shell; None unsets."""
        check_variables(variables)
        for name, value in variables.items():
            result = self.exec(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
            if not result.success:
                raise error_from("COMMAND_EXECUTION_ERROR", f"Failed to {'unset' if value is None else 'set'} {name}: {result.stderr}")

    def open_terminal(self, *, cols: Optional[int] = None, rows: Optional[int] = None, shell: Optional[str] = None) -> Terminal:
        """The session's terminal, open and ready."""
        self._ready()
        query = {"cols": cols, "rows": rows, "shell": shell, "session": self._shown(None)}
        return Terminal.open(self._transport, self._transport.target("terminal", {"id": self._sandbox_id}, query))

    # Code; contexts are the sandbox's

    def create_code_context(self, *, language: str = "python", cwd: str = "/workspace", env_vars: Env = None) -> CodeContext:
        body = {"language": language_of(language), "cwd": cwd, "env_vars": env_vars and present(env_vars)}
        created = self._json("create_context", present(body))
        return CodeContext(created["contextId"], created["language"], created["cwd"])

    def run_code(self, code: str, *, context: Optional[CodeContext] = None, language: str = "python", timeout: Optional[float] = None,
                       on_event: Optional[Callable[[CodeEvent], None]] = None, idempotency_key: Optional[str] = None) -> Execution:
        """What the code wrote and showed. An error of the code is in the result."""
        execution = Execution(code)
        with self.run_code_stream(code, context=context, language=language, timeout=timeout, idempotency_key=idempotency_key) as events:
            for event in events:
                execution.take(event)
                if on_event:
                    on_event(event)
        return execution

    def run_code_stream(self, code: str, *, context: Optional[CodeContext] = None, language: str = "python",
                              timeout: Optional[float] = None, idempotency_key: Optional[str] = None) -> EventStream:
        """CodeEvents as they come; closing the stream interrupts the code."""
        used = context or self._sandbox._standard_context(language_of(language))
        body = {"context_id": used.id, "code": code, "timeout_ms": milliseconds(timeout)}
        return self._events("run_code", _code_event, present(body), idempotency_key=idempotency_key)

    def _standard_context(self, language: str) -> CodeContext:
        with self._contexts_lock:
            if language not in self._contexts:
                self._contexts[language] = self.create_code_context(language=language)
            return self._contexts[language]

    def list_code_contexts(self) -> List[CodeContext]:
        return [build(CodeContext, entry) for entry in (self._json("list_contexts"))["contexts"]]

    def delete_code_context(self, context_id: str) -> None:
        self._json("delete_context", values={"context": context_id})
        contexts = self._sandbox._contexts
        for language in [name for name, context in contexts.items() if context.id == context_id]:
            del contexts[language]

    def interrupt_code_context(self, context_id: str) -> bool:
        """Stops the code that runs and keeps the context; False when nothing ran."""
        return (self._json("interrupt_context", values={"context": context_id}))["interrupted"]

    # Buckets

    def mount_bucket(self, bucket: str, mount_path: str, **options: Any) -> None:
        """Options of the bridge in its spelling: endpoint, prefix, readOnly, credentials, s3fsOptions, credentialProxy."""
        name = {"bucket": bucket} if options.get("endpoint") else {"binding": bucket}
        self._json("mount_bucket", {**name, "mountPath": mount_path, "options": options})

    def unmount_bucket(self, mount_path: str) -> None:
        self._json("unmount_bucket", {"mountPath": mount_path})


def _limited(session_id: Optional[str], limits: Limits) -> Optional[str]:
    """A command with limits of its own runs in no session unless the caller says so, which is then refused."""
    return NO_SESSION if limits is not None and session_id is None else session_id


def _after(head: bytes, pieces: Any):  # type: ignore[no-untyped-def]
    yield head
    for piece in pieces_of(pieces):
        yield piece


__all__ = ["ByteStream", "Session"]
