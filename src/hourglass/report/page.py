"""A self-contained HTML page of text, figures, tables and examples, for light and dark schemes, screen and print."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files

from hourglass.plot.figures import inline_svg
from hourglass.report.sections import Picture, Section, Table, duration, is_numeric, numbered


def html(title: str, lead: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Return the page: title, lead, contents, sections, and the facts of the run in the footer.

    It loads no external resources, has no script, and fits screens from 360 pixels of width.

    Parameters
    ----------
    title, lead, facts, sections
        Plain text: blank lines separate paragraphs, `backticks` mark code and *asterisks* emphasis; all else is literal.
    """
    contents = "".join(f'<li><a href="#{section.name}">{_inline(section.title)}</a></li>' for section in sections)
    body = "\n".join(_section(number, section) for number, section in enumerate(sections, 1))
    return document(
        title,
        f"""<header>
<h1>{_inline(title)}</h1>
<div class="lead">{_prose(lead)}</div>
<nav aria-label="Contents"><h2>Contents</h2><ol>{contents}</ol></nav>
</header>
<main>
{body}
</main>
<footer>
<h2>How this page was made</h2>
{facts_html(facts)}
</footer>""",
    )


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """Return a whole document of HTML with the style sheet of reports; `style` and `script` are added."""
    styles = files("hourglass.report").joinpath("page.css").read_text(encoding="utf-8") + style
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(_plain(title))}</title>
<style>
{styles}</style>
</head>
<body>
{body}
{f"<script>{script}</script>" if script else ""}</body>
</html>
"""


def _section(number: int, section: Section) -> str:
    time = f' <span class="took">{duration(section.seconds)}</span>' if section.seconds >= 1 else ""
    return f"""<section id="{section.name}" aria-labelledby="{section.name}-title">
<h2 id="{section.name}-title"><span class="number">{number}</span> {_inline(section.title)}</h2>
<div class="claim"><h3>The claim</h3>{_prose(section.claim)}</div>
<h3>What was run{time}</h3>
{_prose(section.run)}
{"".join(_shown(number, section))}<h3>What it means</h3>
{_prose(section.meaning)}
<details><summary>The same in Python</summary>
<pre tabindex="0"><code>{escape(section.example.strip(), quote=False)}</code></pre></details>
</section>"""


def _shown(number: int, section: Section) -> Iterator[str]:
    for label, item in numbered(number, section):
        caption = f"<figcaption><b>{label}</b> {_inline(item.caption)}</figcaption>"
        if isinstance(item, Picture):
            drawing = inline_svg(item.figure, f"{section.name}-{item.name}", _plain(item.caption))
            yield f'<figure><div class="scroll" tabindex="0">{drawing}</div>{caption}</figure>\n'
        else:
            yield f'<figure class="table">{caption}{table_html(item)}</figure>\n'


def table_html(table: Table) -> str:
    """Return a table in a scrollable box, which is focusable for keyboards."""
    right = [is_numeric([row[column] for row in table.rows]) and column > 0 for column in range(len(table.headings))]
    head = "".join(
        f'<th scope="col"{_alignment(is_right)}>{_inline(heading)}</th>'
        for heading, is_right in zip(table.headings, right, strict=True)
    )
    lines = []
    for index, row in enumerate(table.rows):
        cells = []
        for column, (cell, is_right) in enumerate(zip(row, right, strict=True)):
            text = f"<b>{_inline(cell)}</b>" if (index, column) in table.best else _inline(cell)
            cells.append(f"<td{_alignment(is_right)}>{text}</td>" if column else f'<th scope="row">{text}</th>')
        lines.append(f"<tr>{''.join(cells)}</tr>\n")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(_plain(table.caption))}">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody></table></div>"
    )


def _alignment(is_right: bool) -> str:
    return ' class="right"' if is_right else ""


def facts_html(facts: Mapping[str, str]) -> str:
    rows = "".join(f'<tr><th scope="row">{_inline(name)}</th><td>{_inline(value)}</td></tr>\n' for name, value in facts.items())
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Facts"><table><tbody>\n{rows}</tbody></table></div>'


# Code comes first, so that asterisks in it are literal. Emphasis neither begins nor ends with a blank, unlike 2 * 3 * 4.
_MARKUP = re.compile(r"`([^`]+)`|\*(\S(?:[^*]*\S)?)\*")


def _prose(text: str) -> str:
    return "\n".join(f"<p>{_inline(paragraph)}</p>" for paragraph in re.split(r"\n\s*\n", text.strip()) if paragraph)


def _inline(text: str) -> str:
    return _MARKUP.sub(lambda found: f"<code>{found[1]}</code>" if found[1] else f"<em>{found[2]}</em>", escape(text))


def _plain(text: str) -> str:
    return _MARKUP.sub(lambda found: found[1] or found[2], text)
