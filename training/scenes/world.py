"""The storybook world: which things stand where, and what happens to them in a clip.

Positions and sizes are fractions of the picture's side; time runs from 0 to 1 over a clip.
Some compositions (thing x background x place) are held out of training by a fixed rule, so that
an evaluation can ask about combinations that no model trained here has seen.
"""

from __future__ import annotations

import enum
import math
import random
import zlib
from dataclasses import dataclass, replace

from training.scenes.things import BACKGROUNDS, COLOUR_NAMES, SHAPES, STYLES, THINGS

#: Rows of the 3 x 3 grid of places, as said in answers.
PLACES = (
    ("top left", "top", "top right"),
    ("left", "middle", "right"),
    ("bottom left", "bottom", "bottom right"),
)
#: An item this close to a grid line (fraction of the side) is in no clear place.
_PLACE_MARGIN = 0.04


class EventKind(enum.Enum):
    """What can happen to an item in a clip."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    APPEAR = "appear"
    DISAPPEAR = "disappear"
    GROW = "grow"
    SHRINK = "shrink"
    RECOLOUR = "recolour"

    @property
    def is_motion(self) -> bool:
        """Whether the item changes its place."""
        return self in MOTIONS


MOTIONS = (EventKind.LEFT, EventKind.RIGHT, EventKind.UP, EventKind.DOWN)
_STEP = {
    EventKind.LEFT: (-1.0, 0.0),
    EventKind.RIGHT: (1.0, 0.0),
    EventKind.UP: (0.0, -1.0),
    EventKind.DOWN: (0.0, 1.0),
}


class Split(enum.Enum):
    """Which compositions may occur: all but the held-out ones, or at least one of them."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True)
class Item:
    """One drawn thing or shape; `colour` is None for things."""

    kind: str
    style: str
    x: float
    y: float
    size: float
    colour: str | None = None
    angle_deg: float = 0.0
    flip: bool = False

    @property
    def name(self) -> str:
        """What questions call it: "cat" or "red star"."""
        return f"{self.colour} {self.kind}" if self.colour else self.kind

    @property
    def cell(self) -> tuple[int, int]:
        """Row and column in the 3 x 3 grid of places."""
        return min(2, int(self.y * 3)), min(2, int(self.x * 3))

    @property
    def place(self) -> str | None:
        """Where it is, as said in answers; None when it is too near a grid line to say."""
        for value in (self.x, self.y):
            if min(abs(value - 1 / 3), abs(value - 2 / 3)) < _PLACE_MARGIN:
                return None
        row, column = self.cell
        return PLACES[row][column]


@dataclass(frozen=True)
class Event:
    """What happens to item number `item` between `start` and `end`."""

    item: int
    kind: EventKind
    start: float
    end: float
    distance: float = 0.0
    colour: str | None = None


@dataclass(frozen=True)
class Scene:
    """A picture, or with events a clip; items later in the tuple are drawn on top."""

    items: tuple[Item, ...]
    background: str
    seed: int
    events: tuple[Event, ...] = ()

    def at(self, time: float) -> tuple[Item | None, ...]:
        """The items as they are at a time from 0 to 1; None where one is not visible."""
        now: list[Item | None] = list(self.items)
        for event in self.events:
            item = now[event.item]
            progress = min(1.0, max(0.0, (time - event.start) / (event.end - event.start)))
            now[event.item] = None if item is None else _changed(item, event, progress)
        return tuple(now)


def _changed(item: Item, event: Event, progress: float) -> Item | None:
    kind = event.kind
    if kind in _STEP:
        dx, dy = _STEP[kind]
        way = event.distance * progress
        return replace(item, x=item.x + dx * way, y=item.y + dy * way)
    if kind is EventKind.APPEAR:
        return item if progress >= 0.5 else None
    if kind is EventKind.DISAPPEAR:
        return item if progress < 0.5 else None
    if kind is EventKind.GROW:
        return replace(item, size=item.size * (1 + 0.8 * progress))
    if kind is EventKind.SHRINK:
        return replace(item, size=item.size * (1 - 0.5 * progress))
    return replace(item, colour=event.colour) if progress >= 0.5 else item


def is_held_out(kind: str, background: str, cell: tuple[int, int]) -> bool:
    """Whether a composition never occurs in training (one in eight, fixed for ever)."""
    key = f"{kind}/{background}/{cell[0]}{cell[1]}"
    return zlib.crc32(key.encode()) % 8 == 0


def random_item(rng: random.Random, *, size: tuple[float, float], shapes: float = 0.3) -> Item:
    """Draw an item at a random place that keeps it inside the picture."""
    side = rng.uniform(*size)
    low, high = side / 2 + 0.01, 0.99 - side / 2
    is_shape = rng.random() < shapes
    return Item(
        kind=rng.choice(SHAPES) if is_shape else rng.choice(tuple(THINGS)),
        style=rng.choice(STYLES),
        x=rng.uniform(low, high),
        y=rng.uniform(low, high),
        size=side,
        colour=rng.choice(COLOUR_NAMES) if is_shape else None,
        angle_deg=rng.gauss(0, 9),
        flip=rng.random() < 0.5,
    )


def _sizes(count: int) -> tuple[float, float]:
    return {1: (0.28, 0.55), 2: (0.24, 0.42), 3: (0.21, 0.34)}.get(count, (0.19, 0.28))


def _fits(item: Item, others: list[Item], closeness: float) -> bool:
    return all(
        math.hypot(item.x - o.x, item.y - o.y) > closeness * (item.size + o.size) / 2
        for o in others
    )


def _allowed(items: list[Item], background: str, split: Split) -> bool:
    held = [is_held_out(item.kind, background, item.cell) for item in items]
    return any(held) if split is Split.HELD_OUT else not any(held)


def random_photo(
    rng: random.Random,
    split: Split = Split.TRAIN,
    *,
    count: int | None = None,
    same: int = 1,
    shapes: float = 0.3,
) -> Scene:
    """Draw a picture of `count` items (1-5, random if None), the first `same` of one kind.

    With `Split.HELD_OUT` at least one item forms a held-out composition.
    """
    while True:
        number = count or rng.choices((1, 2, 3, 4, 5), (25, 30, 25, 12, 8))[0]
        closeness = 0.75 if rng.random() < 0.25 else 1.0
        background = rng.choice(BACKGROUNDS)
        items: list[Item] = []
        for _ in range(60):
            item = random_item(rng, size=_sizes(number), shapes=shapes)
            if items and len(items) < same:
                first = items[0]
                item = replace(item, kind=first.kind, style=first.style, colour=first.colour)
            elif any(item.name == other.name for other in items):
                continue
            if _fits(item, items, closeness):
                items.append(item)
            if len(items) == number:
                break
        if len(items) == number and _allowed(items, background, split):
            return Scene(tuple(items), background, rng.randrange(1 << 30))


def _random_event(rng: random.Random, number: int, item: Item, start: float) -> Event | None:
    end = start + rng.uniform(0.25, 0.4)
    kinds = [*MOTIONS, *MOTIONS, EventKind.APPEAR, EventKind.DISAPPEAR]
    kinds += [EventKind.GROW, EventKind.SHRINK]
    if item.colour:
        kinds += [EventKind.RECOLOUR] * 3
    kind = rng.choice(kinds)
    colour = None
    distance = 0.0
    if kind in _STEP:
        dx, dy = _STEP[kind]
        along = item.x if dx else item.y
        room = (1 - item.size / 2 - along) if dx + dy > 0 else along - item.size / 2
        if room < 0.25:
            return None
        distance = rng.uniform(0.25, min(0.6, room))
    elif kind is EventKind.RECOLOUR:
        colour = rng.choice([c for c in COLOUR_NAMES if c != item.colour])
    elif kind is EventKind.GROW:
        reach = item.size * 0.9
        if min(item.x, item.y, 1 - item.x, 1 - item.y) < reach:
            return None
    elif kind is EventKind.SHRINK and item.size < 0.27:
        return None
    return Event(number, kind, start, end, distance, colour)


def random_clip(
    rng: random.Random, split: Split = Split.TRAIN, *, events: int | None = None
) -> Scene:
    """Draw a clip of 1-3 items with 0-2 events, one after the other, each to another item."""
    while True:
        scene = random_photo(rng, split, count=rng.choices((1, 2, 3), (3, 4, 3))[0])
        if len({item.kind for item in scene.items}) < len(scene.items):
            continue
        wanted = events if events is not None else rng.choices((0, 1, 2), (8, 52, 40))[0]
        if wanted > len(scene.items):
            continue
        starts = {0: [], 1: [rng.uniform(0.05, 0.55)], 2: [rng.uniform(0.02, 0.1), 0.0]}[wanted]
        if wanted == 2:
            starts[1] = rng.uniform(0.52, 0.58)
        numbers = rng.sample(range(len(scene.items)), wanted)
        made = [
            _random_event(rng, number, scene.items[number], start)
            for number, start in zip(numbers, starts, strict=True)
        ]
        happening = tuple(event for event in made if event is not None)
        if len(happening) == wanted:
            return replace(scene, events=happening)


def random_pair(rng: random.Random, split: Split = Split.TRAIN) -> Scene:
    """Draw two photos that differ in one thing: a clip of which only both ends are looked at."""
    while True:
        scene = random_clip(rng, split, events=1)
        if scene.events[0].kind not in (EventKind.GROW, EventKind.SHRINK):
            return scene
