"""How a command ends when something is wrong: one line, an exit code, bugs to the log."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from otter_desktop.cli.output import clean, prepare_streams, print_json
from otter_desktop.errors import Cancelled, EngineStoppedError, OtterError
from otter_desktop.paths import log_dir

LOG_NAME = "otter.log"
_LOG_LIMIT_BYTES = 1 << 20
_STOPPED = 130
"""What shells give for a program that Ctrl-C ended."""


def run_safely(arguments: argparse.Namespace) -> int:
    """Run a command's `run`; returns its exit code, or the one of what went wrong.

    2 for the user's mistakes, 130 for Ctrl-C, 1 for anything else.
    """
    prepare_streams()
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except (KeyboardInterrupt, Cancelled):
        _report(arguments, "cancelled", "Stopped.")
        return _STOPPED
    except BrokenPipeError:
        # The reader went away (`otter … | head`). Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OtterError as error:
        _report(arguments, error.code, error.message)
        return 1 if isinstance(error, EngineStoppedError) else 2
    except Exception as error:  # noqa: BLE001 - the last line of defence
        where = _log(error)
        text = f"A bug stopped this ({type(error).__name__}: {error}). {where}"
        _report(arguments, "bug", text)
        return 1
    return code


def _report(arguments: argparse.Namespace, code: str, message: str) -> None:
    line = " ".join(message.split())
    if getattr(arguments, "json", False):
        print_json({"event": "error", "code": code, "message": line})
    else:
        sys.stdout.flush()
        print(f"otter: {clean(line)}", file=sys.stderr)


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
