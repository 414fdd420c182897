"""The explorer's routes: each parses a request, makes one call, and packs the response."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from hourglass._version import __version__
from hourglass.data.files import decode_image
from hourglass.errors import DataError
from hourglass.images import to_shown, with_channels
from hourglass.web import guard
from hourglass.web.exchange import ERRORS, OCTETS, answer_errors, read_body, takes
from hourglass.web.packing import pack
from hourglass.web.scene import Scene

MAX_PIXELS = 16_000_000
"""Largest uploaded image. May be reassigned."""
_BODY_TIMEOUT = 20  # seconds
MAX_ROWS = 1024
"""Largest number of codes or images in one request."""

STATIC = files("hourglass.web").joinpath("static")


async def _body(request: Request) -> bytes:
    return await read_body(request, guard.MAX_BODY, _BODY_TIMEOUT)


Body = Annotated[bytes, Depends(_body)]
_ERRORS: dict[int | str, dict[str, Any]] = {code: ERRORS[code] for code in (400, 404, 413)}
_BYTES: dict[int | str, dict[str, Any]] = {200: {"description": "The format of web/packing.py.", "content": {OCTETS: {}}}}


def create_app(scene: Scene, hosts: Sequence[str] = guard.LOOPBACK) -> FastAPI:
    """Return the explorer of `scene` as an ASGI application for the host names in `hosts`."""
    app = FastAPI(title="Hourglass explorer", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(guard.Guard, hosts=hosts)
    answer_errors(app)
    _add_views(app, scene)
    _add_queries(app, scene)
    app.mount("/static", StaticFiles(packages=[("hourglass.web", "static")]), name="static")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def index() -> Response:
        return Response(STATIC.joinpath("index.html").read_bytes(), media_type="text/html; charset=utf-8")

    return app


def _add_views(app: FastAPI, scene: Scene) -> None:
    """Add the routes that take no input."""
    view: dict[str, Any] = {"response_class": Response, "responses": _BYTES | {404: _ERRORS[404]}}

    async def learned(name: str) -> Response:
        """Wait for a result that takes time, without occupying a thread."""
        return Response(pack(*await asyncio.wrap_future(scene.begin(name))), media_type=OCTETS)

    @app.get("/api/scene", **view)
    async def overview() -> Response:
        """Facts, codes and labels."""
        return await learned("overview")

    @app.get("/api/decoder", **view)
    def decoder() -> Response:
        """The decoder's steps and weights."""
        content = scene.part("decoder")
        if content is None:
            raise HTTPException(404, "the page cannot run this network; POST to /api/decode or /api/analyse.")
        return Response(pack(*content), media_type=OCTETS)

    @app.get("/api/density", **view)
    async def density() -> Response:
        """The mixture of Gaussians over the codes, fitted on the first request."""
        return await learned("density")

    @app.get("/api/plane", **view)
    async def plane() -> Response:
        """A two-dimensional map of the codes, learned on the first request."""
        return await learned("plane")


def _add_queries(app: FastAPI, scene: Scene) -> None:
    """Add the routes that take codes, rows, pixels or a file."""
    n_codes, n_values = scene.n_codes, int(np.prod(scene.shape))
    answers: dict[str, Any] = {"response_class": Response, "responses": _BYTES | _ERRORS}

    def one_image(body: bytes) -> NDArray[np.uint8]:
        if len(body) != n_values:
            raise DataError(f"got {len(body):,} bytes; an image has {n_values:,} bytes, {_format_shape(scene.shape)}.")
        return np.frombuffer(body, np.uint8).reshape(scene.shape)

    @app.post("/api/decode", **answers, openapi_extra=takes(f"Codes: float32, {n_codes} dimensions each."))
    def decode(body: Body) -> Response:
        """images: the decoded codes."""
        codes = _numbers(body, "<f4", n_codes)
        if not np.isfinite(codes).all():
            raise DataError("codes must be finite numbers.")
        return Response(pack({}, {"images": scene.decode(codes)}), media_type=OCTETS)

    @app.post("/api/images", **answers, openapi_extra=takes("Rows: int32."))
    def images(body: Body) -> Response:
        """images: those of the requested rows."""
        return Response(pack({}, {"images": scene.thumbnails(_numbers(body, "<i4", 1)[:, 0])}), media_type=OCTETS)

    @app.post("/api/region", **answers, openapi_extra=takes("Rows: int32, as many as there are images at most."))
    def region(body: Body) -> Response:
        """Mean and spread (twice the standard deviation) of the images of these rows."""
        mean, spread = scene.region(_numbers(body, "<i4", 1, len(scene.images))[:, 0])
        return Response(pack({}, {"mean": mean, "spread": spread}), media_type=OCTETS)

    @app.post("/api/upload", **answers, openapi_extra=takes("An image file.", "image/*"))
    def upload(body: Body) -> Response:
        """image: the content of the file in the size and channels of the model."""
        image = decode_image(io.BytesIO(body), "the file", (scene.shape[0], scene.shape[1]), MAX_PIXELS)
        shown = to_shown(image, scene.model.sample_.white)
        return Response(pack({}, {"image": with_channels(shown[None], scene.shape)[0]}), media_type=OCTETS)

    @app.post("/api/analyse", **answers, openapi_extra=takes(f"The pixels of an image: uint8, {n_values}."))
    def analyse(body: Body) -> Response:
        """Codes and reconstruction of an image."""
        codes, reconstructions = scene.analyse(one_image(body)[None])
        return Response(pack({}, {"code": codes[0], "reconstruction": reconstructions[0]}), media_type=OCTETS)

    @app.post("/api/score", responses=_ERRORS, openapi_extra=takes(f"The pixels of an image: uint8, {n_values}."))
    async def score(body: Body) -> dict[str, Any]:
        """Anomaly detection of an image: score, threshold, anomaly."""
        image = one_image(body)
        await asyncio.wrap_future(scene.begin("detector"))
        return await run_in_threadpool(scene.score, image)

    @app.post("/api/compress", responses=_ERRORS, openapi_extra=takes(f"The pixels of an image: uint8, {n_values}."))
    async def compress(body: Body) -> dict[str, Any]:
        """Sizes of a .hgc file of an image and of its pixels: bytes, raw."""
        image = one_image(body)
        await asyncio.wrap_future(scene.begin("compressor"))
        return await run_in_threadpool(scene.compress, image)


def _numbers(body: bytes, dtype: str, columns: int, most: int = MAX_ROWS) -> NDArray[Any]:
    """Return `body` as an array (n, columns). Raises DataError unless it has 1 to `most` complete rows."""
    n_rows, rest = divmod(len(body), 4 * columns)
    if rest or not 1 <= n_rows <= most:
        raise DataError(f"got {len(body):,} bytes; allowed: {4 * columns} for each of 1 to {most:,} rows.")
    return np.frombuffer(body, dtype).reshape(n_rows, columns)


def _format_shape(shape: tuple[int, ...]) -> str:
    return "×".join(str(length) for length in shape)
