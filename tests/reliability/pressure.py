"""The explorer under load: many clients at once, some of whom send nonsense."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_GOOD = {200}
_BAD = {400, 404, 405, 413}


@dataclass
class Load:
    """What the clients saw."""

    latencies: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    before_mb: float = 0.0
    after_mb: float = 0.0

    @property
    def p99(self) -> float:
        return float(np.quantile(self.latencies, 0.99))


def press(model: Path, n_clients: int, seconds: float, seed: int) -> Load:
    """`n_clients` that ask the explorer of `model`, on scikit-learn's digits, without pause for so many seconds."""
    command = [sys.executable, "-m", "hourglass", "explore", str(model), "--data", "digits", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())
        assert found is not None
        port, load = int(found[1]), Load()
        for path in ("/api/scene", "/api/density", "/api/plane"):  # what is learned once
            with contextlib.closing(_connect(port)) as connection:
                assert _ask(connection, "GET", path, b"") == 200
        for path in ("/api/score", "/api/compress"):
            with contextlib.closing(_connect(port)) as connection:
                assert _ask(connection, "POST", path, bytes(64)) == 200
        _clients(port, n_clients, min(seconds, 5.0), seed, Load())  # until memory has been taken for as many
        load.before_mb = _memory(server.pid)
        _clients(port, n_clients, seconds, seed + 1, load)
        load.after_mb = _memory(server.pid)
        assert server.poll() is None
        return load
    finally:
        server.kill()
        server.communicate()


def _clients(port: int, n_clients: int, seconds: float, seed: int, load: Load) -> None:
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=_client, args=(port, until, f"{seed} {number}", load)) for number in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _client(port: int, until: float, seed: str, load: Load) -> None:
    chance = random.Random(seed)
    connection = _connect(port)
    while time.monotonic() < until:
        method, path, body, allowed = _request(chance)
        began = time.perf_counter()
        try:
            status = _ask(connection, method, path, body)
        except (OSError, http.client.HTTPException) as error:
            load.wrong.append(f"{method} {path}: {type(error).__name__}: {error}")
            connection.close()
            connection = _connect(port)
            continue
        load.latencies.append(time.perf_counter() - began)
        if status not in allowed:
            load.wrong.append(f"{method} {path} {body[:20]!r}: {status}")
    connection.close()


def _request(chance: random.Random) -> tuple[str, str, bytes, set[int]]:
    codes = np.array([chance.gauss(0, 3) for _ in range(2)], np.float32).tobytes()
    rows = np.array([chance.randrange(360) for _ in range(8)], np.int32).tobytes()
    pixels = chance.randbytes(64)
    good = [("GET", "/", b""), ("GET", "/static/main.js", b""), ("POST", "/api/decode", codes), ("POST", "/api/images", rows)]
    good += [("POST", "/api/region", rows), *(("POST", f"/api/{name}", pixels) for name in ("analyse", "score", "compress"))]
    if chance.random() < 0.7:
        return *chance.choice(good), _GOOD
    method, path, body = chance.choice(good[2:])
    bad = [
        (method, path, body[:-1]),
        (method, path, b""),
        ("GET", path, b""),
        ("POST", "/api/upload", chance.randbytes(200)),
        ("POST", "/api/decode", np.array([np.nan, 1], np.float32).tobytes()),
        ("GET", f"/static/../{chance.randrange(99)}", b""),
    ]
    return *chance.choice(bad), _BAD


def _connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes) -> int:
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _memory(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1e6
