"""Which processor and which code a figure was measured with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import hourglass

_PACKAGES = (Path(hourglass.__file__).parent, Path(__file__).parent)
_NOT_MEASURED = ("report", "cli", "web")  # packages of the library that only ask and show


def processor() -> str:
    """Return the processor's name from Linux's /proc/cpuinfo; "" on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def code_digest() -> str:
    """Return the first 12 digits of a SHA-256 over the modules of the library and of the benchmark, without `_NOT_MEASURED`."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for module in sorted(package.rglob("*.py")):
            path = module.relative_to(package)
            if path.parts[0] not in _NOT_MEASURED:
                digest.update(f"{package.name}/{path}\0".encode() + module.read_bytes())
    return digest.hexdigest()[:12]
