"""`hourglass compare`: which files are pairs, what is left out, and the page in a real browser."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hourglass as hg
from hourglass.data.files import write_image
from hourglass.evaluation import ImagePair, image_quality, most_different
from hourglass.evaluation.comparison import PairFigures
from hourglass.report import comparison, crop_sheet

RNG = np.random.default_rng(0)


def scene(height: int, width: int, *channels: int) -> np.ndarray:
    """A smooth image with structure everywhere, uint8."""
    y, x = np.mgrid[0:height, 0:width]
    phase = RNG.uniform(0, 6, channels)
    values = np.sin(x[..., None] / 7 + phase if channels else x / 7) + np.sin((y[..., None] if channels else y) / 5)
    return ((values + 2) * 60).astype(np.uint8)


def noisy(image: np.ndarray, deviation: float = 12) -> np.ndarray:
    return np.clip(image + RNG.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders: pairs of several kinds, files alone, sizes that differ, and a file that is no image."""
    first, second = tmp_path / "clean", tmp_path / "made"
    large, colour, small = scene(180, 190), scene(40, 60, 3), scene(28, 28)
    for folder, change in ((first, lambda image: image), (second, noisy)):
        write_image(folder / "large.png", change(large))
        write_image(folder / "below" / "colour.png", change(colour))
    write_image(first / "other.png", small)
    Image.fromarray(noisy(small)).save(second / "other.jpg", quality=95)
    write_image(first / "equal.png", small)
    write_image(second / "equal.png", small)
    write_image(first / "alone.png", small)
    write_image(first / "size.png", small)
    write_image(second / "size.png", scene(28, 29))
    write_image(first / "grey.png", scene(30, 30))
    write_image(second / "grey.png", np.repeat(scene(30, 30)[..., None], 3, axis=2))
    (first / "broken.png").write_bytes(b"no image")
    write_image(second / "broken.png", small)
    return first, second


def test_pairs_and_what_is_left_out(folders: tuple[Path, Path], run, tmp_path: Path) -> None:
    first, second = folders
    output = tmp_path / "out"
    code, out, err = run("compare", first, second, "-o", output, "--json")
    assert code == 0
    content = json.loads(out)
    rows = {row["name"]: row for row in content["images"]}
    assert list(rows) == ["below/colour", "equal", "grey", "large", "other"]
    read = {side: hg.load(side / "large.png").train.images[0] for side in folders}
    assert {key: rows["large"][key] for key in ("psnr", "ssim", "ms_ssim")} == image_quality(read[second], read[first])
    assert rows["large"]["ms_ssim"] is not None
    assert (rows["equal"]["psnr"], rows["equal"]["ssim"]) == (None, pytest.approx(1))
    finite = [row["psnr"] for row in rows.values() if row["psnr"] is not None]
    assert content["mean"]["psnr"] == pytest.approx(np.mean(finite))
    assert content["mean"]["ssim"] == pytest.approx(np.mean([row["ssim"] for row in rows.values()]))
    left_out = {Path(entry["path"]).name: entry["reason"] for entry in content["left_out"]}
    assert left_out["alone.png"] == "has no partner"
    assert left_out["size.png"] == "28×28 and 29×28 pixels cannot be compared."
    assert "not a readable image" in left_out["broken.png"]
    lines = err.splitlines()
    assert len(lines) == 3
    assert any("1 of 15 files have no partner" in line for line in lines)
    assert any("2 of 7 pairs cannot be compared" in line and "rejects.csv" in line for line in lines)
    assert any("three equal channels" in line for line in lines)
    with (output / "compare.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == list(rows)
    assert table[3]["psnr"] == f"{rows['large']['psnr']:.2f}"
    assert len((output / "rejects.csv").read_text(encoding="utf-8").splitlines()) == 4
    code, out, err = run("compare", first, second)
    assert code == 0
    assert "| mean of 5 |" in out
    assert "2 of 5 pairs are equal" in out
    assert "4 of 5 images are below 176 pixels" in out
    code, _, err = run("compare", first, second, "--strict")
    assert code == 2
    assert err.startswith(f"error: {first / 'broken.png'}")


def test_two_files_and_what_is_refused(folders: tuple[Path, Path], run, tmp_path: Path) -> None:
    first, second = folders
    code, out, err = run("compare", first / "large.png", second / "large.png", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)["images"]] == ["large.png"]
    assert run("compare", first / "large.png", second / "other.jpg")[0] == 2
    for arguments, words in (
        ((first, second / "large.png"), "two folders or two files"),
        ((first, tmp_path / "none"), "no such file or folder"),
        ((first, second, "-o", second), "names a folder that is compared"),
        ((first, first / "below"), "has a partner of the same name"),
        ((first / "size.png", second / "size.png"), "cannot be compared"),
        ((first, second, "--white", "-1"), "Invalid value for '--white'"),
    ):
        code, _, err = run("compare", *arguments)
        assert code == 2, arguments
        assert words in err
        assert err.count("\n") == 1


def test_an_output_inside_a_folder_is_not_compared_again(folders: tuple[Path, Path], run) -> None:
    first, second = folders
    for _ in range(2):
        code, out, _ = run("compare", first, second, "-o", second / "compared", "--json")
        assert code == 0
    assert not [entry for entry in json.loads(out)["left_out"] if "sheet" in entry["path"]]


def test_one_white_level_for_both_sides(run, tmp_path: Path) -> None:
    deep: np.ndarray = (scene(30, 30).astype(np.uint16) << 4) + 7  # 12 bits
    darker = deep // 2
    write_image(tmp_path / "a" / "x.png", deep)
    write_image(tmp_path / "b" / "x.png", darker)
    code, out, err = run("compare", tmp_path / "a", tmp_path / "b", "--json")
    assert code == 0
    assert "4095" in err
    wanted = -10 * np.log10(np.square((deep - darker.astype(float)) / 4095).mean())
    assert json.loads(out)["mean"]["psnr"] == pytest.approx(wanted, abs=1e-4)
    out = run("compare", tmp_path / "a", tmp_path / "b", "--json", "--white", 65535)[1]
    assert json.loads(out)["mean"]["psnr"] == pytest.approx(wanted + 20 * np.log10(65535 / 4095), abs=1e-4)
    Image.fromarray(deep.astype(np.float32) / 4095).save(tmp_path / "b" / "x.tif")
    (tmp_path / "b" / "x.png").unlink()
    out = run("compare", tmp_path / "a", tmp_path / "b", "--json")[1]  # floats in 0..1 beside 12 bits
    assert json.loads(out)["mean"]["psnr"] is None or json.loads(out)["mean"]["psnr"] > 100


def test_pages_transparency_and_names_that_differ_in_the_suffix_alone(run, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for folder, count in ((a, 2), (b, 2)):
        folder.mkdir()
        frames = [Image.fromarray(scene(20, 20)) for _ in range(count)]
        frames[0].save(folder / "stack.tif", save_all=True, append_images=frames[1:])
        Image.fromarray(np.dstack([scene(20, 20, 3), np.full((20, 20), 100, np.uint8)])).save(folder / "clear.png")
        write_image(folder / "twice.png", scene(20, 20))
        write_image(folder / "twice.bmp", scene(20, 20))
        write_image(folder / "thrice.png", scene(20, 20))
    (b / "thrice.png").rename(b / "thrice.bmp")
    write_image(b / "thrice.webp", np.repeat(scene(20, 20)[..., None], 3, axis=2))
    code, out, err = run("compare", a, b, "--json")
    assert code == 0
    content = json.loads(out)
    assert [row["name"] for row in content["images"]] == ["clear", "stack#0", "stack#1", "twice.bmp", "twice.png"]
    assert {entry["reason"] for entry in content["left_out"]} == {"several files have this name but for the suffix"}
    assert "compared on white" in err
    out = run("compare", a, b, "--json", "--pages", "first")[1]
    assert "stack" in [row["name"] for row in json.loads(out)["images"]]


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_names_that_are_no_text(run, tmp_path: Path) -> None:
    for side in ("a", "b"):
        write_image(tmp_path / side / "x.png", scene(20, 20))
        os.rename(tmp_path / side / "x.png", os.fsencode(tmp_path / side) + b"/caf\xe9.png")
    code, out, _ = run("compare", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert code == 0
    assert r"caf\xe9" in out
    assert r"caf\xe9" in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")


def test_the_region_where_two_images_differ_most() -> None:
    image = np.zeros((50, 60, 3), np.uint8)
    other = image.copy()
    other[33:37, 41:44] = 200
    top, left = most_different(ImagePair("x", image, other.astype(np.float32) / 255), (10, 10))
    assert 27 <= top <= 33
    assert 34 <= left <= 41
    assert most_different(ImagePair("x", image, other), (100, 100)) == (0, 0)


def test_crops_are_at_one_to_one() -> None:
    crops = [RNG.integers(0, 256, (30, 40), dtype=np.uint8), RNG.integers(0, 256, (25, 200, 3), dtype=np.uint8)]
    assert not np.array_equal(crop_sheet(["σ"], [("", crops[:1])]), crop_sheet(["×"], [("", crops[:1])]))  # the font has both
    sheet = crop_sheet(["one", "two"], [("first row", crops), ("second row", crops)])
    for crop in (np.repeat(crops[0][..., None], 3, axis=2), crops[1]):
        windows = np.lib.stride_tricks.sliding_window_view(sheet, crop.shape)[:, :, 0]
        rows, columns = np.nonzero((windows[..., 0, 0, :] == crop[0, 0]).all(-1))
        assert sum(np.array_equal(windows[y, x], crop) for y, x in zip(rows, columns, strict=True)) == 2


def test_only_the_least_alike_are_shown(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hourglass.report.MOST_SHOWN", 2)
    for number in range(4):
        image = scene(20, 20)
        write_image(tmp_path / "a" / f"{number}.png", image)
        write_image(tmp_path / "b" / f"{number}.png", noisy(image, 5 + 10 * number))
    assert run("compare", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")[0] == 0
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert re.findall(r'<h2 id="pair-\d+-title">(.*?)</h2>', page) == ["3", "2"]
    assert "the lowest SSIM first: 2 of them" in page


def test_large_images_are_embedded_as_the_page_says() -> None:
    image = scene(600, 2100)
    figures = PairFigures("wide", 600, 2100, image_quality(image, image))
    shown = comparison.shown_pair(ImagePair("wide", image, image), figures)
    assert shown.remark == "as JPEG of quality 95, reduced to 2,000 pixels"
    assert shown.sources[0].startswith("data:image/jpeg")
    small = comparison.shown_pair(ImagePair("s", image[:20, :20], image[:20, :20]), PairFigures("s", 20, 20, figures.quality))
    assert small.remark == "without loss, 13 times as large"


@pytest.mark.browser
def test_the_page_in_a_browser(folders: tuple[Path, Path], run, browser: Any, tmp_path: Path) -> None:
    assert run("compare", *folders, "-o", tmp_path / "out")[0] == 0
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "out" / "compare.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    stages = page.locator(".stage")
    assert stages.count() == 5
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")

    def place(number: int) -> float:
        return float(
            page.evaluate(f"document.querySelectorAll('.stage')[{number}].style.getPropertyValue('--at')").removesuffix("%")
        )

    stages.nth(1).scroll_into_view_if_needed()
    box = stages.nth(1).bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    page.mouse.up()
    assert place(1) == pytest.approx(25, abs=0.5)
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.6 * box["height"])
    assert place(1) == pytest.approx(25, abs=0.5)  # after the drag nothing follows
    page.keyboard.press("ArrowRight")
    assert place(1) == pytest.approx(26, abs=0.5)  # the pointer left the focus there
    page.keyboard.press("Home")
    assert place(1) == 0
    assert place(0) == 50
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert place(1) == 0
    assert 100 in (place(2), place(0))
    name = stages.nth(1).locator("input").get_attribute("aria-label")
    assert "percent of clean" in name
    left, right = (page.locator(f".stage >> nth=1 >> .{side}").inner_text() for side in ("left", "right"))
    assert (left, right) == ("clean", "made")
    page.locator("header a").first.click()
    assert page.evaluate("location.hash").startswith("#pair-")
    page.set_viewport_size({"width": 300, "height": 600})
    narrow = stages.nth(0).bounding_box()["width"]
    page.check("#actual")
    assert stages.nth(0).bounding_box()["width"] >= narrow
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.set_viewport_size({"width": 390, "height": 800})
    page.uncheck("#actual")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    context.close()


@pytest.mark.browser
def test_the_page_has_no_barriers(folders: tuple[Path, Path], run, browser: Any, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    assert run("compare", *folders, "-o", tmp_path / "out")[0] == 0
    page = browser.new_page()
    page.goto((tmp_path / "out" / "compare.html").as_uri())
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    page.close()
