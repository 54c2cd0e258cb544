"""Declared, locked and used dependencies agree."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Installed by scripts/setup.sh from pyproject.toml's exact pin, not from a lock.
_PINNED_IN_PYPROJECT = {"torch", "llama-cpp-python"}
_OURS = {"otter_desktop", "ui", "export", "training"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    with (root / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def _locked(path: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([^ ]+) \\$", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def _declared(project: dict[str, Any], *extras: str) -> dict[str, Requirement]:
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("engine", ("cpu",)), ("all", ("cpu", "export", "train", "dev"))],
)
def test_a_lock_holds_what_is_declared(
    lock: str, extras: tuple[str, ...], root: Path, project: dict[str, Any]
) -> None:
    locked = _locked(root / "locks" / f"{lock}.lock")
    for name, requirement in _declared(project, *extras).items():
        if name in _PINNED_IN_PYPROJECT:
            (pin,) = requirement.specifier
            assert pin.operator == "=="
        else:
            assert name in locked, f"run scripts/lock.sh: {name} is not locked"
            assert requirement.specifier.contains(locked[name]), name


def test_the_engines_lock_is_part_of_the_full_one(root: Path) -> None:
    assert (
        _locked(root / "locks" / "engine.lock").items()
        <= _locked(root / "locks" / "all.lock").items()
    )


def test_users_do_not_get_torch(root: Path, project: dict[str, Any]) -> None:
    engine = _locked(root / "locks" / "engine.lock").keys() | _declared(project, "cpu").keys()
    assert engine.isdisjoint({"torch", "transformers", "onnx"})


def _imported(folder: Path) -> dict[str, str]:
    """Map the third-party modules that a package imports to one file that does."""
    found: dict[str, str] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                found.setdefault(name.split(".")[0], str(path))
    return {
        name: path
        for name, path in found.items()
        if name not in sys.stdlib_module_names and name not in _OURS
    }


@pytest.mark.parametrize(
    ("package", "extras"),
    [("otter_desktop", ("cpu",)), ("export", ("cpu", "export")), ("training", ("cpu", "train"))],
)
def test_every_import_is_declared(
    package: str, extras: tuple[str, ...], root: Path, project: dict[str, Any]
) -> None:
    declared = _declared(project, *extras).keys()
    distributions = packages_distributions()
    undeclared = {
        module: where
        for module, where in _imported(root / package).items()
        if declared.isdisjoint(map(canonicalize_name, distributions.get(module, [module])))
    }
    assert undeclared == {}
