"""A terminal of a sandbox over a WebSocket: keys in, bytes of the screen out."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from typing import Any, Dict, List, Optional, Tuple, Union

from .._errors import SandboxError, error_of, transport_error
from .._types import TerminalExit
from .http import AsyncTransport
from .io import AsyncConnection

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_LONGEST = 16 * 1024 * 1024
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


def _message(text: bytes) -> Dict[str, Any]:
    """What the sandbox says may be no JSON: it is passed over."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


class AsyncTerminal:
    """Iterate over it for the output; `exit` is set when the shell has ended."""

    def __init__(self, connection: AsyncConnection, early: bytes) -> None:
        self._connection = connection
        self._buffer = early
        self._output: List[bytes] = []
        self._over = False
        self._kind = _BINARY
        self._message = b""
        self.exit: Optional[TerminalExit] = None

    @classmethod
    async def open(cls, transport: AsyncTransport, target: str) -> "AsyncTerminal":
        key = base64.b64encode(os.urandom(16))
        headers: Dict[str, str] = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                                   "Sec-WebSocket-Key": key.decode()}
        try:
            response = await transport.send("GET", target, headers, None)
            if response.status != 101:
                raise error_of(response.status, await response.read_all(), "terminal")
        except OSError as error:
            raise transport_error(error, "terminal") from error
        if response.headers.get("sec-websocket-accept") != base64.b64encode(hashlib.sha1(key + _MAGIC).digest()).decode():
            response.close()
            raise error_of(502, b"", "terminal")
        terminal = cls(*response.take_connection())
        while True:
            kind, payload = await terminal._receive()
            message = _message(payload) if kind == _TEXT else {}
            if kind == _BINARY:
                terminal._output.append(payload)
            elif message.get("type") == "ready":
                return terminal
            elif message.get("type") == "error" or kind == _CLOSE:
                terminal.close()
                raise SandboxError("exec_transport_error", f"the terminal was closed: {payload.decode(errors='replace')}")

    async def write(self, data: Union[str, bytes]) -> None:
        """Text or bytes, as if typed."""
        await self._send(_BINARY, data.encode() if isinstance(data, str) else data)

    async def resize(self, cols: int, rows: int) -> None:
        await self._send(_TEXT, json.dumps({"type": "resize", "cols": cols, "rows": rows}).encode())

    def close(self) -> None:
        """Ends the connection; the terminal of a session goes on."""
        self._over = True
        self._connection.close()

    async def _send(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        if size > 65535:
            head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, size)
        elif size > 125:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, size)
        else:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
        mask = os.urandom(4)
        repeated = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        await self._connection.write(head + mask + masked)

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            piece = await self._connection.read()
            if not piece:
                raise ConnectionError("the daemon closed the connection")
            self._buffer += piece
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def _receive(self) -> Tuple[int, bytes]:
        """The next whole message; a ping is answered on the way."""
        while True:
            first, second = await self._exactly(2)
            size = second & 127
            if size == 126:
                size = struct.unpack("!H", await self._exactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", await self._exactly(8))[0]
            if first & 0x70 or second & 0x80 or size + len(self._message) > _LONGEST:
                raise ConnectionError("the daemon sent a frame that it may not send")
            payload = await self._exactly(size)
            kind = first & 15
            if kind == _PING:
                await self._send(_PONG, payload)
            elif kind == _CLOSE:
                return kind, payload[2:]
            elif kind <= _BINARY:
                self._kind = kind or self._kind
                self._message += payload
                if first & 0x80:
                    message, self._message = self._message, b""
                    return self._kind, message

    def __aiter__(self) -> "AsyncTerminal":
        return self

    async def __anext__(self) -> bytes:
        while not self._output and not self._over:
            try:
                kind, payload = await self._receive()
            except OSError:
                kind, payload = _CLOSE, b""
            if kind == _BINARY:
                self._output.append(payload)
            elif kind == _CLOSE:
                self.close()
            else:
                message = _message(payload)
                if message.get("type") == "exit":
                    self.exit = TerminalExit(message.get("code", -1), message.get("signal"))
        if not self._output:
            raise StopAsyncIteration
        return self._output.pop(0)

    async def __aenter__(self) -> "AsyncTerminal":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
