"""The explorer's page in a real browser, served and as one file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import hourglass as hg
from hourglass.data import Split
from hourglass.networks import NETWORKS
from hourglass.web import Scene, export_page
from hourglass.web.server import serve

pytestmark = pytest.mark.browser


class Visit:
    """A page that is open, with what it asked for and complained of."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]")

    def at(self, across: float, down: float, what: str = "#overlay") -> tuple[float, float]:
        box = self.page.locator(what).bounding_box()
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def offset(self, x: float, y: float) -> list[float]:
        """A place of the window as one of the stage."""
        box = self.page.locator("#overlay").bounding_box()
        return [x - box["x"], y - box["y"]]

    def drag(self, *places: tuple[float, float], what: str = "#overlay") -> None:
        self.page.mouse.move(*self.at(*places[0], what))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place, what), steps=4)
        self.page.mouse.up()

    def pixels(self, what: str) -> np.ndarray:
        """A canvas as (h, w, 4)."""
        width, height, values = self.page.eval_on_selector(
            what,
            """canvas => [canvas.width, canvas.height,
              Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)]""",
        )
        return np.array(values, dtype=np.uint8).reshape(height, width, 4)

    def n_painted(self, layer: str) -> int:
        """How many pixels of a layer of the stage are not transparent."""
        return self.page.eval_on_selector(
            layer,
            """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
              .reduce((sum, value, i) => sum + (i % 4 === 3 && value > 0), 0)""",
        )

    def end(self) -> None:
        assert self.complaints == []
        own = (self.address, "data:", "blob:")
        assert [url for url in self.asked if not url.startswith(own)] == []
        self.context.close()


def served(scene: Scene) -> str:
    """The address of a server of `scene`, in a thread that ends with the process."""
    ready: list[str] = []
    is_ready = threading.Event()

    def told(where: str) -> None:
        ready.append(where)
        is_ready.set()

    threading.Thread(target=serve, args=(scene, "127.0.0.1", 0, told), daemon=True).start()
    assert is_ready.wait(20)
    return ready[0]


@pytest.fixture(scope="module")
def digits_split() -> Split:
    return hg.load("digits").train.take(np.arange(500))


@pytest.fixture(scope="module")
def wide(digits_split: Split) -> Scene:
    """Codes of five numbers."""
    return Scene(hg.Autoencoder(5, random_state=0).fit(digits_split.images), digits_split, "digits")


@pytest.fixture(scope="module")
def flat(digits_split: Split) -> Scene:
    """Codes of two dimensions, and a density."""
    model = hg.Generator(2, epochs=2, random_state=0).fit(digits_split.images, digits_split.labels)
    return Scene(model, digits_split, "digits")


@pytest.fixture(scope="module")
def addresses(wide: Scene, flat: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    page = tmp_path_factory.mktemp("page") / "page.html"
    export_page(wide, page)
    return {"wide": served(wide), "flat": served(flat), "file": page.as_uri()}


@pytest.fixture
def visit(browser: Any, addresses: dict[str, str]) -> Iterator[Any]:
    open_visits = []

    def go(name: str, **options: Any) -> Visit:
        open_visits.append(Visit(browser, addresses[name], **options))
        return open_visits[-1]

    yield go
    for one in open_visits:
        one.end()


def test_pointing_anywhere_decodes_that_place(visit: Any, flat: Scene) -> None:
    here = visit("flat")
    here.page.mouse.move(*here.at(0.5, 0.5))
    for place in ((0.02, 0.03), (0.97, 0.9), (0.4, 0.6)):  # also where no point lies
        x, y = here.at(*place)
        here.page.mouse.move(x, y)
        wanted = here.page.evaluate("Array.from(explorer.code)")
        inside = here.page.evaluate(f"explorer.stage.view.toPlane(...{here.offset(x, y)})")
        assert np.allclose(wanted, inside, rtol=1e-5)
        decoded = flat.decode(np.array([wanted], dtype=np.float32))[0]
        assert np.abs(here.pixels("#live")[..., 0].astype(int) - decoded).max() <= 1
    assert here.page.locator("#place").inner_text().startswith(f"{wanted[0]:.2f}, {wanted[1]:.2f}, nearest")


@pytest.mark.parametrize("name", ["wide", "file"])
def test_everything_a_person_can_do(visit: Any, name: str, wide: Scene, tmp_path: Path) -> None:
    here = visit(name, accept_downloads=True)
    page = here.page
    assert "500 images of digits" in page.locator("#facts").inner_text()
    page.wait_for_timeout(300)
    assert here.n_painted("#points") > 500
    assert here.n_painted("#grid") > 100_000

    # a point: original, reconstruction, error, neighbours
    left, top = page.evaluate("explorer.stage.view.toScreen(...explorer.stage.scatter.places.slice(14, 16))")
    box = page.locator("#overlay").bounding_box()
    page.mouse.click(box["x"] + left, box["y"] + top)
    page.wait_for_selector("#chosen-body table")
    row = page.evaluate("explorer.stage.chosen")
    assert f"({row})" in page.locator("#chosen-body p").first.inner_text()
    assert np.array_equal(here.pixels("#chosen-body canvas >> nth=0")[..., 0], wide.images[row])
    reconstruction = wide.analyse(wide.images[row : row + 1])[1][0]
    assert np.abs(here.pixels("#chosen-body canvas >> nth=1")[..., 0].astype(int) - reconstruction).max() <= 1
    distances = np.linalg.norm(wide.codes - wide.codes[row], axis=1)
    nearest = int(np.argsort(distances, kind="stable")[1])
    page.locator("#chosen-body figure button").first.click()
    page.wait_for_selector(f"#chosen-body p >> text=({nearest})")

    # planes and sliders
    page.locator("#code summary").click()
    page.locator("#sliders input").nth(2).fill(str(float(page.locator("#sliders input").nth(2).get_attribute("max")) - 0.01))
    for plane in ("numbers", "learned", "principal"):
        page.select_option("#plane", plane)
        page.wait_for_selector(f"html[data-plane={plane}]", timeout=60_000)
        assert page.locator("#pair").is_visible() == (plane == "numbers")
        page.wait_for_timeout(100)
        assert here.n_painted("#points") > 500
    page.get_by_role("button", name="Back to the mean").click()

    # labels
    before = here.n_painted("#points")
    page.locator("#legend button").first.click()
    page.wait_for_timeout(100)
    assert 0 < here.n_painted("#points") < before
    assert page.locator("#legend button").first.get_attribute("aria-pressed") == "false"

    # a walk and a region
    page.get_by_text("Walk", exact=True).first.click()
    here.drag((0.3, 0.3), (0.7, 0.6))
    page.wait_for_selector("#walk-body canvas")
    assert page.locator("#walk-body canvas").count() == 12
    page.get_by_text("Lasso", exact=True).first.click()
    here.drag((0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98))
    page.wait_for_selector("#region-body table")
    counted = int(page.locator("#region-body p").first.inner_text().split()[0])
    shown = (wide.labels != 0).sum()
    assert 0.9 * shown <= counted <= shown
    with page.expect_download() as told:
        page.get_by_role("button", name="Download codes").click()
    told.value.save_as(tmp_path / "region.csv")
    lines = (tmp_path / "region.csv").read_text().splitlines()
    assert lines[0] == "image,label,number1,number2,number3,number4,number5"
    assert len(lines) == counted + 1
    number, label, *code = lines[1].split(",")
    row = int(number.strip('"'))
    assert np.allclose([float(value) for value in code], wide.codes[row], rtol=1e-5)
    assert label == f'"{wide.classes[wide.labels[row]]}"'

    # a drawing
    here.drag((0.2, 0.2), (0.8, 0.2), (0.4, 0.9), what="#pad")
    page.wait_for_selector("#chosen-body p >> text=your drawing")
    assert here.pixels("#chosen-body canvas >> nth=0")[..., 0].max() > 100

    # a file
    Image.fromarray(wide.images[3]).save(tmp_path / "three.png")
    page.set_input_files("#file", tmp_path / "three.png")
    page.wait_for_selector("#chosen-body p >> text=three.png")
    assert np.array_equal(here.pixels("#chosen-body canvas >> nth=0")[..., 0], wide.images[3])

    # numbers
    page.fill("#text", "0123456789 01")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_selector("#written:visible", timeout=60_000)
    assert here.pixels("#written").shape == (16, 80, 4)
    first = here.pixels("#written")
    page.get_by_role("button", name="Generate").click()
    page.wait_for_timeout(300)
    assert not np.array_equal(first, here.pixels("#written"))  # others
    with page.expect_download() as told:
        page.get_by_role("button", name="Download PNG").click()
    told.value.save_as(tmp_path / "numbers.png")
    with Image.open(tmp_path / "numbers.png") as written:
        assert written.size == (320, 64)
    if name == "wide":
        page.wait_for_selector("#chosen-body td >> text=bytes, of 64", timeout=60_000)


def test_faults_are_told_in_a_sentence(visit: Any, tmp_path: Path) -> None:
    here = visit("wide")
    (tmp_path / "no.png").write_bytes(b"no image")
    here.page.set_input_files("#file", tmp_path / "no.png")
    here.page.wait_for_selector("#fault:visible")
    assert "not a readable image" in here.page.locator("#fault").inner_text()
    here.page.fill("#text", "2x")
    here.page.get_by_role("button", name="Generate").click()
    here.page.wait_for_selector("#fault >> text=that the model knows", timeout=60_000)
    here.complaints = [told for told in here.complaints if "400" not in told]  # the browser's own line on the refused upload


def test_the_keyboard_reaches_everything(visit: Any) -> None:
    here = visit("flat")
    page = here.page
    page.locator("#overlay").focus()
    before = page.evaluate("Array.from(explorer.code)")
    scale = page.evaluate("explorer.stage.view.scale")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    x, y = page.evaluate("Array.from(explorer.code)")
    assert np.allclose([x - before[0], y - before[1]], 12 / scale, rtol=1e-3)
    for _ in range(60):
        page.keyboard.press("Shift+ArrowLeft")  # off the screen, which then follows
    assert page.evaluate("explorer.stage.view.toScreen(...explorer.code)[0]") >= 0
    page.keyboard.press("+")
    assert np.isclose(page.evaluate("explorer.stage.view.scale"), 1.3 * scale)
    page.keyboard.press("0")
    assert np.isclose(page.evaluate("explorer.stage.view.scale"), scale)
    page.keyboard.press("Enter")
    page.wait_for_selector("#chosen-body table")
    page.wait_for_timeout(900)
    assert page.locator("#said").inner_text() != ""
    page.get_by_text("Walk", exact=True).first.click()
    page.locator("#overlay").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Space")
    page.wait_for_selector("#walk-body canvas")
    page.wait_for_selector("#said >> text=A walk of 12 pictures", state="attached")
    page.get_by_text("Lasso", exact=True).first.click()
    page.locator("#overlay").focus()
    page.keyboard.press("0")
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        for _ in range(3):
            page.keyboard.press(f"Shift+{key}")
        page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector("#region-body p")
    page.wait_for_selector("#said >> text=image", state="attached")
    page.locator("#chosen-body figure button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    assert page.evaluate("document.activeElement.id") == "chosen-title"  # not lost with the neighbour
    page.locator("#pad").focus()
    for _ in range(6):
        page.keyboard.press("Shift+ArrowDown")
    page.wait_for_selector("#chosen-body p >> text=your drawing")


def test_late_answers_do_not_take_the_place_of_later_ones(visit: Any) -> None:
    here = visit("wide")
    shown = here.page.evaluate(
        """async () => {
          const { images } = Object.getPrototypeOf(explorer.source);
          const wait = (ms) => new Promise((done) => setTimeout(done, ms));
          explorer.source.images = async function (rows) {
            if (rows.length === 1 && rows[0] === 5) await wait(400);
            return images.call(this, rows);
          };
          explorer.source.region = async (rows) => {
            if (rows.length === explorer.stage.scatter.n) await wait(400);
            return { mean: new Uint8Array(64), spread: new Uint8Array(64) };
          };
          const [[left, bottom], [right, top]] = [[-1e6, -1e6], [1e6, 1e6]];
          const [x, y] = explorer.stage.scatter.places.slice(0, 2);
          explorer.choose(5);
          explorer.choose(9);
          explorer.region([[left, bottom], [right, bottom], [right, top], [left, top]]);
          explorer.region([[x - 1e-3, y - 1e-3], [x + 1e-3, y - 1e-3], [x + 1e-3, y + 1e-3], [x - 1e-3, y + 1e-3]]);
          await wait(900);
          return [document.querySelector("#chosen-body p").textContent, document.querySelector("#region-body p").textContent];
        }"""
    )
    assert "(9)" in shown[0]
    assert shown[1].startswith("1 ")


def test_planes_have_two_directions_and_zoom_has_ends(visit: Any) -> None:
    here = visit("wide")
    page = here.page
    page.select_option("#plane", "numbers")
    page.wait_for_selector("html[data-plane=numbers]")
    page.select_option("#across", "1")  # which is up's
    assert [page.locator(f"#{name}").input_value() for name in ("across", "up")] == ["1", "0"]
    page.wait_for_timeout(200)
    back = page.evaluate("Array.from(explorer.plane.project(explorer.lift(Float32Array.of(1, 3))))")
    assert np.allclose(back, [1, 3], atol=1e-5)
    page.locator("#overlay").focus()
    for key in ("+", "-"):
        for _ in range(200):
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert 1e-3 < page.evaluate("explorer.stage.view.scale / explorer.stage.view.fitted") < 1e5
    page.mouse.move(*here.at(0.5, 0.5))
    page.mouse.wheel(0, 500_000)
    page.wait_for_timeout(300)
    assert page.evaluate("Number.isFinite(explorer.stage.view.x) && explorer.stage.view.scale > 0")


def test_a_map_that_cannot_be_had_leaves_the_plane(visit: Any) -> None:
    here = visit("wide")
    here.page.route("**/api/plane", lambda route: route.abort())
    here.page.select_option("#plane", "learned")
    here.page.wait_for_selector("#fault >> text=no longer answers")
    assert here.page.locator("#plane").input_value() == "principal"
    assert here.page.locator("#waiting").inner_text() == ""
    here.page.get_by_role("button", name="Close").click()
    assert not here.page.locator("#fault").is_visible()
    here.complaints = [told for told in here.complaints if "ERR_FAILED" not in told]


def test_labels_of_several_words_can_be_written(visit: Any) -> None:
    here = visit("wide")
    answers = here.page.evaluate(
        """async () => {
          const { wanted } = await import("/static/numbers.js");
          const names = ["hot dog", "ankle boot", "T-shirt, red", "hot"];
          return [wanted("hot dog, hotT-shirt, red", names), wanted("cold", names), wanted("0x10", []), wanted("3", [])];
        }"""
    )
    assert answers == [[0, 3, 2], None, None, [0, 0, 0]]


def test_fingers_look_choose_and_pinch(visit: Any) -> None:
    here = visit("flat", has_touch=True, viewport={"width": 390, "height": 844})
    page = here.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.touchscreen.tap(*here.at(0.8, 0.2))
    assert page.locator("#place").inner_text() != ""
    touch = here.context.new_cdp_session(page)
    scale, chosen = page.evaluate("[explorer.stage.view.scale, explorer.stage.chosen]")
    (x, y), apart = here.at(0.5, 0.5), 40

    def fingers(kind: str, distance: float) -> None:
        points = [{"x": x - distance, "y": y, "id": 0}, {"x": x + distance, "y": y, "id": 1}] if kind != "touchEnd" else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", apart)
    for step in range(1, 6):
        fingers("touchMove", apart + 8 * step)
    fingers("touchEnd", 0)
    assert 1.5 < page.evaluate("explorer.stage.view.scale") / scale < 2.2
    assert page.evaluate("explorer.stage.chosen") == chosen  # a pinch is no tap


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_no_serious_fault_for_those_who_cannot_see_or_point(visit: Any, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    here = visit(
        "wide", color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True
    )  # axe is put into the page
    here.page.mouse.move(*here.at(0.5, 0.5))
    here.page.keyboard.press("Tab")
    here.page.locator("#overlay").focus()
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector("#chosen-body td >> text=bytes, of 64", timeout=60_000)
    found = Axe().run(here.page).response["violations"]
    serious = [(fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.mark.filterwarnings("ignore:at a learning rate of")  # in codes of noise there is little to learn
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp", (8, 8)),
        *((name, (13, 11, 3)) for name, kind in NETWORKS.items() if not (kind.bypasses_code or kind.takes_any_size)),
    ],
)
def test_the_pages_networks_give_what_torch_gives(browser: Any, name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((64, *shape), dtype=np.float32)
    model = hg.Autoencoder(2, network=name, epochs=2, random_state=0).fit(images)  # of more, a plane would be learned
    export_page(Scene(model, Split(images), "noise"), tmp_path / "page.html")
    here = Visit(browser, (tmp_path / "page.html").as_uri())
    codes = 3 * np.random.default_rng(1).standard_normal((9, 2)).astype(np.float32)
    samples = np.random.default_rng(2).random((9, *model.sample_.network_shape), dtype=np.float32)
    for part, values in (("decoder", codes), ("encoder", samples)):
        with torch.inference_mode():
            wanted = getattr(model, f"{part}_")(torch.from_numpy(values)).numpy()
        for some in (slice(0, 9), slice(0, 1)):  # four at once and the rest, and one alone
            made = here.page.evaluate(
                f"values => Array.from(explorer.source.{part}.run(Float32Array.from(values)))",
                values[some].reshape(-1).tolist(),
            )
            scale = max(1.0, float(np.abs(wanted).max()))
            assert np.abs(np.array(made) - wanted[some].reshape(-1)).max() <= 1e-5 * scale
    analysed = here.page.evaluate(
        "pixels => explorer.source.analyse(Uint8Array.from(pixels)).then(({ code }) => Array.from(code))",
        hg.images.to_uint8(images[0]).reshape(-1).tolist(),
    )
    assert np.allclose(analysed, model.encode(hg.images.to_uint8(images[:1]))[0], rtol=1e-3, atol=1e-4)
    here.end()


def test_a_burst_of_moves_leaves_nothing_queued(browser: Any, colours: np.ndarray) -> None:
    model = hg.Denoiser(network="skip", epochs=1, random_state=0).fit(colours)  # the page cannot run it: the server decodes
    here = Visit(browser, served(Scene(model, Split(colours), "colours")))
    here.page.wait_for_timeout(1500)
    before = len(here.asked)
    here.page.evaluate("for (let i = 0; i < 300; i += 1) explorer.look(i / 100, i / 150)")
    here.page.wait_for_timeout(1000)
    asked = len(here.asked) - before
    assert 1 <= asked <= 10  # the first, the last, and hardly any between
    last = here.page.evaluate("Array.from(explorer.code)")
    decoded = hg.images.to_uint8(model.inverse_transform(np.array([last], dtype=np.float32)))[0]
    assert np.abs(here.pixels("#live")[..., :3].astype(int) - decoded).max() <= 1
    here.page.wait_for_timeout(500)
    assert len(here.asked) - before == asked
    here.end()


@pytest.mark.parametrize("n_codes", [1, 3])
def test_codes_of_one_number_and_images_without_labels(browser: Any, colours: np.ndarray, n_codes: int) -> None:
    model = hg.Autoencoder(n_codes, epochs=1, random_state=0).fit(colours)
    here = Visit(browser, served(Scene(model, Split(colours), "colours")))
    here.page.mouse.move(*here.at(0.3, 0.4))
    assert ", nearest " in here.page.locator("#place").inner_text()
    assert here.page.locator("#legend button").count() == 0
    here.page.get_by_role("button", name="Generate").click()
    here.page.wait_for_selector("#written:visible", timeout=60_000)
    assert here.pixels("#written").shape == (13, 88, 4)
    here.end()
