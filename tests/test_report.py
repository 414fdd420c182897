"""Reports: what the structure figure says of a network, and what the page holds and does not ask for."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import hourglass as hg
from hourglass.networks import NETWORKS, build, describe
from hourglass.report import (
    Picture,
    Section,
    Table,
    html,
    image_rows,
    inline_svg,
    learning_curves,
    planes,
    rate_distortion_curves,
    save,
    score_histogram,
    structure,
)
from hourglass.runtime import contact_sheet, thumbnail

VOID = {"meta", "link", "br", "img", "hr", "input"}
OWN = (
    nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 196, 5),
    ),
    nn.Sequential(
        nn.Linear(5, 8 * 49),
        nn.Unflatten(1, (8, 7, 7)),
        nn.ConvTranspose2d(8, 4, 2, stride=2),
        nn.ReLU(),
        nn.Conv2d(4, 1, 3, padding=1),
        nn.Upsample(scale_factor=2),
    ),
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


@pytest.mark.parametrize(
    ("network", "n_components", "hidden", "shape", "sizes"),
    [
        ("mlp", 32, None, (1, 28, 28), "784 128 64 32 64 128 784"),
        ("linear", 2, None, (5,), "5 2 5"),
        ("mlp", 100, (50,), (20,), "20 50 100 50 20"),
        (("conv", "mlp"), 8, ((16, 32), (256, 128)), (1, 28, 28), "28×28 16×14×14 32×7×7 8 128 256 784"),
        ("conv", 8, (4, 6), (3, 9, 11), "3×9×11 4×5×6 6×3×3 8 6×3×3 4×5×6 3×9×11"),
        ("skip", 6, (4,), (1, 8, 8), "8×8 4×4×4 4×4×4 4×4×4 6 4×4×4 4×4×4 4×4×4 8×8"),
        ("embedding", 2, None, (1, 28, 28), "28×28 24×14×14 48×7×7 96×4×4 32 256 2 128 256 784"),
        ("variational", 8, (30,), (64,), "64 30 16 8 30 64"),
        (OWN, 5, None, (1, 28, 28), "28×28 16×14×14 5 8×7×7 4×14×14 28×28"),
    ],
)
def test_structure_says_the_true_sizes(network, n_components, hidden, shape, sizes) -> None:
    built = build(network, shape, n_components, hidden)
    words = texts(structure(built, shape))
    assert [text for text in words if re.fullmatch(r"\d+(×\d+)*", text) and text in sizes.split()] == sizes.split()
    assert ("bottleneck $y$" in words) == (n_components < np.prod(shape))
    for part in (built.encoder, built.decoder):
        assert f"{sum(parameter.numel() for parameter in part.parameters()):,} weights" in words


@pytest.mark.parametrize(
    ("network", "hidden"),
    [*((name, None) for name in NETWORKS), (OWN, None), (("linear", "mlp"), ((), (9,) * 12)), ("conv", (8,) * 4)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_in_a_structure_lies_over_anything_else(network, hidden) -> None:
    figure = structure(build(network, (1, 28, 28), 5, hidden), (1, 28, 28))
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {text: text.get_window_extent(renderer) for text in figure.axes[0].texts if text.get_text()}
    width, height = figure.get_size_inches() * figure.dpi
    for box in boxes.values():
        assert box.x0 >= 0 <= box.y0
        assert box.x1 <= width
        assert box.y1 <= height
    for (first, one), (second, other) in itertools.combinations(boxes.items(), 2):
        assert not one.padded(-1).overlaps(other.padded(-1)), (first.get_text(), second.get_text())


def test_structure_names_what_runs() -> None:
    words = texts(structure(build(OWN, (1, 28, 28), 5), (1, 28, 28)))
    for word in ("conv 3×3", "max-pool", "dense", "transposed", "conv 2×2", "stride 2", "upsample", "192 weights"):
        assert word in words  # 192: of the convolution 160, of the normalisation that belongs to it 32
    assert "detail passes beside the code" in texts(structure(build("skip", (1, 8, 8), 4), (1, 8, 8)))


def test_describing_leaves_a_network_as_it_was() -> None:
    network = build(OWN, (1, 28, 28), 5).train()
    before = network.encoder[1].running_mean.clone()  # type: ignore[index]
    describe(network, (1, 28, 28))
    assert network.training
    assert network.encoder[1].running_mean.equal(before)  # type: ignore[index]


def test_info_draws_the_layers(run, tmp_path: Path, digits: np.ndarray) -> None:
    hg.Autoencoder(7, epochs=1, random_state=0).fit(digits).save(tmp_path / "m.hg")
    code, out, _ = run("info", tmp_path / "m.hg", "--figure", tmp_path / "new" / "m.png")
    assert code == 0
    assert f"Figure written to {tmp_path / 'new' / 'm.png'}." in out.splitlines()
    with Image.open(tmp_path / "new" / "m.png") as image:
        assert image.format == "PNG"
    code, out, _ = run("info", tmp_path / "m.hg", "--json", "--figure", tmp_path / "m.SVG")
    assert json.loads(out)["figure"] == str(tmp_path / "m.SVG")
    drawn = (tmp_path / "m.SVG").read_bytes()
    assert b"<svg" in drawn
    run("info", tmp_path / "m.hg", "--figure", tmp_path / "m.SVG")
    assert (tmp_path / "m.SVG").read_bytes() == drawn
    code, out, err = run("info", tmp_path / "m.hg", "--figure", tmp_path / "m.exe")
    assert code == 2
    assert out == ""
    assert ".png, .svg" in err
    assert not (tmp_path / "m.exe").exists()
    assert run("info", "--figure", tmp_path / "n.png")[0] == 2


def test_nothing_is_saved_if_a_name_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(hg.ParameterError, match=r"\.png"):
        save(Figure(), tmp_path / "a.png", tmp_path / "a")
    assert not list(tmp_path.iterdir())


class Reader(HTMLParser):
    """Reads a page strictly: what is opened is closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]


@pytest.fixture(scope="module")
def page() -> str:
    rng = np.random.default_rng(0)
    history = [{"epoch": epoch, "loss": 1 / epoch, "validation_loss": 1.1 / epoch} for epoch in (1, 2, 3)]
    figures = {
        "rows": image_rows({"clean": rng.random((3, 5, 5)), "noisy": rng.random((3, 5, 5))}, {"noisy": "MSE 0.1"}),
        "curves": learning_curves({"one": history}, {"ridge": 0.5}),
        "planes": planes({"PCA": (rng.normal(size=(30, 2)), np.arange(30) % 3)}),
        "rates": rate_distortion_curves({"JPEG": [(10, 0.1), (20, 0.05)], "PNG": [(90, 0)]}),
    }
    pictures = [Picture(name, figure, f'The `{name}` & *what* is "seen"') for name, figure in figures.items()]
    table = Table("Errors", ["method", "MSE", "note"], [["<PCA>", "0.25", "2 * 3 * 4"], ["mlp", "—", "`a*b*c`"]], {(0, 1)})
    sections = [
        Section(
            name, f"About {name}", "1 < 2 & *true*.\n\nTwo.", "`fit`", [*pictures, table], "So.", "x = 1 < 2\n", {}, seconds
        )
        for name, seconds in (("first", 0.0), ("second", 83.2))
    ]
    return html("A *page*", "Lead & all.", {"seed": "6020", "command": "`hourglass chapter`"}, sections)


def test_page_is_whole_and_asks_for_nothing(page: str) -> None:
    reader = Reader(page)
    assert page.startswith("<!DOCTYPE html>")
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    links = [link for name in ("href", "xlink:href") for link in reader.values(name) if not link.startswith("data:")]
    assert {"#first", "#second"} <= set(links)
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(ids)
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "metadata"}
    assert "src" not in {name for _, attributes in reader.tags for name in attributes}
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert [tag for tag, _ in reader.tags].count("style") == 1


def test_page_says_what_it_was_given(page: str) -> None:
    reader = Reader(page)
    assert "<title>A page</title>" in page
    assert "<h1>A <em>page</em></h1>" in page
    assert "<p>1 &lt; 2 &amp; <em>true</em>.</p>\n<p>Two.</p>" in page
    assert '<pre tabindex="0"><code>x = 1 &lt; 2</code></pre>' in page
    assert reader.cells[:9] == ["method", "MSE", "note", "<PCA>", "0.25", "2 * 3 * 4", "mlp", "—", "a*b*c"]
    assert '<td class="right"><b>0.25</b></td>' in page
    assert "<td><code>a*b*c</code></td>" in page
    assert reader.cells[-4:] == ["seed", "6020", "command", "hourglass chapter"]
    assert page.count("1 min 23 s") == 1
    assert [label for label in reader.values("aria-label") if "rows" in label] == ['The rows & what is "seen"'] * 2
    for label in ("Figure 2.4", "Table 2.1", "The claim", "What was run", "What it means", "The same in Python"):
        assert label in page


def test_inline_figures_take_the_pages_ink() -> None:
    figure = image_rows({"clean": np.eye(5)[None]}, {"clean": "MSE 0"})
    drawn = inline_svg(figure, "one", "Rows")
    assert 'fill="currentColor"' in drawn
    assert "var(--muted" in drawn
    curves = inline_svg(learning_curves({"a": [{"epoch": 1, "loss": 1, "validation_loss": 1}]}, {}), "two", "Curves")
    assert "stroke: currentColor" in curves
    for text in (drawn, curves):
        assert "#000000" not in text
        assert "#ffffff" not in text
        assert "<style" not in text
        assert not re.search(r"<svg[^>]* (width|height)=", text)
    assert drawn == inline_svg(figure, "one", "Rows")
    assert "image-rendering" in drawn  # pixels stay square however large


def test_scores_are_drawn_beside_normal_ones_with_the_threshold() -> None:
    figure = score_histogram(np.array([1.0, 1.0, 1.0, 3.0]), np.array([-3.0, -1.0]), threshold=0.5)
    axes = figure.axes[0]
    normal, these = ([bar for bar in bars if bar.get_height()] for bars in axes.containers)
    assert [bar.get_height() for bar in normal] == [0.5, 0.5]
    assert [bar.get_height() for bar in these] == [0.75, 0.25]
    assert all(bar.get_x() < 0 for bar in normal)
    assert all(bar.get_x() > 0.5 for bar in these)
    assert score_histogram(np.zeros(1), np.zeros(1)).axes  # one score, no width


def test_a_sheet_has_thumbnails_of_any_size_and_captions_in_one_line() -> None:
    small, large = np.full((10, 20), 255, np.uint8), np.zeros((300, 900, 3), np.uint8)
    assert thumbnail(small).shape == (80, 160, 3)
    assert thumbnail(large).shape == (53, 160, 3)
    caption = "a\nname of two lines that is far too long for its place"
    page = contact_sheet([(caption, thumbnail(small)), ("b", thumbnail(large))])
    assert page.shape == (160 + 20 + 16, 2 * 168 + 8, 3)
    assert (page[8 + 80 : 8 + 160, 8 : 8 + 160] == 255).all()
    assert (page[8 + 107 : 8 + 160, 8 + 168 : 8 + 168 + 160] == 0).all()
