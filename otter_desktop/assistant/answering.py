"""One request from beginning to end: media, prompt, prefill, tokens, answer; timed."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from otter_desktop.assistant.events import (
    Answer,
    Event,
    Finish,
    MediaReady,
    Notice,
    Progress,
    SeenFrame,
    Stage,
    Timings,
    Token,
)
from otter_desktop.assistant.request import Media, Request
from otter_desktop.assistant.seeing import Item, Latents, ProgressCall, Seen
from otter_desktop.assistant.writing import Prompt, prefill, prompt_of, write, write_by_beams
from otter_desktop.cancel import CancelToken
from otter_desktop.decoder import Session
from otter_desktop.errors import MediaError, SettingsError
from otter_desktop.text.options import SamplingOptions
from otter_desktop.text.prompt import AlbumLayout, Exchange
from otter_desktop.text.sampling import LogitsRules, Sampler, log_softmax
from otter_desktop.text.tokenizer import Piece, TextStream, clean_answer

if TYPE_CHECKING:
    from otter_desktop.assistant.engine import Engine


@dataclass
class _Clock:
    """What a request cost so far; becomes `Timings`."""

    started: float = field(default_factory=time.perf_counter)
    media_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0
    first_token_s: float = 0.0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    answer_tokens: int = 0
    vision_runs: int = 0

    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def saw(self, seen: Seen) -> None:
        self.media_s += seen.media_s
        self.vision_s += seen.vision_s
        self.vision_runs += not seen.cached

    def counted_token(self) -> None:
        if not self.answer_tokens:
            self.first_token_s = self.elapsed()
        self.answer_tokens += 1

    def timings(self) -> Timings:
        total = self.elapsed()
        decoding = total - self.first_token_s
        return Timings(
            media_s=self.media_s,
            vision_s=self.vision_s,
            prefill_s=self.prefill_s,
            first_token_s=self.first_token_s,
            total_s=total,
            prompt_tokens=self.prompt_tokens,
            reused_tokens=self.reused_tokens,
            answer_tokens=self.answer_tokens,
            tokens_per_s=(self.answer_tokens - 1) / decoding if self.answer_tokens > 1 else 0.0,
            vision_runs=self.vision_runs,
        )


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A request turned into what the decoder takes."""

    pieces: tuple[Piece, ...]
    prompt: Prompt
    latents: tuple[Latents, ...]
    frames: tuple[SeenFrame, ...]


def answer_request(
    engine: Engine,
    request: Request,
    cancel: CancelToken | None,
    progress: ProgressCall,
) -> Iterator[Event]:
    """See `Engine.ask`."""
    clock = _Clock()
    yield from engine.notices
    prepared = yield from _prepare(engine, request, clock, cancel, progress)
    options = _with_package_bans(engine, request.options)
    rules = LogitsRules(
        options,
        forbidden=engine.tokenizer.never_generated(engine.decoder.hparams.vocab_size),
        tokenizer=engine.tokenizer,
    )
    stream = TextStream(engine.tokenizer)
    generated: list[int] = []
    with engine.session(options.beams) as session:
        steps = _steps(engine, session, prepared, options, rules, clock, cancel, progress)
        finish = Finish.LENGTH
        while True:
            try:
                token = next(steps)
            except StopIteration as stop:
                finish = stop.value
                break
            clock.counted_token()
            generated.append(token)
            if text := stream.push(token):
                yield Token(text)
    if text := stream.finish():
        yield Token(text)
    yield Answer(
        text=clean_answer(
            engine.tokenizer.decode(generated), engine.manifest.special_tokens.end_of_chunk
        ),
        frames=prepared.frames,
        timings=clock.timings(),
        model=engine.manifest.name,
        device=engine.device,
        finish=finish,
    )


def choose_answer(
    engine: Engine,
    request: Request,
    choices: Sequence[str],
    cancel: CancelToken | None,
    progress: ProgressCall,
) -> dict[str, float]:
    """See `Engine.choose`: softmax over the choices' whole-answer log-probabilities."""
    if not choices or any(not choice.strip() for choice in choices):
        raise SettingsError("Give at least one choice, none of them empty.")
    if len(set(choices)) < len(choices):
        raise SettingsError("A choice is given twice: give each once.")
    prepared = _result(_prepare(engine, request, _Clock(), cancel, progress))
    forbidden = engine.tokenizer.never_generated(engine.decoder.hparams.vocab_size)
    scores = []
    with engine.session() as session:
        session.set_media(prepared.latents)
        for choice in choices:
            answered = [*prepared.pieces, *engine.template.answered(choice)]
            whole = prompt_of(engine.tokenizer, engine.tokenizer.encode(answered))
            start = _common(prepared.prompt.tokens, whole.tokens)
            begin = Prompt(whole.tokens[:start], whole.text_time[:start], whole.answer_time)
            first, _ = prefill(session, begin, cancel)
            rest = whole.tokens[start:]
            rows = first[None]
            if len(rest) > 1:
                after = session.forward(
                    rest[:-1], whole.text_time[start:-1], all_positions=True, cancel=cancel
                )
                rows = np.concatenate([rows, after])
            rows = np.where(forbidden, np.float32(-np.inf), rows)
            scores.append(float(log_softmax(rows)[np.arange(len(rest)), rest].sum()))
    weights = np.exp(np.array(scores) - max(scores))
    return dict(zip(choices, (weights / weights.sum()).tolist(), strict=True))


def _prepare(
    engine: Engine,
    request: Request,
    clock: _Clock,
    cancel: CancelToken | None,
    progress: ProgressCall,
) -> Generator[Event, None, _Prepared]:
    """Look at all media and lay out the prompt."""
    example_items = [_items(example.media, example.compare) for example in request.examples]
    items = _items(request.media, request.compare)
    counts = [len(parts) for parts in example_items]
    count = sum(counts) + len(items)
    # Before anything is looked at: that can take minutes, for nothing where it does not fit.
    foreseen, _ = _layout(engine, request, counts, len(items))
    engine.decoder.check_length(len(engine.tokenizer.encode(foreseen)))
    latents: list[Latents] = []
    for parts in example_items:
        for item in parts:
            seen = engine.eyes.look(item, cancel, progress)
            clock.saw(seen)
            latents.append(seen.latents)
            yield _ready(len(latents), count, seen, example=True)
    own: list[Seen] = []
    failures: list[MediaError] = []
    for item in items:
        try:
            seen = engine.eyes.look(item, cancel, progress)
        except MediaError as error:
            if len(items) == 1:
                raise
            failures.append(error)
            yield Notice(error.code, error.message, item.parts[0].path)
            continue
        clock.saw(seen)
        own.append(seen)
        yield _ready(len(latents) + len(own), count, seen, example=False)
    if failures and not own:
        raise failures[0]
    album = [seen.latents for seen in own]
    pieces, repeats = _layout(engine, request, counts, len(own))
    prompt = prompt_of(engine.tokenizer, engine.tokenizer.encode(pieces))
    frames = tuple(frame for seen in own for frame in seen.frames)
    return _Prepared(tuple(pieces), prompt, (*latents, *album * repeats), frames)


def _layout(
    engine: Engine, request: Request, example_counts: Sequence[int], count: int
) -> tuple[list[Piece], int]:
    """Return the prompt for so many media items, and how often the request's own stand in it."""
    examples = [
        Exchange(example.question, media_count, example.answer)
        for example, media_count in zip(request.examples, example_counts, strict=True)
    ]
    turns, last, repeats = _exchanges(engine, request, count)
    return engine.template.build(last, examples=examples, turns=turns), repeats


def _exchanges(
    engine: Engine, request: Request, count: int
) -> tuple[list[Exchange], Exchange, int]:
    """Return the earlier turns, the question, and how often the media stand in the prompt.

    The media stand once, with the first turn. Only an album whose photos are each
    asked about is repeated in every turn: the last of them is all that later text would see.
    """
    repeated = count > 1 and engine.template.album_layout is AlbumLayout.QUESTION_EACH
    turns = [
        Exchange(turn.question, count if repeated or number == 0 else 0, turn.answer)
        for number, turn in enumerate(request.turns)
    ]
    last = Exchange(request.question, count if repeated or not turns else 0)
    return turns, last, len(turns) + 1 if repeated else 1


def _items(media: Sequence[Media], compare: bool) -> list[Item]:
    if compare and media:
        return [Item(tuple(media))]
    return [Item((part,)) for part in media]


def _ready(number: int, count: int, seen: Seen, *, example: bool) -> MediaReady:
    return MediaReady(
        number=number,
        count=count,
        frames=seen.frames,
        cached=seen.cached,
        example=example,
        seconds=seen.media_s + seen.vision_s,
    )


def _steps(
    engine: Engine,
    session: Session,
    prepared: _Prepared,
    options: SamplingOptions,
    rules: LogitsRules,
    clock: _Clock,
    cancel: CancelToken | None,
    progress: ProgressCall,
) -> Generator[int, None, Finish]:
    """Prefill, then yield the answer's tokens."""
    progress(Progress(Stage.PROMPT))
    started = time.perf_counter()
    session.set_media(prepared.latents)
    prompt = prepared.prompt
    logits, clock.reused_tokens = prefill(session, prompt, cancel)
    clock.prefill_s = time.perf_counter() - started
    clock.prompt_tokens = len(prompt.tokens)
    progress(Progress(Stage.ANSWER))
    # The last token needs no room: nothing is computed from it.
    room = engine.decoder.context_length - len(prompt.tokens) + 1
    limit = min(options.max_tokens, room)
    end_id = engine.tokenizer.end_id
    if options.beams > 1:
        found = write_by_beams(
            session, prompt, logits, beams=options.beams, rules=rules, limit=limit,
            end_id=end_id, cancel=cancel,
        )  # fmt: skip
        ended = bool(found) and found[-1] == end_id
        yield from found[:-1] if ended else found
        return Finish.END if ended else Finish.LENGTH
    return (
        yield from write(
            session,
            prompt,
            logits,
            rules=rules,
            sampler=Sampler(options),
            limit=limit,
            end_id=end_id,
            cancel=cancel,
        )
    )


def _with_package_bans(engine: Engine, options: SamplingOptions) -> SamplingOptions:
    return replace(options, banned=(*options.banned, *engine.manifest.banned_strings))


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))


def _result(steps: Generator[Event, None, _Prepared]) -> _Prepared:
    """Run a preparation for its value alone."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            value: _Prepared = stop.value
            return value
