"""An album to ask about on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
