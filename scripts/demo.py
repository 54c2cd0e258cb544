"""The main job on the built-in model: questions about the sample clip and the sample album.

Prints every answer with the frames that the model saw, and says which are right. Exit code 1 when
one is wrong, 2 when the demo cannot run. The questions and the answers expected of them lie beside
the samples, in `otter_desktop/assets/samples/questions.json`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from otter_desktop import Answer, Assistant, Clip, Example, OtterError, Photo
from otter_desktop.media import is_clip, list_album
from otter_desktop.paths import assets_dir

_SAMPLES = assets_dir() / "samples"


def _media(
    named: str | list[str], start_s: float | None = None, end_s: float | None = None
) -> list[Photo | Clip]:
    """Turn what a question names (part of a clip, a photo, an album's folder, …) into media."""
    found: list[Photo | Clip] = []
    for name in [named] if isinstance(named, str) else named:
        path = _SAMPLES / name
        if path.is_dir():
            found += [Photo(photo) for photo in list_album(path)]
        else:
            found.append(Clip(path, start_s, end_s) if is_clip(path) else Photo(path))
    return found


def _examples(listed: Iterable[Mapping[str, Any]]) -> list[Example]:
    return [Example(_media(one["media"]), one["question"], one["answer"]) for one in listed]


def _is_right(answer: str, expected: Iterable[str]) -> bool:
    """Compare word for word: where examples give a form, the form is part of the answer."""
    return answer.strip().casefold() in {one.casefold() for one in expected}


def _seen(answer: Answer) -> str:
    """Name the frames that the model saw: times for a clip, file names for photos."""
    parts: dict[str, list[str]] = {}
    for frame in answer.frames:
        times = parts.setdefault(Path(frame.file).name, [])
        if frame.time_s is not None:
            times.append(f"{frame.time_s:.2f}")
    return ", ".join(
        f"{name} at {' '.join(times)} s" if times else name for name, times in parts.items()
    )


def _named(named: str | list[str]) -> str:
    return named if isinstance(named, str) else ", ".join(named)


def main() -> int:
    """Ask every sample question; return the exit code."""
    questions = json.loads((_SAMPLES / "questions.json").read_text(encoding="utf-8"))
    right = 0
    with Assistant.open() as otter:
        for entry in questions:
            part = f", {entry['start_s']}-{entry['end_s']} s" if "end_s" in entry else ""
            print(f"\n{_named(entry['media'])}{part}")
            for example in entry.get("examples", []):
                print(
                    f"  example   {_named(example['media'])}: "
                    f"{example['question']} {example['answer']}"
                )
            print(f"  question  {entry['question']}")
            started = time.perf_counter()
            answer = otter.answer(
                entry["question"],
                _media(entry["media"], entry.get("start_s"), entry.get("end_s")),
                examples=_examples(entry.get("examples", [])),
                compare=entry.get("compare", False),
            )
            took_s = time.perf_counter() - started
            correct = _is_right(answer.text, entry["expected"])
            right += correct
            verdict = "right" if correct else f"WRONG, expected: {' | '.join(entry['expected'])}"
            print(f"  answer    {answer.text}   [{verdict}]")
            print(f"  it saw    {_seen(answer)}")
            print(f"  took      {took_s:.2f} s")
    print(f"\n{right} of {len(questions)} answers are right.")
    return 0 if right == len(questions) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileNotFoundError as error:
        print(f"demo: {error.filename} is missing from this checkout", file=sys.stderr)
        sys.exit(2)
    except OtterError as error:
        print(f"demo: {error.message}", file=sys.stderr)
        sys.exit(2)
