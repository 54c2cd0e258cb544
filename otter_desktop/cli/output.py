"""What goes to the terminal: JSON lines, streamed text, and progress where it takes long."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from otter_desktop.assistant.events import Event, Progress, SeenFrame

_PATIENCE_S = 1.0
"""Nothing is said about what takes less."""
_TICK_S = 0.2


def prepare_streams() -> None:
    """Let any file name and any answer be printed, whatever the terminal's encoding.

    A stream that was closed before the program began swallows what is printed.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


class OutputLostError(Exception):
    """Standard output takes nothing more: its reader went away, or its disk is full."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"The output cannot be written: {cause.strerror}.")
        self.reader_left = isinstance(cause, BrokenPipeError)


def say(text: str, end: str = "\n") -> None:
    """Print on standard output, at once; raises `OutputLostError`."""
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        raise OutputLostError(error) from error


def complain(line: str) -> None:
    """Print a line on standard error; where nobody listens there, the work goes on."""
    with suppress(OSError):
        print(f"otter: {clean(line)}", file=sys.stderr, flush=True)


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object as a line, at once; raises `OutputLostError`."""
    say(json.dumps(_plain(content), ensure_ascii=False))


def event_json(event: Event) -> dict[str, Any]:
    """Return the JSON object of an event (DESIGN: the command line)."""
    names = {"MediaReady": "media", "Token": "token", "Notice": "notice", "Answer": "answer"}
    return {"event": names[type(event).__name__], **asdict(event)}


def clean(text: str) -> str:
    """Text without control characters, which would command a terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text
    )


def name_of(path: Path) -> str:
    """Return a file's name on one line, without control characters."""
    return clean(path.name.replace("\n", " ").replace("\t", " "))


def seen_line(frames: Iterable[SeenFrame]) -> str:
    """Say in a line which frames the model saw, with their times."""
    files: dict[Path, list[str]] = {}
    for frame in frames:
        times = files.setdefault(frame.file, [])
        if frame.time_s is not None:
            times.append(f"{frame.time_s:.2f}")
    parts = [
        f"{name_of(path)} at {' '.join(times)} s" if times else name_of(path)
        for path, times in files.items()
    ]
    return ", ".join(parts) if parts else "no photo or clip"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 6)
    return value


class ProgressLine:
    """Says on standard error what takes longer than a second, and takes it back afterwards."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._text = ""
        self._since = 0.0
        self._said = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def stage(self, progress: Progress) -> None:
        """Begin a stage."""
        from otter_desktop.assistant.events import Stage

        if progress.stage is Stage.ANSWER:
            self.quiet()
            return
        name = f" {name_of(progress.file)}" if progress.file else ""
        with self._lock:
            self._text = progress.stage.value + name
            self._since = time.monotonic()

    def quiet(self) -> None:
        """Say nothing until the next stage; takes back what stands on the terminal."""
        with self._lock:
            self._text = ""
            self._erase()

    def _tick(self) -> None:
        while not self._over.wait(_TICK_S):
            with self._lock:
                passed = time.monotonic() - self._since
                if not self._text or passed < _PATIENCE_S:
                    continue
                if self._terminal:
                    self._print(f"\r\x1b[K{self._text} … {passed:.0f} s", end="")
                elif self._said != self._text:
                    self._print(f"{self._text} …")
                self._said = self._text

    def _erase(self) -> None:
        if self._terminal and self._said:
            self._print("\r\x1b[K", end="")
            self._said = ""

    def _print(self, text: str, end: str = "\n") -> None:
        with suppress(OSError):  # nobody listens: the work goes on
            print(text, end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.quiet()
