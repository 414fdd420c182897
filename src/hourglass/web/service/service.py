"""One worker's service: what happens to a request between its arrival and its answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from hourglass.data.array_files import NPY_SIGNATURE
from hourglass.errors import LimitError
from hourglass.notes import collected
from hourglass.web.exchange import read_body
from hourglass.web.service import content
from hourglass.web.service.access import RECORD
from hourglass.web.service.batching import Batcher, Question
from hourglass.web.service.limits import Admission, Limits, Place
from hourglass.web.service.log import Log
from hourglass.web.service.metrics import Metrics
from hourglass.web.service.models import Models
from hourglass.web.service.options import Options
from hourglass.web.service.uses import Served, Use

_DECODERS = 2  # threads that decode and encode
_QUICK = 65_536  # bytes or pixels that are decoded and encoded without a thread: less than a millisecond
_QUICK_ARRAY = 1 << 20  # bytes of an array that are
_MOST_NOTES, _LONGEST = 5, 300  # sentences in the header, letters of each
NOTES = "x-hourglass-notes"
"""The header with what was converted or left out: a list of sentences, JSON."""

T = TypeVar("T")


class Service:
    """Models, what runs them, and the limits around them.

    Parameters
    ----------
    paths : mapping of str to path
        The folder of each model, by its name.
    device : str
    limits : Limits
    log : Log
    """

    def __init__(self, paths: dict[str, str], device: str, limits: Limits, log: Log) -> None:
        self.limits, self.log, self.metrics = limits, log, Metrics()
        self.models = Models(paths, device, self._note_load)
        for name in self.models:
            self._note_load(name, None)
        self.admission = Admission(limits)
        self.batcher = Batcher(limits.batch, self._note_call)
        self._pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="hourglass-decode")

    async def answer(self, request: Request, name: str, asked: str, options: Options) -> Response:
        """The response to a request for the use `asked` of the model `name`."""
        record = request.scope[RECORD]
        record |= {"model": name, "use": asked}
        with self.admission.place(self._declared(request)) as place:
            body = await read_body(request, self.limits.body, self.limits.seconds)
            try:
                async with asyncio.timeout(self.limits.seconds):
                    return await self._made(body, name, asked, options, record, place)
            except TimeoutError as error:
                words = f"no answer within {self.limits.seconds:g} seconds; send a smaller image, or try again later."
                raise HTTPException(503, words, {"Retry-After": "5"}) from error
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and type(error).__name__ != "OutOfMemoryError":  # torch's
                    raise
                raise HTTPException(503, "out of memory; send a smaller image.", {"Retry-After": "5"}) from error

    async def _made(
        self, body: bytes, name: str, asked: str, options: Options, record: dict[str, Any], place: Place
    ) -> Response:
        deadline = time.monotonic() + self.limits.seconds
        served = self.models[name].served  # this version, though another may be loaded meanwhile
        use = served.uses[asked]
        given, notes = await self._given(body, served, use, options)
        place.grow(given.n_bytes)
        answers = await asyncio.gather(
            *(self.batcher.ask((name, asked), use, block, options.to_model, deadline) for block in given.blocks)
        )
        results = answers[0].results if len(answers) == 1 else [result for one in answers for result in one.results]
        finish = functools.partial(content.answer, given, served, use, results, options)
        is_copied = use.gives == "image" and not given.pictures and len(results) * results[0].nbytes <= _QUICK_ARRAY
        is_quick = given.n_bytes <= _QUICK or is_copied
        (made, media), more = _noted(finish) if is_quick else await self._aside(finish)
        record |= {
            "images": sum(len(block) for block in given.blocks),
            "waited_ms": round(1000 * max(one.waited for one in answers), 1),
            "model_ms": round(1000 * sum(one.took for one in answers), 1),
            "batch": max(one.batch for one in answers),
        }
        self.metrics.waited.labels(name, asked).observe(max(one.waited for one in answers))
        every = dict.fromkeys([*notes, *(words for one in answers for words in one.notes), *more])
        headers = {NOTES: json.dumps([words[:_LONGEST] for words in every][:_MOST_NOTES])} if every else None
        return Response(made, media_type=media, headers=headers)

    async def _given(self, body: bytes, served: Served, use: Use, options: Options) -> tuple[content.Content, list[str]]:
        """The images of a request, and notes; what is small for certain is read at once, as a thread would take longer."""
        read = functools.partial(content.read, body, served, use, options)
        if body.startswith(NPY_SIGNATURE) and len(body) <= _QUICK_ARRAY:
            return _noted(lambda: read(self.limits.pixels))
        if len(body) <= _QUICK:
            with contextlib.suppress(LimitError):
                return _noted(lambda: read(min(_QUICK, self.limits.pixels)))
        return await self._aside(lambda: read(self.limits.pixels))

    async def _aside(self, work: Callable[[], T]) -> tuple[T, list[str]]:
        """The result of `work`, done in a thread, and its notes."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _noted, work)

    def _declared(self, request: Request) -> int:
        """Bytes of the body as its length says, or at most."""
        return int(request.headers.get("content-length", self.limits.body))

    async def close(self) -> None:
        """Answer what waits, and end the threads."""
        self.admission.is_closed = True
        await self.batcher.close()
        self._pool.shutdown()

    def _note_call(self, batch: list[Question], seconds: float) -> None:
        name, asked = batch[0].name
        self.admission.took(seconds, len(batch))
        self.metrics.model_seconds.labels(name, asked).observe(seconds)
        self.metrics.batch.labels(name, asked).observe(sum(len(question.block) for question in batch))

    def _note_load(self, name: str, error: Exception | None) -> None:
        self.metrics.loads.labels(name, "failed" if error else "loaded").inc()
        if error is not None:
            self.log.event("model not loaded", model=name, error=" ".join(str(error).split()))
            return
        loaded = self.models[name]
        self.metrics.loaded.labels(name).set(loaded.since)
        facts = {"model": name, "version": loaded.version, "task": loaded.served.task, "uses": list(loaded.served.uses)}
        self.log.event("model loaded", **facts)


def _noted(work: Callable[[], T]) -> tuple[T, list[str]]:
    """The result of `work`, and its notes."""
    with collected() as notes:
        result = work()
    return result, notes
