"""The command line: parses arguments and prints; everything else is done by the engine.

Only `argparse` loads before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from otter_desktop import __version__


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, in JSON where that was asked for."""

    wants_json = False

    def __init__(self, *args: Any, **options: Any) -> None:
        # An abbreviation that works today would be another option's tomorrow.
        super().__init__(*args, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        if _Parser.wants_json:
            from otter_desktop.cli.output import print_json

            print_json({"event": "error", "code": "usage", "message": message})
        self.exit(2, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; parsed arguments carry `run`, which returns the exit code."""
    from otter_desktop.cli.arguments import add_ask_parser, add_doctor_parser, add_models_parser

    parser: argparse.ArgumentParser = _Parser(
        prog="otter",
        description="Ask about a video clip or a photo album on your own computer.",
        epilog="Nothing leaves this machine.",
    )
    parser.add_argument("--version", action="version", version=f"otter {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_ask_parser(commands)
    add_models_parser(commands)
    add_doctor_parser(commands)
    if find_spec("otter_desktop.cli.bench") is not None:
        from otter_desktop.cli.bench import add_bench_parser

        add_bench_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns 0, 2 for the user's mistakes, 1 for anything else."""
    words = sys.argv[1:] if argv is None else list(argv)
    _Parser.wants_json = "--json" in words

    def command() -> int:
        arguments = build_parser().parse_args(words)
        code: int = arguments.run(arguments)
        return code

    from otter_desktop.cli.failures import run_safely

    return run_safely(command, as_json=_Parser.wants_json)
