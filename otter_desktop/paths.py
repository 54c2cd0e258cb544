"""Where the program keeps what it writes; `OTTER_HOME` moves all of it."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import PlatformDirs

_dirs = PlatformDirs("otter-desktop", appauthor=False)


def data_dir() -> Path:
    """Models, the library database and settings; not created here."""
    home = os.environ.get("OTTER_HOME")
    return Path(home) / "data" if home else Path(_dirs.user_data_dir)


def cache_dir() -> Path:
    """What can be made again: latents, thumbnails; not created here."""
    home = os.environ.get("OTTER_HOME")
    return Path(home) / "cache" if home else Path(_dirs.user_cache_dir)


def log_dir() -> Path:
    """Log files; not created here."""
    home = os.environ.get("OTTER_HOME")
    return Path(home) / "logs" if home else Path(_dirs.user_log_dir)


def assets_dir() -> Path:
    """What ships inside the program: the built-in model, a sample clip and a sample album."""
    return Path(__file__).parent / "assets"
