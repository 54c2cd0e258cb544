"""The decoder's sizes and switches: what a GGUF file says about itself, checked for sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from otter_desktop.decoder import keys

# Field of `Hparams` -> metadata key.
KEY_OF_FIELD: dict[str, str] = {
    "family": keys.FAMILY,
    "vocab_size": keys.VOCAB_SIZE,
    "context_length": keys.CONTEXT_LENGTH,
    "embedding_length": keys.EMBEDDING_LENGTH,
    "block_count": keys.BLOCK_COUNT,
    "feed_forward_length": keys.FEED_FORWARD_LENGTH,
    "head_count": keys.HEAD_COUNT,
    "head_count_kv": keys.HEAD_COUNT_KV,
    "norm_epsilon": keys.NORM_EPSILON,
    "max_alibi_bias": keys.MAX_ALIBI_BIAS,
    "clamp_kqv": keys.CLAMP_KQV,
    "qk_norm": keys.QK_NORM,
    "rope_freq_base": keys.ROPE_FREQ_BASE,
    "tied_output": keys.TIED_OUTPUT,
    "cross_attention_every": keys.CROSS_EVERY,
    "cross_head_count": keys.CROSS_HEAD_COUNT,
    "cross_key_length": keys.CROSS_KEY_LENGTH,
    "cross_feed_forward_length": keys.CROSS_FEED_FORWARD_LENGTH,
    "latents_width": keys.LATENTS_WIDTH,
    "latents_count": keys.LATENTS_COUNT,
}


@dataclass(frozen=True)
class Hparams:
    """Sizes of one decoder; lengths are in elements unless they say tokens."""

    family: str  # "mpt", "mosaicgpt" or "llama"
    vocab_size: int  # rows of the embedding table, at least len(tokenizer)
    context_length: int  # tokens
    embedding_length: int
    block_count: int
    feed_forward_length: int
    head_count: int
    head_count_kv: int
    norm_epsilon: float
    max_alibi_bias: float = 0.0  # 0: no ALiBi
    clamp_kqv: float = 0.0  # 0: no clamp
    qk_norm: bool = False
    rope_freq_base: float = 0.0  # 0: no RoPE
    tied_output: bool = True
    cross_attention_every: int = 0  # a gated block before layer n where (n+1) % every == 0; 0: none
    cross_head_count: int = 8
    cross_key_length: int = 64
    cross_feed_forward_length: int = 0
    latents_width: int = 0
    latents_count: int = 64

    @property
    def architecture(self) -> str:
        """The language-model family, by which the graph is chosen."""
        return self.family

    @property
    def head_length(self) -> int:
        """Elements of one attention head."""
        return self.embedding_length // self.head_count

    @property
    def kv_length(self) -> int:
        """Elements of the keys (or values) of one token in one layer."""
        return self.head_length * self.head_count_kv

    @property
    def cross_inner_length(self) -> int:
        """Elements of the cross-attention's queries of one token: heads times head length."""
        return self.cross_head_count * self.cross_key_length

    def has_gated_block(self, layer: int) -> bool:
        """Whether a gated cross-attention block stands before decoder layer `layer` (from 0)."""
        return self.cross_attention_every > 0 and (layer + 1) % self.cross_attention_every == 0

    @property
    def gated_layers(self) -> list[int]:
        """The decoder layers that a gated block stands before."""
        return [n for n in range(self.block_count) if self.has_gated_block(n)]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Hparams:
        """Make sizes from a mapping with the field names; raises `ValueError` on a wrong name."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown decoder sizes: {', '.join(unknown)}")
        return cls(**values)

    def check(self) -> None:
        """Raise `ValueError` with one line where the sizes contradict one another.

        ggml aborts the process on shapes that do not fit, so nothing that fails here may reach it.
        """
        self._check_ranges()
        if self.embedding_length % self.head_count:
            raise ValueError("embedding_length is not a multiple of head_count")
        if self.head_count % self.head_count_kv:
            raise ValueError("head_count is not a multiple of head_count_kv")
        if self.rope_freq_base and self.head_length % 2:
            raise ValueError("RoPE needs an even head length")

    def _check_ranges(self) -> None:
        cross = _CROSS_POSITIVE if self.cross_attention_every else ()
        for name in (*_POSITIVE, *cross):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be positive")
        for name, limit in _LIMITS.items():
            if getattr(self, name) > limit:
                raise ValueError(f"{name} is {getattr(self, name)}, more than {limit}")
        if not 0 < self.norm_epsilon < 1:
            raise ValueError(f"norm_epsilon is {self.norm_epsilon}")
        for name in ("max_alibi_bias", "clamp_kqv", "rope_freq_base", "cross_attention_every"):
            if not 0 <= getattr(self, name) < 1e9:
                raise ValueError(f"{name} is {getattr(self, name)}")


_POSITIVE = (
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "head_count",
    "head_count_kv",
)
_CROSS_POSITIVE = (
    "cross_head_count",
    "cross_key_length",
    "cross_feed_forward_length",
    "latents_width",
    "latents_count",
)
# Far above any published model; a damaged file must not make us allocate by its numbers.
_LIMITS = {
    "vocab_size": 1 << 22,
    "context_length": 1 << 22,
    "embedding_length": 1 << 17,
    "block_count": 1 << 10,
    "feed_forward_length": 1 << 20,
    "head_count": 1 << 10,
    "cross_head_count": 1 << 10,
    "cross_key_length": 1 << 12,
    "cross_feed_forward_length": 1 << 20,
    "latents_width": 1 << 17,
    "latents_count": 1 << 14,
}
