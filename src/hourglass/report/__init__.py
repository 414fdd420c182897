"""Reports: figures, and runs that are written up as files."""

from hourglass.report.demo import run_demo
from hourglass.report.figures import image_rows, learning_curves, save
from hourglass.report.pictures import overlay, sheet

__all__ = ["image_rows", "learning_curves", "overlay", "run_demo", "save", "sheet"]
