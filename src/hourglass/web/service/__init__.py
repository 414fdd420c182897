"""Trained models over HTTP: images in, what a model makes of them out.

An image's way: `access` admits it, `limits` finds a place, `content` decodes it, `batching` puts it into a call of the model
with others of its size, `content` encodes what came of it. `models` holds the models and reads them again when they change.
"""

from hourglass.web.service.app import Settings, create_service
from hourglass.web.service.limits import Limits
from hourglass.web.service.models import named
from hourglass.web.service.server import serve_models

__all__ = ["Limits", "Settings", "create_service", "named", "serve_models"]
