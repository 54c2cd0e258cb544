"""Drawn scenes as the files that people have: JPEG or PNG photos and MP4 clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from training.scenes.render import render
from training.scenes.world import Scene

CLIP_SECONDS = 4.0
_FRAMES_PER_SECOND = 12


def write_photo(scene: Scene, path: Path, side: int = 256, time: float = 0.0) -> Path:
    """Draw the scene at a time from 0 to 1 and write it; the suffix says the format."""
    Image.fromarray(render(scene, side, (time,))[0]).save(path, quality=92)
    return path


def write_clip(scene: Scene, path: Path, side: int = 256, seconds: float = CLIP_SECONDS) -> Path:
    """Draw the scene over time and write it as H.264 in MP4."""
    count = int(seconds * _FRAMES_PER_SECOND) + 1
    times = tuple(number / (count - 1) for number in range(count))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(_FRAMES_PER_SECOND))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast", "threads": "1"}
        for picture in render(scene, side, times):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
