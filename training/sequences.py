"""Training sequences: questions and answers laid out exactly as the program will ask them.

Several questions about one picture or clip are packed as turns, so that each encoded picture
teaches several answers; albums ask the question of each photo; in-context sequences put answered
examples before the question.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from otter_desktop.text.prompt import AlbumLayout, Exchange, PromptTemplate
from otter_desktop.text.tokenizer import Tokenizer
from training.scenes import questions
from training.scenes.phrases import Task, a, answer_form, phrase
from training.scenes.questions import QA
from training.scenes.things import KINDS
from training.scenes.world import Scene, Split

TEMPLATE = PromptTemplate("spaced", AlbumLayout.QUESTION_EACH)

#: Made-up names: syllables that are no English word.
MADE_UP = tuple(
    f"{first}{vowel}{last}"
    for first in ("bl", "d", "f", "gl", "kr", "m", "pl", "v", "z")
    for vowel in "aiou"
    for last in ("ck", "k", "ft", "zz")
)[::2]
_MADE_UP_QUESTIONS = ("What is its made-up name?", "What do we call this?", "What is this called?")


@dataclass(frozen=True)
class Media:
    """A photo or clip of a pool, by number."""

    pool: str
    number: int


@dataclass(frozen=True)
class Answered:
    """Where an answer lies in a sequence: positions of its tokens, end token included."""

    task: Task
    start: int
    end: int
    scored: bool = True


@dataclass(frozen=True)
class TrainingSequence:
    """Token ids, the media that its image tags stand for, and where the answers are."""

    ids: list[int]
    media: list[Media]
    answers: list[Answered]
    presence: list[tuple[int, bool]] = field(default_factory=list)
    """For albums: the last token of each photo's question, and whether it shows the thing."""


class SequenceMaker:
    """Draws training or evaluation sequences about the scenes of the pools."""

    def __init__(self, tokenizer: Tokenizer, pools: dict[str, list[Scene]], split: Split) -> None:
        assert tokenizer.answer_id is not None
        self._tokenizer = tokenizer
        self._answer_id: int = tokenizer.answer_id
        self._pools = pools
        self._split = split
        self._single = [n for n, s in enumerate(pools["photos"]) if len(s.items) == 1]
        self._repeating = [
            n for n, s in enumerate(pools["photos"]) if _repeats(s) and not _repeats(s, over=3)
        ]
        self._by_kind: dict[str, list[int]] = {}
        for number in self._single:
            self._by_kind.setdefault(pools["photos"][number].items[0].kind, []).append(number)

    def photo(self, rng: random.Random, number: int = 6) -> TrainingSequence | None:
        """Several questions about one photo."""
        return self._turns("photos", questions.PHOTO_QUESTIONS, rng, number)

    def counting(self, rng: random.Random) -> TrainingSequence | None:
        """How many there are of a thing that the photo shows two or three times."""
        index = rng.choice(self._repeating)
        return self._about("photos", index, _only(Task.COUNT), rng, 1)

    def clip(self, rng: random.Random, number: int = 3) -> TrainingSequence | None:
        """Several questions about one clip."""
        return self._turns("clips", questions.CLIP_QUESTIONS, rng, number)

    def pair(self, rng: random.Random) -> TrainingSequence | None:
        """What differs between two photos."""
        return self._turns("pairs", questions.PAIR_QUESTIONS, rng, 1)

    def one(self, task: Task, rng: random.Random) -> TrainingSequence | None:
        """One question of one kind (for evaluation)."""
        if task in (Task.MOTION, Task.CHANGE, Task.ORDER):
            return self._turns("clips", _only(task), rng, 1)
        if task is Task.DIFFERENCE:
            return self.pair(rng)
        if task is Task.WHICH_PHOTO:
            return self.album(rng)
        if task is Task.FORM_BY_EXAMPLE:
            return self.form(rng, unseen=False)
        if task is Task.NAME_BY_EXAMPLE:
            return self.made_up(rng)
        return self._turns("photos", _only(task), rng, 1)

    def _turns(
        self,
        pool: str,
        makers: tuple[tuple[questions.Maker, float], ...],
        rng: random.Random,
        number: int,
    ) -> TrainingSequence | None:
        index = rng.randrange(len(self._pools[pool]))
        return self._about(pool, index, makers, rng, number)

    def _about(
        self,
        pool: str,
        index: int,
        makers: tuple[tuple[questions.Maker, float], ...],
        rng: random.Random,
        number: int,
    ) -> TrainingSequence | None:
        asked = questions.some(makers, self._pools[pool][index], rng, self._split, number)
        if not asked:
            return None
        turns = [Exchange(qa.question, 1 if n == 0 else 0, qa.answer) for n, qa in enumerate(asked)]
        return self._sequence(turns, [Media(pool, index)], [qa.task for qa in asked])

    def album(self, rng: random.Random, size: int | None = None) -> TrainingSequence | None:
        """Which of three or four photos shows a thing."""
        photos = self._pools["photos"]
        size = size or rng.choice((3, 4))
        numbers = rng.sample(range(len(photos)), size)
        target = rng.randrange(size)
        thing = rng.choice(photos[numbers[target]].items)
        name = thing.name if rng.random() < 0.6 else thing.kind
        shows = [
            any(name in (item.name, item.kind) for item in photos[number].items)
            for number in numbers
        ]
        if sum(shows) != 1:
            return None
        question = phrase(Task.WHICH_PHOTO, rng, self._split, a_thing=a(name))
        turn = Exchange(question, size, f"photo {target + 1}")
        media = [Media("photos", number) for number in numbers]
        made = self._sequence([turn], media, [Task.WHICH_PHOTO])
        tags = [n for n, token in enumerate(made.ids) if token == self._tokenizer.image_id]
        # A photo's question ends before the next photo, the last one before " GPT", ":", the tag.
        ends = [tag - 1 for tag in tags[1:]] + [made.answers[0].start - 4]
        presence = list(zip(ends, shows, strict=True))
        return TrainingSequence(made.ids, media, made.answers, presence)

    def form(
        self, rng: random.Random, shots: int | None = None, *, unseen: bool = False
    ) -> TrainingSequence | None:
        """A form of answer that only the examples tell."""
        shots = shots or rng.choice((1, 2, 2, 3))
        form = answer_form(rng, unseen=unseen)
        task = rng.choice((Task.NAME, Task.NAME, Task.COLOUR, Task.WHERE, Task.BACKGROUND))
        if "{a}" in form:
            task = Task.NAME
        found: list[tuple[int, QA]] = []
        while len(found) <= shots:
            source = self._single if task is Task.NAME else range(len(self._pools["photos"]))
            number = source[rng.randrange(len(source))]
            scene = self._pools["photos"][number]
            qa = _MAKERS[task](scene, rng, self._split)
            if qa and qa.answer != questions.ABSENT:
                found.append((number, qa))
        turns = []
        for number, qa in found:
            name = self._pools["photos"][number].items[0].name
            words = {"x": name, "a": a(name)} if task is Task.NAME else {"x": qa.answer}
            turns.append(Exchange(qa.question, 1, form.format(**words)))
        media = [Media("photos", number) for number, _ in found]
        return self._sequence(turns, media, [Task.FORM_BY_EXAMPLE] * len(turns), unscored=1)

    def made_up(self, rng: random.Random) -> TrainingSequence | None:
        """Give two things made-up names by example and ask for the name of one of them."""
        kinds = rng.sample(sorted(self._by_kind), 2)
        names = rng.sample(MADE_UP, 2)
        query = rng.randrange(2)
        question = rng.choice(_MADE_UP_QUESTIONS)
        numbers = [rng.choice(self._by_kind[kind]) for kind in (*kinds, kinds[query])]
        answers = [*names, names[query]]
        turns = [Exchange(question, 1, answer) for answer in answers]
        media = [Media("photos", number) for number in numbers]
        return self._sequence(turns, media, [Task.NAME_BY_EXAMPLE] * 3, unscored=2)

    def _sequence(
        self, turns: Sequence[Exchange], media: list[Media], tasks: list[Task], unscored: int = 0
    ) -> TrainingSequence:
        last = turns[-1]
        asked = Exchange(last.question, last.media_count)
        pieces = TEMPLATE.build(asked, turns=turns[:-1]) + TEMPLATE.answered(last.answer or "")
        ids = self._tokenizer.encode(pieces)
        starts = [n + 1 for n, token in enumerate(ids) if token == self._answer_id]
        ends = [n + 1 for n, token in enumerate(ids) if token == self._tokenizer.end_id]
        answers = [
            Answered(task, start, end, scored=n >= unscored)
            for n, (task, start, end) in enumerate(zip(tasks, starts, ends, strict=True))
        ]
        return TrainingSequence(ids, media, answers)


_MAKERS: dict[Task, questions.Maker] = {
    Task.NAME: questions.name,
    Task.WHAT_AT: questions.what_at,
    Task.COLOUR: questions.colour,
    Task.COUNT: questions.count,
    Task.WHERE: questions.where,
    Task.YES_NO: questions.yes_no,
    Task.CAPTION: questions.caption,
    Task.BACKGROUND: questions.background,
    Task.MOTION: questions.motion,
    Task.CHANGE: questions.change,
    Task.ORDER: questions.order,
}


def _repeats(scene: Scene, over: int = 1) -> bool:
    """Whether the photo shows its first item's kind more than `over` times."""
    return sum(item.kind == scene.items[0].kind for item in scene.items) > over


def _only(task: Task) -> tuple[tuple[questions.Maker, float], ...]:
    return ((_MAKERS[task], 1.0),)


def text_sample(rng: random.Random, scenes: list[Scene]) -> list[str]:
    """Every text that questions about these scenes use, for training a tokenizer."""
    texts = []
    makers = questions.PHOTO_QUESTIONS + questions.CLIP_QUESTIONS + questions.PAIR_QUESTIONS
    for scene in scenes:
        for split in Split:
            for qa in questions.some(makers, scene, rng, split, 6):
                texts.append(f"User: {qa.question} GPT:")
                texts.append(f" {qa.answer}")
        form = answer_form(rng, unseen=rng.random() < 0.1)
        kind = rng.choice(KINDS)
        texts += [" " + form.format(x=kind, a=a(kind)), f" {rng.choice(MADE_UP)}"]
        texts.append(f" photo {rng.randint(1, 8)} Photo {rng.randint(1, 8)}.")
        texts.append(rng.choice(_MADE_UP_QUESTIONS))
        which = phrase(Task.WHICH_PHOTO, rng, rng.choice(list(Split)), a_thing=a(kind))
        texts.append(f"User: {which} ")
    return texts
