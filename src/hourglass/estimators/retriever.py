"""The retriever: similar images by nearest neighbours of codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from hourglass.data import Stream
from hourglass.data.segments import Log, Table
from hourglass.data.shards import Form
from hourglass.errors import DataError, ModelError, ParameterError
from hourglass.estimators.collection import Collection
from hourglass.estimators.documentation import documented, documented_fit
from hourglass.estimators.downstream import Downstream
from hourglass.estimators.entries import Entries, Ids, checked_ids, checked_labels
from hourglass.images import Array, Float32
from hourglass.latent import BACKENDS, METRICS, ROUNDING, NeighbourIndex
from hourglass.notes import left_out, note
from hourglass.options import Option, TrainingOptions, one_of
from hourglass.training import Callback


class Given(NamedTuple):
    """What `fit` was given to call the images by."""

    ids: Any
    labels: Any


@documented
class Retriever(Downstream):
    """Finds the nearest images by distance of codes, among those of `fit` and `add`.

    Each image has an id, which is its own, and a label, `y`, which several may share.

    Images of several sizes, or larger than 128 × 128 pixels, are compared as a whole by colour and texture (preset
    "photo-features"): a convolutional network is trained on pairs of crops of the same image, and the code is a histogram of
    visual words among its features. Then a part of an image is a query like any other.

    Parameters
    ----------
    metric : {"cosine", "euclidean"}
        Distance of codes. Cosine ranked validation digits better (mean average precision 0.58 against 0.54).
    backend : {"exact", "faiss", "ivfpq"}
        "exact" compares with every image. The others, an extra, are fast among millions of images but approximate (`recall`):
        "faiss" is a graph index; "ivfpq", an inverted file with product quantisation, is faster to build and is saved.

    {shared}
    ids_ : ndarray (n,), int64 or text
        Id of each image in the index.
    labels_ : ndarray (n,)
        Label of each image in the index; by default its id.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> retriever = hg.Retriever(8, epochs=2, random_state=0).fit(digits.train.images)
    >>> distances, rows = retriever.kneighbors(digits.test.images, n_neighbors=3)
    >>> rows.shape
    (360, 3)
    >>> retriever.remove([5, 7]).ids_[:7]
    array([0, 1, 2, 3, 4, 6, 8])
    """

    saved_as = "retriever"
    _scales_columns = True
    _compares_codes = True
    _collection: Collection
    _learned = ("_collection",)
    _own_options: ClassVar = {
        "metric": Option(one_of(*METRICS), default="cosine"),
        "backend": Option(one_of(*BACKENDS), default="exact"),
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        metric: str = "cosine",
        backend: str = "exact",
        preset: str = "features",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(n_components, preset=preset, **options)
        self.metric = metric
        self.backend = backend

    @property
    def index_(self) -> NeighbourIndex:
        """The codes, searchable."""
        return self._collection.index

    @property
    def ids_(self) -> Ids:
        return self._collection.ids

    @property
    def labels_(self) -> NDArray[Any]:
        return self._collection.labels

    @property
    def names_(self) -> NDArray[Any]:
        """The former name of `labels_`."""
        note("names_ is called labels_ now, and an image's own name is in ids_; the old name will be removed.")
        return self.labels_

    @documented_fit
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        ids: Any = None,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Train a network on `X`, unless `from_autoencoder` gave one, and index `X`.

        Images, not rows of a table, with the same code but for rounding are counted in a HourglassWarning.

        Parameters
        ----------
        X : array-like of shape (n, h, w), (n, h, w, c) or (n, features), list of images of several sizes, or Stream
            uint8 in 0..255 or float in 0..1; features in any units. A stream has its own ids and labels.
        y : array-like (n,), optional
            The label of each image: a class, a name, any values. By default its id.
        ids : array-like (n,) of int or str, optional
            The id of each image, unique; by default its number.
        {fit_parameters}

        Raises
        ------
        DataError, ParameterError, ModelError, DivergenceError
        """
        if isinstance(X, Stream) and ids is not None:
            raise ParameterError("a stream brings its own ids; leave ids out.")
        given = y if ids is None else Given(ids, y)
        return super().fit(X, given, callbacks=callbacks, checkpoint=checkpoint, resume=resume)

    def kneighbors(
        self, X: Any, n_neighbors: int = 5, *, labels: Any = None, where: Any = None
    ) -> tuple[Float32, NDArray[np.int64]]:
        """Find the nearest images, in order of distance.

        Parameters
        ----------
        X : array-like (n, *shape)
        n_neighbors : int
            Number of images to find for each of `X`.
        labels : label or sequence of labels, optional
            Find only images that have one of these.
        where : array-like (n_images,), bool, optional
            Find only images where it is True, in the order of `ids_`; with `labels`, where both allow it.

        Returns
        -------
        distances : ndarray (n, n_neighbors), float32
            Distances of codes.
        rows : ndarray (n, n_neighbors), int64
            Positions in the index; `ids_[rows]` are the ids, `labels_[rows]` the labels.

        Raises
        ------
        NotFittedError, DataError
        ParameterError
            If there are fewer such images than `n_neighbors`, none with a label, or `where` has another shape or type.
        """
        check_is_fitted(self)
        return self._collection.search(self.encode(X), n_neighbors, self._collection.allowed(labels, where))

    def recall(self, X: Any, n_neighbors: int = 10) -> float:
        """Recall of `kneighbors` against an exact search: 1 with backend "exact", lower with the others.

        Parameters
        ----------
        X : array-like (n, *shape)
            Some hundred typical queries, not in the index: an image in the index finds itself.
        n_neighbors : int
            Number of images in each search.

        Returns
        -------
        float
            Share of the `n_neighbors` nearest images found, in 0..1, over all queries. Images at equal distance count
            equally.

        Raises
        ------
        NotFittedError, DataError
        ParameterError
            If there are fewer images than `n_neighbors`.
        """
        check_is_fitted(self)
        return self.index_.recall(self.encode(X), n_neighbors)

    def duplicates(self, tolerance: float = ROUNDING) -> list[Ids]:
        """Groups of images with the same code but for rounding: copies, or images that the network cannot tell apart.

        Parameters
        ----------
        tolerance : float
            Distance of two codes, relative to the codes' typical norm, up to which they are the same.

        Returns
        -------
        list of ndarray
            The ids of each group of at least two, in the order of the index.

        Raises
        ------
        NotFittedError
        ParameterError
            If the tolerance is negative or not finite.
        """
        check_is_fitted(self)
        if not 0 <= tolerance < np.inf:
            raise ParameterError(f"tolerance={tolerance!r}; allowed: 0 or more.")
        return self._collection.duplicates(tolerance)

    def add(self, X: Any, y: Any = None, *, ids: Any = None) -> Self:
        """Add images to the index, without training. If it is interrupted or fails, no image is added.

        Images with the same code as another, but for rounding, are counted in a HourglassWarning.

        Parameters
        ----------
        X : array-like (n, *shape), or Stream
            A stream has its own ids and labels; its image files are resized and converted to the fitted shape, and those
            whose ids are in the index are left out, with a HourglassWarning.
        y : array-like (n,), optional
            Labels; by default the ids.
        ids : array-like (n,) of int or str, optional
            Ids that are not in the index yet; by default the numbers that follow. Once some ids are text all are.

        Raises
        ------
        NotFittedError
        DataError
            If an id is given twice or is in the index.
        ParameterError
            If labels or ids are given with a stream.
        ModelError
            If a stream is given to a model of flat features.
        """
        check_is_fitted(self)
        if isinstance(X, Stream):
            if y is not None or ids is not None:
                raise ParameterError("a stream brings its own ids and labels; leave y and ids out.")
            codes, names, labels = self._codes_of(X)
        else:
            codes = self.encode(X)
            names = self._collection.entries.next_ids(len(codes)) if ids is None else checked_ids(ids, len(codes))
            labels = None if y is None else checked_labels(y, len(codes))
        self._collection.append(codes, names, labels)
        return self

    def remove(self, ids: Any) -> Self:
        """Remove images from the index, by id. One at least must stay.

        Parameters
        ----------
        ids : int, str, or array-like of these
            Their ids, all in the index.

        Raises
        ------
        NotFittedError
        DataError
            If an id is not in the index or given twice, or no image would be left.
        """
        check_is_fitted(self)
        self._collection.remove(ids)
        return self

    def update(self, X: Any, ids: Any = None, y: Any = None) -> Self:
        """Put images into the index, in place of those under the same ids, as `dict.update` does. They move to its end.

        If it is interrupted or fails, the index is as before.

        Parameters
        ----------
        X : array-like (n, *shape), or Stream
            A stream has its own ids and labels.
        ids : array-like (n,) of int or str
            Their ids, in the index or new.
        y : array-like (n,), optional
            Their labels; by default images keep theirs, and new ones have their ids.

        Raises
        ------
        NotFittedError
        DataError
            If an id is given twice.
        ParameterError
            If there are no ids, or some beside a stream.
        """
        check_is_fitted(self)
        if isinstance(X, Stream) != (ids is None):
            raise ParameterError("ids are needed for images that are not a stream, which brings its own.")
        if isinstance(X, Stream):
            codes, names, labels = self._codes_of(X, of_new=False)
        else:
            codes = self.encode(X)
            names = checked_ids(ids, len(codes))
            labels = None if y is None else checked_labels(y, len(codes))
        self._collection.update(codes, names, labels)
        return self

    def has(self, ids: Any) -> NDArray[np.bool_]:
        """Whether there is an image in the index under each of these ids: bool (n,).

        Raises
        ------
        NotFittedError
        DataError
            If they are neither whole numbers nor text, or one is given twice.
        """
        check_is_fitted(self)
        return self._collection.has(checked_ids(ids))

    # --- learning -----------------------------------------------------------------------------------------------------

    def _codes_of(self, source: Stream, of_new: bool = True) -> tuple[Float32, Ids, NDArray[Any] | None]:
        """Codes, ids and labels of all readable images of a stream, or only of those that are not in the index."""
        if not self.sample_.is_image:
            raise ModelError("the model was fitted on flat features, not on images.")
        codes, keys, labels, rejects = list[Float32](), list[str](), list[Any](), list[tuple[str, str]]()
        n_expected, form = 0, Form(self.sample_.size, resize=True)
        for shard in source.shards:
            for count, piece in source.pieces(shard, form):
                n_expected += count
                rejects += piece.rejects if not rejects else []
                if source.strict and rejects:
                    raise DataError(": ".join(rejects[0]))
                if piece.rows:
                    codes.append(self.encode(piece.images))
                    keys += piece.keys
                    labels.append(piece.labels)
        first = ": ".join(rejects[0]) if rejects else ""
        if not keys:
            raise DataError(f"none of {n_expected:,} images can be read; the first: {first}")
        if rejects:
            note(left_out(n_expected - len(keys), n_expected, "images cannot be read", first), 3)
        ids = np.array(keys)
        rows = np.sort(np.unique(ids, return_index=True)[1])
        if of_new:
            rows = rows[~self._collection.has(ids[rows])]
        if len(rows) < len(ids):
            words = f"{len(ids) - len(rows):,} of {n_expected:,} images are in the index already, by name, and are skipped."
            note(words, 3)
        known = None if any(some is None for some in labels) else checked_labels(np.concatenate(labels), len(ids))[rows]
        return np.concatenate(codes)[rows], ids[rows], known

    def _check_y(self, samples: Array, y: Any) -> Entries:
        given, n = y if isinstance(y, Given) else Given(None, y), len(samples)
        ids = np.arange(n) if given.ids is None else checked_ids(given.ids, n)
        return Entries(ids, None if given.labels is None else checked_labels(given.labels, n))

    def _learn(self, samples: Array, y: Any) -> None:
        index = NeighbourIndex(self._model.vectors(samples, check_input=False), self.metric, self.backend)
        self._collection = Collection(index, y, notes_duplicates=self.sample_.is_image)
        self._collection.note_duplicates()

    def _learn_streamed(self, source: Stream) -> None:
        """Index all images of a stream by their keys, and the first of those that share one."""
        ids, labels = dict[str, None](), list[Any]()

        def codes() -> Iterator[Float32]:
            for part in source:
                rows = []
                for row, key in enumerate(part.keys or ()):
                    if key not in ids:
                        ids[key] = None
                        rows.append(row)
                labels.append(None if part.labels is None else part.labels[rows])
                yield self._model.vectors(part.images, check_input=False)[rows]

        index = NeighbourIndex.from_batches(codes(), len(source), self.metric, self.backend)
        known = None if any(some is None for some in labels) else checked_labels(np.concatenate(labels), len(ids))
        self._collection = Collection(index, Entries(np.array(list(ids)), known))
        self._collection.note_duplicates()

    # --- saving -------------------------------------------------------------------------------------------------------

    def _use(self, blank: Float32) -> None:
        self.kneighbors(blank, 1)

    def _grown(self) -> tuple[Log, Table]:
        return self._collection.log, self._collection.to_table()

    def _restore(self, state: dict[str, Any]) -> None:
        is_image = self.sample_.is_image
        if "grown" in state:
            log, table = state["grown"]
            self._collection = Collection.from_table(table, log, self.metric, self.backend, notes_duplicates=is_image)
        else:
            self._collection = Collection.from_names(state, self.metric, self.backend, notes_duplicates=is_image)
