"""The explorer's server, in process: what it answers, and what it refuses."""

from __future__ import annotations

import io
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import torch
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from PIL import Image
from starlette.testclient import TestClient

import hourglass as hg
from hourglass.data import Split
from hourglass.networks import NETWORKS, build
from hourglass.networks.description import steps_of
from hourglass.web import Scene, export_page, guard
from hourglass.web.app import MAX_PIXELS, create_app
from hourglass.web.packing import pack


def unpacked(content: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """What `pack` packed, read as web/packing.py describes it."""
    start = 4 + int.from_bytes(content[:4], "little")
    header = json.loads(content[4:start])
    arrays = {}
    for name, array in header["arrays"].items():
        count = int(np.prod(array["shape"]))
        values = np.frombuffer(content, np.dtype(array["dtype"]).newbyteorder("<"), count, start + array["offset"])
        arrays[name] = values.reshape(array["shape"])
    return header["facts"], arrays


@pytest.fixture(scope="module")
def scene() -> Scene:
    digits = hg.load("digits").train
    model = hg.Autoencoder(4, epochs=2, random_state=0).fit(digits.images)
    return Scene(model, Split(digits.images[:300], digits.known_labels[:300]), "digits")


@pytest.fixture(scope="module")
def client(scene: Scene) -> TestClient:
    return TestClient(create_app(scene), base_url="http://127.0.0.1:8265", raise_server_exceptions=False)


def png(shape: tuple[int, ...], mode: str | None = None) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8), mode).save(content, "PNG")
    return content.getvalue()


# --- what it answers -----------------------------------------------------------------------------------------------------


def test_arrays_come_back_as_they_were_packed() -> None:
    arrays: dict[str, np.ndarray] = {
        "odd": np.arange(7, dtype=np.uint8),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "rows": np.array([-1, 2], dtype=np.int32),
    }
    facts, back = unpacked(pack({"name": "ä"}, arrays))
    assert facts == {"name": "ä"}
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(back[name], array)


def test_the_page_and_its_modules_are_served_with_a_strict_policy(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == client.head("/").status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert client.get(path).status_code == 200, path
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)  # nothing that the policy would forbid


def test_the_overview_holds_codes_labels_and_the_principal_plane(client: TestClient, scene: Scene) -> None:
    facts, arrays = unpacked(client.get("/api/scene").content)
    assert facts["n_images"] == 300
    assert facts["shape"] == [8, 8]
    assert facts["classes"] == [str(digit) for digit in range(10)]
    assert np.array_equal(arrays["codes"], scene.codes)
    assert np.array_equal(
        [int(facts["classes"][label]) for label in arrays["labels"]], hg.load("digits").train.known_labels[:300]
    )
    centred = scene.codes - scene.codes.mean(0)
    spread = (centred @ arrays["principal"].T).var(0)
    assert np.allclose(sorted(spread)[::-1], sorted(np.linalg.eigvalsh(np.cov(centred.T)))[:1:-1], rtol=0.02)


def test_questions_are_answered_as_the_model_would(client: TestClient, scene: Scene) -> None:
    codes = scene.codes[:5]
    images = unpacked(client.post("/api/decode", content=codes.tobytes()).content)[1]["images"]
    assert np.array_equal(images, hg.images.to_uint8(scene.model.inverse_transform(codes)))
    rows = np.array([3, 299, 3], dtype=np.int32)
    assert np.array_equal(unpacked(client.post("/api/images", content=rows.tobytes()).content)[1]["images"], scene.images[rows])
    some = unpacked(client.post("/api/region", content=rows.tobytes()).content)[1]
    assert np.allclose(some["mean"], scene.images[rows].mean(0), atol=0.51)
    assert np.allclose(some["spread"], np.minimum(255, 2 * scene.images[rows].std(0)), atol=0.51)
    analysed = unpacked(client.post("/api/analyse", content=scene.images[7].tobytes()).content)[1]
    assert np.allclose(analysed["code"], scene.model.encode(scene.images[7:8])[0], atol=1e-5)
    assert np.array_equal(analysed["reconstruction"], hg.images.to_uint8(scene.model.reconstruct(scene.images[7:8]))[0])


def test_scores_bytes_densities_and_maps_are_learned_when_asked_for(client: TestClient, scene: Scene) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    usual, unusual = (client.post("/api/score", content=image.tobytes()).json() for image in (scene.images[0], noise))
    assert usual["score"] > unusual["score"]
    assert unusual["anomaly"]
    told = client.post("/api/compress", content=scene.images[0].tobytes()).json()
    assert told == {"bytes": len(scene.begin("compressor").result().compress(scene.images[:1])), "raw": 64}
    facts, arrays = unpacked(client.get("/api/density").content)
    assert facts["drawn"] == [str(digit) for digit in range(10)]
    assert np.isclose(arrays["weights"].sum(), 1)
    facts, arrays = unpacked(client.get("/api/plane").content)
    assert arrays["positions"].shape == (300, 2)
    assert client.get("/api/plane").content == client.get("/api/plane").content  # learned once


def test_a_model_brings_what_it_has() -> None:
    digits = hg.load("digits").train
    for kind, part in ((hg.Generator, "generator"), (hg.AnomalyDetector, "detector"), (hg.Compressor, "compressor")):
        labels = digits.labels if kind is hg.Generator else None
        model = kind(4, epochs=1, random_state=0).fit(digits.images, labels)
        assert Scene(model, digits, "digits").begin(part).result() is model


def test_an_uploaded_file_is_brought_to_the_models_size_and_channels(client: TestClient, colours: np.ndarray) -> None:
    for content in (png((30, 20)), png((30, 20, 3)), png((30, 20, 4)), png((8, 8))):
        image = unpacked(client.post("/api/upload", content=content).content)[1]["image"]
        assert image.shape == (8, 8)
        assert image.std() > 0
    coloured = Scene(hg.Autoencoder(2, epochs=1).fit(colours), Split(colours), "colours")
    client = TestClient(create_app(coloured), base_url="http://localhost")
    assert unpacked(client.post("/api/upload", content=png((30, 20))).content)[1]["image"].shape == (13, 11, 3)
    assert unpacked(client.get("/api/scene").content)[0]["classes"] == []
    assert unpacked(client.get("/api/density").content)[0]["drawn"] == []


def test_what_the_page_cannot_run_the_server_decodes(colours: np.ndarray) -> None:
    model = hg.Denoiser(network="skip", epochs=1, random_state=0).fit(colours)
    scene = Scene(model, Split(colours), "colours")
    client = TestClient(create_app(scene), base_url="http://localhost")
    refused = client.get("/api/decoder")
    assert refused.status_code == 404
    assert "/api/decode" in refused.json()["error"]
    assert client.post("/api/decode", content=scene.codes[:1].tobytes()).status_code == 200


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_in_a_row_of_layers_can_be_described(name: str) -> None:
    network = build(name, (3, 13, 11), 4)
    described = [steps_of(network.encoder) is not None, steps_of(network.decoder) is not None]
    assert described == [not network.bypasses_code and not network.code.is_map] * 2


def test_modules_that_no_step_can_stand_for_are_not_described() -> None:
    nn = torch.nn
    for module in (nn.GELU(), nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(1, 1, (3, 5)), nn.Conv2d(1, 1, 3, padding="same")):
        assert steps_of(nn.Sequential(nn.ReLU(), module)) is None
    assert steps_of(type("Own", (nn.Linear,), {})(2, 2)) is None  # a subclass may do anything


# --- what it refuses -----------------------------------------------------------------------------------------------------

WRONG = {
    "decode": [
        b"",
        b"12345",
        b"\0" * 16 * 1025,
        np.full(4, np.nan, np.float32).tobytes(),
        np.full(4, np.inf, np.float32).tobytes(),
    ],
    "images": [b"", b"123", np.array([-1], np.int32).tobytes(), np.array([300], np.int32).tobytes(), b"\0" * 4100],
    "region": [b"", b"12", np.array([300], np.int32).tobytes(), b"\0" * 4 * 301],
    "upload": [b"", b"no image", png((8, 8))[:60], b"GIF89a" + b"\0" * 60],
    "analyse": [b"", b"\0" * 63, b"\0" * 65],
    "score": [b"", b"\0" * 65],
    "compress": [b"", b"\0" * 65],
}


@pytest.mark.parametrize("path", WRONG)
def test_bad_requests_get_one_sentence_and_never_a_trace(client: TestClient, path: str) -> None:
    for body in WRONG[path]:
        answer = client.post(f"/api/{path}", content=body)
        assert answer.status_code == 400, body[:20]
        assert list(answer.json()) == ["error"]
        assert "\n" not in answer.json()["error"]
        assert "Traceback" not in answer.text
        assert "/work" not in answer.text
    assert client.get(f"/api/{path}").status_code == 405
    assert client.get(f"/api/{path}").json() == {"error": "only POST is allowed here."}


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    for path in ("/nothing", "/api/nothing", "/static/nothing.js", "/static/../app.py", "/static/%2e%2e/app.py", "/docs"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "error" in answer.json()


def test_large_pictures_and_bodies_are_refused_before_they_are_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = int(MAX_PIXELS**0.5) + 100
    content = io.BytesIO()
    Image.new("L", (side, side)).save(content, "PNG")
    assert len(content.getvalue()) < 100_000
    answer = client.post("/api/upload", content=content.getvalue())
    assert answer.status_code == 400
    assert "pixels" in answer.json()["error"]
    monkeypatch.setattr(guard, "MAX_BODY", 1000)
    assert client.post("/api/upload", content=b"x" * 1001).status_code == 413
    pieces = (b"x" * 100 for _ in range(100))  # of no length that is told beforehand
    assert client.post("/api/upload", content=pieces).status_code == 413
    assert client.post("/api/upload", content=b"x", headers={"content-length": "-5"}).status_code == 413
    assert client.post("/api/upload", content=b"x" * 999).status_code == 400


def test_other_hosts_and_pages_of_other_sites_are_refused(client: TestClient) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.", "[::2]:80", "127.0.0.1@evil.example"):
        answer = client.get("/", headers={"host": host})
        assert answer.status_code == 400, host
        assert "host name" in answer.json()["error"]
    for site in ("cross-site", "same-site"):
        assert client.get("/api/density", headers={"sec-fetch-site": site}).status_code == 403
        assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200  # a link to the page
    for host in ("127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8265"):
        assert client.get("/", headers={"host": host}).status_code == 200, host
    post: dict[str, Any] = {"content": b"\0" * 64}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999"):
        assert client.post("/api/score", **post, headers={"origin": origin}).status_code == 403, origin
    assert client.post("/api/score", **post, headers={"origin": "http://127.0.0.1:8265"}).status_code == 200


def test_a_server_at_all_addresses_answers_to_any_of_them(scene: Scene) -> None:
    client = TestClient(create_app(scene, ("localhost", guard.ANY_ADDRESS)))
    for host in ("192.0.2.7:8265", "[2001:db8::1]:8265", "localhost"):
        assert client.get("/", headers={"host": host}).status_code == 200, host
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400  # a name, which may point anywhere


def test_one_image_is_enough(scene: Scene) -> None:
    alone = TestClient(create_app(Scene(scene.model, Split(scene.images[:1]), "one")), base_url="http://localhost")
    assert unpacked(alone.get("/api/scene").content)[1]["principal"].tolist() == np.eye(2, 4).tolist()
    for path in ("density", "plane"):
        assert alone.get(f"/api/{path}").status_code in (200, 400)


def test_codes_far_out_are_refused_not_cast(client: TestClient) -> None:
    answer = client.post("/api/decode", content=np.full(4, 3e38, np.float32).tobytes())
    assert answer.status_code == 400
    assert "too far out" in answer.json()["error"]


def test_a_client_that_leaves_is_nobodys_fault(scene: Scene) -> None:
    async def leave() -> list[MutableMapping[str, Any]]:
        sent: list[MutableMapping[str, Any]] = []
        told: Iterator[dict[str, Any]] = iter(
            [{"type": "http.request", "body": b"123", "more_body": True}, {"type": "http.disconnect"}]
        )

        async def receive() -> dict:
            return next(told)

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-length", b"8")]
        scope = {"type": "http", "method": "POST", "path": "/api/decode", "raw_path": b"/api/decode", "query_string": b""}
        await create_app(scene)(scope | {"headers": headers, "http_version": "1.1", "scheme": "http"}, receive, send)
        return sent

    # In a thread of its own: a browser's test before this one leaves an event loop running here.
    with start_blocking_portal() as portal:
        assert portal.call(leave)[0]["status"] == 400


def test_malformed_uploads_leave_it_up(client: TestClient, scene: Scene) -> None:
    chance = random.Random(0)
    whole = [png((9, 7)), png((9, 7, 3)), *(_saved(kind) for kind in ("JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM"))]
    refused = 0
    for _ in range(300):
        content = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        answer = client.post("/api/upload", content=bytes(content[: chance.randint(1, len(content))]))
        assert answer.status_code in (200, 400), content
        refused += answer.status_code == 400
    assert refused > 150
    assert client.post("/api/analyse", content=scene.images[0].tobytes()).status_code == 200


def _saved(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)).save(content, kind)
    return content.getvalue()


_SCHEMA_SCENE: list[Scene] = []


def _schema_app() -> object:
    if not _SCHEMA_SCENE:
        digits = hg.load("digits").train
        model = hg.Autoencoder(4, epochs=1, random_state=0).fit(digits.images)
        _SCHEMA_SCENE.append(Scene(model, digits.take(np.arange(60)), "digits"))
        _SCHEMA_SCENE[0].begin("plane").result()  # on a busy machine the first answer takes longer than a client waits
    return create_app(_SCHEMA_SCENE[0], ("testserver", "localhost", "127.0.0.1"))


schema = schemathesis.openapi.from_asgi("/openapi.json", _schema_app())


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_answers_are_those_that_the_openapi_description_names(case: schemathesis.Case) -> None:
    response = case.call()
    assert response.status_code < 500
    assert response.status_code == 200 or list(response.json()) == ["error"]


# --- the server and the page in one file ---------------------------------------------------------------------------------


def test_the_verb_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    model = tmp_path / "m.hg"
    hg.Autoencoder(2, epochs=1, random_state=0).fit(hg.load("digits").train.images).save(model)
    command = [sys.executable, "-m", "hourglass", "explore", str(model), "--data", "digits", "--port", "0", "--most", "50"]
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run aside, without
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hears)  # noqa: PLW1509  # it takes no lock
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line
        assert line.startswith("50 images of digits")
        with urllib.request.urlopen(address[0] + "api/scene", timeout=20) as answer:
            assert unpacked(answer.read())[0]["n_images"] == 50
        taken = address[0].rsplit(":", 1)[1].strip("/")
        other = subprocess.run([*command[:-3], taken], capture_output=True, text=True, check=False)
        assert other.returncode == 2
        assert "choose another --port" in other.stderr
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(20) == 130
        assert time.monotonic() - began < 5
        assert process.stderr is not None
        assert process.stderr.read().strip() == "interrupted."
    finally:
        process.kill()
        process.communicate()


def test_answers_do_not_wait_for_acknowledgements(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    from hourglass.web import server

    taken: list[socket.socket] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda _, sockets: taken.extend(one.dup() for one in sockets))
    server.serve(scene, "127.0.0.1", 0, lambda _: None)
    with taken[0] as listener:
        assert listener.proto == socket.IPPROTO_TCP  # else asyncio leaves Nagle's algorithm on


def test_what_is_learned_is_learned_once_however_many_ask(scene: Scene) -> None:
    fresh = Scene(scene.model, Split(scene.images), "digits")
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.append(fresh.begin("detector").result())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    assert len(set(map(id, made))) == 1


def test_the_page_in_one_file_asks_nobody(scene: Scene, tmp_path: Path) -> None:
    size = export_page(scene, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(page.encode()) == size
    assert "connect-src 'none'" in page
    assert "/static/" not in page
    assert set(re.findall(r"https?://[^\s'\"]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_explore_resizes_images_of_several_sizes(
    run, tmp_path: Path, colours: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hourglass.cli.explore._SMALL", (8, 8))  # for speed
    monkeypatch.setattr("hourglass.estimators.layout._FEWEST_STEPS", 10)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(colours[:30]):
        Image.fromarray(hg.images.to_uint8(image)[: 7 + number % 2]).save(tmp_path / "images" / f"{number}.png")
    code, out, err = run("explore", "--data", tmp_path / "images", "--export", tmp_path / "page.html", "--seed", 0)
    assert code == 0, err
    assert "are resized to 8×8; choose another size with --size" in err
    assert "30 images" in out


def test_explore_says_what_it_cannot_do(run, tmp_path: Path, colours: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    hg.Denoiser(network="skip", epochs=1).fit(colours).save(tmp_path / "skip.hg")
    hg.Autoencoder(2, epochs=1).fit(np.random.default_rng(0).random((60, 5))).save(tmp_path / "flat.hg")
    np.save(tmp_path / "colours.npy", colours)
    hg.Denoiser(4, network="maps", hidden=(4,), crop=8, epochs=1).fit(colours).save(tmp_path / "maps.hg")
    np.save(tmp_path / "large.npy", np.zeros((20, 140, 150), np.uint8))
    code, _, err = run("explore", "--data", tmp_path / "large.npy")
    assert (code, "Use --size 64x64, or resize an array" in err) == (2, True)
    assert "maps images up to 128x128" in run("explore", "--data", tmp_path / "large.npy", "--size", "140x140")[2]
    assert "MODEL has its own" in run("explore", tmp_path / "skip.hg", "--size", "8x8")[2]
    wrong = {"skip.hg": "Without --export", "flat.hg": "flat features", "maps.hg": "--size 64x64", "none.hg": "no such model"}
    for model, words in wrong.items():
        code, _, err = run("explore", tmp_path / model, "--data", tmp_path / "colours.npy", "--export", tmp_path / "page.html")
        assert code == 2, model
        assert words in err
        assert not (tmp_path / "page.html").exists()
    monkeypatch.setitem(sys.modules, "hourglass.web", None)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = run("explore", tmp_path / "skip.hg")
    assert code == 2
    assert 'pip install "hourglass-autoencoders[web]"' in err
