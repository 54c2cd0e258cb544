"""Weights to the number formats of a scheme, by ggml's own quantiser."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from otter_desktop.decoder import tensor_names as names
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.tensor_names import TensorSpec
from otter_desktop.decoder.tensor_types import TensorType, quantize_rows

SCHEMES = ("f32", "f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")

_BASE = {
    "f32": TensorType.F32,
    "f16": TensorType.F16,
    "q8_0": TensorType.Q8_0,
    "q6_k": TensorType.Q6_K,
    "q5_k_m": TensorType.Q5_K,
    "q4_k_m": TensorType.Q4_K,
    "q4_0": TensorType.Q4_0,
}
# Matrices that llama.cpp's *_K_M mixtures keep finer in some layers (llama_tensor_get_type).
_SENSITIVE = (names.ATTN_QKV, names.ATTN_V, names.FFN_DOWN, names.CROSS_ATTN_KV)
_PIECE_ELEMENTS = 1 << 22


def tensor_type(spec: TensorSpec, scheme: str, hparams: Hparams) -> TensorType:
    """Return the format of one tensor under a scheme.

    Norms, biases and gates stay float32. The output matrix (with tied weights the embedding
    table) is kept at 6 bits or more, and so are the sensitive matrices of every third layer and
    of the first and last eighth under `*_k_m`. Rows that a format cannot divide fall back to
    q8_0, then to f16. Raises `ValueError` for an unknown scheme.
    """
    if scheme not in _BASE:
        raise ValueError(f"unknown quantisation {scheme!r}: choose one of {', '.join(SCHEMES)}")
    if spec.role == "vector":
        return TensorType.F32
    wanted = _BASE[scheme]
    if wanted not in (TensorType.F32, TensorType.F16, TensorType.Q8_0) and (
        _is_output(spec, hparams) or (scheme.endswith("_k_m") and _more_bits(spec, hparams))
    ):
        wanted = TensorType.Q6_K
    for kind in (wanted, TensorType.Q8_0):
        if spec.shape[-1] % kind.block_length == 0:
            return kind
    return TensorType.F16


def _is_output(spec: TensorSpec, hparams: Hparams) -> bool:
    output = names.TOKEN_EMBD if hparams.tied_output else names.OUTPUT
    return spec.name == output


def _more_bits(spec: TensorSpec, hparams: Hparams) -> bool:
    n, count = spec.layer, hparams.block_count
    if n is None or spec.name not in [template.format(n=n) for template in _SENSITIVE]:
        return False
    return n < count // 8 or n >= 7 * count // 8 or (n - count // 8) % 3 == 2


def quantize(
    array: NDArray[np.float32], kind: TensorType, threads: int | None = None
) -> NDArray[np.uint8]:
    """Return an array (rows, columns) or (columns,) in a format, quantised by several threads.

    Raises `ValueError` for numbers that are not finite.
    """
    rows = array.reshape(1, -1) if array.ndim == 1 else array
    step = max(1, _PIECE_ELEMENTS // max(1, rows.shape[1]))

    def piece(at: int) -> NDArray[np.uint8]:
        return quantize_rows(rows[at : at + step], kind)

    return _in_order(piece, range(0, rows.shape[0], step), threads or os.cpu_count() or 1)


def _in_order(
    work: Callable[[int], NDArray[np.uint8]], starts: range, threads: int
) -> NDArray[np.uint8]:
    if len(starts) <= 1 or threads <= 1:
        return np.concatenate([work(at) for at in starts])
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(work, starts)))
