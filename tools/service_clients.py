"""Clients of the service that cost little: requests as bytes over plain connections, and what has to come back."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hourglass.data.array_files import encode_npy
from hourglass.data.files import encode_image
from hourglass.images import to_uint8

Uint8 = NDArray[np.uint8]
MALFORMED = 0.3
"""Share of malformed requests."""


@dataclass
class Question:
    """A request as bytes, and what its answer has to be: an image, to within a grey level, or a refusal."""

    sent: bytes
    wanted: Uint8 | None
    known: set[bytes] = field(default_factory=set)

    def is_right(self, status: int, body: bytes) -> bool:
        if self.wanted is None:
            return 400 <= status < 500 and b'"error"' in body
        if status != 200 or body in self.known:
            return status == 200
        values = np.asarray(Image.open(io.BytesIO(body))).astype(int)
        if values.shape != self.wanted.shape or np.abs(values - self.wanted).max() > 1:
            return False
        self.known.add(body)
        return True


def asked(path: str, body: bytes, wanted: Uint8 | None) -> Question:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return Question(head.encode() + body, wanted)


def questions(model: Any, name: str, images: Uint8) -> Iterator[Question]:
    """Requests without end, three in ten of them malformed. The answers are computed here, not when the first is asked."""
    path, answers = f"/models/{name}/denoise", to_uint8(np.stack([model.transform(image[None])[0] for image in images]))
    good = [asked(path, encode_image(image), answer) for image, answer in zip(images, answers, strict=True)]
    whole = encode_image(images[0])
    bad = [
        asked(path, b"", None),
        asked(path, b"no image at all", None),
        asked(path, whole[: len(whole) // 2], None),
        asked(path, whole[:40] + bytes(20) + whole[60:], None),
        asked(f"{path}?strength=7", whole, None),
        asked(f"{path}?strenght=0.1", whole, None),
        asked(f"/models/{name}/nothing", whole, None),
        asked(path, encode_npy(images[0] * 3.0), None),
        asked(path, encode_npy(np.full((1, *images[0].shape), np.nan)), None),
        asked(path, encode_npy(images[0])[:-5], None),
    ]
    return _mixed(good, bad)


def _mixed(good: list[Question], bad: list[Question]) -> Iterator[Question]:
    rng = np.random.default_rng(0)
    while True:
        kind = bad if rng.random() < MALFORMED else good
        yield kind[int(rng.integers(len(kind)))]


@dataclass
class Tally:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    lost_ports: list[int] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)


async def client(port: int, source: Iterator[Question], until: float, pace: tuple[float, float], tally: Tally) -> None:
    """Ask one question after the other. With a pace (period, delay) at these times, and seconds count from when one was due."""
    period, delay = pace
    due, stream = time.monotonic() + delay, None
    while time.monotonic() < until:
        if period:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        began = due if period else time.monotonic()
        due += period
        question = next(source)
        try:
            if stream is None:
                stream = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = stream
            local = writer.get_extra_info("sockname")[1]
            tally.ports.add(local)
            writer.write(question.sent)
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head)
            body = await reader.readexactly(int(found[1]) if found else 0)
        except (OSError, asyncio.IncompleteReadError):
            if stream is not None:
                tally.lost_ports.append(local)
                stream[1].close()
            stream = None
            continue
        status = int(head[9:12])
        tally.statuses[status] += 1
        tally.wrong += not question.is_right(status, body)
        if status == 200:
            tally.seconds.append(time.monotonic() - began)
        if b"connection: close" in head.lower():
            writer.close()
            stream = None
    if stream is not None:
        stream[1].close()
