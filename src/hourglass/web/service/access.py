"""Middleware around everything: the token, an identity for each request, its line in the log, its figures."""

from __future__ import annotations

import hmac
import itertools
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hourglass.web.service.log import Log
from hourglass.web.service.metrics import Metrics

RECORD = "hourglass.record"
"""The key in an ASGI scope of the facts about a request, which routes add to."""
_OPEN = ("/", "/health", "/ready", "/openapi.json")  # without a token
_STATIC = "/static/"
_IDENTITY = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Access:
    """Admits requests with the right bearer token, if there is one; logs and counts all."""

    def __init__(self, app: ASGIApp, token: str | None, log: Log, metrics: Metrics) -> None:
        self._app, self._log, self._metrics = app, log, metrics
        self._token = None if token is None else token.encode()
        self._prefix, self._numbers = secrets.token_hex(6), itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.monotonic(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        identity = given if _IDENTITY.fullmatch(given) else f"{self._prefix}-{next(self._numbers)}"
        record: dict[str, Any] = {"id": identity, "model": "", "use": ""}
        scope[RECORD] = record
        status, n_bytes = 0, 0

        async def send_marked(message: Message) -> None:
            nonlocal status, n_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = identity
            n_bytes += len(message.get("body", b""))
            await send(message)

        self._metrics.under_way.inc()
        try:
            if self._is_admitted(scope["path"], headers):
                await self._app(scope, receive, send_marked)
            else:
                refusal = JSONResponse({"error": "a bearer token is needed: Authorization: Bearer …"}, 401)
                refusal.headers["www-authenticate"] = "Bearer"
                await refusal(scope, receive, send_marked)
        except Exception as error:  # noqa: BLE001  # the client has `failure_response`
            self._log.failure("error", error, id=identity, path=scope["path"])
        finally:
            self._metrics.under_way.dec()
            seconds, labels = time.monotonic() - began, (record["model"], record["use"])
            self._metrics.requests.labels(*labels, str(status)).inc()
            if record["use"]:
                self._metrics.seconds.labels(*labels).observe(seconds)
            self._log.request(
                **{"status": status, "method": scope["method"], "path": scope["path"]},
                **{"ms": round(1000 * seconds, 1), "bytes": n_bytes, **record},
            )

    def _is_admitted(self, path: str, headers: Headers) -> bool:
        if self._token is None or path in _OPEN or path.startswith(_STATIC):
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)


def failure_response(request: Request, _: Exception) -> Response:
    """The response to a request that failed unexpectedly: where to look, and nothing of what is inside."""
    identity = request.scope[RECORD]["id"]
    return JSONResponse({"error": f"an error of the server; its log tells more under the id {identity}."}, 500)
