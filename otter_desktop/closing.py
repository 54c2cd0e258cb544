"""What must be closed: `with` closes it too."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Base of everything that owns a file, a process or native memory until `close`."""

    def close(self) -> None:
        """Free what it owns."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
