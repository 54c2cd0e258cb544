"""Which moments are chosen: different ones, both ends, evenly spread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_desktop.media.plan import Timeline, Way, make_plan, pick_uniform


def _timeline(frames: int, *, known: bool = True, keys: int = 250) -> Timeline:
    stamps = list(range(0, frames * 10, 10))
    return Timeline(
        zero=0,
        first=0,
        last=stamps[-1],
        end=stamps[-1] + 10,
        declared_end=0,
        key_interval=keys * 10,
        frame_interval=10,
        stamps=stamps if known else None,
        keys=stamps[::keys],
    )


@given(
    stamps=st.lists(st.integers(0, 10_000), min_size=1, max_size=60, unique=True),
    frames=st.integers(1, 40),
)
def test_picked_frames_exist_ascend_and_reach_both_ends(stamps: list[int], frames: int) -> None:
    stamps.sort()
    picked = pick_uniform(stamps, frames)
    assert len(picked) == min(frames, len(stamps))
    assert set(picked) <= set(stamps)
    assert list(picked) == sorted(set(picked))
    if len(picked) > 1:
        assert (picked[0], picked[-1]) == (stamps[0], stamps[-1])


@given(count=st.integers(2, 500), frames=st.integers(2, 64))
def test_at_a_constant_rate_the_spacing_is_even_to_a_frame(count: int, frames: int) -> None:
    picked = pick_uniform(list(range(count)), frames)
    gaps = np.diff(picked)
    assert gaps.max() - gaps.min() <= 1


def test_a_long_clip_of_large_frames_with_rare_key_frames_is_seen_by_key_frames() -> None:
    plan = make_plan(_timeline(15_000), 0, 150_000, 16, 1920 * 1080)
    assert plan.way is Way.KEY_FRAMES


@pytest.mark.parametrize(
    "change",
    [
        {"frames": 300},  # the frames asked for lie closer than the key frames
        {"pixels": 128 * 128},  # small frames decode fast
        {"keys": 5},  # few frames lie between key frames
    ],
)
def test_otherwise_the_frames_are_exact(change: dict[str, Any]) -> None:
    timeline = _timeline(15_000, keys=change.get("keys", 250))
    pixels, frames = change.get("pixels", 1920 * 1080), change.get("frames", 16)
    assert make_plan(timeline, 0, 150_000, frames, pixels).way is Way.EXACT


def test_unknown_time_stamps_are_spread_by_time_up_to_the_last_frame() -> None:
    plan = make_plan(_timeline(101, known=False), 0, 5000, 5, 1)
    assert plan.targets == (0, 250, 500, 750, 1000)
