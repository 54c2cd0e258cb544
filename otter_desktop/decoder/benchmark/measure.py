"""Measuring decode and prefill, interleaved, so that a busy machine disturbs all sides alike."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from otter_desktop.cores import physical_cores
from otter_desktop.decoder.benchmark.llama_cpp_rival import LlamaCpp
from otter_desktop.decoder.benchmark.made_weights import MPT_7B, make_files
from otter_desktop.decoder.decoder import Decoder
from otter_desktop.decoder.session import Session


@dataclass(frozen=True)
class BenchSettings:
    """What is measured: layers of MPT-7B's shape in Q4_K, a gated block every 4."""

    layers: int = 8
    prompt_tokens: int = 128
    decode_tokens: int = 16
    rounds: int = 7
    threads: int | None = None


@dataclass(frozen=True)
class DecoderSpeed:
    """Medians in seconds and ratios of speeds (tokens a second).

    A `…_speed` above 1 means faster than llama.cpp; a `gated_…_loss` is the share of the speed
    without gated blocks that they cost. They hold 17 % of the layers' weights.
    """

    layers: int
    threads: int
    rounds: int
    prefill_s: dict[str, float]  # by side: "otter", "llama.cpp", "otter with gated blocks"
    decode_s: dict[str, float]  # per token
    prefill_speed: float  # of llama.cpp's
    decode_speed: float
    gated_prefill_loss: float
    gated_decode_loss: float
    largest_logit_difference: float
    logit_range: float


class _Side(Protocol):
    def clear(self) -> None: ...

    def forward(self, tokens: Sequence[int]) -> NDArray[np.float32]: ...


class _Otter:
    """Our decoder behind the same two calls as llama.cpp."""

    def __init__(self, session: Session, text_time: int) -> None:
        self._session = session
        self._text_time = text_time

    def clear(self) -> None:
        self._session.truncate(0)

    def forward(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return self._session.forward(tokens, [self._text_time] * len(tokens))


def against_llama_cpp(
    settings: BenchSettings, progress: Callable[[str], None] = lambda _: None
) -> DecoderSpeed:
    """Make weights, run our decoder and llama.cpp on them in turn, and return the medians.

    Needs about 0.4 GB of disk and 0.4 GB of memory a layer for the time that it runs.
    """
    threads = settings.threads or physical_cores()
    hparams = replace(MPT_7B, block_count=settings.layers)
    with tempfile.TemporaryDirectory(prefix="otter-bench-") as folder:
        progress("making weights")
        files = make_files(Path(folder), hparams)
        progress("loading")
        rival = LlamaCpp(files.llama_cpp, threads=threads, context_length=hparams.context_length)
        try:
            with (
                Decoder.open(files.plain, threads=threads) as plain,
                Decoder.open(files.gated, threads=threads) as gated,
                plain.session() as plain_session,
                gated.session() as gated_session,
            ):
                random = np.random.default_rng(0)
                shape = (hparams.latents_count, hparams.latents_width)
                gated_session.set_media([random.standard_normal(shape, np.float32)])
                sides: dict[str, _Side] = {
                    "otter": _Otter(plain_session, 0),
                    "llama.cpp": rival,
                    "otter with gated blocks": _Otter(gated_session, 1),
                }
                return _measure(sides, settings, threads, hparams.vocab_size, progress)
        finally:
            rival.close()


def _measure(
    sides: dict[str, _Side],
    settings: BenchSettings,
    threads: int,
    vocab_size: int,
    progress: Callable[[str], None],
) -> DecoderSpeed:
    random = np.random.default_rng(1)
    prompt = [int(t) for t in random.integers(0, vocab_size, settings.prompt_tokens)]
    answer = [int(t) for t in random.integers(0, vocab_size, settings.decode_tokens)]
    last = {name: _prompt_and_token(side, prompt, answer[0]) for name, side in sides.items()}
    prefill: dict[str, list[float]] = {name: [] for name in sides}
    decode: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(settings.rounds):
        progress(f"round {number + 1} of {settings.rounds}")
        for name, side in sides.items():
            side.clear()
            prefill[name].append(_time(side, prompt))
        for at, token in enumerate(answer):
            # Both ways round: nobody always runs after the same neighbour.
            for name, side in list(sides.items())[:: -1 if at % 2 else 1]:
                decode[name].append(_time(side, [token]))
    difference = np.abs(last["otter"] - last["llama.cpp"]).max()
    prefill_s = {name: median(times) for name, times in prefill.items()}
    decode_s = {name: median(times) for name, times in decode.items()}
    return DecoderSpeed(
        layers=settings.layers,
        threads=threads,
        rounds=settings.rounds,
        prefill_s=prefill_s,
        decode_s=decode_s,
        prefill_speed=prefill_s["llama.cpp"] / prefill_s["otter"],
        decode_speed=decode_s["llama.cpp"] / decode_s["otter"],
        gated_prefill_loss=1 - prefill_s["otter"] / prefill_s["otter with gated blocks"],
        gated_decode_loss=1 - decode_s["otter"] / decode_s["otter with gated blocks"],
        largest_logit_difference=float(difference),
        logit_range=float(np.ptp(last["llama.cpp"])),
    )


def _prompt_and_token(side: _Side, prompt: Sequence[int], token: int) -> NDArray[np.float32]:
    """Warm a side up; returns the logits after the prompt and one token."""
    side.clear()
    side.forward(prompt)
    return side.forward([token])


def _time(side: _Side, tokens: Sequence[int]) -> float:
    start = time.perf_counter()
    side.forward(tokens)
    return time.perf_counter() - start
