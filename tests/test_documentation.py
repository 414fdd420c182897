"""What the docs say is run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hourglass as hg
from hourglass.cli.main import hourglass
from hourglass.estimators import ESTIMATORS

ROOT = Path(__file__).resolve().parent.parent
MODULES = [module.name for module in pkgutil.walk_packages(hg.__path__, "hourglass.") if not module.name.endswith("__main__")]
FOLDERS = ("uses", "tutorials", "how-to", "notebooks")
PAGES = [ROOT / "README.md", ROOT / "docs" / "start.md"]
PAGES += [page for name in FOLDERS for page in sorted((ROOT / "docs" / name).glob("*.md"))]
CHAPTER = ROOT / "docs" / "chapter" / "chapter.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.filterwarnings("ignore:the network learned next to nothing")  # in so few steps
@pytest.mark.parametrize("page", [*PAGES, CHAPTER], ids=lambda page: page.name)
def test_python_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page's Python blocks run one after another, in one namespace, on the small digits instead of MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hourglass.estimators.presets.MINIMAL_STEPS", {"linear": 2000})  # for speed
    monkeypatch.setattr("hourglass.estimators.presets.FEWEST_STEPS", 100)
    monkeypatch.setattr("hourglass.estimators.layout._FEWEST_STEPS", 100)
    namespace: dict[str, Any] = {}
    examples = blocks(page, "python")
    assert examples or page.parent.name in ("tutorials", "how-to")
    for block in examples:
        exec(block.replace('"mnist"', '"digits"'), namespace)  # our own page
    if page.name != "README.md":
        return
    digits = hg.load("digits").test.images
    assert namespace["clean"].shape == digits.shape
    assert namespace["clean"].dtype == np.float32
    np.testing.assert_array_equal(
        hg.load_model(tmp_path / "digits.hg").transform(digits), namespace["denoiser"].transform(digits)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page: Path) -> None:
    """Every `hourglass` line has a verb, options and values that the command line knows; none is run."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line.startswith("hourglass ")]
    assert lines or page.parent.name != "uses"
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
        methods = [(name, method) for name, method in inspect.getmembers(kind, inspect.isroutine) if not name.startswith("_")]
        ours = {name: method.__doc__ for name, method in methods if method.__module__.startswith("hourglass")}
        assert {"fit", "encode", "inverse_transform", "reconstruct", "score", "save"} <= set(ours)
        for name, text in {"class": documented, **ours}.items():
            assert text, (kind, name)
            assert not re.search(r"\{\w+\}", text), (kind, name)  # a shared description that was not put in


# --- the parameters of docstrings -------------------------------------------------------------------------------------

_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : (?P<type>.+))?")
_SAYS_ENOUGH = re.compile(r"""["'(>=<]|\bin \d""")
"""A type that needs no sentence beside it: it lists its choices, or gives a shape or a bound."""


def section(text: str, title: str) -> list[str] | None:
    """The lines of a docstring's section (numpydoc), None where it has none."""
    lines = [*inspect.cleandoc(text).splitlines(), "", ""]
    heads = [at for at, (line, below) in enumerate(pairwise(lines)) if line.strip() and re.fullmatch("-{3,}", below)]
    for at, end in pairwise([*heads, len(lines)]):
        if lines[at] == title:
            return lines[at + 2 : end]
    return None


def faults(text: str, names: Collection[str]) -> list[str]:
    """What is wrong with the section Parameters of a docstring of what takes `names`."""
    found, entries = [], list[tuple[str, str | None, list[str]]]()
    for line in section(text, "Parameters") or []:
        if line.startswith(" ") and entries:
            entries[-1][2].append(line)
        elif entry := _ENTRY.fullmatch(line):
            entries.append((entry["names"], entry["type"], []))
        elif line:
            found.append(f"no parameter: {line}")
    told = [name.lstrip("*") for of_entry, _, _ in entries for name in of_entry.split(", ")]
    found += [f"not in the signature: {name}" for name in told if name not in names]
    found += [f"twice: {name}" for name, count in Counter(told).items() if count > 1]
    found += [f"not described: {name}" for name in names if name not in told]
    found += [f"without a type: {of_entry}" for of_entry, kind, _ in entries if not kind]
    return found + [
        f"what is it for: {of_entry} : {kind}"
        for of_entry, kind, body in entries
        if kind and not body and not _SAYS_ENOUGH.search(kind)
    ]


def taken_by(function: Callable[..., object]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def public_callables() -> dict[str, Callable[..., object]]:
    """Every public class and function, and the public methods of ours that classes have."""
    found: dict[str, Callable[..., object]] = {}
    for name in hg.__all__:
        value = getattr(hg, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            found[name] = value
        for method_name, method in inspect.getmembers(value, inspect.isroutine) if inspect.isclass(value) else ():
            if not method_name.startswith("_") and getattr(method, "__module__", "").startswith("hourglass"):
                found[f"{name}.{method_name}"] = method
    return found


@pytest.mark.parametrize("name", [kind.__name__ for kind in ESTIMATORS.values()])
def test_the_parameters_of_every_estimator_are_described(name: str) -> None:
    kind = getattr(hg, name)
    assert section(kind.__doc__, "Parameters")
    assert faults(kind.__doc__, taken_by(kind)) == []


def test_where_parameters_are_described_they_are_those_of_the_signature() -> None:
    sections = {name: value for name, value in public_callables().items() if section(value.__doc__ or "", "Parameters")}
    assert {"load", "Generator.sample", "Retriever.kneighbors", "Stream.batches", "AnomalyDetector.fit"} <= set(sections)
    found = {name: faults(value.__doc__ or "", taken_by(value)) for name, value in sections.items()}
    assert {name: of_one for name, of_one in found.items() if of_one} == {}


_SOUND = """Make it.

Parameters
----------
a, b : int
    How many.
kind : {"x", "y"}
c : ndarray (n, d)

    After an empty line.
**others : keyword arguments
    For whoever takes them.

Returns
-------
d : int
"""


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("", "", None),
        ("a, b : int", "a : int", "not described: b"),
        ("a, b : int", "a, b, extra : int", "not in the signature: extra"),
        ("a, b : int", "a, b, c : int", "twice: c"),
        ("a, b : int", "a, b", "without a type: a, b"),
        ("a, b : int", "a, b: int", "no parameter: a, b: int"),
        ("    How many.\n", "", "what is it for: a, b : int"),
        ("kind : ", "A note on kind : ", 'no parameter: A note on kind : {"x", "y"}'),
        ('kind : {"x", "y"}\n', "", "not described: kind"),  # and c has a colon behind it all the same
        ("Returns\n-------\nd", "d", "not in the signature: d"),
        ("Parameters\n----------\n", "", "not described: kind"),
    ],
)
def test_the_check_of_docstrings_finds_faults(before: str, after: str, fault: str | None) -> None:
    assert before in _SOUND
    found = faults(_SOUND.replace(before, after, 1) if before else _SOUND, ["a", "b", "kind", "c", "others"])
    assert found == [] if fault is None else fault in found


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, CHAPTER, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


TERMS = {
    r"numbers? (of|in) (a|the|each) code|codes? of \w+ numbers|a code's numbers": "latent dimensions",
    r"damaged? (images?|pictures?|photographs?|targets?)": "corrupted",
    r"samples a step": "batch size",
    r"\b(both|odd) sides\b": "height and width",
    r"whole set\b": "full batch, or data set",
    r"what it cannot explain|how strange": "reconstruction error, score",
    r"sizes? and errors?\b": "rate and distortion",
    r"brings? (\w+ )?to 0\.\.1": "normalise",
    r"\bslopes\b": "gradients",
}
"""Words that are not the field's, and those that are."""


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name)
def test_pages_use_the_terms_of_the_field(page: Path) -> None:
    words = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = {
        match.group(): term
        for said, term in TERMS.items()
        for match in re.finditer(said, " ".join(words.split()), re.IGNORECASE)
    }
    assert not found
