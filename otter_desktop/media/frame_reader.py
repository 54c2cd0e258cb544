"""Decoding: the frame on the screen at a moment, with as little decoding as that allows."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from otter_desktop.cancel import CancelToken
from otter_desktop.media.clip_file import ClipFile
from otter_desktop.media.plan import Timeline

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SEEK_ATTEMPTS = 4

Stamped = tuple[int, "VideoFrame"]


class FrameReader:
    """Reads frames at ascending moments; holds two decoded frames at most."""

    def __init__(
        self, clip: ClipFile, timeline: Timeline, cancel: CancelToken | None = None
    ) -> None:
        self._clip = clip
        self._timeline = timeline
        self._cancel = cancel
        self._frames: Iterator[Stamped] = iter(())
        self._shown: Stamped | None = None
        self._next: Stamped | None = None
        self._started = False
        # A small file is rather decoded from its start than answered with wrong times.
        self._seekable = timeline.stamps is None or not clip.seeking_spoils_stamps

    def frame_at(self, target: int, low: int, high: int) -> Stamped | None:
        """Return the frame on the screen at `target` ticks; None where nothing decodes.

        A frame that began before `low` is passed over when the next one begins by `high`.
        """
        if self._should_seek(target):
            self._start_at(target)
        while self._next is not None and self._next[0] <= target:
            self._advance()
        if self._next is not None and (self._shown is None or self._shown[0] < low):
            if self._next[0] <= high:
                self._advance()
            elif self._shown is None:
                return self._next
        return self._shown

    def key_frame_near(self, target: int, low: int, high: int) -> Stamped | None:
        """Return the key frame nearest to `target` within [low, high], decoding only that."""
        goal = min(high, target + self._timeline.key_interval // 2)
        self._started = False
        if not self._clip.seek(goal):
            return None
        packet = self._first_key()
        stamp = None if packet is None else self._clip.stamp(packet)
        if packet is None or stamp is None or not low <= stamp <= high:
            return None
        # One packet and the end of the stream: the decoder has nothing to wait for.
        frames = self._decode(iter((packet,)), flush=True)
        return next(frames, None)

    def _should_seek(self, target: int) -> bool:
        if not self._started:
            return True
        if not self._seekable:
            return False
        latest = self._next or self._shown
        if latest is None:
            return True
        if self._timeline.stamps is None:
            return target - latest[0] > self._timeline.key_interval
        keys = self._timeline.keys
        # Only a key frame between here and there saves any decoding.
        return bisect.bisect_right(keys, target) > bisect.bisect_right(keys, latest[0])

    def _start_at(self, target: int) -> None:
        self._started = True
        self._shown = self._next = None
        packets = self._packets_from(target)
        self._frames = self._decode(packets, flush=True)
        self._advance()

    def _packets_from(self, target: int) -> Iterator[Packet[VideoStream]]:
        # Formats without an index (MPEG-TS) land after the moment asked for, and an index by
        # decoding time lands on a key frame shown later: go back until one lies before it.
        goal = target
        for attempt in range(_SEEK_ATTEMPTS if self._seekable else 0):
            if goal <= self._timeline.first or not self._clip.seek(goal):
                break
            packet = self._first_key()
            stamp = None if packet is None else self._clip.stamp(packet)
            if packet is not None and stamp is not None and stamp <= target:
                return chain((packet,), self._clip.packets(self._cancel))
            reached = goal if stamp is None else min(goal, stamp)
            goal = reached - 1 - attempt * attempt * self._timeline.key_interval
        else:
            self._seekable = False
        self._clip.reopen()
        return self._clip.packets(self._cancel)

    def _first_key(self) -> Packet[VideoStream] | None:
        packets = self._clip.packets(self._cancel)
        return next((packet for packet in packets if packet.is_keyframe), None)

    def _advance(self) -> None:
        self._shown = self._next or self._shown
        self._next = next(self._frames, None)

    def _decode(self, packets: Iterator[Packet[VideoStream]], *, flush: bool) -> Iterator[Stamped]:
        from av.error import FFmpegError

        stream = self._clip.stream
        waiting: list[int] = []
        latest: int | None = None
        last: tuple[Packet[VideoStream] | None, ...] = (None,) if flush else ()
        for packet in chain(packets, last):
            if packet is not None and packet.dts is not None:
                heapq.heappush(waiting, packet.dts)
            try:
                frames = stream.decode(packet)
            except FFmpegError:
                # A damaged packet costs its own frames, not the clip.
                continue
            for frame in frames:
                stamp = self._stamp(frame, waiting)
                # Pictures in front of a key frame that was sought need frames that were not
                # decoded; a stamp that does not ascend is one of those or damaged.
                if stamp is None or frame.is_corrupt or (latest is not None and stamp <= latest):
                    continue
                latest = stamp
                yield stamp, frame

    def _stamp(self, frame: VideoFrame, waiting: list[int]) -> int | None:
        if self._clip.stamps_are_decode_order:
            # Frames come out in the order they are shown in: the earliest slot is theirs.
            return heapq.heappop(waiting) if waiting else None
        return frame.dts if frame.pts is None else frame.pts
