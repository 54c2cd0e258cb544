"""What is asked: a question, its photos and clips, examples and earlier turns; plain values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otter_desktop.errors import FrameLimitError, PromptError, RangeError
from otter_desktop.text.options import SamplingOptions

Options = SamplingOptions


@dataclass(frozen=True)
class Photo:
    """A photo file."""

    path: Path

    def __init__(self, path: Path | str) -> None:
        object.__setattr__(self, "path", Path(path))


@dataclass(frozen=True)
class Clip:
    """A part of a clip file, in seconds; `frames` None takes the model's own number."""

    path: Path
    start_s: float | None = None
    end_s: float | None = None
    frames: int | None = None

    def __init__(
        self,
        path: Path | str,
        start_s: float | None = None,
        end_s: float | None = None,
        frames: int | None = None,
    ) -> None:
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "start_s", start_s)
        object.__setattr__(self, "end_s", end_s)
        object.__setattr__(self, "frames", frames)
        for value in (start_s, end_s):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise RangeError(f"{value} is no time in a clip: give seconds from 0 on.")
        if start_s is not None and end_s is not None and start_s >= end_s:
            raise RangeError(
                f"The range from {start_s:g} s to {end_s:g} s is empty: let the end come after "
                "the start."
            )
        if frames is not None and frames < 1:
            raise FrameLimitError(f"{frames} frames cannot be looked at: ask for at least 1.")


Media = Photo | Clip


@dataclass(frozen=True)
class Example:
    """A question about photos or a clip with the answer that is wanted for the like of it."""

    media: tuple[Media, ...]
    question: str
    answer: str
    compare: bool = False

    def __init__(
        self, media: Sequence[Media], question: str, answer: str, compare: bool = False
    ) -> None:
        object.__setattr__(self, "media", tuple(media))
        object.__setattr__(self, "question", question)
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "compare", compare)


@dataclass(frozen=True)
class Turn:
    """An earlier question about the same media, and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Request:
    """Everything that one answer depends on, besides the model.

    Several media are an album, each an item of its own; with `compare` the photos are the
    frames of one item. Raises `PromptError` where there is no question.
    """

    question: str
    media: tuple[Media, ...] = ()
    examples: tuple[Example, ...] = ()
    turns: tuple[Turn, ...] = ()
    compare: bool = False
    options: SamplingOptions = field(default_factory=SamplingOptions)

    def __post_init__(self) -> None:
        """Refuse what no model could answer."""
        if not self.question.strip():
            raise PromptError("The question is empty: say what you want to know.")
        everything: tuple[Request | Example, ...] = (self, *self.examples)
        for asked in everything:
            if asked.compare and any(isinstance(item, Clip) for item in asked.media):
                raise PromptError("Only photos can be compared side by side, not clips.")
