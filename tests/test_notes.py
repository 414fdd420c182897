"""Warnings in threads."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.notes import note, one_note, quiet


def _on_threads(work: Callable[[], object], n_threads: int = 4) -> None:
    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_note_of_each_kind_is_issued_and_by_its_own_thread_alone(recwarn: pytest.WarningsRecorder) -> None:
    with one_note():
        with one_note():
            for name, count in (("a", 1), ("b", 2), ("c", 3)):
                note(f"{name}.png: {count} pages")
        _on_threads(lambda: note("another thread's"), 1)
        note("others: here")
    assert [str(one.message) for one in recwarn] == [
        "another thread's",
        "a.png: 1 pages (and 2 more like it)",
        "others: here",
    ]
    assert recwarn[2].filename == __file__


def test_reading_on_threads_keeps_the_warnings_and_filters_of_others(
    tmp_path: Path, digits: np.ndarray, recwarn: pytest.WarningsRecorder
) -> None:
    warnings.simplefilter("always")
    for number in range(20):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
    hg.Autoencoder(2, epochs=1, random_state=0).fit(digits[:30]).save(tmp_path / "m.hg")
    hg.load(tmp_path)
    filters, before, show = warnings.filters, list(warnings.filters), warnings.showwarning
    is_done = threading.Event()

    def work() -> None:
        for _ in range(3):
            hg.load(tmp_path)
            hg.load_model(tmp_path / "m.hg")

    def finish() -> None:
        _on_threads(work)
        is_done.set()

    reading = threading.Thread(target=finish)
    reading.start()
    n_issued = 0
    while not is_done.is_set() or not n_issued:
        warnings.warn("mine", UserWarning, stacklevel=1)
        n_issued += 1
    reading.join()
    assert len(recwarn) == n_issued
    assert warnings.filters is filters
    assert list(filters) == before
    assert warnings.showwarning is show


def test_filters_do_not_grow_with_every_time() -> None:
    with quiet():
        n_filters = len(warnings.filters) + 1
    for _ in range(5):
        warnings.simplefilter("ignore")
        with quiet():
            assert len(warnings.filters) <= n_filters


def test_quiet_ignores_the_warnings_of_its_own_thread_only() -> None:
    caught = []

    def warn() -> None:
        try:
            warnings.warn("here", UserWarning, stacklevel=1)
        except UserWarning:  # as everything is an error in these tests
            caught.append(threading.get_ident())

    with quiet():
        warn()
        note("nor ours")
        _on_threads(warn, 1)
    warn()
    assert len(caught) == 2
    assert caught[1] == threading.get_ident() != caught[0]
