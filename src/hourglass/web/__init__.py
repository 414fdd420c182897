"""The latent explorer: a page that shows a model's codes and decodes any point of the latent space."""

from hourglass.web.export import export_page
from hourglass.web.scene import Scene
from hourglass.web.server import serve

__all__ = ["Scene", "export_page", "serve"]
