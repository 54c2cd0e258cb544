"""Native memory of the caches: keys and values of the text, and of the media."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_desktop.decoder import bindings as c
from otter_desktop.decoder.graph import CacheTensors
from otter_desktop.decoder.handles import Backend, Buffer, Context
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.tensor_types import TensorType

CELL_STEP = 256  # attention looks at a multiple of this many cells, so that graphs are reused


def padded(cells: int) -> int:
    """Return a number of cells rounded up to a multiple of `CELL_STEP`."""
    return max(CELL_STEP, -(-cells // CELL_STEP) * CELL_STEP)


class TextCache:
    """Keys and values of the text: per layer (kv_length, cells), in one buffer.

    The memory of cells that were never used is not touched, so a long context costs nothing
    before it is filled; `prepare` clears cells before attention reads them for the first time.
    """

    def __init__(self, hparams: Hparams, backend: Backend, kind: TensorType, n_cells: int) -> None:
        self.n_cells = padded(n_cells)
        self._row_bytes = kind.row_bytes(hparams.kv_length)
        self._context = Context(2 * hparams.block_count)
        ctx = self._context.address
        make = [
            (
                c.new_tensor_2d(ctx, int(kind), hparams.kv_length, self.n_cells),
                c.new_tensor_2d(ctx, int(kind), hparams.kv_length, self.n_cells),
            )
            for _ in range(hparams.block_count)
        ]
        self.keys = [pair[0] for pair in make]
        self.values = [pair[1] for pair in make]
        self._buffer = self._context.allocate(backend.buffer_type, f"a context of {n_cells} tokens")
        self._cleared = 0

    def prepare(self, n_kv: int) -> None:
        """Clear the cells below n_kv that were never read: garbage times 0 may be NaN."""
        if n_kv <= self._cleared:
            return
        offset = self._cleared * self._row_bytes
        size = (n_kv - self._cleared) * self._row_bytes
        for tensor in (*self.keys, *self.values):
            c.backend_tensor_memset(tensor, 0, offset, size)
        self._cleared = n_kv

    def close(self) -> None:
        """Free the memory."""
        self._buffer.close()
        self._context.close()


@dataclass(frozen=True)
class MediaCache:
    """Keys and values of the media: per gated layer (inner, slots * latents), in one buffer."""

    n_slots: int
    keys: dict[int, int]
    values: dict[int, int]
    _context: Context
    _buffer: Buffer

    @classmethod
    def make(cls, hparams: Hparams, backend: Backend, kind: TensorType, n_slots: int) -> MediaCache:
        """Allocate room for `n_slots` media items, cleared."""
        layers = hparams.gated_layers
        context = Context(2 * len(layers))
        width, length = hparams.cross_inner_length, n_slots * hparams.latents_count
        keys = {n: c.new_tensor_2d(context.address, int(kind), width, length) for n in layers}
        values = {n: c.new_tensor_2d(context.address, int(kind), width, length) for n in layers}
        buffer = context.allocate(backend.buffer_type, f"{n_slots} media items")
        cache = cls(n_slots, keys, values, context, buffer)
        for tensor in cache.tensors():
            c.backend_tensor_memset(tensor, 0, 0, c.nbytes(tensor))
        return cache

    def tensors(self) -> list[int]:
        """Return all tensors, always in the same order."""
        return [*self.keys.values(), *self.values.values()]

    def copy_from(self, other: MediaCache) -> None:
        """Take over the slots of a smaller cache."""
        for target, source in zip(self.tensors(), other.tensors(), strict=True):
            data: NDArray[np.uint8] = np.empty(c.nbytes(source), np.uint8)
            c.backend_tensor_get(source, data.ctypes.data, 0, data.nbytes)
            c.backend_tensor_set(target, data.ctypes.data, 0, data.nbytes)

    def close(self) -> None:
        """Free the memory."""
        self._buffer.close()
        self._context.close()


def cache_tensors(text: TextCache, media: MediaCache | None) -> CacheTensors:
    """Return the native tensors that a graph reads and writes."""
    return CacheTensors(
        text.keys, text.values, media.keys if media else {}, media.values if media else {}
    )
