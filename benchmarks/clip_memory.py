"""Peak memory and time of looking at a long clip, against a short one of the same kind.

    python benchmarks/clip_memory.py [--minutes 10] [--frames 8] [--keep FOLDER]

Makes a 10-second 1920 x 1080 H.264 clip (25 frames a second, a key frame every 250), repeats
its packets to the long one's length, and looks at each in a process of its own the way a
question does: sampled frames one at a time into 224-pixel input. Prints one JSON object;
`extra_mb` is the long clip's peak resident memory over the short one's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, RATE, SHORT_S = 1920, 1080, 25, 10

_CHILD = """
import json, re, sys, time
from pathlib import Path
begin = time.perf_counter()
from otter_desktop.media import Preprocessing, iter_clip, to_pixels
path, frames = Path(sys.argv[1]), int(sys.argv[2])
look = Preprocessing(224, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
times = []
def seen():
    for frame in iter_clip(path, frames=frames):
        times.append(round(frame.time_s, 3))
        yield frame
ready = time.perf_counter()
pixels = to_pixels(seen(), look)
done = time.perf_counter()
assert pixels.shape[0] == len(times)
# Not ru_maxrss: that begins with what the parent had when it forked.
status = Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024
print(json.dumps({"peak_mb": round(peak, 1), "import_s": round(ready - begin, 3),
                  "look_s": round(done - ready, 3), "times_s": times}))
"""


def write_short(path: Path, height: int = HEIGHT) -> None:
    """Write the short clip: a moving gradient with some noise, so that it has a real size."""
    import av
    import numpy as np

    width = height * WIDTH // HEIGHT // 2 * 2
    noise = np.random.default_rng(0).integers(0, 24, (height, width, 3), np.uint8)
    ramp = (np.arange(width) * 200 // width).astype(np.uint8)[None, :, None]
    options = {"preset": "ultrafast", "g": "250", "sc_threshold": "0", "crf": "28", "bf": "2"}
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(SHORT_S * RATE):
            # Noise that never lies where it lay before is what makes a clip large.
            grain = np.roll(noise, (97 * number % height, 331 * number % width), axis=(0, 1))
            picture = np.roll(ramp, 4 * number, axis=1) + grain
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def write_long(short: Path, path: Path, repeats: int) -> None:
    """Write the short clip's packets again and again: cheap, and a decoder cannot tell."""
    import av

    with av.open(str(path), "w") as output:
        with av.open(str(short)) as source:
            stream = output.add_stream_from_template(source.streams.video[0])
        for turn in range(repeats):
            for packet in _packets(short):
                shift = round(turn * SHORT_S / packet.time_base)
                packet.pts += shift
                packet.dts += shift
                packet.stream = stream
                output.mux(packet)


def _packets(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as source:
        yield from (packet for packet in source.demux(video=0) if packet.size)


def look_at(path: Path, frames: int) -> dict[str, Any]:
    """Look at a clip in a process of its own and return what it measured."""
    command = [sys.executable, "-c", _CHILD, str(path), str(frames)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    result["size_mb"] = round(path.stat().st_size / 1e6, 1)
    return result


def compare(folder: Path, *, repeats: int, frames: int, height: int = HEIGHT) -> dict[str, Any]:
    """Make both clips in a folder where they are missing, look at both, and compare."""
    short, long = folder / f"short-{height}.mp4", folder / f"long-{height}-{repeats}.mp4"
    if not short.exists():
        write_short(short, height)
    if not long.exists():
        write_long(short, long, repeats)
    measured = {"short": look_at(short, frames), "long": look_at(long, frames)}
    extra = measured["long"]["peak_mb"] - measured["short"]["peak_mb"]
    return {**measured, "extra_mb": round(extra, 1)}


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description="Memory and time of looking at a long clip.")
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="folder for the clips, kept for the next run")
    arguments = parser.parse_args()
    repeats = arguments.minutes * 60 // SHORT_S
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        print(json.dumps(compare(arguments.keep, repeats=repeats, frames=arguments.frames)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(compare(Path(folder), repeats=repeats, frames=arguments.frames)))


if __name__ == "__main__":
    main()
