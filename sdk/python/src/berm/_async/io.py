"""A connection for asyncio; `_sync/io.py` is the same with blocking sockets. All else in this directory is common."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import AsyncIterable, Iterable, Optional, Union

Body = Union[bytes, Iterable[bytes], AsyncIterable[bytes]]


class Lock:
    """asyncio's, made at its first use: before Python 3.10 it belongs to the loop it is made in."""

    def __init__(self) -> None:
        self._lock: Optional[asyncio.Lock] = None

    async def __aenter__(self) -> None:
        self._lock = self._lock or asyncio.Lock()
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        assert self._lock is not None
        self._lock.release()


class AsyncConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, tls: Optional[ssl.SSLContext]) -> "AsyncConnection":
        return cls(*await asyncio.open_connection(host, port, ssl=tls))

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def read(self, deadline: Optional[float] = None) -> bytes:
        """What has come, b"" at the end; TimeoutError when the deadline (of time.monotonic()) passes."""
        if deadline is None:
            return await self._reader.read(65536)
        try:
            return await asyncio.wait_for(self._reader.read(65536), deadline - time.monotonic())
        except asyncio.TimeoutError as error:
            raise TimeoutError() from error

    def is_idle(self) -> bool:
        """Whether the other side has neither sent nor closed."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()


async def pieces_of(body: Body):  # type: ignore[no-untyped-def]
    if isinstance(body, AsyncIterable):
        async for piece in body:
            yield piece
    else:
        for piece in body:
            yield piece
