"""The latent cache: keeps, forgets the oldest, trusts nothing on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from otter_desktop.vision import LatentCache, latent_key

ENTRY_BYTES = 8 + 32 + 8 + 4 * 8 * 4


def _key(number: int) -> str:
    return f"{number:064x}"


def _latents(number: int) -> NDArray[np.float32]:
    return np.full((4, 8), number, np.float32)


def _age(folder: Path, number: int, seconds: int) -> None:
    os.utime(folder / f"{_key(number)}.latents", (1_000_000_000 - seconds,) * 2)


def test_what_was_put_comes_back_bit_for_bit(tmp_path: Path) -> None:
    latents = np.random.default_rng(0).normal(size=(64, 192)).astype(np.float32)
    latents[0, :3] = (np.inf, -0.0, np.float32(1e-42))
    LatentCache(tmp_path / "new" / "folder", 1 << 20).put(_key(1), latents)
    kept = LatentCache(tmp_path / "new" / "folder", 1 << 20).get(_key(1))
    assert kept is not None
    assert kept.tobytes() == latents.tobytes()
    assert kept.flags.writeable


def test_an_unknown_key_gives_nothing(tmp_path: Path) -> None:
    assert LatentCache(tmp_path / "none", 1 << 20).get(_key(1)) is None


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "foreign", "longer"])
def test_a_damaged_file_is_noticed_and_removed(tmp_path: Path, damage: str) -> None:
    cache = LatentCache(tmp_path, 1 << 20)
    cache.put(_key(1), _latents(1))
    path = tmp_path / f"{_key(1)}.latents"
    content = bytearray(path.read_bytes())
    flipped = bytearray(content)
    flipped[-5] ^= 1
    damaged = {
        "torn": content[:-7],
        "flipped": flipped,
        "empty": b"",
        "foreign": b"something else entirely",
        "longer": content + b"\0\0\0\0",
    }
    path.write_bytes(damaged[damage])
    assert cache.get(_key(1)) is None
    assert not path.exists()


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, 3 * ENTRY_BYTES)
    for number in (1, 2, 3):
        cache.put(_key(number), _latents(number))
        _age(tmp_path, number, seconds=100 - number)
    assert cache.get(_key(1)) is not None
    cache.put(_key(4), _latents(4))
    assert cache.get(_key(2)) is None
    assert [cache.get(_key(number)) is not None for number in (1, 3, 4)] == [True] * 3


def test_the_size_stays_within_the_limit(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, 5 * ENTRY_BYTES + 3)
    for number in range(20):
        cache.put(_key(number), _latents(number))
        assert cache.size_bytes() <= 5 * ENTRY_BYTES + 3
    assert cache.size_bytes() == 5 * ENTRY_BYTES
    assert cache.get(_key(19)) is not None


def test_latents_larger_than_the_limit_are_not_kept(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, ENTRY_BYTES - 1)
    cache.put(_key(1), _latents(1))
    assert cache.size_bytes() == 0


def test_clearing_empties_the_folder(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, 1 << 20)
    cache.put(_key(1), _latents(1))
    (tmp_path / "note.txt").write_text("not the cache's")
    cache.clear()
    assert cache.size_bytes() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_what_a_dead_process_left_half_written_is_swept_up(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, 1 << 20)
    stale = tmp_path / f"{_key(9)}.123-abcd.part"
    fresh = tmp_path / f"{_key(8)}.124-abcd.part"
    stale.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(stale, (1_000_000_000, 1_000_000_000))
    cache.put(_key(1), _latents(1))
    assert not stale.exists()
    assert fresh.exists()


def test_a_folder_that_cannot_be_written_only_forgets(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = LatentCache(tmp_path / "file", 1 << 20)
    cache.put(_key(1), _latents(1))
    assert cache.get(_key(1)) is None
    assert cache.size_bytes() == 0


def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, 1 << 20)
    with pytest.raises(ValueError, match="not a cache key"):
        cache.get("../../secret")


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from otter_desktop.vision import LatentCache
cache = LatentCache(Path(sys.argv[1]), int(sys.argv[2]))
for step in range(150):
    number = (step * 7 + int(sys.argv[3])) % 12
    kept = cache.get(f"{number:064x}")
    assert kept is None or (kept == number).all(), number
    cache.put(f"{number:064x}", np.full((4, 8), number, np.float32))
"""


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    limit = 6 * ENTRY_BYTES
    arguments = [sys.executable, "-c", _WRITER, str(tmp_path), str(limit)]
    writers = [
        subprocess.Popen([*arguments, str(seed)], stderr=subprocess.PIPE, text=True)
        for seed in (0, 3)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    cache = LatentCache(tmp_path, limit)
    cache.put(_key(99), _latents(99))
    assert cache.size_bytes() <= limit
    assert not list(tmp_path.glob("*.part"))


def test_the_key_changes_with_everything_that_changes_the_latents() -> None:
    plain: dict[str, Any] = {
        "start_s": None,
        "end_s": 4.0,
        "frames": 8,
        "preprocessing_id": "crop-224",
        "vision_hash": "b" * 64,
    }
    key = latent_key("a" * 64, **plain)
    changes: list[dict[str, Any]] = [
        {"start_s": 0.0},
        {"end_s": None},
        {"end_s": 4.000001},
        {"frames": 9},
        {"preprocessing_id": "squash-224"},
        {"vision_hash": "c" * 64},
    ]
    keys = {latent_key("a" * 64, **{**plain, **change}) for change in changes}
    assert len({key, latent_key("d" * 64, **plain), *keys}) == len(changes) + 2
    assert key == latent_key("a" * 64, **plain)
