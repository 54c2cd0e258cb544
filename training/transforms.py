"""Pixels as training sees them, and clips played backwards."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from training.scenes.world import Event, EventKind, Scene

#: CLIP's normalisation (`CLIPImageProcessor`), also used by the built-in model.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

#: The moments of the eight frames of a drawn clip.
CLIP_TIMES = tuple(frame / 7 for frame in range(8))

_BACKWARDS = {
    EventKind.LEFT: EventKind.RIGHT,
    EventKind.RIGHT: EventKind.LEFT,
    EventKind.UP: EventKind.DOWN,
    EventKind.DOWN: EventKind.UP,
    EventKind.APPEAR: EventKind.DISAPPEAR,
    EventKind.DISAPPEAR: EventKind.APPEAR,
    EventKind.GROW: EventKind.SHRINK,
    EventKind.SHRINK: EventKind.GROW,
    EventKind.RECOLOUR: EventKind.RECOLOUR,
}


def normalise(pixels: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32, normalised."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def reversed_clip(scene: Scene) -> Scene:
    """The scene whose clip is this one's frames in reverse (to be described, not drawn).

    Sizes of items that grow or shrink are those of the last frame only in the description.
    """
    ends = scene.at(1.0)
    items = tuple(end or item for item, end in zip(scene.items, ends, strict=True))
    events = tuple(_reversed_event(event, scene) for event in scene.events)
    return replace(scene, items=items, events=events)


def _reversed_event(event: Event, scene: Scene) -> Event:
    kind = _BACKWARDS[event.kind]
    colour = scene.items[event.item].colour if kind is EventKind.RECOLOUR else None
    return replace(event, kind=kind, start=1 - event.end, end=1 - event.start, colour=colour)
