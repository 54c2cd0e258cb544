"""Which moments of a clip to look at: pure arithmetic on time stamps, in stream ticks."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

# Key frames alone are taken only where they lie this many times denser than the frames asked
# for (a frame is then off by at most a sixth of the spacing, and its true time is reported) ...
_SPACING_PER_KEY_INTERVAL = 3
# ... and where decoding up to the exact frames would cost more than this (about 100 frames of
# 1920 x 1080, a third of a second on one core).
_EXACT_BUDGET_PIXELS = 2e8


class Way(Enum):
    """How the frames of a plan are fetched."""

    EXACT = "exact"
    KEY_FRAMES = "key frames"


@dataclass(frozen=True)
class Timeline:
    """What is known about a video stream's time stamps; all values in ticks of the stream.

    `zero` is where the clip's own time 0 lies. `stamps` holds every frame's time stamp in order
    where the file was small enough to be read through, otherwise None; `keys` those of the key
    frames known. `last` is the last frame's time stamp and `end` the moment when it goes.
    `declared_end` is where the file says it ends (0 where it says nothing).
    """

    zero: int
    first: int
    last: int
    end: int
    declared_end: int
    key_interval: int
    frame_interval: int
    stamps: Sequence[int] | None
    keys: Sequence[int]


@dataclass(frozen=True)
class Plan:
    """The moments to fetch, strictly ascending, within [low, high] where that holds frames."""

    way: Way
    targets: tuple[int, ...]
    low: int
    high: int


def make_plan(timeline: Timeline, low: int, high: int, frames: int, pixels: int) -> Plan:
    """Choose `frames` moments uniformly over [low, high], both ends included.

    Where every time stamp is known the targets are frames that exist, each only once; fewer
    where the range holds fewer. `pixels` is the size of one frame, for the cost.
    """
    targets = _targets(timeline, low, high, frames)
    spacing = (targets[-1] - targets[0]) / max(1, len(targets) - 1)
    frames_to_decode = len(targets) * timeline.key_interval / timeline.frame_interval / 2
    sparse = spacing >= _SPACING_PER_KEY_INTERVAL * timeline.key_interval
    if sparse and frames_to_decode * pixels > _EXACT_BUDGET_PIXELS:
        return Plan(Way.KEY_FRAMES, targets, low, high)
    return Plan(Way.EXACT, targets, low, high)


def pick_uniform(candidates: Sequence[int], frames: int) -> tuple[int, ...]:
    """Pick `frames` different values of a sorted list, uniform in value, both ends included.

    Each moment takes the frame nearest to it; where several would take the same one (variable
    frame rate), its neighbours stand in, so that no frame comes twice.
    """
    count = len(candidates)
    if count <= frames:
        return tuple(candidates)
    if frames == 1:
        return (candidates[(count - 1) // 2],)
    moments = np.linspace(candidates[0], candidates[-1], frames)
    picked = [_nearest(candidates, float(moment)) for moment in moments]
    for position in range(1, frames):
        picked[position] = max(picked[position], picked[position - 1] + 1)
    for position in range(frames):
        picked[position] = min(picked[position], count - frames + position)
    return tuple(candidates[index] for index in picked)


def _nearest(candidates: Sequence[int], moment: float) -> int:
    after = bisect.bisect_left(candidates, moment)
    if after == 0 or after == len(candidates):
        return min(after, len(candidates) - 1)
    return after - (moment - candidates[after - 1] < candidates[after] - moment)


def _targets(timeline: Timeline, low: int, high: int, frames: int) -> tuple[int, ...]:
    high = max(low, min(high, timeline.last))
    if timeline.stamps is None:
        if frames == 1:
            return ((low + high) // 2,)
        moments = np.linspace(low, high, frames)
        return tuple(sorted({round(float(moment)) for moment in moments}))
    left = bisect.bisect_left(timeline.stamps, low)
    right = bisect.bisect_right(timeline.stamps, high)
    if left == right:
        # No frame begins inside the range: the one on the screen all through it.
        return (timeline.stamps[max(0, left - 1)],)
    return pick_uniform(timeline.stamps[left:right], frames)
