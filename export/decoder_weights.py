"""Weights read back from a decoder file, dequantised, under their published names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from torch import Tensor

from otter_desktop.decoder.gguf import GgufFile
from otter_desktop.decoder.tensor_names import expected_tensors
from otter_desktop.decoder.weights import check_tensors, read_hparams


def stored_weights(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (published name, float32 tensor) for every tensor of a decoder file.

    gguf's own dequantisation is used, which shares nothing with the quantiser that wrote the file.
    Raises `PackageError` for a damaged file.
    """
    with GgufFile(path) as file:
        hparams = read_hparams(file)
        check_tensors(file, hparams)
        for name, spec in expected_tensors(hparams).items():
            kind = GGMLQuantizationType(file.tensors[name].type_code)
            raw = np.array(file.tensor_bytes(name)).reshape(*spec.shape[:-1], -1)
            values = np.ascontiguousarray(dequantize(raw, kind), dtype=np.float32)
            yield spec.published, torch.from_numpy(values.reshape(spec.shape).copy())
