"""Cancellation: one token travels with a request and is checked per frame and per token."""

from __future__ import annotations

import threading

from otter_desktop.errors import Cancelled


class CancelToken:
    """A thread-safe flag that can be set once; work polls it and ends in `Cancelled`."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work that holds this token to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when `cancel` was called."""
        if self._event.is_set():
            raise Cancelled("Stopped.")
