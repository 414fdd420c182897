"""Middleware before the routes: allowed hosts, request size, and security headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANY_ADDRESS = "*"
"""Allows any numeric address as host, for a server that listens at all addresses of a machine."""
MAX_BODY = 8 << 20
"""Largest request in bytes. May be reassigned."""
PARSER = "h11"
"""Of HTTP: it limits headers to 64 KB. httptools, which uvicorn prefers where it is installed, has no limit."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Accepts only requests to `hosts`, from pages of the same origin, of at most `most` bytes; adds security headers.

    `most` is `MAX_BODY` by default.

    Otherwise a foreign page could reach a server on loopback through its own host name (DNS rebinding), or make it do
    expensive work.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], most: int | None = None) -> None:
        self.app, self.hosts, self._most = app, {host.lower() for host in hosts}, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal is not None:
            status, message = refusal
            await JSONResponse({"error": message}, status)(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str] | None:
        host, origin, length = headers.get("host", ""), headers.get("origin"), headers.get("content-length", "0")
        if not self._is_allowed(_without_port(host)):
            return 400, "this server does not accept that host name; start it with --host to allow another."
        is_foreign = origin is not None and origin.partition("://")[2] != host
        if is_foreign or (path != "/" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")):
            return 403, "this server does not accept requests from pages of other sites."
        most = MAX_BODY if self._most is None else self._most
        if not length.isdecimal() or int(length) > most:
            return 413, f"the request is too large; the limit is {most:,} bytes."
        return None

    def _is_allowed(self, name: str) -> bool:
        if name in self.hosts or ANY_ADDRESS not in self.hosts:
            return name in self.hosts
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _without_port(host: str) -> str:
    """Return a Host header without its port."""
    return host.lower().rpartition("]")[0] + "]" if host.startswith("[") else host.lower().partition(":")[0]
