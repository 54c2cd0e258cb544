"""MosaicGPT (the 1B models): MPT's graph with slopes that do not round the number of heads."""

from __future__ import annotations

from otter_desktop.decoder.families.mpt import Mpt
from otter_desktop.decoder.hparams import Hparams


class MosaicGpt(Mpt):
    """The graph of mosaicml/mpt-1b-redpajama-200b."""

    def alibi_slopes(self, hparams: Hparams) -> list[float] | None:
        """Return 2^(-max_bias * i / heads), i from 1."""
        if not hparams.max_alibi_bias:
            return None
        heads = hparams.head_count
        return [2.0 ** (-hparams.max_alibi_bias * (i + 1) / heads) for i in range(heads)]
