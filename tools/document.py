"""Write the generated part of the docs, or check that it is fresh: `python tools/document.py [--check]`.

docs/cli.md comes from the command line's own help, so it cannot say anything else. The notebooks come from docs/notebooks/,
whose code the tests run.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click

from hourglass.cli.main import hourglass

ROOT = Path(__file__).resolve().parent.parent


def command_line() -> str:
    """docs/cli.md: the help of every verb."""
    context = click.Context(hourglass, info_name="hourglass", max_content_width=100)
    parts = [
        "# Command line\n\nWritten by `python tools/document.py` from the command's own help.\n",
        f"```text\n{hourglass.get_help(context)}\n```\n",
    ]
    for name, verb in sorted(hourglass.commands.items()):
        inner = click.Context(verb, info_name=name, parent=context, max_content_width=100)
        parts.append(f"## hourglass {name}\n\n```text\n{verb.get_help(inner)}\n```\n")
    return "\n".join(parts)


def notebook(page: str) -> str:
    """A page as a notebook, format 4.5: its Python blocks are the code, links to other pages lose their address."""
    cells: list[dict[str, object]] = []
    for number, part in enumerate(re.split(r"```python\n(.*?)```\n", page, flags=re.DOTALL)):
        text = part.strip("\n") if number % 2 else re.sub(r"(?<!!)\[([^\]]+)\]\((?!http)[^)]+\)", r"\1", part).strip()
        if not text:
            continue
        cell: dict[str, object] = {"id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        is_code: dict[str, object] = {"cell_type": "code", "execution_count": None, "outputs": []}
        cells.append(cell | is_code if number % 2 else cell | {"cell_type": "markdown"})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Write, or with --check compare; 1 if a page is stale."""
    stale = []
    pages = {ROOT / "docs" / "cli.md": command_line()}
    for page in sorted((ROOT / "docs" / "notebooks").glob("*.md")):
        pages[ROOT / "notebooks" / f"{page.stem}.ipynb"] = notebook(page.read_text(encoding="utf-8"))
    for path, text in pages.items():
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT))
    stale += [path.relative_to(ROOT) for path in (ROOT / "notebooks").glob("*.ipynb") if path not in pages]
    for page in stale:
        print(f"{page} is stale: run `make docs`, or remove it if its page is gone.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
