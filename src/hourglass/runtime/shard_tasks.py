"""The tasks of verbs on a shard: tables with a row for each image. A new one is a class and a line in `SHARD_TASKS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hourglass.data.files import encode_image, in_depth
from hourglass.data.shards import Form, Piece
from hourglass.data.write import replace_file
from hourglass.errors import DataError
from hourglass.images import Array

MOST_BYTES = 2 << 30
"""Upper limit for the pixels of a shard to compress."""


class ShardTask(ABC):
    """A model, an estimator or one that was exported, applied to the images of a shard, piece by piece."""

    needs: ClassVar[str] = ""
    """The task of the model it applies; "" for any."""

    white: float | None = None
    """White level of images deeper than 8 bits."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fitted images."""
        shape: tuple[int, ...] = self.model.sample_.size
        return shape

    @property
    def form(self) -> Form:
        """How to read images: files are resized to the model's shape."""
        return Form(self.shape, resize=True)

    def begin(self) -> None:  # noqa: B027  # most keep no state
        """Reset state before the first piece of a shard."""

    @abstractmethod
    def columns(self, piece: Piece) -> dict[str, Any]:
        """Columns of equal length for the images of `piece`."""

    def finish(self, part: Path) -> None:  # noqa: B027  # most write one file
        """Write other files after the last piece of a shard, before `part`."""


class Encode(ShardTask):
    """key, label if there is one, code0, code1, …"""

    def columns(self, piece: Piece) -> dict[str, Any]:
        codes = self.model.encode(piece.images)
        labelled = {} if piece.labels is None else {"label": piece.labels}
        return {"key": piece.keys} | labelled | {f"code{index}": column for index, column in enumerate(codes.T)}


class Detect(ShardTask):
    """key, score (above 0 is an anomaly), verdict."""

    needs = "detector"

    def columns(self, piece: Piece) -> dict[str, Any]:
        scores = -self.model.decision_function(piece.images)
        return {"key": piece.keys, "score": scores, "verdict": np.where(scores > 0, "anomaly", "normal")}


class Search(ShardTask):
    """key, and rank, path, distance for each of its nearest images."""

    needs = "retriever"

    def __init__(self, model: Any, n_neighbors: int = 10, labels: tuple[str, ...] | None = None) -> None:
        super().__init__(model)
        self.n_neighbors, self.labels = n_neighbors, labels

    def columns(self, piece: Piece) -> dict[str, Any]:
        distances, rows = self.model.kneighbors(piece.images, self.n_neighbors, labels=self.labels)
        return {
            "key": np.repeat(piece.keys, self.n_neighbors),
            "rank": np.tile(np.arange(1, self.n_neighbors + 1), len(rows)),
            "path": self.model.ids_[rows].reshape(-1).astype(str),
            "distance": distances.reshape(-1),
        }


class Denoise(ShardTask):
    """key, image: the denoised image, of the same size and depth, as a PNG file."""

    needs: ClassVar[str] = "denoiser"
    form = Form(None)

    def __init__(self, model: Any, **options: Any) -> None:
        """`options` are those of `transform`."""
        super().__init__(model)
        self.options = options

    def takes(self, images: Array) -> bool:
        """Whether `transform` takes these images (n, h, w) or (n, h, w, c) as a batch."""
        return bool(self.model.sample_.fits(images.shape[1:]))

    def columns(self, piece: Piece) -> dict[str, Any]:
        images = piece.images
        if not isinstance(images, np.ndarray) and len({(image.shape, image.dtype) for image in images}) == 1:
            images = np.stack(images)
        if isinstance(images, np.ndarray) and self.takes(images):
            outputs: Any = self.model.transform(images, **self.options)
        else:
            outputs = [self.model.transform_image(image, **self.options) for image in images]
        whites = [None if image.dtype == np.uint8 else self.white for image in images]
        written = [encode_image(in_depth(image, white)) for image, white in zip(outputs, whites, strict=True)]
        return {"key": piece.keys, "image": written}


class Enhance(Denoise):
    """key, image: the enlarged image, as a PNG file."""

    needs = "enhancer"

    def takes(self, images: Array) -> bool:
        height, width, *channels = images.shape[1:]
        return bool(self.model.sample_.fits((height * self.model.factor, width * self.model.factor, *channels)))


class Compress(ShardTask):
    """key, number: the position of each image in the .hgc file beside the part."""

    needs = "compressor"
    form = Form(None)

    def begin(self) -> None:
        self._images, self._keys, self._n_bytes = list[Array](), list[str](), 0

    def columns(self, piece: Piece) -> dict[str, Any]:
        first = len(self._keys)
        self._n_bytes += sum(image.nbytes for image in piece.images)
        if self._n_bytes > MOST_BYTES:
            raise DataError(
                f"more than {MOST_BYTES:,} bytes of pixels in a shard, which is compressed as a whole; use smaller shards."
            )
        self._images += [Form((*image.shape[:2], *self.shape[2:])).apply(image) for image in piece.images]
        self._keys += piece.keys
        return {"key": piece.keys, "number": np.arange(first, len(self._keys))}

    def finish(self, part: Path) -> None:
        images, keys = self._images, self._keys
        self.begin()
        with replace_file(part.with_suffix(".hgc")) as beside:
            beside.write_bytes(self.model.compress(images, keys))


SHARD_TASKS: dict[str, type[ShardTask]] = {
    "encode": Encode,
    "detect": Detect,
    "denoise": Denoise,
    "enhance": Enhance,
    "compress": Compress,
    "search": Search,
}
