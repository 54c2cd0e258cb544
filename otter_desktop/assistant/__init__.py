"""The assistant: composes media, vision, text and decoder into answers.

`Engine` does the work in one process; `Assistant` is what programs use: it keeps the engine in
a process of its own. Both load on first use, so that importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otter_desktop.assistant.assistant import Assistant
    from otter_desktop.assistant.engine import Engine

__all__ = ["Assistant", "Engine"]

_HOMES = {
    "Assistant": "otter_desktop.assistant.assistant",
    "Engine": "otter_desktop.assistant.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
