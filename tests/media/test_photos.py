"""Photos: every usual format, upright, as plain 8-bit RGB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from otter_desktop.media import is_photo, load_photo

HeicWriter = Callable[[Path, NDArray[np.uint8], int], None]


def _quarters(width: int = 60, height: int = 40) -> NDArray[np.uint8]:
    """Draw red, green, blue and yellow quarters, so that any turn or flip shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (230, 20, 20)
    image[: height // 2, width // 2 :] = (20, 230, 20)
    image[height // 2 :, : width // 2] = (20, 20, 230)
    image[height // 2 :, width // 2 :] = (230, 230, 20)
    return image


def _corners(image: NDArray[np.uint8]) -> list[str]:
    """Name the colours of the quarters: top left, top right, bottom left, bottom right."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 0): "yellow"}
    height, width = image.shape[:2]
    points = [(1, 1), (1, 3), (3, 1), (3, 3)]
    picked = [image[height * y // 4, width * x // 4] > 127 for y, x in points]
    return [names[tuple(int(v) for v in colour)] for colour in picked]  # type: ignore[index]


UPRIGHT = ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tiff", "a.JPEG", "ü 影.png"]
)
def test_a_photo_of_every_format_opens_as_rgb(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(_quarters()).save(path)
    frame = load_photo(path)
    assert frame.image.shape == (40, 60, 3)
    assert frame.image.dtype == np.uint8
    assert _corners(frame.image) == UPRIGHT
    assert (frame.index, frame.time_s, frame.source) == (0, None, path)


def test_a_lossless_photo_keeps_every_value(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "noise.png").image, noise)


@pytest.mark.parametrize("quarter_turns", [0, 1, 3])
def test_heic_opens_upright(tmp_path: Path, heic_writer: HeicWriter, quarter_turns: int) -> None:
    path = tmp_path / "phone.heic"
    stored = np.rot90(_quarters(96, 64), -quarter_turns)
    heic_writer(path, np.ascontiguousarray(stored), quarter_turns)
    image = load_photo(path).image
    assert image.shape == (64, 96, 3)
    assert _corners(image) == UPRIGHT


def test_heic_under_a_wrong_name_opens(tmp_path: Path, heic_writer: HeicWriter) -> None:
    path = tmp_path / "phone.jpg"
    heic_writer(path, _quarters(96, 64), 0)
    assert _corners(load_photo(path).image) == UPRIGHT


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # How a camera stores an upright scene under each value (EXIF 2.3, tag 0x0112).
    scene = _quarters()
    stored = {
        1: scene,
        2: scene[:, ::-1],
        3: scene[::-1, ::-1],
        4: scene[::-1],
        5: scene.transpose(1, 0, 2),
        6: np.rot90(scene, 1),
        7: scene[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(scene, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    image = load_photo(path).image
    assert image.shape == (40, 60, 3)
    assert _corners(image) == UPRIGHT


def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    Image.fromarray(_quarters()).save(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert _corners(load_photo(path).image) == UPRIGHT


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    values = np.array([[0, 16448, 32896, 65535]], np.uint16).repeat(4, axis=0)
    for name in ("deep.png", "deep.tiff"):
        Image.fromarray(values).save(tmp_path / name)
        image = load_photo(tmp_path / name).image
        assert image[0, :, 0].tolist() == [0, 64, 128, 255]
        assert (image == image[..., :1]).all()


def test_floating_point_grey_is_stretched(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    Image.fromarray(np.array([[-1.0, 0.0, 3.0]], np.float32)).save(path)
    assert load_photo(path).image[0, :, 1].tolist() == [0, 64, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "LA", "RGBA"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "mode.tiff"
    Image.new("RGB", (8, 8), "white").convert("RGB").convert(
        "RGBA" if mode == "LA" else "RGB"
    ).convert(mode if mode not in ("LAB",) else "RGB").save(path)
    assert (load_photo(path).image > 250).all()


def test_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(_quarters()).convert("CMYK").save(path, quality=95)
    assert _corners(load_photo(path).image) == UPRIGHT


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((200, 0, 0, 255), (0, 0, 4, 8))
    image.save(tmp_path / "sticker.png")
    pixels = load_photo(tmp_path / "sticker.png").image
    assert pixels[0, 0].tolist() == [200, 0, 0]
    assert pixels[0, 7].tolist() == [255, 255, 255]


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "icon.png", transparency=1)
    assert (load_photo(tmp_path / "icon.png").image == 255).all()


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    assert load_photo(tmp_path / "a.gif").image[0, 0].tolist() == [255, 0, 0]


def test_extensions_tell_photos_from_other_files() -> None:
    assert is_photo(Path("a.HEIC"))
    assert is_photo(Path("b.jpg"))
    assert not is_photo(Path("c.mp4"))
    assert not is_photo(Path("d.txt"))
