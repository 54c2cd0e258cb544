"""A whole tiny package with random weights, and media to ask about."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from export.checkpoints import open_checkpoint
from export.package import convert
from export.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a package made once for all test processes: exporting takes seconds."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out = folder / "tiny ü"
    with FileLock(folder / "tiny.lock"):
        if not out.exists():
            write_random_checkpoint(folder / "tiny checkpoint")
            convert(open_checkpoint(folder / "tiny checkpoint"), out, scheme="f32")
    return out


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with two photos and a file that only looks like one."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in (1, 2):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "3 bad.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 2 seconds, 10 frames a second."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            picture = np.full((48, 64, 3), number * 12, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
