"""Everything that can be done in a session, which is what an AsyncSession is and what an AsyncSandbox does in its default one.

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
from .http import AsyncByteStream, AsyncEventStream, AsyncTransport
from .io import Body, Lock, pieces_of
from .process import AsyncProcess
from .terminal import AsyncTerminal

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


class AsyncSession:
    def __init__(self, transport: AsyncTransport, sandbox: Optional["AsyncSession"], sandbox_id: str, session: str) -> None:
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

    async def _ready(self) -> None:
        """The sandbox sends its options before its first use."""
        await self._sandbox._ready()

    async def _json(self, route: str, json_body: Any = None, values: Optional[Mapping[str, object]] = None, **options: Any) -> Any:
        await self._ready()
        return await self._transport.json(route, {"id": self._sandbox_id, **(values or {})}, json_body=json_body, **options)

    async def _in_session(self, route: str, body: Mapping[str, Any], session_id: Optional[str], **options: Any) -> Any:
        return await self._json(route, {**present(body), "sessionId": self._session_for(session_id)}, **options)

    async def _events(self, route: str, kind: Any, json_body: Any = None, values: Optional[Mapping[str, object]] = None,
                      **options: Any) -> AsyncEventStream:
        await self._ready()
        response = await self._transport.request(route, {"id": self._sandbox_id, **(values or {})}, json_body=json_body, **options)
        return AsyncEventStream(response, kind if callable(kind) and not isinstance(kind, type) else event_maker(kind))

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

    async def exec(self, command: str, *, timeout: Optional[float] = None, env: Env = None, cwd: Optional[str] = None,
                   session_id: Optional[str] = None, limits: Limits = None, on_output: Optional[Callable[[str, str], None]] = None,
                   idempotency_key: Optional[str] = None) -> ExecResult:
        """Runs a shell command to its end. A status other than 0 is a result, not an error. With limits it runs in no session."""
        started = time.monotonic()
        session_id = _limited(session_id, limits)
        if on_output is not None:
            document = await self._exec_streaming(command, timeout, env, cwd, session_id, limits, on_output)
        else:
            body = {"command": command, "timeoutMs": milliseconds(timeout), "env": env and present(env), "cwd": cwd, "limits": limits}
            document = await self._in_session("exec", body, session_id, idempotency_key=idempotency_key)
        return build(ExecResult, document, command=command, duration=round((time.monotonic() - started) * 1000), session_id=self._shown(session_id))

    async def _exec_streaming(self, command: str, timeout: Optional[float], env: Env, cwd: Optional[str], session_id: Optional[str],
                              limits: Limits, on_output: Callable[[str, str], None]) -> Dict[str, Any]:
        output = {"stdout": "", "stderr": ""}
        async with await self.exec_stream(command, timeout=timeout, env=env, cwd=cwd, session_id=session_id, limits=limits) as events:
            async for event in events:
                if event.type in output:
                    output[event.type] += event.data
                    on_output(event.type, event.data)
                elif event.type == "complete":
                    code = 1 if event.exit_code is None else event.exit_code
                    return {**output, "exitCode": code, "success": code == 0, "timestamp": event.timestamp, "usage": event.usage}
                elif event.type == "error":
                    raise error_of_event(event.code, event.error or event.data, event.reason)
        raise error_from("COMMAND_EXECUTION_ERROR", "Stream ended without completion event")

    async def exec_stream(self, command: str, *, timeout: Optional[float] = None, env: Env = None, cwd: Optional[str] = None,
                          session_id: Optional[str] = None, limits: Limits = None) -> AsyncEventStream:
        """ExecEvents as the command runs; closing the stream leaves it running."""
        body = {"command": command, "timeoutMs": milliseconds(timeout), "env": env and present(env), "cwd": cwd, "limits": limits,
                "sessionId": self._session_for(_limited(session_id, limits))}
        return await self._events("exec_stream", ExecEvent, present(body))

    async def exec_argv(self, argv: Sequence[str], *, stdin: Union[str, Body, None] = None, timeout: Optional[float] = None, env: Env = None,
                        cwd: Optional[str] = None, session_id: Optional[str] = None, limits: Limits = None,
                        idempotency_key: Optional[str] = None) -> ArgvResult:
        """A program with its arguments, bytes in and out. In no session unless one is named, which then has no stdin."""
        pieces: Dict[str, List[bytes]] = {"stdout": [], "stderr": []}
        request = {"argv": list(argv), "timeout_ms": milliseconds(timeout), "env": env and present(env), "cwd": cwd, "limits": limits}
        async with await self._argv_events(request, stdin, session_id, idempotency_key) as events:
            async for name, data in events:
                if name in pieces:
                    pieces[name].append(base64.b64decode(data))
                elif name == "exit":
                    end = json.loads(data)
                    return ArgvResult(end["exit_code"], b"".join(pieces["stdout"]), b"".join(pieces["stderr"]), end.get("usage"))
                elif name == "error":
                    document = json.loads(data)
                    raise error_of_event(document["code"], document["error"], document.get("reason"))
        raise error_from("COMMAND_EXECUTION_ERROR", "Stream ended without completion event")

    async def _argv_events(self, request: Mapping[str, Any], stdin: Union[str, Body, None], session_id: Optional[str],
                           idempotency_key: Optional[str]) -> AsyncEventStream:
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
        return await self._events("exec_argv", lambda name, data: (name, data), body=body, headers=headers, idempotency_key=idempotency_key)

    # Processes

    async def start_process(self, command: str, *, process_id: Optional[str] = None, timeout: Optional[float] = None, env: Env = None,
                            cwd: Optional[str] = None, session_id: Optional[str] = None, stdin: bool = False,
                            log_limit: Optional[int] = None, limits: Limits = None, idempotency_key: Optional[str] = None) -> AsyncProcess:
        session_id = _limited(session_id, limits)
        body = {"command": command, "processId": process_id, "timeoutMs": milliseconds(timeout), "env": env and present(env), "cwd": cwd,
                "stdin": stdin or None, "logLimit": log_limit, "limits": limits}
        started = await self._in_session("start_process", body, session_id, idempotency_key=idempotency_key)
        document = {"id": started["processId"], "pid": started.get("pid"), "command": command, "status": "running", "startTime": started["timestamp"]}
        return AsyncProcess(self, document, self._shown(session_id))

    async def list_processes(self) -> List[AsyncProcess]:
        """All of the sandbox, whatever session they were started in."""
        answer = await self._or_nothing("list_processes", {"processes": []})
        return [AsyncProcess(self, entry, self._shown(None)) for entry in answer["processes"]]

    async def _or_nothing(self, route: str, nothing: Dict[str, Any]) -> Dict[str, Any]:
        """A sandbox that has not been used yet is not made to say that nothing runs in it."""
        try:
            return await self._json(route)
        except SandboxError as error:
            if error.code == "sandbox_not_found":
                return nothing
            raise

    async def get_process(self, process_id: str) -> Optional[AsyncProcess]:
        try:
            document = await self._json("get_process", values={"process": process_id})
        except SandboxError as error:
            if error.code in ("PROCESS_NOT_FOUND", "sandbox_not_found"):
                return None
            raise
        return AsyncProcess(self, document["process"], self._shown(None))

    async def kill_process(self, process_id: str, signal: Optional[str] = None) -> None:
        await self._json("kill_process", values={"process": process_id}, query={"signal": signal})

    async def kill_all_processes(self) -> int:
        return (await self._or_nothing("kill_all_processes", {"cleanedCount": 0}))["cleanedCount"]

    async def get_process_logs(self, process_id: str) -> ProcessLogs:
        return build(ProcessLogs, await self._json("process_logs", values={"process": process_id}))

    async def stream_process_logs(self, process_id: str, from_offsets: Optional[str] = None, deadline: Optional[float] = None) -> AsyncEventStream:
        """LogEvents: all so far, then as they come, to the exit. `from_offsets`: "<stdout>,<stderr>", to go on there."""
        return await self._events("process_stream", LogEvent, values={"process": process_id}, query={"from": from_offsets}, deadline=deadline)

    async def write_process_stdin(self, process_id: str, data: Union[str, bytes, None] = None, close: bool = False) -> None:
        body: Dict[str, Any] = {"close": close}
        if isinstance(data, str):
            body["data"] = data
        elif data is not None:
            body.update(data=base64.b64encode(data).decode(), encoding="base64")
        await self._json("process_input", body, {"process": process_id})

    async def signal_process(self, process_id: str, signal: str) -> int:
        """How many processes of the tree were signalled."""
        return (await self._json("signal_process", {"signal": signal}, {"process": process_id}))["signalled"]

    async def watch_port(self, port: int, *, mode: str = "http", path: str = "/", status_min: int = 200, status_max: int = 399,
                         process_id: Optional[str] = None, interval: int = 500, deadline: Optional[float] = None) -> AsyncEventStream:
        """PortEvents until something answers on the port; what AsyncProcess.wait_for_port is made of."""
        body = {"mode": mode, "path": path, "statusMin": status_min, "statusMax": status_max, "processId": process_id, "interval": interval}
        return await self._events("wait_for_port", PortEvent, present(body), {"port": port}, deadline=deadline)

    # Files

    async def write_file(self, path: str, content: Union[str, Body], *, encoding: Optional[str] = None, session_id: Optional[str] = None,
                         idempotency_key: Optional[str] = None) -> FileResult:
        """Text, bytes, or pieces of bytes, which are streamed and put in place as a whole."""
        if isinstance(content, (bytes, bytearray)):
            content, encoding = base64.b64encode(content).decode(), "base64"
        if isinstance(content, str):
            body = {"path": path, "content": content, "encoding": encoding}
            return build(FileResult, await self._in_session("write_file", body, session_id, idempotency_key=idempotency_key))
        result = await self.exec_argv(["sh", "-c", _WRITE, "sh", await self._absolute(path, session_id)], stdin=content,
                                      idempotency_key=idempotency_key)
        if result.exit_code:
            text = result.stderr.decode(errors="replace").strip()
            raise error_from("FILESYSTEM_ERROR", f"file.write of {path} failed: {text}",
                             context={"path": path, "operation": "file.write", "exitCode": result.exit_code, "stderr": text})
        return FileResult(True, path)

    async def _absolute(self, path: str, session_id: Optional[str]) -> str:
        """A path that means the same outside the session."""
        if path.startswith("/"):
            return path
        session = self._shown(session_id)
        return f"{(await self.exec('pwd', session_id=session)).stdout if session else '/workspace'}/{path}"

    async def read_file(self, path: str, *, encoding: Optional[str] = None, session_id: Optional[str] = None) -> ReadFileResult:
        """Text as it is, all else in base64; `.data` is the bytes. At most 32 MiB."""
        return build(ReadFileResult, await self._in_session("read_file", {"path": path, "encoding": encoding}, session_id))

    async def read_bytes(self, path: str, *, offset: int = 0, length: Optional[int] = None) -> bytes:
        """A part of a file below /workspace, or all of it."""
        await self._ready()
        span = f"bytes={offset}-{'' if length is None else offset + length - 1}"
        headers = {"Range": span} if offset or length is not None else {}
        absolute = await self._absolute(path, None)
        response = await self._transport.request("get_file", {"id": self._sandbox_id, "path": absolute[1:]}, headers=headers)
        return await response.read_all()

    async def read_file_stream(self, path: str, *, session_id: Optional[str] = None) -> AsyncEventStream:
        """FileEvents: metadata, chunks (base64 of what is not text), complete. A missing file is an `error` event."""
        return await self._events("read_file_stream", FileEvent, {"path": path, "sessionId": self._session_for(session_id)})

    async def mkdir(self, path: str, *, recursive: bool = False, session_id: Optional[str] = None) -> FileResult:
        return build(FileResult, await self._in_session("mkdir", {"path": path, "recursive": recursive}, session_id))

    async def delete_file(self, path: str, *, session_id: Optional[str] = None) -> FileResult:
        return build(FileResult, await self._in_session("delete_file", {"path": path}, session_id))

    async def rename_file(self, old_path: str, new_path: str, *, session_id: Optional[str] = None) -> FileResult:
        return build(FileResult, await self._in_session("rename_file", {"oldPath": old_path, "newPath": new_path}, session_id))

    async def move_file(self, source_path: str, destination_path: str, *, session_id: Optional[str] = None) -> FileResult:
        body = {"sourcePath": source_path, "destinationPath": destination_path}
        return build(FileResult, await self._in_session("move_file", body, session_id))

    async def list_files(self, path: str, *, recursive: bool = False, include_hidden: bool = False, session_id: Optional[str] = None) -> List[FileInfo]:
        body = {"path": path, "options": {"recursive": recursive, "includeHidden": include_hidden}}
        return [build(FileInfo, entry) for entry in (await self._in_session("list_files", body, session_id))["files"]]

    async def stat_file(self, path: str, *, session_id: Optional[str] = None) -> FileInfo:
        """What list_files tells of an entry."""
        return build(FileInfo, (await self._in_session("stat_file", {"path": path}, session_id))["file"])

    async def exists(self, path: str, *, session_id: Optional[str] = None) -> bool:
        return (await self._in_session("exists", {"path": path}, session_id))["exists"]

    async def watch(self, path: str, *, recursive: bool = True, include: Optional[Sequence[str]] = None,
                    exclude: Optional[Sequence[str]] = None) -> AsyncEventStream:
        """WatchEvents; returns when the watch is in place. Closing the stream ends it."""
        body = {"path": path, "recursive": recursive, "include": include and list(include), "exclude": exclude and list(exclude)}
        events = await self._events("watch", WatchEvent, present(body))
        async for first in events:
            if first.type == "error":
                events.close()
                raise error_from("WATCH_START_ERROR", first.error or "the watch could not be started")
            events.push_back(first)
            break
        return events

    async def check_changes(self, path: str, *, recursive: bool = True, include: Optional[Sequence[str]] = None,
                            exclude: Optional[Sequence[str]] = None, since: Optional[str] = None) -> Changes:
        body = {"path": path, "recursive": recursive, "include": include and list(include), "exclude": exclude and list(exclude), "since": since}
        return build(Changes, await self._json("check_changes", present(body)))

    async def git_checkout(self, repo_url: str, *, branch: Optional[str] = None, target_dir: Optional[str] = None, depth: Optional[int] = None,
                           clone_timeout: float = 600, session_id: Optional[str] = None, idempotency_key: Optional[str] = None) -> GitCheckout:
        body = {"repoUrl": repo_url, "branch": branch, "targetDir": target_dir, "depth": depth, "timeoutMs": milliseconds(clone_timeout)}
        return build(GitCheckout, await self._in_session("git_checkout", body, session_id, idempotency_key=idempotency_key))

    # The shell's variables, terminals

    async def set_env_vars(self, variables: Mapping[str, Optional[str]]) -> None:
        """Sets variables in this session's shell; None unsets."""
        check_variables(variables)
        for name, value in variables.items():
            result = await self.exec(f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}")
            if not result.success:
                raise error_from("COMMAND_EXECUTION_ERROR", f"Failed to {'unset' if value is None else 'set'} {name}: {result.stderr}")

    async def open_terminal(self, *, cols: Optional[int] = None, rows: Optional[int] = None, shell: Optional[str] = None) -> AsyncTerminal:
        """The session's terminal, open and ready."""
        await self._ready()
        query = {"cols": cols, "rows": rows, "shell": shell, "session": self._shown(None)}
        return await AsyncTerminal.open(self._transport, self._transport.target("terminal", {"id": self._sandbox_id}, query))

    # Code; contexts are the sandbox's

    async def create_code_context(self, *, language: str = "python", cwd: str = "/workspace", env_vars: Env = None) -> CodeContext:
        body = {"language": language_of(language), "cwd": cwd, "env_vars": env_vars and present(env_vars)}
        created = await self._json("create_context", present(body))
        return CodeContext(created["contextId"], created["language"], created["cwd"])

    async def run_code(self, code: str, *, context: Optional[CodeContext] = None, language: str = "python", timeout: Optional[float] = None,
                       on_event: Optional[Callable[[CodeEvent], None]] = None, idempotency_key: Optional[str] = None) -> Execution:
        """What the code wrote and showed. An error of the code is in the result."""
        execution = Execution(code)
        async with await self.run_code_stream(code, context=context, language=language, timeout=timeout, idempotency_key=idempotency_key) as events:
            async for event in events:
                execution.take(event)
                if on_event:
                    on_event(event)
        return execution

    async def run_code_stream(self, code: str, *, context: Optional[CodeContext] = None, language: str = "python",
                              timeout: Optional[float] = None, idempotency_key: Optional[str] = None) -> AsyncEventStream:
        """CodeEvents as they come; closing the stream interrupts the code."""
        used = context or await self._sandbox._standard_context(language_of(language))
        body = {"context_id": used.id, "code": code, "timeout_ms": milliseconds(timeout)}
        return await self._events("run_code", _code_event, present(body), idempotency_key=idempotency_key)

    async def _standard_context(self, language: str) -> CodeContext:
        async with self._contexts_lock:
            if language not in self._contexts:
                self._contexts[language] = await self.create_code_context(language=language)
            return self._contexts[language]

    async def list_code_contexts(self) -> List[CodeContext]:
        return [build(CodeContext, entry) for entry in (await self._json("list_contexts"))["contexts"]]

    async def delete_code_context(self, context_id: str) -> None:
        await self._json("delete_context", values={"context": context_id})
        contexts = self._sandbox._contexts
        for language in [name for name, context in contexts.items() if context.id == context_id]:
            del contexts[language]

    async def interrupt_code_context(self, context_id: str) -> bool:
        """Stops the code that runs and keeps the context; False when nothing ran."""
        return (await self._json("interrupt_context", values={"context": context_id}))["interrupted"]

    # Buckets

    async def mount_bucket(self, bucket: str, mount_path: str, **options: Any) -> None:
        """Options of the bridge in its spelling: endpoint, prefix, readOnly, credentials, s3fsOptions, credentialProxy."""
        name = {"bucket": bucket} if options.get("endpoint") else {"binding": bucket}
        await self._json("mount_bucket", {**name, "mountPath": mount_path, "options": options})

    async def unmount_bucket(self, mount_path: str) -> None:
        await self._json("unmount_bucket", {"mountPath": mount_path})


def _limited(session_id: Optional[str], limits: Limits) -> Optional[str]:
    """A command with limits of its own runs in no session unless the caller says so, which is then refused."""
    return NO_SESSION if limits is not None and session_id is None else session_id


async def _after(head: bytes, pieces: Any):  # type: ignore[no-untyped-def]
    yield head
    async for piece in pieces_of(pieces):
        yield piece


__all__ = ["AsyncByteStream", "AsyncSession"]
