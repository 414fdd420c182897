"""HTTP: the latent explorer, a page that shows a model's codes, and in `service` what models make of images that are sent.

Names load on first use: a service of an exported model needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hourglass.web.export import export_page
    from hourglass.web.scene import Scene, check_shows
    from hourglass.web.server import serve

_HOME_OF = {"Scene": "scene", "check_shows": "scene", "export_page": "export", "serve": "server"}

__all__ = ["Scene", "check_shows", "export_page", "serve"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'hourglass.web' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hourglass.web.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
