"""Dense targets say what each cell shows; a stopped teacher goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training import teach_perception
from training.perception import GRID, N_EVENTS, cells_of, targets_of
from training.scenes.things import KINDS
from training.scenes.world import Event, EventKind, Item, Scene
from training.teach_perception import Teacher, teach_clips, teach_photos

CAT = Item("cat", "noto", x=0.19, y=0.19, size=0.3)
STAR = Item("star", "noto", x=0.7, y=0.7, size=0.3, colour="red")


def test_each_item_has_one_centre_and_the_cells_it_covers() -> None:
    cells = cells_of((CAT, STAR))
    assert cells.centre.sum() == 2
    kinds = cells.kind.reshape(GRID, GRID)
    assert kinds[1, 1] == KINDS.index("cat") + 1
    assert kinds[5, 5] == KINDS.index("star") + 1
    assert kinds[0, 7] == 0
    assert cells.colour.reshape(GRID, GRID)[5, 5] > 0


def test_what_lies_on_top_owns_the_cell() -> None:
    below = Item("dog", "noto", x=0.19, y=0.19, size=0.3)
    assert set(cells_of((below, CAT)).kind) == {0, KINDS.index("cat") + 1}


def test_events_are_told_in_the_cells_of_their_items_with_their_turn() -> None:
    events = (
        Event(1, EventKind.DISAPPEAR, 0.0, 0.3),
        Event(0, EventKind.RIGHT, 0.5, 0.9, distance=0.3),
    )
    targets = targets_of(Scene((CAT, STAR), "room", 1, events))
    event = targets["event"].reshape(GRID, GRID)
    order = targets["order"].reshape(GRID, GRID)
    assert order[5, 5] == 1
    assert order[1, 1] == 2
    assert event[5, 5] != event[1, 1]
    assert targets["kind_last"].reshape(GRID, GRID)[5, 5] == 0
    assert event.max() < N_EVENTS


def test_an_item_that_appears_is_told_where_it_comes() -> None:
    scene = Scene((STAR,), "room", 1, (Event(0, EventKind.APPEAR, 0.2, 0.5),))
    targets = targets_of(scene)
    assert not np.any(targets["kind_first"])
    assert np.any(np.asarray(targets["event"], int) > 1)


def test_a_stopped_teacher_goes_on_at_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teach_perception, "_PHOTO_BATCH", 4)
    monkeypatch.setattr(teach_perception, "_CLIP_BATCH", 4)
    monkeypatch.setattr(teach_perception, "_SAVE_EVERY_S", 0.0)
    teacher = Teacher(tmp_path)
    before = teacher.model.perceiver.latents.detach().clone()
    teach_photos(teacher, steps=2)
    assert not torch.equal(before, teacher.model.perceiver.latents)
    again = Teacher(tmp_path)
    assert (again.phase, again.step, again.finished) == ("photos", 2, ["photos"])
    teach_clips(again, steps=1, pool_size=6)
    encoder = again.model.vision_encoder.state_dict()
    for name, value in teacher.model.vision_encoder.state_dict().items():
        assert torch.equal(value, encoder[name]), name
    assert Teacher(tmp_path).finished == ["photos", "clips"]
