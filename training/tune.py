"""In-context instruction tuning: the language model learns to answer about encoded media.

The loss is on answers and their end tokens only. Vision encoder and resampler stay as they are
(their latents are made once, see `pools`); language model, gated blocks and embeddings learn.
A stopped run goes on from its last checkpoint with the same random state.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as TrainedTokenizer
from torch import Tensor, nn
from torch.nn import functional

from export.model import OtterModel
from otter_desktop.text.tokenizer import Tokenizer
from training.batches import EVALUATED, Batch, Mixture, collate, drawn
from training.grounding import Grounding
from training.pools import Pools
from training.scenes.world import Split
from training.schedule import adamw, clipped_step, set_rate
from training.sequences import SequenceMaker

log = logging.getLogger("tune")

_PRESENCE_WEIGHT = 0.3
_GROUNDING_WEIGHT = 0.3
_SAVE_EVERY_S = 180


@dataclass(frozen=True)
class Recipe:
    """How long and how fast; the schedule is warm-up, then cosine down to 2% at the end."""

    steps: int
    rate: float = 1.5e-3
    warm_up_steps: int = 300
    weight_decay: float = 0.02
    evaluate_every: int = 500
    seed: int = 3
    mixture: Mixture = field(default_factory=Mixture)


class Tuner:
    """A model being tuned, its optimizer and its checkpoint."""

    def __init__(
        self, model: OtterModel, tokenizer: TrainedTokenizer, recipe: Recipe, folder: Path
    ) -> None:
        self.model, self.recipe, self.folder = model, recipe, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = Tokenizer(tokenizer.to_str())
        assert self.tokenizer.pad_id is not None
        self.pad_id: int = self.tokenizer.pad_id
        self.presence = nn.Linear(model.config.language.width, 1)
        for parameter in (*model.vision_encoder.parameters(), *model.perceiver.parameters()):
            parameter.requires_grad_(False)
        self.rng = random.Random(recipe.seed)
        self.step, self.elapsed_s, self.loss = 0, 0.0, math.nan
        learning = [p for p in model.parameters() if p.requires_grad]
        learning += list(self.presence.parameters())
        self.optimizer = adamw(learning, recipe.rate, recipe.weight_decay)
        self.grounding = Grounding(self.model, self.tokenizer)
        self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "tune.pt"

    def _resume(self) -> None:
        if not self._checkpoint.exists():
            return
        state = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.presence.load_state_dict(state["presence"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        version, numbers, gauss = state["rng"]
        self.rng.setstate((version, tuple(numbers), gauss))
        log.info("going on at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint; a kill in the middle leaves the old one."""
        version, numbers, gauss = self.rng.getstate()
        state = {
            "model": self.model.state_dict(), "presence": self.presence.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step,
            "elapsed_s": self.elapsed_s, "rng": (version, list(numbers), gauss),
        }  # fmt: skip
        temporary = self._checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self._checkpoint)

    def run(
        self,
        pools: Pools,
        held_out: Pools,
        *,
        until: int | None = None,
        final_questions: int = 400,
    ) -> None:
        """Train for the recipe's steps, counted over all resumed runs, or up to step `until`."""
        maker = SequenceMaker(self.tokenizer, pools.scenes, Split.TRAIN)
        if self.step == 0:
            self.grounding.warm_up(pools, self.rng)
        saved = began = time.monotonic()
        before_s = self.elapsed_s
        while self.step < (until or self.recipe.steps):
            set_rate(
                self.optimizer,
                self.recipe.rate,
                self.step,
                self.recipe.steps,
                self.recipe.warm_up_steps,
            )
            batches = self.recipe.mixture.batches(maker, pools, self.rng, self.pad_id)
            self.loss = self._train_on(batches, pools)
            self.step += 1
            self.elapsed_s = before_s + time.monotonic() - began
            if self.step % 100 == 0:
                self._log(loss=self.loss)
            if self.step % self.recipe.evaluate_every == 0:
                self._log(held_out=self.evaluate(held_out, questions=96))
            if time.monotonic() - saved > _SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()
        self.save()
        if until is None:
            self._log(held_out=self.evaluate(held_out, questions=final_questions))

    def _train_on(self, batches: list[Batch], pools: Pools) -> float:
        """One optimizer step over several batches; every answer token counts the same."""
        scored = sum(int((batch.labels >= 0).sum()) for batch in batches)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for batch in batches:
            answers, presence = self._losses(batch)
            (answers / scored + _PRESENCE_WEIGHT * presence).backward()
            total += float(answers.detach()) / scored
        (_GROUNDING_WEIGHT * self.grounding.loss(pools, self.rng)).backward()
        clipped_step(self.optimizer)
        return total

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy over the answer tokens; and of which photos show the thing."""
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.model(batch.input_ids, latents=batch.latents, return_hidden=True)
            chosen = batch.labels >= 0
            logits = self.model.output_logits(hidden[chosen]).float()
            rows, positions, shown = batch.presence.unbind(1)
            said = self.presence(hidden[rows, positions]).squeeze(-1).float()
        answers = functional.cross_entropy(logits, batch.labels[chosen], reduction="sum")
        if not len(said):
            return answers, torch.zeros(())
        return answers, functional.binary_cross_entropy_with_logits(said, shown.float())

    @torch.no_grad()
    def evaluate(self, pools: Pools, questions: int) -> dict[str, float]:
        """Share of answers that greedy decoding would give exactly, task by task.

        Questions have held-out phrasings and compositions; an answer is right when every one of
        its tokens is the likeliest after the right ones before it, which is when greedy decoding
        reproduces it.
        """
        maker = SequenceMaker(self.tokenizer, pools.scenes, Split.HELD_OUT)
        rng = random.Random(11)
        shares = {}
        for task in EVALUATED:
            asked = [drawn(lambda r, t=task: maker.one(t, r), rng) for _ in range(questions)]  # type: ignore[misc]
            right = 0
            for start in range(0, questions, 32):
                batch = collate(asked[start : start + 32], pools, self.pad_id)
                right += right_answers(batch, self._said(batch))
            shares[task.value] = right / questions
        return shares

    def _said(self, batch: Batch) -> Tensor:
        """The likeliest next token at each position, (B, L)."""
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.model(batch.input_ids, latents=batch.latents, return_hidden=True)
            said: Tensor = self.model.output_logits(hidden).argmax(-1)
        return said

    def _log(self, **values: Any) -> None:
        numbers = {"step": self.step, "minutes": self.elapsed_s / 60, **values}
        line = json.dumps(json.loads(json.dumps(numbers), parse_float=lambda x: round(float(x), 4)))
        log.info(line)
        with (self.folder / "tune.jsonl").open("a") as file:
            file.write(line + "\n")


def right_answers(batch: Batch, said: Tensor) -> int:
    """How many sequences of a batch end in an answer whose every token is said (B, L)."""
    right = 0
    for row, sequence in enumerate(batch.sequences):
        last = sequence.answers[-1]
        places = slice(last.start - 1, last.end - 1)
        right += bool((said[row, places] == batch.input_ids[row, last.start : last.end]).all())
    return right
