"""Opening a checkpoint: each layout has a reader; the first one that recognises it reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from export.checkpoints import otter_folder
from export.checkpoints.details import PackageDetails, plain_name, read_details
from export.checkpoints.tensors import TensorFiles
from export.checkpoints.tokenizer import PackageTokenizer, has_tokenizer, read_tokenizer
from export.model.config import OtterConfig
from export.model.otter import OtterModel
from otter_desktop.errors import CheckpointError


class Reader(Protocol):
    """One layout: a module with these two functions."""

    def recognise(self, path: Path) -> bool:
        """Tell whether the path looks like this layout, without reading weights."""

    def read(self, path: Path) -> tuple[dict[str, Any], TensorFiles]:
        """Return config.json and the tensors under their published names."""


READERS: Sequence[Reader] = (otter_folder,)
"""In the order in which they are asked."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint with everything that a package needs."""

    path: Path
    config: OtterConfig
    published: dict[str, Any]
    tensors: TensorFiles
    tokenizer: PackageTokenizer
    details: PackageDetails

    @property
    def name(self) -> str:
        """The package's name: the given one or one made of the path."""
        return self.details.name or plain_name(self.path.resolve().stem)

    def load_model(self) -> OtterModel:
        """Build the reference model with these weights, in float32, ready for inference."""
        model = OtterModel(self.config)
        state = {name: tensor.float() for name, tensor in self.tensors.items()}
        for name in _OPTIONAL:
            state.setdefault(name, model.state_dict()[name])
        model.load_state_dict(state)
        return model.eval()


def open_checkpoint(path: Path, *, tokenizer: Path | None = None) -> Checkpoint:
    """Open a checkpoint; `tokenizer` is the base model's folder where the checkpoint has none.

    Raises `CheckpointError` with one line that says what is unknown, missing or too much.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist.")
    reader = next((reader for reader in READERS if reader.recognise(path)), None)
    if reader is None:
        raise CheckpointError(
            f"{path} is no checkpoint that is known here: expected a folder with config.json of "
            "an Otter and its weights."
        )
    published, tensors = reader.read(path)
    folder = path if path.is_dir() else path.parent
    config = OtterConfig.from_checkpoint(published, tensors.shapes)
    if config.language.family == "llama" and config.tie_word_embeddings:
        # The original ties by the top-level key alone, whatever head the file holds.
        tensors = tensors.without(frozenset({"lang_encoder.lm_head.weight"}))
    check_tensors(config, tensors)
    if tokenizer is None and not has_tokenizer(folder):
        raise CheckpointError(
            f"{folder} has no tokenizer: give the base language model's folder with --tokenizer."
        )
    words = read_tokenizer(tokenizer or folder)
    if words.size > config.language.vocab_size:
        raise CheckpointError(
            f"the tokenizer has {words.size} tokens with Otter's own, but the model only "
            f"{config.language.vocab_size}: it belongs to another model."
        )
    return Checkpoint(
        path=path,
        config=config.with_image_token(words.ids[words.special.image]),
        published=published,
        tensors=tensors,
        tokenizer=words,
        details=read_details(folder),
    )


_OPTIONAL = tuple(
    f"vision_encoder.vision_model.post_layernorm.{kind}" for kind in ("weight", "bias")
)
"""Tensors that no computation uses."""


def check_tensors(config: OtterConfig, tensors: TensorFiles) -> None:
    """Raise `CheckpointError` unless the names and shapes are exactly those of the model."""
    with torch.device("meta"):
        state = OtterModel(config).state_dict()
    expected = {name: tuple(tensor.shape) for name, tensor in state.items()}
    shapes = tensors.shapes
    missing = sorted(set(expected) - set(shapes) - set(_OPTIONAL))
    if missing:
        raise CheckpointError(f"the checkpoint lacks {_some(missing)}: it is incomplete.")
    extra = sorted(set(shapes) - set(expected))
    if extra:
        lora = any(re.search(r"lora_[AB]\.", name) for name in extra)
        hint = " (LoRA is not merged yet)" if lora else ""
        raise CheckpointError(f"the checkpoint has {_some(extra)} which no Otter has{hint}.")
    wrong = sorted(name for name in shapes if shapes[name] != expected[name])
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{name} has the shape {shapes[name]} where the rest of the checkpoint and "
            f"config.json want {expected[name]}."
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the tensor {names[0]}{more}"
