"""Runs exported models by ONNX Runtime, without torch; and what every runner needs: windows, tiles, regions, checks."""

from hourglass.runtime.model import Exported, load_onnx
from hourglass.runtime.overlays import overlay
from hourglass.runtime.regions import Region, enlarged, level_of, regions_of
from hourglass.runtime.sheets import contact_sheet, thumbnail
from hourglass.runtime.windows import Window, windows_of

__all__ = [
    "Exported",
    "Region",
    "Window",
    "contact_sheet",
    "enlarged",
    "level_of",
    "load_onnx",
    "overlay",
    "regions_of",
    "thumbnail",
    "windows_of",
]
