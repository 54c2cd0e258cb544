"""Teach the vision encoder and the resampler to see before the language model meets them.

Both are supervised densely: each patch, and each of the 64 latents (one for each cell of an
8 x 8 grid), says which thing covers its cell, in which colour, and whether the thing's centre
lies there; for clips a latent says so for the first and the last frame, and what happens to the
thing in its cell and in which turn. `docs/training.md` gives the reasons and the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.scenes.things import BACKGROUNDS, COLOUR_NAMES, KINDS
from training.scenes.world import EventKind, Item, Scene

GRID = 8
N_KINDS = len(KINDS) + 1
N_COLOURS = len(COLOUR_NAMES) + 1
N_EVENTS = len(EventKind) + 2
_KIND_NUMBER = {kind: number + 1 for number, kind in enumerate(KINDS)}
_COLOUR_NUMBER = {name: number + 1 for number, name in enumerate(COLOUR_NAMES)}
_EVENT_NUMBER = {kind: number + 2 for number, kind in enumerate(EventKind)}
#: Most cells are empty; they count this much in the loss.
_EMPTY_WEIGHT = 0.25

_CENTRES = (np.arange(GRID) + 0.5) / GRID


@dataclass(frozen=True)
class Cells:
    """What each of the 64 cells shows at one time: numbers of kinds and colours, centres."""

    kind: NDArray[np.int64]
    colour: NDArray[np.int64]
    centre: NDArray[np.float32]
    owner: NDArray[np.int64]


def cells_of(items: tuple[Item | None, ...]) -> Cells:
    """Assign every cell of the grid to the topmost item that covers its middle."""
    owner = np.full((GRID, GRID), -1, np.int64)
    centre = np.zeros((GRID, GRID), np.float32)
    kind = np.zeros((GRID, GRID), np.int64)
    colour = np.zeros((GRID, GRID), np.int64)
    for number, item in enumerate(items):
        if item is None:
            continue
        reach = 0.42 * item.size
        inside = (np.abs(_CENTRES[:, None] - item.y) < reach) & (
            np.abs(_CENTRES[None] - item.x) < reach
        )
        row, column = min(GRID - 1, int(item.y * GRID)), min(GRID - 1, int(item.x * GRID))
        inside[row, column] = True
        owner[inside] = number
        centre[inside] = 0.0
        centre[row, column] = 1.0
        kind[inside] = _KIND_NUMBER[item.kind]
        colour[inside] = _COLOUR_NUMBER[item.colour] if item.colour else 0
    return Cells(kind.ravel(), colour.ravel(), centre.ravel(), owner.ravel())


def targets_of(scene: Scene) -> dict[str, NDArray[np.generic]]:
    """Return the dense targets of a photo or clip, each of shape (64,), and its background."""
    first, last = cells_of(scene.at(0.0)), cells_of(scene.at(1.0))
    event = np.zeros(GRID * GRID, np.int64)
    order = np.zeros(GRID * GRID, np.int64)
    owner = np.where(first.owner >= 0, first.owner, last.owner)
    event[owner >= 0] = 1
    for turn, happening in enumerate(sorted(scene.events, key=lambda e: e.start)):
        event[owner == happening.item] = _EVENT_NUMBER[happening.kind]
        order[owner == happening.item] = turn + 1
    return {
        "kind_first": first.kind,
        "colour_first": first.colour,
        "centre_first": first.centre,
        "kind_last": last.kind,
        "colour_last": last.colour,
        "centre_last": last.centre,
        "event": event,
        "order": order,
        "background": np.array(BACKGROUNDS.index(scene.background)),
    }


_SIZES = {"kind": N_KINDS, "colour": N_COLOURS, "centre": 1}


class PerceptionHeads(nn.Module):
    """Linear read-outs of patches and latents; used in training only, never exported."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(width, N_KINDS + N_COLOURS + 1)
        self.first = nn.Linear(width, N_KINDS + N_COLOURS + 1)
        self.last = nn.Linear(width, N_KINDS + N_COLOURS + 1)
        self.event = nn.Linear(width, N_EVENTS)
        self.order = nn.Linear(width, 3)
        self.background = nn.Linear(width, len(BACKGROUNDS))


def _cell_loss(scores: Tensor, targets: dict[str, Tensor], time: str) -> Tensor:
    kind, colour, centre = scores.float().split((N_KINDS, N_COLOURS, 1), dim=-1)
    kind_target = targets[f"kind_{time}"]
    weight = torch.where(kind_target == 0, _EMPTY_WEIGHT, 1.0)
    weight = weight / weight.sum()
    kinds = functional.cross_entropy(kind.transpose(1, 2), kind_target, reduction="none")
    colours = functional.cross_entropy(
        colour.transpose(1, 2), targets[f"colour_{time}"], reduction="none"
    )
    centres = functional.binary_cross_entropy_with_logits(
        centre.squeeze(-1), targets[f"centre_{time}"], reduction="none"
    )
    return ((kinds + 0.7 * colours + centres) * weight).sum()


def photo_patch_loss(heads: PerceptionHeads, patches: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Loss of patch features (B, 64, V) against what the photo shows in each cell."""
    return _cell_loss(heads.patch(patches), targets, "first")


def latent_loss(heads: PerceptionHeads, latents: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Loss of latents (B, 64, V) against first frame, last frame, events and background."""
    loss = _cell_loss(heads.first(latents), targets, "first")
    loss = loss + _cell_loss(heads.last(latents), targets, "last")
    weight = torch.where(targets["event"] == 0, 0.1, 1.0)
    weight = weight / weight.sum()
    events = functional.cross_entropy(
        heads.event(latents).float().transpose(1, 2), targets["event"], reduction="none"
    )
    orders = functional.cross_entropy(
        heads.order(latents).float().transpose(1, 2), targets["order"], reduction="none"
    )
    loss = loss + ((events + 0.5 * orders) * weight).sum()
    background = heads.background(latents.mean(1)).float()
    return loss + 0.3 * functional.cross_entropy(background, targets["background"])


@torch.no_grad()
def cell_accuracy(scores: Tensor, targets: dict[str, Tensor], time: str) -> dict[str, float]:
    """Share of covered cells whose kind, colour and centre are read rightly."""
    kind, colour, centre = scores.float().split((N_KINDS, N_COLOURS, 1), dim=-1)
    covered = targets[f"kind_{time}"] > 0
    centres = targets[f"centre_{time}"] > 0.5
    coloured = targets[f"colour_{time}"] > 0
    return {
        "kind": _share(kind.argmax(-1) == targets[f"kind_{time}"], covered),
        "kind_at_centre": _share(kind.argmax(-1) == targets[f"kind_{time}"], centres),
        "colour": _share(colour.argmax(-1) == targets[f"colour_{time}"], coloured),
        "centre_found": _share(centre.squeeze(-1) > 0, centres),
        "centre_right": _share(centres, centre.squeeze(-1) > 0),
    }


def event_accuracy(
    heads: PerceptionHeads, latents: Tensor, targets: dict[str, Tensor]
) -> dict[str, float]:
    """Share of cells with an event whose event and turn are read rightly."""
    happening = targets["event"] > 1
    with torch.no_grad():
        event = heads.event(latents).argmax(-1) == targets["event"]
        order = heads.order(latents).argmax(-1) == targets["order"]
    return {"event": _share(event, happening), "order": _share(order, happening)}


def _share(right: Tensor, among: Tensor) -> float:
    return float((right & among).sum() / among.sum().clamp(min=1))
