"""The published Otter layout: a folder with config.json and safetensors or pickled shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.checkpoints.tensors import TensorFiles, weight_files
from otter_desktop.errors import CheckpointError

CONFIG_NAME = "config.json"


def recognise(path: Path) -> bool:
    """Tell whether this is a folder whose config.json describes a whole vision-language model."""
    config = path / CONFIG_NAME
    if not config.is_file():
        return False
    raw = _read_json(config)
    return "text_config" in raw or raw.get("model_type") in ("otter", "flamingo")


def read(path: Path) -> tuple[dict[str, Any], TensorFiles]:
    """Return config.json and the tensors under their published names.

    Raises `CheckpointError` for missing or damaged files.
    """
    published = _read_json(path / CONFIG_NAME)
    for key in ("text_config", "vision_config"):
        if not isinstance(published.get(key, {}), dict):
            raise CheckpointError(f"{path / CONFIG_NAME}: {key} is no object.")
    return published, TensorFiles.open(weight_files(path))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise CheckpointError(f"{path} is not valid JSON: download it again.") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return raw
