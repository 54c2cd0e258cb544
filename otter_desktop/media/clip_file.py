"""An open clip: its picture stream, its packets, seeking, and what can be wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from otter_desktop.cancel import CancelToken
from otter_desktop.closing import Closing
from otter_desktop.errors import MediaError
from otter_desktop.media.files import mp4_ends_early, read_header, shown

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

CLIP_EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg"}
    | {".mpeg", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".dv"}
)

# Demuxers that a file dressed up as a clip could reach: pictures, text, and lists that name
# other files.
_NOT_CLIPS = frozenset({"image2", "tty", "hls", "concat", "dash", "sdp", "ffmetadata", "webvtt"})
_DECODER_THREADS = 4


class ClipFile(Closing):
    """An open file with one picture stream; closes with `close` or as a context manager.

    Raises `MediaError` when the file cannot be opened, has no pictures or an unknown codec.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = shown(path)
        self._header = read_header(path)
        self.container: InputContainer = self._open()
        try:
            self.stream: VideoStream = self._choose_stream()
        except BaseException:
            self.container.close()
            raise

    def close(self) -> None:
        """Close the file and free the decoder."""
        self.container.close()

    def reopen(self) -> None:
        """Go back to the very first packet, which seeking does not reach in every format."""
        self.container.close()
        self.container = self._open()
        self.stream = self._choose_stream()

    @property
    def seconds_per_tick(self) -> float:
        """The unit of the stream's time stamps."""
        base = self.stream.time_base
        return float(base) if base else 1 / 90_000

    @property
    def ticks_per_frame(self) -> int:
        """The usual distance of two frames in ticks, at least 1."""
        rate = self.frame_rate
        return max(1, round(1 / (rate * self.seconds_per_tick)))

    @property
    def frame_rate(self) -> float:
        """Frames per second as the file tells or the demuxer guesses; 25 where neither does."""
        for rate in (self.stream.average_rate, self.stream.guessed_rate):
            if rate:
                return float(rate)
        return 25.0

    @property
    def stamps_are_decode_order(self) -> bool:
        """Whether the container keeps no presentation times (AVI), only an order of packets."""
        return self.container.format.name == "avi"

    @property
    def seeking_spoils_stamps(self) -> bool:
        """Whether time stamps after a seek can be half a frame off (MPEG program streams)."""
        return self.container.format.name == "mpeg"

    def stamp(self, packet: Packet[VideoStream]) -> int | None:
        """Return when the packet's frame is shown, in ticks; None where nothing says so."""
        if self.stamps_are_decode_order:
            return packet.dts
        return packet.dts if packet.pts is None else packet.pts

    def packets(self, cancel: CancelToken | None = None) -> Iterator[Packet[VideoStream]]:
        """Yield the picture packets from here on; a damaged or missing tail ends them."""
        from av.error import FFmpegError

        demuxer = self.container.demux(self.stream)
        while True:
            if cancel is not None:
                cancel.check()
            try:
                packet = next(demuxer)
            except (StopIteration, FFmpegError):
                return
            except IndexError:
                # A stream that appears in the middle of a transport stream: PyAV's demuxer
                # does not know it, one that starts here does.
                demuxer = self.container.demux(self.stream)
                continue
            if packet.size and not packet.is_corrupt and not packet.is_discard:
                yield packet

    def seek(self, ticks: int) -> bool:
        """Go to the key frame at or before a moment; False where the format cannot."""
        from av.error import FFmpegError

        try:
            self.container.seek(ticks, stream=self.stream)
        except (FFmpegError, OverflowError):
            return False
        return True

    def _open(self) -> InputContainer:
        import av
        from av.error import FFmpegError

        try:
            # An absolute path cannot be taken for a URL; the white list keeps play lists from
            # reaching the network.
            container = av.open(
                os.path.abspath(self.path),  # noqa: PTH100 - no symlink must be resolved
                mode="r",
                options={"protocol_whitelist": "file"},
                metadata_errors="ignore",
            )
        except (FFmpegError, ValueError) as error:
            raise self._cannot_open(error) from None
        name = container.format.name
        if name in _NOT_CLIPS or name.endswith("_pipe"):
            container.close()
            what = "a picture" if name.endswith("_pipe") or name == "image2" else "not a clip"
            raise MediaError(f"{self.name} is {what}; give an MP4, MOV, MKV, WebM or AVI file.")
        return container

    def _choose_stream(self) -> VideoStream:
        from av.codec.context import ThreadType
        from av.stream import Discard, Disposition

        videos = [
            stream
            for stream in self.container.streams.video
            # Cover art of a sound file is a "video" stream with one picture.
            if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
        ]
        if not videos:
            sound = " but sound" if self.container.streams.audio else ""
            raise MediaError(f"{self.name} holds no pictures{sound}; give a clip with pictures.")
        marked = [stream for stream in videos if stream.disposition & Disposition.default]
        stream = (marked or videos)[0]
        if getattr(stream, "codec_context", None) is None:
            # What PyAV leaves where FFmpeg has no decoder; its type says otherwise.
            mp4 = self._header[4:8] == b"ftyp"
            raise self._cut_off() if mp4 and mp4_ends_early(self.path) else self._unsupported()
        for other in self.container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        stream.thread_type = ThreadType.SLICE
        stream.codec_context.thread_count = min(_DECODER_THREADS, os.cpu_count() or 1)
        return stream

    def damaged(self) -> MediaError:
        """Return the error for a clip none of whose frames can be decoded."""
        return MediaError(
            f"{self.name} holds no picture that can be decoded: it is damaged, or its codec is "
            "not supported; copy it again or convert it to H.264."
        )

    def _cut_off(self) -> MediaError:
        return MediaError(
            f"{self.name} is cut off or damaged: its table of contents is missing; copy it again "
            "from where it came."
        )

    def _unsupported(self) -> MediaError:
        return MediaError(
            f"{self.name} uses a video codec that cannot be decoded here; convert it to H.264 "
            "first."
        )

    def _cannot_open(self, error: Exception) -> MediaError:
        from av.error import InvalidDataError

        if not isinstance(error, (InvalidDataError, EOFError)):
            reason = getattr(error, "strerror", None) or str(error)
            return MediaError(f"{self.name} cannot be opened ({reason}); convert it to MP4.")
        if self._header[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
            return self._cut_off()
        return MediaError(
            f"{self.name} is not a clip, or it is damaged; give an MP4, MOV, MKV, WebM or AVI file."
        )
