"""Measure the explorer in headless Chromium: `python tools/explorer.py [--data mnist] [-o docs/results]`.

Trains the models that it shows, serves each to a browser on this machine, and writes explorer.json and explorer.md: how soon
the page can be used, how long a move of the pointer takes to new pixels, what a burst of moves leaves behind, whom the
page asks, and how far its own decoder is from torch's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks/

import click
import numpy as np
import torch
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

import hourglass as hg
from benchmarks.matrix import matrix_rates
from benchmarks.provenance import processor
from hourglass.data import Split
from hourglass.web import Scene, export_page
from hourglass.web.server import serve

CHROMIUM = os.environ.get("HOURGLASS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
N_MOVES, BURST, ROUNDS = 300, 300, 3
SIZE: ViewportSize = {"width": 1360, "height": 860}
BARS = {"usable_s": 2.0, "median_ms": 16.0, "p95_ms": 33.0, "left_over": 0, "other_hosts": 0, "difference": 1e-5}

# Notes for each picture how long ago the move was that it answers, and when the frame was over after it.
_LISTEN = """() => {
  window.moves = []; window.frames = [];
  let event = 0, answered = 0;
  const note = ({ timeStamp }) => { event = answered = timeStamp; };
  for (const kind of ["pointerrawupdate", "pointermove"]) window.addEventListener(kind, note, true);
  const [paint, decode] = [explorer.paint.bind(explorer), explorer.source.decode.bind(explorer.source)];
  explorer.source.decode = async (codes) => {
    const asked = event;
    const made = await decode(codes);
    answered = asked;
    return made;
  };
  explorer.paint = (pixels) => {
    paint(pixels);
    const since = answered;
    window.moves.push(performance.now() - since);
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.frames.push(performance.now() - since);
      channel.port2.postMessage(0);
    });
  };
}"""


@contextlib.contextmanager
def served(scene: Scene) -> Iterator[str]:
    """The address of a server of `scene` in a thread, which ends with the process."""
    ready, address = threading.Event(), []

    def tell(where: str) -> None:
        address.append(where)
        ready.set()

    threading.Thread(target=serve, args=(scene, "127.0.0.1", 0, tell), daemon=True).start()
    ready.wait(30)
    yield address[0]


def measure(browser: Browser, model: Any, split: Split, title: str) -> dict[str, Any]:
    """One model's figures."""
    began = time.perf_counter()
    scene = Scene(model, split, title)
    with served(scene) as address:
        page = browser.new_page(viewport=SIZE)
        asked: list[str] = []
        answered: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfinished", lambda request: answered.append(request.url))
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        usable = time.perf_counter() - began
        page.wait_for_timeout(3000)  # until the grid is paved
        is_local = page.evaluate("explorer.source.decoder !== null")
        figures = {"usable_s": usable, "decodes": "the page" if is_local else "the server", **_moves(page)}
        figures["burst_requests"], figures["left_over"] = _burst(page, asked, answered)
        figures["other_hosts"] = len([url for url in asked if not url.startswith((address, "data:", "blob:"))])
        if is_local:
            figures["difference"], figures["decode_ms"] = _difference(page, model, scene)
        page.close()
    return figures


def _moves(page: Page) -> dict[str, Any]:
    page.evaluate(_LISTEN)
    box = page.locator("#overlay").bounding_box()
    assert box is not None
    for step in range(N_MOVES):
        angle = step / 25
        page.mouse.move(
            box["x"] + box["width"] * (0.5 + 0.4 * np.cos(angle)), box["y"] + box["height"] * (0.5 + 0.4 * np.sin(1.3 * angle))
        )
        page.wait_for_timeout(16)
    page.wait_for_timeout(500)
    moves = sorted(page.evaluate("window.moves"))
    frames = sorted(page.evaluate("window.frames"))
    return {
        **{"moves": len(moves), "median_ms": statistics.median(moves), "p95_ms": moves[int(0.95 * len(moves))]},
        **{"frame_median_ms": statistics.median(frames), "frame_p95_ms": frames[int(0.95 * len(frames))]},
    }


def _burst(page: Page, asked: list[str], answered: list[str]) -> tuple[int, int]:
    """(requests that a burst of moves led to, those that are not answered, or not even begun, half a second after its end)"""
    before = len(asked)
    page.evaluate(
        """(n) => {
          const overlay = document.getElementById("overlay");
          const { width, height } = overlay.getBoundingClientRect();
          for (let i = 0; i < n; i += 1) {
            const [x, y] = [width * Math.random(), height * Math.random()];
            overlay.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y + 60, bubbles: true }));
          }
        }""",
        BURST,
    )
    page.wait_for_timeout(500)
    during, open_still = len(asked), len(asked) - len(answered)
    page.wait_for_timeout(1500)
    return during - before, open_still + len(asked) - during


def _difference(page: Page, model: Any, scene: Scene) -> tuple[float, float]:
    """(largest difference of the page's decoder from torch's, milliseconds that it takes for one code)"""
    codes = scene.codes[:: max(1, len(scene.codes) // 200)][:200]
    with torch.inference_mode():
        wanted = model.decoder_(torch.from_numpy(codes)).numpy().reshape(-1)
    made, milliseconds = page.evaluate(
        """(codes) => {
          const { decoder } = explorer.source;
          const made = decoder.run(Float32Array.from(codes));
          const one = Float32Array.from(codes.slice(0, decoder.inputSize));
          const began = performance.now();
          for (let i = 0; i < 50; i += 1) decoder.run(one);
          return [Array.from(made), (performance.now() - began) / 50];
        }""",
        codes.reshape(-1).tolist(),
    )
    return float(np.abs(np.array(made) - wanted).max()), milliseconds


COLUMNS: dict[str, tuple[str, str]] = {
    "usable_s": ("usable after", ".2f s"),
    "median_ms": ("move to new pixels, median", ".1f ms"),
    "p95_ms": ("95 %", ".1f ms"),
    "frame_median_ms": ("to the end of the frame, median", ".1f ms"),
    "frame_p95_ms": ("95 %", ".1f ms"),
    "decode_ms": ("one decode", ".2f ms"),
    "burst_requests": (f"requests of {BURST} moves at once", ".0f"),
    "left_over": ("left over", ".0f"),
    "other_hosts": ("to other hosts", ".0f"),
    "difference": ("from torch", ".1e"),
}


def to_markdown(content: dict[str, Any]) -> str:
    """The page."""

    def cell(values: list[float], form: str) -> str:
        digits, _, unit = form.partition(" ")
        told = [f"{value:{digits}}" for value in (statistics.median(values), min(values), max(values))]
        spread = "" if told[1] == told[2] else f" ({told[1]} – {told[2]})"
        return f"{told[0]} {unit}".strip() + spread

    def line(name: str, rounds: list[dict[str, Any]]) -> str:
        cells = [
            cell([values[key] for values in rounds], form) if key in rounds[0] else "" for key, (_, form) in COLUMNS.items()
        ]
        return f"| {name} | {rounds[0].get('decodes', '')} | {' | '.join(cells)} |"

    pages = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in content["pages"].items())
    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in content["matrix"].items())
    return "\n".join(
        [
            "# The explorer, measured",
            "",
            f"`python tools/explorer.py --data {content['data']} -o docs/results` on {content['machine']} (matrix rate:",
            f"{rates}); Chromium {content['browser']}, headless, without a GPU, {SIZE['width']}×{SIZE['height']};",
            f"{content['n_images']:,} points. Medians of {ROUNDS} rounds, least and most in brackets.",
            "",
            f"| model | decoded by | {' | '.join(heading for heading, _ in COLUMNS.values())} |",
            f"| --- | --- |{' ---: |' * len(COLUMNS)}",
            *(line(name, rounds) for name, rounds in content["models"].items()),
            line("bar: at most", [BARS]),
            "",
            "Usable: from the loaded model on, so with encoding all images, starting the server and drawing all points.",
            "A move's time is from the event's time stamp to the picture on its canvas; the frame's end comes when all layers",
            "are drawn, and most of that is waiting for it. A network that the page cannot run is decoded by the server.",
            "Left over: requests that half a second after the burst were not answered, or began only then.",
            "",
            "Not reached: *usable within 2 s* for `skip`, and by some rounds for `conv`: encoding 70,000 images takes most of",
            "it. Smaller batches, which stay in the cache, shortened that, and the server and the page start",
            "meanwhile; `--most N` shows fewer images.",
            "",
            f"One page without a server (`--export`), {content['n_exported']:,} test images: {pages} (bar: 12 MB).",
            "",
        ]
    )


def photograph(browser: Browser, model: Any, split: Split, title: str, folder: Path) -> None:
    """The two pictures of the README: a desk's width in light, a phone's in dark."""
    with served(Scene(model, split, title)) as address:
        for name, (width, height), is_dark in (("explorer", (1360, 860), False), ("explorer-phone", (390, 844), True)):
            size: ViewportSize = {"width": width, "height": height}
            page = browser.new_page(viewport=size, color_scheme="dark" if is_dark else "light")
            page.goto(address)
            page.wait_for_selector("html[data-ready]")
            page.wait_for_timeout(2500)
            box = page.locator("#overlay").bounding_box()
            assert box is not None
            page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.6 * box["height"])
            page.keyboard.press("Enter")  # the nearest image, where no point is
            page.wait_for_timeout(8000)
            page.screenshot(path=folder / f"{name}.png")
            page.close()


@click.command()
@click.option("--data", default="mnist", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("docs/results"), show_default=True)
@click.option("--pictures", type=click.Path(path_type=Path), default=Path("docs/images"), show_default=True)
def main(data: str, output: Path, pictures: Path) -> None:
    """Measure, and write explorer.json and explorer.md; and the README's pictures of the page."""
    dataset = hg.load(data)
    everything = Split(
        np.concatenate([dataset.train.images, dataset.test.images]),
        np.concatenate([dataset.train.known_labels, dataset.test.known_labels]),
    )
    images, labels = dataset.train.images, dataset.train.labels
    models = {
        "Autoencoder, 32 dimensions": hg.Autoencoder(random_state=0).fit(images),
        "Generator, 2 dimensions": hg.Generator(2, random_state=0).fit(images, labels),
        'Autoencoder, network="conv"': hg.Autoencoder(network="conv", epochs=1, random_state=0).fit(images),
        'Denoiser, network="skip"': hg.Denoiser(network="skip", epochs=1, random_state=0).fit(images[:10000]),
    }
    content: dict[str, Any] = {
        "data": data,
        "n_images": len(everything),
        "machine": f"{processor()}, {torch.get_num_threads()} threads",
        "matrix": {name: statistics.median(values) for name, values in matrix_rates(20).items()},
        "models": {},
        "pages": {},
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        content["browser"] = browser.version
        for name, model in models.items():
            content["models"][name] = [measure(browser, model, everything, data) for _ in range(ROUNDS)]
            click.echo(f"{name}: {content['models'][name]}", err=True)
        plane = hg.Autoencoder(2, preset="features", random_state=0).fit(images)  # as `hourglass explore` trains
        photograph(browser, plane, everything, data, pictures)
        browser.close()
    content["n_exported"] = len(dataset.test)
    for name, model in list(models.items())[:3]:
        page = output / ".page.html"
        content["pages"][name] = export_page(Scene(model, dataset.test, data), page)
        page.unlink()
    (output / "explorer.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (output / "explorer.md").write_text(to_markdown(content), encoding="utf-8")


if __name__ == "__main__":
    main()
