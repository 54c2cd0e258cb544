"""The choice of the next token from logits: penalties, bans, filters, and the draw.

Orders and formulas follow transformers' logits processors, so that published settings mean
the same here: penalties and bans first, then temperature, top-k, top-p and min-p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from otter_desktop.errors import SettingsError
from otter_desktop.text.tokenizer import Tokenizer

FloatRow = NDArray[np.float32]


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are chosen; the defaults are greedy decoding.

    `temperature` 0 takes the most likely token. `top_k` 0, `top_p` 1, `min_p` 0,
    `repetition_penalty` 1 and `no_repeat_ngram` 0 switch those filters off. `banned` texts never
    appear in an answer. With `beams` > 1 the draw is a beam search and `temperature` must be 0.
    Raises `SettingsError` for values that make no sense.
    """

    max_tokens: int = 256
    beams: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    banned: tuple[str, ...] = field(default=())
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        checks = [
            (self.max_tokens >= 1, "max_tokens must be at least 1"),
            (1 <= self.beams <= 16, "beams must be between 1 and 16"),
            (0 <= self.temperature <= 100, "temperature must be between 0 and 100"),
            (self.top_k >= 0, "top_k must not be negative"),
            (0 < self.top_p <= 1, "top_p must be above 0 and at most 1"),
            (0 <= self.min_p < 1, "min_p must be at least 0 and below 1"),
            (self.repetition_penalty > 0, "repetition_penalty must be positive"),
            (self.no_repeat_ngram >= 0, "no_repeat_ngram must not be negative"),
            (
                self.beams == 1 or self.temperature == 0,
                "beams and temperature exclude each other: leave one of them out",
            ),
            (self.seed is None or self.seed >= 0, "seed must not be negative"),
        ]
        for holds, text in checks:
            if not holds:
                raise SettingsError(f"{text[0].upper()}{text[1:]}.")


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
        """Return a token id; the most likely one where temperature is 0."""
        if self._options.temperature == 0:
            return int(np.argmax(scores))
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
    values = scores.astype(np.float64) / options.temperature
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
