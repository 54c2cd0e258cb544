"""The other commands, help, arguments, and what happens to bugs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import otter_desktop
from otter_desktop.assistant.events import SeenFrame
from otter_desktop.cli import build_parser, main
from otter_desktop.cli.doctor import Verdict, checks
from otter_desktop.cli.failures import run_safely
from otter_desktop.cli.output import clean, seen_line
from otter_desktop.paths import log_dir

ROOT = Path(__file__).parents[2]


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from otter_desktop.cli import build_parser\n"
        "build_parser().format_help()\n"
        "heavy = {'numpy', 'onnxruntime', 'platformdirs', 'json', 'subprocess'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() in ("[]", "['json']")


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert otter_desktop.__version__ == project["project"]["version"]


@pytest.mark.parametrize("argument", ["ask", "models", "doctor", "bench"])
def test_every_command_has_help(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([argument, "--help"])
    assert stop.value.code == 0
    assert argument in capsys.readouterr().out


def test_every_option_has_help() -> None:
    def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
        found = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    found += options(child)
            elif action.metavar not in ("PATH", "NAME"):
                found.append(action)
        return found

    assert [action.dest for action in options(build_parser()) if not action.help] == []


@pytest.mark.parametrize(
    "words", [[], ["dance"], ["ask"], ["ask", "--beams", "x", "q"], ["ask", "--start", "1:x", "q"]]
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_wrong_arguments_are_a_json_event_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ask", "--json", "--beams", "x", "q"])
    assert json.loads(capsys.readouterr().out)["code"] == "usage"


@pytest.mark.parametrize(("text", "seconds"), [("12.5", 12.5), ("1:02", 62), ("1:00:02.5", 3602.5)])
def test_times_may_be_written_with_minutes_and_hours(text: str, seconds: float) -> None:
    assert build_parser().parse_args(["ask", "--end", text, "q"]).end == seconds


def test_media_keep_the_order_in_which_they_are_named() -> None:
    words = ["ask", "--image", "a", "--video", "b", "--image", "c", "--album", "d", "q"]
    media = build_parser().parse_args(words).media
    assert media == [
        ("image", Path("a")), ("video", Path("b")), ("image", Path("c")), ("album", Path("d")),
    ]  # fmt: skip


def test_control_characters_of_an_answer_do_not_reach_a_terminal() -> None:
    assert clean("a\x1b[31mb\x07\n\tcafé 你") == "a\ufffd[31mb\ufffd\n\tcafé 你"


def test_the_line_of_what_was_seen_is_one_line_whatever_the_files_are_called() -> None:
    frames = [SeenFrame(Path("a\nb\x1b[2J.mp4"), 1.0, 0)]
    assert seen_line(frames) == "a b\ufffd[2J.mp4 at 1.00 s"


def test_options_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ask", "--vid", "clip.mp4", "What?"])
    assert "--vid" in capsys.readouterr().err


def test_the_line_of_what_was_seen_says_so_when_it_was_nothing() -> None:
    assert seen_line([]) == "no photo or clip"


def test_a_bug_is_one_line_and_its_traceback_is_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> int:
        raise ZeroDivisionError("not so")

    assert run_safely(broken) == 1
    (line,) = capsys.readouterr().err.splitlines()
    log = log_dir() / "otter.log"
    assert "ZeroDivisionError" in line
    assert str(log) in line
    assert "in broken" in log.read_text(encoding="utf-8")


def test_ctrl_c_in_any_command_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert run_safely(interrupted, as_json=True) == 130
    assert json.loads(capsys.readouterr().out)["code"] == "cancelled"


def test_models_are_imported_listed_shown_verified_and_removed(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: object) -> dict[str, object]:
        assert main(["models", *map(str, words), "--json"]) == 0
        *_, last = capsys.readouterr().out.splitlines() or ["{}"]
        content: dict[str, object] = json.loads(last)
        return content

    name = str(run("import", package)["name"])
    assert run("list")["name"] == name
    assert run("verify", name)["event"] == "verified"
    assert run("remove", name)["event"] == "removed"
    assert main(["models", "show", name]) == 2


def test_doctor_reports_libraries_devices_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = {line["name"] for line in lines}
    wanted = {"program", "libraries", "onnxruntime", "device", "data", "cache", "self-test"}
    assert wanted <= names
    assert code == any(line["verdict"] == "problem" for line in lines)


def test_both_vision_runtimes_together_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otter_desktop.cli.doctor._version", lambda _: "1.0")
    check = next(check for check in checks() if check.name == "onnxruntime")
    assert check.verdict is Verdict.PROBLEM
    assert "both installed" in check.text


def test_doctor_names_a_folder_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("OTTER_HOME", str(blocked))
    assert main(["doctor"]) == 1
    assert "cannot be written" in capsys.readouterr().out
