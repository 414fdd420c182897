"""The served models by name, read again when their files change."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hourglass.errors import ModelError, ParameterError
from hourglass.notes import quiet
from hourglass.runtime import load_onnx
from hourglass.web.service import content
from hourglass.web.service.options import options_of
from hourglass.web.service.uses import Served, served

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EXAMPLE_PIXELS = 1 << 30
_PAUSE = 1.0  # seconds between looks at the files

Stamp = tuple[int, int, int] | None
"""What tells one version of a model's file from the next."""


@dataclass(frozen=True)
class Loaded:
    """A model that is served.

    Attributes
    ----------
    served : Served
    version : str
        The first digits of the SHA-256 of its description.
    since : float
        When it was loaded, in seconds since 1970.
    """

    served: Served
    version: str
    since: float


class Models(Mapping[str, Loaded]):
    """Models by name.

    Parameters
    ----------
    paths : mapping of str to path
        The folder of each model, or the .onnx file that it was exported to.
    device : str
    on_load : callable
        Called with (name, error or None) after each attempt to load a changed model.

    Raises
    ------
    FormatError, ParameterError, ModelError
        As `load_model`.
    """

    def __init__(self, paths: Mapping[str, str], device: str, on_load: Callable[[str, Exception | None], None]) -> None:
        self._paths, self._device, self._on_load = {name: Path(path) for name, path in paths.items()}, device, on_load
        self._stamps = {name: _stamp(path) for name, path in self._paths.items()}
        self._loaded = {name: _load(path, device) for name, path in self._paths.items()}

    def __getitem__(self, name: str) -> Loaded:
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    async def watch(self) -> None:
        """Load models whose files change, until cancelled. Requests that are under way keep the model they began with."""
        while True:
            await asyncio.sleep(_PAUSE)
            await self.refresh()

    async def refresh(self) -> None:
        """Load the models whose files have changed. One that cannot be loaded, or has other uses, replaces nothing."""
        for name, path in self._paths.items():
            stamp = _stamp(path)
            if stamp is None or stamp == self._stamps[name]:
                continue
            self._stamps[name] = stamp
            try:
                loaded = await asyncio.to_thread(_load, path, self._device)
                if set(loaded.served.uses) != set(self._loaded[name].served.uses):
                    raise ModelError(f"{path}: is of --task {loaded.served.task} now; start the server anew to serve it.")
            except Exception as error:  # noqa: BLE001  # whatever it is, the model in memory goes on
                self._on_load(name, error)
            else:
                self._loaded[name] = loaded
                self._on_load(name, None)


def _load(path: Path, device: str) -> Loaded:
    offered = served(_read(path, device))
    _try_out(offered)
    return Loaded(offered, _version(path), time.time())


def _read(path: Path, device: str) -> Any:
    if path.suffix == ".onnx":
        if device not in ("auto", "cpu"):
            raise ParameterError(f"{path}: exported models run on the processor; leave --device {device} out.")
        n_threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # OpenMP takes a list, one for each level
        return load_onnx(path, n_threads=int(n_threads) if n_threads.isdecimal() and int(n_threads) else None)
    try:
        from hourglass.estimators import load_model
    except ModuleNotFoundError as error:  # hourglass-runtime
        words = f"{path}: needs {error.name}, which is not installed; serve the .onnx file of it (hourglass export)"
        raise ParameterError(f"{words}, or install hourglass-autoencoders.") from error
    return load_model(path, device=device)


def _try_out(offered: Served) -> None:
    """Put every use to the example: a model that fails is not served, and the first request does not wait for imports."""
    body, _ = content.example(offered.sample)
    with quiet():
        for name, use in offered.uses.items():
            options = options_of(name, use).model_validate({})
            given = content.read(body, offered, use, options, _EXAMPLE_PIXELS)
            content.answer(given, offered, use, use.run(given.blocks[0], **options.to_model), options)


def _description(path: Path) -> Path:
    return path if path.suffix == ".onnx" else path / "config.json"


def _stamp(path: Path) -> Stamp:
    try:
        status = _description(path).stat()
    except OSError:  # being replaced, or gone: the model in memory goes on
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _version(path: Path) -> str:
    return hashlib.sha256(_description(path).read_bytes()).hexdigest()[:12]


def named(arguments: tuple[str, ...]) -> dict[str, str]:
    """{name: path} of arguments such as ``photos.hg`` or ``new=photos-2.hg``.

    Raises
    ------
    ParameterError
        For a name twice, or one that does not fit into an address.
    """
    paths: dict[str, str] = {}
    for argument in arguments:
        name, is_named, path = argument.partition("=")
        if not is_named or not _NAME.fullmatch(name) or Path(argument).exists():
            name, path = Path(argument).name.removesuffix(".hg").removesuffix(".onnx"), argument
        if not _NAME.fullmatch(name):
            raise ParameterError(f"{argument}: its name does not fit into an address; write NAME={argument}.")
        if name in paths:
            raise ParameterError(f"two models are named {name}; write NAME={argument} to give one another name.")
        paths[name] = str(Path(path).expanduser())
    return paths
