"""What the docs say is run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg

ROOT = Path(__file__).resolve().parent.parent
MODULES = [module.name for module in pkgutil.walk_packages(hg.__path__, "hourglass.") if not module.name.endswith("__main__")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_python_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's Python blocks run one after another, in one namespace, on the small digits instead of MNIST."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(block.replace('"mnist"', '"digits"'), namespace)  # our own page
    digits = hg.load("digits").test.images
    assert np.array_equal(namespace["again"].transform(digits), namespace["codes"])
    assert namespace["clean"].shape == namespace["images"].shape == digits.shape
    assert namespace["clean"].dtype == namespace["codes"].dtype == np.float32


def test_every_public_name_is_documented() -> None:
    for name in hg.__all__:
        value = getattr(hg, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
    for kind in (hg.Autoencoder, hg.Denoiser):
        documented = inspect.getdoc(kind) or ""
        for parameter in inspect.signature(kind).parameters:
            assert re.search(rf"\b{parameter}\b.*:|^{parameter} :|^{parameter}$", documented, flags=re.MULTILINE), parameter
        for method in ("fit", "partial_fit", "transform", "inverse_transform", "reconstruct", "score", "save"):
            assert getattr(kind, method).__doc__, (kind, method)
        assert "{" not in documented.split("preset :")[0]


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
