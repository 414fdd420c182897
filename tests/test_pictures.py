"""Image files, read and written back: depth, colour, profile, EXIF, transparency, pages; and what is left out and said."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import hourglass as hg
from hourglass.cli.job import Job
from hourglass.cli.restoration import restore
from hourglass.data.pictures import read_pictures, write_pictures
from hourglass.images import Array

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
GREY = COLOURS[..., 0]


def save(path: Path, image: Array | Image.Image, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def restored(source: Path, target: Path, transform: Callable[[Array], Array] = np.asarray, **options: Any) -> list[Path]:
    """Write what `transform` makes of what is read, as the verbs do."""
    writing = {name: options.pop(name) for name in ("format", "quality") if name in options}
    return restore(Job("denoise", None, str(source), target, **options), transform, **writing)


def rewritten(source: Path, target: Path, **options: Any) -> list[str]:
    """Write what is read, without a model between; the notes given meanwhile."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        restored(source, target, **options)
    return [str(note.message) for note in notes]


def smooth(height: int, width: int) -> Array:
    """A colour image without noise, as photographs are: what JPEG is made for."""
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 120 * np.sin(x / 9 + shift) * np.cos(y / 11) for shift in range(3)], axis=-1).astype(np.uint8)


def psnr(one: Array, other: Array) -> float:
    return float(-10 * np.log10(np.square(one.astype(float) / 255 - other.astype(float) / 255).mean()))


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp", "ppm", "gif"])
@pytest.mark.parametrize("image", [GREY, COLOURS], ids=["grey", "colour"])
def test_what_is_lossless_stays_bit_for_bit(ending: str, image: Array, tmp_path: Path) -> None:
    source = save(tmp_path / f"a.{ending}", image)
    rewritten(source, tmp_path / "out")
    with Image.open(source) as before, Image.open(tmp_path / "out" / f"a.{ending}") as after:
        assert after.format == before.format
        assert np.array_equal(np.asarray(before.convert("RGB")), np.asarray(after.convert("RGB")))


def test_jpeg_and_avif_lose_little_and_keep_all_colour(tmp_path: Path) -> None:
    image = smooth(96, 128)
    image[40:56, 50:51] = (255, 0, 0)  # one column wide: halved colour would lose it
    for ending in ("jpg", "avif"):
        source = save(tmp_path / f"a.{ending}", image, quality=100, subsampling=0 if ending == "jpg" else "4:4:4")
        decoded = np.asarray(Image.open(source).convert("RGB"))
        rewritten(source, tmp_path / "out")
        assert psnr(np.asarray(Image.open(tmp_path / "out" / f"a.{ending}").convert("RGB")), decoded) > 42
    rewritten(tmp_path / "a.jpg", tmp_path / "small.jpg", quality=30)
    assert (tmp_path / "small.jpg").stat().st_size < (tmp_path / "out" / "a.jpg").stat().st_size / 3


@pytest.mark.parametrize(
    ("ending", "values"),
    [
        ("png", np.linspace(0, 4095, 216).reshape(12, 18).astype(np.uint16)),
        ("tif", np.linspace(0, 65535, 216).reshape(12, 18).astype(np.uint16)),
        ("tif", np.linspace(0, 200_000, 216).reshape(12, 18).astype(np.int32)),
        ("tif", np.linspace(0, 255, 216).reshape(12, 18).astype(np.float32)),
        ("pgm", np.linspace(0, 1023, 216).reshape(12, 18).astype(np.uint16)),
    ],
    ids=["12 bits, PNG", "16 bits, TIFF", "int32, TIFF", "float, TIFF", "10 bits, PGM"],
)
def test_depth_comes_back(ending: str, values: Array, tmp_path: Path) -> None:
    source = save(tmp_path / f"a.{ending}", values)
    notes = rewritten(source, tmp_path / "out")
    again = np.asarray(Image.open(tmp_path / "out" / f"a.{ending}"))
    assert np.abs(again.astype(float) - values).max() <= 0.5 if values.dtype.kind != "f" else np.allclose(again, values)
    assert any("white" in note for note in notes) == (values.dtype.kind != "f" or values.max() > 1)
    rewritten(source, tmp_path / "as-8-bits", format="jpeg")
    assert read_pictures(tmp_path / "as-8-bits" / "a.jpg")[0].values.dtype == np.uint8


def test_a_white_level_is_one_for_all_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "bright.tif", np.full((8, 8), 4000, np.uint16))
    save(tmp_path / "in" / "dim.tif", np.full((8, 8), 100, np.uint16))
    seen: list[float] = []

    def transform(image: Array) -> Array:
        seen.append(float(image.max()))
        return image

    with pytest.warns(hg.HourglassWarning, match="4095"):
        restored(tmp_path / "in", tmp_path / "out", transform)
    assert seen == pytest.approx([4000 / 4095, 100 / 4095])
    restored(tmp_path / "in", tmp_path / "half", transform, white=8190)
    assert seen[2:] == pytest.approx([4000 / 8190, 100 / 8190])
    assert np.asarray(Image.open(tmp_path / "half" / "dim.tif")).max() == 100


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp", "avif"])
def test_profile_exif_and_resolution_are_kept_and_the_turn_is_made(ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[274] = "A camera", 6  # its maker; a quarter turn
    source = save(tmp_path / f"a.{ending}", COLOURS, icc_profile=PROFILE, exif=exif, dpi=(300, 300))
    rewritten(source, tmp_path / "out")
    with Image.open(tmp_path / "out" / f"a.{ending}") as after:
        assert after.info["icc_profile"] == PROFILE
        assert after.getexif()[271] == "A camera"
        assert after.getexif().get(274, 1) == 1
        assert after.size == (12, 18)
        if ending in ("png", "jpg", "tif"):
            assert after.info["dpi"] == pytest.approx((300, 300), rel=0.01)


def test_what_a_format_cannot_keep_is_said(tmp_path: Path) -> None:
    alpha = np.dstack([COLOURS, np.full((12, 18), 100, np.uint8)])
    source = save(tmp_path / "a.png", alpha, icc_profile=PROFILE)
    notes = " ".join(rewritten(source, tmp_path / "a.bmp") + rewritten(source, tmp_path / "a.gif"))
    for word in ("BMP cannot store transparency", "BMP cannot store icc_profile", "GIF cannot store icc_profile"):
        assert word in notes
    cmyk = save(tmp_path / "b.jpg", Image.fromarray(COLOURS).convert("CMYK"), icc_profile=PROFILE)
    notes = " ".join(rewritten(cmyk, tmp_path / "c.jpg"))
    assert "CMYK is written as RGB" in notes
    assert "CMYK profile is left out" in notes


def test_transparency_of_deep_grey_and_a_profile_of_lab_are_not_lost_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "deep.png", (GREY.astype(np.uint16) * 200), transparency=4000)
    save(tmp_path / "in" / "lab.tif", Image.fromarray(COLOURS).convert("LAB"), icc_profile=PROFILE)
    notes = " ".join(rewritten(tmp_path / "in", tmp_path / "out"))
    assert "its transparency is left out" in notes
    assert "LAB is written as RGB. its LAB profile" in notes or (
        "LAB is written as RGB" in notes and "its LAB profile is" in notes
    )
    with Image.open(tmp_path / "out" / "lab.tif") as image:
        assert "icc_profile" not in image.info


def test_words_in_a_file_are_not_lost_without_a_word(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "nobody")
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    source = save(tmp_path / "a.png", GREY, pnginfo=info)
    assert "its XMP and text is left out" in " ".join(rewritten(source, tmp_path / "out"))
    source = save(tmp_path / "a.jpg", GREY, comment=b"hello")
    assert "its comment is left out" in " ".join(rewritten(source, tmp_path / "out"))


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_transparency_is_kept_and_what_lies_under_it(ending: str, tmp_path: Path) -> None:
    alpha = np.random.default_rng(1).integers(20, 256, (12, 18), np.uint8)
    source = save(tmp_path / f"a.{ending}", np.dstack([COLOURS, alpha]), **({"lossless": True} if ending == "webp" else {}))
    assert not rewritten(source, tmp_path / "out")
    after = np.asarray(Image.open(tmp_path / "out" / f"a.{ending}"))
    assert np.array_equal(after[..., 3], alpha)
    assert np.abs(after[..., :3].astype(int) - COLOURS).max() <= np.ceil(255 / 20)  # 8 bits on white hold no more of it


def test_pages_come_back_as_pages(tmp_path: Path) -> None:
    sizes = [(12, 18), (10, 20), (7, 5)]
    pages = [Image.fromarray(np.full(size, 60 * number, np.uint8)) for number, size in enumerate(sizes)]
    source = save(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:])
    assert not rewritten(source, tmp_path / "out")
    again = read_pictures(tmp_path / "out" / "a.tif")
    assert [one.values.shape for one in again] == sizes
    assert [int(one.values[0, 0]) for one in again] == [0, 60, 120]
    assert "--pages all" in " ".join(rewritten(source, tmp_path / "first", pages="first"))
    assert len(read_pictures(tmp_path / "first" / "a.tif")) == 1
    with pytest.raises(hg.DataError, match="but JPEG holds one"):
        rewritten(source, tmp_path / "as-jpeg", format="jpeg")


def test_an_animation_keeps_its_pace(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((9, 9), 80 * number, np.uint8)) for number in range(3)]
    source = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=2)
    rewritten(source, tmp_path / "b.gif")
    with Image.open(tmp_path / "b.gif") as after:
        durations = []
        for number in range(after.n_frames):  # type: ignore[attr-defined]
            after.seek(number)
            durations.append(after.info["duration"])
        assert (durations, after.info["loop"]) == ([100, 200, 300], 2)


def test_pages_are_counted_before_the_first_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hourglass.data import files

    pages = [Image.fromarray(np.full((50, 50), 50 * number, np.uint8)) for number in range(5)]
    for ending in ("tif", "gif", "png", "webp", "avif"):
        save(tmp_path / f"a.{ending}", pages[0], save_all=True, append_images=pages[1:])
        monkeypatch.setattr(files, "MAX_PIXELS", 10_000)
        with pytest.raises(hg.DataError, match=r"more than 4 pages .* pages=.first. reads one"):
            read_pictures(tmp_path / f"a.{ending}")
        with pytest.warns(hg.HourglassWarning, match="more pages than the first"):
            assert len(read_pictures(tmp_path / f"a.{ending}", pages="first")) == 1
        monkeypatch.setattr(files, "MAX_PIXELS", 12_500)
        assert len(read_pictures(tmp_path / f"a.{ending}")) == 5
        monkeypatch.setattr(files, "MAX_PAGES", 4)
        with pytest.raises(hg.DataError, match="more than 4 pages"):
            read_pictures(tmp_path / f"a.{ending}")
        monkeypatch.undo()


def test_a_page_by_its_number(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((6, 6), 40 * number, np.uint8)) for number in range(3)]
    save(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:])
    assert int(read_pictures(tmp_path / "a.tif#2")[0].values[0, 0]) == 80
    with pytest.raises(hg.DataError, match="has no page 9"):
        read_pictures(tmp_path / "a.tif#9")


def test_fewer_frames_than_declared_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((9, 9), 80 * number, np.uint8)) for number in range(3)]
    content = io.BytesIO()
    frames[0].save(content, "PNG", save_all=True, append_images=frames[1:])
    whole = content.getvalue()
    at = whole.rindex(b"fcTL") - 4  # the last frame's head; what follows is cut out, but for the end
    (tmp_path / "a.png").write_bytes(whole[:at] + whole[whole.index(b"IEND") - 4 :])
    with pytest.raises(hg.DataError, match=r"a\.png: not a readable image"):
        read_pictures(tmp_path / "a.png")


def test_one_bad_file_is_listed_and_the_list_goes_when_all_are_good(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    save(folder / "deep" / "good.png", GREY)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    notes = rewritten(folder, out)
    assert len([note for note in notes if "1 of 2 image files" in note and "rejects.csv" in note]) == 1
    assert "bad.png" in (out / "rejects.csv").read_text()
    assert [path.relative_to(out) for path in out.rglob("*.png")] == [Path("deep/good.png")]
    with pytest.raises(hg.DataError, match=r"bad\.png"):
        restored(folder, tmp_path / "strict", strict=True)
    (folder / "bad.png").unlink()
    rewritten(folder, out)
    assert not (out / "rejects.csv").exists()


def test_floats_up_to_1_beside_integers_have_their_own_white_level(tmp_path: Path) -> None:
    folder, out, rng = tmp_path / "in", tmp_path / "out", np.random.default_rng(0)
    folder.mkdir()
    values: dict[str, Array] = {
        "a.png": rng.integers(0, 4096, (8, 8)).astype(np.uint16),
        "b.tif": rng.random((8, 8), np.float32),
    }
    for name, image in values.items():
        save(folder / name, image)
    save(folder / "c.tif", Image.fromarray(values["b.tif"]), save_all=True, append_images=[Image.fromarray(values["a.png"])])
    for white in (None, 4095):
        notes = rewritten(folder, out, white=white)
        assert any("1 of 3 image files cannot be read" in note and "no common white level" in note for note in notes)
        for name, image in values.items():
            np.testing.assert_array_equal(np.asarray(Image.open(out / name)), image)


def test_its_own_output_is_not_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        save(folder / f"{number}.png", GREY)
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert len(restored(folder, folder / "clean")) == 3


def test_its_own_output_behind_a_link_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", GREY)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    assert len(restored(tmp_path / "in", tmp_path / "out")) == 3
    with pytest.warns(hg.HourglassWarning, match="3 of 6 images lie below the output folder"):
        assert len(restored(tmp_path / "in", tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: restored(path / "a.jpg", path / "b.webp", format="png"), "two formats"),
        (lambda path: restored(path / "a.png", path / "out", quality=90), "--quality is for"),
        (lambda path: restored(path, path / "b.png"), "of a folder, -o names a folder"),
        (lambda path: restored(path / "a.png", path / "a.png"), "originals would be lost"),
    ],
)
def test_options_that_do_not_fit_are_refused(make: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "a.jpg", GREY)
    with pytest.raises(hg.ParameterError, match=words):
        make(tmp_path)


def test_two_files_of_one_name_stay_two(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.jpg", GREY)
    save(tmp_path / "in" / "a.bmp", 255 - GREY)
    rewritten(tmp_path / "in", tmp_path / "out", format="png")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "a.png", GREY)
    pictures = read_pictures(source)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    before = source.read_bytes()
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space"):
        write_pictures(source, pictures, [255 - GREY])
    assert source.read_bytes() == before
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_a_large_webp_is_refused_before_its_decoder_takes_memory(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hourglass.data import files

    source = save(tmp_path / "a.webp", COLOURS, **options)
    monkeypatch.setattr(files, "MAX_PIXELS", 12 * 18)
    assert read_pictures(source)[0].values.shape == (12, 18, 3)
    monkeypatch.setattr(files, "MAX_PIXELS", 12 * 18 - 1)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(hg.DataError, match="18×12 pixels; the limit is 215"):
        read_pictures(source)
