"""Tiny random decoders of every family, and what plain numpy computes on them in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.decoder_gguf import write_decoder
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.tensor_names import LAYERS_PREFIX, expected_tensors

Array = NDArray[np.float64]

SIZES: dict[str, dict[str, Any]] = {
    "mpt": {"max_alibi_bias": 8.0, "head_count": 6, "head_count_kv": 6},
    "mosaicgpt": {"max_alibi_bias": 8.0, "qk_norm": True, "head_count": 6, "head_count_kv": 6},
    "llama": {"rope_freq_base": 10000.0, "head_count": 6, "head_count_kv": 3},
}


@dataclass(frozen=True)
class TinyModel:
    """A random model: its sizes, its tensors under published names, and its own arithmetic."""

    hparams: Hparams
    tensors: dict[str, NDArray[np.float32]]

    def write(self, path: Path, scheme: str = "f32") -> Path:
        write_decoder(
            path,
            family=self.hparams.family,
            hparams=self.hparams,
            tensors=self.tensors.items(),
            tokenizer_json='{"model": "tiny"}',
            scheme=scheme,
        )
        return path

    def media(self, seed: int) -> NDArray[np.float32]:
        shape = (self.hparams.latents_count, self.hparams.latents_width)
        return np.random.default_rng(seed).standard_normal(shape, np.float32)

    def logits(
        self, tokens: Sequence[int], text_time: Sequence[int], media: Sequence[Any] = ()
    ) -> Array:
        """Return (tokens, vocab): one full pass without any cache."""
        return Reference(self).forward(tokens, text_time, media)


class Reference:
    """The formulas of FORMATS.md section 1, written out."""

    def __init__(self, model: TinyModel) -> None:
        self.h = model.hparams
        self.w = {name: array.astype(np.float64) for name, array in model.tensors.items()}
        self.layers = LAYERS_PREFIX[self.h.family]

    def forward(
        self, tokens: Sequence[int], text_time: Sequence[int], media: Sequence[Any]
    ) -> Array:
        llama = self.h.family == "llama"
        trunk = "lang_encoder." + ("model." if llama else "transformer.")
        table = self.w[trunk + ("embed_tokens.weight" if llama else "wte.weight")]
        x = table[list(tokens)]
        for n in range(self.h.block_count):
            if self.h.has_gated_block(n):
                x = self.gated(n, x, text_time, media)
            x = self.llama_layer(n, x) if llama else self.mpt_layer(n, x)
        last = {"mpt": "norm_f", "mosaicgpt": "ln_f", "llama": "norm"}[self.h.family]
        x = self.norm(x, trunk + last + ".weight")
        return x @ (table if self.h.tied_output else self.w["lang_encoder.lm_head.weight"]).T

    def norm(self, x: Array, weight: str, bias: str | None = None) -> Array:
        if self.h.family == "llama" and bias is None:
            scale = np.sqrt((x**2).mean(-1, keepdims=True) + self.h.norm_epsilon)
            return x / scale * self.w[weight]
        x = x - x.mean(-1, keepdims=True)
        epsilon = 1e-5 if bias else self.h.norm_epsilon
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * self.w[weight]
        return x + self.w[bias] if bias else x

    def gated(self, n: int, x: Array, text_time: Sequence[int], media: Sequence[Any]) -> Array:
        p = self.layers.format(n=n) + "gated_cross_attn_layer."
        inner, heads = self.h.cross_inner_length, self.h.cross_head_count
        q = (
            self.norm(x, p + "attn.norm.weight", p + "attn.norm.bias")
            @ self.w[p + "attn.to_q.weight"].T
        )
        out = np.zeros_like(q)
        for row, time in enumerate(text_time):
            if time == 0:
                continue
            kv = np.asarray(media[time - 1], np.float64) @ self.w[p + "attn.to_kv.weight"].T
            for at in np.split(np.arange(inner), heads):
                weights = softmax(kv[:, at] @ q[row, at] / math.sqrt(self.h.cross_key_length))
                out[row, at] = weights @ kv[:, inner:][:, at]
        x = x + np.tanh(self.w[p + "attn_gate"]) * (out @ self.w[p + "attn.to_out.weight"].T)
        f = p + "feed_forward."
        hidden = self.norm(x, f + "0.weight", f + "0.bias") @ self.w[f + "1.weight"].T
        return x + np.tanh(self.w[p + "ff_gate"]) * (gelu(hidden) @ self.w[f + "3.weight"].T)

    def mpt_layer(self, n: int, x: Array) -> Array:
        p = self.layers.format(n=n) + "decoder_layer."
        mosaic = self.h.family == "mosaicgpt"
        qkv = self.norm(x, p + ("ln_1" if mosaic else "norm_1") + ".weight")
        qkv = qkv @ self.w[p + "attn.Wqkv.weight"].T
        if self.h.clamp_kqv:
            qkv = qkv.clip(-self.h.clamp_kqv, self.h.clamp_kqv)
        q, k, v = np.split(qkv, 3, axis=-1)
        if self.h.qk_norm:
            q = self.norm(q, p + "attn.q_ln.weight")
            k = self.norm(k, p + "attn.k_ln.weight")
        x = x + self.attention(q, k, v) @ self.w[p + "attn.out_proj.weight"].T
        up, down = ("mlp.mlp_up", "mlp.mlp_down") if mosaic else ("ffn.up_proj", "ffn.down_proj")
        hidden = self.norm(x, p + ("ln_2" if mosaic else "norm_2") + ".weight")
        return x + gelu(hidden @ self.w[p + up + ".weight"].T) @ self.w[p + down + ".weight"].T

    def llama_layer(self, n: int, x: Array) -> Array:
        p = self.layers.format(n=n) + "decoder_layer."
        normed = self.norm(x, p + "input_layernorm.weight")
        q, k, v = (normed @ self.w[f"{p}self_attn.{a}_proj.weight"].T for a in "qkv")
        attended = self.attention(self.rotate(q), self.rotate(k), v)
        x = x + attended @ self.w[p + "self_attn.o_proj.weight"].T
        normed = self.norm(x, p + "post_attention_layernorm.weight")
        gate, up = (normed @ self.w[f"{p}mlp.{a}_proj.weight"].T for a in ("gate", "up"))
        return x + (gate / (1 + np.exp(-gate)) * up) @ self.w[p + "mlp.down_proj.weight"].T

    def rotate(self, x: Array) -> Array:
        length = self.h.head_length
        heads = x.reshape(len(x), -1, length)
        angle = self.h.rope_freq_base ** (-np.arange(0, length, 2) / length)
        angle = np.arange(len(x))[:, None, None] * np.concatenate([angle, angle])
        a, b = np.split(heads, 2, axis=-1)
        turned = heads * np.cos(angle) + np.concatenate([-b, a], axis=-1) * np.sin(angle)
        return turned.reshape(x.shape)

    def attention(self, q: Array, k: Array, v: Array) -> Array:
        count, length = len(q), self.h.head_length
        out = np.zeros_like(q)
        group = self.h.head_count // self.h.head_count_kv
        for head in range(self.h.head_count):
            at = slice(head * length, (head + 1) * length)
            kv = slice(head // group * length, (head // group + 1) * length)
            scores = q[:, at] @ k[:, kv].T / math.sqrt(length)
            distance = np.arange(count)[None, :] - np.arange(count)[:, None]
            scores = scores + self.slope(head) * distance
            scores = np.where(distance <= 0, scores, -np.inf)
            out[:, at] = softmax(scores) @ v[:, kv]
        return out

    def slope(self, head: int) -> float:
        """MPT: slopes of the next power of two, odd ones first; MosaicGPT: no rounding."""
        if not self.h.max_alibi_bias:
            return 0.0
        if self.h.family == "mosaicgpt":
            return float(2 ** (-self.h.max_alibi_bias * (head + 1) / self.h.head_count))
        power = 2 ** math.ceil(math.log2(self.h.head_count))
        slopes = [2 ** (-self.h.max_alibi_bias * i / power) for i in range(1, power + 1)]
        if power != self.h.head_count:
            slopes = slopes[1::2] + slopes[::2]
        return slopes[head]


def softmax(x: Array) -> Array:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def make_model(family: str = "mpt", seed: int = 0, **sizes: Any) -> TinyModel:
    settings: dict[str, Any] = {
        "family": family,
        "vocab_size": 70,
        "context_length": 700,
        "embedding_length": 96,
        "block_count": 4,
        "feed_forward_length": 128,
        "norm_epsilon": 1e-5,
        "cross_attention_every": 2,
        "cross_head_count": 2,
        "cross_key_length": 64,
        "cross_feed_forward_length": 128,
        "latents_width": 32,
        "latents_count": 5,
        **SIZES[family],
        **sizes,
    }
    hparams = Hparams(**settings)
    random = np.random.default_rng(seed)
    tensors = {
        spec.published: _random_tensor(random, spec.shape, spec.name)
        for spec in expected_tensors(hparams).values()
    }
    return TinyModel(hparams, tensors)


def _random_tensor(
    random: np.random.Generator, shape: tuple[int, ...], name: str
) -> NDArray[np.float32]:
    if shape == (1,):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    numbers = random.standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        return numbers * np.float32(0.1) + np.float32(0 if name.endswith("bias") else 1)
    return numbers * np.float32(1.5 / math.sqrt(shape[-1]))


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., TinyModel]:
    return make_model


@pytest.fixture(scope="session")
def tiny() -> TinyModel:
    return make_model()


@pytest.fixture(scope="session")
def tiny_path(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("decoder") / "tiny.gguf")
