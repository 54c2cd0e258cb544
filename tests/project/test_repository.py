"""What holds for every file of the repository: sizes, and no trace of the machine it grew on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_CODE_FOLDERS = ("otter_desktop", "ui", "export", "training", "benchmarks", "scripts")
_LOOK_AGAIN_LINES = 400
_NEVER_PAST_LINES = 600
_NEVER_PAST_FUNCTION_LINES = 100
#: Longer than 400 lines for a reason; raw bindings are one table that reads best in one piece.
_LONG_FOR_A_REASON = {"otter_desktop/decoder/bindings.py"}

_PRIVATE_PATH = re.compile(r"(?<![\w.$}~/-])/(?:home|root|Users|work|mnt|opt)/[\w.]+|file:///\w")


def _code(tracked: list[Path], root: Path) -> list[Path]:
    return [
        path
        for path in tracked
        if path.suffix == ".py" and path.relative_to(root).parts[0] in _CODE_FOLDERS
    ]


def test_no_file_is_too_long(tracked: list[Path], root: Path) -> None:
    too_long = {}
    for path in _code(tracked, root):
        name = path.relative_to(root).as_posix()
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = _NEVER_PAST_LINES if name in _LONG_FOR_A_REASON else _LOOK_AGAIN_LINES
        if lines > limit:
            too_long[name] = lines
    assert too_long == {}


def test_no_function_is_too_long(tracked: list[Path], root: Path) -> None:
    too_long = {}
    for path in _code(tracked, root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > _NEVER_PAST_FUNCTION_LINES:
                    too_long[f"{path.relative_to(root)}:{node.name}"] = lines
    assert too_long == {}


def test_no_file_names_a_place_on_the_developers_machine(tracked: list[Path], root: Path) -> None:
    found = []
    for path in set(tracked) - {Path(__file__)}:  # which has samples of what it looks for
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(root)}: {hit}" for hit in _PRIVATE_PATH.findall(text)]
    assert found == []


@pytest.mark.parametrize(
    "text", ["see /home/anna/x", "open('/work/a')", "--index file:///srv/simple", "/opt/wheels"]
)
def test_the_search_for_private_paths_finds_them(text: str) -> None:
    assert _PRIVATE_PATH.search(text)


@pytest.mark.parametrize("text", ["https://example.org/work/a", "~/work/x", "and/or work/home"])
def test_the_search_for_private_paths_leaves_others_alone(text: str) -> None:
    assert not _PRIVATE_PATH.search(text)
