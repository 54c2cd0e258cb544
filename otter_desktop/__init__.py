"""Otter Desktop: ask about a video clip or a photo album on your own computer.

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_desktop.assistant.assistant import Assistant
    from otter_desktop.assistant.events import Answer, Event, MediaReady, Notice, SeenFrame, Token
    from otter_desktop.assistant.request import Clip, Example, Options, Photo, Request, Turn
    from otter_desktop.cancel import CancelToken
    from otter_desktop.errors import OtterError

__version__ = "0.1.0.dev0"

_HOMES = {
    "Assistant": "otter_desktop.assistant.assistant",
    "Answer": "otter_desktop.assistant.events",
    "Event": "otter_desktop.assistant.events",
    "MediaReady": "otter_desktop.assistant.events",
    "Notice": "otter_desktop.assistant.events",
    "SeenFrame": "otter_desktop.assistant.events",
    "Token": "otter_desktop.assistant.events",
    "Clip": "otter_desktop.assistant.request",
    "Example": "otter_desktop.assistant.request",
    "Options": "otter_desktop.assistant.request",
    "Photo": "otter_desktop.assistant.request",
    "Request": "otter_desktop.assistant.request",
    "Turn": "otter_desktop.assistant.request",
    "CancelToken": "otter_desktop.cancel",
    "OtterError": "otter_desktop.errors",
}

__all__ = [
    "Answer",
    "Assistant",
    "CancelToken",
    "Clip",
    "Event",
    "Example",
    "MediaReady",
    "Notice",
    "Options",
    "OtterError",
    "Photo",
    "Request",
    "SeenFrame",
    "Token",
    "Turn",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
