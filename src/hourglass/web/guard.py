"""What stands before the routes: whom we answer, how much we read, what the browser may do with our pages."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANY_ADDRESS = "*"
"""Among hosts: whatever is an address in numbers, as where a server listens at all addresses of a machine."""
MAX_BODY = 8 << 20
"""Bytes of a request. Assign to it to change it."""

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
    """Answers only requests to `hosts`, from pages of the same host, of at most `MAX_BODY` bytes; adds headers to all answers.

    A page elsewhere could otherwise reach a server on loopback by a name of its own that points there (DNS rebinding), or
    just ask it for something that takes long.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}

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
            status, sentence = refusal
            await JSONResponse({"error": sentence}, status)(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str] | None:
        host, origin, length = headers.get("host", ""), headers.get("origin"), headers.get("content-length", "0")
        if not self._is_ours(_name(host)):
            return 400, "this server does not answer to that host name; start it with --host to allow another."
        is_foreign = origin is not None and origin.partition("://")[2] != host
        if is_foreign or (path != "/" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin")):
            return 403, "a page of another site may not ask this server."
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, f"the request is too large; the limit is {MAX_BODY:,} bytes."
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self.hosts or ANY_ADDRESS not in self.hosts:
            return name in self.hosts
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.lower().rpartition("]")[0] + "]" if host.startswith("[") else host.lower().partition(":")[0]
