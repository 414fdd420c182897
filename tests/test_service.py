"""The service: what it answers, what it refuses, and that it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import numpy as np
import pytest
import schemathesis
import uvicorn
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

import hourglass as hg
from hourglass.data.array_files import decode_npy, encode_npy
from hourglass.data.files import encode_image
from hourglass.data.pictures import decode_pictures
from hourglass.images import Sample, to_uint8
from hourglass.web.listening import listen
from hourglass.web.service import Limits, Settings, batching, create_service, named
from hourglass.web.service.batching import Batcher
from hourglass.web.service.content import as_block
from hourglass.web.service.limits import Admission
from hourglass.web.service.server import token_of
from hourglass.web.service.uses import Use

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ADDRESS = "http://127.0.0.1:8300"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model of each task, on digits; and one of photographs, of any size."""
    folder = tmp_path_factory.mktemp("models")
    images = hg.load("digits").train.images[:200]
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (40, 40), np.uint8) for _ in range(4)]
    kinds = {
        "denoiser": hg.Denoiser(corruption=hg.GaussianNoise(0, 0.2), epochs=1, random_state=0),
        "detector": hg.AnomalyDetector(4, epochs=1, random_state=0),
        "retriever": hg.Retriever(4, epochs=1, random_state=0),
        "compressor": hg.Compressor(4, epochs=1, random_state=0),
        "enhancer": hg.Enhancer(factor=2, epochs=1, random_state=0),
        "photos": hg.Denoiser(8, network="maps", hidden=(4, 8), crop=16, epochs=1, random_state=0),
        "photo-codec": hg.Compressor(8, network="codec", crop=16, epochs=1, random_state=0),
        "table": hg.AnomalyDetector(2, quantile=0.9, epochs=1, random_state=0),
    }
    given = {"photos": photos, "photo-codec": photos, "table": rng.normal(size=(60, 5))}
    for name, model in kinds.items():
        model.fit(given.get(name, images)).save(folder / f"{name}.hg")
    return {name: str(folder / f"{name}.hg") for name in kinds}


@pytest.fixture(scope="module")
def own(models: dict[str, str]) -> dict[str, Any]:
    """The same models, to compare with."""
    return {name: hg.load_model(path) for name, path in models.items()}


@pytest.fixture(scope="module")
def client(models: dict[str, str]) -> Iterator[TestClient]:
    service = create_service(Settings(models, quiet=True))
    with TestClient(service, base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client


@contextlib.contextmanager
def served(models: dict[str, str], **changes: Any) -> Iterator[TestClient]:
    with TestClient(create_service(Settings(models, **changes)), base_url=ADDRESS, raise_server_exceptions=False) as client:
        yield client


def one(models: dict[str, str], *names: str) -> dict[str, str]:
    return {name: models[name] for name in names}


def saved(image: np.ndarray, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


DIGIT = noise(8, 8)


# --- what it answers -----------------------------------------------------------------------------------------------------


def test_each_use_answers_what_the_model_does(client: TestClient, own: dict[str, Any]) -> None:
    def ask(path: str, body: bytes = encode_image(DIGIT), **parameters: Any) -> httpx2.Response:
        response = client.post(f"/models/{path}", content=body, params=parameters)
        assert response.status_code == 200, response.text
        return response

    denoised = decode_pictures(ask("denoiser/denoise").content, "answer")[0].values
    assert np.array_equal(denoised, to_uint8(own["denoiser"].transform(DIGIT[None])[0]))
    stronger = decode_npy(ask("denoiser/denoise", strength=0.3, format="npy").content, "answer")
    assert np.allclose(stronger, own["denoiser"].transform(DIGIT[None], strength=0.3)[0], atol=1e-6)
    enlarged = decode_pictures(ask("enhancer/enhance").content, "answer")[0].values
    assert np.array_equal(enlarged, to_uint8(own["enhancer"].transform_image(DIGIT)))
    detector = own["detector"]
    fact = ask("detector/detect").json()["images"][0]
    assert fact["score"] == -detector.decision_function(DIGIT[None])[0]
    assert fact["verdict"] == "anomaly"
    assert fact["regions"] == [region._asdict() for region in detector.regions(DIGIT[None])[0]]
    errors = decode_npy(ask("detector/map").content, "answer")
    assert np.allclose(errors, detector.error_maps(DIGIT[None])[0], atol=1e-6)
    assert decode_pictures(ask("detector/map", format="png").content, "answer")[0].values.shape == (8, 8, 3)
    near = ask("retriever/search", n=3).json()["images"][0]["neighbours"]
    distances, rows = own["retriever"].kneighbors(DIGIT[None], 3)
    assert [one["name"] for one in near] == [str(row) for row in rows[0]]
    assert np.allclose([one["distance"] for one in near], distances[0], atol=1e-6)
    assert len(ask("retriever/search", n=1000).json()["images"][0]["neighbours"]) == 200
    assert ask("compressor/compress").content == own["compressor"].compress(DIGIT[None])
    codes = ask("denoiser/encode").json()["codes"]
    assert np.allclose(codes, own["denoiser"].encode(DIGIT[None]), atol=1e-5)
    assert decode_npy(ask("photos/encode", format="npy").content, "answer").shape == (1, 8)
    photo = noise(30, 50)
    blob = ask("photo-codec/compress", encode_image(photo), quality=80).content
    assert blob == own["photo-codec"].compress(photo, quality=80)
    row = np.full((2, 5), 9.0)
    scores = [fact["score"] for fact in ask("table/detect", encode_npy(row)).json()["images"]]
    assert scores == (-own["table"].decision_function(row)).tolist()


def test_exported_models_are_served_as_they_were(models: dict[str, str], own: dict[str, Any], tmp_path: Path) -> None:
    paths = {}
    for name in ("denoiser", "detector"):  # for speed; test_onnx exports every network
        paths[name] = str(tmp_path / f"{name}.onnx")
        hg.export_onnx(own[name], paths[name])
    with served(paths) as exported, served(one(models, *paths)) as trained:
        for path, body in {
            "denoiser/denoise?format=npy": encode_image(noise(21, 30, 3)),
            "detector/map": encode_image(DIGIT),
        }.items():
            there, here = (client.post(f"/models/{path}", content=body) for client in (exported, trained))
            assert there.status_code == here.status_code == 200, there.text
            theirs, ours = (decode_npy(answer.content, "answer") for answer in (there, here))
            assert np.allclose(theirs, ours, atol=1e-4), path
        facts = [client.post("/models/detector/detect", content=encode_image(DIGIT)).json() for client in (exported, trained)]
        first, second = ([*_numbers(fact)] for fact in facts)
        assert np.allclose(first, second, rtol=1e-3, atol=1e-3)
        assert exported.post("/models/detector/map?format=png", content=encode_image(DIGIT)).status_code == 200
        refused = exported.post("/models/denoiser/denoise?strength=0.3", content=encode_image(DIGIT))
        assert (refused.status_code, "strength: extra inputs" in refused.text) == (400, True)
        before = exported.get("/models").json()["denoiser"]["version"]
        hg.export_onnx(own["denoiser"], paths["denoiser"], dtype="uint8")
        waits_for(lambda: exported.get("/models").json()["denoiser"]["version"] != before)
        resized = encode_image(noise(21, 30, 3))  # floats, in between, of which the file takes none
        answers = [client.post("/models/denoiser/denoise?format=npy", content=resized) for client in (exported, trained)]
        theirs, ours = (decode_npy(answer.content, "answer") for answer in answers)
        assert np.allclose(theirs, ours, atol=0.02)
    hg.export_onnx(own["compressor"], paths["denoiser"])
    with pytest.raises(hg.HourglassError, match="no use that can be served"):
        create_service(Settings(one(paths, "denoiser"), quiet=True))


def waits_for(is_so: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def _numbers(answer: Any) -> Iterator[float]:
    """The numbers in an answer, in order."""
    if isinstance(answer, dict | list):
        for part in answer.values() if isinstance(answer, dict) else answer:
            yield from _numbers(part)
    elif isinstance(answer, int | float):
        yield answer


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (noise(21, 30), "PNG"),
        (noise(21, 30, 3), "PNG"),
        (np.dstack([noise(21, 30, 3), np.full((21, 30), 255, np.uint8)]), "PNG"),
        (noise(21, 30, 3), "WEBP"),
        (noise(21, 30), "TIFF"),
        (noise(21, 30), "BMP"),
        ((noise(21, 30).astype(np.uint16) * 16), "PNG"),
        ((noise(21, 30).astype(np.uint16) * 16), "TIFF"),
        ((noise(21, 30) / np.float32(255)), "TIFF"),
    ],
)
def test_images_come_back_in_their_own_size_depth_colour_and_format(
    client: TestClient, own: dict[str, Any], image: np.ndarray, kind: str
) -> None:
    body = saved(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    response = client.post("/models/photos/denoise", content=body)
    assert response.status_code == 200, response.text
    (given,), (answer,) = decode_pictures(body, "given"), decode_pictures(response.content, "answer")
    assert (answer.format, answer.mode, answer.depth) == (given.format, given.mode, given.depth)
    assert answer.values.shape == given.values.shape
    white = {"uint8": 255, "uint16": 4095, "float32": 1}[given.depth]
    wanted = own["photos"].transform_image(given.values / np.float32(white)) * white
    assert np.abs(answer.values - wanted).max() <= (1e-5 if given.depth == "float32" else 1.01)
    if given.depth == "uint16":
        assert "white level 4095" in json.loads(response.headers["x-hourglass-notes"])[0]
        assert "x-hourglass-notes" not in client.post("/models/photos/denoise", content=body, params={"white": 4095}).headers


def test_pages_and_arrays_of_several_images_come_back_together(client: TestClient, own: dict[str, Any]) -> None:
    stack = io.BytesIO()
    pages = [Image.fromarray(noise(12 + 4 * seed, 16, seed=seed)) for seed in range(3)]
    pages[0].save(stack, "TIFF", save_all=True, append_images=pages[1:])
    answer = client.post("/models/photos/denoise", content=stack.getvalue())
    assert [page.values.shape for page in decode_pictures(answer.content, "answer")] == [(12, 16), (16, 16), (20, 16)]
    assert len(client.post("/models/photos/encode", content=stack.getvalue(), params={"pages": "first"}).json()["codes"]) == 1
    frames = [Image.fromarray(noise(1, 1 + number % 2, seed=number)) for number in range(300)]
    many = io.BytesIO()
    frames[0].save(many, "TIFF", save_all=True, append_images=frames[1:])
    refused = client.post("/models/photos/encode", content=many.getvalue())
    assert (refused.status_code, "limit is 256" in refused.json()["error"]) == (413, True)
    for shape in ((8, 8), (3, 8, 8)):
        images = noise(*shape)
        answer = client.post("/models/denoiser/denoise", content=encode_npy(images))
        assert np.allclose(decode_npy(answer.content, "x"), own["denoiser"].transform(images.reshape(-1, 8, 8)).reshape(shape))


def test_regions_are_in_pixels_of_the_image_that_came(client: TestClient) -> None:
    small, large = (
        client.post("/models/detector/detect", content=encode_image(image)).json()["images"][0]["regions"][0]
        for image in (DIGIT, DIGIT.repeat(4, 0).repeat(4, 1))
    )
    assert max(small["left"] + small["width"], small["top"] + small["height"]) <= 8
    assert 8 < max(large["left"] + large["width"], large["top"] + large["height"]) <= 32


@pytest.mark.parametrize(
    ("shape", "sample", "block", "is_single"),
    [
        ((8, 8), Sample((8, 8)), (1, 8, 8), True),
        ((5, 8, 8), Sample((8, 8)), (5, 8, 8), False),
        ((9, 9, 3), Sample((8, 8)), (1, 9, 9, 3), True),
        ((8, 8, 3), Sample((8, 8, 3)), (1, 8, 8, 3), True),
        ((8, 8, 7), Sample((None, None, 7)), (1, 8, 8, 7), True),
        ((5, 40, 60), Sample((None, None)), (5, 40, 60), False),
        ((2, 8, 8, 3), Sample((None, None, 3)), (2, 8, 8, 3), False),
        ((5,), Sample((5,)), (1, 5), True),
    ],
)
def test_arrays_are_one_image_or_several(shape: tuple, sample: Sample, block: tuple, is_single: bool) -> None:
    made, single = as_block(np.zeros(shape, np.uint8), sample)
    assert made.shape == block
    assert single is is_single


def test_every_example_of_the_description_works(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    examples = [one["source"] for methods in paths.values() for one in methods.get("post", {}).get("x-codeSamples", ())]
    assert len(examples) == 17
    for source in examples:
        fetch, send = (shlex.split(line) for line in source.splitlines())
        assert fetch[2].startswith("ADDRESS/")
        body = client.get(fetch[2].removeprefix("ADDRESS"))
        assert body.status_code == 200
        assert client.post(send[2].removeprefix("ADDRESS"), content=body.content).status_code == 200, source


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    found = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(found) == 3
    assert all(client.get(path).status_code == 200 for path in found)
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)


@pytest.mark.browser
def test_the_page_tries_every_use(browser: Browser, models: dict[str, str]) -> None:
    address = listen("127.0.0.1", 0)
    service = create_service(Settings(one(models, "detector", "photos"), hosts=address.hosts, quiet=True))
    server = uvicorn.Server(uvicorn.Config(service, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [address.listener]})
    thread.start()
    page = browser.new_page()
    try:
        page.goto(address.url)
        page.wait_for_selector("section")
        sections = page.locator("section").all()
        assert len(sections) == 5
        for section in sections:
            section.locator("button").click()
            section.locator(".answer a, .answer pre").first.wait_for()
        sections[-2].locator("input[name=strength]").fill("7")
        sections[-2].locator("button").click()
        page.wait_for_selector("text=400: strength")
    finally:
        page.close()
        server.should_exit = True
        thread.join()


def test_figures_and_states_are_told(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/models").json()["photos"]["uses"] == ["denoise", "encode"]
    client.post("/models/photos/denoise", content=b"no image")
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    statuses = {
        sample.labels["status"] for sample in families["hourglass_requests"].samples if sample.labels.get("model") == "photos"
    }
    assert "400" in statuses
    assert "hourglass_model_seconds" in families
    assert "hourglass_batch_images" in families


# --- requests together ---------------------------------------------------------------------------------------------------


def test_images_that_wait_go_into_one_call_and_the_bad_ones_fail_alone() -> None:
    calls: list[int] = []
    begun, may_go = threading.Event(), threading.Event()

    def run(images: np.ndarray) -> Any:
        begun.set()
        assert may_go.wait(5)
        calls.append(len(images))
        if images.min() < 0:
            raise hg.DataError("below 0.")
        return images.sum((1, 2))

    async def ask_all() -> list[Any]:
        batcher = Batcher(8, lambda *_: None)
        use, other = Use("", run, "codes"), Use("", run, "codes", joins=False)
        later = time.monotonic() + 20

        def ask(image: np.ndarray, asked: Use = use, deadline: float = later) -> Any:
            return asyncio.ensure_future(batcher.ask(("m", "u"), asked, image[None], {}, deadline))

        first = ask(np.zeros((2, 2)))
        await asyncio.to_thread(begun.wait, 5)
        waiting = [ask(np.full((2, 2), value)) for value in range(10)] + [
            ask(np.full((3, 3), 1)),
            ask(np.full((2, 2), 3), other),
        ]
        late = ask(np.zeros((2, 2)), deadline=time.monotonic() + 0.05)
        with pytest.raises(TimeoutError):
            await late
        may_go.set()
        assert (await first).results.tolist() == [0]
        sums = [result.results.tolist()[0] for result in await asyncio.gather(*waiting)]
        assert sums == [*range(0, 40, 4), 9, 12]
        assert sorted(calls) == [1, 1, 1, 2, 8]
        may_go.clear()
        begun.clear()
        batcher._costs.clear()  # else the event loop makes the call, and waits
        held = ask(np.zeros((2, 2)))
        await asyncio.to_thread(begun.wait, 5)
        mixed = [ask(np.full((2, 2), value)) for value in (1, -1, 2)]
        may_go.set()
        await held
        results = await asyncio.gather(*mixed, return_exceptions=True)
        await batcher.close()
        return results

    with start_blocking_portal() as portal:  # a browser's test before this one leaves an event loop running here
        good, bad, other = portal.call(ask_all)
    assert good.results.tolist() == [4]
    assert isinstance(bad, hg.DataError)
    assert other.results.tolist() == [8]


def test_quick_calls_are_made_by_the_event_loop_and_others_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_QUICK", 0.3)
    threads: list[bool] = []

    def run(images: np.ndarray) -> Any:
        threads.append(threading.current_thread().name.startswith("hourglass-model"))
        time.sleep(0.35 if images.size > 4 else 0)
        if images.max() > 0:
            raise hg.DataError("above 0.")
        return images.sum((1, 2))

    async def ask_all() -> None:
        batcher = Batcher(8, lambda *_: None)
        use, later = Use("", run, "codes"), time.monotonic() + 20
        for size in (2, 2, 4, 4, 2, 2):
            await batcher.ask(("m", "u"), use, np.zeros((1, size, size)), {}, later)
        together = [batcher.ask(("m", "u"), use, np.full((1, 2, 2), value), {}, later) for value in (0.0, 1.0, 0.0)]
        answers = await asyncio.gather(*together, return_exceptions=True)
        assert [type(answer) for answer in answers] == [batching.Result, hg.DataError, batching.Result]
        last = asyncio.ensure_future(batcher.ask(("m", "u"), use, np.zeros((1, 4, 4)), {}, later))
        await asyncio.sleep(0.05)
        await batcher.close()  # answers what was asked
        assert (await last).results == [0]

    with start_blocking_portal() as portal:
        portal.call(ask_all)
    # In a thread: the first of a size, and long ones. Three that were joined fail, then each is asked alone; after a failure a
    # call is in a thread.
    assert threads == [True, False, True, True, True, False, *(False, True, False, True), True]


def test_many_at_once_get_each_their_own_answer(client: TestClient, own: dict[str, Any]) -> None:
    images = [noise(8, 8, seed=seed) for seed in range(40)]
    wanted = to_uint8(own["denoiser"].transform(np.stack(images)))

    def ask(number: int) -> bool:
        if number % 4 == 3:
            bad = client.post("/models/denoiser/denoise", content=encode_npy(images[number] * -1.0))
            return bad.status_code == 400
        answer = client.post("/models/denoiser/denoise", content=encode_image(images[number]))
        difference = decode_pictures(answer.content, "x")[0].values.astype(int) - wanted[number]
        return answer.status_code == 200 and np.abs(difference).max() <= 1  # batches round in another order

    with ThreadPoolExecutor(10) as threads:
        assert all(threads.map(ask, range(40)))


# --- what it refuses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("denoiser/denoise", b"", "no body"),
        ("denoiser/denoise", b"no image", "not a readable image"),
        ("denoiser/denoise", encode_image(DIGIT)[:50], "not a readable image"),
        ("denoiser/denoise", b"\x93NUMPY" + bytes(30), "not a readable npy"),
        ("denoiser/denoise", encode_npy(DIGIT)[:-9], "truncated"),
        ("denoiser/denoise", encode_npy(DIGIT * 2.0), "allowed"),
        ("denoiser/denoise", encode_npy(np.zeros((0, 8, 8))), "nothing"),
        ("denoiser/denoise", encode_npy(np.zeros(3)), "allowed: (h, w)"),
        ("denoiser/encode", encode_npy(noise(9, 9)), "fitted on"),
        ("denoiser/denoise?strength=2", encode_image(DIGIT), "strength"),
        ("denoiser/denoise?strenght=0.1", encode_image(DIGIT), "strenght"),
        ("denoiser/denoise?format=png", encode_npy(DIGIT), "answered with an array"),
        ("retriever/search?n=0", encode_image(DIGIT), "n:"),
        ("table/detect", encode_image(DIGIT), "rows of numbers"),
        ("table/detect", encode_npy(np.full((1, 5), np.nan)), "NaN"),
        ("photo-codec/compress", encode_npy(noise(2, 20, 20)), "one at a time"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_bad_requests_get_one_sentence(client: TestClient, path: str, body: bytes, words: str) -> None:
    answer = client.post(f"/models/{path}", content=body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    for path in ("/models/none/denoise", "/models/photos/detect", "/docs", "/static/../app.py"):
        assert client.post(path, content=b"x").status_code in (404, 405), path
    assert client.get("/models/photos/denoise").status_code == 405
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/health", headers={"origin": "http://evil.example"}).status_code == 403


def test_size_is_limited_before_it_costs(models: dict[str, str]) -> None:
    with served(one(models, "photos"), limits=Limits(body=20_000, pixels=10_000)) as client:
        bomb = saved(np.zeros((1000, 1000), np.uint8), "PNG")
        assert len(bomb) < 20_000
        for body in (bomb, encode_npy(np.zeros((101, 100), np.uint8))):
            answer = client.post("/models/photos/denoise", content=body)
            assert answer.status_code == 413
            assert "10,000" in answer.json()["error"]
        assert client.post("/models/photos/denoise", content=bytes(20_001)).status_code == 413
        pieces = (bytes(1000) for _ in range(30))
        assert client.post("/models/photos/denoise", content=pieces).status_code == 413
        assert client.post("/models/photos/denoise", content=encode_image(noise(9, 9))).status_code == 200


def test_a_full_queue_says_when_to_come_again(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    held, may_go = threading.Event(), threading.Event()
    call = Batcher._call

    def slow(self: Batcher, batch: Any) -> Any:
        held.set()
        may_go.wait(10)
        return call(self, batch)

    monkeypatch.setattr(Batcher, "_call", slow)
    with served(one(models, "denoiser"), limits=Limits(queue=2)) as client, ThreadPoolExecutor(4) as threads:
        body = encode_image(DIGIT)
        sent = [threads.submit(client.post, "/models/denoiser/denoise", content=body) for _ in range(4)]
        assert held.wait(10)
        refused, _ = wait(sent, timeout=10, return_when=FIRST_COMPLETED)  # two at most have a place
        answer = refused.pop().result()
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "Try again in" in answer.json()["error"]
        assert client.get("/ready").status_code == 200
        may_go.set()
        assert {one.result().status_code for one in sent} == {200, 429}
        assert client.post("/models/denoiser/denoise", content=body).status_code == 200


def test_bytes_under_way_are_limited_together_and_a_stopping_server_takes_none() -> None:
    admission = Admission(Limits(memory=100, queue=5))
    with admission.place(150):  # alone, whatever it needs
        with pytest.raises(HTTPException) as refused, admission.place(1):
            pass
        assert refused.value.status_code == 429
    assert (admission.requests, admission.bytes) == (0, 0)
    with admission.place(10) as place:
        place.grow(85)
        with admission.place(5), pytest.raises(HTTPException), admission.place(1):
            pass
    admission.took(10.0, 1)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(admission.place(1))
        with pytest.raises(HTTPException) as refused, admission.place(1):
            pass
        assert 1 < int((refused.value.headers or {})["Retry-After"]) <= 60  # as long as those under way take
    admission.is_closed = True
    with pytest.raises(HTTPException) as refused, admission.place(1):
        pass
    assert refused.value.status_code == 503


def test_time_is_limited(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    call = Batcher._call

    def late(self: Batcher, batch: Any) -> Any:
        time.sleep(0.6)
        return call(self, batch)

    monkeypatch.setattr(Batcher, "_call", late)
    service = create_service(Settings(one(models, "denoiser"), limits=Limits(seconds=0.3)))
    with TestClient(service, base_url=ADDRESS) as client:
        answer = client.post("/models/denoiser/denoise", content=encode_image(DIGIT))
        assert answer.status_code == 503
        assert "0.3 seconds" in answer.json()["error"]
        assert "retry-after" in answer.headers

    async def dawdle() -> list[MutableMapping[str, Any]]:
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> dict:
            await asyncio.sleep(5)
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        path = "/models/denoiser/denoise"
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        scope |= {"headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http"}
        await create_service(Settings(one(models, "denoiser"), limits=Limits(seconds=0.3)))(scope, receive, send)
        return sent

    with start_blocking_portal() as portal:
        assert portal.call(dawdle)[0]["status"] == 408


def test_a_token_is_asked_for(models: dict[str, str], tmp_path: Path) -> None:
    with served(one(models, "denoiser"), token="secret-word") as client:
        for path in ("/health", "/ready", "/", "/openapi.json", "/static/service.js"):
            assert client.get(path).status_code == 200, path
        assert client.get("/openapi.json").json()["paths"]["/models/denoiser/denoise"]["post"]["security"] == [{"bearer": []}]
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
        for path in ("/metrics", "/models", "/models/denoiser/example"):
            assert client.get(path).status_code == 401, path
            assert client.get(path, headers={"authorization": "Bearer secret-word"}).status_code == 200
        for given in (
            "Bearer secret-wor",
            "Bearer secret-word2",
            "Basic secret-word",
            "secret-word",
            "Bearer",
            "Bearer ümlaut",
        ):
            answer = client.post("/models/denoiser/denoise", content=b"x", headers={b"authorization": given.encode()})
            assert answer.status_code == 401, given
            assert answer.headers["www-authenticate"] == "Bearer"
    (tmp_path / "token").write_text("from-a-file\n")
    assert token_of(tmp_path / "token", "other") == "from-a-file"
    assert token_of(None, "other") == "other"
    assert token_of(None, None) is None
    (tmp_path / "empty").write_text("\n")
    for wrong in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(hg.ParameterError, match="token"):
            token_of(wrong, "other")


def test_unexpected_errors_are_logged_with_their_trace_and_not_told(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("inside")

    with served(one(models, "denoiser")) as client:
        monkeypatch.setattr("hourglass.web.service.content.read", broken)
        answer = client.post("/models/denoiser/denoise", content=b"x", headers={"x-request-id": "mine-1"})
    assert answer.status_code == 500
    assert "mine-1" in answer.json()["error"]
    assert "inside" not in answer.text
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [line for line in lines if line["event"] == "error"]
    assert "KeyError" in error["trace"]
    assert error["id"] == "mine-1"
    (request,) = [line for line in lines if line["event"] == "request"]
    assert (request["status"], request["model"], request["use"]) == (500, "denoiser", "denoise")


def test_models_are_named_by_their_folders(tmp_path: Path) -> None:
    assert named(("a/photos.hg", "new=b/photos.hg")) == {"photos": "a/photos.hg", "new": "b/photos.hg"}
    for wrong in (("a/photos.hg", "b/photos.hg"), ("a/two words.hg",)):
        with pytest.raises(hg.ParameterError, match="NAME="):
            named(wrong)


# --- models that change --------------------------------------------------------------------------------------------------


def test_a_model_that_is_saved_anew_is_served_and_a_broken_one_is_not(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hourglass.web.service.models._PAUSE", 0.05)
    path = tmp_path / "m.hg"
    old = hg.load_model(models["denoiser"])
    old.save(path)
    new = hg.Denoiser(epochs=1, random_state=7).fit(hg.load("digits").train.images[:100])
    answers = {name: to_uint8(model.transform(DIGIT[None])[0]) for name, model in (("old", old), ("new", new))}

    def now(client: TestClient) -> str:
        answer = client.post("/models/m/denoise", content=encode_image(DIGIT))
        assert answer.status_code == 200
        values = decode_pictures(answer.content, "x")[0].values
        (which,) = [name for name, wanted in answers.items() if np.array_equal(values, wanted)]
        return which

    def waits(client: TestClient, words: str) -> None:
        deadline = time.monotonic() + 20
        while words not in (log := capsys.readouterr().out):
            assert now(client) in answers
            assert time.monotonic() < deadline, log
            time.sleep(0.02)

    with served({"m": str(path)}) as client:
        assert now(client) == "old"
        capsys.readouterr()
        new.save(path)
        waits(client, "model loaded")
        assert now(client) == "new"
        hg.Autoencoder(2, epochs=1).fit(hg.load("digits").train.images[:50]).save(path)
        waits(client, "start the server anew")
        (path / "config.json").write_text("{}")
        waits(client, "damaged")
        assert now(client) == "new"
        loads = [
            sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
            if sample.name == "hourglass_model_loads_total" and sample.labels["outcome"] == "failed"
        ]
        assert loads == [2]


# --- processes -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, list[dict[str, Any]]]]:
    """(the verb in a process of its own, its address, the events of its log so far)"""
    command = [sys.executable, "-m", "hourglass", "serve", *map(str, arguments), "--port", "0"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    events: list[dict[str, Any]] = []

    def listen() -> None:
        assert running.stdout is not None
        for line in running.stdout:
            events.append(json.loads(line))  # noqa: PERF401  # seen while it runs

    try:
        assert running.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", running.stderr.readline())
        assert found
        listening = threading.Thread(target=listen)
        listening.start()
        yield running, found[0], events
        running.kill()
        listening.join()
    finally:
        running.kill()
        running.communicate()


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_worker_loses_only_what_it_had_and_a_stop_loses_nothing(models: dict[str, str]) -> None:
    body = encode_image(noise(150, 150))
    with httpx2.Client(timeout=60) as http, process(models["photos"], "--workers", 2) as (running, address, events):
        until(lambda: sum(event["event"] == "ready" for event in events) == 2)
        pids = {event["worker"] for event in events if event["event"] == "ready"}
        outcomes: list[tuple[str, int]] = []

        def ask(_: int) -> None:
            try:
                answer = http.post(f"{address}models/photos/denoise", content=body)
                outcomes.append(("answered", answer.status_code))
            except httpx2.TransportError:
                outcomes.append(("lost", 0))

        with ThreadPoolExecutor(8) as threads:
            asked = threads.map(ask, range(40))
            until(lambda: len(outcomes) > 10)
            os.kill(pids.pop(), signal.SIGKILL)
            list(asked)
        assert {status for outcome, status in outcomes if outcome == "answered"} == {200}
        assert sum(outcome == "lost" for outcome, _ in outcomes) <= 8  # those it was answering
        until(lambda: sum(event["event"] == "ready" for event in events) == 3)
        total = 0.0
        for family in text_string_to_metric_families(http.get(f"{address}metrics").text):
            total += sum(
                sample.value
                for sample in family.samples
                if sample.name == "hourglass_requests_total" and sample.labels["use"] == "denoise"
            )
        assert total == sum(outcome == "answered" for outcome, _ in outcomes)  # of all workers, the dead one too
        with ThreadPoolExecutor(4) as threads:
            outcomes.clear()
            asked = threads.map(ask, range(4))
            time.sleep(0.1)
            running.send_signal(signal.SIGTERM)
            list(asked)
        assert running.wait(30) == 0
        assert not [status for outcome, status in outcomes if outcome == "answered" and status != 200]
        port = int(address.rsplit(":", 1)[1].strip("/"))
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))  # nobody listens any more


def test_the_verb_stops_when_asked_and_says_what_is_wrong(models: dict[str, str], run, tmp_path: Path) -> None:
    with process(models["denoiser"], "--quiet") as (running, address, events):
        assert httpx2.get(f"{address}ready", timeout=60).status_code == 200
        port = address.rsplit(":", 1)[1].strip("/")
        with socket.create_connection(("127.0.0.1", int(port)), timeout=30) as long:
            long.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nX: " + 200_000 * b"x")  # never ends
            assert long.recv(100).startswith(b"HTTP/1.1 400")
        code, _, err = run("serve", models["denoiser"], "--port", port)
        assert code == 2
        assert "choose another --port" in err
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        told = ["worker started", "model loaded", "ready", "server", "stopped"]  # the server: of an invalid request
        until(lambda: [event["event"] for event in events] == told)
    for arguments, words in (
        ([tmp_path / "none.hg"], "no such model"),
        ([tmp_path], "a worker cannot start"),
        ([models["denoiser"], models["denoiser"]], "NAME="),
        ([models["denoiser"], "--token-file", tmp_path / "none"], "cannot be read"),
    ):
        code, _, err = run("serve", *arguments, "--port", 0)
        assert code == 2, arguments
        assert words in err


# --- the description -----------------------------------------------------------------------------------------------------

_SCHEMA_SERVICE: list[Any] = []


async def _schema_app(scope: Any, receive: Any, send: Any) -> None:
    """The service, which is made with the first request, and not stopped after each."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    if not _SCHEMA_SERVICE:
        folder = Path(tempfile.mkdtemp())
        images = hg.load("digits").train.images[:100]
        hg.Denoiser(epochs=1, random_state=0).fit(images).save(folder / "d.hg")
        hg.Retriever(2, epochs=1, random_state=0).fit(images).save(folder / "r.hg")
        paths = {"d": str(folder / "d.hg"), "r": str(folder / "r.hg")}
        _SCHEMA_SERVICE.append(create_service(Settings(paths, hosts=("testserver", "localhost", "127.0.0.1"), quiet=True)))
    await _SCHEMA_SERVICE[0](scope, receive, send)


schema = schemathesis.openapi.from_asgi("/openapi.json", _schema_app)


@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_answers_are_those_that_the_description_names(case: schemathesis.Case) -> None:
    response = case.call()
    assert response.status_code < 500
    documented = case.operation.definition.raw["responses"]
    assert str(response.status_code) in documented or response.status_code in (405, 422)
    assert response.status_code == 200 or list(response.json()) == ["error"]
