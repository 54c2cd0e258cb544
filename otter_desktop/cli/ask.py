"""`otter ask`: media and options to a request, events to lines."""

from __future__ import annotations

import argparse
from contextlib import suppress

from otter_desktop.assistant.assistant import Assistant
from otter_desktop.assistant.events import Answer, Event, Notice, Progress, Stage, Token
from otter_desktop.assistant.request import Clip, Media, Options, Photo, Request
from otter_desktop.cli.examples import parse_example, read_examples
from otter_desktop.cli.output import (
    OutputLostError,
    ProgressLine,
    clean,
    complain,
    event_json,
    print_json,
    say,
    seen_line,
)
from otter_desktop.errors import OtterError, SettingsError


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; returns the exit code, raises `OtterError`."""
    with ProgressLine() as line:
        line.stage(Progress(Stage.LOADING))
        # The model loads while the arguments are looked at.
        with Assistant.open(
            arguments.model, device=arguments.device, threads=arguments.threads, wait=False
        ) as otter:
            request = _request(arguments)
            events = otter.ask(
                request.question,
                request.media,
                examples=request.examples,
                compare=request.compare,
                options=request.options,
                progress=line.stage,
            )
            text = _Text()
            try:
                for event in events:
                    line.quiet()
                    if arguments.json:
                        print_json(event_json(event))
                    else:
                        text.show(event)
            except (OtterError, KeyboardInterrupt):
                text.end_line()
                raise
    return 0


def _request(arguments: argparse.Namespace) -> Request:
    """Turn arguments into a request; raises what is wrong with it."""
    listed = [parse_example(text) for text in arguments.example]
    if arguments.examples is not None:
        listed = [*read_examples(arguments.examples), *listed]
    return Request(
        question=arguments.question,
        media=tuple(_media(arguments)),
        examples=tuple(listed),
        compare=arguments.compare,
        options=Options(
            max_tokens=arguments.max_tokens,
            beams=arguments.beams,
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            top_p=arguments.top_p,
            min_p=arguments.min_p,
            repetition_penalty=arguments.repetition_penalty,
            no_repeat_ngram=arguments.no_repeat_ngram,
            banned=tuple(arguments.ban),
            seed=arguments.seed,
        ),
    )


def _media(arguments: argparse.Namespace) -> list[Media]:
    named = arguments.media or []
    cut = (arguments.start, arguments.end, arguments.frames)
    if cut != (None, None, None) and not any(kind == "video" for kind, _ in named):
        raise SettingsError("--start, --end and --frames belong to a clip: name it with --video.")
    media: list[Media] = []
    for kind, path in named:
        if kind == "image":
            media.append(Photo(path))
        elif kind == "video":
            media.append(Clip(path, arguments.start, arguments.end, arguments.frames))
        else:
            from otter_desktop.media import list_album

            media += [Photo(photo) for photo in list_album(path)]
    return media


class _Text:
    """Streams the answer, then says what the model saw."""

    def __init__(self) -> None:
        self._written = False
        self._in_line = False

    def show(self, event: Event) -> None:
        """Print what a person wants to see of an event."""
        if isinstance(event, Token):
            self._written = self._in_line = True  # first: Ctrl-C may come while it is printed
            say(clean(event.text), end="")
        elif isinstance(event, Notice):
            complain(event.message)
        elif isinstance(event, Answer):
            if not self._written:
                say("(the model gave no answer)", end="")
            say(f"\n[saw {seen_line(event.frames)} · {event.model} on {event.device}]")
            self._in_line = False

    def end_line(self) -> None:
        """Finish the line of an answer that was broken off: an error's line comes next."""
        if self._in_line:
            with suppress(OutputLostError):
                say("")
            self._in_line = False
