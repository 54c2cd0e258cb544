"""Plain generation with the torch reference, greedy or with beams: the oracle for the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from export.model.otter import OtterModel, Past


def banned_by_ngram(tokens: Sequence[int], size: int) -> set[int]:
    """Tokens that would repeat an n-gram of `size` already in `tokens` (the prompt included)."""
    if size <= 0 or len(tokens) + 1 < size:
        return set()
    start = len(tokens) - size + 1
    last = tuple(tokens[start:])
    return {
        tokens[i + size - 1]
        for i in range(len(tokens) - size + 1)
        if tuple(tokens[i : i + size - 1]) == last
    }


@dataclass(frozen=True)
class GenerationRules:
    """When to stop and what not to generate."""

    max_new_tokens: int = 32
    end_token: int | None = None
    """Generation stops after this token, which is part of the result."""
    no_repeat_ngram: int = 0
    never: frozenset[int] = frozenset()
    reference_compat: bool = False
    """Do as the original does with its cache: no cross-attention after the prompt."""
    original_tags: bool = False
    """Do as the original does with more tags than media: see `cross_attention.media_mask`."""


@torch.inference_mode()
def generate(
    model: OtterModel,
    prompt: Sequence[int],
    *,
    latents: Tensor | None = None,
    vision_x: Tensor | None = None,
    beams: int = 1,
    rules: GenerationRules | None = None,
) -> list[int]:
    """Return the new token ids after `prompt`.

    Media: latents (1, T, n, V) or vision_x (1, T, F, 3, H, W).

    Beams follow transformers' beam search with length penalty 1 and early_stopping false.
    """
    rules = rules or GenerationRules()
    if latents is None and vision_x is not None:
        latents = model.encode_media(vision_x)
    if beams > 1:
        return _beam_search(model, list(prompt), latents, beams, rules)
    return _greedy(model, list(prompt), latents, rules)


class _Stepper:
    """Runs the model token by token and keeps its past."""

    def __init__(self, model: OtterModel, rules: GenerationRules) -> None:
        self.model, self.rules, self.past = model, rules, Past(reference=rules.original_tags)

    def prefill(self, prompt: list[int], latents: Tensor | None) -> Tensor:
        hidden = self.model(
            torch.tensor([prompt]), latents=latents, past=self.past, return_hidden=True
        )
        return self.model.output_logits(hidden[:, -1])

    def step(self, tokens: Sequence[int]) -> Tensor:
        ids = torch.tensor(tokens)[:, None]
        silent = torch.zeros_like(ids) if self.rules.reference_compat else None
        logits: Tensor = self.model(ids, past=self.past, text_time=silent)
        return logits[:, -1]

    def ban(self, scores: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
        for row, tokens in enumerate(rows):
            banned = self.rules.never | banned_by_ngram(tokens, self.rules.no_repeat_ngram)
            if banned:
                scores[row, sorted(banned)] = -torch.inf
        return scores


def _greedy(
    model: OtterModel, prompt: list[int], latents: Tensor | None, rules: GenerationRules
) -> list[int]:
    stepper = _Stepper(model, rules)
    logits = stepper.prefill(prompt, latents)
    tokens = list(prompt)
    for _ in range(rules.max_new_tokens):
        token = int(stepper.ban(logits.clone(), [tokens])[0].argmax())
        tokens.append(token)
        if token == rules.end_token or len(tokens) - len(prompt) == rules.max_new_tokens:
            break
        logits = stepper.step([token])
    return tokens[len(prompt) :]


@dataclass
class _Finished:
    """The best finished beams, by log-probability per token."""

    limit: int
    items: list[tuple[float, list[int]]] = field(default_factory=list)

    def add(self, score: float, tokens: list[int]) -> None:
        self.items = sorted([*self.items, (score, tokens)], key=lambda x: -x[0])[: self.limit]

    def cannot_improve(self, best_attainable: float) -> bool:
        return len(self.items) == self.limit and self.items[-1][0] >= best_attainable


def _beam_search(
    model: OtterModel,
    prompt: list[int],
    latents: Tensor | None,
    beams: int,
    rules: GenerationRules,
) -> list[int]:
    stepper = _Stepper(model, rules)
    logits = stepper.prefill(prompt, latents).expand(beams, -1)
    stepper.past.reorder(torch.zeros(beams, dtype=torch.long))
    rows = [list(prompt) for _ in range(beams)]
    # Only the first beam counts at the start: all are equal.
    totals = torch.tensor([0.0] + [-1e9] * (beams - 1))
    finished = _Finished(beams)
    limit = len(prompt) + rules.max_new_tokens
    while True:
        # transformers 4.35 divides by the whole length, prompt included.
        length = len(rows[0]) + 1
        scores = stepper.ban(logits.log_softmax(dim=-1), rows) + totals[:, None]
        best, places = scores.flatten().topk(2 * beams)
        chosen: list[tuple[float, int, int]] = []
        for rank, (total, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            parent, token = divmod(place, scores.shape[1])
            if token != rules.end_token:
                chosen.append((total, parent, token))
            elif rank < beams:
                finished.add(total / length, [*rows[parent], token])
            if len(chosen) == beams:
                break
        rows = [[*rows[parent], token] for _, parent, token in chosen]
        totals = torch.tensor([total for total, _, _ in chosen])
        if finished.cannot_improve(float(best[0]) / length):
            break
        if length == limit:
            for total, tokens in zip(totals.tolist(), rows, strict=True):
                finished.add(total / length, tokens)
            break
        stepper.past.reorder(torch.tensor([parent for _, parent, _ in chosen]))
        logits = stepper.step([token for _, _, token in chosen])
    return finished.items[0][1][len(prompt) :]
