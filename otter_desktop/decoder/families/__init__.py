"""Language-model families: one file each, found by the architecture name in the GGUF file."""

from __future__ import annotations

from typing import Protocol

from otter_desktop.decoder.families import llama, mosaicgpt, mpt
from otter_desktop.decoder.graph import GraphBuilder
from otter_desktop.decoder.hparams import Hparams


class Family(Protocol):
    """What a family's file provides."""

    def layer(self, b: GraphBuilder, n: int, x: int) -> int:
        """Return decoder layer n applied to x (D, tokens); fewer tokens after the last layer."""

    def final_norm(self, b: GraphBuilder, x: int) -> int:
        """Return the norm before the output matrix."""

    def alibi_slopes(self, hparams: Hparams) -> list[float] | None:
        """Return the ALiBi slope of every head, None without ALiBi."""


_FAMILIES: dict[str, Family] = {
    "mpt": mpt.Mpt(),
    "mosaicgpt": mosaicgpt.MosaicGpt(),
    "llama": llama.Llama(),
}


def family(name: str) -> Family:
    """Return the family of an architecture name; raises `ValueError` for an unknown one."""
    if name not in _FAMILIES:
        raise ValueError(f"unknown language model family {name!r}")
    return _FAMILIES[name]
