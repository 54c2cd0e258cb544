"""Examples named on the command line, or in a file: a plain list or MIMIC-IT instructions."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from otter_desktop.assistant.request import Clip, Example, Media, Photo
from otter_desktop.errors import SettingsError
from otter_desktop.paths import cache_dir

_SEPARATOR = "::"
_INSTRUCTIONS = "_instructions"


def parse_example(text: str) -> Example:
    """Read `FILE::question::answer`; raises `SettingsError`."""
    parts = text.split(_SEPARATOR)
    if len(parts) < 3 or not all(part.strip() for part in parts):
        raise SettingsError(f"{text!r} is no example: write FILE::question::answer.")
    # A file name may hold the separator; questions and answers do not.
    file = _SEPARATOR.join(parts[:-2])
    return Example([_medium(Path(file))], parts[-2].strip(), parts[-1].strip())


def read_examples(path: Path) -> list[Example]:
    """Read a file of examples; file names in it are relative to its folder.

    Either a list of objects with `files` (or `file`), `question`, `answer` and optionally
    `compare`, or MIMIC-IT instructions, whose images lie as files or in `NAME.json` beside
    `NAME_instructions.json`. Raises `SettingsError`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        raise SettingsError(f"{path} is not valid JSON.") from None
    try:
        if isinstance(content, dict):
            examples = _mimicit(path, content["data"])
        else:
            examples = [_listed(path.parent, entry) for entry in content]
    except KeyError as error:
        raise _no_examples(path, f"{error} is missing") from None
    except (TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _no_examples(path, str(error)) from None
    if not examples:
        raise _no_examples(path, "it is empty")
    return examples


def _no_examples(path: Path, reason: str) -> SettingsError:
    return SettingsError(
        f"{path} holds no examples ({reason}): give a list of {{files, question, answer}}."
    )


def _listed(folder: Path, entry: Mapping[str, Any]) -> Example:
    files = entry["files"] if "files" in entry else entry["file"]
    names = [files] if isinstance(files, str) else list(files)
    return Example(
        [_medium(folder / name) for name in names],
        _text(entry, "question"),
        _text(entry, "answer"),
        compare=bool(entry.get("compare", False)),
    )


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value


def _mimicit(path: Path, data: Mapping[str, Mapping[str, Any]]) -> list[Example]:
    images = _Images(path)
    examples = []
    for entry in data.values():
        media = [Photo(images.find(str(name))) for name in entry["image_ids"]]
        # Several images of one instruction are frames of one clip, or photos side by side.
        examples.append(
            Example(
                media, _text(entry, "instruction"), _text(entry, "answer"), compare=len(media) > 1
            )
        )
    return examples


class _Images:
    """The images that instructions name: files beside them, or base64 in a JSON file."""

    def __init__(self, instructions: Path) -> None:
        self._folder = instructions.parent
        name = instructions.stem.removesuffix(_INSTRUCTIONS) + ".json"
        self._archive = instructions.with_name(name)
        self._encoded: Mapping[str, str] | None = None

    def find(self, name: str) -> Path:
        """Return the file of an image; one in base64 is written into the cache first."""
        for suffix in ("", ".jpg", ".jpeg", ".png", ".webp"):
            file = self._folder / f"{name}{suffix}"
            if file.is_file():
                return file
        if self._encoded is None:
            self._encoded = {}
            if self._archive.is_file():
                self._encoded = json.loads(self._archive.read_text(encoding="utf-8"))
        if name not in self._encoded:
            raise SettingsError(
                f"The image {name} of the examples is neither a file in {self._folder} nor in "
                f"{self._archive.name}."
            )
        content = base64.b64decode(self._encoded[name])
        file = cache_dir() / "examples" / f"{hashlib.sha256(content).hexdigest()}.jpg"
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(file)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise SettingsError(f"{file} cannot be written: {error.strerror}.") from error
        return file


def _medium(path: Path) -> Media:
    from otter_desktop.media import is_clip  # loads numpy

    return Clip(path) if is_clip(path) else Photo(path)
