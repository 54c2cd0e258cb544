"""The decoder's sizes from published config.json files of every kind and their tensors' shapes."""

from __future__ import annotations

from typing import Any

import pytest

from export.model import OtterConfig, OtterModel
from export.package import decoder_sizes
from export.random_checkpoint import random_config
from otter_desktop.decoder import Hparams
from otter_desktop.errors import CheckpointError

MPT = {
    "architectures": ["MPTForCausalLM"], "d_model": 96, "n_heads": 6, "n_layers": 4,
    "max_seq_len": 512, "expansion_ratio": 4,
    "attn_config": {"alibi": True, "alibi_bias_max": 8, "clip_qkv": 6, "qk_ln": False},
}  # fmt: skip
MOSAIC = {
    "architectures": ["MosaicGPT"], "d_model": 96, "n_heads": 6, "n_layers": 4,
    "max_seq_len": 2048, "mlp_ratio": 4, "alibi": True, "alibi_bias_max": 8, "attn_qk_ln": True,
    "attn_clip_qkv": None,
}  # fmt: skip
LLAMA = {
    "_name_or_path": "luodian/llama-7b-hf", "architectures": None, "hidden_size": 96,
    "num_attention_heads": 6, "num_hidden_layers": 4, "intermediate_size": 256,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
}  # fmt: skip


def sizes(text: dict[str, Any], **top: Any) -> Hparams:
    """Read a published configuration beside the tensors of a model of its family."""
    family = "llama" if "hidden_size" in text else "mpt"
    family = "mosaicgpt" if text.get("architectures") == ["MosaicGPT"] else family
    config = random_config(family)  # type: ignore[arg-type]
    state = OtterModel(config).state_dict()
    published = config.to_published() | {"text_config": text} | top
    if "tie_word_embeddings" not in top:
        del published["tie_word_embeddings"]
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    return decoder_sizes(OtterConfig.from_checkpoint(published, shapes))


def test_mpt_sizes_come_from_the_nested_config_and_the_shapes() -> None:
    h = sizes(MPT)
    assert (h.family, h.head_count, h.context_length, h.clamp_kqv) == ("mpt", 6, 512, 6.0)
    assert (h.vocab_size, h.feed_forward_length) == (384, 256)
    assert (h.cross_head_count, h.latents_width, h.latents_count) == (2, 48, 8)


def test_mosaicgpt_sizes_come_from_flat_keys() -> None:
    h = sizes(MOSAIC)
    assert (h.family, h.qk_norm, h.clamp_kqv, h.max_alibi_bias) == ("mosaicgpt", True, 0.0, 8.0)


def test_old_llama_files_without_key_value_heads_have_as_many_as_heads() -> None:
    assert sizes(LLAMA).head_count_kv == 6
    assert sizes(LLAMA | {"num_key_value_heads": 3}).head_count_kv == 3


@pytest.mark.parametrize(("top", "tied"), [({}, True), ({"tie_word_embeddings": False}, False)])
def test_tying_follows_the_top_level_only(top: dict[str, Any], tied: bool) -> None:
    assert sizes(LLAMA | {"tie_word_embeddings": not tied}, **top).tied_output is tied


@pytest.mark.parametrize("text", [MPT, MOSAIC])
def test_mpt_has_no_other_output_than_the_embedding_table(text: dict[str, Any]) -> None:
    assert sizes(text, tie_word_embeddings=False).tied_output


@pytest.mark.parametrize(
    "text",
    [
        {key: value for key, value in MPT.items() if key != "n_heads"},
        MPT | {"attn_config": {"alibi": False}},
        MPT | {"attn_config": {"alibi": True, "softmax_scale": 0.5}},
        MPT | {"n_heads": 7},
        MPT | {"logit_scale": 0.5},
        LLAMA | {"num_attention_heads": 0},
        LLAMA | {"num_key_value_heads": 4},
        LLAMA | {"rope_scaling": {"type": "linear", "factor": 2}},
    ],
)
def test_what_cannot_be_computed_rightly_is_refused(text: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError):
        sizes(text)
