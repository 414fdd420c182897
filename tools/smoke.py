"""Build the source distribution and the wheel, install the wheel into an empty environment, and use it: `make smoke`.

The wheel is built from the source distribution, so that a file missing from either is noticed. The environment has the base
install alone, without extras: what needs one must say which.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_MOST_BYTES = 300_000_000  # that the base install adds to torch

_USE = """
import hourglass as hg

assert "site-packages" in hg.__file__, hg.__file__
digits = hg.load("digits")
model = hg.Denoiser(corruption=hg.GaussianNoise(0, 0.2), epochs=2, random_state=0).fit(digits.train.images)
model.save("m.hg")
assert (hg.load_model("m.hg").transform(digits.test.images) == model.transform(digits.test.images)).all()
"""
_SIZE = """
import pathlib, sysconfig

site = pathlib.Path(sysconfig.get_paths()["purelib"])
print(sum(path.stat().st_size for path in site.rglob("*") if path.is_file()))
"""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """The command's standard output; ends the program with its error output if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", place / "dist", ROOT)
        wheel = next((place / "dist").glob("*.whl"))
        run(sys.executable, "-m", "venv", place / "env")
        python = place / "env" / "bin" / "python"
        install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt")
        run(*install, "torch")  # with what it needs itself
        before = int(run(python, "-c", _SIZE))
        run(*install, wheel)
        size = int(run(python, "-c", _SIZE)) - before
        run(python, "-c", _USE, cwd=place)
        command = place / "env" / "bin" / "hourglass"
        assert "Usage: hourglass" in run(command, "--help", cwd=place)
        run(command, "evaluate", "m.hg", "--data", "digits", cwd=place)
        missing = subprocess.run([command, "explore", "m.hg"], cwd=place, capture_output=True, text=True, check=False)
        assert missing.returncode == 2, missing.stderr
        assert "hourglass-autoencoders[web]" in missing.stderr, missing.stderr
        print(f"{wheel.name}: adds {size / 1e6:.0f} MB to torch; trains, saves, loads and names what an extra brings.")
        if size > _MOST_BYTES:
            print(f"missed: at most {_MOST_BYTES / 1e6:.0f} MB were wanted.")


if __name__ == "__main__":
    main()
