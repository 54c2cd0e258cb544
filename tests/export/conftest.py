"""Random checkpoints of every family, written once, and packages made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from export.checkpoints import Checkpoint, open_checkpoint
from export.cli import main
from export.model import OtterConfig
from export.random_checkpoint import random_config, write_random_checkpoint


def _config(kind: str) -> OtterConfig:
    if kind == "mpt_qk_ln":
        config = random_config("mpt", cross_attention_every=1)
        language = replace(config.language, qk_ln=True, clip_qkv=1.5)
        vision = replace(config.vision, image_size=32, patch_size=16, stem="conv")
        return replace(config, language=language, vision=vision)
    if kind == "mosaicgpt":
        return random_config("mosaicgpt", max_num_frames=None)
    if kind == "llama":
        return random_config("llama")
    return random_config("mpt")


KINDS = ("mpt", "mpt_qk_ln", "mosaicgpt", "llama")


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
    """Return a function: kind -> the open checkpoint and its float32 package.

    The exporter takes seconds, so each package is made once, by the command line.
    """
    made: dict[str, tuple[Checkpoint, Path]] = {}

    def make(kind: str) -> tuple[Checkpoint, Path]:
        if kind not in made:
            folder = checkpoint_of(kind)
            out = tmp_path_factory.mktemp("packages") / f"{kind} ü"
            arguments = ["convert", str(folder), str(out), "--quantize", "f32"]
            assert main([*arguments, "--name", f"tiny-{kind}"]) == 0
            made[kind] = (open_checkpoint(folder), out)
        return made[kind]

    return make
