"""How many processor cores there are to compute on."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores() -> int:
    """Return the number of processor cores that this process may use, hyper-threads not counted.

    Two threads on one core slow kernels down that fill a core each.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not on macOS and Windows
        return max(1, os.cpu_count() or 1)
    cores: set[str] = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(path.read_text(encoding="ascii").strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))
