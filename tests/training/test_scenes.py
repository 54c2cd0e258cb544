"""The storybook world: compositions held out, clips in reverse, pictures that repeat."""

from __future__ import annotations

import random

import numpy as np
import pytest

from training.scenes.phrases import PHRASES, Task, phrase
from training.scenes.render import render
from training.scenes.things import COLOURS, SHAPES, STYLES, THINGS
from training.scenes.world import (
    Event,
    EventKind,
    Item,
    Scene,
    Split,
    is_held_out,
    random_clip,
    random_photo,
)
from training.transforms import CLIP_TIMES, reversed_clip


def test_the_world_has_64_things_8_shapes_and_8_colours() -> None:
    assert (len(THINGS), len(SHAPES), len(COLOURS)) == (64, 8, 8)


def test_training_never_meets_a_held_out_composition() -> None:
    rng = random.Random(0)
    for _ in range(300):
        scene = random_photo(rng, Split.TRAIN)
        assert not any(is_held_out(i.kind, scene.background, i.cell) for i in scene.items)


def test_evaluation_always_meets_a_held_out_composition() -> None:
    rng = random.Random(0)
    for _ in range(300):
        scene = random_clip(rng, Split.HELD_OUT)
        assert any(is_held_out(i.kind, scene.background, i.cell) for i in scene.items)


def test_phrasings_of_training_and_evaluation_do_not_meet() -> None:
    rng = random.Random(0)
    parts = {"thing": "cat", "things": "cats", "a_thing": "a cat", "place": "top"}
    parts |= {"this": "the cat", "that": "the dog"}
    for task in PHRASES:
        train = {phrase(task, rng, Split.TRAIN, **parts) for _ in range(200)}
        held_out = {phrase(task, rng, Split.HELD_OUT, **parts) for _ in range(200)}
        assert len(train) >= 4
        assert len(held_out) == 2
        assert not train & held_out


def test_the_same_scene_is_drawn_the_same_twice() -> None:
    scene = random_clip(random.Random(3))
    first, second = (render(scene, 64, CLIP_TIMES) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("thing", ["cat", "umbrella", "scissors"])
def test_a_thing_is_drawn_where_the_scene_says(style: str, thing: str) -> None:
    item = Item(thing, style, x=0.25, y=0.75, size=0.3)
    with_item = render(Scene((item,), "plain", 5), 96)[0].astype(int)
    without = render(Scene((), "plain", 5), 96)[0].astype(int)
    rows, columns = np.nonzero(np.abs(with_item - without).sum(-1) > 90)
    assert len(rows) > 60
    assert abs(np.median(rows) / 96 - 0.75) < 0.09
    assert abs(np.median(columns) / 96 - 0.25) < 0.09
    assert np.ptp(columns) / 96 < 0.38


def test_a_clip_played_backwards_moves_the_other_way_in_the_other_turn() -> None:
    items = (Item("cat", "noto", 0.2, 0.2, 0.3), Item("star", "noto", 0.7, 0.7, 0.3, "red"))
    events = (
        Event(0, EventKind.RIGHT, 0.0, 0.4, distance=0.4),
        Event(1, EventKind.RECOLOUR, 0.5, 0.9, colour="blue"),
    )
    scene = Scene(items, "plain", 1, events)
    back = reversed_clip(scene)
    assert back.items[0].x == pytest.approx(0.6)
    assert back.items[1].colour == "blue"
    assert [event.kind for event in back.events] == [EventKind.LEFT, EventKind.RECOLOUR]
    assert back.events[1].colour == "red"
    first = min(back.events, key=lambda event: event.start)
    assert first.item == 1
    for time in (0.0, 0.3, 0.6, 1.0):
        forwards = scene.at(time)[0]
        backwards = back.at(1 - time)[0]
        assert forwards is not None
        assert backwards is not None
        assert forwards.x == pytest.approx(backwards.x)


def test_every_event_shows_in_the_frames() -> None:
    rng = random.Random(2)
    seen = set()
    for _ in range(120):
        scene = random_clip(rng, events=1)
        first, *_, last = render(scene, 64, CLIP_TIMES)
        kind = scene.events[0].kind
        seen.add(kind)
        assert np.abs(first.astype(int) - last.astype(int)).max() > 25, kind
    assert seen == set(EventKind)


def test_task_names_are_unique() -> None:
    assert len({task.value for task in Task}) == len(Task)
