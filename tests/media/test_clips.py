"""Clips: the right frames with their true times, in every container and codec."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from otter_desktop.cancel import CancelToken
from otter_desktop.errors import Cancelled
from otter_desktop.media import Frame, is_clip, iter_clip, plan, probe_clip, sample_clip, timeline

KINDS = {
    "plain.mp4": {},
    "plain.mov": {},
    "plain.mkv": {},
    "plain.avi": {"options": {"bf": "2"}},
    "asp.avi": {"codec": "mpeg4"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "plain.ts": {},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"},
    },
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
}


def _settings(kind: str) -> dict[str, Any]:
    settings: dict[str, Any] = dict(KINDS[kind])
    codec = settings.get("codec", "libx264")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec} encoder")
    settings["options"] = {"g": "12", **settings.get("options", {})}
    return settings


def _numbers(clips: Any, frames: list[Frame]) -> list[int]:
    return [clips.number(frame.image) for frame in frames]


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_and_codec_gives_both_ends_and_true_times(clips: Any, kind: str) -> None:
    path = clips.make(kind, **_settings(kind))
    frames = sample_clip(path, frames=8)
    numbers = _numbers(clips, frames)
    assert numbers[0] == 0
    assert numbers[-1] == 49
    assert numbers == pytest.approx(np.linspace(0, 49, 8), abs=1)
    assert [frame.time_s for frame in frames] == pytest.approx([n / 25 for n in numbers], abs=0.025)
    assert [frame.index for frame in frames] == list(range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_holds_frames_of_the_range_only(clips: Any, kind: str) -> None:
    path = clips.make(kind, **_settings(kind))
    frames = sample_clip(path, frames=4, start_s=0.79, end_s=1.41)
    assert _numbers(clips, frames) == [20, 25, 30, 35]


@pytest.mark.parametrize("kind", KINDS)
def test_files_too_large_to_read_through_give_the_same_frames(
    clips: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips.make(kind, **_settings(kind))
    monkeypatch.setattr(timeline, "READ_THROUGH_BYTES", 0)
    frames = sample_clip(path, frames=8)
    numbers = _numbers(clips, frames)
    assert (numbers[0], numbers[-1]) == (0, 49)
    assert numbers == pytest.approx(np.linspace(0, 49, 8), abs=1)
    # The stamps of a program stream are interpolated and half a frame off after a seek.
    slack = 0.021 if kind == "mpeg2.mpg" else 0.002
    assert [frame.time_s for frame in frames] == pytest.approx([n / 25 for n in numbers], abs=slack)
    assert probe_clip(path).duration_s == pytest.approx(2.0, abs=slack)
    middle = sample_clip(path, frames=4, start_s=0.79, end_s=1.41)
    assert _numbers(clips, middle) == pytest.approx([20, 25, 30, 35], abs=1)


def test_times_are_the_decoders_own(clips: Any) -> None:
    path = clips.make("b-frames.mp4", options={"bf": "3", "g": "25"})
    every = clips.decoder_times(path)
    frames = sample_clip(path, frames=10)
    assert [frame.time_s for frame in frames] == pytest.approx(
        [every[number] for number in _numbers(clips, frames)]
    )


def test_variable_frame_rate_is_sampled_by_time_not_by_number(clips: Any) -> None:
    # Twenty frames in the first 0.4 s, then one every second.
    times = [20 * n for n in range(20)] + [1000 * n for n in range(1, 11)]
    path = clips.make("vfr.mp4", frames=30, times_ms=times)
    frames = sample_clip(path, frames=6)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 2, 4, 6, 8, 10])
    assert _numbers(clips, frames) == [0, 21, 23, 25, 27, 29]


def test_moments_without_a_frame_of_their_own_take_a_neighbour_never_a_duplicate(
    clips: Any,
) -> None:
    times = [20 * n for n in range(20)] + [10_000]
    path = clips.make("gap.mkv", frames=21, times_ms=times)
    frames = sample_clip(path, frames=5)
    numbers = _numbers(clips, frames)
    assert len(set(numbers)) == 5
    assert (numbers[0], numbers[-1]) == (0, 20)
    assert [frame.time_s for frame in frames] == pytest.approx([times[n] / 1000 for n in numbers])


def test_a_clip_with_fewer_frames_gives_each_once(clips: Any) -> None:
    frames = sample_clip(clips.make("short.mp4", frames=3), frames=16)
    assert _numbers(clips, frames) == [0, 1, 2]


def test_one_frame_is_the_middle_one(clips: Any) -> None:
    (frame,) = sample_clip(clips.make("plain.mp4", options={"g": "12"}), frames=1)
    assert clips.number(frame.image) in (24, 25)


def test_a_range_between_two_frames_gives_the_frame_on_the_screen(clips: Any) -> None:
    path = clips.make("slow.mp4", frames=5, rate=1)
    (frame,) = sample_clip(path, frames=4, start_s=2.3, end_s=2.6)
    assert clips.number(frame.image) == 2
    assert frame.time_s == pytest.approx(2.0)


def test_an_open_end_reaches_the_last_frame(clips: Any) -> None:
    path = clips.make("plain.mp4", options={"g": "12"})
    assert _numbers(clips, sample_clip(path, frames=2, start_s=1.0)) == [25, 49]


def test_long_groups_of_pictures_are_decoded_to_the_exact_frame(clips: Any) -> None:
    path = clips.make("gop250.mp4", frames=300, options={"g": "250", "bf": "2"})
    frames = sample_clip(path, frames=5, start_s=9.0, end_s=11.8)
    assert _numbers(clips, frames) == pytest.approx([225, 242, 260, 278, 295], abs=1)


def test_transport_stream_seeks_that_land_late_still_give_the_exact_frame(clips: Any) -> None:
    path = clips.make("gop.ts", frames=200, options={"g": "50"})
    for number in (3, 48, 51, 99, 149, 151, 198):
        (frame,) = sample_clip(path, frames=1, start_s=number / 25, end_s=(number + 0.4) / 25)
        assert clips.number(frame.image) == number


def test_sound_longer_than_the_pictures_does_not_stretch_the_clip(clips: Any) -> None:
    for name in ("sound.mp4", "sound.mkv"):
        path = clips.make(name, frames=25, sound_s=4.0)
        assert probe_clip(path).duration_s == pytest.approx(1.0, abs=0.05)
        assert _numbers(clips, sample_clip(path, frames=3)) == [0, 12, 24]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_the_clips_rotation_is_applied(clips: Any, rotation: int) -> None:
    path = clips.make(f"turned{rotation}.mp4", frames=4, rotation=rotation)
    (frame,) = sample_clip(path, frames=1)
    assert clips.number(np.rot90(frame.image, -rotation // 90)) in (1, 2)
    info = probe_clip(path)
    assert (info.height, info.width) == frame.image.shape[:2]
    assert info.rotation == rotation


def test_pixels_that_are_not_square_are_made_square(clips: Any) -> None:
    path = clips.make("anamorphic.mp4", frames=3, aspect=Fraction(3, 2))
    assert sample_clip(path, frames=1)[0].image.shape == (48, 120, 3)
    assert (probe_clip(path).width, probe_clip(path).height) == (120, 48)


def test_probing_tells_what_the_clip_is(clips: Any) -> None:
    info = probe_clip(clips.make("plain.mp4", options={"g": "12"}))
    assert info.duration_s == pytest.approx(2.0)
    assert (info.width, info.height, info.rotation) == (80, 48, 0)
    assert (info.frame_rate, info.codec, info.frame_count) == (25.0, "h264", 50)


def test_a_length_the_file_does_not_state_is_measured(clips: Any, tmp_path: Path) -> None:
    # What browsers record: WebM written to a pipe, without a duration.
    path = clips.make("live.webm", codec="libvpx", container_options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe_clip(path).duration_s == pytest.approx(2.0)
    assert _numbers(clips, sample_clip(path, frames=2)) == [0, 49]


def test_cancelling_stops_between_frames(clips: Any) -> None:
    token = CancelToken()
    frames = iter_clip(clips.make("plain.mp4", options={"g": "12"}), frames=8, cancel=token)
    next(frames)
    token.cancel()
    with pytest.raises(Cancelled):
        next(frames)


def test_max_side_scales_frames_down_for_showing(clips: Any) -> None:
    path = clips.make("plain.mp4", options={"g": "12"})
    assert sample_clip(path, frames=1, max_side=40)[0].image.shape == (24, 40, 3)


def test_colours_of_high_definition_clips_are_right(tmp_path: Path) -> None:
    # BT.709 read as BT.601 would turn this green visibly yellower.
    path = tmp_path / "green.mp4"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = 1
        stream.codec_context.color_range = 1
        # (20, 200, 60) in BT.709, limited range.
        frame = av.VideoFrame(64, 64, "yuv420p")
        red, green, blue = 20 / 255, 200 / 255, 60 / 255
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        planes = (
            16 + 219 * luma,
            128 + 224 * (blue - luma) / 1.8556,
            128 + 224 * (red - luma) / 1.5748,
        )
        for plane, value in zip(frame.planes, planes, strict=True):
            plane.update(bytes([round(value)]) * plane.buffer_size)
        frame.colorspace = 1
        frame.color_range = 1
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    (sampled,) = sample_clip(path, frames=1)
    assert sampled.image[32, 32].tolist() == pytest.approx([20, 200, 60], abs=4)


def test_extensions_tell_clips_from_other_files() -> None:
    assert is_clip(Path("a.MP4"))
    assert is_clip(Path("b.m2ts"))
    assert not is_clip(Path("c.jpg"))


def test_rare_frames_of_a_long_clip_are_its_key_frames_between_exact_ends(
    clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips.make("long.mp4", frames=500, options={"g": "20", "sc_threshold": "0"})
    monkeypatch.setattr(plan, "_EXACT_BUDGET_PIXELS", 0)
    frames = sample_clip(path, frames=6, start_s=0.12, end_s=19.8)
    numbers = _numbers(clips, frames)
    assert (numbers[0], numbers[-1]) == (3, 495)
    assert all(number % 20 == 0 for number in numbers[1:-1])
    assert numbers == pytest.approx(np.linspace(3, 495, 6), abs=10)
    assert [frame.time_s for frame in frames] == pytest.approx([n / 25 for n in numbers])


def test_frames_are_exact_where_that_is_cheap(clips: Any) -> None:
    path = clips.make("long.mp4", frames=500, options={"g": "20", "sc_threshold": "0"})
    numbers = _numbers(clips, sample_clip(path, frames=6))
    assert numbers == pytest.approx(np.linspace(0, 499, 6), abs=1)
