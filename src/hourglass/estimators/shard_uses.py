"""What each use makes of the images of a shard: rows of a table. A new one is a class, and a line in `USES`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hourglass.data.files import encode_image, in_depth
from hourglass.data.shards import Form, Piece
from hourglass.data.write import replace_file
from hourglass.errors import DataError
from hourglass.estimators.anomaly_detector import AnomalyDetector
from hourglass.estimators.base import ImageEstimator
from hourglass.estimators.compressor import Compressor
from hourglass.estimators.denoiser import Denoiser
from hourglass.estimators.enhancer import Enhancer
from hourglass.estimators.retriever import Retriever
from hourglass.images import Array

MOST_BYTES = 2 << 30
"""Of the pixels of a shard that is compressed."""


class Use(ABC):
    """What is made of the images of a shard: rows of a table."""

    kind: ClassVar[type[ImageEstimator]] = ImageEstimator

    white: float | None = None
    """What 1 stands for in images deeper than 8 bits, if there are any."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def form(self) -> Form:
        """How the model takes images: image files are resized to it."""
        return Form(self.model.sample_.size, resize=True)

    def begin(self) -> None:  # noqa: B027  # most keep nothing
        """Before the first piece of a shard: forget what is left of one that failed."""

    @abstractmethod
    def columns(self, piece: Piece) -> dict[str, Any]:
        """Columns of equal length, made of the images of `piece`."""

    def finish(self, part: Path) -> None:  # noqa: B027  # most write nothing beside
        """After the last piece of a shard, before `part` appears: write what goes beside it."""


class Encode(Use):
    """key, label where there is one, code0, code1, …"""

    def columns(self, piece: Piece) -> dict[str, Any]:
        codes = self.model.encode(piece.images)
        labelled = {} if piece.labels is None else {"label": piece.labels}
        return {"key": piece.keys} | labelled | {f"code{index}": column for index, column in enumerate(codes.T)}


class Detect(Use):
    """key, score (above 0 is an anomaly), verdict."""

    kind = AnomalyDetector

    def columns(self, piece: Piece) -> dict[str, Any]:
        scores = -self.model.decision_function(piece.images)
        return {"key": piece.keys, "score": scores, "verdict": np.where(scores > 0, "anomaly", "normal")}


class Search(Use):
    """key, and of each of its nearest images: rank, path, distance."""

    kind = Retriever

    def __init__(self, model: Any, n_neighbors: int = 10) -> None:
        super().__init__(model)
        self.n_neighbors = n_neighbors

    def columns(self, piece: Piece) -> dict[str, Any]:
        distances, rows = self.model.kneighbors(piece.images, self.n_neighbors)
        return {
            "key": np.repeat(piece.keys, self.n_neighbors),
            "rank": np.tile(np.arange(1, self.n_neighbors + 1), len(rows)),
            "path": self.model.names_[rows].reshape(-1).astype(str),
            "distance": distances.reshape(-1),
        }


class Denoise(Use):
    """key, image: the cleaned image, of its own size and depth, as the bytes of a PNG file."""

    kind: ClassVar[type[ImageEstimator]] = Denoiser

    @property
    def form(self) -> Form:
        return Form(None)

    @property
    def _taken(self) -> tuple[int, ...]:
        """The shape of which many images are transformed at once."""
        shape: tuple[int, ...] = self.model.sample_.size
        return shape

    def columns(self, piece: Piece) -> dict[str, Any]:
        images = piece.images
        if not isinstance(images, np.ndarray) and len({(image.shape, image.dtype) for image in images}) == 1:
            images = np.stack(images)
        if isinstance(images, np.ndarray) and images.shape[1:] == self._taken:
            made: Any = self.model.transform(images)
        else:
            made = [self.model.transform_image(image) for image in images]
        whites = [None if image.dtype == np.uint8 else self.white for image in images]
        written = [encode_image(in_depth(image, white)) for image, white in zip(made, whites, strict=True)]
        return {"key": piece.keys, "image": written}


class Enhance(Denoise):
    """key, image: the larger image, as the bytes of a PNG file."""

    kind = Enhancer

    @property
    def _taken(self) -> tuple[int, ...]:
        height, width, *channels = self.model.sample_.size
        return (height // self.model.factor, width // self.model.factor, *channels)


class Compress(Use):
    """key, number: where each image stands in the .hgc file beside the part."""

    kind = Compressor

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._images: list[Array] = []
        self._keys: list[str] = []
        self._n_bytes = 0

    @property
    def form(self) -> Form:
        return Form(None)

    def begin(self) -> None:
        self._images, self._keys, self._n_bytes = [], [], 0

    def columns(self, piece: Piece) -> dict[str, Any]:
        first = len(self._keys)
        self._n_bytes += sum(image.nbytes for image in piece.images)
        if self._n_bytes > MOST_BYTES:
            raise DataError(
                f"more than {MOST_BYTES:,} bytes of pixels, and a shard is compressed as a whole; make smaller shards."
            )
        self._images += [Form(self._shape_of(image)).apply(image) for image in piece.images]
        self._keys += piece.keys
        return {"key": piece.keys, "number": np.arange(first, len(self._keys))}

    def _shape_of(self, image: Array) -> tuple[int, ...]:
        """Its own sides, the model's channels."""
        return (*image.shape[:2], *self.model.sample_.size[2:])

    def finish(self, part: Path) -> None:
        images, keys, self._images, self._keys = self._images, self._keys, [], []
        with replace_file(part.with_suffix(".hgc")) as beside:
            beside.write_bytes(self.model.compress(images, keys))


USES: dict[str, type[Use]] = {
    "encode": Encode,
    "detect": Detect,
    "denoise": Denoise,
    "enhance": Enhance,
    "compress": Compress,
    "search": Search,
}
