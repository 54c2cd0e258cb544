"""The window's command before there is a window."""

from __future__ import annotations

import pytest

from otter_desktop.cli.desktop import main


def test_without_a_window_one_line_says_what_to_do_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "otter ask" in said.err
