"""Media of a session: each item's cross-attention keys and values, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otter_desktop.decoder import bindings as c
from otter_desktop.decoder import tensor_names as names
from otter_desktop.decoder.handles import Context, GraphAllocator
from otter_desktop.decoder.kv_cache import MediaCache
from otter_desktop.decoder.runtime import Runtime
from otter_desktop.decoder.tensor_types import TensorType

Latents = NDArray[np.float32]


class MediaSlots:
    """Maps media numbers (1..T) to slots of a `MediaCache`; equal latents share a slot."""

    def __init__(self, runtime: Runtime, kind: TensorType) -> None:
        self._runtime = runtime
        self._kind = kind
        self._slot_of: dict[bytes, int] = {}
        self._order: list[bytes] = []
        self._encoder: _Encoder | None = None
        self.cache: MediaCache | None = None
        self.generation = 0  # grows when the native memory moved: graphs on it are stale

    @property
    def count(self) -> int:
        """Number of media items that the text can see."""
        return len(self._order)

    @property
    def n_latents(self) -> int:
        """Latents of all slots."""
        slots = self.cache.n_slots if self.cache else 0
        return slots * self._runtime.hparams.latents_count

    def key(self, number: int) -> bytes:
        """Return what identifies the content of a medium, by its number (from 1)."""
        return self._order[number - 1]

    def slot(self, number: int) -> int:
        """Return the slot of a medium, by its number (from 1)."""
        return self._slot_of[self._order[number - 1]]

    def set(self, latents: Sequence[Latents]) -> None:
        """Make these the media 1..T; only new content is computed."""
        arrays = [self._checked(item) for item in latents]
        order = [_content_key(array) for array in arrays]
        wanted = dict(zip(order, arrays, strict=True))
        self._order = []
        self._slot_of = {key: slot for key, slot in self._slot_of.items() if key in wanted}
        self._reserve(len(wanted))
        for key, array in wanted.items():
            self._ensure(key, array)
        self._order = order

    def add(self, latents: Latents) -> int:
        """Add a medium after the others and return its number."""
        array = self._checked(latents)
        key = _content_key(array)
        if key not in self._slot_of:
            self._reserve(len(self._slot_of) + 1)
            self._ensure(key, array)
        self._order.append(key)
        return len(self._order)

    def _ensure(self, key: bytes, array: Latents) -> None:
        if key not in self._slot_of:
            slot = self._free_slot()
            self._encode(array, slot)
            self._slot_of[key] = slot

    def _checked(self, item: Latents) -> Latents:
        h = self._runtime.hparams
        array = np.ascontiguousarray(item, dtype=np.float32)
        if array.shape != (h.latents_count, h.latents_width):
            raise ValueError(
                f"latents have shape {array.shape}, not {(h.latents_count, h.latents_width)}"
            )
        if not np.isfinite(array).all():
            raise ValueError("latents hold a number that is not finite")
        return array

    def _free_slot(self) -> int:
        taken = set(self._slot_of.values())
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)

    def _reserve(self, slots: int) -> None:
        """Make room, in powers of two so that growing moves memory and graphs rarely."""
        have = self.cache.n_slots if self.cache else 0
        if slots <= have or not self._runtime.hparams.gated_layers:
            return
        grown = MediaCache.make(
            self._runtime.hparams, self._runtime.backend, self._kind, 1 << (slots - 1).bit_length()
        )
        if self.cache is not None:
            grown.copy_from(self.cache)
        self.generation += 1
        self._drop()
        self.cache = grown

    def _encode(self, array: Latents, slot: int) -> None:
        if self.cache is None:
            return
        if self._encoder is None:
            self._encoder = _Encoder(self._runtime, self.cache)
        self._encoder.run(array, slot)

    def _drop(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
        if self.cache is not None:
            self.cache.close()
            self.cache = None

    def close(self) -> None:
        """Free the native memory."""
        self._drop()
        self._order, self._slot_of = [], {}


def _content_key(array: Latents) -> bytes:
    return hashlib.blake2b(array.tobytes(), digest_size=16).digest()


class _Encoder:
    """The graph that projects one item's latents to keys and values of every gated layer."""

    def __init__(self, runtime: Runtime, cache: MediaCache) -> None:
        h = runtime.hparams
        self._runtime = runtime
        size = 8 * len(h.gated_layers) + 8
        self._context = Context(size, size)
        ctx = self._context.address
        self._graph: int = c.new_graph_custom(ctx, size, False)
        self._latents = c.new_tensor_2d(ctx, c.TYPE_F32, h.latents_width, h.latents_count)
        self._rows = c.new_tensor_1d(ctx, c.TYPE_I64, h.latents_count)
        c.set_input(self._latents)
        c.set_input(self._rows)
        inner = h.cross_inner_length
        for n in h.gated_layers:
            both = c.mul_mat(ctx, runtime.weights.tensor(names.CROSS_ATTN_KV, n), self._latents)
            stride = c.Tensor.from_address(both).nb[1]
            for target, offset in ((cache.keys[n], 0), (cache.values[n], inner * 4)):
                half = c.view_2d(ctx, both, inner, h.latents_count, stride, offset)
                c.build_forward_expand(self._graph, c.set_rows(ctx, target, half, self._rows))
        self._allocator = GraphAllocator(runtime.backend.buffer_type)
        self._allocator.allocate(self._graph)

    def run(self, latents: Latents, slot: int) -> None:
        """Compute one item into its slot."""
        count = latents.shape[0]
        rows = np.arange(slot * count, (slot + 1) * count, dtype=np.int64)
        self._runtime.set_input(self._latents, latents)
        self._runtime.set_input(self._rows, rows)
        self._runtime.compute(self._graph)

    def close(self) -> None:
        self._allocator.close()
        self._context.close()
