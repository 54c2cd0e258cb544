"""Every family's graph computes what its formulas say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otter_desktop.decoder import Decoder

TOKENS = [3, 9, 14, 2, 61, 33, 8, 5, 44, 69, 0, 12]
TIMES = [0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3]

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("mpt", {}),
    ("mpt", {"head_count": 4, "head_count_kv": 4}),
    ("mpt", {"qk_norm": True, "clamp_kqv": 0.8}),
    ("mpt", {"max_alibi_bias": 4.0, "cross_attention_every": 1}),
    ("mpt", {"tied_output": False, "cross_attention_every": 0}),
    ("mosaicgpt", {}),
    ("mosaicgpt", {"head_count": 8, "head_count_kv": 8}),
    ("llama", {}),
    ("llama", {"tied_output": False, "norm_epsilon": 1e-6, "head_count_kv": 6}),
    ("llama", {"cross_attention_every": 3, "latents_count": 64}),
]


def ids(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(f"{k}={v}" for k, v in value.items())


@pytest.mark.parametrize(("family", "sizes"), VARIANTS, ids=ids)
def test_full_pass_equals_the_formulas(
    make_tiny: Any, tmp_path: Path, family: str, sizes: dict[str, Any]
) -> None:
    model = make_tiny(family, **sizes)
    media = [model.media(seed) for seed in range(3)]
    times = TIMES if model.hparams.gated_layers else [0] * len(TIMES)
    with (
        Decoder.open(model.write(tmp_path / "m.gguf"), kv_type="f32", threads=1) as decoder,
        decoder.session() as session,
    ):
        if model.hparams.gated_layers:
            session.set_media(media)
        logits = session.forward(TOKENS, times, all_positions=True)
    np.testing.assert_allclose(logits, model.logits(TOKENS, times, media), atol=2e-4)


@pytest.mark.parametrize("family", ["mpt", "mosaicgpt", "llama"])
def test_the_last_tokens_logits_are_the_full_passs_last_row(
    make_tiny: Any, tmp_path: Path, family: str
) -> None:
    model = make_tiny(family)
    with (
        Decoder.open(model.write(tmp_path / "m.gguf"), kv_type="f32", threads=1) as decoder,
        decoder.session() as session,
    ):
        session.set_media([model.media(0)])
        logits = session.forward(TOKENS, [1] * len(TOKENS))
    expected = model.logits(TOKENS, [1] * len(TOKENS), [model.media(0)])[-1]
    np.testing.assert_allclose(logits, expected, atol=2e-4)


@pytest.mark.parametrize("family", ["mpt", "mosaicgpt", "llama"])
def test_decoding_with_the_cache_equals_the_full_pass(
    make_tiny: Any, tmp_path: Path, family: str
) -> None:
    model = make_tiny(family)
    media = [model.media(seed) for seed in range(3)]
    with (
        Decoder.open(model.write(tmp_path / "m.gguf"), kv_type="f32", threads=1) as decoder,
        decoder.session() as session,
    ):
        session.set_media(media)
        rows = [session.forward(TOKENS[:4], TIMES[:4])]
        rows += [session.forward([TOKENS[i]], [TIMES[i]]) for i in range(4, len(TOKENS))]
    expected = model.logits(TOKENS, TIMES, media)[3:]
    np.testing.assert_allclose(np.stack(rows), expected, atol=2e-4)
