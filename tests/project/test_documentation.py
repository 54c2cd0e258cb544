"""The documents say what is true: commands, options, links and names in them exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest


def _commands_page(root: Path) -> str:
    specification = importlib.util.spec_from_file_location(
        "write_commands", root / "scripts" / "write_commands.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return str(module.commands_page())


def test_every_command_and_option_is_documented(root: Path) -> None:
    written = (root / "docs" / "commands.md").read_text(encoding="utf-8")
    assert written == _commands_page(root), "run scripts/write_commands.py"


def test_every_option_in_the_readme_exists(root: Path) -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", _commands_page(root)))
    readme = (root / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^(?:\$ )?otter .*(?:\\\n.*)*", readme, re.MULTILINE):
        assert set(re.findall(r"--[a-z][a-z-]+", block)) <= known


def test_every_make_target_in_the_documents_exists(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (root / name).read_text(encoding="utf-8")
        used = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
        assert used, name
        assert used <= targets, name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_links_lead_somewhere(name: str, root: Path) -> None:
    page = root / name
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_file_in_the_architecture_exists(root: Path, tracked: list[Path]) -> None:
    names = [path.relative_to(root).as_posix() for path in tracked]
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [
        word
        for word in re.findall(r"`([\w./]+(?:\.py|/))`", page)
        if not any(f"/{word}" in f"/{name}" for name in names)
    ]
    assert missing == []


def test_the_readmes_python_example_uses_names_that_exist(root: Path) -> None:
    import otter_desktop

    readme = (root / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    compile(example, "README.md", "exec")
    (names,) = re.findall(r"from otter_desktop import (.+)", example)
    assert all(hasattr(otter_desktop, name.strip()) for name in names.split(","))
