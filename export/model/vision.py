"""CLIP's vision transformer from transformers, optionally with a convolutional stem."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from export.model.config import VisionConfig
from otter_desktop.errors import CheckpointError

_STEM_STRIDE = 16


def convolutional_stem(width: int) -> nn.Sequential:
    """Three convolutions (strides 2, 2, 4) in place of CLIP's single 16 x 16 patch projection.

    From scratch on little data it learns far faster than the single projection.
    """
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(64, width, 4, stride=4),
    )


class VisionEncoder(nn.Module):
    """Pixels -> patch tokens of the last layer, before the post layer norm."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        published = CLIPVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.ff_width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_act=config.activation,
            layer_norm_eps=config.norm_eps,
        )
        published._attn_implementation = "sdpa"
        self.vision_model = CLIPVisionModel(published)
        if config.stem == "conv":
            if config.patch_size != _STEM_STRIDE:
                raise CheckpointError(f"the convolutional stem has patches of {_STEM_STRIDE}")
            stem = convolutional_stem(config.width)
            self.vision_model.embeddings.add_module("patch_embedding", stem)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, H, W) -> features (N, patches, V)."""
        model = self.vision_model
        embeddings = model.embeddings
        patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        class_token = embeddings.class_embedding.expand(pixels.shape[0], 1, -1)
        hidden = torch.cat([class_token, patches], dim=1) + embeddings.position_embedding.weight
        hidden = model.pre_layrnorm(hidden)
        for layer in model.encoder.layers:
            hidden = layer(hidden, None)
        return hidden[:, 1:]  # type: ignore[no-any-return]
