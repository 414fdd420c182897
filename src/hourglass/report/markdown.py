"""Markdown pages of report sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hourglass.report.sections import Picture, Section, Table, duration, is_numeric, numbered


def markdown(title: str, lead: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Return the page, with the parameters of `html`; pictures are expected as figures/NAME.png."""
    parts = [f"# {title}", lead, *(line for number, section in enumerate(sections, 1) for line in _section(number, section))]
    parts += ["## How this page was made", _table(["", ""], [[name, f"`{value}`"] for name, value in facts.items()])]
    return "\n\n".join(parts) + "\n"


def _section(number: int, section: Section) -> Iterator[str]:
    yield f"## {number}. {section.title}"
    yield "> " + section.claim.replace("\n\n", "\n>\n> ")
    yield f"**What was run** ({duration(section.seconds)}). {section.run}"
    for label, item in numbered(number, section):
        yield f"**{label}.** {item.caption}"
        if isinstance(item, Picture):
            yield f"![{item.caption}](figures/{item.name}.png)"
        else:
            yield _table(item.headings, _with_bold(item))
    yield f"**What it means.** {section.meaning}"
    yield f"```python\n{section.example.strip()}\n```"


def _with_bold(table: Table) -> list[list[str]]:
    """Return the cells, with the best in bold."""
    return [
        [f"**{cell}**" if (index, column) in table.best else cell for column, cell in enumerate(row)]
        for index, row in enumerate(table.rows)
    ]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rules = ["---:" if column and is_numeric([row[column] for row in rows]) else "---" for column in range(len(headings))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, rules, *rows])
