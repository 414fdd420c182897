"""Running the experiments of the chapter and writing the results as one page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hourglass.data.write import replace_file
from hourglass.errors import ParameterError
from hourglass.evaluation import machine
from hourglass.plot.figures import save
from hourglass.report.chapter.applications import APPLICATIONS
from hourglass.report.chapter.denoising import DENOISING
from hourglass.report.chapter.laboratory import Laboratory, Topic
from hourglass.report.chapter.latent_space import LATENT_SPACE
from hourglass.report.chapter.linear import LINEAR
from hourglass.report.chapter.parts import PARTS
from hourglass.report.chapter.penalties import REGULARISED
from hourglass.report.chapter.transformations import TRANSFORMATIONS
from hourglass.report.markdown import markdown
from hourglass.report.page import html
from hourglass.report.sections import Picture, Section

TOPICS: dict[str, Topic] = {
    topic.name: topic for topic in (PARTS, LINEAR, REGULARISED, DENOISING, TRANSFORMATIONS, LATENT_SPACE, APPLICATIONS)
}

_TITLE = "The autoencoder chapter, run and shown"
_LEAD = """An autoencoder copies its input through a narrow code, and so has to learn what matters. This page tests every \
claim of the textbook's chapter on autoencoders, and both of its exercises, on real images: each section states the claim, \
the experiment, the results, and what they mean. The command at the bottom measured every result, together with the baselines \
without an autoencoder."""


def run_chapter(
    lab: Laboratory,
    out: Path,
    command: str,
    chosen: Sequence[str] = (),
    begin: Callable[[Topic], None] = lambda topic: None,
) -> list[Section]:
    """Run the sections in `chosen` (all, if it is empty); write index.html, chapter.md, chapter.json and figures/ to `out`.

    Parameters
    ----------
    lab : Laboratory
    out : Path
    command : str
        The command line, which the page shows.
    chosen : sequence of str
    begin : callable
        Called with each Topic before it runs.

    Raises
    ------
    ParameterError
        For an unknown section, or if `out` holds a page with sections that would be lost.
    """
    unknown = [name for name in chosen if name not in TOPICS]
    if unknown:
        raise ParameterError(f"section {unknown[0]!r}; allowed: {', '.join(TOPICS)}.")
    topics = [topic for topic in TOPICS.values() if not chosen or topic.name in chosen]
    _check_overwrite(out, topics)
    (out / "figures").mkdir(parents=True, exist_ok=True)  # fail before the run if the folder cannot be written
    start = time.perf_counter()
    sections = []
    for topic in topics:
        begin(topic)
        sections.append(_run_section(topic, lab))
    _write(out, sections, _content(lab, command, sections, time.perf_counter() - start))
    return sections


def _check_overwrite(out: Path, topics: Sequence[Topic]) -> None:
    """Raise ParameterError if the page in `out` has sections that are not among `topics`."""
    file = out / "chapter.json"
    existing = json.loads(file.read_text(encoding="utf-8"))["sections"] if file.exists() else {}
    lost = [name for name in existing if name not in {topic.name for topic in topics}]
    if lost:
        raise ParameterError(f"{out} holds a page with more sections ({', '.join(lost)}); choose another folder with -o.")


def _write(out: Path, sections: Sequence[Section], content: dict[str, Any]) -> None:
    for picture in (shown for section in sections for shown in section.shown if isinstance(shown, Picture)):
        save(picture.figure, *(out / "figures" / f"{picture.name}{kind}" for kind in (".svg", ".png")))
    with replace_file(out / "chapter.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    facts = {name: _text(name, value) for name, value in content.items() if name != "sections"}
    for name, write in {"index.html": html, "chapter.md": markdown}.items():
        with replace_file(out / name) as temporary:
            temporary.write_text(write(_TITLE, _LEAD, facts, sections), encoding="utf-8")


def _run_section(topic: Topic, lab: Laboratory) -> Section:
    start = time.perf_counter()
    findings = topic.experiment(lab)
    return Section(
        name=topic.name,
        title=topic.title,
        claim=topic.claim,
        run=findings.run,
        shown=findings.shown,
        meaning=findings.meaning,
        example=topic.example,
        numbers=findings.numbers,
        seconds=time.perf_counter() - start,
    )


def _content(lab: Laboratory, command: str, sections: Sequence[Section], seconds: float) -> dict[str, Any]:
    """Return all results as JSON."""
    return {
        "command": command,
        "data": lab.dataset.name,
        "source": lab.dataset.source,
        "training images": len(lab.dataset.train),
        "test images": len(lab.dataset.test),
        "seed": lab.seed,
        "quick": lab.quick,
        "seconds": round(seconds, 1),
        **machine(),
        "sections": {section.name: {"seconds": round(section.seconds, 1), **section.numbers} for section in sections},
    }


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if name.endswith("images") else str(value)
