"""Perceiver resampler: any number of frames in, a fixed number of latents per media item out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.model.config import HEAD_DIM, OtterConfig
from otter_desktop.errors import FrameLimitError


def feed_forward(width: int, inner: int) -> nn.Sequential:
    """LayerNorm, linear, exact GELU, linear, without biases in the linear maps."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, inner, bias=False),
        nn.GELU(),
        nn.Linear(inner, width, bias=False),
    )


def split_heads(x: Tensor) -> Tensor:
    """(batch, length, heads * 64) -> (batch, heads, length, 64)."""
    batch, length, _ = x.shape
    return x.view(batch, length, -1, HEAD_DIM).transpose(1, 2)


class PerceiverBlock(nn.Module):
    """Latents attend to the media and to themselves, then a feed-forward."""

    def __init__(self, width: int, inner: int, ff_width: int) -> None:
        super().__init__()
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)
        self.feed_forward = feed_forward(width, ff_width)

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        """Map media (N, frames * patches, V), latents (N, n_latents, V) -> latents."""
        normed = self.norm_latents(latents)
        source = torch.cat([self.norm_media(media), normed], dim=1)
        keys, values = self.to_kv(source).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            split_heads(self.to_q(normed)), split_heads(keys), split_heads(values)
        )
        # The residual is the raw latents, not the normed ones.
        latents = latents + self.to_out(attended.transpose(1, 2).flatten(2))
        return latents + self.feed_forward(latents)  # type: ignore[no-any-return]


class PerceiverResampler(nn.Module):
    """Features of the frames of one media item -> its latents."""

    def __init__(self, config: OtterConfig) -> None:
        super().__init__()
        width = config.vision.width
        self.latents = nn.Parameter(torch.randn(config.n_latents, width))
        if config.max_num_frames is not None:
            # Smaller than the latents: at deviation 1 the frame's place drowns its content.
            self.frame_embs = nn.Parameter(0.5 * torch.randn(config.max_num_frames, width))
        else:
            self.register_parameter("frame_embs", None)
        self.layers = nn.ModuleList(
            PerceiverBlock(width, config.perceiver_inner, config.perceiver_ff_width)
            for _ in range(config.perceiver_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, F, patches, V) -> latents (N, n_latents, V).

        Raises `FrameLimitError` when F exceeds the frames the model has embeddings for.
        """
        frames = features.shape[1]
        if self.frame_embs is not None:
            limit = self.frame_embs.shape[0]
            if not torch.compiler.is_compiling() and frames > limit:
                raise FrameLimitError(f"{frames} frames asked for, the model takes {limit}")
            features = features + self.frame_embs[:frames, None]
        media = features.flatten(1, 2)
        latents = self.latents.expand(media.shape[0], -1, -1)
        for block in self.layers:
            latents = block(media, latents)
        return self.norm(latents)  # type: ignore[no-any-return]
