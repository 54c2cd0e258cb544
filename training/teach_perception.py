"""Train vision encoder and resampler on scenes drawn on the fly, in two timed phases.

    python -m training.teach_perception photos --minutes 25 --out runs/see
    python -m training.teach_perception clips --minutes 15 --out runs/see

`photos` trains both on single pictures; `clips` freezes the encoder, keeps the features of a
pool of clips and photos, and trains the resampler on them. A stopped run goes on from its
checkpoint (`runs/see/perception.pt`).
"""

from __future__ import annotations

import argparse
import itertools
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
from training.transforms import CLIP_TIMES, normalise, reversed_clip

log = logging.getLogger("perception")

_PHOTO_BATCH = 64
_CLIP_BATCH = 32


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
        self.done: dict[str, Any] = {"photos": 0, "clips": 0}
        if (folder / "perception.pt").exists():
            state = torch.load(folder / "perception.pt", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
            self.done = state["done"]

    def finished(self, phase: str) -> bool:
        """Whether a phase has run to its end."""
        return phase in self.done.get("finished", ())

    def finish(self, phase: str) -> None:
        """Mark a phase as run to its end."""
        self.done["finished"] = [*self.done.get("finished", ()), phase]
        self.save()

    def save(self) -> None:
        """Write the checkpoint; a kill in the middle leaves the old one."""
        state = {
            "model": self.model.state_dict(), "heads": self.heads.state_dict(), "done": self.done
        }  # fmt: skip
        torch.save(state, self.folder / "perception.tmp")
        (self.folder / "perception.tmp").replace(self.folder / "perception.pt")


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


def timed_steps(minutes: float) -> Iterator[tuple[int, float]]:
    """Step numbers and the share of the time gone (0 to 1), until the time is over."""
    begin = time.monotonic()
    for step in itertools.count():
        gone = (time.monotonic() - begin) / (60 * minutes)
        if gone >= 1:
            return
        yield step, gone


def set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, gone: float) -> None:
    """Linear warm-up over 200 steps, then cosine down to 2% as the time runs out."""
    rate = peak * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * gone)))
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_for(modules: list[nn.Module], rate: float) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only."""
    parameters = [p for module in modules for p in module.parameters()]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.03},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.98),
    )


def step_with(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One clipped step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def teach_photos(teacher: Teacher, minutes: float, rate: float = 1.5e-3) -> None:
    """Train vision encoder and resampler on photos."""
    model, heads = teacher.model, teacher.heads
    side = teacher.config.vision.image_size
    optimizer = optimizer_for([model.vision_encoder, model.perceiver, heads], rate)
    data = Photos(side, 17 + teacher.done["photos"], Split.TRAIN)
    batches = iter(DataLoader(data, _PHOTO_BATCH, num_workers=1, prefetch_factor=4))
    held_out = Photos(side, 5, Split.HELD_OUT)
    test = next(iter(DataLoader(held_out, 256)))
    for step, gone in timed_steps(minutes):
        batch = next(batches)
        set_rate(optimizer, rate, step, gone)
        with torch.autocast("cpu", torch.bfloat16):
            features = model.encode_vision(normalise(batch.pop("pixels")))
            latents = model.resample(features[:, None, None])[:, 0]
            loss = photo_patch_loss(heads, features, batch) + latent_loss(heads, latents, batch)
        step_with(optimizer, loss)
        teacher.done["photos"] += _PHOTO_BATCH
        if step % 200 == 0:
            report_photos(teacher, test, step, float(loss.detach()))
        if step % 1000 == 999:
            teacher.save()
    report_photos(teacher, test, -1, float(loss.detach()))
    teacher.finish("photos")


@torch.no_grad()
def report_photos(teacher: Teacher, test: dict[str, Tensor], step: int, loss: float) -> None:
    """Log what patches and latents say of held-out photos."""
    heads = teacher.heads
    with torch.autocast("cpu", torch.bfloat16):
        features = teacher.model.encode_vision(normalise(test["pixels"]))
        latents = teacher.model.resample(features[:, None, None])[:, 0]
        patches = cell_accuracy(heads.patch(features), test, "first")
        cells = cell_accuracy(heads.first(latents), test, "first")
    log_line(teacher, step=step, loss=loss, patches=patches, latents=cells)


def log_line(teacher: Teacher, **values: Any) -> None:
    """One JSON line into the log and the run's own file."""
    rounded = json.loads(json.dumps(values), parse_float=lambda x: round(float(x), 4))
    line = json.dumps({"seen": teacher.done, **rounded})
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


def teach_clips(
    teacher: Teacher, minutes: float, pool_size: int = 8000, rate: float = 1e-3
) -> None:
    """Train the resampler (and read-outs) on the features of a pool of clips."""
    model, heads = teacher.model, teacher.heads
    rng = random.Random(29)
    pool = ClipPool(teacher, clip_scenes(rng, pool_size, Split.TRAIN))
    log.info("pool of %d clips encoded", pool_size)
    test = [ClipPool(teacher, clip_scenes(random.Random(31), 320, Split.HELD_OUT)).batch(
        random.Random(seed), 128) for seed in (1, 2, 3, 4)]  # fmt: skip
    optimizer = optimizer_for([model.perceiver, heads], rate)
    for step, gone in timed_steps(minutes):
        features, targets = pool.batch(rng, _CLIP_BATCH)
        set_rate(optimizer, rate, step, gone)
        with torch.autocast("cpu", torch.bfloat16):
            latents = model.resample(features[:, None])[:, 0]
            loss = latent_loss(heads, latents, targets)
        step_with(optimizer, loss)
        teacher.done["clips"] += _CLIP_BATCH
        if step % 300 == 0:
            report_clips(teacher, test, step, float(loss.detach()))
        if step % 1000 == 999:
            teacher.save()
    report_clips(teacher, test, -1, float(loss.detach()))
    teacher.finish("clips")


@torch.no_grad()
def report_clips(
    teacher: Teacher, test: list[tuple[Tensor, dict[str, Tensor]]], step: int, loss: float
) -> None:
    """Log what latents of held-out clips say, for each frame count in the test batches."""
    for features, targets in test:
        with torch.autocast("cpu", torch.bfloat16):
            latents = teacher.model.resample(features[:, None])[:, 0]
            first = cell_accuracy(teacher.heads.first(latents), targets, "first")
            last = cell_accuracy(teacher.heads.last(latents), targets, "last")
            events = event_accuracy(teacher.heads, latents, targets)
        log_line(
            teacher, step=step, loss=loss, frames=features.shape[1],
            first=first["kind"], last=last["kind"], **events,
        )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run one phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=("photos", "clips"))
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pool", type=int, default=8000, help="clips kept as features")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    teacher = Teacher(options.out)
    if options.phase == "photos":
        teach_photos(teacher, options.minutes, options.rate or 1.5e-3)
    else:
        teach_clips(teacher, options.minutes, options.pool, options.rate or 1e-3)
    teacher.save()


if __name__ == "__main__":
    main()
