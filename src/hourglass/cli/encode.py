"""hourglass encode"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hourglass.cli.options import device_option, json_option, output_option, pages_option, white_option
from hourglass.cli.parts import Shards, shard_options

if TYPE_CHECKING:
    from hourglass.data.files import Pages


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@output_option(what="A .npz or .parquet file; of shards, a folder.")
@white_option
@pages_option
@shard_options
@device_option
@json_option
def encode(
    model: Path,
    source: str,
    output: Path,
    white: float | None,
    pages: Pages,
    shards: Shards,
    device: str,
    as_json: bool,
) -> None:
    """Write the codes that MODEL (of any task) gives the images in SOURCE, a folder or DATA: all parts of it.

    npz: codes (n, n_components), paths, labels where there are any. parquet: a column each of path and label, and one a number
    of the code: code0, code1, …

    Of shards (see --stream) it writes a Parquet file each, with key in place of path.
    """
    import numpy as np

    from hourglass.cli.models import names_of, parts_for
    from hourglass.cli.output import report_written
    from hourglass.data.array_files import write_arrays
    from hourglass.data.files import write_table
    from hourglass.errors import ParameterError
    from hourglass.estimators import load_model

    if shards.work_through(
        "encode", model, source, output, device, as_json, single=(".npz", ".parquet"), in_memory=("pages",), white=white
    ):
        return
    if output.suffix not in (".npz", ".parquet"):
        words = f"; of shards, a folder, but {source} is none: no Parquet or tar files are there (--stream takes images too)"
        raise ParameterError(f"-o {output}; allowed: a name that ends in .npz or .parquet{words}.")
    loaded = load_model(model, device=device)
    parts = parts_for(loaded, source, white, pages, shards.strict)
    codes = np.concatenate([loaded.encode(split.images) for split in parts.values()])
    names = [name for label, split in parts.items() for name in names_of(split, label)]
    known = [split.labels for split in parts.values() if split.labels is not None]
    columns = {"path": np.array(names)}
    if len(known) == len(parts):
        columns["label"] = np.concatenate(known)
    if output.suffix == ".npz":
        write_arrays(output, {"codes": codes, **{f"{key}s": value for key, value in columns.items()}})
    else:
        write_table(output, columns | {f"code{index}": column for index, column in enumerate(codes.T)})
    report_written([output], output, as_json)
