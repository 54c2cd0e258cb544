"""`otter bench`: how fast the stages are on this machine, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from otter_desktop.cli.output import say

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_bench_parser(commands: Commands) -> None:
    """Add `otter bench`."""
    parser = commands.add_parser(
        "bench",
        help="time the stages on this machine",
        description="Time the stages of a model, or the language model's layers beside llama.cpp "
        "on weights made for it; prints one JSON object.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--model", metavar="NAME|DIR", help="default: the built-in one")
    parser.add_argument("--device", default="auto", help="auto, cpu, gpu, gpu:NUMBER or a name")
    parser.add_argument("--threads", type=_count, metavar="N", help="default: physical cores")
    parser.add_argument("--rounds", type=_count, default=7, metavar="N", help="medians of N rounds")
    parser.add_argument(
        "--against",
        choices=["llama.cpp"],
        help="compare with it: Q4_K layers of MPT-7B's shape, without and with gated blocks",
    )
    parser.add_argument(
        "--layers", type=_count, default=8, metavar="N", help="layers for --against"
    )
    parser.add_argument("--json", action="store_true", help="JSON on one line")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; progress goes to stderr."""
    result = _against(arguments) if arguments.against else _stages(arguments)
    say(json.dumps({"event": "bench", **result}, indent=None if arguments.json else 2))
    return 0


def _stages(arguments: argparse.Namespace) -> dict[str, object]:
    from otter_desktop.assistant.engine import Engine
    from otter_desktop.assistant.stage_times import measure_stages
    from otter_desktop.packages.store import open_package

    folder, _ = open_package(arguments.model)
    with Engine.open(folder, device=arguments.device, threads=arguments.threads) as engine:
        return asdict(measure_stages(engine, arguments.rounds))


def _against(arguments: argparse.Namespace) -> dict[str, object]:
    from otter_desktop.decoder.benchmark import BenchSettings, against_llama_cpp

    settings = BenchSettings(
        layers=arguments.layers, rounds=arguments.rounds, threads=arguments.threads
    )
    return asdict(against_llama_cpp(settings, lambda text: print(text, file=sys.stderr)))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give a number from 1 on")
    return number
