"""The models run one call at a time: images of one size that wait for the same use go into one call.

Nothing waits for company: a call takes what is there when the last one ends.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hourglass.notes import collected
from hourglass.web.service.uses import Use

if TYPE_CHECKING:
    from hourglass.images import Array

_VALUES = 400_000
"""Pixels, times channels, of several requests in one call: of larger images a call gains nothing, and the first would wait."""
_QUICK = 0.01
"""Seconds of a call that the event loop makes itself.

In a thread, the model would wait for Python's interpreter lock after each of its operations while the event loop reads and
answers other requests, which doubles the time of a call of milliseconds.
"""


class Result(NamedTuple):
    """What came of a block of images.

    Attributes
    ----------
    results : sequence
        Of the use, one for each image.
    notes : list of str
    waited, took : float
        Seconds in the queue, and of the call.
    batch : int
        Images of the call.
    """

    results: Sequence[Any]
    notes: list[str]
    waited: float
    took: float
    batch: int


@dataclass(eq=False)
class Question:
    """A block of images (n, *shape) that waits for a use of a model."""

    name: tuple[str, str]
    """(model, use), for the figures."""
    use: Use
    options: Mapping[str, Any]
    block: Array
    deadline: float
    future: asyncio.Future[Result]
    asked: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> Hashable:
        """Equal for questions that go into one call."""
        return id(self.use), tuple(self.options.items()), self.block.shape[1:], self.block.dtype.str


class Batcher:
    """Answers questions one call after the other, those that fit together in one call.

    Calls are made in a thread, except those that are expected to be quick.

    Parameters
    ----------
    most : int
        Images in one call; a block that is larger goes alone.
    on_call : callable
        Called after each call with (its questions, its seconds), in the thread or the event loop.
    """

    def __init__(self, most: int, on_call: Callable[[list[Question], float], None]) -> None:
        self._most, self._on_call = most, on_call
        self._waiting: deque[Question] = deque()
        self._costs: dict[tuple[str, str], tuple[Hashable, int, float]] = {}
        """Of the last call of each use: the key of its questions, values, seconds."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hourglass-model")
        self._working: asyncio.Task[None] | None = None

    async def ask(self, name: tuple[str, str], use: Use, block: Array, options: Mapping[str, Any], deadline: float) -> Result:
        """The result of `use` for a block of images. Raises what the use raises, and TimeoutError after the `deadline`.

        The deadline is on the clock of `time.monotonic`.
        """
        question = Question(name, use, options, block, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        async with asyncio.timeout(deadline - time.monotonic()):
            return await question.future

    async def close(self) -> None:
        """Answer what waits, then end the thread."""
        while self._working is not None and not self._working.done():
            await self._working
        self._thread.shutdown()

    async def _work(self) -> None:
        """Call after call, until nothing waits."""
        while batch := self._take():
            for question, answer in zip(batch, await self._answers(batch), strict=True):
                if question.future.done():
                    continue
                if isinstance(answer, Exception):
                    question.future.set_exception(answer)
                else:
                    question.future.set_result(answer)
            await asyncio.sleep(0)  # requests are answered and read before the next call

    async def _answers(self, batch: list[Question]) -> list[Result | Exception]:
        """What each question is answered with, by one call; if it fails, by a call for each, as one may be to blame."""
        try:
            if self._is_quick(batch):
                return self._call(batch)
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, batch)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            self._costs.pop(batch[0].name, None)
            if len(batch) == 1:
                return [error]
            answers = []
            for question in batch:
                answers += await self._answers([question])
                await asyncio.sleep(0)
            return answers

    def _is_quick(self, batch: list[Question]) -> bool:
        """Whether a call is expected to take at most `_QUICK` seconds.

        It is if the last one of the use had the same key and took no longer, in proportion to the values if these are more.
        """
        key, n_values, seconds = self._costs.get(batch[0].name, (None, 1, math.inf))
        share = sum(question.block.size for question in batch) / n_values
        return key == batch[0].key and seconds * max(1.0, share) <= _QUICK

    def _take(self) -> list[Question]:
        """The oldest question that is open and all that go with it; none if nothing waits."""
        while self._waiting:
            first = self._waiting.popleft()
            if _is_open(first):
                return [first, *self._company(first)]
        return []

    def _company(self, first: Question) -> list[Question]:
        """Take further questions of the same key, up to the limits of a call."""
        if not first.use.joins:
            return []
        chosen: list[Question] = []
        count, most = len(first.block), min(self._most, _VALUES // max(1, first.block[0].size))
        for question in [one for one in self._waiting if one.key == first.key]:
            if count + len(question.block) > most:
                break
            self._waiting.remove(question)
            if _is_open(question):
                chosen.append(question)
                count += len(question.block)
        return chosen

    def _call(self, batch: list[Question]) -> list[Result | Exception]:
        """The results of one call. Raises what the use raises."""
        first, began = batch[0], time.monotonic()
        block = first.block if len(batch) == 1 else np.concatenate([question.block for question in batch])
        with collected() as notes:
            results = first.use.run(block, **first.options)
        took = time.monotonic() - began
        self._costs[first.name] = (first.key, block.size, took)
        self._on_call(batch, took)
        answers: list[Result | Exception] = []
        start = 0
        for question in batch:
            part = results if len(batch) == 1 else results[start : start + len(question.block)]
            start += len(question.block)
            answers.append(Result(part, notes, began - question.asked, took, len(block)))
        return answers


def _is_open(question: Question) -> bool:
    """Whether someone still waits for it."""
    return not question.future.done() and time.monotonic() < question.deadline
