"""Export of the explorer as one HTML file, with its modules, the data, and the network, which runs in the browser."""

from __future__ import annotations

import base64
import gzip
import re
from html import escape
from pathlib import Path

from hourglass.data.write import replace_file
from hourglass.errors import ModelError
from hourglass.web.app import STATIC
from hourglass.web.packing import pack
from hourglass.web.scene import Scene

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src blob: data:; connect-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)


def export_page(scene: Scene, path: str | Path) -> int:
    """Write the explorer of `scene` as one self-contained HTML page and return its size in bytes.

    Raises
    ------
    ModelError
        If the network has layers that the page cannot run.
    """
    page = _page(scene).encode()
    with replace_file(Path(path)) as temporary:
        temporary.write_bytes(page)
    return len(page)


def _page(scene: Scene) -> str:
    html = _read("index.html")
    html = html.replace(
        "<!-- policy -->", f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY, quote=False)}">'
    )
    html = html.replace('<link rel="stylesheet" href="/static/style.css">', f"<style>\n{_read('style.css')}</style>")
    modules = {name: _with_bare_names(_read(name)) for name in _names()}
    entries = ",\n".join(f'"{name}": "data:text/javascript;base64,{_base64(text.encode())}"' for name, text in modules.items())
    return html.replace(
        '<script type="module" src="/static/main.js"></script>',
        f'<script type="importmap">{{"imports": {{\n{entries}\n}}}}</script>\n'
        f'<script type="text/plain" id="data">{_base64(gzip.compress(_data(scene), 9))}</script>\n'
        '<script type="module">import "main.js";</script>',
    )


def _data(scene: Scene) -> bytes:
    facts, arrays = scene.begin("overview").result()
    for name in ("encoder", "decoder"):
        part = scene.part(name)
        if part is None:
            raise ModelError(
                f"the page cannot run this {name}: it is not a plain sequence of dense and convolutional layers. "
                "Without --export a server runs it."
            )
        facts, arrays = facts | part[0], arrays | part[1]
    for name in ("density", "plane")[: 1 if scene.n_codes <= 2 else 2]:
        more_facts, more_arrays = scene.begin(name).result()
        facts, arrays = facts | more_facts, arrays | more_arrays
    return pack(facts, arrays | {"images": scene.images})


def _names() -> list[str]:
    return sorted(entry.name for entry in STATIC.iterdir() if entry.name.endswith(".js"))


def _with_bare_names(module: str) -> str:
    """Replace relative imports by bare names for the import map, as data: URLs cannot resolve relative ones."""
    return re.sub(r'from "\./([\w-]+\.js)"', r'from "\1"', module)


def _read(name: str) -> str:
    return STATIC.joinpath(name).read_text(encoding="utf-8")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
