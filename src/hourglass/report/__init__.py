"""Reports: figures, and runs that are written up as files."""

from hourglass.report.demo import run_demo
from hourglass.report.figures import image_rows, learning_curves, planes, rate_distortion_curves, save
from hourglass.report.pictures import overlay, sheet

__all__ = ["image_rows", "learning_curves", "overlay", "planes", "rate_distortion_curves", "run_demo", "save", "sheet"]
