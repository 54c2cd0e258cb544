"""otter-train: draw scenes, tune a model, evaluate a package."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from otter_desktop.errors import OtterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (2 for the user's mistakes)."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        return int(options.run(options))
    except OtterError as error:
        sys.stderr.write(f"otter-train: {error.message}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("otter-train: stopped; the same command goes on from the checkpoint\n")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; parsed arguments carry `run`, which returns the exit status."""
    parser = argparse.ArgumentParser(prog="otter-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    scenes = commands.add_parser("scenes", help="draw pictures and clips with questions")
    scenes.add_argument("out", type=Path, help="folder for the MIMIC-IT files")
    scenes.add_argument("--photos", type=int, default=1000)
    scenes.add_argument("--clips", type=int, default=100)
    scenes.add_argument("--pairs", type=int, default=100)
    scenes.add_argument("--seed", type=int, default=1)
    scenes.add_argument("--held-out", action="store_true", help="only held-out compositions")
    scenes.set_defaults(run=_scenes)

    tune = commands.add_parser("tune", help="train the storybook model from scratch")
    tune.add_argument("out", type=Path, help="folder of the run; a stopped run goes on")
    tune.add_argument("--photo-steps", type=int, default=2400, help="seeing photos, 64 a step")
    tune.add_argument("--clip-steps", type=int, default=3700, help="seeing clips, 32 a step")
    tune.add_argument("--language-steps", type=int, default=3500, help="answering, 115 a step")
    tune.add_argument("--threads", type=int, default=2)
    tune.set_defaults(run=_tune)

    evaluate = commands.add_parser("evaluate", help="ask a package questions with known answers")
    evaluate.add_argument("--model", help="name or folder of a package (the built-in one)")
    evaluate.add_argument("--questions", type=int, default=200, help="for each task")
    evaluate.add_argument("--seed", type=int, default=1)
    evaluate.add_argument("--tasks", nargs="+", metavar="TASK", help="only these tasks")
    evaluate.add_argument("--wrong", action="store_true", help="show wrong answers on stderr")
    evaluate.add_argument("--json", action="store_true", help="one JSON object")
    evaluate.set_defaults(run=_evaluate)
    return parser


def _scenes(options: argparse.Namespace) -> int:
    from training.scenes.records import write_scenes
    from training.scenes.world import Split

    number = write_scenes(
        options.out,
        photos=options.photos,
        clips=options.clips,
        pairs=options.pairs,
        seed=options.seed,
        split=Split.HELD_OUT if options.held_out else Split.TRAIN,
    )
    sys.stdout.write(f"{number} questions in {options.out}\n")
    return 0


def _tune(options: argparse.Namespace) -> int:
    from training.storybook import make_storybook

    make_storybook(
        options.out,
        photo_steps=options.photo_steps,
        clip_steps=options.clip_steps,
        language_steps=options.language_steps,
        threads=options.threads,
    )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from training.evaluate import TASKS, Question, evaluate

    unknown = sorted(set(options.tasks or ()) - set(TASKS))
    if unknown:
        sys.stderr.write(f"otter-train: no task {unknown[0]}; there are: {', '.join(TASKS)}\n")
        return 2

    def show(question: Question, answer: str) -> None:
        if options.wrong:
            sys.stderr.write(
                f"{question.task}: {question.text} {answer!r} for {question.answer!r}\n"
            )

    scores = evaluate(
        options.model,
        questions_per_task=options.questions,
        seed=options.seed,
        tasks=options.tasks or TASKS,
        wrong=show,
    )
    if options.json:
        table = {task: dataclasses.asdict(score) for task, score in scores.items()}
        sys.stdout.write(json.dumps(table) + "\n")
        return 0
    sys.stdout.write(f"{'task':26}{'right':>8}{'±':>7}{'chance':>9}{'n':>6}\n")
    for task, score in scores.items():
        sys.stdout.write(
            f"{task:26}{score.accuracy:8.1%}{score.margin:7.1%}{score.chance:9.1%}{score.n:6}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
