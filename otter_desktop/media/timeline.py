"""When a clip begins and ends and where its frames lie, measured instead of believed."""

from __future__ import annotations

import math
from itertools import pairwise

from otter_desktop.cancel import CancelToken
from otter_desktop.errors import MediaError, RangeError
from otter_desktop.media.clip_file import ClipFile
from otter_desktop.media.plan import Timeline

# Up to this size every packet is read (not decoded): well under a second, and every time stamp
# is known. Larger files are looked at in three places.
READ_THROUGH_BYTES = 64 << 20
_KEY_PROBE_BYTES = 32 << 20
_KEY_PROBE_PACKETS = 1200
_KEYS_WANTED = 4
# How far past the last frame a range may reach, and how much of a clip may be missing before
# it counts as cut off: players round durations, and the last frames may be damaged.
_SLACK_S = 0.5
_ROUNDING_S = 0.001

# Formats whose headers state the length of the picture stream; the others' is an estimate.
_STATE_LENGTH = ("mov", "matroska", "avi", "asf", "flv")


def measure(clip: ClipFile, cancel: CancelToken | None = None) -> Timeline:
    """Return the clip's timeline; leaves the clip somewhere in the middle.

    Raises `MediaError` where not one packet has a time stamp.
    """
    size = clip.path.stat().st_size
    if size <= READ_THROUGH_BYTES:
        return _read_through(clip, cancel)
    return _look_around(clip, cancel)


def resolve_range(
    clip: ClipFile, timeline: Timeline, start_s: float | None, end_s: float | None
) -> tuple[int, int]:
    """Return the range in ticks, both ends inclusive.

    Times count from the beginning of the clip as players show it. None is the clip's own
    beginning or end; an end up to half a second past the clip's is taken for its end. Raises
    `RangeError` for a range that is empty or reaches outside, `MediaError` where the file is
    cut off before the end of the range.
    """
    tick_s = clip.seconds_per_tick
    length_s = (timeline.end - timeline.zero) * tick_s
    begin_s = 0.0 if start_s is None else start_s
    stop_s = length_s if end_s is None else end_s
    asked = f"{begin_s:g} s to {'its end' if end_s is None else f'{end_s:g} s'}"
    says = f"{clip.name} lasts {length_s:.2f} s"
    if not (math.isfinite(begin_s) and math.isfinite(stop_s)) or begin_s < 0:
        raise RangeError(f"{says}; a range of {asked} makes no sense, choose one inside it.")
    if end_s is not None and stop_s <= begin_s:
        raise RangeError(f"{says}; the range of {asked} is empty, its end must follow its start.")
    _check_whole(clip, timeline, end_s)
    if begin_s >= length_s or stop_s > length_s + _SLACK_S:
        raise RangeError(f"{says}; the range of {asked} lies outside it, choose one inside.")
    low = timeline.zero + math.ceil((begin_s - _ROUNDING_S) / tick_s)
    high = timeline.zero + math.floor((stop_s + _ROUNDING_S) / tick_s)
    return (timeline.first if start_s is None else low), high


def _check_whole(clip: ClipFile, timeline: Timeline, end_s: float | None) -> None:
    # A part that is still there may be asked about; anything further would silently answer
    # about less than the clip.
    tick_s = clip.seconds_per_tick
    if (timeline.declared_end - timeline.end) * tick_s <= _SLACK_S:
        return
    there_s = (timeline.end - timeline.zero) * tick_s
    declared_s = (timeline.declared_end - timeline.zero) * tick_s
    if end_s is None or (there_s < end_s <= declared_s + _SLACK_S):
        raise MediaError(
            f"{clip.name} is cut off: it should last {declared_s:.2f} s but its pictures end at "
            f"{there_s:.2f} s; copy it again, or ask about a range that ends before that."
        )


def _read_through(clip: ClipFile, cancel: CancelToken | None) -> Timeline:
    stamps: set[int] = set()
    keys: set[int] = set()
    last, last_duration = None, 0
    for packet in clip.packets(cancel):
        stamp = clip.stamp(packet)
        if stamp is None:
            continue
        stamps.add(stamp)
        if packet.is_keyframe:
            keys.add(stamp)
        if last is None or stamp >= last:
            last, last_duration = stamp, packet.duration or 0
    if last is None:
        raise _no_times(clip)
    ordered = sorted(stamps)
    return _timeline(clip, ordered[0], last, last_duration, sorted(keys), ordered)


def _look_around(clip: ClipFile, cancel: CancelToken | None) -> Timeline:
    first, keys = _probe_keys(clip, cancel)
    if first is None:
        raise _no_times(clip)
    tick_s = clip.seconds_per_tick
    length = clip.container.duration
    end = round(length / 1e6 / tick_s) + first if length else first
    step = max(1, round(10 / tick_s))
    while True:
        last, last_duration = _probe_end(clip, end, cancel)
        if last is not None:
            return _timeline(clip, first, last, last_duration, keys, None)
        if end <= first:
            return _read_through(clip, cancel)
        end, step = max(first, end - step), step * 2


def _probe_keys(clip: ClipFile, cancel: CancelToken | None) -> tuple[int | None, list[int]]:
    first: int | None = None
    keys: list[int] = []
    size_bytes = 0
    for count, packet in enumerate(clip.packets(cancel)):
        stamp = clip.stamp(packet)
        if stamp is None:
            continue
        size_bytes += packet.size
        first = stamp if first is None else min(first, stamp)
        if packet.is_keyframe:
            keys.append(stamp)
        enough = size_bytes >= _KEY_PROBE_BYTES or count >= _KEY_PROBE_PACKETS
        if len(keys) >= _KEYS_WANTED or (enough and len(keys) > 0):
            break
    return first, keys


def _probe_end(clip: ClipFile, ticks: int, cancel: CancelToken | None) -> tuple[int | None, int]:
    if not clip.seek(ticks):
        clip.reopen()
    last: int | None = None
    duration = 0
    for packet in clip.packets(cancel):
        stamp = clip.stamp(packet)
        if stamp is not None and (last is None or stamp >= last):
            last, duration = stamp, packet.duration or 0
    return last, duration


def _timeline(
    clip: ClipFile,
    first: int,
    last: int,
    last_duration: int,
    keys: list[int],
    stamps: list[int] | None,
) -> Timeline:
    frame_interval = clip.ticks_per_frame
    gaps = sorted(after - before for before, after in pairwise(keys))
    key_interval = gaps[len(gaps) // 2] if gaps else last - first + frame_interval
    zero = _zero(clip, first)
    declared = _declared_length(clip)
    return Timeline(
        zero=zero,
        first=first,
        last=last,
        end=last + (last_duration or frame_interval),
        declared_end=zero + declared if declared else 0,
        key_interval=max(key_interval, frame_interval),
        frame_interval=frame_interval,
        stamps=stamps,
        keys=keys,
    )


def _zero(clip: ClipFile, first: int) -> int:
    # Transport streams start anywhere; players show their first moment as 0. Sound that begins
    # a few milliseconds before 0 (priming) does not move the pictures.
    start = clip.container.start_time
    if clip.stamps_are_decode_order or not start or start < 0:
        return min(0, first)
    return min(first, round(start / 1e6 / clip.seconds_per_tick))


def _declared_length(clip: ClipFile) -> int:
    # In ticks, 0 where the file does not say; of the pictures alone, since sound may be longer.
    if not clip.container.format.name.startswith(_STATE_LENGTH):
        return 0
    if clip.stream.duration:
        return clip.stream.duration
    tag = clip.stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = tag.split(":")
        length_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        alone = len(clip.container.streams) == 1 and clip.container.duration
        length_s = (clip.container.duration or 0) / 1e6 if alone else 0.0
    return round(length_s / clip.seconds_per_tick)


def _no_times(clip: ClipFile) -> MediaError:
    return MediaError(
        f"{clip.name} holds no picture with a time; it is damaged or a raw stream: convert it to "
        "MP4."
    )
