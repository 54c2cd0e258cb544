"""The choice of the next token from logits: penalties, bans, filters, and the draw.

Orders and formulas follow transformers' logits processors, so that published settings mean
the same here: penalties and bans first, then temperature, top-k, top-p and min-p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otter_desktop.text.options import SamplingOptions
from otter_desktop.text.tokenizer import Tokenizer

FloatRow = NDArray[np.float32]


class LogitsRules:
    """What may come next: never-generated ids, penalties and bans, applied to one row of logits."""

    def __init__(
        self,
        options: SamplingOptions,
        *,
        forbidden: NDArray[np.bool_] | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self._options = options
        self._forbidden = forbidden
        self._banned = (
            BannedStrings(tokenizer, options.banned) if options.banned and tokenizer else None
        )

    def apply(self, logits: FloatRow, prompt: Sequence[int], generated: Sequence[int]) -> FloatRow:
        """Return a changed copy of the logits (vocab,) after these tokens."""
        scores = np.array(logits, dtype=np.float32)
        options = self._options
        if self._forbidden is not None:
            scores[self._forbidden] = -np.inf
        if options.repetition_penalty != 1:
            penalize_repetition(scores, [*prompt, *generated], options.repetition_penalty)
        if options.no_repeat_ngram:
            repeated = repeating_tokens([*prompt, *generated], options.no_repeat_ngram)
            scores[repeated] = -np.inf
        if self._banned is not None:
            scores[self._banned.tokens_after(generated)] = -np.inf
        return scores


class Sampler:
    """Draws one token from a row of logits; seeded draws repeat exactly."""

    def __init__(self, options: SamplingOptions) -> None:
        self._options = options
        self._random = np.random.default_rng(options.seed)

    def draw(self, scores: FloatRow) -> int:
        """Return a token id; the most likely one where temperature is 0 or nothing is left."""
        best = int(np.argmax(scores))
        if self._options.temperature == 0 or not np.isfinite(scores[best]):
            return best
        probabilities = filtered_probabilities(scores, self._options)
        return int(self._random.choice(len(probabilities), p=probabilities))


def penalize_repetition(scores: FloatRow, tokens: Sequence[int], penalty: float) -> None:
    """Make tokens that occurred less likely, in place (CTRL's rule: divide or multiply)."""
    seen = np.unique(np.asarray(tokens, dtype=np.int64))
    seen = seen[seen < len(scores)]
    values = scores[seen]
    scores[seen] = np.where(values < 0, values * penalty, values / penalty)


def repeating_tokens(tokens: Sequence[int], size: int) -> list[int]:
    """Tokens that would complete an n-gram of this size that already occurred."""
    if len(tokens) + 1 < size:
        return []
    if size == 1:
        return sorted(set(tokens))
    tail = list(tokens[len(tokens) - size + 1 :])
    return [
        tokens[start + size - 1]
        for start in range(len(tokens) - size + 1)
        if list(tokens[start : start + size - 1]) == tail
    ]


def log_softmax(scores: FloatRow) -> FloatRow:
    """Logarithms of the probabilities along the last axis."""
    shifted = scores - np.max(scores, axis=-1, keepdims=True)
    total = np.sum(np.exp(shifted), axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(total), dtype=np.float32)


def filtered_probabilities(scores: FloatRow, options: SamplingOptions) -> NDArray[np.float64]:
    """Probabilities (vocab,) after temperature, top-k, top-p and min-p; they sum to 1."""
    with np.errstate(over="ignore"):  # next to no temperature: all but the likeliest at -inf
        values = (scores.astype(np.float64) - scores.max()) / options.temperature
    if 0 < options.top_k < len(values):
        threshold = np.partition(values, -options.top_k)[-options.top_k]
        values[values < threshold] = -np.inf
    probabilities = _softmax(values)
    if options.top_p < 1:
        order = np.argsort(-probabilities, kind="stable")
        before = np.cumsum(probabilities[order]) - probabilities[order]
        probabilities[order[before >= options.top_p]] = 0
    if options.min_p > 0:
        probabilities[probabilities < options.min_p * probabilities.max()] = 0
    return np.asarray(probabilities / probabilities.sum())


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    exponents = np.exp(values - values.max())
    return np.asarray(exponents / exponents.sum())


class BannedStrings:
    """Texts that must not appear, whatever tokens would spell them.

    A token is banned where the answer's last bytes and the token together complete such a text.
    """

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._always: set[int] = set()
        self._endings: list[tuple[bytes, list[int]]] = []
        spelled = [tokenizer.token_bytes(token) for token in range(len(tokenizer))]
        for text in filter(None, texts):
            wanted = text.encode()
            self._always.update(token for token, piece in enumerate(spelled) if wanted in piece)
            for split in range(1, len(wanted)):
                rest = wanted[split:]
                tokens = [token for token, piece in enumerate(spelled) if piece.startswith(rest)]
                if tokens:
                    self._endings.append((wanted[:split], tokens))
        self._longest = max((len(start) for start, _ in self._endings), default=0)

    def tokens_after(self, generated: Sequence[int]) -> list[int]:
        """Ids that may not come next."""
        tail = b"".join(map(self._tokenizer.token_bytes, generated[-self._longest :]))
        banned = set(self._always)
        for start, tokens in self._endings:
            if tail.endswith(start):
                banned.update(tokens)
        return sorted(banned)
