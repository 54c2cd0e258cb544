"""The language models: MPT and MosaicGPT as own modules, LLaMA's layers from transformers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
)

from export.model.config import LanguageConfig
from export.model.cross_attention import GatedCrossAttention


@dataclass
class KeyValueCache:
    """Keys and values of the tokens so far: per layer (B, heads, length, head_dim) each."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return int(self.keys[0].shape[2]) if self.keys else 0

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Append to a layer and return all its keys and values (transformers' signature)."""
        if layer == len(self.keys):
            self.keys.append(keys)
            self.values.append(values)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], keys], dim=2)
            self.values[layer] = torch.cat([self.values[layer], values], dim=2)
        return self.keys[layer], self.values[layer]

    def reorder(self, rows: Tensor) -> None:
        """Keep the given rows of the batch, in this order (for beams)."""
        self.keys = [keys[rows] for keys in self.keys]
        self.values = [values[rows] for values in self.values]


@dataclass(frozen=True)
class Positions:
    """What attention needs to know of positions, computed once for all layers."""

    bias: Tensor
    """Additive mask (1 or B, heads or 1, L, keys): causal, padding, ALiBi."""
    rotary: tuple[Tensor, Tensor] | None = None
    """LLaMA's cosines and sines (1, L, head_dim)."""


def alibi_slopes(config: LanguageConfig) -> Tensor:
    """One slope per head, (heads,) float32.

    MPT rounds the number of heads up to a power of two and takes the odd ones first
    (Press et al. 2022); MosaicGPT does not round.
    """
    heads = config.heads
    if config.family == "mosaicgpt":
        steps = torch.arange(1, heads + 1, dtype=torch.float32)
        return 2.0 ** (-steps * config.alibi_bias_max / heads)
    rounded = 2 ** math.ceil(math.log2(heads))
    steps = torch.arange(1, rounded + 1, dtype=torch.float32)
    slopes = 2.0 ** (-steps * config.alibi_bias_max / rounded)
    return slopes if rounded == heads else torch.cat([slopes[1::2], slopes[::2]])[:heads]


def causal_bias(
    length: int, past: int, slopes: Tensor | None, attention_mask: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Additive mask (1 or B, heads or 1, length, past + length).

    `attention_mask` (B, past + length) is 0 for padding; ALiBi is added when slopes are given.
    """
    device = slopes.device if slopes is not None else None
    query = torch.arange(past, past + length, device=device)[:, None]
    key = torch.arange(past + length, device=device)[None]
    if slopes is not None:
        bias = ((key - query) * slopes[:, None, None]).to(dtype)[None]
    else:
        bias = torch.zeros((1, 1, length, past + length), dtype=dtype)
    hidden = (key > query)[None, None]
    if attention_mask is not None:
        hidden = hidden | (attention_mask[:, None, None] == 0)
        bias = bias.expand(hidden.shape[0], -1, -1, -1)
    return bias.masked_fill(hidden, torch.finfo(dtype).min)


def _bias_free_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, bias=False)


class MptAttention(nn.Module):
    """Self-attention of MPT and MosaicGPT: fused projection, ALiBi, optional q/k norms."""

    def __init__(self, config: LanguageConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.heads = layer, config.heads
        self.clip, self.scale = config.clip_qkv, config.softmax_scale
        self.Wqkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out_proj = nn.Linear(config.width, config.width, bias=False)
        self.q_ln = _bias_free_norm(config.width) if config.qk_ln else None
        self.k_ln = _bias_free_norm(config.width) if config.qk_ln else None

    def forward(self, hidden: Tensor, positions: Positions, cache: KeyValueCache | None) -> Tensor:
        """Map hidden (B, L, D) -> (B, L, D)."""
        joined = self.Wqkv(hidden)
        if self.clip is not None:
            joined = joined.clamp(-self.clip, self.clip)
        query, keys, values = joined.chunk(3, dim=-1)
        if self.q_ln is not None and self.k_ln is not None:
            query, keys = self.q_ln(query), self.k_ln(keys)
        query, keys, values = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, keys, values)
        )
        if cache is not None:
            keys, values = cache.update(keys, values, self.layer)
        attended = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=positions.bias, scale=self.scale
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class MptLayer(nn.Module):
    """One decoder layer of MPT."""

    def __init__(self, config: LanguageConfig, layer: int) -> None:
        super().__init__()
        self.norm_1 = _bias_free_norm(config.width)
        self.attn = MptAttention(config, layer)
        self.norm_2 = _bias_free_norm(config.width)
        self.ffn = nn.ModuleDict(
            {
                "up_proj": nn.Linear(config.width, config.ff_width, bias=False),
                "down_proj": nn.Linear(config.ff_width, config.width, bias=False),
            }
        )

    def forward(self, hidden: Tensor, positions: Positions, cache: KeyValueCache | None) -> Tensor:
        """Map hidden (B, L, D) -> (B, L, D)."""
        hidden = hidden + self.attn(self.norm_1(hidden), positions, cache)
        inner = functional.gelu(self.ffn["up_proj"](self.norm_2(hidden)))
        return hidden + self.ffn["down_proj"](inner)  # type: ignore[no-any-return]


class MosaicGptLayer(nn.Module):
    """One decoder layer of MosaicGPT: MPT's under other names."""

    def __init__(self, config: LanguageConfig, layer: int) -> None:
        super().__init__()
        self.ln_1 = _bias_free_norm(config.width)
        self.attn = MptAttention(config, layer)
        self.ln_2 = _bias_free_norm(config.width)
        self.mlp = nn.ModuleDict(
            {
                "mlp_up": nn.Linear(config.width, config.ff_width, bias=False),
                "mlp_down": nn.Linear(config.ff_width, config.width, bias=False),
            }
        )

    def forward(self, hidden: Tensor, positions: Positions, cache: KeyValueCache | None) -> Tensor:
        """Map hidden (B, L, D) -> (B, L, D)."""
        hidden = hidden + self.attn(self.ln_1(hidden), positions, cache)
        inner = functional.gelu(self.mlp["mlp_up"](self.ln_2(hidden)))
        return hidden + self.mlp["mlp_down"](inner)  # type: ignore[no-any-return]


class LlamaLayer(LlamaDecoderLayer):  # type: ignore[misc]
    """transformers' LLaMA layer behind the signature of the other families."""

    def forward(self, hidden: Tensor, positions: Positions, cache: KeyValueCache | None) -> Tensor:
        """Map hidden (B, L, D) -> (B, L, D)."""
        return super().forward(  # type: ignore[no-any-return]
            hidden,
            attention_mask=positions.bias,
            past_key_values=cache,
            position_embeddings=positions.rotary,
        )


def llama_config(config: LanguageConfig) -> LlamaConfig:
    """Return the configuration of the same LLaMA for transformers."""
    published = LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.ff_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads or config.heads,
        max_position_embeddings=config.max_length,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
    )
    published._attn_implementation = "sdpa"
    return published


class LanguageBlock(nn.Module):
    """A decoder layer and, before it, perhaps a gated block (put in by the whole model)."""

    gated_cross_attn_layer: GatedCrossAttention | None
    decoder_layer: nn.Module

    def __init__(self, decoder_layer: nn.Module, gated: GatedCrossAttention | None) -> None:
        super().__init__()
        self.gated_cross_attn_layer = gated
        self.decoder_layer = decoder_layer


class MptTrunk(nn.Module):
    """Embedding, blocks and last norm of MPT or MosaicGPT, with tied output."""

    def __init__(self, config: LanguageConfig, gated: list[GatedCrossAttention | None]) -> None:
        super().__init__()
        layer = MptLayer if config.family == "mpt" else MosaicGptLayer
        self.transformer = nn.Module()
        self.transformer.wte = nn.Embedding(config.vocab_size, config.width)
        self.transformer.blocks = nn.ModuleList(
            LanguageBlock(layer(config, i), gated[i]) for i in range(config.layers)
        )
        norm_name = "norm_f" if config.family == "mpt" else "ln_f"
        self.transformer.add_module(norm_name, _bias_free_norm(config.width))
        self._norm_name = norm_name
        self.register_buffer("slopes", alibi_slopes(config), persistent=False)
        self.slopes: Tensor

    @property
    def embedding(self) -> nn.Embedding:
        """The table of token embeddings."""
        return self.transformer.wte  # type: ignore[return-value]

    @property
    def blocks(self) -> list[LanguageBlock]:
        """All blocks in order."""
        return list(self.transformer.blocks)  # type: ignore[arg-type]

    @property
    def norm(self) -> nn.Module:
        """The norm before the output matrix."""
        return self.transformer.get_submodule(self._norm_name)

    @property
    def output_weight(self) -> Tensor:
        """The output matrix (vocab, D)."""
        return self.embedding.weight

    def positions(self, length: int, past: int, attention_mask: Tensor | None) -> Positions:
        """Masks for `length` new tokens after `past` cached ones."""
        dtype = self.embedding.weight.dtype
        return Positions(causal_bias(length, past, self.slopes, attention_mask, dtype))


class LlamaTrunk(nn.Module):
    """Embedding, blocks, last norm and (unless tied) output matrix of LLaMA."""

    def __init__(
        self, config: LanguageConfig, gated: list[GatedCrossAttention | None], tied: bool
    ) -> None:
        super().__init__()
        published = llama_config(config)
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.model.layers = nn.ModuleList(
            LanguageBlock(LlamaLayer(published, i), gated[i]) for i in range(config.layers)
        )
        self.model.norm = LlamaRMSNorm(config.width, eps=config.norm_eps)
        self.lm_head = None if tied else nn.Linear(config.width, config.vocab_size, bias=False)
        # In a list: its buffers are no part of the state dict.
        self._rotary = [LlamaRotaryEmbedding(published)]

    @property
    def embedding(self) -> nn.Embedding:
        """The table of token embeddings."""
        return self.model.embed_tokens  # type: ignore[return-value]

    @property
    def blocks(self) -> list[LanguageBlock]:
        """All blocks in order."""
        return list(self.model.layers)  # type: ignore[arg-type]

    @property
    def norm(self) -> nn.Module:
        """The norm before the output matrix."""
        return self.model.norm  # type: ignore[return-value]

    @property
    def output_weight(self) -> Tensor:
        """The output matrix (vocab, D)."""
        return self.embedding.weight if self.lm_head is None else self.lm_head.weight

    def positions(self, length: int, past: int, attention_mask: Tensor | None) -> Positions:
        """Masks and rotations for `length` new tokens after `past` cached ones."""
        weight = self.embedding.weight
        bias = causal_bias(length, past, None, attention_mask, weight.dtype)
        places = torch.arange(past, past + length, device=weight.device)[None]
        return Positions(bias.to(weight.device), self._rotary[0](weight, places))
