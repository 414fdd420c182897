"""The latent explorer: a page that shows a model's codes and decodes any place among them."""

from hourglass.web.export import export_page
from hourglass.web.scene import Scene
from hourglass.web.server import serve

__all__ = ["Scene", "export_page", "serve"]
