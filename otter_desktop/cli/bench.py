"""`otter bench`: how fast the stages are on this machine, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict


def add_bench_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the `bench` command; its parsed arguments carry `run`, which returns the exit code."""
    parser = subparsers.add_parser(
        "bench",
        help="time the stages on this machine (JSON)",
        description="Time the language model, on weights made for it, beside llama.cpp.",
    )
    parser.add_argument(
        "--against", choices=["llama.cpp"], default="llama.cpp", help="what to compare with"
    )
    parser.add_argument("--layers", type=int, default=8, help="layers of MPT-7B's shape (8)")
    parser.add_argument("--prompt-tokens", type=int, default=128, help="tokens of prefill (128)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that medians are of (7)")
    parser.add_argument("--threads", type=int, help="threads (default: physical cores)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print one JSON object; progress goes to stderr."""
    from otter_desktop.decoder.benchmark import BenchSettings, against_llama_cpp

    settings = BenchSettings(
        layers=args.layers,
        prompt_tokens=args.prompt_tokens,
        rounds=args.rounds,
        threads=args.threads,
    )
    speed = against_llama_cpp(settings, lambda text: print(text, file=sys.stderr))
    print(json.dumps({"event": "bench", "stage": "decoder", **asdict(speed)}, indent=2))
    return 0
