"""The engine's own process: the same answers, stopping, dying, and ending with its program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otter_desktop import Answer, Assistant, CancelToken, Clip, Example, MediaReady, Photo, Token
from otter_desktop.assistant.process import EngineBugError, EngineProcess
from otter_desktop.assistant.request import Options
from otter_desktop.errors import Cancelled, EngineStoppedError, MediaError, PackageError

SHORT = Options(max_tokens=5)
LONG = Options(max_tokens=200, banned=("<|endofchunk|>",))


@pytest.fixture(scope="module")
def assistant(package: Path) -> Iterator[Assistant]:
    with Assistant.open(package, device="cpu", threads=1) as opened:
        yield opened


def process_of(assistant: Assistant) -> EngineProcess:
    engine = assistant._engine
    assert isinstance(engine, EngineProcess)
    return engine


def test_the_process_answers_as_the_engine_in_this_process_does(
    assistant: Assistant, package: Path, photos: list[Path], clip: Path
) -> None:
    arguments: dict[str, Any] = {
        "examples": [Example([Photo(photos[1])], "What is it?", "A cat.")],
        "options": SHORT,
    }
    media = [Clip(clip, frames=2), Photo(photos[0])]
    apart = list(assistant.ask("What?", media, **arguments))
    with Assistant.open(package, device="cpu", threads=1, in_process=True) as inside:
        here = list(inside.ask("What?", media, **arguments))
        assert inside.model == assistant.model
        chances = inside.choose("Is it?", media, ["yes", "no"])
    assert [type(event) for event in apart] == [type(event) for event in here]
    assert isinstance(apart[-1], Answer)
    assert isinstance(here[-1], Answer)
    assert apart[-1].text == here[-1].text
    assert apart[-1].frames == here[-1].frames
    assert assistant.choose("Is it?", media, ["yes", "no"]) == pytest.approx(chances, abs=1e-3)


def test_answer_waits_for_the_whole_answer(assistant: Assistant, photos: list[Path]) -> None:
    found = assistant.answer("What is it?", [Photo(photos[0])], options=SHORT)
    assert found.timings.answer_tokens > 0
    assert found.frames[0].file == photos[0]


def test_errors_keep_their_type_and_message(assistant: Assistant, bad_photo: Path) -> None:
    with pytest.raises(MediaError, match=r"bad\.png"):
        assistant.answer("What is it?", [Photo(bad_photo)])


def test_a_damaged_package_is_said_when_it_is_opened(package: Path, tmp_path: Path) -> None:
    for file in package.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "decoder.gguf").write_bytes(b"x")
    with pytest.raises(PackageError, match=r"decoder\.gguf has 1 bytes"):
        Assistant.open(tmp_path)


def test_a_model_that_does_not_exist_is_said_at_once() -> None:
    with pytest.raises(PackageError, match="no model 'nowhere'"):
        Assistant.open("nowhere")


def test_cancelling_stops_the_answer_and_the_next_one_comes(
    assistant: Assistant, photos: list[Path]
) -> None:
    token = CancelToken()
    events = assistant.ask("What?", [Photo(photos[0])], options=LONG, cancel=token)
    while not isinstance(next(events), Token):
        pass
    token.cancel()
    with pytest.raises(Cancelled):
        list(events)
    assert assistant.answer("What is it?", [Photo(photos[0])], options=SHORT).frames


def test_leaving_the_iteration_stops_the_work(assistant: Assistant, photos: list[Path]) -> None:
    events = assistant.ask("What?", [Photo(photos[0])], options=LONG)
    while not isinstance(next(events), Token):
        pass
    events.close()  # type: ignore[attr-defined]
    assert assistant.answer("What is it?", [Photo(photos[0])], options=SHORT).frames


def test_a_request_inside_another_is_refused_instead_of_waiting_forever(
    assistant: Assistant, photos: list[Path]
) -> None:
    events = assistant.ask("What?", [Photo(photos[0])], options=SHORT)
    next(events)
    with pytest.raises(RuntimeError, match="finish or close"):
        assistant.answer("And?", options=SHORT)
    assert isinstance(list(events)[-1], Answer)


def test_requests_of_several_threads_wait_for_one_another(
    assistant: Assistant, photos: list[Path]
) -> None:
    answers: list[Answer] = []

    def work() -> None:
        answers.append(assistant.answer("What?", [Photo(photos[0])], options=SHORT))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({answer.text for answer in answers}) == 1
    assert len(answers) == 3


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_dead_engine_is_an_error_in_words_and_the_next_request_starts_another(
    assistant: Assistant, photos: list[Path]
) -> None:
    events = assistant.ask("What?", [Photo(photos[0])], options=LONG)
    next(events)
    victim = process_of(assistant).process_id
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(EngineStoppedError, match=r"SIGKILL.*engine\.log"):
        list(events)
    assert assistant.answer("What is it?", [Photo(photos[0])], options=SHORT).frames
    assert process_of(assistant).process_id not in (victim, None)


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_the_engine_ends_with_the_program_that_is_killed(package: Path) -> None:
    program = (
        "import sys, os, signal\n"
        "from otter_desktop import Assistant\n"
        "otter = Assistant.open(sys.argv[1], device='cpu', threads=1)\n"
        "print(otter._engine.process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(package)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    child = int(done.stdout)
    limit = threading.Event()
    for _ in range(200):
        if not _runs(child):
            break
        limit.wait(0.05)
    assert not _runs(child)


def _runs(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_but_messages_can_reach_the_engines_standard_output(assistant: Assistant) -> None:
    number = process_of(assistant).process_id
    out, err = (Path(f"/proc/{number}/fd/{fd}").readlink() for fd in (1, 2))
    assert out == err
    assert out.name == "engine.log"


def test_relative_names_mean_what_they_mean_in_the_program(
    assistant: Assistant, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos[0].parent)
    found = assistant.answer("What?", [Photo(photos[0].name)], options=SHORT)
    assert found.frames[0].file == Path(photos[0].name)


def test_a_bug_in_the_engine_keeps_its_traceback(assistant: Assistant) -> None:
    with pytest.raises(EngineBugError, match="AttributeError") as caught:
        assistant.answer("What?", ["no medium"])  # type: ignore[list-item]
    assert any("seeing.py" in note for note in caught.value.__notes__)
    assert assistant.answer("Who?", options=SHORT).frames == ()


def test_progress_is_told_while_it_happens(assistant: Assistant, photos: list[Path]) -> None:
    told: list[Any] = []
    for event in assistant.ask("What?", [Photo(photos[3])], options=SHORT, progress=told.append):
        if isinstance(event, MediaReady):
            assert told[0].file == photos[3]
    assert [progress.stage.name for progress in told] == ["MEDIA", "VISION", "PROMPT", "ANSWER"]


def test_what_a_program_imports_to_ask_is_light() -> None:
    program = (
        "import sys, otter_desktop, otter_desktop.assistant.assistant, otter_desktop.cli.ask\n"
        "heavy = {'numpy', 'onnxruntime', 'tokenizers', 'av', 'PIL', 'llama_cpp'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(os.name != "posix", reason="other systems keep a folder that is in use")
def test_a_folder_that_is_gone_does_not_matter_where_names_are_absolute(
    assistant: Assistant, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    answer = assistant.answer("What?", [Photo(photos[0])], options=Options(max_tokens=1))
    assert answer.frames[0].file == photos[0]


def test_closing_while_another_thread_asks_ends_its_request_in_words(
    package: Path, photos: list[Path]
) -> None:
    assistant = Assistant.open(package, device="cpu", threads=1)
    events = assistant.ask("What?", [Photo(photos[0])], options=LONG)
    next(events)
    closing = threading.Thread(target=assistant.close)
    closing.start()
    with pytest.raises(EngineStoppedError, match="was closed"):
        list(events)
    closing.join(30)
    assert process_of(assistant).process_id is None


def test_the_models_name_is_known_while_an_answer_is_written(
    assistant: Assistant, photos: list[Path]
) -> None:
    events = assistant.ask("What?", [Photo(photos[0])], options=LONG)
    next(events)
    names: list[str] = []
    asking = threading.Thread(target=lambda: names.append(assistant.model.name))
    asking.start()
    asking.join(30)
    assert len(names) == 1
    events.close()
