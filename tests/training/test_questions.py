"""Questions about scenes: their answers say what the scene's description says."""

from __future__ import annotations

import random
import re

from training.scenes import questions
from training.scenes.world import Event, EventKind, Item, Scene, Split, random_photo

CAT = Item("cat", "noto", 0.2, 0.2, 0.25)
RED_STAR = Item("star", "noto", 0.8, 0.5, 0.25, "red")
SCENE = Scene((RED_STAR, CAT), "beach", 1)


def _answers(maker: questions.Maker, scene: Scene, number: int = 400) -> dict[str, str]:
    rng = random.Random(4)
    made = [maker(scene, rng, Split.TRAIN) for _ in range(number)]
    return {qa.question: qa.answer for qa in made if qa}


def test_a_caption_lists_things_from_left_to_right_with_the_background() -> None:
    assert set(_answers(questions.caption, SCENE).values()) == {"a cat and a red star on a beach"}


def test_where_names_the_place_of_the_thing_or_says_there_is_none() -> None:
    answers = _answers(questions.where, SCENE)
    assert answers["Where is the cat?"] == "top left"
    assert answers["Where is the red star?"] == "right"
    assert {"top left", "right", questions.ABSENT} == set(answers.values())


def _mentions(question: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", question) is not None


def test_yes_and_no_come_equally_often_and_are_right() -> None:
    rng = random.Random(5)
    yes = 0
    for _ in range(400):
        scene = random_photo(rng)
        qa = questions.yes_no(scene, rng, Split.TRAIN)
        assert qa is not None
        names = {item.name for item in scene.items}
        kinds = {item.kind for item in scene.items}
        if qa.answer == "yes":
            assert any(_mentions(qa.question, name) for name in names | kinds)
        else:
            assert not any(_mentions(qa.question, name) for name in names)
        yes += qa.answer == "yes"
    assert 150 < yes < 250


def test_nothing_is_absent_that_is_there() -> None:
    rng = random.Random(6)
    for _ in range(400):
        scene = random_photo(rng)
        names = {item.name for item in scene.items} | {item.kind for item in scene.items}
        assert questions.absent_name(scene, rng) not in names


def test_count_counts_every_thing_of_the_kind() -> None:
    scene = random_photo(random.Random(7), count=4, same=3)
    kinds = [item.kind for item in scene.items]
    answers = set(_answers(questions.count, scene).values())
    assert "three" in answers or kinds.count(kinds[0]) == 4


def test_motion_change_and_order_tell_the_events() -> None:
    events = (
        Event(1, EventKind.RIGHT, 0.0, 0.3, distance=0.3),
        Event(0, EventKind.RECOLOUR, 0.5, 0.8, colour="blue"),
    )
    both = Scene(SCENE.items, "beach", 1, events)
    assert "right" in _answers(questions.motion, both).values()
    assert set(_answers(questions.order, both).values()) == {"the cat"}
    one = Scene(SCENE.items, "beach", 1, events[1:])
    assert set(_answers(questions.change, one).values()) == {"the red star turned blue"}
    assert set(_answers(questions.change, SCENE).values()) == {"nothing"}
