"""A package's hashes are checked once per state of its files, not at every start."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from otter_desktop.manifest import Manifest, check_files, verify_files
from otter_desktop.paths import cache_dir


def verify_once(folder: Path, manifest: Manifest) -> None:
    """Check sizes always, and SHA-256 unless these very files passed before.

    A file counts as the same while its size, times of change and promised hash are the same.
    Raises `PackageError` that names the first bad file.
    """
    check_files(folder, manifest)
    stamp = []
    for name, entry in sorted(manifest.files.items()):
        status = (folder / name).stat()
        times = [status.st_mtime_ns, status.st_ctime_ns]
        stamp.append([name, entry.sha256, status.st_size, *times])
    record = cache_dir() / "verified.json"
    known = _read(record)
    where = str(folder.resolve())
    if known.get(where) == stamp:
        return
    verify_files(folder, manifest)
    known[where] = stamp
    part = record.with_name(f"{record.name}.part")
    # A cache that cannot be written costs time at the next start, nothing else.
    with suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(known), encoding="utf-8")
        part.replace(record)


def _read(record: Path) -> dict[str, Any]:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
