"""Write the generated part of the docs, or check that it is fresh: `python tools/document.py [--check]`.

docs/cli.md comes from the command line's own help, so it cannot say anything else.
"""

from __future__ import annotations

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


def main() -> int:
    """Write, or with --check compare; 1 if a page is stale."""
    stale = []
    for path, text in {ROOT / "docs" / "cli.md": command_line()}.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT))
    for page in stale:
        print(f"{page} is stale: run `make docs`.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
