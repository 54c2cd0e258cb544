"""MPT: pre-norm without biases, fused and perhaps clamped QKV, ALiBi, exact GELU."""

from __future__ import annotations

from otter_desktop.decoder import tensor_names as names
from otter_desktop.decoder.families.alibi import ggml_slopes
from otter_desktop.decoder.graph import GraphBuilder
from otter_desktop.decoder.hparams import Hparams


class Mpt:
    """The MPT graph (mosaicml/llm-foundry, `MPTBlock`)."""

    def layer(self, b: GraphBuilder, n: int, x: int) -> int:
        """Return decoder layer n."""
        h = b.hparams
        normed = b.layer_norm(x, names.ATTN_NORM, n)
        qkv = b.linear(names.ATTN_QKV, n, normed)
        if h.clamp_kqv:
            qkv = b.clamp(qkv, h.clamp_kqv)
        q = b.columns(qkv, 0, h.embedding_length)
        k = b.columns(qkv, h.embedding_length, h.kv_length)
        v = b.columns(qkv, h.embedding_length + h.kv_length, h.kv_length)
        q = b.output_rows(q, n)
        if h.qk_norm:
            q = b.layer_norm(q, names.ATTN_Q_NORM, n)
            k = b.layer_norm(k, names.ATTN_K_NORM, n)
        attended = b.linear(names.ATTN_OUTPUT, n, b.attention(q, k, v, n))
        x = b.add(b.output_rows(x, n), attended)
        hidden = b.layer_norm(x, names.FFN_NORM, n)
        hidden = b.linear(names.FFN_UP, n, hidden)
        return b.add(x, b.gelu_linear(names.FFN_DOWN, n, hidden))

    def final_norm(self, b: GraphBuilder, x: int) -> int:
        """Return the norm before the output matrix."""
        return b.layer_norm(x, names.OUTPUT_NORM, None)

    def alibi_slopes(self, hparams: Hparams) -> list[float] | None:
        """Return the slopes: the number of heads is rounded up to a power of two, as in ggml."""
        if not hparams.max_alibi_bias:
            return None
        return ggml_slopes(hparams.head_count, hparams.max_alibi_bias)
