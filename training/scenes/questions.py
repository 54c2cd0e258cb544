"""Questions about a scene with their right answers, from what the scene's description says."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from training.scenes.phrases import (
    BACKGROUND_WORDS,
    NUMBERS,
    Task,
    a,
    phrase,
    plural,
)
from training.scenes.things import COLOUR_NAMES, KINDS, SHAPES, THINGS
from training.scenes.world import PLACES, Event, EventKind, Item, Scene, Split

ABSENT = "there is none"

_PAST = {
    EventKind.LEFT: "moved left",
    EventKind.RIGHT: "moved right",
    EventKind.UP: "moved up",
    EventKind.DOWN: "moved down",
    EventKind.APPEAR: "appeared",
    EventKind.DISAPPEAR: "disappeared",
    EventKind.GROW: "grew",
    EventKind.SHRINK: "shrank",
}


@dataclass(frozen=True)
class QA:
    """A question, its right answer, and what kind of question it is."""

    task: Task
    question: str
    answer: str


def _named(item: Item, rng: random.Random) -> str:
    return item.name if rng.random() < 0.6 else item.kind


def _lone(scene: Scene) -> list[Item]:
    """Items whose kind occurs once, so that "the star" means one of them."""
    kinds = [item.kind for item in scene.items]
    return [item for item in scene.items if kinds.count(item.kind) == 1]


def _absent_kind(scene: Scene, rng: random.Random, kinds: tuple[str, ...] = KINDS) -> str:
    present = {item.kind for item in scene.items}
    return rng.choice([kind for kind in kinds if kind not in present])


def name(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask what this is, of a picture with one thing."""
    if len(scene.items) != 1:
        return None
    return QA(Task.NAME, phrase(Task.NAME, rng, split), a(scene.items[0].name))


def what_at(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask what is at the top left, where one thing or nothing is there."""
    cells = [item.cell for item in scene.items]
    if rng.random() < 0.2:
        free = [
            (row, column)
            for row in range(3)
            for column in range(3)
            if all(max(abs(row - r), abs(column - c)) > 1 for r, c in cells)
        ]
        if not free:
            return None
        row, column = rng.choice(free)
        question = phrase(Task.WHAT_AT, rng, split, place=PLACES[row][column])
        return QA(Task.WHAT_AT, question, "nothing")
    clear = [item for item in scene.items if item.place and cells.count(item.cell) == 1]
    if not clear:
        return None
    item = rng.choice(clear)
    question = phrase(Task.WHAT_AT, rng, split, place=item.place or "")
    return QA(Task.WHAT_AT, question, a(item.name))


def colour(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask for the colour of a shape, sometimes of one that is not there."""
    lone = [item for item in _lone(scene) if item.colour]
    if rng.random() < (0.2 if lone else 0.1):
        kind = _absent_kind(scene, rng, SHAPES)
        return QA(Task.COLOUR, phrase(Task.COLOUR, rng, split, thing=kind), ABSENT)
    if not lone:
        return None
    item = rng.choice(lone)
    return QA(Task.COLOUR, phrase(Task.COLOUR, rng, split, thing=item.kind), item.colour or "")


def count(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask how many there are of one thing."""
    if rng.random() < 0.12:
        kind, number = _absent_kind(scene, rng), 0
    else:
        # The first item is the one that a picture for counting repeats.
        kind = scene.items[0].kind if rng.random() < 0.7 else rng.choice(scene.items).kind
        number = sum(item.kind == kind for item in scene.items)
    return QA(Task.COUNT, phrase(Task.COUNT, rng, split, things=plural(kind)), NUMBERS[number])


def where(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask where a thing is."""
    if rng.random() < 0.15:
        thing = _absent_kind(scene, rng)
        return QA(Task.WHERE, phrase(Task.WHERE, rng, split, thing=thing), ABSENT)
    clear = [item for item in _lone(scene) if item.place]
    if not clear:
        return None
    item = rng.choice(clear)
    question = phrase(Task.WHERE, rng, split, thing=_named(item, rng))
    return QA(Task.WHERE, question, item.place or "")


def absent_name(scene: Scene, rng: random.Random) -> str:
    """The name of something that is not in the scene, often nearly right (another colour)."""
    names = {item.name for item in scene.items} | {item.kind for item in scene.items}
    while True:
        coloured = [item for item in scene.items if item.colour]
        chance = rng.random()
        if coloured and chance < 0.35:
            found = f"{rng.choice(COLOUR_NAMES)} {rng.choice(coloured).kind}"
        elif coloured and chance < 0.5:
            found = f"{rng.choice(coloured).colour} {rng.choice(SHAPES)}"
        elif chance < 0.6:
            found = f"{rng.choice(COLOUR_NAMES)} {rng.choice(SHAPES)}"
        else:
            found = rng.choice(KINDS if rng.random() < 0.3 else tuple(THINGS))
        if found not in names:
            return found


def yes_no(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask whether there is a thing; half of the answers are no."""
    if rng.random() < 0.5:
        thing, answer = _named(rng.choice(scene.items), rng), "yes"
    else:
        thing, answer = absent_name(scene, rng), "no"
    return QA(Task.YES_NO, phrase(Task.YES_NO, rng, split, a_thing=a(thing)), answer)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def caption(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Describe the picture: the things from left to right, and the background."""
    if len(scene.items) > 3 or len(_lone(scene)) < len(scene.items):
        return None
    ordered = sorted(scene.items, key=lambda item: item.x)
    if any(abs(p.x - q.x) < 0.06 for p, q in pairwise(ordered)):
        return None
    things = _listed([a(item.name) for item in ordered])
    answer = f"{things} {BACKGROUND_WORDS[scene.background]}"
    return QA(Task.CAPTION, phrase(Task.CAPTION, rng, split), answer)


def background(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask for the background."""
    answer = BACKGROUND_WORDS[scene.background]
    return QA(Task.BACKGROUND, phrase(Task.BACKGROUND, rng, split), answer)


def motion(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask which way a thing moves in a clip, sometimes of one that stays."""
    moved = {event.item: event.kind for event in scene.events if event.kind.is_motion}
    still = set(range(len(scene.items))) - {event.item for event in scene.events}
    if still and rng.random() < (0.15 if moved else 0.05):
        item = scene.items[rng.choice(sorted(still))]
        return QA(Task.MOTION, phrase(Task.MOTION, rng, split, thing=_named(item, rng)), "it stays")
    if not moved:
        return None
    number = rng.choice(sorted(moved))
    question = phrase(Task.MOTION, rng, split, thing=_named(scene.items[number], rng))
    return QA(Task.MOTION, question, moved[number].value)


def happened(scene: Scene, event: Event) -> str:
    """An event in words: "the cat moved left"."""
    item = scene.items[event.item]
    if event.kind is EventKind.RECOLOUR:
        return f"the {item.name} turned {event.colour}"
    return f"the {item.name} {_PAST[event.kind]}"


def change(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask what changed in a clip in which one thing happens, or nothing."""
    if len(scene.events) > 1:
        return None
    answer = happened(scene, scene.events[0]) if scene.events else "nothing"
    return QA(Task.CHANGE, phrase(Task.CHANGE, rng, split), answer)


def order(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """Ask which of two things came first in a clip."""
    if len(scene.events) != 2:
        return None
    first, second = sorted(scene.events, key=lambda event: event.start)
    names = [f"the {scene.items[event.item].name}" for event in (first, second)]
    this, that = names if rng.random() < 0.5 else names[::-1]
    return QA(Task.ORDER, phrase(Task.ORDER, rng, split, this=this, that=that), names[0])


def difference(scene: Scene, rng: random.Random, split: Split) -> QA | None:
    """What is the difference between the two photos?, of a pair."""
    if len(scene.events) != 1:
        return None
    answer = happened(scene, scene.events[0])
    return QA(Task.DIFFERENCE, phrase(Task.DIFFERENCE, rng, split), answer)


Maker = Callable[[Scene, random.Random, Split], QA | None]

#: What can be asked of one photo, and how often in training.
PHOTO_QUESTIONS: tuple[tuple[Maker, float], ...] = (
    (name, 1.5),
    (what_at, 2.0),
    (colour, 2.5),
    (count, 2.5),
    (where, 6.0),
    (yes_no, 2.0),
    (caption, 4.0),
    (background, 0.3),
)
CLIP_QUESTIONS: tuple[tuple[Maker, float], ...] = (
    (motion, 4.0),
    (change, 2.5),
    (order, 3.0),
)
PAIR_QUESTIONS: tuple[tuple[Maker, float], ...] = ((difference, 1.0),)


def some(
    makers: tuple[tuple[Maker, float], ...],
    scene: Scene,
    rng: random.Random,
    split: Split,
    number: int,
) -> list[QA]:
    """Up to `number` different questions about the scene, drawn by weight."""
    found: list[QA] = []
    for maker, _ in rng.choices(makers, [weight for _, weight in makers], k=3 * number):
        qa = maker(scene, rng, split)
        if qa and all(qa.question != other.question for other in found):
            found.append(qa)
        if len(found) == number:
            break
    return found
