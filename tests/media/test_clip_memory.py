"""Memory does not grow with a clip's length; nothing heavy loads before a file is opened."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

_BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "clip_memory.py"


@pytest.fixture
def benchmark() -> ModuleType:
    """The benchmark that measures this at full size."""
    specification = importlib.util.spec_from_file_location("clip_memory", _BENCHMARK)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_ten_minute_clip_needs_no_more_memory_than_a_short_one(
    tmp_path: Path, benchmark: ModuleType
) -> None:
    measured = benchmark.compare(tmp_path, repeats=60, frames=8, height=96)
    assert measured["long"]["times_s"][-1] == pytest.approx(599.96)
    assert len(measured["long"]["times_s"]) == 8
    # All 15,000 frames of this size would be 750 MB; packet stamps are about 2 MB.
    assert measured["extra_mb"] < 20


def test_importing_media_and_vision_loads_no_codec_and_no_runtime() -> None:
    code = (
        "import sys, otter_desktop.media, otter_desktop.vision\n"
        "heavy = {'av', 'PIL', 'pi_heif', 'onnxruntime', 'cv2'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
