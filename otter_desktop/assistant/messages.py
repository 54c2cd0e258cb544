"""What the program and the engine's process say to each other: typed, picklable, framed."""

from __future__ import annotations

import pickle
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from otter_desktop.assistant.events import Event, ModelInfo, Progress
from otter_desktop.assistant.request import Request
from otter_desktop.errors import OtterError

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class OpenModel:
    """First message to the process: which package to open, and how."""

    folder: Path
    device: str
    kv_type: str
    threads: int | None


@dataclass(frozen=True)
class Ask:
    """Answer a request; its relative paths start at `directory`, None where that is gone."""

    number: int
    request: Request
    directory: str | None


@dataclass(frozen=True)
class Choose:
    """Weigh choices; relative paths as in `Ask`."""

    number: int
    request: Request
    choices: tuple[str, ...]
    directory: str | None


@dataclass(frozen=True)
class Cancel:
    """Stop the request of this number."""

    number: int


Command = OpenModel | Ask | Choose | Cancel


@dataclass(frozen=True)
class Opened:
    """The package is open."""

    info: ModelInfo


@dataclass(frozen=True)
class Happened:
    """An event of a request."""

    number: int
    event: Event


@dataclass(frozen=True)
class Advanced:
    """A stage of a request began."""

    number: int
    progress: Progress


@dataclass(frozen=True)
class Weighed:
    """The probabilities of a `Choose`."""

    number: int
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Done:
    """A request has come to its end."""

    number: int


@dataclass(frozen=True)
class Failed:
    """A request ended in an error that the user can act on; 0 is the opening of the package."""

    number: int
    error: OtterError


@dataclass(frozen=True)
class Broke:
    """A request ended in a bug; `trace` is the traceback in the process."""

    number: int
    error: str
    trace: str


Reply = Opened | Happened | Advanced | Weighed | Done | Failed | Broke


class Channel:
    """One direction each of two pipes: messages whole and in order; writing is thread-safe."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()

    def send(self, message: Command | Reply) -> None:
        """Write one message; raises `OSError` where the other side is gone."""
        content = pickle.dumps(message)
        with self._lock:
            self._writing.write(_LENGTH.pack(len(content)) + content)
            self._writing.flush()

    def receive(self) -> Command | Reply:
        """Wait for one message; raises `EOFError` where the other side is gone."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        message: Command | Reply = pickle.loads(self._read(length))  # noqa: S301 - our own process
        return message

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._reading.read(size)
            if not part:
                raise EOFError("the other side is gone")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
