"""From files to latents, each media item once: memory first, then the cache on disk."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_desktop.assistant.events import Progress, SeenFrame, Stage
from otter_desktop.assistant.request import Clip, Media, Photo
from otter_desktop.cancel import CancelToken
from otter_desktop.errors import FrameLimitError
from otter_desktop.manifest import Manifest
from otter_desktop.media import (
    Frame,
    Preprocessing,
    content_hash,
    iter_clip,
    load_photo,
    to_pixels,
)
from otter_desktop.vision import LatentCache, VisionModel, latent_key

Latents = NDArray[np.float32]
ProgressCall = Callable[[Progress], None]

_REMEMBERED_ITEMS = 64


@dataclass(frozen=True)
class Item:
    """One media item: a clip, a photo, or photos compared as its frames."""

    parts: tuple[Media, ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """A media item's latents (n_latents, V) and the frames that they come from."""

    latents: Latents
    frames: tuple[SeenFrame, ...]
    cached: bool
    media_s: float = 0.0
    vision_s: float = 0.0


class Eyes:
    """Looks at media items with one model; what was seen before costs no vision work."""

    def __init__(self, manifest: Manifest, vision: VisionModel, cache: LatentCache | None) -> None:
        self._manifest = manifest
        self._vision = vision
        self._cache = cache
        rules = asdict(manifest.preprocessing)
        self._preprocessing = Preprocessing(**rules)
        self._memory: OrderedDict[str, Seen] = OrderedDict()
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def look(
        self,
        item: Item,
        cancel: CancelToken | None = None,
        progress: ProgressCall = lambda _: None,
    ) -> Seen:
        """Return an item's latents.

        Raises `MediaError` (`RangeError`, `FrameLimitError`) that names the file, `Cancelled`.
        """
        self._check_frames(item)
        if cancel is not None:
            cancel.check()
        started = time.perf_counter()
        progress(Progress(Stage.MEDIA, item.parts[0].path))
        key = self._key(item, cancel)
        seen = self._recall(key, item)
        if seen is None:
            frames: list[SeenFrame] = []
            pixels = to_pixels(_noted(_frames(item, self._wanted(item), cancel), frames),
                               self._preprocessing)  # fmt: skip
            read = time.perf_counter()
            progress(Progress(Stage.VISION, item.parts[0].path))
            latents = self._vision.encode(pixels, cancel)
            done = time.perf_counter()
            seen = Seen(latents, tuple(frames), False, read - started, done - read)
            self._store(key, seen)
        else:
            seen = Seen(seen.latents, seen.frames, True, time.perf_counter() - started, 0.0)
        self._remember(key, seen)
        return seen

    def _check_frames(self, item: Item) -> None:
        wanted, limit = self._wanted(item), self._manifest.max_frames
        if wanted > limit:
            what = "photos side by side" if len(item.parts) > 1 else "frames"
            raise FrameLimitError(
                f"{wanted} {what} are more than the model {self._manifest.name} takes at once: "
                f"choose at most {limit}."
            )

    def _wanted(self, item: Item) -> int:
        part = item.parts[0]
        if isinstance(part, Clip):
            return part.frames if part.frames is not None else self._manifest.default_frames
        return len(item.parts)

    def _key(self, item: Item, cancel: CancelToken | None) -> str:
        hashes = [self._content_hash(part.path, cancel) for part in item.parts]
        first = item.parts[0]
        clip = first if isinstance(first, Clip) else None
        kind = "clip" if clip else "photo"
        return latent_key(
            f"{kind}:{':'.join(hashes)}",
            start_s=clip.start_s if clip else None,
            end_s=clip.end_s if clip else None,
            frames=self._wanted(item),
            preprocessing_id=self._preprocessing.id,
            vision_hash=self._manifest.vision_hash,
        )

    def _content_hash(self, path: Path, cancel: CancelToken | None) -> str:
        """Return the hash of a file's content, computed once per state of the file."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return content_hash(path)  # which says in words what is wrong
        stamp = (path.resolve(), status.st_size, status.st_mtime_ns)
        if stamp not in self._hashes:
            self._hashes[stamp] = content_hash(path, cancel)
        return self._hashes[stamp]

    def _remember(self, key: str, seen: Seen) -> None:
        self._memory[key] = seen
        self._memory.move_to_end(key)
        while len(self._memory) > _REMEMBERED_ITEMS:
            self._memory.popitem(last=False)

    def _recall(self, key: str, item: Item) -> Seen | None:
        if key in self._memory:
            seen = self._memory[key]
            return Seen(seen.latents, _renamed(seen.frames, item), True)
        if self._cache is None:
            return None
        latents, times = self._cache.get(key), self._cache.get(_times_key(key))
        wanted = (self._vision.n_latents, self._vision.width)
        if latents is None or times is None or latents.shape != wanted:
            return None
        frames = tuple(
            SeenFrame(item.parts[0].path, None if np.isnan(time_s) else float(time_s), index)
            for index, time_s in enumerate(times.view(np.float64)[:, 0])
        )
        return Seen(latents, _renamed(frames, item), True)

    def _store(self, key: str, seen: Seen) -> None:
        if self._cache is None:
            return
        times = [np.nan if frame.time_s is None else frame.time_s for frame in seen.frames]
        # The cache keeps float32: the bits of each float64 lie there as two of them.
        self._cache.put(_times_key(key), np.array(times)[:, None].view(np.float32))
        self._cache.put(key, seen.latents)


def _times_key(key: str) -> str:
    """Return the key under which the frames' times of an item lie, beside its latents."""
    return hashlib.sha256(f"times:{key}".encode()).hexdigest()


def _renamed(frames: tuple[SeenFrame, ...], item: Item) -> tuple[SeenFrame, ...]:
    """Return the frames with the names asked for now: equal files may lie in many places."""
    paths = [part.path for part in item.parts]
    return tuple(
        SeenFrame(paths[frame.index if len(paths) > 1 else 0], frame.time_s, frame.index)
        for frame in frames
    )


def _frames(item: Item, wanted: int, cancel: CancelToken | None) -> Iterator[Frame]:
    for part in item.parts:
        if cancel is not None:
            cancel.check()
        if isinstance(part, Photo):
            yield load_photo(part.path)
        else:
            yield from iter_clip(
                part.path, frames=wanted, start_s=part.start_s, end_s=part.end_s, cancel=cancel
            )


def _noted(frames: Iterator[Frame], seen: list[SeenFrame]) -> Iterator[Frame]:
    """Pass frames on one at a time, so that one full-size picture is in memory."""
    for frame in frames:
        seen.append(SeenFrame(frame.source, frame.time_s, len(seen)))
        yield frame
