"""The program's end of the engine's process: starts it, talks to it, notices its death.

A native abort or a lack of memory kills the child, never the program; the next request starts
another one.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import otter_desktop
from otter_desktop.assistant.events import Event, ModelInfo, Progress
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
from otter_desktop.assistant.request import Request
from otter_desktop.cancel import CancelToken
from otter_desktop.errors import EngineStoppedError
from otter_desktop.paths import log_dir

ENGINE_LOG_NAME = "engine.log"
_LOG_LIMIT_BYTES = 1 << 20
_POLL_S = 0.05
"""How often a waiting request looks at its cancel token."""
_END_S = 3.0
"""How long a closed process may take to end before it is killed."""


class EngineBugError(RuntimeError):
    """The engine's process met a bug; the notes carry its traceback."""


class EngineProcess:
    """An engine in a process of its own; one request at a time, from any thread."""

    def __init__(self, model: OpenModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._number = 0
        self._child: _Child | None = None
        self._info: ModelInfo | None = None

    def start(self) -> None:
        """Start the process without waiting for the model to load."""
        if self._child is None or self._child.dead:
            self._child = _Child(self._model)
            self._info = None

    def wait(self) -> ModelInfo:
        """Wait until the model is open; comes at once where it is, whatever is being answered.

        Raises what opening it raised, `EngineStoppedError` where the process died of it.
        """
        info = self._info
        if info is not None and self.process_id is not None:
            return info
        with self._turn(None):
            return self._ready(None)

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the process, None where none runs."""
        child = self._child
        return None if child is None or child.dead else child.process.pid

    def ask(
        self,
        request: Request,
        *,
        cancel: CancelToken | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Iterator[Event]:
        """As `Engine.ask`; leaving the iteration early stops the work."""
        for reply in self._talk(lambda number: Ask(number, request, _here()), cancel, progress):
            if isinstance(reply, Happened):
                yield reply.event

    def choose(
        self,
        request: Request,
        choices: Sequence[str],
        *,
        cancel: CancelToken | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> dict[str, float]:
        """As `Engine.choose`."""
        for reply in self._talk(
            lambda number: Choose(number, request, tuple(choices), _here()),
            cancel,
            progress,
        ):
            if isinstance(reply, Weighed):
                return reply.probabilities
        raise EngineBugError("The engine gave no probabilities.")

    def close(self) -> None:
        """End the process; a request in another thread ends in `EngineStoppedError`."""
        child, self._child = self._child, None
        if child is not None:
            child.closed = True
            child.end()

    # --- inside ---

    @contextmanager
    def _turn(self, cancel: CancelToken | None) -> Iterator[None]:
        """Wait until no other request runs; raises `Cancelled`."""
        if self._owner == threading.get_ident():
            raise RuntimeError("finish or close the iteration of the request before this one")
        while not self._lock.acquire(timeout=_POLL_S):
            if cancel is not None:
                cancel.check()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()

    def _ready(self, cancel: CancelToken | None) -> ModelInfo:
        self.start()
        child = self._child
        if child is None:
            raise RuntimeError("the process was closed while it started")
        while self._info is None:
            if cancel is not None:
                cancel.check()
            reply = child.reply()
            if isinstance(reply, Opened):
                self._info = reply.info
            elif reply is not None:
                self.close()
                _raise(reply)
        return self._info

    def _talk(
        self,
        command: Callable[[int], Command],
        cancel: CancelToken | None,
        progress: Callable[[Progress], None],
    ) -> Generator[Reply, None, None]:
        """Send a command and yield the replies to it until its end."""
        with self._turn(cancel):
            self._ready(cancel)
            child = self._child
            if child is None:
                raise RuntimeError("the process was closed while it started")
            self._number += 1
            number = self._number
            child.send(command(number))
            told = ended = False
            try:
                while not ended:
                    if cancel is not None and cancel.cancelled and not told:
                        child.send(Cancel(number))
                        told = True
                    reply = child.reply()
                    if reply is None or getattr(reply, "number", None) != number:
                        continue
                    if isinstance(reply, Advanced):
                        progress(reply.progress)
                        continue
                    ended = isinstance(reply, (Done, Weighed, Failed, Broke))
                    if isinstance(reply, (Failed, Broke)):
                        _raise(reply)
                    yield reply
            finally:
                if not ended and not child.dead:
                    child.abandon(number)


class _Child:
    """One process, its channel, and a thread that collects what it says."""

    def __init__(self, model: OpenModel) -> None:
        root = str(Path(otter_desktop.__file__).parent.parent)
        code = (
            f"import sys; sys.path.insert(0, {root!r}); "
            "from otter_desktop.assistant.child import main; main()"
        )
        log = _open_log()
        try:
            self.process = subprocess.Popen(  # -P: files in the working folder shadow no module
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log if log is not None else subprocess.DEVNULL,
            )
        finally:
            if log is not None:
                os.close(log)
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        self._channel = Channel(self.process.stdout, self.process.stdin)  # type: ignore[arg-type]
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self.dead = False
        self.closed = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.send(model)

    def send(self, command: Command) -> None:
        try:
            self._channel.send(command)
        except (OSError, ValueError):  # broken, or closed by another thread
            raise self._stopped() from None

    def reply(self) -> Reply | None:
        """Wait a moment for a reply; raises `EngineStoppedError` where none will come."""
        try:
            reply = self._replies.get(timeout=_POLL_S)
        except queue.Empty:
            return None
        if reply is None:
            raise self._stopped()
        return reply

    def abandon(self, number: int) -> None:
        """Stop a request whose replies nobody wants, and take the rest of them."""
        try:
            self.send(Cancel(number))
            while True:
                reply = self.reply()
                if isinstance(reply, (Done, Weighed, Failed, Broke)) and reply.number == number:
                    return
        except EngineStoppedError:
            return

    def end(self) -> None:
        """Close the pipe, which ends the process, and wait for it."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._listener.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.dead = True

    def _listen(self) -> None:
        while True:
            try:
                message = self._channel.receive()
            except (EOFError, OSError, ValueError):
                self._replies.put(None)
                return
            self._replies.put(message)  # type: ignore[arg-type]  # the child sends replies only

    def _stopped(self) -> EngineStoppedError:
        self.end()
        if self.closed:
            return EngineStoppedError("The model was closed before the answer was complete.")
        code = self.process.returncode
        how = f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was ended by {_signal_name(-code)}"
        return EngineStoppedError(
            f"The engine {how}. Most often the memory was not enough: close other programs or "
            "choose a smaller model, and ask again. "
            f"What it said last is in {log_dir() / ENGINE_LOG_NAME}."
        )


def _here() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # somebody removed the folder that the program was started in
        return None


def _raise(reply: Reply) -> None:
    if isinstance(reply, Failed):
        raise reply.error
    if isinstance(reply, Broke):
        error = EngineBugError(reply.error)
        error.add_note(f"In the engine's process:\n{reply.trace}")
        raise error
    raise EngineBugError(f"The engine said {type(reply).__name__} where it should have opened.")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _open_log() -> int | None:
    """Open the file that takes the process's standard error, None where it cannot be written."""
    path = log_dir() / ENGINE_LOG_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            flags |= os.O_TRUNC
        return os.open(path, flags, 0o600)
    except OSError:
        return None
