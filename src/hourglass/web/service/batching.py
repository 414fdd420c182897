"""One thread that runs the models: images of one size that wait for the same use go into one call.

Nothing waits for company: a call takes what is there when the last one ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hourglass.notes import collected
from hourglass.web.service.uses import Use

if TYPE_CHECKING:
    from hourglass.images import Array

_VALUES = 400_000
"""Pixels, times channels, of several requests in one call: of larger images a call gains nothing, and the first would wait."""


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
    """Answers questions by one thread, those that fit together in one call.

    Parameters
    ----------
    most : int
        Images in one call; a block that is larger goes alone.
    on_call : callable
        Called in the thread after each call with (its questions, its seconds).
    """

    def __init__(self, most: int, on_call: Callable[[list[Question], float], None]) -> None:
        self._most, self._on_call = most, on_call
        self._waiting: deque[Question] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="hourglass-model", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def __len__(self) -> int:
        """The number of blocks that wait."""
        return len(self._waiting)

    async def ask(self, name: tuple[str, str], use: Use, block: Array, options: Mapping[str, Any], deadline: float) -> Result:
        """The result of `use` for a block of images. Raises what the use raises, and TimeoutError after the `deadline`.

        The deadline is on the clock of `time.monotonic`.
        """
        question = Question(name, use, options, block, deadline, asyncio.get_running_loop().create_future())
        with self._changed:
            self._waiting.append(question)
            self._changed.notify()
        async with asyncio.timeout(deadline - time.monotonic()):
            return await question.future

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            self._answer(batch)

    def _take(self) -> list[Question]:
        """The oldest question and all that go with it, once there is one; none when closed and done."""
        with self._changed:
            while True:
                while self._waiting:
                    first = self._waiting.popleft()
                    if _is_open(first):
                        return [first, *self._company(first)]
                if self._is_closed:
                    return []
                self._changed.wait()

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

    def _answer(self, batch: list[Question]) -> None:
        first, began = batch[0], time.monotonic()
        block = first.block if len(batch) == 1 else np.concatenate([question.block for question in batch])
        try:
            with collected() as notes:
                results = first.use.run(block, **first.options)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            if len(batch) == 1:
                first.future.get_loop().call_soon_threadsafe(_fail, first.future, error)
                return
            for question in batch:  # one image may be to blame: each alone
                self._answer([question])
            return
        took = time.monotonic() - began
        self._on_call(batch, took)
        answers, start = [], 0
        for question in batch:
            part = results if len(batch) == 1 else results[start : start + len(question.block)]
            start += len(question.block)
            answers.append(Result(part, notes, began - question.asked, took, len(block)))
        first.future.get_loop().call_soon_threadsafe(_deliver, batch, answers)


def _is_open(question: Question) -> bool:
    """Whether someone still waits for it."""
    return not question.future.done() and time.monotonic() < question.deadline


def _deliver(batch: list[Question], answers: list[Result]) -> None:
    for question, answer in zip(batch, answers, strict=True):
        if not question.future.done():
            question.future.set_result(answer)


def _fail(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
