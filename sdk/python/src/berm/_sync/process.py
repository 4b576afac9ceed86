# Made by sdk/python/generate from _async/process.py.
"""A process in the background, and waiting for what it does."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Pattern, Union

from .._errors import SandboxError, error_from, error_of_event
from .._types import LogMatch, ProcessLogs

if TYPE_CHECKING:
    from .session import Session


class Process:
    def __init__(self, session: "Session", document: Mapping[str, Any], session_id: Optional[str]) -> None:
        self._session = session
        self.id: str = document["id"]
        self.pid: Optional[int] = document.get("pid")
        self.command: str = document["command"]
        self.status: str = document["status"]
        self.start_time: str = document["startTime"]
        self.end_time: Optional[str] = document.get("endTime")
        self.exit_code: Optional[int] = document.get("exitCode")
        self.session_id = session_id
        self.usage: Optional[Dict[str, Any]] = document.get("usage")  # the receipt of one that was started with limits

    def kill(self, signal: Optional[str] = None) -> None:
        """SIGTERM or another signal, SIGKILL five seconds later; returns when the whole tree is gone."""
        self._session.kill_process(self.id, signal)

    def signal(self, signal: str) -> int:
        return self._session.signal_process(self.id, signal)

    def get_status(self) -> str:
        process = self._session.get_process(self.id)
        return process.status if process else "error"

    def get_logs(self) -> ProcessLogs:
        return self._session.get_process_logs(self.id)

    def write_stdin(self, data: Union[str, bytes, None] = None, close: bool = False) -> None:
        """For a process that was started with stdin=True."""
        self._session.write_process_stdin(self.id, data, close)

    def wait_for_log(self, pattern: Union[str, Pattern[str]], timeout: Optional[float] = None) -> LogMatch:
        """The line with the text, or the match of the expression; what is there already counts. `timeout` in seconds."""
        condition = json.dumps(pattern) if isinstance(pattern, str) else f"/{pattern.pattern}/"
        seen: Dict[str, str] = {"stdout": "", "stderr": ""}
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            with self._session.stream_process_logs(self.id, deadline=deadline) as events:
                for event in events:
                    if event.type == "exit":
                        raise self._exited(condition, 1 if event.exit_code is None else event.exit_code)
                    if event.type == "error":
                        raise error_of_event(event.code, event.error, event.reason)
                    if event.type in seen:
                        seen[event.type] += event.data
                        found = _find(pattern, seen[event.type])
                        if found:
                            return found
        except TimeoutError:
            raise self._late(condition, timeout) from None
        raise self._exited(condition, 0)

    def wait_for_port(self, port: int, mode: str = "http", path: str = "/", status_min: int = 200, status_max: int = 399,
                            timeout: Optional[float] = None, interval: int = 500) -> None:
        condition = f"port {port} (TCP)" if mode == "tcp" else f"port {port} (HTTP {path})"
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            with self._session.watch_port(port, mode=mode, path=path, status_min=status_min, status_max=status_max,
                                                      process_id=self.id, interval=interval, deadline=deadline) as events:
                for event in events:
                    if event.type == "ready":
                        return
                    if event.type == "process_exited":
                        raise self._exited(condition, 1 if event.exit_code is None else event.exit_code)
                    if event.type == "error":
                        raise error_of_event(event.code or "PROCESS_ERROR", event.error, event.reason)
        except TimeoutError:
            raise self._late(condition, timeout) from None
        raise error_from("PROCESS_ERROR", "Port watch stream ended unexpectedly", context={"processId": self.id})

    def wait_for_exit(self, timeout: Optional[float] = None) -> int:
        """The exit code."""
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            with self._session.stream_process_logs(self.id, deadline=deadline) as events:
                for event in events:
                    if event.type == "exit":
                        return 1 if event.exit_code is None else event.exit_code
                    if event.type == "error":
                        raise error_of_event(event.code, event.error, event.reason)
        except TimeoutError:
            raise self._late("process exit", timeout) from None
        raise error_from("PROCESS_ERROR", f"Process {self.id}: the stream ended unexpectedly without exit event", context={"processId": self.id})

    def _late(self, condition: str, timeout: Optional[float]) -> SandboxError:
        milliseconds = round((timeout or 0) * 1000)
        return error_from("PROCESS_READY_TIMEOUT", f"Process did not become ready within {milliseconds}ms. Waiting for: {condition}", http_status=408,
                          context={"processId": self.id, "command": self.command, "condition": condition, "timeout": milliseconds})

    def _exited(self, condition: str, exit_code: int) -> SandboxError:
        return error_from("PROCESS_EXITED_BEFORE_READY", f"Process exited with code {exit_code} before becoming ready. Waiting for: {condition}",
                          context={"processId": self.id, "command": self.command, "condition": condition, "exitCode": exit_code})


def _find(pattern: Union[str, Pattern[str]], text: str) -> Optional[LogMatch]:
    if not isinstance(pattern, str):
        match = re.search(pattern, text)
        return LogMatch(match.group(0), match) if match else None
    at = text.find(pattern)
    if at < 0:
        return None
    if "\n" in pattern:
        return LogMatch(pattern)
    end = text.find("\n", at)
    return LogMatch(text[text.rfind("\n", 0, at) + 1:end if end >= 0 else None])
