"""Beam search as transformers 4.35 does it: length penalty 1, no early stopping.

Source of the rules: `BeamSearchScorer` and `BeamHypotheses` of that version. Scores of finished
answers are the sum of log-probabilities divided by the length of the whole text: prompt and
answer, without the end token (later versions count the answer alone). The search stops when no
running beam can still beat the worst kept answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otter_desktop.text.sampling import FloatRow, LogitsRules, log_softmax

_UNUSED_BEAM_SCORE = -1e9
"""All beams start equal: this score keeps all but the first out of the first step."""


@dataclass(frozen=True)
class _Finished:
    score: float
    tokens: tuple[int, ...]


class BeamSearch:
    """The state of one search; the caller computes logits and follows `parents`.

    Use: `advance(logits)` with a row per beam, then, unless `done`, reorder the caches by
    `parents` and feed `last_tokens`. `best()` is the answer's ids, with the end token if it ended.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        beams: int,
        max_new_tokens: int,
        end_id: int,
        rules: LogitsRules,
    ) -> None:
        self._prompt = list(prompt)
        self._width = beams
        self._limit = max_new_tokens
        self._end_id = end_id
        self._rules = rules
        self._running: list[list[int]] = [[] for _ in range(beams)]
        self._scores = np.full(beams, _UNUSED_BEAM_SCORE, dtype=np.float32)
        self._scores[0] = 0
        self._finished: list[_Finished] = []
        self._stopped = False
        self.parents: list[int] = list(range(beams))

    @property
    def done(self) -> bool:
        """Whether the search is over."""
        return self._stopped or len(self._running[0]) >= self._limit

    @property
    def last_tokens(self) -> list[int]:
        """The token that each beam took last."""
        return [beam[-1] for beam in self._running]

    def advance(self, logits: FloatRow) -> None:
        """Take one step with the logits (beams, vocab) that follow each beam."""
        vocab = logits.shape[-1]
        totals = np.stack(
            [
                self._rules.apply(row, self._prompt, beam) + score
                for row, beam, score in zip(
                    log_softmax(logits), self._running, self._scores, strict=True
                )
            ]
        ).ravel()
        count = min(2 * self._width, len(totals))
        best = np.argpartition(-totals, count - 1)[:count]
        best = best[np.lexsort((best, -totals[best]))]
        chosen: list[tuple[float, int, int]] = []
        for rank, flat in enumerate(best):
            beam, token = divmod(int(flat), vocab)
            score = float(totals[flat])
            if token == self._end_id:
                if rank < self._width:
                    self._keep(score, [*self._running[beam], token])
            else:
                chosen.append((score, beam, token))
            if len(chosen) == self._width:
                break
        length = len(self._prompt) + len(self._running[0]) + 1
        if len(self._finished) >= self._width:
            attainable = float(totals[best[0]]) / length
            worst = min(answer.score for answer in self._finished)
            self._stopped = worst >= attainable
        self.parents = [beam for _, beam, _ in chosen]
        self._running = [[*self._running[beam], token] for _, beam, token in chosen]
        self._scores = np.array([score for score, _, _ in chosen], dtype=np.float32)

    def best(self) -> list[int]:
        """Ids of the best answer found so far."""
        candidates = list(self._finished)
        if not self._stopped:
            kept = self._finished
            for tokens, score in zip(self._running, self._scores, strict=True):
                if tokens:
                    self._keep(float(score), tokens)
            candidates, self._finished = self._finished, kept
        return list(max(candidates, key=lambda answer: answer.score).tokens) if candidates else []

    def _keep(self, score: float, tokens: list[int]) -> None:
        """Add an answer; only the `beams` best stay."""
        length = len(self._prompt) + len(tokens) - (tokens[-1] == self._end_id)
        answer = _Finished(score / max(length, 1), tuple(tokens))
        ranked = sorted([*self._finished, answer], key=lambda item: item.score, reverse=True)
        self._finished = ranked[: self._width]
