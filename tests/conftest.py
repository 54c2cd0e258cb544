"""What every test lives under: no network, its own OTTER_HOME, nothing read from the user's."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import pytest

_GUARD_FOLDER = Path(__file__).parent / "support" / "offline"


def _close_the_network() -> None:
    """Guard this process and, through PYTHONPATH, every Python that it starts."""
    # Only the first process moves: workers and children inherit its empty network.
    specification = importlib.util.spec_from_file_location(
        "otter_network_guard", _GUARD_FOLDER / "sitecustomize.py"
    )
    assert specification is not None
    assert specification.loader is not None
    guard = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(guard)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        guard.enter_empty_network()
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(_GUARD_FOLDER) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(_GUARD_FOLDER), *(path for path in paths if path)]
        )


def _leave_the_users_home() -> None:
    """Fixtures that outlive one test write here; each test gets a folder of its own."""
    folder = tempfile.mkdtemp(prefix="otter-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["OTTER_HOME"] = folder


os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Models in tests are tiny: threads only wait for one another, the more so with several workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
_close_the_network()
_leave_the_users_home()


@pytest.fixture(autouse=True)
def otter_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an `OTTER_HOME` of its own, inherited by the processes that it starts."""
    home = tmp_path / "otter home ü"
    monkeypatch.setenv("OTTER_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Return the golden data's folder, or skip: the project's own tests do not need it."""
    named = os.environ.get("OTTER_GOLDEN")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("golden data are not here (set OTTER_GOLDEN)")
    return folder


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny package with random weights, made once for all test processes.

    Exporting takes seconds, and torch is imported only for those who need it.
    """
    from filelock import FileLock

    from export.checkpoints import open_checkpoint
    from export.package import convert
    from export.random_checkpoint import write_random_checkpoint

    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    out = folder / "tiny ü"
    with FileLock(folder / "tiny.lock"):
        if not out.exists():
            write_random_checkpoint(folder / "tiny checkpoint")
            convert(open_checkpoint(folder / "tiny checkpoint"), out, scheme="f32")
    return out


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 2 seconds, 10 frames a second."""
    import av
    import numpy as np

    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            picture = np.full((48, 64, 3), number * 12, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
