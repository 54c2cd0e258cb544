"""`otter doctor`: versions, devices, folders, and a question to the built-in model."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from otter_desktop import __version__
from otter_desktop.cli.output import clean, print_json, say
from otter_desktop.cores import physical_cores
from otter_desktop.errors import OtterError
from otter_desktop.paths import assets_dir, cache_dir, data_dir, log_dir

_LIBRARIES = ("llama-cpp-python", "numpy", "tokenizers", "av", "pillow", "pi-heif")
_SELF_TEST_TOKENS = 16


class Verdict(Enum):
    """How a check went; `PROBLEM` makes the exit code 1."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    verdict: Verdict
    text: str


def run(arguments: argparse.Namespace) -> int:
    """Run every check and print as they come; returns 1 where there is a problem."""
    problems = 0
    for check in checks():
        problems += check.verdict is Verdict.PROBLEM
        if arguments.json:
            print_json({"event": "check", **asdict(check)})
        else:
            say(clean(f"{check.verdict.value:8} {check.name:12} {check.text}"))
    return 1 if problems else 0


def checks() -> Iterator[Check]:
    """Yield all checks, quick ones first."""
    yield Check(
        "program",
        Verdict.OK,
        f"otter {__version__}, Python {platform.python_version()}, {platform.platform()}",
    )
    yield from _libraries()
    yield _vision_runtime()
    yield from _devices()
    yield from _folders()
    yield _latents()
    yield from _models()
    yield _self_test()


def _libraries() -> Iterator[Check]:
    found: list[str] = []
    missing: list[str] = []
    for name in _LIBRARIES:
        number = _version(name)
        (missing if number is None else found).append(f"{name} {number or ''}".strip())
    yield Check("libraries", Verdict.OK, ", ".join(found))
    if missing:
        yield Check("libraries", Verdict.PROBLEM, f"missing: {', '.join(missing)}")


def _vision_runtime() -> Check:
    cpu, gpu = _version("onnxruntime"), _version("onnxruntime-gpu")
    if cpu and gpu:
        return Check(
            "onnxruntime",
            Verdict.PROBLEM,
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "uninstall both, then install the extra cpu or gpu.",
        )
    if not cpu and not gpu:
        return Check("onnxruntime", Verdict.PROBLEM, "not installed: install the extra cpu or gpu.")
    try:
        from otter_desktop.vision import available_providers

        providers = ", ".join(available_providers())
    except (ImportError, AttributeError) as error:
        return Check("onnxruntime", Verdict.PROBLEM, f"cannot be loaded: {error}")
    name = f"onnxruntime-gpu {gpu}" if gpu else f"onnxruntime {cpu}"
    return Check("onnxruntime", Verdict.OK, f"{name} ({providers})")


def _devices() -> Iterator[Check]:
    try:
        from otter_desktop.decoder import list_devices

        for device in list_devices():
            memory = device.memory_total_bytes
            size = f", {memory / 2**30:.1f} GiB" if memory else ""
            yield Check("device", Verdict.OK, f"{device.name}: {device.description}{size}")
        yield Check("threads", Verdict.OK, f"{physical_cores()} physical cores")
    except (ImportError, OSError, OtterError) as error:
        yield Check("device", Verdict.PROBLEM, f"ggml cannot be loaded: {error}")


def _folders() -> Iterator[Check]:
    for name, folder in [("data", data_dir()), ("cache", cache_dir()), ("logs", log_dir())]:
        problem = _cannot_write(folder)
        verdict = Verdict.PROBLEM if problem else Verdict.OK
        yield Check(name, verdict, f"{folder}: {problem}" if problem else str(folder))


def _cannot_write(folder: Path) -> str | None:
    """Try to write where the folder is, or would be made; returns what is in the way."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK) or not place.is_dir():
        return f"cannot be written ({place}); set OTTER_HOME to a folder of yours"
    if place == folder:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            return f"cannot be written: {error.strerror}"
    return None


def _latents() -> Check:
    from otter_desktop.assistant.engine import LATENT_CACHE_LIMIT_BYTES, latent_cache

    size = latent_cache().size_bytes()
    limit = LATENT_CACHE_LIMIT_BYTES
    return Check("seen media", Verdict.OK, f"{size / 1e6:.1f} MB of {limit / 1e6:.0f} MB cache")


def _models() -> Iterator[Check]:
    from otter_desktop.packages.store import list_packages

    for package in list_packages():
        if package.error is not None:
            yield Check("model", Verdict.PROBLEM, f"{package.name}: {package.error}")
        else:
            yield Check("model", Verdict.OK, f"{package.name} in {package.folder}")


def _self_test() -> Check:
    from otter_desktop.assistant.assistant import Assistant
    from otter_desktop.assistant.request import Clip, Options
    from otter_desktop.manifest import builtin_folder, read_manifest

    try:
        read_manifest(builtin_folder())
    except OtterError:
        return Check("self-test", Verdict.NOTE, "left out: the built-in model is not installed")
    clip = assets_dir() / "samples" / "clip.mp4"
    media = [Clip(clip)] if clip.is_file() else []
    question = "What is in the clip?" if media else "What is this?"
    try:
        with Assistant.open() as otter:
            answer = otter.answer(question, media, options=Options(max_tokens=_SELF_TEST_TOKENS))
    except OtterError as error:
        return Check("self-test", Verdict.PROBLEM, error.message)
    if not answer.text:
        return Check("self-test", Verdict.PROBLEM, "the built-in model gave no answer")
    return Check(
        "self-test",
        Verdict.OK,
        f"{question} {answer.text} [{answer.device}, first token after "
        f"{answer.timings.first_token_s:.2f} s]",
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
