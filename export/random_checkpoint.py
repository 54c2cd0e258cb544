"""Small checkpoints of random weights in the published layouts, for tests and measurements."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from export.model.config import Family, LanguageConfig, OtterConfig, VisionConfig
from export.model.otter import OtterModel

Layout = Literal["safetensors", "sharded_safetensors", "bin", "sharded_bin"]

_SENTENCES = (
    "User: What is in the picture? GPT: A cat sits on the table.",
    "User: How many people are there? GPT: Two people stand in front of a house.",
    "User: What is happening in the video? GPT: A red ball moves from left to right.",
    "User: Is there a dog? GPT: Yes, the dog is on the beach. User: What colour? GPT: Blue.",
)


def random_config(family: Family = "mpt", **changes: Any) -> OtterConfig:
    """Return the sizes of a very small Otter; `changes` are fields of `OtterConfig`.

    Six heads: the case where ALiBi's slopes of MPT and MosaicGPT differ.
    """
    language = LanguageConfig(
        family=family,
        vocab_size=384,
        width=96,
        layers=4,
        heads=6,
        ff_width=256,
        max_length=256,
        qk_ln=family == "mosaicgpt",
        kv_heads=3 if family == "llama" else None,
        norm_eps=1e-6 if family == "llama" else 1e-5,
    )
    vision = VisionConfig(width=48, layers=2, heads=3, ff_width=96, image_size=28, patch_size=14)
    config = OtterConfig(
        vision=vision,
        language=language,
        cross_attention_every=2,
        n_latents=8,
        perceiver_layers=2,
        perceiver_inner=128,
        perceiver_ff_width=96,
        xattn_inner=128,
        xattn_ff_width=192,
        max_num_frames=8,
        tie_word_embeddings=family != "llama",
    )
    return replace(config, **changes)


def random_model(config: OtterConfig, seed: int = 0) -> OtterModel:
    """Build a model whose every weight matters: gates open, norms and biases off their start."""
    torch.manual_seed(seed)
    model = OtterModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("_gate"):
                parameter.uniform_(0.4, 1.0)
            elif parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(std=1.3 * module.in_features**-0.5)
        model.lang_encoder.embedding.weight.normal_(std=0.4)
    return model


def write_random_checkpoint(
    folder: Path,
    config: OtterConfig | None = None,
    *,
    layout: Layout = "safetensors",
    seed: int = 0,
    details: Mapping[str, Any] | None = None,
) -> OtterModel:
    """Write a checkpoint folder with a tokenizer of its own and return the model in it.

    `details` becomes otter_package.json. The model knows its image tag only after the
    checkpoint was opened again.
    """
    config = config or random_config()
    model = random_model(config, seed)
    write_checkpoint(folder, model, layout=layout)
    if config.language.family == "llama":
        write_slow_tokenizer(folder)
    else:
        write_fast_tokenizer(folder)
    if details is not None:
        (folder / "otter_package.json").write_text(json.dumps(details), encoding="utf-8")
    return model


def write_checkpoint(folder: Path, model: OtterModel, *, layout: Layout = "safetensors") -> None:
    """Write config.json and the weights in one of the published layouts."""
    folder.mkdir(parents=True, exist_ok=True)
    published = json.dumps(model.config.to_published(), indent=2)
    (folder / "config.json").write_text(published, encoding="utf-8")
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    suffix = "safetensors" if "safetensors" in layout else "bin"
    base = "model" if suffix == "safetensors" else "pytorch_model"
    if not layout.startswith("sharded"):
        _save(folder / f"{base}.{suffix}", state)
        return
    names = sorted(state)
    halves = [names[::2], names[1::2]]
    weight_map: dict[str, str] = {}
    for number, part in enumerate(halves, start=1):
        shard = f"{base}-{number:05}-of-{len(halves):05}.{suffix}"
        _save(folder / shard, {name: state[name] for name in part})
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / f"{base}.{suffix}.index.json").write_text(json.dumps(index), encoding="utf-8")


def _save(path: Path, state: dict[str, Tensor]) -> None:
    if path.suffix == ".safetensors":
        save_file({name: tensor.clone() for name, tensor in state.items()}, path)
    else:
        torch.save(state, path)


def write_fast_tokenizer(folder: Path) -> None:
    """Write a byte-level tokenizer.json like GPT-NeoX's, which puts nothing before a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken("<|endoftext|>", special=True)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_slow_tokenizer(folder: Path) -> None:
    """Write a SentencePiece tokenizer.model like LLaMA's, with bytes for unknown letters."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES),
        model_writer=written,
        vocab_size=340,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
        hard_vocab_limit=True,
    )
    (folder / "tokenizer.model").write_bytes(written.getvalue())
    settings = {"tokenizer_class": "LlamaTokenizer", "legacy": True, "pad_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
