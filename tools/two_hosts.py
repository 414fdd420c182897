"""Two hosts train one network: `python tools/two_hosts.py` (as root, on Linux, with iproute2) prints what came of it as JSON.

The hosts are two network namespaces with a cable between them, each with a folder of its own. First they train as one process
does; then the cable is pulled in the midst of a run, and the seconds are counted until each side has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HOSTS = {"hourglass0": "10.77.0.1", "hourglass1": "10.77.0.2"}
TRAIN = "train --data digits --task autoencoder --optimizer adam --learning-rate 0.003 --batch-size 301 --seed 3"
GIVEN_UP = 120.0  # seconds
WORD = "The last checkpoint stands"


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def cable() -> Iterator[None]:
    """Both hosts and what joins them; gone afterwards, whatever happens."""
    first, second = HOSTS
    try:
        for name in HOSTS:
            ip(f"netns add {name}")
        ip(f"link add {first} netns {first} type veth peer name {second} netns {second}")
        for name, address in HOSTS.items():
            ip(f"-n {name} addr add {address}/24 dev {name}")
            ip(f"-n {name} link set lo up")
            ip(f"-n {name} link set {name} up")
        yield
    finally:
        for name in HOSTS:
            with contextlib.suppress(subprocess.CalledProcessError):
                ip(f"netns delete {name}")


def start(folder: Path, epochs: int) -> list[subprocess.Popen[str]]:
    """torchrun on each host, with its own folder and what it says in a file there."""
    started = []
    for number, (name, address) in enumerate(HOSTS.items()):
        own = folder / name
        own.mkdir()
        where = f"--nnodes 2 --node-rank {number} --nproc-per-node 1 --master-addr {HOSTS['hourglass0']} --master-port 29577"
        launch = [*f"ip netns exec {name} {sys.executable} -m torch.distributed.run {where} --local-addr {address}".split()]
        command = [*launch, "-m", "hourglass", *TRAIN.split(), "--epochs", str(epochs), "-o", str(own / "m.hg")]
        environment = os.environ | {"GLOO_SOCKET_IFNAME": name, "OMP_NUM_THREADS": "1"}
        with (own / "said").open("w") as said:
            started.append(subprocess.Popen(command, stdout=said, stderr=said, text=True, env=environment))
    return started


def alike(folder: Path, epochs: int) -> dict[str, object]:
    """The two hosts' weights beside those of one process."""
    import hourglass as hg

    alone = [sys.executable, "-m", "hourglass", *TRAIN.split(), "--epochs", str(epochs), "-o", str(folder / "alone.hg")]
    subprocess.run(alone, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    codes = [run.wait(GIVEN_UP) for run in start(folder, epochs)]
    one, two = (hg.load_model(path).network_.state_dict() for path in (folder / "alone.hg", folder / "hourglass0" / "m.hg"))
    return {
        "epochs": epochs,
        "exit_codes": codes,
        "largest_difference_of_a_weight": max(float((tensor - two[name]).abs().max()) for name, tensor in one.items()),
        "files": {name: sorted(path.name for path in (folder / name).iterdir() if path.name != "said") for name in HOSTS},
    }


def cut(folder: Path) -> dict[str, object]:
    """Seconds from the pulling of the cable to the end of each side, and whether it said why."""
    runs = start(folder, 1_000_000)
    try:
        while not (folder / "hourglass0" / "m.hg.checkpoint").exists():
            if any(run.poll() is not None for run in runs):
                raise RuntimeError((folder / "hourglass0" / "said").read_text())
            time.sleep(0.1)
        ip("-n hourglass0 link set hourglass0 down")
        pulled, ended, spoke = time.monotonic(), dict[str, float](), dict[str, float]()
        while len(ended) < len(runs) and time.monotonic() - pulled < GIVEN_UP:
            for name, run in zip(HOSTS, runs, strict=True):
                seconds = round(time.monotonic() - pulled, 1)
                if WORD in (folder / name / "said").read_text():
                    spoke.setdefault(name, seconds)
                if run.poll() is not None:
                    ended.setdefault(name, seconds)
            time.sleep(0.1)
    finally:
        for run in runs:
            run.terminate()  # torchrun ends its processes then
    said = {name: [line for line in (folder / name / "said").read_text().splitlines() if WORD in line] for name in HOSTS}
    return {"seconds_to_the_word": spoke, "seconds_to_the_end": ended, "said": said}


def main() -> int:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        print("two_hosts.py needs Linux, root and the command `ip` (iproute2): it makes network namespaces.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of everything that cleans up
    with tempfile.TemporaryDirectory() as folder, cable():
        for part in ("alike", "cut"):
            (Path(folder) / part).mkdir()
        print(json.dumps({"alike": alike(Path(folder) / "alike", 5), "cut": cut(Path(folder) / "cut")}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
