"""The latent cache: what was once looked at need not be looked at again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"OTTERLT1"
_DIGEST_BYTES = 32
_SHAPE = struct.Struct("<II")
_SUFFIX = ".latents"
_PART_SUFFIX = ".part"
# A temporary file this old belongs to a process that died while writing.
_STALE_PART_S = 3600.0


def latent_key(
    content_hash: str,
    *,
    start_s: float | None,
    end_s: float | None,
    frames: int,
    preprocessing_id: str,
    vision_hash: str,
) -> str:
    """Return the cache key (64 hexadecimal digits) of everything that the latents depend on."""
    parts = [content_hash, start_s, end_s, frames, preprocessing_id, vision_hash]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class LatentCache:
    """Latents (n_latents, width) float32 in a folder, bounded in size, oldest use out first.

    Several processes may share the folder: files appear whole (written aside, then renamed),
    carry the hash of their content, and one that does not match it is removed. A cache that
    cannot write (full disk, read-only folder) forgets instead of failing the request.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def get(self, key: str) -> NDArray[np.float32] | None:
        """Return the latents kept under a key, None where there are none or they are damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        latents = _decode(content)
        if latents is None:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # the time of last use, for the order of eviction
        return latents

    def put(self, key: str, latents: NDArray[np.float32]) -> None:
        """Keep latents under a key, then drop the least recently used ones past the limit."""
        path = self._path(key)
        content = _encode(latents)
        if len(content) > self._limit_bytes:
            return
        part = path.with_name(f"{key}.{os.getpid()}-{os.urandom(4).hex()}{_PART_SUFFIX}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink()
            return
        self._evict(keep=path)

    def size_bytes(self) -> int:
        """Return the disk space in use."""
        return sum(size for _, size, _ in self._entries())

    def clear(self) -> None:
        """Remove everything that is kept."""
        for _, _, path in self._entries():
            with suppress(OSError):
                path.unlink()

    def _path(self, key: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", key):
            raise ValueError(f"not a cache key: {key!r}")
        return self._folder / f"{key}{_SUFFIX}"

    def _evict(self, keep: Path) -> None:
        entries = sorted(self._entries())
        used = sum(size for _, size, _ in entries)
        now_ns = time.time_ns()
        for used_ns, size, path in entries:
            part = path.suffix == _PART_SUFFIX
            if part and now_ns - used_ns < _STALE_PART_S * 1e9:
                continue
            if path == keep or (not part and used <= self._limit_bytes):
                continue
            # Another process may have removed it already, or hold it open (Windows).
            with suppress(OSError):
                path.unlink()
                used -= size

    def _entries(self) -> Iterator[tuple[int, int, Path]]:
        # (time of last use in ns, size in bytes, path)
        try:
            listing = list(os.scandir(self._folder))
        except OSError:
            return
        for entry in listing:
            if entry.name.endswith((_SUFFIX, _PART_SUFFIX)):
                with suppress(OSError):
                    status = entry.stat()
                    yield status.st_mtime_ns, status.st_size, Path(entry.path)


def _encode(latents: NDArray[np.float32]) -> bytes:
    if latents.ndim != 2 or latents.dtype != np.float32:
        raise ValueError(f"latents must be 2-D float32, not {latents.shape} {latents.dtype}")
    body = _SHAPE.pack(*latents.shape) + np.ascontiguousarray(latents, "<f4").tobytes()
    return _MAGIC + hashlib.sha256(body).digest() + body


def _decode(content: bytes) -> NDArray[np.float32] | None:
    start = len(_MAGIC) + _DIGEST_BYTES
    magic, digest, body = content[: len(_MAGIC)], content[len(_MAGIC) : start], content[start:]
    if magic != _MAGIC or hashlib.sha256(body).digest() != digest:
        return None
    shape = _SHAPE.unpack_from(body)
    values = np.frombuffer(body, "<f4", offset=_SHAPE.size)
    return values.reshape(shape).astype(np.float32)
