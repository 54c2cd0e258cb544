"""The assistant that programs use: open a model, ask, choose; the engine has its own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self

from otter_desktop.assistant.events import Answer, Event, ModelInfo, Progress
from otter_desktop.assistant.messages import OpenModel
from otter_desktop.assistant.process import EngineProcess
from otter_desktop.assistant.request import Example, Media, Options, Request, Turn
from otter_desktop.cancel import CancelToken
from otter_desktop.closing import Closing
from otter_desktop.manifest import find_package, read_manifest

ProgressCall = Callable[[Progress], None]


class _Engine(Protocol):
    """What the engine and the process that holds one have in common."""

    def ask(
        self,
        request: Request,
        *,
        cancel: CancelToken | None = None,
        progress: ProgressCall = ...,
    ) -> Iterator[Event]: ...

    def choose(
        self,
        request: Request,
        choices: Sequence[str],
        *,
        cancel: CancelToken | None = None,
        progress: ProgressCall = ...,
    ) -> dict[str, float]: ...

    def wait(self) -> ModelInfo: ...

    def close(self) -> None: ...


class Assistant(Closing):
    """An open model that answers questions about photos and clips.

    Close it, or use it in `with`. Requests from several threads wait for one another.
    """

    def __init__(self, engine: _Engine) -> None:
        """Use `Assistant.open`."""
        self._engine = engine

    @property
    def model(self) -> ModelInfo:
        """The open model and where it runs; waits until it is loaded."""
        return self._engine.wait()

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        device: str = "auto",
        in_process: bool = False,
        *,
        kv_type: str = "f16",
        threads: int | None = None,
        wait: bool = True,
    ) -> Self:
        """Open a model by name or by package folder; None is the built-in one.

        `device` is auto, cpu, gpu, gpu:NUMBER or a name of ggml's. With `in_process` the engine
        lives in this process: quicker to open, but a native abort ends the program. Without
        `wait` the model loads while the program goes on, and the first request raises what
        loading it raised. Raises `PackageError`, `DeviceError`, `EngineStoppedError`.
        """
        folder = find_package(model).absolute()
        if in_process:
            from otter_desktop.assistant.engine import Engine

            return cls(
                Engine.open(
                    folder,
                    kv_type,  # type: ignore[arg-type]  # checked where it is used
                    device=device,
                    threads=threads,
                )
            )
        process = EngineProcess(OpenModel(folder, device, kv_type, threads))
        process.start()
        try:
            read_manifest(folder)
            if wait:
                process.wait()
            return cls(process)
        except BaseException:
            process.close()
            raise

    def ask(
        self,
        question: str,
        media: Sequence[Media] = (),
        *,
        examples: Sequence[Example] = (),
        turns: Sequence[Turn] = (),
        compare: bool = False,
        options: Options | None = None,
        cancel: CancelToken | None = None,
        progress: ProgressCall = lambda _: None,
    ) -> Iterator[Event]:
        """Ask about media; yields MediaReady and Notice, then Token…, and last the Answer.

        Several media are an album; with `compare` the photos stand side by side in one item.
        `turns` are the earlier questions about these media. Raises any `OtterError`;
        `Cancelled` where the token says so. Leaving the iteration early stops the work.
        """
        request = Request(
            question=question,
            media=tuple(media),
            examples=tuple(examples),
            turns=tuple(turns),
            compare=compare,
            options=options or Options(),
        )
        return self._engine.ask(request, cancel=cancel, progress=progress)

    def answer(
        self,
        question: str,
        media: Sequence[Media] = (),
        *,
        examples: Sequence[Example] = (),
        turns: Sequence[Turn] = (),
        compare: bool = False,
        options: Options | None = None,
        cancel: CancelToken | None = None,
    ) -> Answer:
        """Ask about media and wait for the whole answer; arguments and errors as in `ask`."""
        events = self.ask(
            question,
            media,
            examples=examples,
            turns=turns,
            compare=compare,
            options=options,
            cancel=cancel,
        )
        for event in events:
            if isinstance(event, Answer):
                return event
        raise RuntimeError("the engine ended without an answer")

    def choose(
        self,
        question: str,
        media: Sequence[Media],
        choices: Sequence[str],
        *,
        examples: Sequence[Example] = (),
        turns: Sequence[Turn] = (),
        compare: bool = False,
        cancel: CancelToken | None = None,
    ) -> dict[str, float]:
        """Return how probable each choice is as the answer; together they make 1.

        From the logits, without writing anything. Raises as `ask`, and `SettingsError` for an
        empty list or an empty choice.
        """
        request = Request(
            question=question,
            media=tuple(media),
            examples=tuple(examples),
            turns=tuple(turns),
            compare=compare,
        )
        return self._engine.choose(request, choices, cancel=cancel)

    def close(self) -> None:
        """Free the model; ends the engine's process."""
        self._engine.close()
