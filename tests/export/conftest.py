"""Random checkpoints of every family, written once, and packages made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from export.checkpoints import Checkpoint, open_checkpoint
from export.model import OtterConfig
from export.package import convert
from export.random_checkpoint import random_config, write_random_checkpoint


def _config(kind: str) -> OtterConfig:
    if kind == "mpt_qk_ln":
        config = random_config("mpt", cross_attention_every=1)
        language = replace(config.language, qk_ln=True, clip_qkv=1.5)
        return replace(config, language=language)
    if kind == "mosaicgpt":
        return random_config("mosaicgpt", max_num_frames=None)
    if kind == "llama":
        return random_config("llama")
    if kind == "conv_stem":
        config = random_config("mpt")
        vision = replace(config.vision, image_size=32, patch_size=16, stem="conv")
        return replace(config, vision=vision)
    return random_config("mpt")


KINDS = ("mpt", "mpt_qk_ln", "mosaicgpt", "llama", "conv_stem")


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: kind -> folder of a random checkpoint."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("checkpoints") / kind
            write_random_checkpoint(made[kind], _config(kind))
        return made[kind]

    return make


@pytest.fixture(scope="session")
def package_of(
    checkpoint_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Checkpoint, Path]]:
    """Return a function: kind, scheme -> the open checkpoint and its package."""
    made: dict[tuple[str, str], tuple[Checkpoint, Path]] = {}

    def make(kind: str, scheme: str = "f32") -> tuple[Checkpoint, Path]:
        if (kind, scheme) not in made:
            checkpoint = open_checkpoint(checkpoint_of(kind))
            out = tmp_path_factory.mktemp("packages") / f"{kind} ü {scheme}"
            convert(checkpoint, out, scheme=scheme)
            made[kind, scheme] = (checkpoint, out)
        return made[kind, scheme]

    return make
