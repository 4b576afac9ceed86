"""HTTP/1.1 to a daemon: requests by the name of their route, answers as JSON, bytes or a stream of them."""

from __future__ import annotations

import json
import os
import re
import ssl
from typing import Any, AsyncIterator, Dict, List, Mapping, Optional, Tuple
from urllib.parse import urlencode, urlsplit

from .._errors import NotSupportedError, error_from, error_of, transport_error
from .._routes import ROUTES, path_of
from .io import AsyncConnection, Body, pieces_of

_LONGEST_HEAD = 65536


def _number(text: bytes, base: int) -> int:
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", text):
        raise ConnectionError("the daemon's answer is no HTTP")
    try:
        return int(text, base)
    except ValueError:
        raise ConnectionError("the daemon's answer is no HTTP") from None


class AsyncResponse:
    """A status, fields with lower-case names, and a body that is read as it comes."""

    def __init__(self, transport: "AsyncTransport", connection: AsyncConnection) -> None:
        self._transport = transport
        self._connection: Optional[AsyncConnection] = connection
        self._buffer = b""
        self._left: Optional[int] = None  # bytes of the body or of its chunk that are still to come; None: to the end
        self._chunked = False
        self._ended = False
        self.deadline: Optional[float] = None
        self.status = 0
        self.headers: Dict[str, str] = {}

    async def _fill(self) -> None:
        assert self._connection is not None
        piece = await self._connection.read(self.deadline)
        if not piece:
            raise ConnectionError("the daemon closed the connection")
        self._buffer += piece

    async def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_HEAD:
                raise ConnectionError("the daemon sent a line without an end")
            await self._fill()
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line

    async def read_head(self, method: str) -> None:
        while True:
            self.status = _number((await self._line())[9:12], 10)
            self.headers = {}
            while True:
                line = await self._line()
                if not line:
                    break
                name, _, value = line.decode("latin-1").partition(":")
                self.headers[name.strip().lower()] = value.strip()
            if self.status >= 200 or self.status == 101:
                break
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if method == "HEAD" or self.status in (101, 204, 304):
            self._ended = True
        elif self._chunked:
            self._left = 0
        elif "content-length" in self.headers:
            self._left = _number(self.headers["content-length"].encode(), 10)
            self._ended = self._left == 0
        if self._ended and self.status != 101:
            self._release()

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end."""
        if self._ended:
            return b""
        if self._chunked and self._left == 0:
            self._left = _number((await self._line()).split(b";")[0].strip(), 16)
            if self._left == 0:
                while await self._line():
                    pass
                return self._end()
        if not self._buffer:
            if self._left is None:
                self._buffer = await self._connection.read(self.deadline)  # type: ignore[union-attr]
                if not self._buffer:
                    return self._end()
            else:
                await self._fill()
        size = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        if self._left is not None:
            self._left -= size
            if self._left == 0 and self._chunked:
                await self._line()
            elif self._left == 0:
                self._end()
        return piece

    def _end(self) -> bytes:
        self._ended = True
        self._release()
        return b""

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        reusable = not self._buffer and self.headers.get("connection", "").lower() != "close"
        if connection is not None and reusable and (self._left is not None or self.status == 204):
            self._transport.give_back(connection)
        elif connection is not None:
            connection.close()

    def take_connection(self) -> Tuple[AsyncConnection, bytes]:
        """The connection after an upgrade, and what has been read beyond the head."""
        connection, self._connection = self._connection, None
        assert connection is not None
        return connection, self._buffer

    async def read_all(self) -> bytes:
        pieces: List[bytes] = []
        try:
            while True:
                piece = await self.read()
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
        finally:
            self.close()

    def close(self) -> None:
        """Closes the connection unless the whole body was read."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class AsyncTransport:
    """Connections to one daemon, kept for the next request. `url` and `api_key`: BERM_URL and BERM_API_KEY otherwise."""

    def __init__(self, url: Optional[str] = None, api_key: Optional[str] = None, ssl_context: Optional[ssl.SSLContext] = None) -> None:
        self.url = (url or os.environ.get("BERM_URL") or "http://127.0.0.1:8787").rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the daemon's URL must begin with http:// or https://: {url}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (ssl_context or ssl.create_default_context()) if parts.scheme == "https" else None
        self._authority = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path
        self._api_key = api_key or os.environ.get("BERM_API_KEY")
        self._idle: List[AsyncConnection] = []

    async def _connection(self) -> AsyncConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_idle():
                return connection
            connection.close()
        return await AsyncConnection.connect(self._host, self._port, self._tls)

    def give_back(self, connection: AsyncConnection) -> None:
        self._idle.append(connection)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def target(self, route: str, values: Mapping[str, object], query: Optional[Mapping[str, object]] = None) -> str:
        pairs = [(name, "true" if value is True else value) for name, value in (query or {}).items() if value is not None]
        search = urlencode(pairs, doseq=True)
        return self._prefix + path_of(route, values) + (f"?{search}" if search else "")

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: Optional[Body],
                   deadline: Optional[float] = None) -> AsyncResponse:
        fields = {"Host": self._authority, **headers}
        if self._api_key:
            fields["Authorization"] = f"Bearer {self._api_key}"
        if isinstance(body, bytes):
            fields["Content-Length"] = str(len(body))
        elif body is not None:
            fields["Transfer-Encoding"] = "chunked"
        elif method not in ("GET", "HEAD"):
            fields["Content-Length"] = "0"
        for name, value in fields.items():
            if "\r" in value or "\n" in value:
                raise ValueError(f"a line break in the header field {name}")
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        connection = await self._connection()
        response = AsyncResponse(self, connection)
        response.deadline = deadline
        try:
            await connection.write(head.encode("latin-1") + (body if isinstance(body, bytes) else b""))
            if body is not None and not isinstance(body, bytes):
                async for piece in pieces_of(body):
                    if piece:
                        await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await connection.write(b"0\r\n\r\n")
            await response.read_head(method)
        except BaseException:
            response.close()
            raise
        return response

    async def request(self, route: str, values: Mapping[str, object], json_body: Any = None, body: Optional[Body] = None,
                      query: Optional[Mapping[str, object]] = None, headers: Optional[Mapping[str, str]] = None,
                      idempotency_key: Optional[str] = None, deadline: Optional[float] = None) -> AsyncResponse:
        """A response of success, or the error that it tells."""
        fields = dict(headers or {})
        if json_body is not None:
            fields.setdefault("Content-Type", "application/json")
            body = json.dumps(json_body).encode()
        if idempotency_key:
            fields["Idempotency-Key"] = idempotency_key
        try:
            response = await self.send(ROUTES[route][0], self.target(route, values, query), fields, body, deadline)
            if response.status < 300:
                return response
            text = await response.read_all()
        except OSError as error:
            if deadline is not None and isinstance(error, TimeoutError):
                raise
            raise transport_error(error, route) from error
        raise error_of(response.status, text, route, response.headers.get("retry-after"))

    async def json(self, route: str, values: Mapping[str, object], **options: Any) -> Any:
        response = await self.request(route, values, **options)
        try:
            text = await response.read_all()
        except OSError as error:
            raise transport_error(error, route) from error
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise error_from("INVALID_JSON_RESPONSE", f"{route}: the answer is no JSON", http_status=response.status) from error


class AsyncEventStream:
    """The events of a response as they come: iterate over it, and close it to end it early (or use `with`)."""

    def __init__(self, response: AsyncResponse, make: Any) -> None:
        self._response = response
        self._make = make
        self._buffer = bytearray()
        self._pending: List[Any] = []

    def __aiter__(self) -> "AsyncEventStream":
        return self

    async def __anext__(self) -> Any:
        while not self._pending:
            try:
                piece = await self._response.read()
            except TimeoutError:
                self.close()
                raise
            except OSError as error:
                self.close()
                raise transport_error(error, "stream") from error
            if not piece:
                self.close()
                raise StopAsyncIteration
            self._take(piece)
        return self._pending.pop(0)

    def _take(self, piece: bytes) -> None:
        searched = max(0, len(self._buffer) - 1)
        self._buffer += piece
        end = self._buffer.find(b"\n\n", searched)
        while end >= 0:
            block, self._buffer = self._buffer[:end], self._buffer[end + 2:]
            end = self._buffer.find(b"\n\n")
            name = None
            data: List[str] = []
            for line in block.decode("utf-8", "replace").split("\n"):
                if line.startswith("data:"):
                    data.append(line[5:].removeprefix(" "))
                elif line.startswith("event:"):
                    name = line[6:].strip()
            if data:
                self._pending.append(self._make(name, "\n".join(data)))

    def push_back(self, event: Any) -> None:
        self._pending.insert(0, event)

    def close(self) -> None:
        self._response.close()

    async def __aenter__(self) -> "AsyncEventStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class AsyncByteStream:
    """The bytes of a response as they come."""

    def __init__(self, response: AsyncResponse) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._response.read()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def read(self) -> bytes:
        """All that is left."""
        return await self._response.read_all()

    def close(self) -> None:
        self._response.close()

    async def __aenter__(self) -> "AsyncByteStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


__all__ = ["AsyncByteStream", "AsyncEventStream", "AsyncResponse", "AsyncTransport", "NotSupportedError"]
