"""What a package says about its model: read from otter_package.json beside a checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from otter_desktop.errors import CheckpointError

DETAILS_NAME = "otter_package.json"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class PackageDetails:
    """Words and rules that no tensor tells; None where the converter has to find out."""

    name: str | None = None
    title: str | None = None
    licence: str = "unknown: see the model's source"
    source: str = "converted from a checkpoint"
    domain: str = "photographs and clips"
    template: str = "spaced"
    album_template: str = "media_first"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    fit: str = "crop"
    max_frames: int | None = None
    default_frames: int | None = None
    capabilities: tuple[str, ...] = ()
    banned_strings: tuple[str, ...] = ()

    def changed(self, **values: Any) -> PackageDetails:
        """Return a copy with the given values, None meaning "as it was"."""
        return replace(self, **{key: value for key, value in values.items() if value is not None})


def read_details(folder: Path) -> PackageDetails:
    """Read otter_package.json of a checkpoint folder; defaults where there is none.

    Raises `CheckpointError` for a damaged file or a key that nobody knows.
    """
    path = folder / DETAILS_NAME
    if not path.is_file():
        return PackageDetails()
    try:
        raw: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        pixels: Mapping[str, Any] = raw.pop("preprocessing", {})
        raw |= {key: pixels[key] for key in ("mean", "std", "fit") if key in pixels}
        return _from_raw(raw)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not what was expected: {error}") from None


def _from_raw(raw: Mapping[str, Any]) -> PackageDetails:
    known = {field.name for field in fields(PackageDetails)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
    }
    return PackageDetails(**values)


def plain_name(text: str) -> str:
    """Make a package's folder name of any text."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "otter"
