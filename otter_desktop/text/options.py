"""How tokens are chosen, as a value that travels; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from otter_desktop.errors import SettingsError


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
    banned: tuple[str, ...] = ()
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
            (
                not any("\ud800" <= letter <= "\udfff" for text in self.banned for letter in text),
                "banned texts must be text: write them in UTF-8",
            ),
        ]
        for holds, text in checks:
            if not holds:
                raise SettingsError(f"{text[0].upper()}{text[1:]}.")
