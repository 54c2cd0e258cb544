"""Masked gated cross-attention: each text token sees the latents of the media item before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.model.config import OtterConfig
from export.model.resampler import feed_forward, split_heads
from otter_desktop.errors import PromptError


@dataclass(frozen=True)
class MediaMask:
    """Which latents each text token sees, computed once for all gated blocks."""

    bias: Tensor
    """(B, 1, L, T * n_latents): 0 where seen, very negative elsewhere."""
    sees_any: Tensor
    """(B, L, 1): 0.0 for the tokens before the first media item, else 1.0."""


def count_media(input_ids: Tensor, image_token_id: int, start: Tensor | None = None) -> Tensor:
    """text_time (B, L): the number of image tags up to and including each token.

    `start` (B,) is the count before the first of these tokens (for cached decoding).
    """
    counted = (input_ids == image_token_id).cumsum(dim=1)
    return counted if start is None else counted + start[:, None]


def media_mask(
    text_time: Tensor, media: int, n_latents: int, dtype: torch.dtype, *, reference: bool = False
) -> MediaMask:
    """Return the mask for `media` items of `n_latents` each; text_time (B, L) counts from 1.

    Raises `PromptError` when a token belongs to a media item that is not there. With `reference`
    such a token sees the uniform mean of all latents, as in the original implementation.
    """
    if not reference and int(text_time.max()) > media:
        raise PromptError(
            f"the prompt has {int(text_time.max())} image tags but only {media} media items"
        )
    number = torch.arange(1, media + 1, device=text_time.device).repeat_interleave(n_latents)
    sees_any = text_time > 0
    # Tokens that see nothing look at everything and are zeroed afterwards: a row of nothing but
    # minus infinity would give NaN, in the gradients too.
    seen = (text_time[..., None] == number) | ~sees_any[..., None]
    bias = torch.zeros(seen.shape, dtype=dtype, device=text_time.device)
    # Half of the lowest value: a row of nothing else is uniform, whatever the scores added to it.
    bias.masked_fill_(~seen, torch.finfo(dtype).min / 2)
    return MediaMask(bias[:, None], sees_any[..., None].to(dtype))


class MaskedCrossAttention(nn.Module):
    """Text attends to media; only the text is normed."""

    def __init__(self, width: int, media_width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(media_width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def media_keys_values(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Project latents (B, T, n, V) -> keys and values (B, heads, T * n, 64) each."""
        keys, values = self.to_kv(latents.flatten(1, 2)).chunk(2, dim=-1)
        return split_heads(keys), split_heads(values)

    def forward(self, hidden: Tensor, media: tuple[Tensor, Tensor], mask: MediaMask) -> Tensor:
        """Map hidden (B, L, D) -> (B, L, D); 0 for tokens before the first media item."""
        keys, values = media
        attended = functional.scaled_dot_product_attention(
            split_heads(self.to_q(self.norm(hidden))), keys, values, attn_mask=mask.bias
        )
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out * mask.sees_any


class GatedCrossAttention(nn.Module):
    """Cross-attention and feed-forward, each behind a learned tanh gate."""

    def __init__(self, config: OtterConfig) -> None:
        super().__init__()
        width = config.language.width
        self.attn = MaskedCrossAttention(width, config.vision.width, config.xattn_inner)
        self.attn_gate = nn.Parameter(torch.full((1,), config.gate_init))
        self.feed_forward = feed_forward(width, config.xattn_ff_width)
        self.ff_gate = nn.Parameter(torch.full((1,), config.gate_init))

    def forward(self, hidden: Tensor, media: tuple[Tensor, Tensor], mask: MediaMask) -> Tensor:
        """Map hidden (B, L, D) -> (B, L, D)."""
        hidden = hidden + self.attn_gate.tanh() * self.attn(hidden, media, mask)
        return hidden + self.ff_gate.tanh() * self.feed_forward(hidden)  # type: ignore[no-any-return]
