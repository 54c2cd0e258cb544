"""Sizes and switches of an Otter model, read from and written to the published config.json.

The published file says nothing about the perceiver and the gated blocks, so their sizes are
inferred from the shapes of the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from otter_desktop.errors import CheckpointError

HEAD_DIM = 64
"""Width of one attention head in the perceiver and in the gated blocks (never configurable)."""

Shapes = Mapping[str, tuple[int, ...]]
Family = Literal["mpt", "mosaicgpt", "llama"]

_VISION = "vision_encoder.vision_model."
_BLOCK_PATTERN = r"lang_encoder\.(?:transformer\.blocks|model\.layers)\.(\d+)\."


@dataclass(frozen=True)
class VisionConfig:
    """CLIP's vision transformer; the defaults are those of CLIPVisionConfig."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    ff_width: int = 3072
    image_size: int = 224
    patch_size: int = 32
    activation: str = "quick_gelu"
    norm_eps: float = 1e-5
    stem: Literal["patch", "conv"] = "patch"

    @property
    def patches(self) -> int:
        """Tokens of one picture, without the class token."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class LanguageConfig:
    """The decoder-only language model into which the gated blocks are put."""

    family: Family
    vocab_size: int
    width: int
    layers: int
    heads: int
    ff_width: int
    max_length: int = 2048
    # MPT and MosaicGPT
    alibi_bias_max: float = 8.0
    clip_qkv: float | None = None
    qk_ln: bool = False
    softmax_scale: float | None = None
    # LLaMA
    kv_heads: int | None = None
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


@dataclass(frozen=True)
class OtterConfig:
    """A whole Otter: vision encoder, perceiver resampler, language model, gated blocks."""

    vision: VisionConfig
    language: LanguageConfig
    cross_attention_every: int = 1
    n_latents: int = 64
    perceiver_layers: int = 6
    perceiver_inner: int = 512
    perceiver_ff_width: int = 4096
    xattn_inner: int = 512
    xattn_ff_width: int = 4096
    max_num_frames: int | None = None
    tie_word_embeddings: bool = True
    gate_init: float = 0.0
    image_token_id: int | None = None

    @classmethod
    def builtin(cls, vocab_size: int, *, image_token_id: int | None = None) -> OtterConfig:
        """Return the sizes of the model that ships with the program."""
        vision = VisionConfig(
            width=192, layers=5, heads=3, ff_width=768, image_size=128, patch_size=16, stem="conv"
        )
        language = LanguageConfig(
            family="mpt", vocab_size=vocab_size, width=256, layers=4, heads=8, ff_width=1024,
            max_length=1024,
        )  # fmt: skip
        return cls(
            vision=vision, language=language, cross_attention_every=1, n_latents=64,
            perceiver_layers=2, perceiver_inner=256, perceiver_ff_width=768, xattn_inner=256,
            xattn_ff_width=1024, max_num_frames=8, image_token_id=image_token_id,
        )  # fmt: skip

    @classmethod
    def from_checkpoint(cls, published: Mapping[str, Any], shapes: Shapes) -> OtterConfig:
        """Read a checkpoint's configuration from its config.json and its tensors' shapes.

        Raises `CheckpointError` when a part is missing or works in a way we do not know.
        """
        vision = _read_vision(published.get("vision_config") or {}, shapes)
        language = _read_language(published.get("text_config") or {}, shapes)
        to_q = _shape(shapes, "perceiver.layers.0.to_q.weight")
        frames = shapes.get("perceiver.frame_embs")
        block = _first_gated_block(shapes)
        return cls(
            vision=vision,
            language=language,
            cross_attention_every=int(
                published.get("cross_attn_every_n_layers") or _first_gated_layer(shapes) + 1
            ),
            n_latents=_shape(shapes, "perceiver.latents")[0],
            perceiver_layers=_count(shapes, r"perceiver\.layers\.(\d+)\."),
            perceiver_inner=to_q[0],
            perceiver_ff_width=_shape(shapes, "perceiver.layers.0.feed_forward.1.weight")[0],
            xattn_inner=_shape(shapes, f"{block}attn.to_q.weight")[0],
            xattn_ff_width=_shape(shapes, f"{block}feed_forward.1.weight")[0],
            max_num_frames=frames[0] if frames else None,
            tie_word_embeddings=bool(published.get("tie_word_embeddings", True)),
            image_token_id=published.get("image_token_id"),
        )

    def to_published(self) -> dict[str, Any]:
        """Return the same configuration as a published config.json."""
        vision, language = self.vision, self.language
        published: dict[str, Any] = {
            "model_type": "otter",
            "architectures": ["OtterForConditionalGeneration"],
            "cross_attn_every_n_layers": self.cross_attention_every,
            "tie_word_embeddings": self.tie_word_embeddings,
            "text_config": _write_language(language),
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": vision.width,
                "intermediate_size": vision.ff_width,
                "num_hidden_layers": vision.layers,
                "num_attention_heads": vision.heads,
                "image_size": vision.image_size,
                "patch_size": vision.patch_size,
                "hidden_act": vision.activation,
                "layer_norm_eps": vision.norm_eps,
            },
        }
        if vision.stem != "patch":
            published["vision_config"]["stem"] = vision.stem
        if self.max_num_frames is not None:
            published["max_num_frames"] = self.max_num_frames
        if self.image_token_id is not None:
            published["image_token_id"] = self.image_token_id
        return published

    def with_image_token(self, image_token_id: int) -> OtterConfig:
        """Return a copy that counts `image_token_id` as the tag of a media item."""
        return replace(self, image_token_id=image_token_id)


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(f"the checkpoint has no tensor {name}: it is not a whole Otter")
    return tuple(shapes[name])


def _count(shapes: Shapes, pattern: str) -> int:
    return 1 + max((int(m[1]) for name in shapes if (m := re.match(pattern, name))), default=-1)


def _first_gated_block(shapes: Shapes) -> str:
    marker = "gated_cross_attn_layer."
    for name in shapes:
        if marker in name:
            return name[: name.index(marker) + len(marker)]
    raise CheckpointError("the checkpoint has no gated cross-attention blocks: it is no Otter")


def _first_gated_layer(shapes: Shapes) -> int:
    pattern = _BLOCK_PATTERN + "gated_cross_attn_layer"
    return min(int(found[1]) for name in shapes if (found := re.match(pattern, name)))


def _read_vision(config: Mapping[str, Any], shapes: Shapes) -> VisionConfig:
    default = VisionConfig()
    width = _shape(shapes, f"{_VISION}embeddings.class_embedding")[0]
    stem: Literal["patch", "conv"] = (
        "conv" if f"{_VISION}embeddings.patch_embedding.0.weight" in shapes else "patch"
    )
    if stem == "patch":
        patch_size = _shape(shapes, f"{_VISION}embeddings.patch_embedding.weight")[2]
    else:
        patch_size = int(config.get("patch_size", 16))
    image_size = int(config.get("image_size") or default.image_size)
    positions = _shape(shapes, f"{_VISION}embeddings.position_embedding.weight")[0]
    if (image_size // patch_size) ** 2 + 1 != positions:
        raise CheckpointError(
            f"config.json says {image_size} pixels in patches of {patch_size}, "
            f"but the position embedding has {positions} rows"
        )
    return VisionConfig(
        width=width,
        layers=_count(shapes, re.escape(_VISION) + r"encoder\.layers\.(\d+)\."),
        heads=int(config.get("num_attention_heads") or default.heads),
        ff_width=_shape(shapes, f"{_VISION}encoder.layers.0.mlp.fc1.weight")[0],
        image_size=image_size,
        patch_size=patch_size,
        activation=str(config.get("hidden_act") or default.activation),
        norm_eps=float(config.get("layer_norm_eps") or default.norm_eps),
        stem=stem,
    )


def _family(config: Mapping[str, Any], shapes: Shapes) -> Family:
    """Tell the language model's family: by the tensor names, which cannot lie."""
    if any(name.startswith("lang_encoder.model.layers.") for name in shapes):
        return "llama"
    if any(name.endswith(".mlp.mlp_up.weight") for name in shapes):
        return "mosaicgpt"
    if any(name.endswith(".ffn.up_proj.weight") for name in shapes):
        return "mpt"
    names = config.get("architectures") or [config.get("model_type")]
    raise CheckpointError(
        f"language model {names[0]!r} is not supported: MPT, MosaicGPT and LLaMA are"
    )


def _read_language(config: Mapping[str, Any], shapes: Shapes) -> LanguageConfig:
    family = _family(config, shapes)
    layers = _count(shapes, _BLOCK_PATTERN)
    if family == "llama":
        return _read_llama(config, shapes, layers)
    nested: Mapping[str, Any] = (
        config.get("attn_config") or {}
        if family == "mpt"
        else {key.removeprefix("attn_"): value for key, value in config.items()}
    )
    if not nested.get("alibi", True):
        raise CheckpointError("language models without ALiBi positions are not supported")
    if config.get("logit_scale") is not None:
        raise CheckpointError("language models with a logit_scale are not supported")
    up = "ffn.up_proj" if family == "mpt" else "mlp.mlp_up"
    block = "lang_encoder.transformer.blocks.0.decoder_layer."
    vocab_size, width = _shape(shapes, "lang_encoder.transformer.wte.weight")
    clip = nested.get("clip_qkv")
    scale = nested.get("softmax_scale")
    return LanguageConfig(
        family=family,
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        heads=_required(config, "n_heads"),
        ff_width=_shape(shapes, f"{block}{up}.weight")[0],
        max_length=int(config.get("max_seq_len") or 2048),
        alibi_bias_max=float(nested.get("alibi_bias_max") or 8),
        clip_qkv=float(clip) if clip else None,
        qk_ln=f"{block}attn.q_ln.weight" in shapes,
        softmax_scale=float(scale) if scale else None,
    )


def _read_llama(config: Mapping[str, Any], shapes: Shapes, layers: int) -> LanguageConfig:
    scaling = config.get("rope_scaling")
    if scaling and scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise CheckpointError("LLaMA models with rope_scaling are not supported")
    vocab_size, width = _shape(shapes, "lang_encoder.model.embed_tokens.weight")
    heads = _required(config, "num_attention_heads")
    block = "lang_encoder.model.layers.0.decoder_layer."
    return LanguageConfig(
        family="llama",
        vocab_size=vocab_size,
        width=width,
        layers=layers,
        heads=heads,
        ff_width=_shape(shapes, f"{block}mlp.up_proj.weight")[0],
        max_length=int(config.get("max_position_embeddings") or 2048),
        kv_heads=int(config.get("num_key_value_heads") or heads),
        norm_eps=float(config.get("rms_norm_eps") or 1e-6),
        rope_theta=float(config.get("rope_theta") or 10000.0),
    )


def _required(config: Mapping[str, Any], key: str) -> int:
    if not isinstance(config.get(key), int):
        raise CheckpointError(f"config.json has no text_config.{key}")
    return int(config[key])


def _write_language(language: LanguageConfig) -> dict[str, Any]:
    if language.family == "llama":
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": language.vocab_size,
            "hidden_size": language.width,
            "num_hidden_layers": language.layers,
            "num_attention_heads": language.heads,
            "num_key_value_heads": language.kv_heads or language.heads,
            "intermediate_size": language.ff_width,
            "max_position_embeddings": language.max_length,
            "rms_norm_eps": language.norm_eps,
            "rope_theta": language.rope_theta,
        }
    attention = {
        "alibi": True,
        "alibi_bias_max": language.alibi_bias_max,
        "clip_qkv": language.clip_qkv,
        "qk_ln": language.qk_ln,
        "softmax_scale": language.softmax_scale,
    }
    common = {
        "vocab_size": language.vocab_size,
        "d_model": language.width,
        "n_layers": language.layers,
        "n_heads": language.heads,
        "max_seq_len": language.max_length,
    }
    if language.family == "mpt":
        return common | {
            "architectures": ["MPTForCausalLM"],
            "model_type": "mpt",
            "expansion_ratio": language.ff_width / language.width,
            "attn_config": attention,
        }
    flat = {key if key.startswith("alibi") else f"attn_{key}": attention[key] for key in attention}
    flat["softmax_scale"] = flat.pop("attn_softmax_scale")
    return (
        common
        | flat
        | {
            "architectures": ["MosaicGPT"],
            "model_type": "mosaic_gpt",
            "mlp_ratio": language.ff_width / language.width,
        }
    )
