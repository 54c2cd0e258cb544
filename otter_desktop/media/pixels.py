"""Frames -> pixels: the model's input, equal to what CLIPImageProcessor computes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from otter_desktop.media.frames import Frame, Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

# Above this many resized pixels (a panorama of extreme shape) only the crop is computed.
_WHOLE_RESIZE_PIXELS = 1 << 24


def to_pixels(frames: Iterable[Frame], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return the frames as (frames, 3, image_size, image_size) float32, normalised.

    Frames are taken one at a time, so a generator keeps one full-size picture in memory.
    Grey (H,W) and alpha (H,W,4) images are accepted too, as CLIPImageProcessor does: grey is
    repeated, alpha is dropped (`load_photo` has already laid transparent photos on white).
    """
    table = _normalisation_table(preprocessing)
    prepared = [_one(frame.image, preprocessing, table) for frame in frames]
    size = preprocessing.image_size
    if not prepared:
        return np.empty((0, 3, size, size), np.float32)
    return np.stack(prepared)


def crop_box(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom), in source pixels, of what the model sees."""
    if preprocessing.fit != "crop":
        return (0, 0, width, height)
    size = preprocessing.image_size
    new_width, new_height = _resized(width, height, size)
    left, top = (new_width - size) // 2, (new_height - size) // 2
    across, down = width / new_width, height / new_height
    return (
        round(left * across),
        round(top * down),
        round((left + size) * across),
        round((top + size) * down),
    )


def thumbnail(frame: Frame, max_side: int) -> Frame:
    """Return the frame with its longer side at most `max_side` pixels, for showing."""
    from PIL import Image

    height, width = frame.image.shape[:2]
    if max(width, height) <= max_side:
        return frame
    scale = max_side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(frame.image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return Frame(np.asarray(small), frame.index, frame.time_s, frame.source)


def _normalisation_table(preprocessing: Preprocessing) -> NDArray[np.float32]:
    # (3, 256): CLIPImageProcessor rescales in float64, rounds to float32 and normalises there;
    # a table of the 256 possible values gives the same bits and is faster.
    values = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    mean = np.array(preprocessing.mean, np.float32)[:, None]
    std = np.array(preprocessing.std, np.float32)[:, None]
    table: NDArray[np.float32] = (values[None] - mean) / std
    return table


def _one(
    image: NDArray[np.uint8], preprocessing: Preprocessing, table: NDArray[np.float32]
) -> NDArray[np.float32]:
    from PIL import Image

    size = preprocessing.image_size
    picture = Image.fromarray(image).convert("RGB")
    if preprocessing.fit == "letterbox":
        return _letterbox(picture, size, table)
    if preprocessing.fit == "squash":
        square = picture.resize((size, size), Image.Resampling.BICUBIC)
    else:
        square = _centre_square(picture, size)
    return _look_up(np.asarray(square), table)


def _look_up(rgb: NDArray[np.uint8], table: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([table[channel][rgb[..., channel]] for channel in range(3)])


def _resized(width: int, height: int, size: int) -> tuple[int, int]:
    # The longer edge is cut off, not rounded: transformers' get_resize_output_image_size.
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def _centre_square(picture: Image, size: int) -> Image:
    from PIL import Image

    width, height = picture.size
    new_width, new_height = _resized(width, height, size)
    left, top = (new_width - size) // 2, (new_height - size) // 2
    if new_width * new_height <= _WHOLE_RESIZE_PIXELS:
        resized = picture.resize((new_width, new_height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + size, top + size))
    across, down = width / new_width, height / new_height
    box = (left * across, top * down, (left + size) * across, (top + size) * down)
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)


def _letterbox(picture: Image, size: int, table: NDArray[np.float32]) -> NDArray[np.float32]:
    from PIL import Image

    width, height = picture.size
    scale = size / max(width, height)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    resized = picture.resize((new_width, new_height), Image.Resampling.BICUBIC)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    # Zero is the mean colour after normalisation.
    out = np.zeros((3, size, size), np.float32)
    out[:, top : top + new_height, left : left + new_width] = _look_up(np.asarray(resized), table)
    return out
