"""Reproducible figures as PNG, SVG and PDF, drawn without a display."""

from __future__ import annotations

import re
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from hourglass.data.write import replace_file
from hourglass.errors import ParameterError

# Colour-blind safe (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MUTED = "#666666"  # of secondary text; an HTML page adapts it to its colour scheme
FORMATS = (".png", ".svg", ".pdf")


def check_format(path: Path) -> None:
    """Raise ParameterError if the suffix is not in `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise ParameterError(f"{path} cannot be written as a figure; allowed: names that end in {', '.join(FORMATS)}.")


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure to each path in the format of its suffix, atomically.

    Raises
    ------
    ParameterError
        If a suffix is not in `FORMATS`; then nothing is written.
    """
    for path in paths:
        check_format(path)
    for path in paths:
        with replace_file(path) as temporary:
            _render(figure, temporary, path.suffix.lower().removeprefix("."))


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """Return the figure as an <svg> element for an HTML page of any colour scheme.

    Black becomes `currentColor` and `MUTED` becomes `var(--muted)`. The width is that of the figure; CSS may reduce it.

    Parameters
    ----------
    name : str
        Prefix of all ids, which keeps them unique on a page.
    label : str
        Alternative text.
    """
    buffer = BytesIO()
    _render(figure, buffer, "svg", transparent=True, dpi=200)
    root, _, inner = buffer.getvalue().decode().partition("<svg")[2].rpartition("</svg>")[0].partition(">")
    size = dict(re.findall(r'(width|viewBox)="([^"]*)"', root))
    # The <style> of an inline SVG would apply to the whole page; metadata and comments are useless there.
    inner = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r'\bid="', f'id="{name}-', inner).replace("url(#", f"url(#{name}-")
    inner = inner.replace('xlink:href="#', f'href="#{name}-').replace('xlink:href="data:', 'href="data:')
    inner = inner.replace("#000000", "currentColor").replace(MUTED, f"var(--muted, {MUTED})")
    inner = re.sub(r"\n\s*", " ", inner).replace("> <", "><").strip()
    return (
        f'<svg viewBox="{size["viewBox"]}" style="width:{size["width"]}" role="img" aria-label="{escape(label)}" '
        f'fill="currentColor" stroke-linejoin="round" stroke-linecap="butt">{inner}</svg>'
    )


def _render(figure: Figure, target: Path | BytesIO, kind: str, **settings: Any) -> None:
    """Write without a date and with a fixed salt for ids, so that the file is reproducible."""
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context({"svg.hashsalt": "hourglass"}):
        figure.savefig(target, format=kind, metadata=metadata, **settings)
