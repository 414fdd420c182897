"""Reports: figures, self-contained pages, and the files of a run."""

from hourglass.report.comparison import MOST_SHOWN, ShownPair, comparison_page, comparison_sheet, shown_pair
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
from hourglass.report.pictures import crop_sheet, overlay, sheet
from hourglass.report.plots import curves
from hourglass.report.sections import Picture, Section, Table
from hourglass.report.structure import structure

__all__ = [
    "MOST_SHOWN",
    "Picture",
    "Section",
    "ShownPair",
    "Table",
    "comparison_page",
    "comparison_sheet",
    "crop_sheet",
    "curves",
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
    "shown_pair",
    "structure",
]
