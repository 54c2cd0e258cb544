"""Content hashes: SHA-256 of files, read in pieces so that memory stays flat."""

from __future__ import annotations

import hashlib
from pathlib import Path

from otter_desktop.cancel import CancelToken

_PIECE_BYTES = 1 << 20


def sha256_file(path: Path, cancel: CancelToken | None = None) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits.

    Raises `OSError` where the file cannot be read, `Cancelled` where the token says so.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if cancel is not None:
                cancel.check()
            digest.update(piece)
    return digest.hexdigest()
