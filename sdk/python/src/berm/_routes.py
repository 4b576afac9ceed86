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
    "set_labels": ("PUT", "/v1/sandbox/{id}/labels"),
    "change_labels": ("PATCH", "/v1/sandbox/{id}/labels"),
    "change_env": ("PATCH", "/v1/sandbox/{id}/env"),
    "stats": ("GET", "/v1/sandbox/{id}/stats"),
    "events": ("GET", "/v1/sandbox/{id}/events"),
    "all_events": ("GET", "/v1/events"),

    "exec_argv": ("POST", "/v1/sandbox/{id}/exec"),
    "exec": ("POST", "/v1/sandbox/{id}/execute"),
    "exec_stream": ("POST", "/v1/sandbox/{id}/exec-stream"),

    "start_process": ("POST", "/v1/sandbox/{id}/processes"),
    "list_processes": ("GET", "/v1/sandbox/{id}/processes"),
    "get_process": ("GET", "/v1/sandbox/{id}/processes/{process}"),
    "kill_process": ("DELETE", "/v1/sandbox/{id}/processes/{process}"),
    "kill_all_processes": ("DELETE", "/v1/sandbox/{id}/processes"),
    "process_logs": ("GET", "/v1/sandbox/{id}/processes/{process}/logs"),
    "process_stream": ("GET", "/v1/sandbox/{id}/processes/{process}/stream"),
    "process_input": ("POST", "/v1/sandbox/{id}/processes/{process}/input"),
    "signal_process": ("POST", "/v1/sandbox/{id}/processes/{process}/signal"),

    "read_file": ("POST", "/v1/sandbox/{id}/files/read"),
    "read_file_stream": ("POST", "/v1/sandbox/{id}/files/read/stream"),
    "write_file": ("POST", "/v1/sandbox/{id}/files/write"),
    "delete_file": ("POST", "/v1/sandbox/{id}/files/delete"),
    "rename_file": ("POST", "/v1/sandbox/{id}/files/rename"),
    "move_file": ("POST", "/v1/sandbox/{id}/files/move"),
    "mkdir": ("POST", "/v1/sandbox/{id}/files/mkdir"),
    "list_files": ("POST", "/v1/sandbox/{id}/files/list"),
    "stat_file": ("POST", "/v1/sandbox/{id}/files/stat"),
    "get_file": ("GET", "/v1/sandbox/{id}/file/{+path}"),
    "exists": ("POST", "/v1/sandbox/{id}/files/exists"),
    "persist": ("POST", "/v1/sandbox/{id}/persist"),
    "hydrate": ("POST", "/v1/sandbox/{id}/hydrate"),

    "watch": ("POST", "/v1/sandbox/{id}/watch"),
    "check_changes": ("POST", "/v1/sandbox/{id}/watch/check"),
    "git_checkout": ("POST", "/v1/sandbox/{id}/git/checkout"),
    "wait_for_port": ("POST", "/v1/sandbox/{id}/ports/{port}/wait"),

    "create_context": ("POST", "/v1/sandbox/{id}/contexts"),
    "list_contexts": ("GET", "/v1/sandbox/{id}/contexts"),
    "delete_context": ("DELETE", "/v1/sandbox/{id}/contexts/{context}"),
    "interrupt_context": ("POST", "/v1/sandbox/{id}/contexts/{context}/interrupt"),
    "run_code": ("POST", "/v1/sandbox/{id}/code"),

    "create_session": ("POST", "/v1/sandbox/{id}/container/api/session/create"),
    "delete_session": ("DELETE", "/v1/sandbox/{id}/session/{session}"),
    "list_sessions": ("GET", "/v1/sandbox/{id}/sessions"),
    "terminal": ("GET", "/v1/sandbox/{id}/pty"),

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
    "list_secrets": ("GET", "/v1/secrets"),
    "put_secret": ("PUT", "/v1/secrets/{name}"),
    "delete_secret": ("DELETE", "/v1/secrets/{name}"),
    "link": ("GET", "/v1/link"),
    "pool_stats": ("GET", "/v1/pool/stats"),
    "prime_pool": ("POST", "/v1/pool/prime"),
    "shutdown_pool": ("POST", "/v1/pool/shutdown-prewarmed"),
    "openapi": ("GET", "/v1/openapi.json"),
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
