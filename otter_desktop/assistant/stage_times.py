"""How long each stage of an open package takes on this machine, on made-up pixels and tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np

from otter_desktop.assistant.engine import Engine

PREFILL_TOKENS = 64
DECODE_TOKENS = 32


@dataclass(frozen=True)
class StageTimes:
    """Medians over the rounds, in seconds."""

    model: str
    device: str
    rounds: int
    frames: int
    vision_s: float  # pixels of all frames to latents
    media_s: float  # latents to the keys and values of the cross-attention
    prefill_tokens: int
    prefill_s: float
    decode_s: float  # one token


def measure_stages(engine: Engine, rounds: int = 5) -> StageTimes:
    """Run every stage `rounds` times on an open package, after one round that warms up."""
    manifest = engine.manifest
    size = manifest.preprocessing.image_size
    random = np.random.default_rng(0)
    frames = manifest.default_frames
    pixels = random.standard_normal((frames, 3, size, size), np.float32)
    prompt = [int(t) for t in random.integers(0, len(engine.tokenizer), PREFILL_TOKENS)]
    stages = ("vision", "media", "prefill", "decode")
    times: dict[str, list[float]] = {stage: [] for stage in stages}
    for number in range(rounds + 1):
        if number == 1:  # the first round warmed up
            times = {stage: [] for stage in stages}
        with _timed(times["vision"]):
            latents = engine.encode_pixels(pixels)
        with engine.decoder.session() as session:
            with _timed(times["media"]):
                session.set_media([latents])
            with _timed(times["prefill"]):
                session.forward(prompt, [1] * len(prompt))
            for token in prompt[:DECODE_TOKENS]:
                with _timed(times["decode"]):
                    session.forward([token], [1])
    return StageTimes(
        model=manifest.name,
        device=engine.device,
        rounds=rounds,
        frames=frames,
        vision_s=median(times["vision"]),
        media_s=median(times["media"]),
        prefill_tokens=PREFILL_TOKENS,
        prefill_s=median(times["prefill"]),
        decode_s=median(times["decode"]),
    )


@contextmanager
def _timed(into: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    into.append(time.perf_counter() - start)
