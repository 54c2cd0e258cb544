"""Checkpoint tensors to the decoder's GGUF file: the writer that mirrors the reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize import quantize, tensor_type
from otter_desktop.decoder import keys
from otter_desktop.decoder.gguf import GgufWriter
from otter_desktop.decoder.hparams import KEY_OF_FIELD, Hparams
from otter_desktop.decoder.tensor_names import TensorSpec, expected_tensors
from otter_desktop.errors import CheckpointError

# Parts of a checkpoint that are not the decoder's, and buffers that hold no weights.
_OTHER_PARTS = ("vision_encoder.", "perceiver.")
_BUFFERS = re.compile(r"(position_ids|rotary_emb\.inv_freq|(masked_)?bias)$")


def write_decoder(
    out_path: Path,
    *,
    family: str,
    hparams: Hparams | Mapping[str, Any],
    tensors: Iterable[tuple[str, Any]],
    tokenizer_json: str,
    scheme: str = "q8_0",
    metadata: Mapping[str, str | int | float | bool] | None = None,
    threads: int | None = None,
) -> None:
    """Write the decoder of a checkpoint as a GGUF file of architecture `otter`.

    `family` is "mpt", "mosaicgpt" or "llama"; `tensors` yields (published state-dict name,
    numpy array or torch tensor) one at a time in any order, LoRA already merged; vision and
    perceiver tensors and the buffers that FORMATS.md section 2 ignores may be among them and
    are skipped. `scheme` is one of `export.quantize.SCHEMES`. `tokenizer_json` is the text of
    tokenizer.json with the special tokens added. `metadata` is added to the file as it is.
    The file appears only when it is complete. Raises `CheckpointError` for a missing, extra or
    misshapen tensor.
    """
    sizes = (
        hparams
        if isinstance(hparams, Hparams)
        else Hparams.from_mapping({"family": family, **hparams})
    )
    if sizes.family != family:
        raise ValueError(f"the sizes are of family {sizes.family!r}, not {family!r}")
    sizes.check()
    specs = expected_tensors(sizes)
    kinds = {name: tensor_type(spec, scheme, sizes) for name, spec in specs.items()}
    with GgufWriter(out_path) as writer:
        writer.set(keys.GENERAL_ARCHITECTURE, keys.ARCHITECTURE)
        writer.set(keys.GENERAL_FILE_FORMAT, keys.FORMAT_VERSION)
        writer.set(keys.SCHEME, scheme)
        writer.set_all({KEY_OF_FIELD[field]: value for field, value in asdict(sizes).items()})
        writer.set(keys.TOKENIZER_JSON, tokenizer_json)
        writer.set_all(metadata or {})
        for name, spec in specs.items():
            writer.declare(name, spec.shape, kinds[name])
        writer.begin()
        missing = dict(specs)
        for spec, array in _decoder_tensors(specs, tensors, tied=sizes.tied_output):
            if missing.pop(spec.name, None) is None:
                raise CheckpointError(f"{spec.published} is in the checkpoint twice.")
            try:
                writer.write(spec.name, quantize(array, kinds[spec.name], threads))
            except ValueError as error:
                raise CheckpointError(f"{spec.published}: {error}.") from error
        if missing:
            raise CheckpointError(f"The checkpoint lacks {_some(missing.values())}.")
        writer.finish()


def _decoder_tensors(
    specs: Mapping[str, TensorSpec], tensors: Iterable[tuple[str, Any]], *, tied: bool
) -> Iterable[tuple[TensorSpec, NDArray[np.float32]]]:
    by_published = {spec.published: spec for spec in specs.values()}
    for name, value in tensors:
        spec = by_published.get(name)
        if spec is None:
            if not _is_ignored(name, tied):
                raise CheckpointError(f"The checkpoint has an unknown tensor {name}.")
            continue
        array = _to_numpy(value)
        shape = array.shape if array.shape else (1,)
        if shape != spec.shape:
            raise CheckpointError(f"{name} has shape {shape}, not {spec.shape}.")
        yield spec, array


def _is_ignored(name: str, tied: bool) -> bool:
    if name.startswith(_OTHER_PARTS):
        return True
    if tied and name == "lang_encoder.lm_head.weight":
        return True  # the original computes with the embedding table whatever the file holds
    return bool(_BUFFERS.search(name)) and "gated_cross_attn_layer" not in name


def _to_numpy(value: Any) -> NDArray[np.float32]:
    """Return a numpy array or a torch tensor (of any float type) as float32."""
    if hasattr(value, "detach"):
        value = value.detach().to("cpu").float().numpy()
    return np.ascontiguousarray(value, dtype=np.float32)


def _some(specs: Iterable[TensorSpec]) -> str:
    missing = [spec.published for spec in specs]
    shown = ", ".join(missing[:3])
    return shown if len(missing) <= 3 else f"{shown} and {len(missing) - 3} more"
