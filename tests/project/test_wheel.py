"""The wheel that users install: complete, and small."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_LIMIT_BYTES = 40_000_000
_PACKAGED = ("otter_desktop", "ui", "export", "training")
_ALSO_NEEDED = {"pyproject.toml", "README.md", "LICENSE", "NOTICE"}


@pytest.fixture(scope="module")
def wheel(root: Path, tracked: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked:
        relative = path.relative_to(root)
        if relative.parts[0] in _PACKAGED or relative.as_posix() in _ALSO_NEEDED:
            (source / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / relative)
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "--no-index", "-w", str(out), str(source)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (built,) = out.glob("otter_desktop-*.whl")
    return built


def test_the_wheel_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size < _LIMIT_BYTES


def test_the_wheel_holds_every_file_of_the_engine(
    wheel: Path, root: Path, tracked: list[Path]
) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    names = {path.relative_to(root).as_posix() for path in tracked}
    assert {name for name in names if name.startswith("otter_desktop/")} <= held


def test_the_wheel_brings_its_licence_and_notice(wheel: Path) -> None:
    held = {name.rsplit("/", 1)[-1] for name in zipfile.ZipFile(wheel).namelist()}
    assert {"LICENSE", "NOTICE"} <= held


def test_the_wheel_leaves_tests_and_tools_out(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops.isdisjoint({"tests", "scripts", "benchmarks", "docs", "locks"})
