"""MIMIC-IT files: instructions with the ids of their images and of related instructions.

`XX_instructions.json` holds `{"meta": …, "data": {ID: {"instruction", "answer", "image_ids",
"rel_ins_ids"}}}`, `XX.json` the images as base64 by id; frames of a clip are ids that end in
`_0000`, `_0001`, … (layout of the published data sets).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.0.1"


@dataclass(frozen=True)
class Instruction:
    """One question with its answer, the images it is about and related questions."""

    id: str
    instruction: str
    answer: str
    image_ids: tuple[str, ...]
    rel_ins_ids: tuple[str, ...] = ()


def write_instructions(path: Path, instructions: Iterable[Instruction], author: str) -> None:
    """Write `XX_instructions.json`."""
    data = {
        record.id: {
            "instruction": record.instruction,
            "answer": record.answer,
            "image_ids": list(record.image_ids),
            "rel_ins_ids": list(record.rel_ins_ids),
        }
        for record in instructions
    }
    meta = {"version": VERSION, "time": "", "author": author}
    path.write_text(json.dumps({"meta": meta, "data": data}, indent=1), encoding="utf-8")


def write_images(path: Path, images: Iterable[tuple[str, bytes]]) -> None:
    """Write `XX.json`, one encoded image (JPEG or PNG bytes) at a time."""
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for number, (name, data) in enumerate(images):
            text = base64.b64encode(data).decode("ascii")
            file.write(f"{',' if number else ''}\n{json.dumps(name)}: {json.dumps(text)}")
        file.write("\n}\n")


def read_instructions(path: Path) -> dict[str, Instruction]:
    """Read `XX_instructions.json` by id."""
    data = json.loads(path.read_text(encoding="utf-8"))["data"]
    return {
        name: Instruction(
            name,
            record["instruction"],
            record["answer"],
            tuple(record["image_ids"]),
            tuple(record["rel_ins_ids"]),
        )
        for name, record in data.items()
    }
