"""Pixels: equal to CLIPImageProcessor, to the training's squash, and to the golden data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from otter_desktop.media import Frame, Preprocessing, crop_box, load_photo, thumbnail, to_pixels

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
TRAINING = Preprocessing(224, (0.481, 0.458, 0.408), (0.269, 0.261, 0.276), "squash")
SIZES = [(187, 301), (457, 123), (56, 56), (40, 60), (300, 301), (1000, 57)]


def _frame(image: NDArray[np.uint8]) -> Frame:
    return Frame(image, 0, None, Path("made.png"))


def _noise(height: int, width: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(height).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", SIZES)
def test_crop_equals_clip_image_processor(size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers")
    image = _noise(*size)
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    expected = processor(Image.fromarray(image), return_tensors="np")["pixel_values"]
    pixels = to_pixels([_frame(image)], Preprocessing(56, MEAN, STD))
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_crop_is_pillows_bicubic_and_the_central_square(size: tuple[int, int]) -> None:
    image = _noise(*size)
    height, width = size
    short = min(height, width)
    resized = Image.fromarray(image).resize(
        (int(56 * width / short), int(56 * height / short)), Image.Resampling.BICUBIC
    )
    left, top = (resized.width - 56) // 2, (resized.height - 56) // 2
    square = np.asarray(resized)[top : top + 56, left : left + 56] / np.float64(255)
    expected = (square - MEAN) / STD
    (pixels,) = to_pixels([_frame(image)], Preprocessing(56, MEAN, STD))
    np.testing.assert_allclose(pixels, expected.transpose(2, 0, 1), atol=1e-6)


def test_squash_shows_the_whole_frame() -> None:
    image = _noise(100, 300)
    square = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
    expected = (square / np.float64(255) - TRAINING.mean) / TRAINING.std
    (pixels,) = to_pixels([_frame(image)], TRAINING)
    np.testing.assert_allclose(pixels, expected.transpose(2, 0, 1), atol=1e-6)


def test_letterbox_shows_the_whole_frame_with_its_proportions() -> None:
    white = np.full((50, 100, 3), 255, np.uint8)
    (pixels,) = to_pixels([_frame(white)], Preprocessing(32, MEAN, STD, "letterbox"))
    assert pixels.shape == (3, 32, 32)
    assert (pixels[:, 8:24] > 1.8).all()
    assert (pixels[:, :8] == 0).all()
    assert (pixels[:, 24:] == 0).all()


def test_a_panorama_of_extreme_shape_needs_no_giant_resize() -> None:
    # Its shortest edge enlarged to 224 would make 224 x 1,120,000 pixels.
    (pixels,) = to_pixels(
        [_frame(np.full((4, 20_000, 3), 90, np.uint8))], Preprocessing(224, MEAN, STD)
    )
    expected = (90 / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(pixels.mean((1, 2)), expected, atol=1e-5)


def test_the_crop_of_a_panorama_equals_that_of_the_whole_resize(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import otter_desktop.media.pixels as module

    frame, preprocessing = _frame(_noise(120, 2000)), Preprocessing(56, MEAN, STD)
    whole = to_pixels([frame], preprocessing)
    monkeypatch.setattr(module, "_WHOLE_RESIZE_PIXELS", 0)
    np.testing.assert_allclose(to_pixels([frame], preprocessing), whole, atol=1.01 / 255 / 0.26)


def test_frames_are_taken_one_at_a_time_and_stacked_in_order() -> None:
    shades = [0, 255, 128]
    frames = (_frame(np.full((20, 30, 3), shade, np.uint8)) for shade in shades)
    pixels = to_pixels(frames, Preprocessing(8, (0, 0, 0), (1, 1, 1)))
    assert pixels.shape == (3, 3, 8, 8)
    assert pixels.dtype == np.float32
    assert pixels[:, 0, 0, 0].tolist() == pytest.approx([0, 1, 128 / 255])


def test_no_frames_give_no_pixels() -> None:
    assert to_pixels([], Preprocessing(8, MEAN, STD)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(200, 100, (50, 0, 150, 100)), (100, 200, (0, 50, 100, 150)), (64, 64, (0, 0, 64, 64))],
)
def test_the_crop_box_is_what_the_model_sees(
    width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    assert crop_box(width, height, Preprocessing(50, MEAN, STD)) == box
    assert crop_box(width, height, TRAINING) == (0, 0, width, height)


def test_a_thumbnail_keeps_proportions_time_and_small_frames() -> None:
    frame = Frame(_noise(100, 200), 3, 1.5, Path("a.mp4"))
    small = thumbnail(frame, 50)
    assert small.image.shape == (25, 50, 3)
    assert (small.index, small.time_s, small.source) == (3, 1.5, Path("a.mp4"))
    assert thumbnail(frame, 500) is frame


def test_preprocessing_that_differs_has_another_id() -> None:
    plain = Preprocessing(224, MEAN, STD)
    others = [
        Preprocessing(128, MEAN, STD),
        Preprocessing(224, MEAN, STD, "squash"),
        Preprocessing(224, STD, STD),
        Preprocessing(224, MEAN, MEAN),
    ]
    assert len({plain.id, *(other.id for other in others)}) == 5


@pytest.mark.golden
def test_pixels_equal_the_golden_data_exactly(golden_folder: Path, tmp_path: Path) -> None:
    golden = np.load(golden_folder / "preprocess.npz")
    compared = 0
    for key in golden:
        kind, _, name = key.partition("_")
        if kind == "raw":
            continue
        preprocessing = TRAINING if kind == "train224" else Preprocessing(int(kind[4:]), MEAN, STD)
        raw = golden[f"raw_{name}"]
        np.testing.assert_array_equal(to_pixels([_frame(raw)], preprocessing)[0], golden[key])
        if raw.ndim == 3 and raw.shape[2] == 3:
            path = tmp_path / f"{name}.png"
            Image.fromarray(raw).save(path)
            from_file = to_pixels([load_photo(path)], preprocessing)[0]
            np.testing.assert_array_equal(from_file, golden[key])
        compared += 1
    assert compared >= 17
