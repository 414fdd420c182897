"""Reports: figures, and runs that are written up as files."""

from hourglass.report.demo import run_demo
from hourglass.report.figures import image_rows, learning_curves, save

__all__ = ["image_rows", "learning_curves", "run_demo", "save"]
