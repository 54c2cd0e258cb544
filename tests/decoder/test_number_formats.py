"""Weights and caches in fewer bits: everything loads and stays close to what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.quantize import SCHEMES, quantize, tensor_type
from otter_desktop.decoder import Decoder
from otter_desktop.decoder.gguf import GgufFile
from otter_desktop.decoder.tensor_names import expected_tensors
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.errors import SettingsError

TOKENS = list(range(1, 41))
# Root mean square error of the logits over their standard deviation, with head room of about 2.
CLOSE = {
    "f32": 1e-6, "f16": 0.003, "q8_0": 0.07, "q6_k": 0.18, "q5_k_m": 0.3, "q4_k_m": 0.5,
    "q4_0": 0.7,
}  # fmt: skip


@pytest.fixture(scope="module")
def wide(make_tiny: Any) -> Any:
    """Rows of 256, so that no format falls back to another."""
    return make_tiny(
        "mpt", embedding_length=256, head_count=4, head_count_kv=4, feed_forward_length=512,
        cross_feed_forward_length=512, cross_head_count=4, latents_width=256, vocab_size=304,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact(wide: Any) -> Any:
    return wide.logits(TOKENS, [1] * 40, [wide.media(0)])


def run(path: Path, media: Any, **options: Any) -> Any:
    with Decoder.open(path, threads=1, **options) as decoder, decoder.session() as session:
        session.set_media([media])
        return session.forward(TOKENS, [1] * 40, all_positions=True)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_stays_close_to_the_weights_it_rounds(
    wide: Any, exact: Any, tmp_path: Path, scheme: str
) -> None:
    logits = run(wide.write(tmp_path / "m.gguf", scheme), wide.media(0), kv_type="f32")
    error = np.sqrt(((logits - exact) ** 2).mean()) / exact.std()
    assert CLOSE[scheme] / 100 < error < CLOSE[scheme]


@pytest.mark.parametrize(("kv_type", "limit"), [("f32", 1e-4), ("f16", 0.02), ("q8_0", 0.15)])
def test_each_cache_type_stays_close(
    wide: Any, exact: Any, tmp_path: Path, kv_type: str, limit: float
) -> None:
    logits = run(wide.write(tmp_path / "m.gguf"), wide.media(0), kv_type=kv_type)
    assert np.abs(logits - exact).max() / exact.std() < limit


def test_mosaicgpts_own_slopes_work_with_every_cache_type(make_tiny: Any, tmp_path: Path) -> None:
    model = make_tiny("mosaicgpt", embedding_length=192)
    path = model.write(tmp_path / "m.gguf")
    exact = model.logits(TOKENS, [1] * 40, [model.media(0)])
    for kv_type, limit in (("f16", 0.03), ("q8_0", 0.2)):
        logits = run(path, model.media(0), kv_type=kv_type)
        assert np.abs(logits - exact).max() / exact.std() < limit


def test_a_cache_type_that_does_not_divide_the_heads_is_refused(tiny_path: Path) -> None:
    with pytest.raises(SettingsError, match="multiple of 32"):
        Decoder.open(tiny_path, kv_type="q8_0")


def test_rows_that_a_format_cannot_divide_fall_back(make_tiny: Any) -> None:
    def formats(model: Any) -> set[TensorType]:
        return {
            tensor_type(spec, "q4_k_m", model.hparams)
            for spec in expected_tensors(model.hparams).values()
            if spec.role != "vector" and spec.shape[-1] == model.hparams.embedding_length
        }

    assert formats(make_tiny(embedding_length=96)) == {TensorType.Q8_0}
    assert formats(make_tiny(embedding_length=60, head_count=6)) == {TensorType.F16}


def test_norms_biases_and_gates_stay_float32(wide: Any, tmp_path: Path) -> None:
    path = wide.write(tmp_path / "m.gguf", "q4_k_m")
    specs = expected_tensors(wide.hparams)
    with GgufFile(path) as file:
        kinds = {name: TensorType(entry.type_code) for name, entry in file.tensors.items()}
    for name, kind in kinds.items():
        if specs[name].role == "vector":
            assert kind is TensorType.F32
    assert kinds["blk.1.attn_output.weight"] is TensorType.Q4_K
    assert kinds["token_embd.weight"] is TensorType.Q6_K


def test_q4_k_weights_are_repacked_and_small(wide: Any, tmp_path: Path) -> None:
    path = wide.write(tmp_path / "m.gguf", "q4_k_m")
    with Decoder.open(path, threads=1) as decoder:
        if not decoder.repacked_tensors:
            pytest.skip("this processor has no repacked layout for Q4_K")
        assert "blk.1.attn_output.weight" in decoder.repacked_tensors


def test_quantising_in_pieces_and_threads_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = np.random.default_rng(0).standard_normal((50, 512)).astype(np.float32)
    for kind in (TensorType.Q8_0, TensorType.Q4_K):
        at_once = quantize(array, kind, 1)
        monkeypatch.setattr("export.quantize._PIECE_ELEMENTS", 7 * 512)
        np.testing.assert_array_equal(at_once, quantize(array, kind, 3))
        monkeypatch.undo()


def test_a_weight_that_is_not_finite_is_refused() -> None:
    array = np.ones((4, 256), np.float32)
    array[2, 3] = np.inf
    with pytest.raises(ValueError, match="finite"):
        quantize(array, TensorType.Q8_0)
