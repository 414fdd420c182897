"""What every route shares: reading a request's body within limits, and one JSON sentence for each error."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hourglass.errors import HourglassError

OCTETS = "application/octet-stream"
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": what, "content": {"application/json": {"schema": {"type": "object", "required": ["error"]}}}}
    for code, what in (
        (400, "A sentence that describes the error."),
        (401, "No valid token."),
        (404, "Not found."),
        (408, "The body did not arrive in time."),
        (413, "Too large."),
        (429, "Too many requests wait; Retry-After says how many seconds to wait."),
        (503, "Not answered in time, or the server is stopping."),
    )
}


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Read the request's body, at most `most` bytes within `seconds`, as its content length may be missing or wrong.

    Raises
    ------
    HTTPException
        400, 408 or 413.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    raise HTTPException(413, f"the request is too large; the limit is {most:,} bytes.")
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection closed before the end of the request's body.") from error
    except TimeoutError as error:
        raise HTTPException(408, f"the request's body did not arrive within {seconds:g} seconds.") from error
    return bytes(content)


def takes(what: str, media: str = OCTETS) -> dict[str, Any]:
    """The OpenAPI description of a body of bytes."""
    schema = {"type": "string", "format": "binary"}
    return {"requestBody": {"required": True, "description": what, "content": {media: {"schema": schema}}}}


def answer_errors(app: FastAPI) -> None:
    """Have `app` answer refused requests with one sentence, as ``{"error": …}``."""
    for kind in (HourglassError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, error_response)


def error_response(_: Request, error: Exception) -> Response:
    """The response to a refused request: 400, unless the error says which."""
    if isinstance(error, HTTPException):
        allowed = (error.headers or {}).get("Allow", "other methods")
        messages = {"Not Found": "not found; the page is at /.", "Method Not Allowed": f"only {allowed} is allowed here."}
        return JSONResponse({"error": messages.get(error.detail, error.detail)}, error.status_code, headers=error.headers)
    return JSONResponse({"error": " ".join(str(error).split())}, 400)
