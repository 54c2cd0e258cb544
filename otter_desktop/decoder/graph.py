"""Building blocks of the compute graph: norms, attention over the cache, gated cross-attention.

Shapes are in ggml's order, fastest first: a batch of n tokens is (D, n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from otter_desktop.decoder import bindings as c
from otter_desktop.decoder import tensor_names as names
from otter_desktop.decoder.handles import Context
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.weights import Weights

CROSS_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default, as in the original's gated block


@dataclass(frozen=True)
class GraphShape:
    """What a graph is built for; graphs of the same shape are reused."""

    n_tokens: int
    n_kv: int  # cells of the cache that attention looks at, padded
    all_rows: bool  # logits of every token, or of the last one only
    n_latents: int  # latents of all media slots; 0: no token of the batch sees a medium


@dataclass(frozen=True)
class CacheTensors:
    """Native tensors of the caches: per layer (kv_length, cells); per gated layer (I, latents)."""

    keys: list[int]
    values: list[int]
    cross_keys: dict[int, int]
    cross_values: dict[int, int]


@dataclass(frozen=True)
class GraphInputs:
    """Native input tensors; None where the graph does not need one."""

    tokens: int  # i32 (n)
    cells: int  # i64 (n): where keys and values of each token go
    positions: int | None  # i32 (n), RoPE only
    mask: int  # f16 (n_kv, n), or f32 (n_kv, n, heads) when it carries per-head biases
    cross_mask: int | None  # f16 (latents, n)
    cross_on: int | None  # f32 (1, n): 0 for tokens that see no medium


class GraphBuilder:
    """Builds one graph; families call its blocks layer by layer."""

    def __init__(
        self, hparams: Hparams, weights: Weights, caches: CacheTensors, shape: GraphShape,
        *, biased_mask: bool,
    ) -> None:  # fmt: skip
        self.hparams = hparams
        self.shape = shape
        self._weights = weights
        self._caches = caches
        self._biased_mask = biased_mask
        size = 64 * hparams.block_count + 64
        self.context = Context(size + 64, size)
        self._ctx = self.context.address
        self.graph: int = c.new_graph_custom(self._ctx, size, False)
        self.inputs = self._make_inputs()

    def _make_inputs(self) -> GraphInputs:
        ctx, n, n_kv = self._ctx, self.shape.n_tokens, self.shape.n_kv
        if self._biased_mask:
            mask = c.new_tensor_3d(ctx, c.TYPE_F32, n_kv, n, self.hparams.head_count)
        else:
            mask = c.new_tensor_2d(ctx, c.TYPE_F16, n_kv, n)
        latents = self.shape.n_latents
        inputs = GraphInputs(
            tokens=c.new_tensor_1d(ctx, c.TYPE_I32, n),
            cells=c.new_tensor_1d(ctx, c.TYPE_I64, n),
            positions=c.new_tensor_1d(ctx, c.TYPE_I32, n) if self.hparams.rope_freq_base else None,
            mask=mask,
            cross_mask=c.new_tensor_2d(ctx, c.TYPE_F16, latents, n) if latents else None,
            cross_on=c.new_tensor_2d(ctx, c.TYPE_F32, 1, n) if latents else None,
        )
        for tensor in vars(inputs).values():
            if tensor is not None:
                c.set_input(tensor)
        return inputs

    # --- small blocks ---

    def embed(self) -> int:
        """Return the token embeddings (D, n)."""
        table = self._weights.tensor(names.TOKEN_EMBD)
        return int(c.get_rows(self._ctx, table, self.inputs.tokens))

    def add(self, a: int, b: int) -> int:
        """Return a + b."""
        return int(c.add(self._ctx, a, b))

    def linear(self, template: str, layer: int | None, x: int) -> int:
        """Return W x for the weight of a layer."""
        return int(c.mul_mat(self._ctx, self._weights.tensor(template, layer), x))

    def layer_norm(
        self, x: int, weight: str, layer: int | None, *, bias: str | None = None,
        epsilon: float | None = None,
    ) -> int:  # fmt: skip
        """Return LayerNorm over the fastest axis, with a weight and perhaps a bias."""
        x = c.norm(self._ctx, x, self.hparams.norm_epsilon if epsilon is None else epsilon)
        x = c.mul(self._ctx, x, self._weights.tensor(weight, layer))
        if bias is not None:
            x = c.add(self._ctx, x, self._weights.tensor(bias, layer))
        return x

    def rms_norm(self, x: int, weight: str, layer: int | None) -> int:
        """Return RMSNorm over the fastest axis with a weight."""
        x = c.rms_norm(self._ctx, x, self.hparams.norm_epsilon)
        return int(c.mul(self._ctx, x, self._weights.tensor(weight, layer)))

    def gelu_linear(self, template: str, layer: int, x: int) -> int:
        """Return W gelu(x); the GELU is the exact one (error function).

        Except on the processor before a quantised W: ggml rounds the activations to 8 bits there,
        which hides the difference to its much faster table of the tanh form (under 5e-4).
        """
        weight = self._weights.tensor(template, layer)
        coarse = self._weights.on_cpu and c.is_quantized(c.Tensor.from_address(weight).type)
        x = c.gelu(self._ctx, x) if coarse else c.gelu_erf(self._ctx, x)
        return int(c.mul_mat(self._ctx, weight, x))

    def swiglu(self, gate: int, up: int) -> int:
        """Return silu(gate) * up."""
        return int(c.swiglu_split(self._ctx, gate, up))

    def clamp(self, x: int, limit: float) -> int:
        """Return x clamped to [-limit, limit]."""
        return int(c.clamp(self._ctx, x, -limit, limit))

    def columns(self, x: int, start: int, length: int) -> int:
        """Return rows start..start+length of the fastest axis of (m, n), as a view (length, n)."""
        tensor = c.Tensor.from_address(x)
        return int(
            c.view_2d(self._ctx, x, length, tensor.ne[1], tensor.nb[1], start * tensor.nb[0])
        )

    def rope(self, x: int, heads: int) -> int:
        """Return x (heads * head_length, n) rotated by position, halves of a head as pairs."""
        length = self.hparams.head_length
        x = c.reshape_3d(self._ctx, x, length, heads, self.shape.n_tokens)
        x = c.rope_ext(
            self._ctx, x, self.inputs.positions, None, length, c.ROPE_TYPE_NEOX,
            self.hparams.context_length, self.hparams.rope_freq_base, 1.0, 0.0, 1.0, 32.0, 1.0,
        )  # fmt: skip
        return int(c.reshape_2d(self._ctx, x, length * heads, self.shape.n_tokens))

    def is_last(self, layer: int) -> bool:
        """Whether this is the last decoder layer."""
        return layer == self.hparams.block_count - 1

    def output_rows(self, x: int, layer: int) -> int:
        """Return only the tokens that the output needs, once the last layer's keys are written.

        In prefill that is one token: the rest of the last layer need not be computed for others.
        """
        n = self.shape.n_tokens
        if self.shape.all_rows or n == 1 or not self.is_last(layer):
            return x
        tensor = c.Tensor.from_address(x)
        return int(c.view_2d(self._ctx, x, tensor.ne[0], 1, tensor.nb[1], (n - 1) * tensor.nb[1]))

    # --- attention ---

    def attention(self, q: int, k: int, v: int, layer: int) -> int:
        """Write keys and values (K, n) into the cache and return the attention of q (D, m).

        m is n, or 1 where only the last token's output is needed.
        """
        for cache, rows in ((self._caches.keys[layer], k), (self._caches.values[layer], v)):
            stored = c.set_rows(self._ctx, cache, rows, self.inputs.cells)
            c.build_forward_expand(self.graph, stored)
        h = self.hparams
        m = c.Tensor.from_address(q).ne[1]
        q = self._heads(q, h.head_count, h.head_length)
        keys = self._cache_view(self._caches.keys[layer])
        values = self._cache_view(self._caches.values[layer])
        scale = 1.0 / math.sqrt(h.head_length)
        if self._biased_mask:
            return self._plain_attention(q, keys, values, m, scale)
        out = c.flash_attn_ext(
            self._ctx, q, keys, values, self._mask_rows(self.inputs.mask, m), scale,
            h.max_alibi_bias, 0.0,
        )  # fmt: skip
        return int(c.reshape_2d(self._ctx, out, h.embedding_length, m))

    def _heads(self, x: int, heads: int, length: int) -> int:
        """View (heads * length, m) as (length, m, heads)."""
        tensor = c.Tensor.from_address(x)
        return int(
            c.view_3d(
                self._ctx, x, length, tensor.ne[1], heads,
                tensor.nb[1], length * tensor.nb[0], 0,
            )
        )  # fmt: skip

    def _cache_view(self, cache: int) -> int:
        """View the first n_kv cells as (head_length, n_kv, kv heads)."""
        tensor = c.Tensor.from_address(cache)
        h = self.hparams
        head_bytes = c.row_size(tensor.type, h.head_length)
        return int(
            c.view_3d(
                self._ctx, cache, h.head_length, self.shape.n_kv, h.head_count_kv,
                tensor.nb[1], head_bytes, 0,
            )
        )  # fmt: skip

    def _mask_rows(self, mask: int, m: int) -> int:
        n = self.shape.n_tokens
        if m == n:
            return mask
        tensor = c.Tensor.from_address(mask)
        return int(
            c.view_2d(self._ctx, mask, tensor.ne[0], m, tensor.nb[1], (n - m) * tensor.nb[1])
        )

    def _plain_attention(self, q: int, keys: int, values: int, m: int, scale: float) -> int:
        """Attention by softmax(KQ) V with a mask that carries a bias for every head.

        For ALiBi slopes that ggml's own rule does not make.
        """
        ctx, h, n = self._ctx, self.hparams, self.shape.n_tokens
        if c.Tensor.from_address(values).type not in (c.TYPE_F32, c.TYPE_F16):
            keys, values = (c.cast(ctx, x, c.TYPE_F32) for x in (keys, values))
        mask = self.inputs.mask
        if m != n:
            t = c.Tensor.from_address(mask)
            mask = c.cont(
                ctx,
                c.view_3d(ctx, mask, t.ne[0], m, t.ne[2], t.nb[1], t.nb[2], (n - m) * t.nb[1]),
            )
        weights = c.soft_max_ext(ctx, c.mul_mat(ctx, keys, q), mask, scale, 0.0)
        transposed = c.cont(ctx, c.permute(ctx, values, 1, 0, 2, 3))
        out = c.mul_mat(ctx, transposed, weights)  # (head_length, m, heads)
        out = c.cont(ctx, c.permute(ctx, out, 0, 2, 1, 3))
        return int(c.reshape_2d(ctx, out, h.embedding_length, m))

    def gated_block(self, layer: int, x: int) -> int:
        """Return the gated cross-attention block of a layer applied to x (D, n).

        h += tanh(attn_gate) * to_out(attention); h += tanh(ff_gate) * FF(h). Without any visible
        medium the attention term is 0 and the feed-forward term still applies.
        """
        if self.shape.n_latents:
            x = self._add_gated(x, self._cross_attention(layer, x), names.CROSS_ATTN_GATE, layer)
        hidden = self.layer_norm(
            x, names.CROSS_FFN_NORM, layer, bias=names.CROSS_FFN_NORM_BIAS,
            epsilon=CROSS_NORM_EPSILON,
        )  # fmt: skip
        hidden = self.linear(names.CROSS_FFN_UP, layer, hidden)
        hidden = self.gelu_linear(names.CROSS_FFN_DOWN, layer, hidden)
        return self._add_gated(x, hidden, names.CROSS_FFN_GATE, layer)

    def _add_gated(self, x: int, term: int, gate: str, layer: int) -> int:
        scaled = c.scale(self._ctx, term, self._weights.gate(gate, layer))
        return int(c.add(self._ctx, x, scaled))

    def _cross_attention(self, layer: int, x: int) -> int:
        h = self.hparams
        hidden = self.layer_norm(
            x, names.CROSS_ATTN_NORM, layer, bias=names.CROSS_ATTN_NORM_BIAS,
            epsilon=CROSS_NORM_EPSILON,
        )  # fmt: skip
        q = self.linear(names.CROSS_ATTN_Q, layer, hidden)
        q = self._heads(q, h.cross_head_count, h.cross_key_length)
        keys, values = (
            self._heads(cache, h.cross_head_count, h.cross_key_length)
            for cache in (self._caches.cross_keys[layer], self._caches.cross_values[layer])
        )
        out = c.flash_attn_ext(
            self._ctx, q, keys, values, self.inputs.cross_mask,
            1.0 / math.sqrt(h.cross_key_length), 0.0, 0.0,
        )  # fmt: skip
        out = c.reshape_2d(self._ctx, out, h.cross_inner_length, self.shape.n_tokens)
        # A row that sees no medium attends to everything and is then multiplied by 0: not every
        # back end's kernel gives 0 for a row that is masked completely.
        out = c.mul(self._ctx, out, self.inputs.cross_on)
        return self.linear(names.CROSS_ATTN_OUTPUT, layer, out)

    # --- the end ---

    def finish(self, x: int) -> int:
        """Multiply by the output matrix, complete the graph and return the logits (vocab, m)."""
        logits = self.linear(names.OUTPUT, None, x)
        c.set_output(logits)
        c.build_forward_expand(self.graph, logits)
        return logits
