"""Words meet what they name: the first gated block's first head learns to look where a word points.

In the first block a word is only its embedding, so what its query should find is known: the
latents of the cells that the thing (or colour) covers, or, where the picture has none, the empty
cells. Trained on answers alone the model needs very many of them before a question's "cat" finds
the cat among 72 kinds; said directly, this takes a minute. Used in training only.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.model import OtterModel
from export.model.config import HEAD_DIM
from otter_desktop.text.tokenizer import Tokenizer
from training.perception import targets_of
from training.pools import Pools
from training.scenes.phrases import plural
from training.scenes.things import COLOUR_NAMES, KINDS
from training.scenes.world import Scene
from training.schedule import adamw, minimise

_PHOTOS, _CLIPS = 40, 16
_WARM_UP_STEPS = 600
_WARM_UP_RATE = 2e-3
_EMPTY = 0


class Grounding:
    """The loss of a model's first cross-attention head against where named things are."""

    def __init__(self, model: OtterModel, tokenizer: Tokenizer) -> None:
        self._trunk = model.lang_encoder
        block = model.lang_encoder.blocks[0].gated_cross_attn_layer
        assert block is not None
        self._attention = block.attn
        words = [(word, "kind", number + 1) for number, word in enumerate(KINDS)]
        words += [(plural(word), "kind", number) for word, _, number in words]
        words += [(word, "colour", number + 1) for number, word in enumerate(COLOUR_NAMES)]
        ids = {word: tokenizer.encode([f" {word}"]) for word, _, _ in words}
        #: (token, kind or colour, its number) of the words that are one token.
        known = [
            (ids[word][0], what, number) for word, what, number in words if len(ids[word]) == 1
        ]
        self._tokens = torch.tensor([token for token, _, _ in known])
        self._is_kind = np.array([what == "kind" for _, what, _ in known])
        self._numbers = np.array([number for _, _, number in known])

    def loss(self, pools: Pools, rng: random.Random) -> Tensor:
        """Loss over a few random photos and clips; present and absent words weigh the same."""
        scenes: list[Scene] = []
        latents = []
        for pool, count in (("photos", _PHOTOS), ("clips", _CLIPS)):
            for number in rng.choices(range(len(pools.scenes[pool])), k=count):
                scenes.append(pools.scenes[pool][number])
                latents.append(pools.latents[pool][number].float())
        wanted, present = self._wanted(scenes)
        scores = self._scores(torch.stack(latents))
        logs = scores.log_softmax(-1).masked_fill(~wanted, -torch.inf)
        missed = -logs.logsumexp(-1)
        return (missed[present].mean() + missed[~present].mean()) / 2

    def _scores(self, latents: Tensor) -> Tensor:
        """Scores (batch, words, cells) that the head gives latents (batch, cells, V)."""
        attention = self._attention
        words = attention.norm(self._trunk.embedding(self._tokens))
        queries = words @ attention.to_q.weight[:HEAD_DIM].T
        keys = latents @ attention.to_kv.weight[:HEAD_DIM].T
        scores: Tensor = torch.einsum("wd,bcd->bwc", queries, keys) * HEAD_DIM**-0.5
        return scores

    def _wanted(self, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
        """Cells (batch, words, cells) where each word should look; whether it names something."""
        wanted = [self._cells(scene) for scene in scenes]
        present = np.stack([cells.any(-1) for cells, _ in wanted])
        where = np.stack(
            [np.where(cells.any(-1, keepdims=True), cells, free) for cells, free in wanted]
        )
        return torch.from_numpy(where), torch.from_numpy(present)

    def _cells(self, scene: Scene) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Cells (words, 64) that show what each word names, and the cells (64,) that are empty."""
        targets = targets_of(scene)
        shown = np.zeros((len(self._numbers), len(targets["kind_first"])), bool)
        for time in ("first", "last"):
            kind, colour = (
                np.asarray(targets[f"kind_{time}"]),
                np.asarray(targets[f"colour_{time}"]),
            )
            seen = np.where(self._is_kind[:, None], kind[None], colour[None])
            shown |= seen == self._numbers[:, None]
        empty = (targets["kind_first"] == _EMPTY) & (targets["kind_last"] == _EMPTY)
        return shown, empty

    def warm_up(self, pools: Pools, rng: random.Random) -> list[float]:
        """Teach the head alone, before the language model relies on it; returns the losses."""
        maps = nn.ModuleList([self._attention.to_q, self._attention.to_kv])
        optimizer = adamw(maps.parameters(), _WARM_UP_RATE, 0.0)
        losses = []
        for _ in range(_WARM_UP_STEPS):
            loss = self.loss(pools, rng)
            minimise(optimizer, loss)
            losses.append(float(loss.detach()))
        return losses
