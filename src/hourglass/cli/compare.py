"""hourglass compare"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hourglass.cli.options import json_option, output_option, pages_option, strict_option, white_option
from hourglass.notes import note

if TYPE_CHECKING:
    from hourglass.data.files import Pages
    from hourglass.evaluation import FilePair, PairFigures, Rejects
    from hourglass.report import ShownPair

_HEADINGS = ["image", "PSNR, dB", "SSIM", "MS-SSIM"]


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@output_option(required=False, what="A folder for compare.csv, sheet.png and compare.html.")
@white_option
@pages_option
@strict_option
@json_option
def compare(
    first: str, second: str, output: Path | None, white: float | None, pages: Pages, strict: bool, as_json: bool
) -> None:
    """Compare the images of the folders A and B, or two image files: PSNR, SSIM and MS-SSIM of each pair.

    Files are pairs if their paths below A and B are equal, with or without the suffix. Images of unequal sizes and files
    without a partner are left out. Images deeper than 8 bits are read with one white level for both.

    With -o, sheet.png shows crops at 1:1, where a pair differs most and in the middle, and compare.html, a page in one file,
    each pair with a slider between its images. Both hold the pairs with the lowest SSIM. What is left out is in rejects.csv.
    """
    from hourglass.cli.output import report

    sides = [Path(os.path.expanduser(side)) for side in (first, second)]
    pairs, rejects = _pairs(sides, output)
    n_single = len(rejects)
    rows, shown = _compared(pairs, rejects, white, pages, strict, is_shown=output is not None)
    _warn(rejects, n_single, len(pairs), output)
    names = _names(sides)
    lines = [*_lines(rows), _mean_line(rows)]
    notes = _notes(rows)
    written = [] if output is None else _write(output, names, rows, lines, notes, rejects, shown)
    if as_json:
        report(_content(rows, rejects, written), "", as_json)
        return
    from hourglass.cli.output import print_table

    print_table(f"{names[0]} and {names[1]}", _HEADINGS, lines)
    for line in notes:
        click.echo(line)
    if output is not None:
        click.echo(f"{len(written)} files written to {output}; open {output / 'compare.html'} in a browser.")


def _pairs(sides: Sequence[Path], output: Path | None) -> tuple[list[FilePair], Rejects]:
    """The pairs of files, and the files without a partner."""
    from hourglass.cli.models import image_files
    from hourglass.data.folders import images_outside
    from hourglass.data.names import as_text
    from hourglass.errors import DataError, ParameterError
    from hourglass.evaluation import FilePair, paired

    found = [image_files(side) for side in sides]
    are_files = [side.is_file() for side in sides]
    if all(are_files):
        names = [as_text(side.name) for side in sides]
        name = names[0] if names[0] == names[1] else " and ".join(names)
        return [FilePair(name, *sides)], []
    if any(are_files):
        raise ParameterError("compare takes two folders or two files, not one of each.")
    if output is not None:
        if any(output.resolve() == side.resolve() for side in sides):
            raise ParameterError("-o names a folder that is compared; name another.")
        found = [(root, images_outside(files, output, root)) for root, files in found]
    (first_root, first), (second_root, second) = found
    pairs, rejects = paired(first, first_root, second, second_root)
    if not pairs:
        raise DataError(
            f"no image of {sides[0]} ({len(first)}) has a partner of the same name in {sides[1]} ({len(second)}); "
            f"the first: {rejects[0][0]}."
        )
    return pairs, rejects


def _compared(
    pairs: list[FilePair], rejects: Rejects, white: float | None, pages: Pages, strict: bool, *, is_shown: bool
) -> tuple[list[PairFigures], list[ShownPair]]:
    """Figures of all pairs, and those with the lowest SSIM as they are shown; adds to `rejects`."""
    from hourglass.data.depth import check_white
    from hourglass.data.pictures import white_levels
    from hourglass.errors import DataError
    from hourglass.evaluation import PairFigures, read_pair
    from hourglass.notes import one_note

    check_white(white)
    rows: list[PairFigures] = []
    shown: list[ShownPair] = []
    with one_note():
        whites = white_levels([file for pair in pairs for file in (pair.first, pair.second)], "the images", white, pages)
        for pair in pairs:
            try:
                images = read_pair(pair, whites, pages)
            except DataError as error:
                if strict or len(pairs) == 1:
                    raise
                rejects.append((str(pair.first), str(error).removeprefix(f"{pair.first}: ")))
                continue
            for one in images:
                rows.append(PairFigures.of(one))
                if is_shown:
                    _keep(shown, one, rows[-1])
    if not rows:
        raise DataError(f"none of {len(pairs)} pairs can be compared; the first: {': '.join(rejects[-len(pairs)])}")
    return rows, shown


def _keep(shown: list[ShownPair], pair: Any, figures: PairFigures) -> None:
    """Add a pair to those shown, lowest SSIM first, of which there are at most `MOST_SHOWN`."""
    from hourglass.report import MOST_SHOWN, shown_pair

    if len(shown) == MOST_SHOWN and figures.quality["ssim"] >= shown[-1].figures.quality["ssim"]:
        return
    shown.append(shown_pair(pair, figures))
    shown.sort(key=lambda one: one.figures.quality["ssim"])
    del shown[MOST_SHOWN:]


def _warn(rejects: Rejects, n_single: int, n_pairs: int, output: Path | None) -> None:
    from hourglass.data.names import as_text

    listed = "" if output is None else f", as {output}/rejects.csv lists"
    for found, words in (
        (rejects[:n_single], f"of {n_single + 2 * n_pairs} files have no partner of the same name and are left out"),
        (rejects[n_single:], f"of {n_pairs} pairs cannot be compared and are left out"),
    ):
        if found:
            message = f"{len(found)} {words}{listed}; the first: {as_text(': '.join(found[0]))}"
            note(message)


def _names(sides: Sequence[Path]) -> tuple[str, str]:
    """Short names of both: the last part of their paths, or if that is the same the paths."""
    from hourglass.data.names import as_text

    first, second = ((as_text(side.resolve().name), as_text(str(side))) for side in sides)
    return (first[0], second[0]) if first[0] != second[0] else (first[1], second[1])


def _lines(rows: Sequence[PairFigures]) -> list[list[str]]:
    return [[row.name, *_cells(row.quality)] for row in rows]


def _mean_line(rows: Sequence[PairFigures]) -> list[str]:
    from hourglass.evaluation import mean_of

    return [f"mean of {len(rows)}", *_cells(mean_of([row.quality for row in rows]))]


def _cells(quality: Any) -> list[str]:
    ms_ssim = quality["ms_ssim"]
    psnr = quality["psnr"]
    return [
        "equal" if psnr == float("inf") else f"{psnr:.2f}",
        f"{quality['ssim']:.4f}",
        "" if ms_ssim is None else f"{ms_ssim:.4f}",
    ]


def _notes(rows: Sequence[PairFigures]) -> list[str]:
    """What the means leave out."""
    n_equal = sum(row.are_equal for row in rows)
    n_small = sum(row.quality["ms_ssim"] is None for row in rows)
    notes = []
    if 0 < n_equal < len(rows):
        notes.append(f"{n_equal} of {len(rows)} pairs are equal, and left out of the mean PSNR.")
    if n_small:
        notes.append(f"{n_small} of {len(rows)} images are below 176 pixels in height or width, too small for MS-SSIM.")
    return notes


def _content(rows: Sequence[PairFigures], rejects: Rejects, written: Sequence[Path]) -> dict[str, Any]:
    from hourglass.data.names import as_text
    from hourglass.evaluation import mean_of

    return {
        "images": [{"name": row.name, "height": row.height, "width": row.width, **_finite(row.quality)} for row in rows],
        "mean": _finite(mean_of([row.quality for row in rows])),
        "left_out": [{"path": as_text(path), "reason": as_text(reason)} for path, reason in rejects],
        "written": [str(path) for path in written],
    }


def _finite(quality: Any) -> dict[str, Any]:
    """PSNR of equal images is None, since JSON has no infinity."""
    return {**quality, "psnr": None if quality["psnr"] == float("inf") else quality["psnr"]}


def _write(
    output: Path,
    names: tuple[str, str],
    rows: Sequence[PairFigures],
    lines: Sequence[Sequence[str]],
    notes: Sequence[str],
    rejects: Rejects,
    shown: Sequence[ShownPair],
) -> list[Path]:
    """Write the table, the sheet, the page, and what was left out."""
    from hourglass.cli.output import write_csv
    from hourglass.data.files import write_image
    from hourglass.data.rejects import write_rejects
    from hourglass.data.write import replace_file
    from hourglass.report import comparison_page, comparison_sheet

    written = [output / "compare.csv", output / "sheet.png", output / "compare.html"]
    figures = [[row.name, str(row.height), str(row.width), *cells[1:]] for row, cells in zip(rows, lines, strict=False)]
    write_csv(written[0], [["name", "height", "width", "psnr", "ssim", "ms_ssim"], *figures])
    write_image(written[1], comparison_sheet(shown, names))
    few = len(rows) > len(shown)
    lead = [
        f"{len(rows)} pairs of images. Below, the lowest SSIM first: {f'{len(shown)} of them' if few else 'all of them'}.",
        "Drag the line over a pair, or move it with the arrow keys.",
        *notes,
        *([f"{len(rejects)} files or pairs were left out; rejects.csv lists them."] if rejects else []),
    ]
    with replace_file(written[2]) as beside:
        beside.write_text(comparison_page(names, lead, (_HEADINGS, lines), shown), encoding="utf-8")
    write_rejects(output / "rejects.csv", rejects)
    return [*written, output / "rejects.csv"] if rejects else written
