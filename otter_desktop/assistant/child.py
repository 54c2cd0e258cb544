"""The engine's own process: commands on its standard input, replies on its standard output.

Nothing else may reach standard output, not even from native libraries: it is moved away first.
The process ends with the program that started it.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from otter_desktop.assistant.messages import (
    Advanced,
    Ask,
    Broke,
    Cancel,
    Channel,
    Choose,
    Command,
    Done,
    Failed,
    Happened,
    Opened,
    OpenModel,
    Reply,
    Weighed,
)
from otter_desktop.cancel import CancelToken
from otter_desktop.errors import OtterError, SettingsError

if TYPE_CHECKING:
    from otter_desktop.assistant.engine import Engine


def main() -> None:
    """Serve until the other side is gone."""
    # Ctrl-C in a terminal reaches the whole group; the program decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reading = os.fdopen(os.dup(0), "rb")
    writing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _Server(Channel(reading, writing)).serve()


class _Server:
    """Answers one request after the other; a second thread listens for cancelling."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._commands: queue.SimpleQueue[OpenModel | Ask | Choose] = queue.SimpleQueue()
        self._tokens: dict[int, CancelToken] = {}
        self._engine: Engine | None = None

    def serve(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            command = self._commands.get()
            number = 0 if isinstance(command, OpenModel) else command.number
            try:
                self._send(self._run(command))
            except OtterError as error:
                self._send(Failed(number, error))
            except Exception as error:  # noqa: BLE001 - a bug is reported, not fatal
                self._send(Broke(number, f"{type(error).__name__}: {error}", _trace()))
            finally:
                self._tokens.pop(number, None)

    def _listen(self) -> None:
        while True:
            try:
                command = self._channel.receive()
            except (EOFError, OSError):
                # The program is gone. No unwinding: native code may be busy for long.
                os._exit(0)
            if isinstance(command, Cancel):
                if token := self._tokens.get(command.number):
                    token.cancel()
            elif isinstance(command, (OpenModel, Ask, Choose)):
                if not isinstance(command, OpenModel):
                    self._tokens[command.number] = CancelToken()
                self._commands.put(command)

    def _run(self, command: Command) -> Reply:
        if isinstance(command, OpenModel):
            return self._open(command)
        if self._engine is None or isinstance(command, Cancel):
            raise RuntimeError("no package is open")
        _enter(command.directory)
        token = self._tokens[command.number]
        progress = self._reporter(command.number)
        if isinstance(command, Choose):
            weights = self._engine.choose(
                command.request, command.choices, cancel=token, progress=progress
            )
            return Weighed(command.number, weights)
        for event in self._engine.ask(command.request, cancel=token, progress=progress):
            self._send(Happened(command.number, event))
        return Done(command.number)

    def _open(self, command: OpenModel) -> Opened:
        from otter_desktop.assistant.engine import Engine

        self._engine = Engine.open(
            command.folder,
            command.kv_type,  # type: ignore[arg-type]  # checked where it is used
            device=command.device,
            threads=command.threads,
        )
        return Opened(self._engine.info)

    def _reporter(self, number: int) -> Callable[..., None]:
        return lambda progress: self._send(Advanced(number, progress))

    def _send(self, reply: Reply) -> None:
        try:
            self._channel.send(reply)
        except OSError:
            os._exit(0)


def _enter(directory: str | None) -> None:
    """Go where the program is: it may have moved since this process was started."""
    if directory is None:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        raise SettingsError(
            f"The folder {directory} cannot be entered ({error.strerror}): start from another one."
        ) from None


def _trace() -> str:
    return traceback.format_exc()
