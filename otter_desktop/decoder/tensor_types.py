"""Number formats of tensors: names, block sizes, and ggml's own quantiser."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from otter_desktop.decoder import bindings as c


class TensorType(IntEnum):
    """Formats that the decoder reads and writes; values are ggml's."""

    F32 = c.TYPE_F32
    F16 = c.TYPE_F16
    BF16 = c.TYPE_BF16
    Q4_0 = c.TYPE_Q4_0
    Q8_0 = c.TYPE_Q8_0
    Q4_K = c.TYPE_Q4_K
    Q5_K = c.TYPE_Q5_K
    Q6_K = c.TYPE_Q6_K

    @property
    def block_length(self) -> int:
        """Elements that share one scale: a row must be a multiple of it."""
        return int(c.blck_size(int(self)))

    def row_bytes(self, columns: int) -> int:
        """Bytes of one row of `columns` elements."""
        return int(c.row_size(int(self), columns))


def quantize_rows(rows: NDArray[np.float32], kind: TensorType) -> NDArray[np.uint8]:
    """Return rows (n, columns) float32 in another format, by ggml's own quantiser.

    Raises `ValueError` where a row is not a multiple of the block or holds a NaN or an infinity.
    """
    if rows.shape[1] % kind.block_length:
        raise ValueError(f"rows of {rows.shape[1]} do not fit {kind.name}")
    if not np.isfinite(rows).all():
        raise ValueError("a weight is not a finite number")
    source = np.ascontiguousarray(rows, dtype=np.float32)
    if kind is TensorType.F32:
        return source.view(np.uint8).reshape(-1)
    out = np.empty(rows.shape[0] * kind.row_bytes(rows.shape[1]), np.uint8)
    if rows.shape[0]:
        c.quantize_chunk(
            int(kind), source.ctypes.data, out.ctypes.data, 0, rows.shape[0], rows.shape[1], None
        )
    return out
