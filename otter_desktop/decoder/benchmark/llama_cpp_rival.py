"""llama.cpp on a decoder file of its own, through llama-cpp-python's low-level calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_desktop.decoder.handles import log_callback
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.errors import DeviceError


class LlamaCpp:
    """One llama.cpp context on the processor, with its defaults but for threads and context."""

    def __init__(self, path: Path, *, threads: int, context_length: int) -> None:
        import llama_cpp  # only here: it takes a second to import

        self._lib: Any = llama_cpp
        llama_cpp.llama_log_set(log_callback, None)
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        if not self._model:
            raise DeviceError("llama.cpp could not load the weights made for it.")
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = context_length
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = int(TensorType.F16)
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise DeviceError("llama.cpp could not make a context.")
        self._vocab_size: int = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(self._model)
        )

    def clear(self) -> None:
        """Forget the text."""
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._context), False)

    def forward(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens; returns the logits (vocab,) of the last one."""
        array = (self._lib.llama_token * len(tokens))(*tokens)
        status = self._lib.llama_decode(
            self._context, self._lib.llama_batch_get_one(array, len(tokens))
        )
        if status:
            raise DeviceError(f"llama.cpp failed with status {status}.")
        logits = self._lib.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, shape=(self._vocab_size,)).copy()

    def close(self) -> None:
        """Free the context and the model."""
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)
