"""Pools of drawn photos, clips and pairs as latents, made once with the frozen encoder."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.model import OtterModel
from training.scenes.render import render
from training.scenes.world import Scene, Split, random_clip, random_pair, random_photo
from training.transforms import CLIP_TIMES, normalise, reversed_clip

_GROUP = 16


@dataclass(frozen=True)
class Pools:
    """Scenes by kind of media ("photos", "clips", "pairs") and their latents (N, 64, V)."""

    scenes: dict[str, list[Scene]]
    latents: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write the pools, so that a stopped training need not draw them again."""
        torch.save(self.latents, path.with_suffix(".pt"))
        path.with_suffix(".pickle").write_bytes(pickle.dumps(self.scenes))

    @classmethod
    def load(cls, path: Path) -> Pools | None:
        """Read pools written by `save` on this machine; None where there are none."""
        if not path.with_suffix(".pickle").exists():
            return None
        latents = torch.load(path.with_suffix(".pt"), weights_only=True, mmap=True)
        return cls(pickle.loads(path.with_suffix(".pickle").read_bytes()), latents)  # noqa: S301


def training_photo(rng: random.Random, split: Split) -> Scene:
    """A photo as training meets them: a quarter show several of the same thing."""
    if rng.random() < 0.25:
        same = rng.randint(2, 5)
        count = max(same, min(5, same + rng.randint(0, 2)))
        return random_photo(rng, split, count=count, same=same)
    return random_photo(rng, split)


@torch.no_grad()
def _encode(model: OtterModel, scenes: list[Scene], times: tuple[float, ...]) -> Tensor:
    """Features (scenes, frames, patches, V) of scenes drawn at these times."""
    side = model.config.vision.image_size
    pixels = torch.from_numpy(np.stack([render(scene, side, times) for scene in scenes]))
    with torch.autocast("cpu", torch.bfloat16):
        features: Tensor = model.encode_vision(normalise(pixels.flatten(0, 1)))
        grouped: Tensor = features.unflatten(0, (len(scenes), len(times)))
    return grouped


@torch.no_grad()
def _resample(model: OtterModel, features: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        latents: Tensor = model.resample(features[:, None])[:, 0]
    return latents.bfloat16()


def _groups(scenes: list[Scene]) -> list[list[Scene]]:
    return [scenes[start : start + _GROUP] for start in range(0, len(scenes), _GROUP)]


def draw_pools(
    model: OtterModel, split: Split, seed: int, *, photos: int, clips: int, pairs: int
) -> Pools:
    """Draw and encode scenes; each clip comes forwards, backwards and with fewer frames."""
    model.eval()
    rng = random.Random(seed)
    photo_scenes = [training_photo(rng, split) for _ in range(photos)]
    photo_latents = [
        _resample(model, _encode(model, group, (0.0,))) for group in _groups(photo_scenes)
    ]
    clip_scenes, clip_latents = [], []
    for group in _groups([random_clip(rng, split) for _ in range(clips)]):
        features = _encode(model, group, CLIP_TIMES)
        clip_latents += [_resample(model, features), _resample(model, features.flip(1))]
        inner = sorted(rng.sample(range(1, 7), rng.randint(3, 5)))
        clip_latents.append(_resample(model, features[:, [0, *inner, 7]]))
        clip_scenes += [*group, *map(reversed_clip, group), *group]
    pair_scenes, pair_latents = [], []
    for group in _groups([random_pair(rng, split) for _ in range(pairs)]):
        features = _encode(model, group, (0.0, 1.0))
        pair_latents += [_resample(model, features), _resample(model, features.flip(1))]
        pair_scenes += [*group, *map(reversed_clip, group)]
    return Pools(
        {"photos": photo_scenes, "clips": clip_scenes, "pairs": pair_scenes},
        {
            "photos": torch.cat(photo_latents),
            "clips": torch.cat(clip_latents),
            "pairs": torch.cat(pair_latents),
        },
    )
