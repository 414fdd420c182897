"""Fuzz one loader, guided by the lines that it reaches: `python tools/fuzz.py FORMAT FOLDER [libFuzzer's options]`.

FORMAT is a name in tests/reliability/mutations.py, or `list`. Ends with an error at the first input that is neither read
nor refused with an error of ours, or takes over a second. Needs atheris (the extra `fuzz`).
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import atheris

GUIDED = ["hourglass.data", "hourglass.codec", "hourglass.trained.files", "hourglass.estimators.registry"]
_SEEDS = 64
SIGNED = {".hgc"}  # whose checksum is made to fit before they are read

with atheris.instrument_imports(include=GUIDED):
    import hourglass as hg
    from hourglass.data import files
from reliability import mutations  # noqa: E402


def main() -> None:
    """Fuzz until the options say that it is enough."""
    name, folder, *options = sys.argv[1:]
    files.MAX_BYTES, files.MAX_PIXELS = 64 << 20, 4_000_000
    known = mutations.formats(Path(folder))
    if name == "list":
        print("\n".join(known))
        return
    mutated, read = known[name]
    corpus = Path(folder) / "corpus"
    corpus.mkdir(exist_ok=True)
    for number in range(_SEEDS):
        seed = mutated(random.Random(number))
        (corpus / str(number)).write_bytes(seed[:-8] if name in SIGNED else seed)
    warnings.simplefilter("ignore")

    def once(content: bytes) -> None:
        if name in SIGNED:
            content = content + hashlib.sha256(content).digest()[:8]
        try:
            read(content)
        except hg.HourglassError:
            pass

    atheris.Setup([sys.argv[0], "-timeout=1", "-rss_limit_mb=2048", "-max_len=8192", *options, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
