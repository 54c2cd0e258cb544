"""An open decoder file: weights on a device, from which sessions are made."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from otter_desktop.closing import Closing
from otter_desktop.cores import physical_cores
from otter_desktop.decoder import bindings as c
from otter_desktop.decoder import keys
from otter_desktop.decoder.devices import find_device
from otter_desktop.decoder.families import family
from otter_desktop.decoder.families.alibi import ggml_slopes
from otter_desktop.decoder.gguf import GgufFile, Value
from otter_desktop.decoder.handles import Backend
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.runtime import Runtime
from otter_desktop.decoder.session import Session, check_length
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.decoder.weights import Weights, check_tensors, read_hparams
from otter_desktop.errors import PackageError, SettingsError

_SMALL_MODEL_BYTES = 64 << 20
KvType = Literal["f16", "f32", "q8_0"]
_KV_TYPES = {"f16": TensorType.F16, "f32": TensorType.F32, "q8_0": TensorType.Q8_0}


class Decoder(Closing):
    """The language model with gated cross-attention, from a GGUF file of architecture `otter`."""

    def __init__(
        self, file: GgufFile, runtime: Runtime, *, kv_type: TensorType, context_length: int
    ) -> None:
        """Use `Decoder.open`."""
        self._file = file
        self._runtime = runtime
        self._kv_type = kv_type
        self.context_length = context_length
        self.hparams: Hparams = runtime.hparams
        self.metadata: Mapping[str, Value] = MappingProxyType(file.metadata)
        self.tokenizer_json = str(file.metadata[keys.TOKENIZER_JSON])
        self.device_name = runtime.backend.name

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        device: str = "cpu",
        threads: int | None = None,
        kv_type: KvType = "f16",
        context_length: int | None = None,
    ) -> Decoder:
        """Open a decoder file on a device: "cpu", "auto", "gpu" or a name of `list_devices`.

        `threads` defaults to the physical cores (for a small model to 1: waiting for one another
        would take the threads longer than the work), `context_length` (tokens) to the model's own.
        Raises `PackageError` for a damaged or foreign file, `DeviceError`, `SettingsError`.
        """
        info = find_device(device)
        file = GgufFile(path)
        try:
            hparams = read_hparams(file)
            check_tensors(file, hparams)
            if keys.TOKENIZER_JSON not in file.metadata:
                raise PackageError(f"{path} has no tokenizer: convert the checkpoint again.")
            kind = _kv_type(kv_type, hparams)
            length = _context_length(context_length, hparams)
            backend = Backend(c.backend_dev_get(info.index))
            backend.set_threads(_threads(threads, file.size_bytes))
            runtime = _make_runtime(file, hparams, backend)
        except BaseException:
            file.close()
            raise
        return cls(file, runtime, kv_type=kind, context_length=length)

    def session(self, n_sequences: int = 1) -> Session:
        """Return a new session with a cache of its own for `n_sequences` texts (beams)."""
        if n_sequences < 1:
            raise ValueError("a session needs at least one sequence")
        return Session(
            self._runtime,
            n_sequences=n_sequences,
            context_length=self.context_length,
            kv_type=self._kv_type,
        )

    def check_length(self, n_tokens: int) -> None:
        """Raise `PromptError` where a prompt of so many tokens is longer than the context."""
        check_length(n_tokens, self.context_length)

    @property
    def repacked_tensors(self) -> frozenset[str]:
        """Names of the tensors that lie in a layout faster than the file's."""
        return frozenset(self._runtime.weights.repacked)

    def close(self) -> None:
        """Free the weights; sessions must have been closed."""
        self._runtime.weights.close()
        self._runtime.backend.close()


def _make_runtime(file: GgufFile, hparams: Hparams, backend: Backend) -> Runtime:
    model = family(hparams.family)
    slopes = model.alibi_slopes(hparams)
    biased = slopes is not None and not np.allclose(
        slopes, ggml_slopes(hparams.head_count, hparams.max_alibi_bias), rtol=1e-6, atol=0
    )
    return Runtime(
        backend=backend,
        weights=Weights(file, hparams, backend),
        hparams=hparams,
        family=model,
        biased_mask=biased,
        slopes=None if slopes is None else np.asarray(slopes, np.float32),
        _lock=threading.Lock(),
    )


def _threads(threads: int | None, size_bytes: int) -> int:
    if threads is None:
        return 1 if size_bytes < _SMALL_MODEL_BYTES else physical_cores()
    if not 1 <= threads <= 512:  # 512: ggml's GGML_MAX_N_THREADS
        raise SettingsError(f"{threads} threads: give a number from 1 to 512.")
    return threads


def _kv_type(name: str, hparams: Hparams) -> TensorType:
    if name not in _KV_TYPES:
        raise SettingsError(f"Key/value type {name!r}: choose one of {', '.join(_KV_TYPES)}.")
    kind = _KV_TYPES[name]
    if hparams.head_length % kind.block_length:
        raise SettingsError(
            f"Key/value type {name} needs attention heads of a multiple of {kind.block_length}; "
            f"this model's have {hparams.head_length}. Choose f16."
        )
    return kind


def _context_length(wanted: int | None, hparams: Hparams) -> int:
    if wanted is None:
        return hparams.context_length
    if not 1 <= wanted <= hparams.context_length:
        raise SettingsError(
            f"A context of {wanted}: the model takes 1 to {hparams.context_length}."
        )
    return wanted
