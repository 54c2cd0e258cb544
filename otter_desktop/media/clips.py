"""Clips -> frames: any usual video file, upright frames spread over a range, with true times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from otter_desktop.cancel import CancelToken
from otter_desktop.errors import MediaError
from otter_desktop.media.clip_file import CLIP_EXTENSIONS, ClipFile
from otter_desktop.media.frame_reader import FrameReader
from otter_desktop.media.frames import ClipInfo, Frame
from otter_desktop.media.pixels import thumbnail
from otter_desktop.media.plan import Plan, Timeline, Way, make_plan
from otter_desktop.media.timeline import measure, resolve_range

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def is_clip(path: Path) -> bool:
    """Whether the file name has the extension of a clip that can be opened."""
    return path.suffix.lower() in CLIP_EXTENSIONS


def probe_clip(path: Path) -> ClipInfo:
    """Return what a clip is, having decoded its first frame.

    Raises `MediaError` where the file is missing, empty, damaged, not a clip, without pictures
    or of an unsupported codec.
    """
    with ClipFile(path) as clip:
        timeline = measure(clip)
        stamped = FrameReader(clip, timeline).frame_at(timeline.first, timeline.first, timeline.end)
        if stamped is None:
            raise clip.damaged()
        frame = stamped[1]
        width, height = _square_size(clip, frame)
        turns = _quarter_turns(frame)
        if turns % 2:
            width, height = height, width
        counted = clip.stream.frames if timeline.stamps is None else len(timeline.stamps)
        return ClipInfo(
            path=path,
            duration_s=(timeline.end - timeline.zero) * clip.seconds_per_tick,
            width=width,
            height=height,
            rotation=turns * 90,
            frame_rate=clip.frame_rate,
            codec=clip.stream.codec_context.codec.canonical_name,
            frame_count=counted or None,
        )


def sample_clip(
    path: Path,
    *,
    frames: int,
    start_s: float | None = None,
    end_s: float | None = None,
    max_side: int | None = None,
    cancel: CancelToken | None = None,
) -> list[Frame]:
    """Return `iter_clip` as a list: every frame in memory at once."""
    return list(
        iter_clip(
            path, frames=frames, start_s=start_s, end_s=end_s, max_side=max_side, cancel=cancel
        )
    )


def iter_clip(
    path: Path,
    *,
    frames: int,
    start_s: float | None = None,
    end_s: float | None = None,
    max_side: int | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[Frame]:
    """Yield up to `frames` frames spread evenly over a range of a clip, one in memory at a time.

    The first and the last frame of the range are among them (one frame alone is the middle
    one); none comes twice, so a clip with fewer frames gives fewer. `time_s` is each frame's
    true time, counted from the beginning of the clip as players show it. Where the frames lie
    far apart in a long clip with rare key frames, the key frame nearest to each moment is
    taken. `max_side` scales frames down for showing; leave it out for the model's input.

    Raises `RangeError` for a range outside the clip, `MediaError` where the clip cannot be
    read, `Cancelled` where the token says so, and `ValueError` for fewer than one frame.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, not {frames}")
    with ClipFile(path) as clip:
        timeline = measure(clip, cancel)
        low, high = resolve_range(clip, timeline, start_s, end_s)
        pixels = clip.stream.width * clip.stream.height
        plan = make_plan(timeline, low, high, frames, pixels)
        index = 0
        for stamp, picture in _fetch(clip, timeline, plan, cancel):
            time_s = (stamp - timeline.zero) * clip.seconds_per_tick
            frame = Frame(_upright_rgb(clip, picture), index, time_s, path)
            yield frame if max_side is None else thumbnail(frame, max_side)
            index += 1
        if index == 0:
            raise clip.damaged()


def _fetch(
    clip: ClipFile, timeline: Timeline, plan: Plan, cancel: CancelToken | None
) -> Iterator[tuple[int, VideoFrame]]:
    reader = FrameReader(clip, timeline, cancel)
    latest: int | None = None
    ends = (plan.targets[0], plan.targets[-1])
    for target in plan.targets:
        if cancel is not None:
            cancel.check()
        low = plan.low if latest is None else latest + 1
        stamped = None
        if plan.way is Way.KEY_FRAMES and target not in ends:
            stamped = reader.key_frame_near(target, low, plan.high)
        if stamped is None:
            stamped = reader.frame_at(target, plan.low, plan.high)
        if stamped is None or (latest is not None and stamped[0] <= latest):
            continue
        latest = stamped[0]
        yield stamped


def _upright_rgb(clip: ClipFile, frame: VideoFrame) -> NDArray[np.uint8]:
    from av.error import FFmpegError

    width, height = _square_size(clip, frame)
    try:
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
    except (FFmpegError, ValueError) as error:
        raise MediaError(
            f"{clip.name} has pictures of a kind that cannot be shown ({error}); convert it to "
            "H.264."
        ) from None
    return np.ascontiguousarray(np.rot90(image, _quarter_turns(frame)))


def _square_size(clip: ClipFile, frame: VideoFrame) -> tuple[int, int]:
    # DV, DVD and some phones store pixels that are not square; round things stay round.
    ratio = clip.stream.sample_aspect_ratio
    if not ratio or not 0.2 < ratio < 5:
        return frame.width, frame.height
    return max(1, round(frame.width * ratio)), frame.height


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4
