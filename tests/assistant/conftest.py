"""An engine on the tiny package, run by the real runtimes, and photos to ask about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from otter_desktop.assistant import Engine


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four photos that differ."""
    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        paths.append(folder / f"photo {number}.png")
        Image.fromarray(noise).save(paths[-1])
    return paths


@pytest.fixture
def bad_photo(tmp_path: Path) -> Path:
    path = tmp_path / "bad.png"
    path.write_bytes(b"no picture at all")
    return path


@pytest.fixture
def engine(package: Path, otter_home: Path) -> Iterator[Engine]:
    with Engine.open(package, device="cpu", threads=1) as opened:
        yield opened
