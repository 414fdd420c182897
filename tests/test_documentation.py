"""What the docs say is run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import hourglass as hg
from hourglass.cli.main import hourglass
from hourglass.estimators import ESTIMATORS

ROOT = Path(__file__).resolve().parent.parent
MODULES = [module.name for module in pkgutil.walk_packages(hg.__path__, "hourglass.") if not module.name.endswith("__main__")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "uses").glob("*.md"))]
CHAPTER = ROOT / "docs" / "chapter" / "chapter.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", [*PAGES, CHAPTER], ids=lambda page: page.name)
def test_python_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python blocks run one after another, in one namespace, on the small digits instead of MNIST."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    examples = blocks(page, "python")
    assert examples
    for block in examples:
        exec(block.replace('"mnist"', '"digits"'), namespace)  # our own page
    if page.name != "README.md":
        return
    digits = hg.load("digits").test.images
    assert np.array_equal(namespace["again"].transform(digits), namespace["codes"])
    assert namespace["clean"].shape == namespace["images"].shape == digits.shape
    assert namespace["clean"].dtype == namespace["codes"].dtype == np.float32


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    """Every `hourglass` line has a verb, options and values that the command line knows; none is run."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line.startswith("hourglass ")]
    assert lines
    for line in lines:
        verb, *arguments = shlex.split(line, comments=True)[1:]
        hourglass.commands[verb].make_context(verb, arguments)


def test_every_public_name_is_documented() -> None:
    for name in hg.__all__:
        value = getattr(hg, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name
    for kind in ESTIMATORS.values():
        documented = inspect.getdoc(kind) or ""
        for parameter in inspect.signature(kind).parameters:
            assert re.search(rf"\b{parameter}\b.*:|^{parameter} :|^{parameter}$", documented, flags=re.MULTILINE), parameter
        methods = [(name, method) for name, method in inspect.getmembers(kind, inspect.isroutine) if not name.startswith("_")]
        ours = {name: method.__doc__ for name, method in methods if method.__module__.startswith("hourglass")}
        assert {"fit", "encode", "inverse_transform", "reconstruct", "score", "save"} <= set(ours)
        for name, text in {"class": documented, **ours}.items():
            assert text, (kind, name)
            assert not re.search(r"\{\w+\}", text), (kind, name)  # a shared description that was not put in


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, CHAPTER, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
