"""Train vision encoder and resampler on scenes: photos drawn on the fly, then a pool of clips.

`teach_photos` trains both on single pictures; `teach_clips` freezes the encoder, keeps the features
of a pool of clips and photos, and trains the resampler on them. A stopped run goes on from its
checkpoint, `perception.pt` in the run's folder.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from export.model import OtterConfig, OtterModel
from training.perception import (
    GRID,
    PerceptionHeads,
    cell_accuracy,
    event_accuracy,
    latent_loss,
    photo_patch_loss,
    targets_of,
)
from training.pools import training_photo
from training.scenes.render import render
from training.scenes.world import Scene, Split, random_clip, random_pair
from training.schedule import adamw, minimise, set_rate
from training.transforms import CLIP_TIMES, normalise, reversed_clip

log = logging.getLogger("perception")

_PHOTO_BATCH = 64
_CLIP_BATCH = 32
_WARM_UP_STEPS = 200
_WEIGHT_DECAY = 0.03
_SAVE_EVERY_S = 180


class Photos(IterableDataset[dict[str, Any]]):
    """Endless freshly drawn photos of one split with their dense targets."""

    def __init__(self, side: int, seed: int, split: Split) -> None:
        self.side, self.seed, self.split = side, seed, split

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(self.seed * 1009 + (worker.id if worker else 0))
        while True:
            scene = training_photo(rng, self.split)
            yield {"pixels": render(scene, self.side)[0], **targets_of(scene)}


class Teacher:
    """The model, its read-outs and its checkpoint."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(1)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # The language model is not trained here: any vocabulary will do.
        self.config = OtterConfig.builtin(16, image_token_id=1)
        self.model = OtterModel(self.config)
        self.heads = PerceptionHeads(self.config.vision.width)
        anchor(self.model)
        self.phase, self.step = "photos", 0
        self.finished: list[str] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._optimizer_state: dict[str, Any] | None = None
        self._saved = time.monotonic()
        if self._checkpoint.exists():
            state = torch.load(self._checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
            self.phase, self.step, self.finished = state["phase"], state["step"], state["finished"]
            self._optimizer_state = state["optimizer"]

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "perception.pt"

    def begin(self, phase: str, modules: list[nn.Module], rate: float) -> torch.optim.Optimizer:
        """Return the phase's optimizer, as it was where a stopped run of this phase goes on."""
        optimizer = adamw([p for m in modules for p in m.parameters()], rate, _WEIGHT_DECAY)
        if self.phase == phase and self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        else:
            self.phase, self.step = phase, 0
        self._optimizer = optimizer
        return optimizer

    def stepped(self) -> None:
        """Count a step; write the checkpoint every few minutes."""
        self.step += 1
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self.save()

    def finish(self, phase: str) -> None:
        """Mark a phase as run to its end."""
        self.finished.append(phase)
        self._optimizer = self._optimizer_state = None
        self.save()

    def save(self) -> None:
        """Write the checkpoint; a kill in the middle leaves the old one."""
        state = {
            "model": self.model.state_dict(), "heads": self.heads.state_dict(),
            "optimizer": self._optimizer.state_dict() if self._optimizer else None,
            "phase": self.phase, "step": self.step, "finished": self.finished,
        }  # fmt: skip
        temporary = self._checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self._checkpoint)
        self._saved = time.monotonic()


def anchor(model: OtterModel) -> None:
    """Start latent i, and the position embedding of patch i, from the sine code of cell i."""
    width = model.config.vision.width
    steps = torch.arange(GRID) / GRID
    frequencies = torch.pi * torch.arange(1, width // 4 + 1) / 6
    wave = torch.cat(
        [(steps[:, None] * frequencies).sin(), (steps[:, None] * frequencies).cos()], dim=1
    )
    rows = wave[:, None].expand(-1, GRID, -1)
    columns = wave[None].expand(GRID, -1, -1)
    code = torch.cat([rows, columns], dim=-1).reshape(GRID * GRID, width)
    embedding = model.vision_encoder.vision_model.embeddings.position_embedding
    with torch.no_grad():
        model.perceiver.latents.copy_(code)
        embedding.weight[1:].copy_(0.3 * code)


def teach_photos(teacher: Teacher, steps: int, rate: float = 1.5e-3) -> None:
    """Train vision encoder and resampler on photos, up to `steps` steps over all runs."""
    model, heads = teacher.model, teacher.heads
    side = teacher.config.vision.image_size
    optimizer = teacher.begin("photos", [model.vision_encoder, model.perceiver, heads], rate)
    # Another seed after each stop: what was drawn before is not drawn again.
    data = Photos(side, 17 + teacher.step, Split.TRAIN)
    batches = iter(DataLoader(data, _PHOTO_BATCH, num_workers=1, prefetch_factor=4))
    held_out = Photos(side, 5, Split.HELD_OUT)
    test = next(iter(DataLoader(held_out, 256)))
    for step in range(teacher.step, steps):
        batch = next(batches)
        set_rate(optimizer, rate, step, steps, _WARM_UP_STEPS)
        with torch.autocast("cpu", torch.bfloat16):
            features = model.encode_vision(normalise(batch.pop("pixels")))
            latents = model.resample(features[:, None, None])[:, 0]
            loss = photo_patch_loss(heads, features, batch) + latent_loss(heads, latents, batch)
        minimise(optimizer, loss)
        teacher.stepped()
        if step % 200 == 0 or step == steps - 1:
            report_photos(teacher, test, float(loss.detach()))
    teacher.finish("photos")


@torch.no_grad()
def report_photos(teacher: Teacher, test: dict[str, Tensor], loss: float) -> None:
    """Log what patches and latents say of held-out photos."""
    heads = teacher.heads
    with torch.autocast("cpu", torch.bfloat16):
        features = teacher.model.encode_vision(normalise(test["pixels"]))
        latents = teacher.model.resample(features[:, None, None])[:, 0]
        patches = cell_accuracy(heads.patch(features), test, "first")
        cells = cell_accuracy(heads.first(latents), test, "first")
    log_line(teacher, loss=loss, patches=patches, latents=cells)


def log_line(teacher: Teacher, **values: Any) -> None:
    """One JSON line into the log and the run's own file."""
    rounded = json.loads(json.dumps(values), parse_float=lambda x: round(float(x), 4))
    line = json.dumps({"phase": teacher.phase, "step": teacher.step, **rounded})
    log.info(line)
    with (teacher.folder / "perception.jsonl").open("a") as file:
        file.write(line + "\n")


class ClipPool:
    """Frozen features of drawn clips, from which batches with other frames and turns are made."""

    def __init__(self, teacher: Teacher, scenes: list[Scene]) -> None:
        side, width = teacher.config.vision.image_size, teacher.config.vision.width
        self.scenes = scenes
        self.features = torch.empty(len(scenes), 8, GRID * GRID, width, dtype=torch.bfloat16)
        for start in range(0, len(scenes), 16):
            group = scenes[start : start + 16]
            pixels = np.stack([render(scene, side, CLIP_TIMES) for scene in group])
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                encoded = teacher.model.encode_vision(
                    normalise(torch.from_numpy(pixels).flatten(0, 1))
                )
            whole = encoded.unflatten(0, (len(group), 8)).bfloat16()
            self.features[start : start + len(group)] = whole

    def batch(self, rng: random.Random, size: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Features (size, F, 64, V) of one frame count, and targets."""
        frames = rng.choice((1, 2, 4, 5, 6, 8, 8, 8, 8, 8))
        rows, scenes = [], []
        for _ in range(size):
            number = rng.randrange(len(self.scenes))
            scene, features = self.scenes[number], self.features[number]
            if frames == 1:
                features, scene = features[-1:], _still_end(scene)
            else:
                if rng.random() < 0.5:
                    scene, features = reversed_clip(scene), features.flip(0)
                inner = sorted(rng.sample(range(1, 7), frames - 2))
                features = features[[0, *inner, 7]]
            rows.append(features)
            scenes.append(scene)
        targets = [targets_of(scene) for scene in scenes]
        stacked = {
            key: torch.from_numpy(np.stack([target[key] for target in targets]))
            for key in targets[0]
        }
        return torch.stack(rows), stacked


def _still_end(scene: Scene) -> Scene:
    """The last frame as a photo."""
    items = tuple(item for item in scene.at(1.0) if item is not None)
    return Scene(items, scene.background, scene.seed)


def clip_scenes(rng: random.Random, number: int, split: Split) -> list[Scene]:
    """Clips as training meets them: mostly events, some pairs' events, some busy photos."""
    makers = (random_clip, random_clip, random_clip, random_pair)
    scenes = [rng.choice(makers)(rng, split) for _ in range(number)]
    # A still clip is a photo: it keeps crowded pictures in the resampler's mind.
    return [training_photo(rng, split) if rng.random() < 0.15 else scene for scene in scenes]


def teach_clips(teacher: Teacher, steps: int, pool_size: int = 6000, rate: float = 1e-3) -> None:
    """Train the resampler (and read-outs) on the features of a pool of clips."""
    model, heads = teacher.model, teacher.heads
    pool = ClipPool(teacher, clip_scenes(random.Random(29), pool_size, Split.TRAIN))
    log.info("pool of %d clips encoded", pool_size)
    test = [ClipPool(teacher, clip_scenes(random.Random(31), 320, Split.HELD_OUT)).batch(
        random.Random(seed), 128) for seed in (1, 2, 3, 4)]  # fmt: skip
    optimizer = teacher.begin("clips", [model.perceiver, heads], rate)
    rng = random.Random(29 + teacher.step)
    for step in range(teacher.step, steps):
        features, targets = pool.batch(rng, _CLIP_BATCH)
        set_rate(optimizer, rate, step, steps, _WARM_UP_STEPS)
        with torch.autocast("cpu", torch.bfloat16):
            latents = model.resample(features[:, None])[:, 0]
            loss = latent_loss(heads, latents, targets)
        minimise(optimizer, loss)
        teacher.stepped()
        if step % 300 == 0 or step == steps - 1:
            report_clips(teacher, test, float(loss.detach()))
    teacher.finish("clips")


@torch.no_grad()
def report_clips(
    teacher: Teacher, test: list[tuple[Tensor, dict[str, Tensor]]], loss: float
) -> None:
    """Log what latents of held-out clips say, for each frame count in the test batches."""
    for features, targets in test:
        with torch.autocast("cpu", torch.bfloat16):
            latents = teacher.model.resample(features[:, None])[:, 0]
            first = cell_accuracy(teacher.heads.first(latents), targets, "first")
            last = cell_accuracy(teacher.heads.last(latents), targets, "last")
            events = event_accuracy(teacher.heads, latents, targets)
        log_line(
            teacher, loss=loss, frames=features.shape[1],
            first=first["kind"], last=last["kind"], **events,
        )  # fmt: skip
