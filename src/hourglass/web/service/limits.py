"""What a service takes at most, and what waits at a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.exceptions import HTTPException


@dataclass(frozen=True)
class Limits:
    """Limits of a service.

    Attributes
    ----------
    body : int
        Bytes of a request.
    pixels : int
        Pixels of a request, of all its images together.
    seconds : float
        For a request's body to arrive, and again for its answer.
    queue : int
        Requests that are read, wait or are computed.
    memory : int
        Bytes of their bodies and images together. A request alone is always admitted.
    batch : int
        Images of several requests in one call of the model.
    """

    body: int = 32 << 20
    pixels: int = 16_000_000
    seconds: float = 30.0
    queue: int = 128
    memory: int = 1 << 30
    batch: int = 64


class Admission:
    """Counts the requests that are under way, and refuses more than the limits allow."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests, self.bytes = 0, 0
        self._pace = 0.05  # seconds a request, a running mean
        self.is_closed = False

    @contextlib.contextmanager
    def place(self, n_bytes: int) -> Iterator[Place]:
        """A place for one request of `n_bytes`. Raises HTTPException 429 if there is none, 503 if the server is stopping."""
        if self.is_closed:
            raise HTTPException(503, "the server is stopping; ask another, or again in a moment.", {"Retry-After": "1"})
        is_full = self.requests >= self.limits.queue or (self.requests and self.bytes + n_bytes > self.limits.memory)
        if is_full:
            seconds = str(max(1, min(60, math.ceil(self.requests * self._pace))))
            words = f"{self.requests} requests are waiting; the limit is {self.limits.queue}, or {self.limits.memory:,} bytes."
            raise HTTPException(429, f"{words} Try again in {seconds} s.", {"Retry-After": seconds})
        place = Place(self)
        self.requests += 1
        place.grow(n_bytes)
        try:
            yield place
        finally:
            self.requests -= 1
            self.bytes -= place.bytes

    def took(self, seconds: float, requests: int) -> None:
        """Note that a call of the model took `seconds` for so many requests."""
        self._pace += 0.1 * (seconds / requests - self._pace)


class Place:
    """What one request holds."""

    def __init__(self, admission: Admission) -> None:
        self._admission, self.bytes = admission, 0

    def grow(self, n_bytes: int) -> None:
        """Add bytes, as of decoded pixels."""
        self.bytes += n_bytes
        self._admission.bytes += n_bytes
