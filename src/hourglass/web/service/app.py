"""The service's routes: each use of each model has an address of its own, so that the OpenAPI page can describe it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from hourglass._version import __version__
from hourglass.errors import LimitError
from hourglass.web import guard
from hourglass.web.exchange import ERRORS, OCTETS, answer_errors, takes
from hourglass.web.service import content
from hourglass.web.service.access import Access, failure_response
from hourglass.web.service.limits import Limits
from hourglass.web.service.log import Log
from hourglass.web.service.options import options_of, parameters_of, parsed
from hourglass.web.service.service import Service
from hourglass.web.service.uses import Use

_TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus's
_GIVES: dict[str, dict[str, Any]] = {
    "image": {"image/*": {}, OCTETS: {}},
    "map": {OCTETS: {}, "image/png": {}},
    "codes": {content.JSON: {"schema": {"type": "object", "required": ["codes"]}}, OCTETS: {}},
    "facts": {content.JSON: {"schema": {"type": "object", "required": ["images"]}}},
    "file": {content.HGC: {}},
}
_SUFFIX = {"image": "png", "map": "npy", "codes": "json", "facts": "json", "file": "hgc"}


@dataclass(frozen=True)
class Settings:
    """What a worker of the service is started with.

    Attributes
    ----------
    models : dict
        Name and folder of each model.
    device : str
    limits : Limits
    hosts : tuple of str
        Host names that requests may ask for.
    token : str, optional
        The bearer token that requests must bring.
    quiet : bool
        Whether to leave requests out of the log, except failures.
    """

    models: dict[str, str]
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    hosts: tuple[str, ...] = guard.LOOPBACK
    token: str | None = field(default=None, repr=False)
    quiet: bool = False


def create_service(settings: Settings) -> ASGIApp:
    """Load the models of `settings` and return their service as an ASGI application.

    Raises
    ------
    FormatError, ParameterError, ModelError
        If a model cannot be loaded.
    """
    log = Log(quiet=settings.quiet)
    service = Service(settings.models, settings.device, settings.limits, log)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(service.models.watch())
        log.event("ready", models=list(service.models))
        yield
        watch.cancel()
        await service.close()
        log.event("stopped")

    app = FastAPI(title="Hourglass service", version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    answer_errors(app)
    app.add_exception_handler(Exception, failure_response)
    app.add_exception_handler(LimitError, lambda _, error: JSONResponse({"error": " ".join(str(error).split())}, 413))
    _add_views(app, service)
    for name, loaded in service.models.items():
        _add_example(app, service, name, needs_token=settings.token is not None)
        for asked, use in loaded.served.uses.items():
            _add_use(app, service, name, asked, use, needs_token=settings.token is not None)
    app.mount("/static", StaticFiles(packages=[("hourglass.web", "static")]), name="static")
    guarded = guard.Guard(app, settings.hosts, settings.limits.body)
    return Access(guarded, settings.token, log, service.metrics)


def _add_views(app: FastAPI, service: Service) -> None:
    """Add the routes that take no input."""

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page() -> Response:
        """The page that shows and tries the routes."""
        text = files("hourglass.web").joinpath("static", "service.html").read_bytes()
        return Response(text, media_type="text/html; charset=utf-8")

    @app.get("/health")
    async def health() -> Response:
        """Whether the worker answers at all; if it does not, it is to be started anew."""
        return JSONResponse({"status": "ok"})

    @app.get("/ready", responses={503: ERRORS[503]})
    def ready() -> Response:
        """Whether the worker takes requests."""
        if service.admission.is_closed:
            return JSONResponse({"error": "the server is stopping."}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/models", responses={401: ERRORS[401]})
    def models() -> dict[str, Any]:
        """The models, their uses, and since when this version is served."""
        return {
            name: {
                **{"task": loaded.served.task, "sample": str(loaded.served.sample), "uses": list(loaded.served.uses)},
                **{"version": loaded.version, "since": loaded.since},
            }
            for name, loaded in service.models.items()
        }

    @app.get("/metrics", response_class=Response, responses={200: {"content": {_TEXT: {}}}, 401: ERRORS[401]})
    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type=_TEXT)


def _add_example(app: FastAPI, service: Service, name: str, *, needs_token: bool) -> None:
    media = content.example(service.models[name].served.sample)[1]

    def example() -> Response:
        body, kind = content.example(service.models[name].served.sample)
        return Response(body, media_type=kind)

    app.get(
        f"/models/{name}/example",
        name=f"{name}: an example image",
        description="An image that the model takes.",
        response_class=Response,
        responses={200: {"content": {media: {}}}, 401: ERRORS[401]},
        dependencies=_security(needs_token),
    )(example)


def _add_use(app: FastAPI, service: Service, name: str, asked: str, use: Use, *, needs_token: bool) -> None:
    kind = options_of(asked, use)

    async def ask(request: Request) -> Response:
        # Not by FastAPI's own parsing, which takes as long as decoding a small image.
        return await service.answer(request, name, asked, parsed(kind, request.query_params))

    is_image = service.models[name].served.sample.is_image
    what = "An image file (PNG, JPEG, WebP, TIFF, …) or an npy file, as it is." if is_image else "An npy file: (n, features)."
    app.post(
        f"/models/{name}/{asked}",
        name=f"{name}: {asked}",
        description=use.summary,
        response_class=Response,
        responses={200: {"description": "Done.", "content": _GIVES[use.gives]}, **ERRORS},
        openapi_extra=takes(what)
        | {"parameters": parameters_of(kind), "x-codeSamples": _samples(name, asked, use, needs_token)},
        dependencies=_security(needs_token),
    )(ask)


def _samples(name: str, asked: str, use: Use, needs_token: bool) -> list[dict[str, str]]:
    """An example for the command line, as Redoc shows it; ADDRESS stands for that of the server."""
    token = " -H 'Authorization: Bearer '$HOURGLASS_TOKEN" if needs_token else ""
    lines = (
        f"curl -sf{token} ADDRESS/models/{name}/example -o example",
        f"curl -sf{token} ADDRESS/models/{name}/{asked} --data-binary @example -o answer.{_SUFFIX[use.gives]}",
    )
    return [{"lang": "Shell", "label": "curl", "source": "\n".join(lines)}]


def _security(needs_token: bool) -> list[Any]:
    """For the description alone; `Access` asks for the token."""
    return [Security(HTTPBearer(scheme_name="bearer", auto_error=False))] if needs_token else []
