"""Real clips, made once per test session, whose frames carry their number."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
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


def _box(kind: str, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", len(content) + 8, kind.encode()) + content


def write_heic(path: Path, picture: NDArray[np.uint8], quarter_turns: int = 0) -> None:
    """Write a HEIC file (ISO/IEC 23008-12) with one HEVC picture, turned counter-clockwise."""
    film = path.with_suffix(".heic-source.mp4")
    height, width = picture.shape[:2]
    with av.open(str(film), "w") as output:
        options = {
            "preset": "ultrafast",
            "x265-params": "log-level=none:pools=1:info=0:bframes=0",
            "crf": "4",
        }
        stream: Any = output.add_stream("libx265", rate=1, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    content = film.read_bytes()
    start = content.index(b"hvcC") - 4
    settings = content[start : start + int.from_bytes(content[start : start + 4], "big")]
    with av.open(str(film)) as container:
        sample = b"".join(bytes(packet) for packet in container.demux(video=0) if packet.size)
    film.unlink()
    full = struct.pack(">I", 0)
    properties = [settings, _box("ispe", full, struct.pack(">II", width, height))]
    if quarter_turns:
        properties.append(_box("irot", bytes([quarter_turns])))
    links = bytes([0x80 | 1, *range(2, len(properties) + 1)])
    entry = _box("infe", struct.pack(">IHH4s", 2 << 24, 1, 0, b"hvc1"), b"\0")
    links = struct.pack(">IHB", 1, 1, len(properties)) + links

    def meta(offset: int) -> bytes:
        return _box(
            "meta",
            full,
            _box("hdlr", full, struct.pack(">I4s12x", 0, b"pict"), b"\0"),
            _box("pitm", full, struct.pack(">H", 1)),
            _box(
                "iloc",
                full,
                struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, len(sample)),
            ),
            _box("iinf", full, struct.pack(">H", 1), entry),
            _box("iprp", _box("ipco", *properties), _box("ipma", full, links)),
        )

    head = _box("ftyp", b"heic", full, b"mif1heic")
    path.write_bytes(head + meta(len(head) + len(meta(0)) + 8) + _box("mdat", sample))


@pytest.fixture(scope="session")
def heic_writer() -> Callable[[Path, NDArray[np.uint8], int], None]:
    """Write HEIC files, or skip where PyAV has no HEVC encoder."""
    if "libx265" not in av.codecs_available:
        pytest.skip("this PyAV has no libx265 encoder")
    return write_heic


@pytest.fixture
def not_root() -> Iterator[None]:
    """Drop root's right to read everything, where the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    if user == 0:
        os.seteuid(0)
