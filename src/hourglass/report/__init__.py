"""Reports: figures, self-contained pages, and the files of a run."""

from hourglass.plot.figures import check_format, inline_svg, save
from hourglass.plot.pictures import crop_sheet, sheet
from hourglass.plot.structure import structure
from hourglass.report.comparison import MOST_SHOWN, ShownPair, comparison_page, comparison_sheet, shown_pair
from hourglass.report.demo import run_demo
from hourglass.report.figures import image_rows, learning_curves, planes, rate_distortion_curves, score_histogram
from hourglass.report.page import html
from hourglass.report.plots import curves
from hourglass.report.sections import Picture, Section, Table

__all__ = [
    "MOST_SHOWN",
    "Picture",
    "Section",
    "ShownPair",
    "Table",
    "check_format",
    "comparison_page",
    "comparison_sheet",
    "crop_sheet",
    "curves",
    "html",
    "image_rows",
    "inline_svg",
    "learning_curves",
    "planes",
    "rate_distortion_curves",
    "run_demo",
    "save",
    "score_histogram",
    "sheet",
    "shown_pair",
    "structure",
]
