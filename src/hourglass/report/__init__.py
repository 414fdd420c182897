"""Reports: figures, self-contained pages, and the files of a run."""

from hourglass.report.demo import run_demo
from hourglass.report.figures import (
    image_rows,
    inline_svg,
    learning_curves,
    planes,
    rate_distortion_curves,
    save,
)
from hourglass.report.page import html
from hourglass.report.pictures import overlay, sheet
from hourglass.report.sections import Picture, Section, Table
from hourglass.report.structure import structure

__all__ = [
    "Picture",
    "Section",
    "Table",
    "html",
    "image_rows",
    "inline_svg",
    "learning_curves",
    "overlay",
    "planes",
    "rate_distortion_curves",
    "run_demo",
    "save",
    "sheet",
    "structure",
]
