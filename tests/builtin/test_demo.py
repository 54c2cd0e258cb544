"""The demo, as `make demo` runs it: every sample question answered right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_DEMO = Path(__file__).parents[2] / "scripts" / "demo.py"


def test_the_demo_answers_every_sample_question_right() -> None:
    done = subprocess.run(
        [sys.executable, str(_DEMO)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it saw    clip.mp4 at 0.00 " in done.stdout
