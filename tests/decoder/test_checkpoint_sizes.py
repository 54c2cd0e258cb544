"""Sizes from published config.json files of every kind."""

from __future__ import annotations

from typing import Any

import pytest

from export.decoder_gguf import decoder_hparams, decoder_size_bytes, family_of
from otter_desktop.errors import CheckpointError

MPT = {
    "architectures": ["MPTForCausalLM"], "d_model": 96, "n_heads": 6, "n_layers": 4,
    "max_seq_len": 512, "expansion_ratio": 4,
    "attn_config": {"alibi": True, "alibi_bias_max": 8, "clip_qkv": 6, "qk_ln": False},
}  # fmt: skip
MOSAIC = {
    "architectures": ["MosaicGPT"], "d_model": 128, "n_heads": 8, "n_layers": 2,
    "max_seq_len": 2048, "mlp_ratio": 4, "alibi": True, "alibi_bias_max": 8, "attn_qk_ln": True,
    "attn_clip_qkv": None,
}  # fmt: skip
LLAMA = {
    "_name_or_path": "luodian/llama-7b-hf", "architectures": None, "hidden_size": 96,
    "num_attention_heads": 3, "num_hidden_layers": 4, "intermediate_size": 256,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
}  # fmt: skip


def shapes(family: str, every: int) -> dict[str, tuple[int, ...]]:
    trunk = "lang_encoder.model.layers" if family == "llama" else "lang_encoder.transformer.blocks"
    block = f"{trunk}.{every - 1}.gated_cross_attn_layer."
    table = "model.embed_tokens" if family == "llama" else "transformer.wte"
    return {
        f"lang_encoder.{table}.weight": (604, 96),
        block + "attn.to_q.weight": (128, 96),
        block + "attn.to_kv.weight": (256, 48),
        block + "feed_forward.1.weight": (384, 96),
        "perceiver.latents": (8, 48),
    }


def sizes(text: dict[str, Any], **top: Any) -> Any:
    config = {"text_config": text, "cross_attn_every_n_layers": 2, **top}
    return decoder_hparams(config, shapes(family_of(text), 2))


def test_mpt_sizes_come_from_the_nested_config_and_the_shapes() -> None:
    h = sizes(MPT)
    assert (h.family, h.head_count, h.feed_forward_length, h.clamp_kqv) == ("mpt", 6, 384, 6.0)
    assert (h.vocab_size, h.cross_head_count, h.latents_width, h.latents_count) == (604, 2, 48, 8)


def test_mosaicgpt_sizes_come_from_flat_keys() -> None:
    h = sizes(MOSAIC)
    assert (h.family, h.qk_norm, h.clamp_kqv, h.max_alibi_bias) == ("mosaicgpt", True, 0.0, 8.0)


def test_old_llama_files_without_key_value_heads_have_as_many_as_heads() -> None:
    assert sizes(LLAMA).head_count_kv == 3
    assert sizes(LLAMA | {"num_key_value_heads": 1}).head_count_kv == 1


@pytest.mark.parametrize(("top", "tied"), [({}, True), ({"tie_word_embeddings": False}, False)])
def test_tying_follows_the_top_level_only(top: dict[str, Any], tied: bool) -> None:
    assert sizes(LLAMA | {"tie_word_embeddings": not tied}, **top).tied_output is tied


def test_without_architectures_the_model_type_decides() -> None:
    assert family_of({"model_type": "mpt"}) == "mpt"
    assert family_of({"model_type": "mosaic_gpt"}) == "mosaicgpt"


@pytest.mark.parametrize(
    "text",
    [
        {"architectures": ["OPTForCausalLM"]},
        {k: v for k, v in MPT.items() if k != "n_layers"},
        MPT | {"attn_config": {"alibi": False}},
        MPT | {"n_heads": 7},
        MPT | {"logit_scale": 0.5},
        LLAMA | {"rope_scaling": {"type": "linear", "factor": 2}},
    ],
)
def test_what_cannot_be_computed_rightly_is_refused(text: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        sizes(text)


def test_the_size_of_a_scheme_is_known_before_writing() -> None:
    h = sizes(MPT)
    assert decoder_size_bytes(h, "f32") > 1.9 * decoder_size_bytes(h, "f16")
