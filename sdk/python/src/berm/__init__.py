"""Sandboxes on your own machine: the client of a Berm daemon, for threads and for asyncio.

    from berm import get_sandbox

    with get_sandbox("demo") as sandbox:
        print(sandbox.exec("echo hello").stdout)
"""

from ._async.http import AsyncByteStream as AsyncByteStream, AsyncEventStream as AsyncEventStream
from ._async.process import AsyncProcess as AsyncProcess
from ._async.sandbox import AsyncBerm as AsyncBerm, AsyncSandbox as AsyncSandbox, get_async_sandbox as get_async_sandbox
from ._async.session import AsyncSession as AsyncSession
from ._async.terminal import AsyncTerminal as AsyncTerminal
from ._errors import *  # noqa: F401,F403
from ._ids import sandbox_id as sandbox_id
from ._sync.http import ByteStream as ByteStream, EventStream as EventStream
from ._sync.process import Process as Process
from ._sync.sandbox import Berm as Berm, Sandbox as Sandbox, get_sandbox as get_sandbox
from ._sync.session import Session as Session
from ._sync.terminal import Terminal as Terminal
from ._types import *  # noqa: F401,F403
