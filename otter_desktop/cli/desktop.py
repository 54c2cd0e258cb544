"""`otter-desktop`: opens the window where the program has one, and says so where it has none."""

from __future__ import annotations

import sys

NO_WINDOW = (
    "otter-desktop: this version has no window yet. Ask on the command line: "
    'otter ask --video FILE "question" (see otter --help).\n'
)


def main() -> int:
    """Say that there is no window; returns 2, as for every request that cannot be met."""
    sys.stderr.write(NO_WINDOW)
    return 2
