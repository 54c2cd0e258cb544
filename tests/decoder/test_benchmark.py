"""The measuring itself: llama.cpp and we compute the same from the weights made for both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from otter_desktop.decoder import Decoder
from otter_desktop.decoder.benchmark import BenchSettings, against_llama_cpp, measure
from otter_desktop.decoder.benchmark.made_weights import MPT_7B, make_files

SMALL = replace(
    MPT_7B, vocab_size=512, embedding_length=256, block_count=4, feed_forward_length=1024,
    head_count=4, head_count_kv=4, cross_feed_forward_length=1024, latents_width=256,
)  # fmt: skip


def test_made_weights_keep_activations_in_range(tmp_path: Path) -> None:
    files = make_files(tmp_path, SMALL)
    with Decoder.open(files.gated, threads=1) as decoder, decoder.session() as session:
        session.set_media([np.ones((64, 256), np.float32)])
        logits = session.forward(list(range(20)), [1] * 20)
    assert 0.1 < logits.std() < 100


def test_we_and_llama_cpp_compute_the_same_and_both_are_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "MPT_7B", SMALL)
    settings = BenchSettings(layers=4, prompt_tokens=20, decode_tokens=2, rounds=1, threads=1)
    speed = against_llama_cpp(settings)
    assert speed.largest_logit_difference < 0.02 * speed.logit_range
    assert speed.decode_speed > 0
    assert set(speed.prefill_s) == {"otter", "llama.cpp", "otter with gated blocks"}
