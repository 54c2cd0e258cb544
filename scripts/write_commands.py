"""Write docs/commands.md from the programs' own argument parsers (a test compares them).

.venv/bin/python scripts/write_commands.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from export.cli import build_parser as export_parser
from otter_desktop.cli import build_parser as otter_parser
from training.cli import build_parser as train_parser

_FILE = Path(__file__).parents[1] / "docs" / "commands.md"
_HEAD = """# Every command and option

Written by `scripts/write_commands.py` from the programs themselves; edit those, not this.
Exit codes: 0; 2 when something about the files, options or question is wrong; 1 for anything else.
`--json` prints one JSON object a line.
"""


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands; a program without commands is its own."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from _leaves(command)


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        shown = action.metavar or action.dest
        return f"{shown}" if isinstance(shown, str) else " ".join(shown)
    words = list(action.option_strings[-1:])
    if action.nargs != 0:
        if action.metavar:
            words.append(str(action.metavar))
        elif action.choices:
            words.append("|".join(map(str, action.choices)))
        else:
            words.append(action.dest.upper())
    return " ".join(words)


def _command(parser: argparse.ArgumentParser) -> str:
    lines = [f"\n## {parser.prog}\n"]
    if parser.description:
        lines.append(f"{parser.description}\n")
    rows = []
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            name = _name(action).replace("|", r"\|")  # a bar would end the table's cell
            rows.append(f"| `{name}` | {action.help or ''} |")
    if rows:
        lines += ["| argument | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """Return the text of docs/commands.md as it should be."""
    parts = [_HEAD]
    for program in (otter_parser(), export_parser(), train_parser()):
        parts += [_command(parser) for parser in _leaves(program)]
    return "".join(parts)


if __name__ == "__main__":
    _FILE.write_text(commands_page(), encoding="utf-8")
    print(_FILE, file=sys.stderr)
