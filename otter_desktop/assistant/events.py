"""What happens while a question is answered: typed, frozen events, read by every front end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


@dataclass(frozen=True)
class SeenFrame:
    """One frame that the model saw; `time_s` is its true time, None for a photo."""

    file: Path
    time_s: float | None
    index: int


@dataclass(frozen=True)
class MediaReady:
    """A media item has been looked at; `number` counts from 1, examples first.

    `cached` tells that no vision work was needed; `seconds` is what it took altogether.
    """

    number: int
    count: int
    frames: tuple[SeenFrame, ...]
    cached: bool
    example: bool
    seconds: float


@dataclass(frozen=True)
class Token:
    """A piece of the answer's text; whole characters only."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something to know that does not stop the answer: a file left out, a device not used."""

    code: str
    message: str
    file: Path | None = None


class Finish(Enum):
    """Why an answer ended: the model ended it, or it reached the longest length."""

    END = "end"
    LENGTH = "length"


@dataclass(frozen=True)
class Timings:
    """Seconds and counts of one answer.

    `first_token_s` counts from the beginning of the request. `reused_tokens` of the
    `prompt_tokens` were in the cache already; `vision_runs` is how many media items went through
    the vision model.
    """

    media_s: float
    vision_s: float
    prefill_s: float
    first_token_s: float
    total_s: float
    prompt_tokens: int
    reused_tokens: int
    answer_tokens: int
    tokens_per_s: float
    vision_runs: int


@dataclass(frozen=True)
class Answer:
    """The whole answer, with the frames that it is about, and where it was computed."""

    text: str
    frames: tuple[SeenFrame, ...]
    timings: Timings
    model: str
    device: str
    finish: Finish


Event = MediaReady | Token | Notice | Answer


class Stage(Enum):
    """What the engine is busy with."""

    LOADING = "loading the model"
    MEDIA = "reading"
    VISION = "looking at"
    PROMPT = "reading the question"
    ANSWER = "answering"


@dataclass(frozen=True)
class Progress:
    """The stage that begins now; `file` where it concerns one."""

    stage: Stage
    file: Path | None = None


@dataclass(frozen=True)
class ModelInfo:
    """The open model and where it runs; `notices` are what opening it had to say."""

    name: str
    title: str
    domain: str
    device: str
    max_frames: int
    default_frames: int
    notices: tuple[Notice, ...] = ()
