"""What the original implementation computed on a checkpoint, as files beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_desktop.errors import SettingsError


@dataclass(frozen=True)
class GoldenCase:
    """One prompt with its media and the results of every stage."""

    name: str
    pixels: NDArray[np.float32]
    """(T, F, 3, H, W)."""
    tokens: list[int]
    features: NDArray[np.float32]
    """(T * F, patches, V)."""
    latents: NDArray[np.float32]
    """(T, n_latents, V)."""
    logits: NDArray[np.float32]
    """(L, vocab) of one full pass."""


def read_golden(folder: Path) -> list[GoldenCase]:
    """Read `cases/*.npz` with `meta.json`, without batches and prompts that we refuse.

    Refused are those with more image tags than media items. Raises `SettingsError`.
    """
    cases = folder / "cases" if (folder / "cases").is_dir() else folder
    try:
        meta: dict[str, Any] = json.loads((cases / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SettingsError(f"{cases} holds no golden cases with a meta.json.") from None
    found = []
    for path in sorted(cases.glob("*.npz")):
        with np.load(path) as data:
            if "clip_hidden" not in data or data["input_ids"].shape[0] != 1:
                continue
            tokens = [int(token) for token in data["input_ids"][0]]
            pixels = data["vision_x"][0]
            if tokens.count(int(meta["media_token_id"])) > pixels.shape[0]:
                continue
            found.append(
                GoldenCase(
                    path.stem,
                    pixels,
                    tokens,
                    data["clip_hidden"],
                    data["perceiver"][0],
                    data["logits"][0],
                )
            )
    if not found:
        raise SettingsError(f"{cases} holds no golden cases.")
    return found
