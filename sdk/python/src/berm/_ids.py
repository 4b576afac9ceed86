"""Names of sandboxes, ports, variables and languages: what is refused before anybody is asked."""

from __future__ import annotations

import base64
import re
from typing import Iterable

from ._errors import SandboxSecurityError

NO_SESSION = "__DISABLE_SESSION__"  # the session id by which the control server knows calls that use no session
DEFAULT_SESSION = "default"
_NATIVE = re.compile(r"[a-z2-7]{1,128}")
_RESERVED = {"www", "api", "admin", "root", "system", "cloudflare", "workers"}
_LANGUAGES = {"python": "python", "python3": "python", "javascript": "javascript", "js": "javascript", "node": "javascript",
              "typescript": "typescript", "ts": "typescript"}


def sandbox_id(name: str) -> str:
    """The id under which the daemon knows a name: the name if it may be one, else its UTF-8 in base32."""
    if _NATIVE.fullmatch(name):
        return name
    return base64.b32encode(name.encode()).decode().rstrip("=").lower()


def check_name(name: str) -> None:
    if not 1 <= len(name) <= 63 or len(sandbox_id(name)) > 128:
        raise SandboxSecurityError("Sandbox ID must be 1-63 characters long.", "INVALID_SANDBOX_ID_LENGTH")
    if name.startswith("-") or name.endswith("-"):
        raise SandboxSecurityError("Sandbox ID cannot start or end with hyphens.", "INVALID_SANDBOX_ID_HYPHENS")
    if name.lower() in _RESERVED:
        raise SandboxSecurityError(f"Reserved sandbox ID '{name}' is not allowed.", "RESERVED_SANDBOX_ID")


def check_port(port: int) -> None:
    if not isinstance(port, int) or not 1024 <= port <= 65535 or port == 3000:
        raise SandboxSecurityError(f"Invalid port number: {port}. Must be 1024-65535, excluding 3000 (sandbox control plane).", "INVALID_PORT")


def check_variables(names: Iterable[str]) -> None:
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"Invalid environment variable name: {name!r}")


def language_of(name: str) -> str:
    language = _LANGUAGES.get(name.lower())
    if language is None:
        raise SandboxSecurityError(f"Unsupported language '{name}'. Supported languages: python, javascript, typescript", "INVALID_LANGUAGE")
    return language
