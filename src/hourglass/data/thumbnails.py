"""The first images of a data set, as one picture for a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from hourglass.images import Array, to_shown

_COUNT, _SIDE, _GAP = 20, 64, 4  # images, pixels, pixels


def thumbnails_html(images: Sequence[Array]) -> str:
    """An <img> of the first 20 images, each within 64 × 64 pixels."""
    some = images[:_COUNT]
    canvas = Image.new("RGB", (len(some) * (_SIDE + _GAP), _SIDE), "white")
    for column, image in enumerate(some):
        plain = image if image.ndim == 2 or image.shape[2] in (3, 4) else image[..., 0]
        picture = Image.fromarray(to_shown(plain))
        scale = _SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
        canvas.paste(picture.resize(size, resample), (column * (_SIDE + _GAP), 0))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="The first {len(some)} images" src="data:image/png;base64,{content}">'
