"""THE table of the decoder's tensors: GGUF name, published name and shape, for writer and reader.

Published names are those of the original checkpoints (state dict); `{n}` is the layer. Shapes are
(rows, columns) as in torch, in symbols that `_dims` resolves from the sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from otter_desktop.decoder.hparams import Hparams

TOKEN_EMBD = "token_embd.weight"
OUTPUT = "output.weight"
OUTPUT_NORM = "output_norm.weight"
ATTN_NORM = "blk.{n}.attn_norm.weight"
ATTN_QKV = "blk.{n}.attn_qkv.weight"
ATTN_Q = "blk.{n}.attn_q.weight"
ATTN_K = "blk.{n}.attn_k.weight"
ATTN_V = "blk.{n}.attn_v.weight"
ATTN_Q_NORM = "blk.{n}.attn_q_norm.weight"
ATTN_K_NORM = "blk.{n}.attn_k_norm.weight"
ATTN_OUTPUT = "blk.{n}.attn_output.weight"
FFN_NORM = "blk.{n}.ffn_norm.weight"
FFN_GATE = "blk.{n}.ffn_gate.weight"
FFN_UP = "blk.{n}.ffn_up.weight"
FFN_DOWN = "blk.{n}.ffn_down.weight"
CROSS_ATTN_GATE = "blk.{n}.cross_attn_gate"
CROSS_ATTN_NORM = "blk.{n}.cross_attn_norm.weight"
CROSS_ATTN_NORM_BIAS = "blk.{n}.cross_attn_norm.bias"
CROSS_ATTN_Q = "blk.{n}.cross_attn_q.weight"
CROSS_ATTN_KV = "blk.{n}.cross_attn_kv.weight"
CROSS_ATTN_OUTPUT = "blk.{n}.cross_attn_output.weight"
CROSS_FFN_GATE = "blk.{n}.cross_ffn_gate"
CROSS_FFN_NORM = "blk.{n}.cross_ffn_norm.weight"
CROSS_FFN_NORM_BIAS = "blk.{n}.cross_ffn_norm.bias"
CROSS_FFN_UP = "blk.{n}.cross_ffn_up.weight"
CROSS_FFN_DOWN = "blk.{n}.cross_ffn_down.weight"

Role = Literal["matrix", "embedding", "vector"]


@dataclass(frozen=True)
class TensorRule:
    """One line of the table; `when` says for which sizes the tensor exists."""

    gguf: str
    published: str
    shape: tuple[str, ...]
    role: Role = "vector"
    when: Callable[[Hparams], bool] = lambda _: True


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a file with given sizes must have."""

    name: str
    published: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None


def _untied(hparams: Hparams) -> bool:
    return not hparams.tied_output


def _qk_norm(hparams: Hparams) -> bool:
    return hparams.qk_norm


_MPT_BLOCKS = "lang_encoder.transformer.blocks.{n}."
_LLAMA_BLOCKS = "lang_encoder.model.layers.{n}."

LAYERS_PREFIX = {"mpt": _MPT_BLOCKS, "mosaicgpt": _MPT_BLOCKS, "llama": _LLAMA_BLOCKS}

_GATED = (
    TensorRule(CROSS_ATTN_GATE, "attn_gate", ("1",)),
    TensorRule(CROSS_ATTN_NORM, "attn.norm.weight", ("D",)),
    TensorRule(CROSS_ATTN_NORM_BIAS, "attn.norm.bias", ("D",)),
    TensorRule(CROSS_ATTN_Q, "attn.to_q.weight", ("I", "D"), "matrix"),
    TensorRule(CROSS_ATTN_KV, "attn.to_kv.weight", ("2I", "V"), "matrix"),
    TensorRule(CROSS_ATTN_OUTPUT, "attn.to_out.weight", ("D", "I"), "matrix"),
    TensorRule(CROSS_FFN_GATE, "ff_gate", ("1",)),
    TensorRule(CROSS_FFN_NORM, "feed_forward.0.weight", ("D",)),
    TensorRule(CROSS_FFN_NORM_BIAS, "feed_forward.0.bias", ("D",)),
    TensorRule(CROSS_FFN_UP, "feed_forward.1.weight", ("X", "D"), "matrix"),
    TensorRule(CROSS_FFN_DOWN, "feed_forward.3.weight", ("D", "X"), "matrix"),
)

_MPT_LAYER = (
    TensorRule(ATTN_NORM, "norm_1.weight", ("D",)),
    TensorRule(ATTN_QKV, "attn.Wqkv.weight", ("D+2K", "D"), "matrix"),
    TensorRule(ATTN_Q_NORM, "attn.q_ln.weight", ("D",), when=_qk_norm),
    TensorRule(ATTN_K_NORM, "attn.k_ln.weight", ("K",), when=_qk_norm),
    TensorRule(ATTN_OUTPUT, "attn.out_proj.weight", ("D", "D"), "matrix"),
    TensorRule(FFN_NORM, "norm_2.weight", ("D",)),
    TensorRule(FFN_UP, "ffn.up_proj.weight", ("F", "D"), "matrix"),
    TensorRule(FFN_DOWN, "ffn.down_proj.weight", ("D", "F"), "matrix"),
)
_MOSAICGPT_LAYER = (
    TensorRule(ATTN_NORM, "ln_1.weight", ("D",)),
    TensorRule(ATTN_QKV, "attn.Wqkv.weight", ("D+2K", "D"), "matrix"),
    TensorRule(ATTN_Q_NORM, "attn.q_ln.weight", ("D",), when=_qk_norm),
    TensorRule(ATTN_K_NORM, "attn.k_ln.weight", ("K",), when=_qk_norm),
    TensorRule(ATTN_OUTPUT, "attn.out_proj.weight", ("D", "D"), "matrix"),
    TensorRule(FFN_NORM, "ln_2.weight", ("D",)),
    TensorRule(FFN_UP, "mlp.mlp_up.weight", ("F", "D"), "matrix"),
    TensorRule(FFN_DOWN, "mlp.mlp_down.weight", ("D", "F"), "matrix"),
)
_LLAMA_LAYER = (
    TensorRule(ATTN_NORM, "input_layernorm.weight", ("D",)),
    TensorRule(ATTN_Q, "self_attn.q_proj.weight", ("D", "D"), "matrix"),
    TensorRule(ATTN_K, "self_attn.k_proj.weight", ("K", "D"), "matrix"),
    TensorRule(ATTN_V, "self_attn.v_proj.weight", ("K", "D"), "matrix"),
    TensorRule(ATTN_OUTPUT, "self_attn.o_proj.weight", ("D", "D"), "matrix"),
    TensorRule(FFN_NORM, "post_attention_layernorm.weight", ("D",)),
    TensorRule(FFN_GATE, "mlp.gate_proj.weight", ("F", "D"), "matrix"),
    TensorRule(FFN_UP, "mlp.up_proj.weight", ("F", "D"), "matrix"),
    TensorRule(FFN_DOWN, "mlp.down_proj.weight", ("D", "F"), "matrix"),
)


def _ends(embedding: str, norm: str, head: str) -> tuple[TensorRule, ...]:
    return (
        TensorRule(TOKEN_EMBD, embedding, ("N", "D"), "embedding"),
        TensorRule(OUTPUT_NORM, norm, ("D",)),
        TensorRule(OUTPUT, head, ("N", "D"), "embedding", when=_untied),
    )


_ENDS = {
    "mpt": _ends(
        "lang_encoder.transformer.wte.weight",
        "lang_encoder.transformer.norm_f.weight",
        "lang_encoder.lm_head.weight",
    ),
    "mosaicgpt": _ends(
        "lang_encoder.transformer.wte.weight",
        "lang_encoder.transformer.ln_f.weight",
        "lang_encoder.lm_head.weight",
    ),
    "llama": _ends(
        "lang_encoder.model.embed_tokens.weight",
        "lang_encoder.model.norm.weight",
        "lang_encoder.lm_head.weight",
    ),
}
_LAYER = {"mpt": _MPT_LAYER, "mosaicgpt": _MOSAICGPT_LAYER, "llama": _LLAMA_LAYER}

FAMILIES = tuple(_LAYER)


def expected_tensors(hparams: Hparams) -> dict[str, TensorSpec]:
    """Return every tensor that a decoder of these sizes has, by GGUF name, in file order.

    Raises `ValueError` for an unknown family.
    """
    if hparams.family not in _LAYER:
        raise ValueError(f"unknown language model family {hparams.family!r}")
    dims = _dims(hparams)
    layers = LAYERS_PREFIX[hparams.family]
    found: dict[str, TensorSpec] = {}

    def add(rules: tuple[TensorRule, ...], prefix: str, layer: int | None) -> None:
        for rule in rules:
            if rule.when(hparams):
                name = rule.gguf.format(n=layer)
                published = (prefix + rule.published).format(n=layer)
                shape = tuple(dims[symbol] for symbol in rule.shape)
                found[name] = TensorSpec(name, published, shape, rule.role, layer)

    add(_ENDS[hparams.family], "", None)
    for n in range(hparams.block_count):
        if hparams.has_gated_block(n):
            add(_GATED, layers + "gated_cross_attn_layer.", n)
        add(_LAYER[hparams.family], layers + "decoder_layer.", n)
    return found


def _dims(hparams: Hparams) -> dict[str, int]:
    return {
        "1": 1,
        "D": hparams.embedding_length,
        "K": hparams.kv_length,
        "D+2K": hparams.embedding_length + 2 * hparams.kv_length,
        "F": hparams.feed_forward_length,
        "N": hparams.vocab_size,
        "I": hparams.cross_inner_length,
        "2I": 2 * hparams.cross_inner_length,
        "X": hparams.cross_feed_forward_length,
        "V": hparams.latents_width,
    }
