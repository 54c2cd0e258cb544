"""How a command ends when something is wrong: one line, an exit code, bugs to the log."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from otter_desktop.cli.output import OutputLostError, complain, prepare_streams, print_json
from otter_desktop.errors import Cancelled, EngineStoppedError, OtterError
from otter_desktop.paths import log_dir

LOG_NAME = "otter.log"
_LOG_LIMIT_BYTES = 1 << 20
_STOPPED = 130
"""What shells give for a program that Ctrl-C ended."""


def run_safely(command: Callable[[], int], *, as_json: bool = False) -> int:
    """Run a command; returns its exit code, or the one of what went wrong.

    2 for the user's mistakes, 130 for Ctrl-C, 1 for anything else.
    """
    prepare_streams()
    try:
        return command()
    except SystemExit:  # --help, or arguments that make no sense: all is said
        _flush()
        raise
    except OutputLostError as lost:
        return _give_up(lost)
    except (KeyboardInterrupt, Cancelled):
        return _report("cancelled", "Stopped.", _STOPPED, as_json=as_json)
    except OtterError as error:
        exit_code = 1 if isinstance(error, EngineStoppedError) else 2
        return _report(error.code, error.message, exit_code, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        where = _log(error)
        text = f"A bug stopped this ({type(error).__name__}: {error}). {where}"
        return _report("bug", text, 1, as_json=as_json)


def _report(code: str, message: str, exit_code: int, *, as_json: bool) -> int:
    line = " ".join(message.split())
    if not as_json:
        complain(line)
        return exit_code
    try:
        print_json({"event": "error", "code": code, "message": line})
    except OutputLostError as lost:
        _give_up(lost)
    return exit_code


def _flush() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up(OutputLostError(error))


def _give_up(lost: OutputLostError) -> int:
    """Say that nobody reads on, unless the reader chose so (`otter … | head`)."""
    # Python would complain at exit about what is still to be written.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not lost.reader_left:
        complain(str(lost))
    return 1


def _log(error: Exception) -> str:
    """Append the traceback to the log; returns a sentence that says where it is."""
    path = log_dir() / LOG_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        large = path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES
        with Path(path).open("w" if large else "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{datetime.now(UTC).isoformat()}\n")
            file.writelines(traceback.format_exception(error))
    except OSError:
        return "The details could not be written to the log."
    return f"The details are in {path}."
