"""Timing the stages of an open package."""

from __future__ import annotations

from otter_desktop.assistant.engine import Engine
from otter_desktop.assistant.stage_times import measure_stages


def test_every_stage_of_a_package_is_timed(engine: Engine) -> None:
    times = measure_stages(engine, rounds=1)
    assert times.frames == engine.manifest.default_frames
    assert min(times.vision_s, times.media_s, times.prefill_s, times.decode_s) > 0
