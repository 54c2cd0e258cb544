"""Running graphs: one back end with its weights, inputs in, results out, stopped on request."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_desktop.cancel import CancelToken
from otter_desktop.decoder import bindings as c
from otter_desktop.decoder.families import Family
from otter_desktop.decoder.graph import CacheTensors, GraphBuilder, GraphInputs, GraphShape
from otter_desktop.decoder.handles import Backend, Context, GraphAllocator, take_last_message
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.weights import Weights
from otter_desktop.errors import Cancelled, DeviceError

_KEPT_GRAPHS = 4


@dataclass(frozen=True)
class Runtime:
    """A back end and a model's weights on it; one graph runs at a time."""

    backend: Backend
    weights: Weights
    hparams: Hparams
    family: Family
    biased_mask: bool
    slopes: NDArray[np.float32] | None
    _lock: threading.Lock

    def set_input(self, tensor: int, array: NDArray[Any]) -> None:
        """Copy an array, contiguous and of the tensor's own type, into an input tensor."""
        c.backend_tensor_set(tensor, array.ctypes.data, 0, array.nbytes)

    def compute(self, graph: int, cancel: CancelToken | None = None) -> None:
        """Run a graph; raises `Cancelled`, or `DeviceError` when the device fails.

        With a token the back end asks it between operations, so that a long prefill stops at
        once; a single token is short and only asks before it begins.
        """
        with self._lock:
            if cancel is not None:
                self.backend.set_abort_callback(lambda: cancel.cancelled)
            try:
                status = c.backend_graph_compute(self.backend.address, graph)
            finally:
                if cancel is not None:
                    self.backend.set_abort_callback(None)
        if status == c.STATUS_ABORTED:
            raise Cancelled("Stopped.")
        if status != c.STATUS_SUCCESS:
            detail = take_last_message()
            raise DeviceError(f"{self.backend.name} could not run the model. {detail}".strip())


class CompiledGraph:
    """A decoder graph with its memory, ready to run again and again."""

    def __init__(self, runtime: Runtime, caches: CacheTensors, shape: GraphShape) -> None:
        builder = GraphBuilder(
            runtime.hparams, runtime.weights, caches, shape, biased_mask=runtime.biased_mask
        )
        x = builder.embed()
        for n in range(runtime.hparams.block_count):
            if runtime.hparams.has_gated_block(n):
                x = builder.gated_block(n, x)
            x = runtime.family.layer(builder, n, x)
        self._logits = builder.finish(runtime.family.final_norm(builder, x))
        self._runtime = runtime
        self._context: Context = builder.context
        self._graph = builder.graph
        self.inputs: GraphInputs = builder.inputs
        self._allocator = GraphAllocator(runtime.backend.buffer_type)
        self._allocator.allocate(self._graph)
        self._rows = shape.n_tokens if shape.all_rows else 1
        self._is_long = shape.n_tokens > 1

    def run(self, cancel: CancelToken | None) -> NDArray[np.float32]:
        """Run on the inputs that were set; returns logits (rows, vocab)."""
        if cancel is not None:
            cancel.check()
        self._runtime.compute(self._graph, cancel if self._is_long else None)
        logits = np.empty((self._rows, self._runtime.hparams.vocab_size), np.float32)
        c.backend_tensor_get(self._logits, logits.ctypes.data, 0, logits.nbytes)
        return logits

    def close(self) -> None:
        """Free the graph and its memory."""
        self._allocator.close()
        self._context.close()


class GraphCache:
    """The graphs used last, by shape: decoding runs the same one hundreds of times."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._graphs: dict[GraphShape, CompiledGraph] = {}

    def get(self, shape: GraphShape, caches: CacheTensors) -> CompiledGraph:
        """Return the graph of a shape, built if need be."""
        graph = self._graphs.pop(shape, None)
        if graph is None:
            while len(self._graphs) >= _KEPT_GRAPHS:
                self._graphs.pop(next(iter(self._graphs))).close()
            graph = CompiledGraph(self._runtime, caches, shape)
        self._graphs[shape] = graph
        return graph

    def clear(self) -> None:
        """Free all graphs: the caches that they point at have moved."""
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
