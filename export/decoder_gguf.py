"""Checkpoint tensors to the decoder's GGUF file: the writer that mirrors the reader."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.quantize import quantize, tensor_type
from otter_desktop.decoder import keys
from otter_desktop.decoder.gguf import GgufWriter
from otter_desktop.decoder.hparams import KEY_OF_FIELD, Hparams
from otter_desktop.decoder.tensor_names import LAYERS_PREFIX, TensorSpec, expected_tensors
from otter_desktop.errors import CheckpointError

# Parts of a checkpoint that are not the decoder's, and buffers that hold no weights.
_OTHER_PARTS = ("vision_encoder.", "perceiver.")
_BUFFERS = re.compile(r"(position_ids|rotary_emb\.inv_freq|(masked_)?bias)$")
_FAMILY_OF_CLASS = {
    "MPTForCausalLM": "mpt",
    "MosaicGPT": "mosaicgpt",
    "LlamaForCausalLM": "llama",
    "LLaMAForCausalLM": "llama",
}


def family_of(text_config: Mapping[str, Any]) -> str:
    """Return the family that a `text_config` names; raises `CheckpointError`.

    Source: FORMATS.md section 3 (architectures, then "llama" in the name, then model_type).
    """
    if "llama" in str(text_config.get("_name_or_path") or "").lower():
        return "llama"
    named = (text_config.get("architectures") or [None])[0]
    if named in _FAMILY_OF_CLASS:
        return _FAMILY_OF_CLASS[named]
    by_type = {"mpt": "mpt", "mosaic_gpt": "mosaicgpt", "llama": "llama"}
    model_type = str(text_config.get("model_type"))
    if named is None and model_type in by_type:
        return by_type[model_type]
    raise CheckpointError(f"The language model {named or model_type!r} is not supported.")


def decoder_hparams(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Hparams:
    """Return the decoder's sizes from a published config.json and the shapes of its tensors.

    `shapes` maps published state-dict names to shapes; sizes that config.json lacks (gated
    blocks, latents, vocabulary rows) come from there. Raises `CheckpointError`.
    """
    text = config.get("text_config") or {}
    family = family_of(text)
    try:
        own = _llama_sizes(text) if family == "llama" else _mpt_sizes(text, family)
        sizes = {**own, **_sizes_from_shapes(config, family, shapes)}
        # The top level decides, not text_config; absent means tied (FORMATS.md section 2).
        hparams = Hparams(
            family=family, tied_output=bool(config.get("tie_word_embeddings", True)), **sizes
        )
        hparams.check()
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"The checkpoint does not say {error}.") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"The checkpoint's sizes make no sense: {error}.") from error
    return hparams


def _mpt_sizes(text: Mapping[str, Any], family: str) -> dict[str, Any]:
    nested: Mapping[str, Any] = text.get("attn_config") or {}

    def attention(name: str, default: Any) -> Any:
        """MPT nests what MosaicGPT keeps flat, there with or without the prefix `attn_`."""
        for source, key in ((nested, name), (text, name), (text, f"attn_{name}")):
            if source.get(key) is not None:
                return source[key]
        return default

    if not attention("alibi", False):
        raise ValueError("a model without ALiBi has learned positions, which are not supported")
    if attention("softmax_scale", None) is not None or text.get("logit_scale") is not None:
        raise ValueError("softmax_scale and logit_scale are not supported")
    width = int(text["d_model"])
    ratio = text.get("expansion_ratio", text.get("mlp_ratio", 4))
    heads = int(text["n_heads"])
    return {
        "context_length": int(text["max_seq_len"]),
        "embedding_length": width,
        "block_count": int(text["n_layers"]),
        "feed_forward_length": int(width * ratio),
        "head_count": heads,
        "head_count_kv": heads,
        "norm_epsilon": 1e-5,  # torch.nn.LayerNorm's default, which MPT does not change
        "max_alibi_bias": float(attention("alibi_bias_max", 8)),
        "clamp_kqv": float(attention("clip_qkv", 0.0)),
        "qk_norm": bool(attention("qk_ln", family == "mosaicgpt")),
    }


def _llama_sizes(text: Mapping[str, Any]) -> dict[str, Any]:
    if text.get("rope_scaling"):
        raise ValueError("rope_scaling is not supported")
    if text.get("attention_bias") or text.get("mlp_bias"):
        raise ValueError("biases in attention are not supported")
    heads = int(text["num_attention_heads"])
    return {
        "context_length": int(text.get("max_position_embeddings", 2048)),
        "embedding_length": int(text["hidden_size"]),
        "block_count": int(text["num_hidden_layers"]),
        "feed_forward_length": int(text["intermediate_size"]),
        "head_count": heads,
        "head_count_kv": int(text.get("num_key_value_heads") or heads),
        "norm_epsilon": float(text.get("rms_norm_eps", 1e-6)),
        "rope_freq_base": float(text.get("rope_theta", 10000.0)),
    }


def _sizes_from_shapes(
    config: Mapping[str, Any], family: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    table = "model.embed_tokens" if family == "llama" else "transformer.wte"
    sizes: dict[str, Any] = {"vocab_size": int(shapes[f"lang_encoder.{table}.weight"][0])}
    every = int(config.get("cross_attn_every_n_layers") or 0)
    if not every:
        return sizes
    head_length = 64  # of the original's gated blocks, whatever the language model
    block = LAYERS_PREFIX[family].format(n=every - 1) + "gated_cross_attn_layer."
    inner, _ = shapes[block + "attn.to_q.weight"]
    sizes |= {
        "cross_attention_every": every,
        "cross_head_count": inner // head_length,
        "cross_key_length": head_length,
        "cross_feed_forward_length": shapes[block + "feed_forward.1.weight"][0],
        "latents_width": shapes[block + "attn.to_kv.weight"][1],
        "latents_count": shapes["perceiver.latents"][0],
    }
    return sizes


def write_decoder(
    out_path: Path,
    *,
    family: str,
    hparams: Hparams | Mapping[str, Any],
    tensors: Iterable[tuple[str, Any]],
    tokenizer_json: str,
    scheme: str = "q8_0",
    metadata: Mapping[str, str | int | float | bool] | None = None,
    threads: int | None = None,
) -> None:
    """Write the decoder of a checkpoint as a GGUF file of architecture `otter`.

    `family` is "mpt", "mosaicgpt" or "llama"; `tensors` yields (published state-dict name,
    numpy array or torch tensor) one at a time in any order, LoRA already merged; vision and
    perceiver tensors and the buffers that FORMATS.md section 2 ignores may be among them and
    are skipped. `scheme` is one of `export.quantize.SCHEMES`. `tokenizer_json` is the text of
    tokenizer.json with the special tokens added. `metadata` is added to the file as it is.
    The file appears only when it is complete. Raises `CheckpointError` for a missing, extra or
    misshapen tensor.
    """
    sizes = (
        hparams
        if isinstance(hparams, Hparams)
        else Hparams.from_mapping({"family": family, **hparams})
    )
    if sizes.family != family:
        raise ValueError(f"the sizes are of family {sizes.family!r}, not {family!r}")
    sizes.check()
    specs = expected_tensors(sizes)
    kinds = {name: tensor_type(spec, scheme, sizes) for name, spec in specs.items()}
    with GgufWriter(out_path) as writer:
        writer.set(keys.GENERAL_ARCHITECTURE, keys.ARCHITECTURE)
        writer.set(keys.GENERAL_FILE_FORMAT, keys.FORMAT_VERSION)
        writer.set(keys.SCHEME, scheme)
        writer.set_all({KEY_OF_FIELD[field]: value for field, value in asdict(sizes).items()})
        writer.set(keys.TOKENIZER_JSON, tokenizer_json)
        writer.set_all(metadata or {})
        for name, spec in specs.items():
            writer.declare(name, spec.shape, kinds[name])
        writer.begin()
        missing = dict(specs)
        for spec, array in _decoder_tensors(specs, tensors, tied=sizes.tied_output):
            if missing.pop(spec.name, None) is None:
                raise CheckpointError(f"{spec.published} is in the checkpoint twice.")
            try:
                writer.write(spec.name, quantize(array, kinds[spec.name], threads))
            except ValueError as error:
                raise CheckpointError(f"{spec.published}: {error}.") from error
        if missing:
            raise CheckpointError(f"The checkpoint lacks {_some(missing.values())}.")
        writer.finish()


def _decoder_tensors(
    specs: Mapping[str, TensorSpec], tensors: Iterable[tuple[str, Any]], *, tied: bool
) -> Iterable[tuple[TensorSpec, NDArray[np.float32]]]:
    by_published = {spec.published: spec for spec in specs.values()}
    for name, value in tensors:
        spec = by_published.get(name)
        if spec is None:
            if not _is_ignored(name, tied):
                raise CheckpointError(f"The checkpoint has an unknown tensor {name}.")
            continue
        array = _to_numpy(value)
        shape = array.shape if array.shape else (1,)
        if shape != spec.shape:
            raise CheckpointError(f"{name} has shape {shape}, not {spec.shape}.")
        yield spec, array


def _is_ignored(name: str, tied: bool) -> bool:
    if name.startswith(_OTHER_PARTS):
        return True
    if tied and name == "lang_encoder.lm_head.weight":
        return True  # the original computes with the embedding table whatever the file holds
    return bool(_BUFFERS.search(name)) and "gated_cross_attn_layer" not in name


def _to_numpy(value: Any) -> NDArray[np.float32]:
    """Return a numpy array or a torch tensor (of any float type) as float32."""
    if hasattr(value, "detach"):
        value = value.detach().to("cpu").float().numpy()
    return np.ascontiguousarray(value, dtype=np.float32)


def _some(specs: Iterable[TensorSpec]) -> str:
    missing = [spec.published for spec in specs]
    shown = ", ".join(missing[:3])
    return shown if len(missing) <= 3 else f"{shown} and {len(missing) - 3} more"


def decoder_size_bytes(hparams: Hparams, scheme: str) -> int:
    """Return how many bytes the weights take under a scheme, without writing them."""
    return sum(
        math.prod(spec.shape[:-1]) * tensor_type(spec, scheme, hparams).row_bytes(spec.shape[-1])
        for spec in expected_tensors(hparams).values()
    )
