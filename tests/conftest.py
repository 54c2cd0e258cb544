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
