"""Processes that are killed while they save an index: run as a program, it prints what each kill left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hourglass.data import write
from hourglass.data.segments import Log, Table

BEFORE, AFTER, LATER = (12, [2]), (15, [2, 12]), (16, [2, 12])
"""(number of rows, which are removed)"""


def table_of(n: int, removed: list[int] | tuple[()] = ()) -> Table:
    columns = {"codes": np.arange(2.0 * n, dtype=np.float32).reshape(n, 2), "ids": np.array([f"ü{row}" for row in range(n)])}
    return Table(columns, np.array(removed, np.int64), {"words": np.arange(3)}, n)


def read(folder: Path) -> Table:
    return Log().read(folder, "owner")


def same(one: Table, other: Table) -> bool:
    """Whether both are the same but for the values of removed rows."""
    left = np.setdiff1d(np.arange(other.n_rows), other.removed)
    return (
        one.columns.keys() == other.columns.keys()
        and all(len(column) == other.n_rows for column in one.columns.values())
        and all(np.array_equal(one.columns[name][left], other.columns[name][left]) for name in one.columns)
        and np.array_equal(one.removed, other.removed)
        and one.counter == other.counter
        and all(np.array_equal(one.constants[name], other.constants[name]) for name in other.constants)
    )


def append_and_die(folder: Path, target: int) -> None:
    """Append to the table in `folder`, and be killed at the `target`-th call that changes the disk."""
    count = 0

    def dies(function: Callable[..., Any], *, half: bool = False) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == target:
                if half:
                    function(arguments[0], arguments[1][: len(arguments[1]) // 2], **named)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    log = Log()
    log.read(folder, "owner")
    os.replace, write._flush = dies(os.replace), dies(write._flush)
    Path.touch, Path.unlink = dies(Path.touch), dies(Path.unlink)  # type: ignore[method-assign]
    Path.write_bytes, Path.write_text = dies(Path.write_bytes, half=True), dies(Path.write_text, half=True)  # type: ignore[method-assign]
    assert log.append(folder, table_of(*AFTER))


def outcomes(folder: Path) -> list[str]:
    """What is left of a table after a kill at the first call that changes the disk, at the second, and so on to the last."""
    before = folder / "before"
    before.mkdir()
    log = Log()
    log.write(before, table_of(10), "owner")
    assert log.append(before, table_of(*BEFORE))
    found: list[str] = []
    while "whole" not in found:
        place = Path(shutil.copytree(before, folder / str(len(found))))
        process = os.fork()
        if process == 0:
            append_and_die(place, len(found) + 1)
            os._exit(0)
        status = os.waitpid(process, 0)[1]
        table = read(place)
        kind = "old" if same(table, table_of(*BEFORE)) else "new" if same(table, table_of(*AFTER)) else "neither"
        found.append("whole" if status == 0 and kind == "new" else kind)
        again = Log()
        again.read(place, "owner")
        assert again.append(place, table_of(*LATER))
        assert same(read(place), table_of(*LATER))
        assert {file.name for file in place.glob("index*")} == {"index.json", *(segment.name for segment in again.segments)}
    return found


if __name__ == "__main__":
    print(json.dumps(outcomes(Path(sys.argv[1]))))
