"""The whole Otter: vision encoder, resampler, language model with gated blocks, generation."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.model.config import OtterConfig
from export.model.cross_attention import GatedCrossAttention, count_media, media_mask
from export.model.language import KeyValueCache, LlamaTrunk, MptTrunk
from export.model.resampler import PerceiverResampler
from export.model.vision import VisionEncoder
from otter_desktop.errors import PromptError


@dataclass
class Past:
    """What cached decoding carries from step to step."""

    cache: KeyValueCache = field(default_factory=KeyValueCache)
    media: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Cross-attention keys and values per block: they depend on the media only."""
    text_time: Tensor | None = None
    """(B,) media items seen so far: carried, so that cached decoding equals the full pass."""
    latents: Tensor | None = None
    reference: bool = False
    """Do as the original with tags beyond the media: see `media_mask`."""

    def reorder(self, rows: Tensor) -> None:
        """Keep the given rows of the batch, in this order (for beams)."""
        self.cache.reorder(rows)
        self.media = {i: (keys[rows], values[rows]) for i, (keys, values) in self.media.items()}
        if self.text_time is not None:
            self.text_time = self.text_time[rows]
        if self.latents is not None:
            self.latents = self.latents[rows]


class OtterModel(nn.Module):
    """Otter with the state-dict names of the published checkpoints."""

    def __init__(self, config: OtterConfig) -> None:
        super().__init__()
        self.config = config
        language = config.language
        self.vision_encoder = VisionEncoder(config.vision)
        self.perceiver = PerceiverResampler(config)
        gated: list[GatedCrossAttention | None] = [
            GatedCrossAttention(config) if (i + 1) % config.cross_attention_every == 0 else None
            for i in range(language.layers)
        ]
        self.lang_encoder: MptTrunk | LlamaTrunk
        if language.family == "llama":
            self.lang_encoder = LlamaTrunk(language, gated, config.tie_word_embeddings)
        else:
            self.lang_encoder = MptTrunk(language, gated)
        self._initialise_language()

    def _initialise_language(self) -> None:
        """Deviation 1/sqrt(inputs), maps back into the residual stream smaller with depth."""
        config = self.config.language
        nn.init.normal_(self.lang_encoder.embedding.weight, std=config.width**-0.5)
        shrink = (2 * config.layers) ** -0.5
        for block in self.lang_encoder.blocks:
            for name, module in block.decoder_layer.named_modules():
                if isinstance(module, nn.Linear):
                    std = module.in_features**-0.5
                    back = name.endswith(("out_proj", "o_proj", "down_proj", "mlp_down"))
                    nn.init.normal_(module.weight, std=std * shrink if back else std)

    def encode_vision(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, H, W) -> features (N, patches, V), before the post layer norm."""
        return self.vision_encoder(pixels)  # type: ignore[no-any-return]

    def resample(self, features: Tensor) -> Tensor:
        """Map features (B, T, F, patches, V) -> latents (B, T, n_latents, V)."""
        latents: Tensor = self.perceiver(features.flatten(0, 1))
        return latents.view(*features.shape[:2], *latents.shape[1:])

    def encode_media(self, vision_x: Tensor) -> Tensor:
        """Map vision_x (B, T, F, 3, H, W) -> latents (B, T, n_latents, V)."""
        features = self.encode_vision(vision_x.flatten(0, 2))
        return self.resample(features.view(*vision_x.shape[:3], *features.shape[1:]))

    def output_logits(self, hidden: Tensor) -> Tensor:
        """Map normed hidden states (..., D) -> logits (..., vocab)."""
        return functional.linear(hidden, self.lang_encoder.output_weight)

    def text_time(self, input_ids: Tensor, start: Tensor | None = None) -> Tensor:
        """Return (B, L): the number of image tags up to and including each token."""
        if self.config.image_token_id is None:
            raise PromptError("the model does not know its image tag: set config.image_token_id")
        return count_media(input_ids, self.config.image_token_id, start)

    def forward(
        self,
        input_ids: Tensor,
        vision_x: Tensor | None = None,
        latents: Tensor | None = None,
        *,
        attention_mask: Tensor | None = None,
        text_time: Tensor | None = None,
        past: Past | None = None,
        return_hidden: bool = False,
        trace: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Return logits (B, L, vocab), or with `return_hidden` the normed hidden states (B, L, D).

        input_ids (B, L); one of vision_x (B, T, F, 3, H, W) and latents (B, T, n_latents, V),
        neither for text alone or when `past` already has the media; attention_mask
        (B, past + L), 0 for padding; `past` is filled and updated in place. `trace` receives
        the hidden states after every block (`h_xattn_i`, `h_layer_i`) for tests.
        """
        if latents is None and vision_x is not None:
            latents = self.encode_media(vision_x)
        if latents is None and past is not None:
            latents = past.latents
        if text_time is None and latents is not None:
            text_time = self.text_time(input_ids, past.text_time if past else None)
        if past is not None:
            past.latents = latents
            past.text_time = None if text_time is None else text_time[:, -1]
        hidden = self._run_blocks(input_ids, latents, attention_mask, text_time, past, trace)
        return hidden if return_hidden else self.output_logits(hidden)

    def _run_blocks(
        self,
        input_ids: Tensor,
        latents: Tensor | None,
        attention_mask: Tensor | None,
        text_time: Tensor | None,
        past: Past | None,
        trace: dict[str, Tensor] | None,
    ) -> Tensor:
        trunk = self.lang_encoder
        hidden = trunk.embedding(input_ids)
        cache = past.cache if past else None
        length = input_ids.shape[1]
        positions = trunk.positions(length, cache.length if cache else 0, attention_mask)
        if latents is None:
            # No media at all: nothing is attended to, but the gated feed-forward still applies.
            shape = (input_ids.shape[0], 1, 1, self.config.vision.width)
            latents = torch.zeros(shape, dtype=hidden.dtype, device=hidden.device)
            text_time = torch.zeros_like(input_ids)
        assert text_time is not None
        mask = media_mask(
            text_time,
            latents.shape[1],
            latents.shape[2],
            hidden.dtype,
            reference=bool(past and past.reference),
        )
        media = past.media if past else {}
        for i, block in enumerate(trunk.blocks):
            gated = block.gated_cross_attn_layer
            if gated is not None:
                if i not in media:
                    media[i] = gated.attn.media_keys_values(latents)
                hidden = gated(hidden, media[i], mask)
                if trace is not None:
                    trace[f"h_xattn_{i}"] = hidden
            hidden = block.decoder_layer(hidden, positions, cache)
            if trace is not None:
                trace[f"h_layer_{i}"] = hidden
        return trunk.norm(hidden)  # type: ignore[no-any-return]
