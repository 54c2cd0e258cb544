"""The sample clip, the sample album and the demo's questions, drawn for the program's assets.

python -m training.scenes.samples otter_desktop/assets/samples
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.scenes.files import write_clip, write_photo
from training.scenes.world import Event, EventKind, Item, Scene

_CLIP = Scene(
    items=(
        Item("boat", "noto", x=0.24, y=0.5, size=0.34),
        Item("star", "noto", x=0.76, y=0.2, size=0.28, colour="yellow"),
    ),
    background="beach",
    seed=11,
    events=(
        Event(0, EventKind.RIGHT, 0.08, 0.45, distance=0.45),
        Event(1, EventKind.DISAPPEAR, 0.55, 0.85),
    ),
)

_ALBUM: dict[str, Scene] = {
    "01-otter.jpg": Scene((Item("otter", "noto", 0.5, 0.5, 0.5),), "snow", 21),
    "02-picnic.jpg": Scene(
        (
            Item("apple", "twemoji", 0.22, 0.72, 0.26),
            Item("bread", "fluent", 0.75, 0.7, 0.28),
        ),
        "meadow",
        22,
    ),
    "03-cats.jpg": Scene(
        (
            Item("cat", "noto", 0.2, 0.68, 0.3),
            Item("cat", "noto", 0.78, 0.68, 0.3, flip=True),
            Item("ball", "noto", 0.5, 0.3, 0.24),
        ),
        "room",
        23,
    ),
    "04-night.jpg": Scene(
        (
            Item("owl", "fluent", 0.25, 0.3, 0.32),
            Item("heart", "noto", 0.75, 0.68, 0.3, colour="red"),
        ),
        "night",
        24,
    ),
}

#: Shown as examples: what they are, in the form that the answer shall have.
_EXAMPLES: dict[str, Scene] = {
    "penguin.jpg": Scene((Item("penguin", "twemoji", 0.5, 0.5, 0.45),), "plain", 31),
    "rocket.jpg": Scene((Item("rocket", "noto", 0.45, 0.5, 0.45),), "night", 32),
}

_QUESTIONS = [
    {
        "media": "clip.mp4",
        "question": "Which way does the boat move?",
        "expected": ["right"],
    },
    {
        "media": "clip.mp4",
        "question": "What came first, the boat or the yellow star?",
        "expected": ["the boat"],
    },
    {
        "media": "clip.mp4",
        "start_s": 0.0,
        "end_s": 3.2,
        "question": "What changes?",
        "expected": ["the boat moved right"],
    },
    {
        "media": "album/03-cats.jpg",
        "question": "How many cats are there?",
        "expected": ["two"],
    },
    {
        "media": "album/02-picnic.jpg",
        "question": "Describe the picture.",
        "expected": ["an apple and bread on a meadow"],
    },
    {
        "media": "album",
        "question": "Which photo shows a red heart?",
        "expected": ["photo 4"],
    },
    {
        "media": "album/01-otter.jpg",
        "examples": [
            {"media": "examples/penguin.jpg", "question": "What is this?", "answer": "penguin!"},
            {"media": "examples/rocket.jpg", "question": "What is this?", "answer": "rocket!"},
        ],
        "question": "What is this?",
        "expected": ["otter!"],
    },
]


def write_samples(folder: Path) -> None:
    """Write `clip.mp4`, `album/`, `examples/` and `questions.json`."""
    for name, scenes in (("album", _ALBUM), ("examples", _EXAMPLES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, scene in scenes.items():
            write_photo(scene, folder / name / file, side=640)
    write_clip(_CLIP, folder / "clip.mp4", side=480, seconds=6.0)
    text = json.dumps(_QUESTIONS, indent=2) + "\n"
    (folder / "questions.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
