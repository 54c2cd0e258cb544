"""Scenes as MIMIC-IT records: questions, answers, image ids, and related questions."""

from __future__ import annotations

import io
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from training.mimicit.format import Instruction, write_images, write_instructions
from training.scenes import questions
from training.scenes.phrases import Task
from training.scenes.render import Picture, render
from training.scenes.world import Scene, Split, random_clip, random_pair, random_photo
from training.transforms import CLIP_TIMES

_RELATED = 3
_SIDE = 256


def _jpeg(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _related(records: list[tuple[Task, Instruction]], rng: random.Random) -> list[Instruction]:
    """Give each record others of its own task, about other media, as in-context examples."""
    by_task: dict[Task, list[Instruction]] = defaultdict(list)
    for task, record in records:
        by_task[task].append(record)
    found = []
    for task, record in records:
        others = [
            other.id
            for other in rng.sample(by_task[task], min(8, len(by_task[task])))
            if other.image_ids != record.image_ids
        ]
        found.append(replace(record, rel_ins_ids=tuple(others[:_RELATED])))
    return found


def write_scenes(
    folder: Path, *, photos: int, clips: int, pairs: int, seed: int, split: Split
) -> int:
    """Write `STORY_instructions.json` and `STORY.json`; returns the number of records."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    media: list[tuple[str, Scene, tuple[float, ...]]] = []
    records: list[tuple[Task, Instruction]] = []
    plan = (
        ("P", photos, random_photo, questions.PHOTO_QUESTIONS, (0.0,)),
        ("C", clips, random_clip, questions.CLIP_QUESTIONS, CLIP_TIMES),
        ("D", pairs, random_pair, questions.PAIR_QUESTIONS, (0.0, 1.0)),
    )
    for letter, number, draw, makers, times in plan:
        for index in range(number):
            scene = draw(rng, split)
            name = f"STORY_IMG_{letter}{index:06d}"
            images = tuple(
                name if len(times) == 1 else f"{name}_{frame:04d}" for frame in range(len(times))
            )
            media.append((name, scene, times))
            for qa in questions.some(makers, scene, rng, split, 4):
                identity = f"STORY_INS_{len(records):07d}"
                records.append((qa.task, Instruction(identity, qa.question, qa.answer, images)))

    def drawn() -> Iterator[tuple[str, bytes]]:
        for name, scene, times in media:
            for frame, picture in enumerate(render(scene, _SIDE, times)):
                yield name if len(times) == 1 else f"{name}_{frame:04d}", _jpeg(picture)

    write_images(folder / "STORY.json", drawn())
    write_instructions(
        folder / "STORY_instructions.json", _related(records, rng), "Otter Desktop scenes"
    )
    return len(records)
