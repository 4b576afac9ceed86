"""Every request that this SDK makes, in one place: method and path.

`{...}` is filled in by the caller; `{+...}` is a path whose slashes stay. The tests hold it against the daemon's OpenAPI
document.
"""

from __future__ import annotations

import re
from typing import Mapping
from urllib.parse import quote

ROUTES = {
    "health": ("GET", "/health"),
    "create_id": ("POST", "/v1/sandbox"),
    "destroy": ("DELETE", "/v1/sandbox/{id}"),
    "configure": ("PUT", "/v1/sandbox/{id}"),
    "describe": ("GET", "/v1/sandbox/{id}"),
    "running": ("GET", "/v1/sandbox/{id}/running"),
    "list_sandboxes": ("GET", "/v1/sandboxes"),
    "events": ("GET", "/v1/sandbox/{id}/events"),

    "exec_argv": ("POST", "/v1/sandbox/{id}/exec"),
    "exec": ("POST", "/v1/sandbox/{id}/container/api/execute"),
    "exec_stream": ("POST", "/v1/sandbox/{id}/container/api/execute/stream"),

    "start_process": ("POST", "/v1/sandbox/{id}/container/api/process/start"),
    "list_processes": ("GET", "/v1/sandbox/{id}/container/api/process/list"),
    "get_process": ("GET", "/v1/sandbox/{id}/container/api/process/{process}"),
    "kill_process": ("DELETE", "/v1/sandbox/{id}/container/api/process/{process}"),
    "kill_all_processes": ("DELETE", "/v1/sandbox/{id}/container/api/process/kill-all"),
    "process_logs": ("GET", "/v1/sandbox/{id}/container/api/process/{process}/logs"),
    "process_stream": ("GET", "/v1/sandbox/{id}/container/api/process/{process}/stream"),
    "process_input": ("POST", "/v1/sandbox/{id}/container/api/process/{process}/stdin"),
    "signal_process": ("POST", "/v1/sandbox/{id}/container/api/process/{process}/signal"),

    "read_file": ("POST", "/v1/sandbox/{id}/container/api/read"),
    "read_file_stream": ("POST", "/v1/sandbox/{id}/container/api/read/stream"),
    "write_file": ("POST", "/v1/sandbox/{id}/container/api/write"),
    "delete_file": ("POST", "/v1/sandbox/{id}/container/api/delete"),
    "rename_file": ("POST", "/v1/sandbox/{id}/container/api/rename"),
    "move_file": ("POST", "/v1/sandbox/{id}/container/api/move"),
    "mkdir": ("POST", "/v1/sandbox/{id}/container/api/mkdir"),
    "list_files": ("POST", "/v1/sandbox/{id}/container/api/list-files"),
    "exists": ("POST", "/v1/sandbox/{id}/container/api/exists"),
    "get_file": ("GET", "/v1/sandbox/{id}/file/{+path}"),
    "put_file": ("PUT", "/v1/sandbox/{id}/file/{+path}"),
    "persist": ("POST", "/v1/sandbox/{id}/persist"),
    "hydrate": ("POST", "/v1/sandbox/{id}/hydrate"),

    "watch": ("POST", "/v1/sandbox/{id}/container/api/watch"),
    "check_changes": ("POST", "/v1/sandbox/{id}/container/api/watch/check"),
    "git_checkout": ("POST", "/v1/sandbox/{id}/container/api/git/checkout"),
    "wait_for_port": ("POST", "/v1/sandbox/{id}/container/api/port-watch"),

    "create_context": ("POST", "/v1/sandbox/{id}/container/api/contexts"),
    "list_contexts": ("GET", "/v1/sandbox/{id}/container/api/contexts"),
    "delete_context": ("DELETE", "/v1/sandbox/{id}/container/api/contexts/{context}"),
    "interrupt_context": ("POST", "/v1/sandbox/{id}/container/api/contexts/{context}/interrupt"),
    "run_code": ("POST", "/v1/sandbox/{id}/container/api/execute/code"),

    "create_session": ("POST", "/v1/sandbox/{id}/container/api/session/create"),
    "delete_session": ("POST", "/v1/sandbox/{id}/container/api/session/delete"),
    "list_sessions": ("GET", "/v1/sandbox/{id}/container/api/session/list"),
    "terminal": ("GET", "/v1/sandbox/{id}/pty"),
    "container": ("*", "/v1/sandbox/{id}/container/{+rest}"),

    "expose_port": ("POST", "/v1/sandbox/{id}/ports"),
    "list_ports": ("GET", "/v1/sandbox/{id}/ports"),
    "unexpose_port": ("DELETE", "/v1/sandbox/{id}/ports/{port}"),
    "open_tunnel": ("POST", "/v1/sandbox/{id}/tunnel/{port}"),
    "close_tunnel": ("DELETE", "/v1/sandbox/{id}/tunnel/{port}"),
    "list_tunnels": ("GET", "/v1/sandbox/{id}/tunnels"),
    "mount_bucket": ("POST", "/v1/sandbox/{id}/mount"),
    "unmount_bucket": ("POST", "/v1/sandbox/{id}/unmount"),

    "get_egress": ("GET", "/v1/sandbox/{id}/egress"),
    "reset_egress": ("DELETE", "/v1/sandbox/{id}/egress"),

    "host": ("GET", "/v1/host"),
    "list_images": ("GET", "/v1/images"),
    "list_keys": ("GET", "/v1/keys"),
    "create_key": ("POST", "/v1/keys"),
    "delete_key": ("DELETE", "/v1/keys/{key}"),
    "pool_stats": ("GET", "/v1/pool/stats"),
    "prime_pool": ("POST", "/v1/pool/prime"),
    "shutdown_pool": ("POST", "/v1/pool/shutdown-prewarmed"),
    "metrics": ("GET", "/metrics"),
}


def path_of(route: str, values: Mapping[str, object]) -> str:
    """The path of a route with its blanks filled in, each value escaped. `.` and `..` would lead to another route."""

    def fill(match: "re.Match[str]") -> str:
        value = str(values[match.group(2)])
        segments = value.split("/") if match.group(1) else [value]
        if "." in segments or ".." in segments:
            raise ValueError(f"{match.group(2)} may not be {value}")
        return "/".join(quote(segment, safe="") for segment in segments)

    return re.sub(r"\{(\+?)(\w+)\}", fill, ROUTES[route][1])
