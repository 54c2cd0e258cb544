"""Batches of training sequences: padded ids, latents of their media, and what is scored."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.pools import Pools
from training.scenes.phrases import Task
from training.sequences import SequenceMaker, TrainingSequence

Draw = Callable[[random.Random], TrainingSequence | None]


@dataclass(frozen=True)
class Batch:
    """`labels` are the next token at each position, -100 where it is not part of an answer."""

    input_ids: Tensor
    labels: Tensor
    latents: Tensor
    presence: Tensor
    """(n, 3): row, position and 0 or 1, for the words after each photo of an album."""
    sequences: list[TrainingSequence]


def collate(sequences: list[TrainingSequence], pools: Pools, pad_id: int) -> Batch:
    """Pad on the right; missing media are zeros, which no token looks at."""
    length = max(len(sequence.ids) for sequence in sequences)
    most = max(len(sequence.media) for sequence in sequences)
    shape = pools.latents["photos"].shape[1:]
    ids = torch.full((len(sequences), length), pad_id)
    labels = torch.full((len(sequences), length), -100)
    latents = torch.zeros(len(sequences), most, *shape)
    presence = []
    for row, sequence in enumerate(sequences):
        tokens = torch.tensor(sequence.ids)
        ids[row, : len(tokens)] = tokens
        for answer in sequence.answers:
            if answer.scored:
                labels[row, answer.start - 1 : answer.end - 1] = tokens[answer.start : answer.end]
        for place, media in enumerate(sequence.media):
            latents[row, place] = pools.latents[media.pool][media.number].float()
        presence += [(row, position, int(shown)) for position, shown in sequence.presence]
    return Batch(
        ids, labels, latents, torch.tensor(presence, dtype=torch.long).reshape(-1, 3), sequences
    )


def drawn(draw: Draw, rng: random.Random) -> TrainingSequence:
    """Draw until the scene allows the question."""
    while True:
        sequence = draw(rng)
        if sequence is not None:
            return sequence


@dataclass(frozen=True)
class Mixture:
    """How many sequences of each kind make one step; three passes of like lengths."""

    photos: int = 44
    counting: int = 16
    clips: int = 20
    pairs: int = 3
    photo_turns: int = 5
    clip_turns: int = 2
    albums: int = 10
    forms: int = 9
    made_up: int = 1

    def batches(
        self, maker: SequenceMaker, pools: Pools, rng: random.Random, pad_id: int
    ) -> list[Batch]:
        """The batches of one step."""
        singles = [drawn(lambda r: maker.photo(r, 1), rng) for _ in range(self.photos)]
        singles += [drawn(maker.counting, rng) for _ in range(self.counting)]
        singles += [drawn(lambda r: maker.clip(r, 1), rng) for _ in range(self.clips)]
        singles += [drawn(maker.pair, rng) for _ in range(self.pairs)]
        turns = [drawn(maker.photo, rng) for _ in range(self.photo_turns)]
        turns += [drawn(maker.clip, rng) for _ in range(self.clip_turns)]
        several = [drawn(maker.album, rng) for _ in range(self.albums)]
        several += [drawn(maker.form, rng) for _ in range(self.forms)]
        several += [drawn(maker.made_up, rng) for _ in range(self.made_up)]
        groups = [group for group in (singles, turns, several) if group]
        return [collate(group, pools, pad_id) for group in groups]


EVALUATED = (
    Task.NAME, Task.WHAT_AT, Task.COLOUR, Task.COUNT, Task.WHERE, Task.YES_NO, Task.CAPTION,
    Task.BACKGROUND, Task.MOTION, Task.CHANGE, Task.ORDER, Task.WHICH_PHOTO, Task.DIFFERENCE,
    Task.FORM_BY_EXAMPLE, Task.NAME_BY_EXAMPLE,
)  # fmt: skip
