"""`otter ask` through its real process: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otter_desktop.cli import main

ROOT = Path(__file__).parents[2]
Run = Callable[..., "Result"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def ask(package: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `otter ask` in this process, on the tiny package."""

    def run(*arguments: object) -> Result:
        words = ["ask", "--model", package, "--device", "cpu", "--threads", 1, "--max-tokens", 4]
        try:
            code = main([str(word) for word in (*words, *arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run


def test_the_answer_goes_to_standard_output_with_a_line_of_what_was_seen(
    ask: Run, clip: Path
) -> None:
    result = ask("--video", clip, "--start", "0.5", "--end", "0:01.5", "--frames", 3, "What?")
    assert result.code == 0
    *answer, seen = result.out.splitlines()
    assert "".join(answer).strip()
    assert seen.startswith("[saw clip.mp4 at 0.50 1.00 1.50 s")


def test_json_prints_one_object_a_line_as_documented(ask: Run, album: Path) -> None:
    result = ask("--json", "--image", album / "1.png", "What?")
    assert result.code == 0
    kinds = [line["event"] for line in result.lines]
    assert kinds[0] == "media"
    assert kinds[-1] == "answer"
    assert set(kinds[1:-1]) == {"token"}
    last = result.lines[-1]
    assert last["frames"] == [{"file": str(album / "1.png"), "time_s": None, "index": 0}]
    assert {"text", "timings", "model", "device"} <= set(last)
    text = "".join(line["text"] for line in result.lines if line["event"] == "token")
    assert text.strip().strip('"').strip() == last["text"]


def test_a_bad_file_of_an_album_is_named_and_the_others_are_answered(ask: Run, album: Path) -> None:
    result = ask("--album", album, "Which?")
    assert result.code == 0
    assert [line for line in result.err.splitlines() if "3 bad.png" in line]
    assert "[saw 1.png, 2.png" in result.out
    lines = ask("--json", "--album", album, "Which?").lines
    (notice,) = [line for line in lines if line["event"] == "notice"]
    assert notice["code"] == "media"
    assert notice["file"] == str(album / "3 bad.png")


def test_examples_from_the_command_line_and_from_a_file_are_shown_first(
    ask: Run, album: Path, clip: Path
) -> None:
    listed = [{"files": ["1.png"], "question": "What?", "answer": "A cat."}]
    (album / "set.json").write_text(json.dumps(listed))
    result = ask(
        "--json", "--examples", album / "set.json", "--example", f"{clip}::What?::A dog.",
        "--image", album / "2.png", "And this?",
    )  # fmt: skip
    media = [line for line in result.lines if line["event"] == "media"]
    assert [line["example"] for line in media] == [True, True, False]
    files = [Path(line["frames"][0]["file"]).name for line in media]
    assert files == ["1.png", "clip.mp4", "2.png"]


def test_compared_photos_are_one_item(ask: Run, album: Path) -> None:
    result = ask(
        "--json", "--compare", "--image", album / "1.png", "--image", album / "2.png", "Differ?"
    )
    (media,) = [line for line in result.lines if line["event"] == "media"]
    assert len(media["frames"]) == 2


def test_writing_options_reach_the_answer(ask: Run, album: Path) -> None:
    def drawn(seed: int) -> str:
        options = ["--temperature", 2, "--top-k", 50, "--seed", seed]
        result = ask("--json", *options, "--image", album / "1.png", "What?")
        return str(result.lines[-1]["text"])

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2) or drawn(1) != drawn(3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--image", "gone.png", "What?"], "media", "gone.png does not exist"),
        (["--image", "{album}", "What?"], "media", "is a folder"),
        (["--image", "{album}/3 bad.png", "What?"], "media", "3 bad.png"),
        (["--video", "{album}/1.png", "--start", "50", "What?"], "media", "1.png"),
        (["--video", "{clip}", "--start", "50", "What?"], "range", "clip.mp4"),
        (["--video", "{clip}", "--start", "2", "--end", "1", "What?"], "range", "empty"),
        (["--video", "{clip}", "--frames", "99", "What?"], "frame_limit", "at most"),
        (["--video", "{clip}", "--frames", "0", "What?"], "frame_limit", "at least 1"),
        (["--album", "{album}/none", "What?"], "media", "none"),
        (["--frames", "3", "What?"], "settings", "--video"),
        (["--image", "{album}/1.png", "  "], "prompt", "question is empty"),
        (["--image", "{album}/1.png", "why " * 2000], "prompt", "tokens"),
        (["--device", "toaster", "What?"], "device", "toaster"),
        (["--model", "nowhere", "What?"], "package", "nowhere"),
        (["--model", "{album}", "What?"], "package", "no model package"),
        (["--example", "a::b", "What?"], "settings", "FILE::question::answer"),
        (["--examples", "gone.json", "What?"], "settings", "gone.json"),
        (["--temperature", "-1", "What?"], "settings", "emperature"),
        (["--threads", "0", "What?"], "settings", "threads"),
        (["What\udcff?"], "prompt", "UTF-8"),
        (["--ban", "\udcff", "What?"], "settings", "UTF-8"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    ask: Run, album: Path, clip: Path, arguments: list[str], code: str, words: str
) -> None:
    filled = [text.format(album=album, clip=clip) for text in arguments]
    result = ask("--json", *filled)
    assert result.code == 2
    line = result.lines[-1]
    assert (line["event"], line["code"]) == ("error", code)
    assert words in line["message"]
    assert "\n" not in line["message"]
    assert "Traceback" not in result.err


def test_a_mistake_without_json_is_one_line_on_standard_error(ask: Run) -> None:
    result = ask("--image", "gone.png", "What?")
    assert (result.code, result.out) == (2, "")
    assert [line for line in result.err.splitlines() if not line.endswith("…")] == [
        "otter: gone.png does not exist; check the path."
    ]


def test_a_package_with_a_changed_byte_is_refused(ask: Run, package: Path, tmp_path: Path) -> None:
    for file in package.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / "resampler.onnx").read_bytes())
    content[-1] ^= 1
    (tmp_path / "resampler.onnx").write_bytes(content)
    result = ask("--json", "--model", tmp_path, "What?")
    assert result.code == 2
    assert "resampler.onnx" in result.lines[0]["message"]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_stops_cleanly(package: Path, album: Path, as_json: bool) -> None:
    words = ["ask", "--model", package, "--max-tokens", 100_000, "--ban", "<|endofchunk|>"]
    words += ["--json"] if as_json else []
    words += ["--threads", 1, "--image", album / "1.png", "What?"]
    with subprocess.Popen(
        [sys.executable, "-m", "otter_desktop.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline() if as_json else process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    if as_json:
        assert json.loads(first)["event"] == "media"
        assert json.loads(out.splitlines()[-1])["code"] == "cancelled"
    else:
        assert out.endswith("\n")  # the answer's line is finished before the next one
        assert err.splitlines()[-1] == "otter: Stopped."
    assert "Traceback" not in err


def test_a_closed_pipe_ends_quietly(package: Path, album: Path) -> None:
    words = ["ask", "--model", package, "--json", "--threads", 1, "--image", album / "1.png", "W?"]
    with subprocess.Popen(
        [sys.executable, "-m", "otter_desktop.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_that_cannot_be_written_is_said_in_one_line(
    package: Path, album: Path, options: list[str]
) -> None:
    words = ["ask", "--model", package, "--threads", 1, *options, "--image", album / "1.png", "W?"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "otter_desktop.cli", *map(str, words)],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.endswith("…")]
    assert lines == ["otter: The output cannot be written: No space left on device."]


@pytest.mark.parametrize("arguments", [["ask", "--json"], ["models", "show", "--json", "none"]])
def test_an_error_that_nobody_reads_makes_no_traceback(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "otter_desktop.cli", *arguments],
        stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes streams with the shell")
@pytest.mark.parametrize(("closed", "code"), [(">&-", 2), ("2>&-", 2), ("<&- >&- 2>&-", 2)])
def test_closed_streams_are_no_bug(closed: str, code: int) -> None:
    command = [sys.executable, "-m", "otter_desktop.cli", "models", "show", "none"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stdout + done.stderr


def test_an_album_that_is_too_large_is_refused_before_it_is_looked_at(
    ask: Run, album: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(100):
        (many / f"{number}.png").symlink_to(album / "1.png")
    (line,) = ask("--json", "--album", many, "Which?").lines
    assert line["code"] == "prompt"
    assert "fewer photos" in line["message"]
