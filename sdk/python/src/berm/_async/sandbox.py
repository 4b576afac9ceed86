"""A sandbox, and what of it no session has: settings, life, network, ports, tunnels. And the daemon it belongs to."""

from __future__ import annotations

import json
import ssl
import time
from typing import Any, AsyncIterator, Dict, List, Mapping, Optional, Sequence, Union

from .._errors import NotSupportedError, SandboxError
from .._ids import DEFAULT_SESSION, NO_SESSION, check_name, check_port, check_variables, sandbox_id
from .._types import ExposedPort, TunnelInfo, build
from .http import AsyncByteStream, AsyncEventStream, AsyncTransport
from .io import Body
from .session import AsyncSession, Env, present


class AsyncSandbox(AsyncSession):
    """Made by get_async_sandbox(); used as a context manager it destroys the sandbox at its end."""

    def __init__(self, transport: AsyncTransport, name: str, settings: Mapping[str, Any], default_session: bool) -> None:
        check_name(name)
        super().__init__(transport, None, sandbox_id(name), DEFAULT_SESSION if default_session else NO_SESSION)
        self.name = name
        self._settings = present(settings)
        self._configured = not self._settings
        self._placement: Optional[str] = None

    @property
    def id(self) -> str:
        """Under which the daemon knows it."""
        return self._sandbox_id

    async def __aenter__(self) -> "AsyncSandbox":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.destroy()

    async def _ready(self) -> None:
        if not self._configured:
            await self._put(self._settings)
            self._configured = True

    async def _put(self, settings: Mapping[str, Any], **options: Any) -> Dict[str, Any]:
        return await self._transport.json("configure", {"id": self._sandbox_id}, json_body=settings, **options)

    async def _look(self, route: str, **options: Any) -> Any:
        """A request that may be about a sandbox that is not there: it never makes one."""
        return await self._transport.json(route, {"id": self._sandbox_id}, **options)

    # Settings and life

    async def configure(self, *, display_name: Optional[str] = None, image: Optional[str] = None,
                        limits: Optional[Mapping[str, int]] = None, env: Env = None, labels: Optional[Mapping[str, str]] = None, sleep_after: Union[str, int, None] = None,
                        keep_alive: Optional[bool] = None, network: Optional[str] = None, egress: Optional[Mapping[str, Any]] = None,
                        idempotency_key: Optional[str] = None) -> Dict[str, Any]:
        """Makes the sandbox now, or changes settings; the daemon's description of it."""
        await self._ready()
        settings = {"name": display_name, "image": image, "limits": limits, "env": env, "labels": labels, "sleepAfter": sleep_after,
                    "keepAlive": keep_alive, "network": network, "egress": egress}
        return await self._put(present(settings), idempotency_key=idempotency_key)

    async def describe(self, usage: bool = False) -> Dict[str, Any]:
        """The daemon's description. SandboxNotFoundError if there is none."""
        return await self._look("describe", query={"usage": usage or None})

    async def stats(self) -> Dict[str, Any]:
        """Limits and what it uses now; `usage` is None while it does not run."""
        return await self._look("stats")

    async def events(self) -> List[Dict[str, Any]]:
        """The last events of its life, oldest first."""
        return (await self._look("events"))["events"]

    async def follow_events(self, after: Optional[int] = None) -> AsyncEventStream:
        """The events to come, or those behind the one with that number."""
        headers = {"Accept": "text/event-stream", **({} if after is None else {"Last-Event-ID": str(after)})}
        response = await self._transport.request("events", {"id": self._sandbox_id}, headers=headers)
        return AsyncEventStream(response, lambda _, data: json.loads(data))

    async def is_running(self) -> bool:
        return (await self._look("running"))["running"]

    async def start(self) -> None:
        await self.configure()

    async def set_sleep_after(self, sleep_after: Union[str, int]) -> None:
        await self.configure(sleep_after=sleep_after)

    async def set_keep_alive(self, keep_alive: bool) -> None:
        await self.configure(keep_alive=keep_alive)

    async def set_labels(self, labels: Mapping[str, str]) -> None:
        await self._json("set_labels", labels)

    async def change_labels(self, changes: Mapping[str, Optional[str]]) -> None:
        """Those that are named; None takes away."""
        await self._json("change_labels", changes)

    async def get_state(self) -> str:
        """running (starting), healthy, stopped, stopped_with_code."""
        try:
            sandbox = await self.describe()
        except SandboxError as error:
            if error.code != "sandbox_not_found":
                raise
            return "stopped"
        if sandbox["state"] in ("creating", "running"):
            return "running" if sandbox["state"] == "creating" else "healthy"
        return "stopped_with_code" if sandbox["endReason"] == "exited" and sandbox["exitStatus"] is not None else "stopped"

    async def destroy(self) -> None:
        await self._look("destroy")
        self._configured = not self._settings
        self._contexts.clear()

    # Variables and sessions

    async def set_env_vars(self, variables: Mapping[str, Optional[str]]) -> None:
        """For all that starts from now on, and in the shell of the default session; None unsets."""
        check_variables(variables)
        await self._json("change_env", variables)
        if self._session != NO_SESSION:
            await super().set_env_vars(variables)

    async def create_session(self, session_id: Optional[str] = None, *, env: Env = None, cwd: Optional[str] = None,
                             command_timeout: Optional[float] = None) -> AsyncSession:
        session = session_id or f"session-{time.time_ns() // 1000000}"
        if session == NO_SESSION:
            raise ValueError(f"Session ID '{NO_SESSION}' is reserved for internal use")
        body = {"id": session, "env": env and present(env), "cwd": cwd, "commandTimeoutMs": command_timeout and round(command_timeout * 1000)}
        self._placement = (await self._json("create_session", present(body))).get("containerPlacementId")
        return self.get_session(session)

    def get_session(self, session_id: str) -> AsyncSession:
        """No request: a session is made by its first use."""
        return AsyncSession(self._transport, self, self._sandbox_id, session_id)

    async def delete_session(self, session_id: str) -> None:
        if session_id == DEFAULT_SESSION:
            raise ValueError(f"Cannot delete default session '{session_id}'. Use destroy() to terminate the sandbox.")
        await self._json("delete_session", values={"session": session_id})

    async def list_sessions(self) -> List[str]:
        return (await self._json("list_sessions"))["data"]

    # The workspace as an archive

    async def persist(self, excludes: Sequence[str] = ()) -> AsyncByteStream:
        """/workspace as a tar stream; `excludes` are patterns of GNU tar."""
        await self._ready()
        query = {"excludes": ",".join(excludes) or None}
        return AsyncByteStream(await self._transport.request("persist", {"id": self._sandbox_id}, query=query))

    async def hydrate(self, archive: Body) -> None:
        await self._json("hydrate", body=archive, headers={"Content-Type": "application/x-tar"})

    # Ports and tunnels

    async def expose_port(self, port: int, *, name: Optional[str] = None, token: Optional[str] = None, expires_in: Optional[int] = None) -> ExposedPort:
        check_port(port)
        return build(ExposedPort, await self._json("expose_port", present({"port": port, "name": name, "token": token, "expiresIn": expires_in})))

    async def unexpose_port(self, port: int) -> None:
        check_port(port)
        await self._transport.json("unexpose_port", {"id": self._sandbox_id, "port": port})

    async def get_exposed_ports(self) -> List[ExposedPort]:
        ports = [build(ExposedPort, entry) for entry in (await self._look("list_ports"))["ports"]]
        return sorted(ports, key=lambda entry: entry.port)

    async def is_port_exposed(self, port: int) -> bool:
        return any(entry.port == port for entry in await self.get_exposed_ports())

    async def open_tunnel(self, port: int, *, name: Optional[str] = None) -> TunnelInfo:
        """tunnels.get of the JavaScript SDK."""
        check_port(port)
        return build(TunnelInfo, await self._json("open_tunnel", None if name is None else {"name": name}, {"port": port}))

    async def list_tunnels(self) -> List[TunnelInfo]:
        return [build(TunnelInfo, entry) for entry in (await self._look("list_tunnels"))["tunnels"]]

    async def close_tunnel(self, port: int) -> None:
        check_port(port)
        await self._json("close_tunnel", values={"port": port})

    # The network policy

    async def get_egress(self) -> Dict[str, Any]:
        return await self._json("get_egress")

    async def set_egress(self, policy: Mapping[str, Any]) -> Dict[str, Any]:
        """Makes the sandbox if there is none, with this policy from its beginning."""
        await self.configure(egress=policy)
        return await self.get_egress()

    async def reset_egress(self) -> Dict[str, Any]:
        return await self._json("reset_egress")

    # What a Worker's bucket is needed for

    async def create_backup(self, *_: object, **__: object) -> None:
        raise NotSupportedError("create_backup", "the SDK keeps backups in a bucket of the Worker; persist() gives the workspace as an archive")

    async def restore_backup(self, *_: object, **__: object) -> None:
        raise NotSupportedError("restore_backup", "the SDK keeps backups in a bucket of the Worker; hydrate() takes an archive")


class AsyncBerm:
    """A daemon. `url` and `api_key`: BERM_URL and BERM_API_KEY otherwise. As a context manager it closes its connections, which
    belong to one event loop in asyncio; threads may share it otherwise."""

    def __init__(self, url: Optional[str] = None, api_key: Optional[str] = None, ssl_context: Optional[ssl.SSLContext] = None) -> None:
        self._transport = AsyncTransport(url, api_key, ssl_context)

    async def __aenter__(self) -> "AsyncBerm":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def url(self) -> str:
        return self._transport.url

    def sandbox(self, name: str, *, display_name: Optional[str] = None, image: Optional[str] = None,
                limits: Optional[Mapping[str, int]] = None, env: Env = None, labels: Optional[Mapping[str, str]] = None, sleep_after: Union[str, int, None] = None, keep_alive: Optional[bool] = None,
                network: Optional[str] = None, egress: Optional[Mapping[str, Any]] = None, enable_default_session: bool = True,
                normalize_id: bool = False) -> AsyncSandbox:
        """A handle; makes no request by itself. The options are sent before the sandbox's first use.

        `name` makes the id; `display_name` is what people read in lists and need not be unique."""
        settings = {"name": display_name, "image": image, "limits": limits, "env": env, "labels": labels, "sleepAfter": sleep_after,
                    "keepAlive": keep_alive, "network": network, "egress": egress}
        return AsyncSandbox(self._transport, name.lower() if normalize_id else name, settings, enable_default_session)

    async def new_id(self) -> str:
        """A fresh id; nothing is made."""
        return (await self._transport.json("create_id", {}))["id"]

    async def sandboxes(self, *, labels: Optional[Mapping[str, Optional[str]]] = None, state: Optional[str] = None,
                        display_name: Optional[str] = None) -> AsyncIterator[Dict[str, Any]]:
        """Descriptions, page after page. All labels must match; None asks for the label alone."""
        wanted = [name if value is None else f"{name}={value}" for name, value in (labels or {}).items()]
        cursor: Optional[str] = None
        while True:
            page = await self._transport.json("list_sandboxes", {}, query={"label": wanted, "state": state, "name": display_name, "cursor": cursor})
            for sandbox in page["sandboxes"]:
                yield sandbox
            cursor = page["cursor"]
            if cursor is None:
                return

    async def follow_events(self) -> AsyncEventStream:
        """What happens to all sandboxes from now on."""
        response = await self._transport.request("all_events", {}, headers={"Accept": "text/event-stream"})
        return AsyncEventStream(response, lambda _, data: json.loads(data))

    async def health(self) -> Dict[str, Any]:
        return await self._transport.json("health", {})

    async def host(self) -> Dict[str, Any]:
        return await self._transport.json("host", {})

    async def images(self) -> List[Dict[str, Any]]:
        return (await self._transport.json("list_images", {}))["images"]

    async def keys(self) -> List[Dict[str, Any]]:
        return (await self._transport.json("list_keys", {}))["keys"]

    async def create_key(self, label: Optional[str] = None) -> Dict[str, Any]:
        return await self._transport.json("create_key", {}, json_body=present({"label": label}))

    async def delete_key(self, key_id: str) -> None:
        await self._transport.json("delete_key", {"key": key_id})

    async def secrets(self) -> List[Dict[str, Any]]:
        """What policies put into requests as `credentials`; no call shows a value again."""
        return (await self._transport.json("list_secrets", {}))["secrets"]

    async def set_secret(self, name: str, value: str) -> Dict[str, Any]:
        return await self._transport.json("put_secret", {"name": name}, json_body={"value": value})

    async def delete_secret(self, name: str) -> None:
        await self._transport.json("delete_secret", {"name": name})

    async def link(self) -> Dict[str, Any]:
        """The link to the public edge of a daemon behind NAT; only `state` without one."""
        return await self._transport.json("link", {})

    async def pool_stats(self) -> Dict[str, Any]:
        return await self._transport.json("pool_stats", {})

    async def prime_pool(self) -> None:
        await self._transport.json("prime_pool", {})

    async def shutdown_prewarmed(self) -> None:
        await self._transport.json("shutdown_pool", {})

    async def openapi(self) -> Dict[str, Any]:
        """The daemon's description of its API."""
        return await self._transport.json("openapi", {})

    async def metrics(self) -> str:
        """Prometheus text."""
        return (await (await self._transport.request("metrics", {})).read_all()).decode()


def get_async_sandbox(name: str, *, url: Optional[str] = None, api_key: Optional[str] = None, **options: Any) -> AsyncSandbox:
    """A handle of a sandbox of the daemon at `url`; the options are those of AsyncBerm.sandbox()."""
    return AsyncBerm(url, api_key).sandbox(name, **options)
