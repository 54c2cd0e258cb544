"""Clips that cannot be answered about: one line that says what is wrong and what to do."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from otter_desktop.errors import MediaError, RangeError
from otter_desktop.media import probe_clip, sample_clip

FAST_START = {"movflags": "faststart"}


def _refusal(path: Path, kind: type[MediaError] = MediaError, **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        sample_clip(path, frames=4, **settings)
    message = caught.value.message
    assert "\n" not in message
    assert path.name in message
    return message


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in _refusal(tmp_path / "no.mp4")


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "empty" in _refusal(path)


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in _refusal(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe.mp4"
    os.mkfifo(path)
    assert "not an ordinary file" in _refusal(path)


@pytest.mark.usefixtures("not_root")
def test_a_file_without_permission() -> None:
    # /proc/1/environ is nobody's to read, whoever made the test's own folders.
    assert "may not be read" in _refusal(Path("/proc/1/environ"))


def test_a_name_that_is_no_file_name(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be opened"):
        sample_clip(tmp_path / "a\0b.mp4", frames=1)


def test_a_line_break_in_a_name_does_not_break_the_message(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        sample_clip(tmp_path / "a\nb.mp4", frames=1)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["hello\n" * 100, "#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1/a.ts\n"])
def test_text_named_as_a_clip(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.mp4"
    path.write_text(text)
    assert "is not a clip" in _refusal(path)


def test_a_play_list_reaches_nothing(tmp_path: Path, clips: Any) -> None:
    # A list named as one is opened by FFmpeg, and would lead to other files and hosts.
    clip = clips.make("plain.ts")
    path = tmp_path / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n")
    _refusal(path)


def test_a_picture_named_as_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    Image.new("RGB", (32, 32), "red").save(path, "PNG")
    assert "is a picture" in _refusal(path)


def test_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "noise.mkv"
    path.write_bytes(np.random.default_rng(0).bytes(50_000))
    _refusal(path)


def test_sound_alone(clips: Any) -> None:
    assert "no pictures but sound" in _refusal(clips.make("sound.m4a.mp4", frames=0, sound_s=1.0))


def test_cover_art_is_not_a_clip(tmp_path: Path, clips: Any) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as output:
        cover: Any = output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux(cover.encode(frame))
        output.mux(cover.encode(None))
    assert "no pictures" in _refusal(path)


def test_an_unknown_codec(tmp_path: Path, clips: Any) -> None:
    content = clips.make("plain.mp4", options={"g": "12"}).read_bytes()
    path = tmp_path / "secret.mp4"
    path.write_bytes(content.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    assert "codec" in _refusal(path)


def test_a_clip_without_its_table_of_contents(tmp_path: Path, clips: Any) -> None:
    content = clips.make("plain.mp4", options={"g": "12"}).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: len(content) * 7 // 10])
    assert "cut off" in _refusal(path)


@pytest.mark.parametrize("name", ["fast.mp4", "plain.mkv", "vp8.webm"])
def test_a_clip_cut_off_in_the_middle(tmp_path: Path, clips: Any, name: str) -> None:
    settings: dict[str, Any] = {"frames": 100, "options": {"g": "25"}}
    if name == "fast.mp4":
        settings["container_options"] = FAST_START
    if name == "vp8.webm":
        settings["codec"] = "libvpx"
    whole = clips.make(f"whole-{name}", **settings)
    path = tmp_path / name
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 8 // 10])
    assert "cut off" in _refusal(path)
    # What is still there can be asked about.
    assert len(sample_clip(path, frames=3, start_s=0, end_s=0.5)) == 3


def test_damage_in_the_middle_costs_the_damaged_frames_only(tmp_path: Path, clips: Any) -> None:
    settings = {"frames": 100, "options": {"g": "25"}, "container_options": FAST_START}
    content = bytearray(clips.make("whole-fast.mp4", **settings).read_bytes())
    middle = len(content) * 7 // 10
    content[middle : middle + 100] = b"\xa5" * 100
    path = tmp_path / "scratched.mp4"
    path.write_bytes(content)
    frames = sample_clip(path, frames=5)
    assert frames[0].time_s == 0
    assert frames[-1].time_s == pytest.approx(3.96)


def test_a_damaged_last_frame_leaves_a_clip_that_works(tmp_path: Path, clips: Any) -> None:
    settings = {"frames": 100, "options": {"g": "25"}, "container_options": FAST_START}
    content = clips.make("whole-fast.mp4", **settings).read_bytes()
    path = tmp_path / "nearly.mp4"
    path.write_bytes(content[:-40])
    frames = sample_clip(path, frames=5)
    assert len(frames) == 5
    assert frames[-1].time_s == pytest.approx(3.96, abs=0.3)


def test_a_clip_of_which_nothing_decodes(tmp_path: Path, clips: Any) -> None:
    settings = {"frames": 100, "options": {"g": "25"}, "container_options": FAST_START}
    content = bytearray(clips.make("whole-fast.mp4", **settings).read_bytes())
    start = content.rindex(b"mdat") + 4
    content[start:] = np.random.default_rng(1).bytes(len(content) - start)
    path = tmp_path / "destroyed.mp4"
    path.write_bytes(content)
    assert "no picture that can be decoded" in _refusal(path)


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [(5.0, 6.0), (2.0, None), (1.0, 5.0), (-1.0, 1.0), (1.0, 1.0), (1.5, 0.5), (math.nan, 1.0)],
)
def test_a_range_outside_the_clip_is_refused_with_the_clips_length(
    clips: Any, start_s: float, end_s: float | None
) -> None:
    path = clips.make("plain.mp4", options={"g": "12"})
    assert "lasts 2.00 s" in _refusal(path, RangeError, start_s=start_s, end_s=end_s)


def test_an_end_just_past_the_clips_end_is_its_end(clips: Any) -> None:
    path = clips.make("plain.mp4", options={"g": "12"})
    assert sample_clip(path, frames=2, end_s=2.4)[-1].time_s == pytest.approx(1.96)


def test_no_frames_is_a_mistake_of_the_caller(clips: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sample_clip(clips.make("plain.mp4", options={"g": "12"}), frames=0)


def test_probing_refuses_what_sampling_refuses(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("hello")
    with pytest.raises(MediaError, match="not a clip"):
        probe_clip(path)
