"""The commands' options; their work is imported only when they run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class _Media(argparse.Action):
    """Collects photos, albums and clips in the order in which they are named."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        kind = str(option_string).lstrip("-")
        namespace.media = [*(namespace.media or []), (kind, Path(str(values)))]


def add_ask_parser(commands: Commands) -> None:
    """Add `otter ask`."""
    parser = commands.add_parser(
        "ask",
        help="ask about photos, an album or a clip",
        description="Ask a question about photos, an album or a clip; the answer is streamed.",
    )
    parser.set_defaults(run=_run_ask, media=None)
    parser.add_argument("question", help="what you want to know")
    media = parser.add_argument_group("what it is about")
    media.add_argument("--image", action=_Media, metavar="F", help="a photo (repeatable)")
    media.add_argument("--album", action=_Media, metavar="DIR", help="all photos of a folder")
    media.add_argument("--video", action=_Media, metavar="F", help="a clip")
    media.add_argument("--start", type=_time, metavar="S", help="where to begin, 12.5 or 1:02")
    media.add_argument("--end", type=_time, metavar="S", help="where to end")
    media.add_argument("--frames", type=int, metavar="N", help="how many frames to look at")
    media.add_argument(
        "--compare",
        action="store_true",
        help="look at the photos side by side instead of one after the other",
    )
    examples = parser.add_argument_group("examples to follow")
    examples.add_argument(
        "--example",
        action="append",
        default=[],
        metavar="FILE::question::answer",
        help="a photo or clip with a question and the answer wanted (repeatable)",
    )
    examples.add_argument(
        "--examples",
        type=Path,
        metavar="SET.json",
        help="a file of examples: a list of {files, question, answer}, or MIMIC-IT instructions",
    )
    _add_writing_options(parser)
    _add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_writing_options(parser: argparse.ArgumentParser) -> None:
    writing = parser.add_argument_group("how the answer is written")
    writing.add_argument("--max-tokens", type=int, default=256, metavar="N", help="longest answer")
    writing.add_argument("--beams", type=int, default=1, metavar="N", help="beam search")
    writing.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0: always the likeliest word"
    )
    writing.add_argument("--top-k", type=int, default=0, metavar="K", help="of the K likeliest")
    writing.add_argument("--top-p", type=float, default=1.0, metavar="P", help="of the top share")
    writing.add_argument("--min-p", type=float, default=0.0, metavar="P", help="of those above P")
    writing.add_argument(
        "--repetition-penalty", type=float, default=1.0, metavar="X", help="above 1: repeat less"
    )
    writing.add_argument(
        "--no-repeat-ngram", type=int, default=0, metavar="N", help="never repeat N tokens"
    )
    writing.add_argument(
        "--ban", action="append", default=[], metavar="TEXT", help="never write this (repeatable)"
    )
    writing.add_argument("--seed", type=int, metavar="N", help="repeat a drawn answer exactly")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME|DIR", help="default: the built-in one")
    model.add_argument("--device", default="auto", help="auto, cpu, gpu, gpu:NUMBER or a name")
    model.add_argument("--threads", type=int, metavar="N", help="default: physical cores")


def add_models_parser(commands: Commands) -> None:
    """Add `otter models`."""
    parser = commands.add_parser(
        "models", help="list, check, import and remove models", description="Models."
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, text in [
        ("list", "the models on this computer"),
        ("show", "what a model says about itself"),
        ("verify", "check every byte of a model"),
        ("import", "install a package folder or a .otterpkg file"),
        ("remove", "remove an imported model"),
    ]:
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(run=_run_models, action=name)
        if name == "import":
            action.add_argument("model", type=Path, metavar="PATH")
        elif name == "remove":
            action.add_argument("model", metavar="NAME")
        elif name != "list":
            action.add_argument(
                "model", nargs="?", metavar="NAME|DIR", help="default: the built-in one"
            )
        action.add_argument("--json", action="store_true", help="JSON")


def add_doctor_parser(commands: Commands) -> None:
    """Add `otter doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="versions, devices, folders and a self-test",
        description="Check this installation and ask the built-in model a question.",
    )
    parser.add_argument("--json", action="store_true", help="JSON")
    parser.set_defaults(run=_run_doctor)


def _time(text: str) -> float:
    """Read seconds, or minutes and hours before them: 12.5, 1:02, 1:00:02.5."""
    parts = text.split(":")
    if len(parts) > 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 12.5, 1:02 or 1:00:02")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 12.5, 1:02 or 1:00:02"
        ) from None
    total = 0.0
    for value in values:
        total = total * 60 + value
    return total


def _run_ask(arguments: argparse.Namespace) -> int:
    from otter_desktop.cli.ask import run

    return run(arguments)


def _run_models(arguments: argparse.Namespace) -> int:
    from otter_desktop.cli.models import run

    return run(arguments)


def _run_doctor(arguments: argparse.Namespace) -> int:
    from otter_desktop.cli.doctor import run

    return run(arguments)
