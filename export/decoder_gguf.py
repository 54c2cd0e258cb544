"""Checkpoint tensors to the decoder's GGUF file: the writer that mirrors `otter_desktop.decoder`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from otter_desktop.decoder.hparams import Hparams


def decoder_hparams(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Hparams:
    """Return the decoder's sizes from a published config.json and the shapes of its tensors.

    `shapes` maps published state-dict names to shapes; sizes that config.json lacks (gated
    blocks, latents, vocabulary rows) come from there. Raises `CheckpointError`.
    """
    raise NotImplementedError


def write_decoder(
    out_path: Path,
    *,
    family: str,
    hparams: Hparams | Mapping[str, Any],
    tensors: Iterable[tuple[str, Any]],
    tokenizer_json: str,
    scheme: str = "q8_0",
    metadata: Mapping[str, str | int | float | bool] | None = None,
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
    raise NotImplementedError
