"""How well a package answers, task by task, asked through the program as a user asks.

Every question has a held-out composition and a held-out phrasing; photos and clips are written
to files and opened again, so that the whole way is measured: file, frames, ONNX, ggml, text.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from otter_desktop import Assistant, Clip, Example, Photo
from training.scenes import questions
from training.scenes.files import write_clip, write_photo
from training.scenes.phrases import (
    BACKGROUND_WORDS,
    NUMBERS,
    Task,
    a,
    answer_form,
    phrase,
    plural,
)
from training.scenes.questions import QA
from training.scenes.things import COLOUR_NAMES, KINDS
from training.scenes.world import (
    Scene,
    Split,
    random_clip,
    random_pair,
    random_photo,
)
from training.sequences import MADE_UP


@dataclass(frozen=True)
class Question:
    """One question as a user puts it, with the right answer."""

    task: str
    text: str
    answer: str
    media: tuple[Photo | Clip, ...]
    examples: tuple[Example, ...] = ()
    compare: bool = False


@dataclass(frozen=True)
class Score:
    """Share of right answers to `n` questions, and what guessing would give."""

    accuracy: float
    n: int
    chance: float

    @property
    def margin(self) -> float:
        """Half the width of the 95% interval (normal approximation)."""
        return 1.96 * math.sqrt(max(self.accuracy * (1 - self.accuracy), 1e-9) / self.n)


class _Files:
    """Writes scenes into a folder and hands out photos and clips."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def _path(self, suffix: str) -> Path:
        self._count += 1
        return self._folder / f"{self._count:06d}{suffix}"

    def photo(self, scene: Scene, time: float = 0.0) -> Photo:
        return Photo(write_photo(scene, self._path(".png"), time=time))

    def clip(self, scene: Scene) -> Clip:
        return Clip(write_clip(scene, self._path(".mp4")))


Maker = Callable[[random.Random, _Files], Question | None]


def _about_photo(maker: questions.Maker, name: str, **kinds: int) -> Maker:
    def make(rng: random.Random, files: _Files) -> Question | None:
        scene = random_photo(rng, Split.HELD_OUT, **kinds)
        qa = maker(scene, rng, Split.HELD_OUT)
        return _question(qa, (files.photo(scene),), name) if qa else None

    return make


def _question(qa: QA, media: tuple[Photo | Clip, ...], name: str | None = None) -> Question:
    return Question(name or qa.task.value, qa.question, qa.answer, media)


def _about_clip(maker: questions.Maker, task: Task, events: int) -> Maker:
    def make(rng: random.Random, files: _Files) -> Question | None:
        scene = random_clip(rng, Split.HELD_OUT, events=events)
        qa = maker(scene, rng, Split.HELD_OUT)
        return _question(qa, (files.clip(scene),), task.value) if qa else None

    return make


def _motion(rng: random.Random, files: _Files) -> Question | None:
    """Four directions: clips in which the thing asked about does move."""
    scene = random_clip(rng, Split.HELD_OUT, events=rng.choice((1, 2)))
    qa = questions.motion(scene, rng, Split.HELD_OUT)
    if qa is None or qa.answer == "it stays":
        return None
    return _question(qa, (files.clip(scene),))


def _count(rng: random.Random, files: _Files) -> Question | None:
    """How many of the thing that the picture repeats, one to three."""
    same = rng.randint(1, 3)
    scene = random_photo(rng, Split.HELD_OUT, count=min(5, same + rng.randint(0, 2)), same=same)
    kind = scene.items[0].kind
    number = sum(item.kind == kind for item in scene.items)
    if number > 3:
        return None
    text = phrase(Task.COUNT, rng, Split.HELD_OUT, things=plural(kind))
    answer = NUMBERS[number]
    return Question("count_1_to_3", text, answer, (files.photo(scene),))


def _count_high(rng: random.Random, files: _Files) -> Question | None:
    same = rng.randint(4, 5)
    scene = random_photo(rng, Split.HELD_OUT, count=same, same=same)
    text = phrase(Task.COUNT, rng, Split.HELD_OUT, things=plural(scene.items[0].kind))
    answer = NUMBERS[same]
    return Question("count_4_to_5", text, answer, (files.photo(scene),))


def _difference(rng: random.Random, files: _Files) -> Question | None:
    scene = random_pair(rng, Split.HELD_OUT)
    qa = questions.difference(scene, rng, Split.HELD_OUT)
    if qa is None:
        return None
    media = (files.photo(scene, 0.0), files.photo(scene, 1.0))
    return Question(qa.task.value, qa.question, qa.answer, media, compare=True)


def _which_photo(size: int) -> Maker:
    def make(rng: random.Random, files: _Files) -> Question | None:
        scenes = [random_photo(rng, Split.HELD_OUT) for _ in range(size)]
        target = rng.randrange(size)
        item = rng.choice(scenes[target].items)
        name = item.name if rng.random() < 0.6 else item.kind
        shows = [any(name in (i.name, i.kind) for i in scene.items) for scene in scenes]
        if sum(shows) != 1:
            return None
        text = phrase(Task.WHICH_PHOTO, rng, Split.HELD_OUT, a_thing=a(name))
        media = tuple(files.photo(scene) for scene in scenes)
        return Question(f"which_photo_of_{size}", text, f"photo {target + 1}", media)

    return make


def _form(unseen: bool) -> Maker:
    name = "form_by_example_unseen" if unseen else "form_by_example"

    def make(rng: random.Random, files: _Files) -> Question | None:
        form = answer_form(rng, unseen=unseen)
        text = phrase(Task.NAME, rng, Split.HELD_OUT)
        scenes = [random_photo(rng, Split.HELD_OUT, count=1) for _ in range(3)]
        names = [scene.items[0].name for scene in scenes]
        answers = [form.format(x=thing, a=a(thing)) for thing in names]
        examples = tuple(
            Example([files.photo(scene)], text, answer)
            for scene, answer in zip(scenes[:2], answers[:2], strict=True)
        )
        return Question(name, text, answers[2], (files.photo(scenes[2]),), examples)

    return make


def _made_up(rng: random.Random, files: _Files) -> Question | None:
    kinds: list[str] = []
    scenes = [random_photo(rng, Split.HELD_OUT, count=1) for _ in range(2)]
    kinds = [scene.items[0].kind for scene in scenes]
    if kinds[0] == kinds[1]:
        return None
    query = rng.randrange(2)
    while True:
        asked = random_photo(rng, Split.HELD_OUT, count=1)
        if asked.items[0].kind == kinds[query]:
            break
    names = rng.sample(MADE_UP, 2)
    text = "What is this called?"
    examples = tuple(
        Example([files.photo(scene)], text, name) for scene, name in zip(scenes, names, strict=True)
    )
    return Question("name_by_example", text, names[query], (files.photo(asked),), examples)


#: task -> (what makes its questions, share that guessing gets right)
TASKS: dict[str, tuple[Maker, float]] = {
    "name": (
        _about_photo(questions.name, "name", count=1),
        1 / (len(KINDS) - 8 + 8 * len(COLOUR_NAMES)),
    ),
    "yes_no": (_about_photo(questions.yes_no, "yes_no"), 1 / 2),
    "colour": (_about_photo(questions.colour, "colour"), 1 / (len(COLOUR_NAMES) + 1)),
    "count_1_to_3": (_count, 1 / 3),
    "count_4_to_5": (_count_high, 1 / 2),
    "where": (_about_photo(questions.where, "where"), 1 / 10),
    "what_at": (_about_photo(questions.what_at, "what_at"), 1 / len(KINDS)),
    "background": (
        _about_photo(questions.background, "background"),
        1 / len(BACKGROUND_WORDS),
    ),
    "caption_one_thing": (
        _about_photo(questions.caption, "caption_one_thing", count=1),
        0.0,
    ),
    "caption_two_things": (
        _about_photo(questions.caption, "caption_two_things", count=2),
        0.0,
    ),
    "caption_three_things": (
        _about_photo(questions.caption, "caption_three_things", count=3),
        0.0,
    ),
    "motion": (_motion, 1 / 4),
    "change": (_about_clip(questions.change, Task.CHANGE, 1), 0.0),
    "order": (_about_clip(questions.order, Task.ORDER, 2), 1 / 2),
    "which_photo_of_3": (_which_photo(3), 1 / 3),
    "which_photo_of_4": (_which_photo(4), 1 / 4),
    "difference": (_difference, 0.0),
    "form_by_example": (_form(unseen=False), 0.0),
    "form_by_example_unseen": (_form(unseen=True), 0.0),
    "name_by_example": (_made_up, 1 / 2),
}


def normal(text: str) -> str:
    """An answer as it is compared: lower case, single spaces, no full stop at the end."""
    return " ".join(text.lower().split()).removesuffix(".")


def evaluate(
    model: str | None,
    *,
    questions_per_task: int,
    seed: int,
    tasks: Iterable[str] = TASKS,
    wrong: Callable[[Question, str], None] | None = None,
) -> dict[str, Score]:
    """Ask the package `questions_per_task` questions of each task; `wrong` hears of mistakes."""
    scores = {}
    with Assistant.open(model) as otter:
        for task in tasks:
            make, chance = TASKS[task]
            rng = random.Random(f"{seed}/{task}")
            right = 0
            for _ in range(questions_per_task):
                with tempfile.TemporaryDirectory() as folder:
                    files = _Files(Path(folder))
                    question = None
                    while question is None:
                        question = make(rng, files)
                    answer = otter.answer(
                        question.text,
                        list(question.media),
                        examples=list(question.examples),
                        compare=question.compare,
                    ).text
                if normal(answer) == normal(question.answer):
                    right += 1
                elif wrong is not None:
                    wrong(question, answer)
            scores[task] = Score(right / questions_per_task, questions_per_task, chance)
    return scores
