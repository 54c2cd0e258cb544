"""LLaMA: RMSNorm, rotate-half RoPE, grouped heads, SwiGLU."""

from __future__ import annotations

from otter_desktop.decoder import tensor_names as names
from otter_desktop.decoder.graph import GraphBuilder
from otter_desktop.decoder.hparams import Hparams


class Llama:
    """The LLaMA graph (versions 1 and 2, Vicuna)."""

    def layer(self, b: GraphBuilder, n: int, x: int) -> int:
        """Return decoder layer n."""
        h = b.hparams
        normed = b.rms_norm(x, names.ATTN_NORM, n)
        q = b.rope(b.linear(names.ATTN_Q, n, normed), h.head_count)
        k = b.rope(b.linear(names.ATTN_K, n, normed), h.head_count_kv)
        v = b.linear(names.ATTN_V, n, normed)
        attended = b.attention(b.output_rows(q, n), k, v, n)
        x = b.add(b.output_rows(x, n), b.linear(names.ATTN_OUTPUT, n, attended))
        hidden = b.rms_norm(x, names.FFN_NORM, n)
        hidden = b.swiglu(b.linear(names.FFN_GATE, n, hidden), b.linear(names.FFN_UP, n, hidden))
        return b.add(x, b.linear(names.FFN_DOWN, n, hidden))

    def final_norm(self, b: GraphBuilder, x: int) -> int:
        """Return the norm before the output matrix."""
        return b.rms_norm(x, names.OUTPUT_NORM, None)

    def alibi_slopes(self, hparams: Hparams) -> list[float] | None:  # noqa: ARG002 - the protocol
        """LLaMA has no ALiBi."""
        return None
