"""What media hands on: frames, facts about a clip, and how pixels are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One upright picture.

    `image` is (height, width, 3) uint8 RGB. `index` counts the frames of the media item from 0
    (a photo has index 0). `time_s` is the frame's own time since the start of the clip, None
    for a photo.
    """

    image: NDArray[np.uint8]
    index: int
    time_s: float | None
    source: Path


@dataclass(frozen=True)
class ClipInfo:
    """What a clip is, before any of it is sampled.

    `width` and `height` are those of the upright picture with square pixels; `rotation` is
    the counter-clockwise turn in degrees (0, 90, 180, 270) that the file asks for and that is
    already applied to every frame. `frame_count` is None where the file does not say.
    """

    path: Path
    duration_s: float
    width: int
    height: int
    rotation: int
    frame_rate: float
    codec: str
    frame_count: int | None


@dataclass(frozen=True)
class Preprocessing:
    """How a frame becomes the model's input; part of a model package.

    `crop` is CLIPImageProcessor's way (shortest edge to `image_size`, centre crop), `squash`
    the way Otter was trained (the whole frame, without its proportions), `letterbox` the whole
    frame with its proportions and a margin of the mean colour.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: Literal["crop", "squash", "letterbox"] = "crop"

    @property
    def id(self) -> str:
        """Everything that changes the pixels, in one string (part of a cache key)."""
        return f"{self.fit}-{self.image_size}-{self.mean}-{self.std}"
