"""First looks at a file: does it exist, can it be read, is there anything in it, is it the same."""

from __future__ import annotations

import stat
from pathlib import Path

from otter_desktop.cancel import CancelToken
from otter_desktop.errors import MediaError
from otter_desktop.hashing import sha256_file

HEADER_BYTES = 64


def shown(path: Path) -> str:
    """Return a path as it can stand in a one-line message, whatever characters it has."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def read_header(path: Path) -> bytes:
    """Return the first bytes of a readable, regular, non-empty file.

    Raises `MediaError` saying which of that it is not.
    """
    name = shown(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise MediaError(f"{name} is a folder; give a photo or a clip inside it.")
        if not stat.S_ISREG(mode):
            # Opening a pipe would wait for ever.
            raise MediaError(f"{name} is not an ordinary file; give a photo or a clip.")
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from None
    if not header:
        raise MediaError(f"{name} is empty (0 bytes); copy it again from where it came.")
    return header


def content_hash(path: Path, cancel: CancelToken | None = None) -> str:
    """Return the SHA-256 of a photo or clip.

    Raises `MediaError` as `read_header` does, `Cancelled` where the token says so.
    """
    read_header(path)
    try:
        return sha256_file(path, cancel)
    except OSError as error:
        raise _unreadable(shown(path), error) from None


def _unreadable(name: str, error: OSError | ValueError) -> MediaError:
    if isinstance(error, FileNotFoundError):
        return MediaError(f"{name} does not exist; check the path.")
    if isinstance(error, PermissionError):
        return MediaError(f"{name} may not be read; change its permissions or copy it.")
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(f"{name} cannot be opened ({reason}); check the path.")


def mp4_ends_early(path: Path) -> bool:
    """Whether an MP4 or MOV file ends inside one of its boxes (ISO/IEC 14496-12, 4.2)."""
    size_bytes = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position < size_bytes:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length == 0:  # up to the end of the file
                return False
            if length < 8:
                return True
            position += length
    return position > size_bytes
