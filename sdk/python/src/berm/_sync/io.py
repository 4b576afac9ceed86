"""A connection with blocking sockets; `_async/io.py` is the same for asyncio."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from typing import Iterable, Iterator, Optional, Union

Body = Union[bytes, Iterable[bytes]]
Lock = threading.Lock


class Connection:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def connect(cls, host: str, port: int, tls: Optional[ssl.SSLContext]) -> "Connection":
        sock = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(tls.wrap_socket(sock, server_hostname=host) if tls else sock)

    def write(self, data: bytes) -> None:
        self._socket.settimeout(None)
        self._socket.sendall(data)

    def read(self, deadline: Optional[float] = None) -> bytes:
        """What has come, b"" at the end; TimeoutError when the deadline (of time.monotonic()) passes."""
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError()
            self._socket.settimeout(left)
        else:
            self._socket.settimeout(None)
        try:
            return self._socket.recv(65536)
        except socket.timeout as error:
            raise TimeoutError() from error

    def is_idle(self) -> bool:
        """Whether the other side has neither sent nor closed."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        self._socket.close()


def pieces_of(body: Iterable[bytes]) -> Iterator[bytes]:
    yield from body
