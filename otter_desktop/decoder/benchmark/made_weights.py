"""Decoder files with made-up weights of MPT-7B's shape, for measuring speed only.

The same bytes go into an Otter file and into a llama.cpp file, so that both do the same work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_desktop.decoder import keys, tensor_names
from otter_desktop.decoder.gguf import GgufWriter
from otter_desktop.decoder.hparams import KEY_OF_FIELD, Hparams
from otter_desktop.decoder.tensor_names import TensorSpec
from otter_desktop.decoder.tensor_types import TensorType

_Q4_K_ELEMENTS, _Q4_K_BYTES = 256, 144  # ggml-common.h, block_q4_K
_PATTERN_BLOCKS = 1 << 13

MPT_7B = Hparams(
    family="mpt",
    vocab_size=50432,
    context_length=2048,
    embedding_length=4096,
    block_count=32,
    feed_forward_length=16384,
    head_count=32,
    head_count_kv=32,
    norm_epsilon=1e-5,
    max_alibi_bias=8.0,
    tied_output=True,
    cross_attention_every=4,
    cross_head_count=8,
    cross_key_length=64,
    cross_feed_forward_length=16384,
    latents_width=1024,
    latents_count=64,
)


@dataclass(frozen=True)
class MadeFiles:
    """The three files that are measured."""

    plain: Path
    gated: Path
    llama_cpp: Path


def make_files(folder: Path, hparams: Hparams) -> MadeFiles:
    """Write the decoder without and with gated blocks, and the same weights for llama.cpp."""
    files = MadeFiles(folder / "plain.gguf", folder / "gated.gguf", folder / "llama_cpp.gguf")
    plain = replace(hparams, cross_attention_every=0)
    _write(files.plain, plain, _otter_metadata(plain))
    _write(files.gated, hparams, _otter_metadata(hparams))
    _write(files.llama_cpp, plain, _llama_cpp_metadata(plain))
    return files


def _otter_metadata(h: Hparams) -> dict[str, str | int | float | bool]:
    return {
        keys.GENERAL_ARCHITECTURE: keys.ARCHITECTURE,
        keys.GENERAL_FILE_FORMAT: keys.FORMAT_VERSION,
        keys.TOKENIZER_JSON: "{}",
        **{KEY_OF_FIELD[field]: value for field, value in asdict(h).items()},
    }


def _llama_cpp_metadata(h: Hparams) -> dict[str, str | int | float | bool]:
    """llama.cpp's own keys for its architecture `mpt` (llama-arch.cpp)."""
    return {
        "general.architecture": "mpt",
        "mpt.context_length": h.context_length,
        "mpt.embedding_length": h.embedding_length,
        "mpt.block_count": h.block_count,
        "mpt.feed_forward_length": h.feed_forward_length,
        "mpt.attention.head_count": h.head_count,
        "mpt.attention.layer_norm_epsilon": h.norm_epsilon,
        "mpt.attention.max_alibi_bias": h.max_alibi_bias,
        "mpt.vocab_size": h.vocab_size,
        "tokenizer.ggml.model": "no_vocab",
    }


def _write(path: Path, hparams: Hparams, metadata: dict[str, str | int | float | bool]) -> None:
    specs = tensor_names.expected_tensors(hparams)
    with GgufWriter(path) as writer:
        writer.set_all(metadata)
        for spec in specs.values():
            kind = TensorType.F32 if spec.role == "vector" else TensorType.Q4_K
            writer.declare(spec.name, spec.shape, kind)
        writer.begin()
        for spec, data in _tensors(specs):
            writer.write(spec.name, data)
        writer.finish()


def _tensors(specs: dict[str, TensorSpec]) -> Iterator[tuple[TensorSpec, NDArray[np.uint8]]]:
    for spec in specs.values():
        if spec.role == "vector":
            value = 0.0 if spec.name.endswith(".bias") else 0.5 if spec.shape == (1,) else 1.0
            yield spec, np.full(spec.shape, value, np.float32).view(np.uint8).reshape(-1)
        else:
            yield spec, _made_q4_k(math.prod(spec.shape), spec.shape[-1], spec.name)


def _made_q4_k(elements: int, columns: int, name: str) -> NDArray[np.uint8]:
    """Return random Q4_K blocks whose weights have mean 0 and about 1/sqrt(columns) deviation.

    A block is d, dmin (f16), 12 bytes of 6-bit scales and minima, 128 bytes of 4-bit numbers; a
    weight is d * scale * number - dmin * minimum. Means: scale and minimum 31.5, number 7.5.
    """
    random = np.random.default_rng(list(name.encode()))
    pattern = random.integers(0, 256, (_PATTERN_BLOCKS, _Q4_K_BYTES), dtype=np.uint8)
    d = 1.0 / (math.sqrt(columns) * 31.5 * 6.0)
    pattern[:, 0:4] = np.array([d, 7.5 * d], np.float16).view(np.uint8)
    blocks = elements // _Q4_K_ELEMENTS
    return np.resize(pattern.reshape(-1), blocks * _Q4_K_BYTES)
