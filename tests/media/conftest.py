"""Real clips, made once per test session, whose frames carry their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

WIDTH, HEIGHT, STRIPES = 80, 48, 10


@dataclass(frozen=True)
class ClipMaker:
    """Makes clips by name in one folder and reads the numbers back out of their frames."""

    folder: Path

    def make(self, name: str, **settings: Any) -> Path:
        """Return the clip of that name, written with `write_clip` when it is not there yet."""
        path = self.folder / name
        if not path.exists():
            write_clip(path, **settings)
        return path

    @staticmethod
    def number(image: NDArray[np.uint8]) -> int:
        """Read the number that `numbered_picture` drew."""
        stripe = image.shape[1] // STRIPES
        middle = image[image.shape[0] // 2, stripe // 2 :: stripe, 1]
        return sum(int(value > 127) << bit for bit, value in enumerate(middle[:STRIPES]))

    @staticmethod
    def decoder_times(path: Path) -> list[float]:
        """Return the decoder's own times of all frames, decoding from first to last."""
        with av.open(str(path)) as container:
            return [float(frame.time) for frame in container.decode(video=0)]


def numbered_picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Draw a number as ten stripes, black for 0 and white for 1, so that any codec keeps it."""
    bits = [(number >> bit) & 1 for bit in range(STRIPES)]
    row = np.repeat(np.array(bits, np.uint8) * 255, width // STRIPES)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, len(row), 3)))


def write_clip(
    path: Path,
    *,
    frames: int = 50,
    rate: int = 25,
    codec: str = "libx264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    times_ms: Sequence[int] | None = None,
    rotation: int = 0,
    sound_s: float = 0.0,
    aspect: Fraction | None = None,
) -> None:
    """Write a clip whose frame n shows the number n (none with `frames` 0: sound alone)."""
    with av.open(str(path), "w", options=container_options or {}) as output:
        base = Fraction(1, 1000) if times_ms else Fraction(1, rate)
        stream: Any = None
        if frames:
            threads = {"threads": "1", **(options or {})}
            stream = output.add_stream(codec, rate=rate, options=threads)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = base
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation:
                stream.set_display_rotation(rotation)
        sound: Any = output.add_stream("aac", rate=8000, layout="mono") if sound_s else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number, *size), format="rgb24")
            frame.pts = times_ms[number] if times_ms else number
            frame.time_base = base
            output.mux(stream.encode(frame))
        if stream is not None:
            output.mux(stream.encode(None))
        if sound is not None:
            _write_silence(output, sound, sound_s)


def _write_silence(output: Any, stream: Any, length_s: float) -> None:
    silence = np.zeros((1, 1024), np.float32)
    for block in range(int(length_s * 8000 / 1024)):
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, block * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipMaker:
    """Clips of this session; the folder's name is not plain ASCII."""
    return ClipMaker(tmp_path_factory.mktemp("clips ü 影片"))
