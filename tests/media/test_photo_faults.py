"""Photos and albums that cannot be opened: one line that says what is wrong and what to do."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from otter_desktop.errors import MediaError
from otter_desktop.media import list_album, load_photo


def _refusal(path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        load_photo(path)
    message = caught.value.message
    assert "\n" not in message
    assert path.name in message
    return message


def test_a_missing_photo(tmp_path: Path) -> None:
    assert "does not exist" in _refusal(tmp_path / "no.jpg")


def test_an_empty_photo(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert "empty" in _refusal(tmp_path / "empty.jpg")


def test_a_folder_is_no_photo(tmp_path: Path) -> None:
    assert "is a folder" in _refusal(tmp_path)


def test_text_named_as_a_photo(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello\n" * 50)
    assert "is not a picture" in _refusal(tmp_path / "text.jpg")


@pytest.mark.parametrize(
    "name", ["cut.jpg", "cut.png", "cut.webp", "cut.gif", "cut.tiff", "cut.bmp"]
)
def test_a_photo_cut_off_in_the_middle(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = _refusal(path)
    assert "cut off" in message or "not a picture" in message


def test_a_cut_off_heic(tmp_path: Path) -> None:
    path = tmp_path / "cut.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\1\0meta" + bytes(40))
    _refusal(path)


def _png_of_size(path: Path, width: int, height: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    _png_of_size(path, 60_000, 60_000)
    assert "too large" in _refusal(path)


def test_a_photo_between_the_warning_and_the_limit_only_fails_for_what_it_lacks(
    tmp_path: Path,
) -> None:
    # 100 megapixels: Pillow would warn; warnings are errors here.
    path = tmp_path / "large.png"
    _png_of_size(path, 10_000, 10_000)
    assert "cut off" in _refusal(path)


def test_every_damaged_photo_is_a_media_error(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    noise = random.integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / "scratched"
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        Image.fromarray(noise).save(path, kind)
        content = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(content)
            for position in random.integers(0, min(len(content), 400), 6):
                damaged[position] = random.integers(0, 256)
            path.write_bytes(damaged)
            # Damage that still decodes is a picture; anything but a MediaError is a failure.
            with suppress(MediaError):
                assert load_photo(path).image.ndim == 3


def test_an_album_is_listed_in_natural_order_without_other_files(tmp_path: Path) -> None:
    for name in ("10.jpg", "2.JPG", "1.png", "b2.jpg", "B10.jpg", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.jpg").mkdir()
    names = [path.name for path in list_album(tmp_path)]
    assert names == ["1.png", "2.JPG", "10.jpg", "b2.jpg", "B10.jpg"]


def test_an_album_without_photos(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(MediaError, match="holds no photos"):
        list_album(tmp_path)


def test_an_album_that_is_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="does not exist"):
        list_album(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="is not a folder"):
        list_album(tmp_path / "file")


@pytest.mark.usefixtures("not_root")
def test_an_unreadable_album() -> None:
    with pytest.raises(MediaError, match="may not be read"):
        list_album(Path("/proc/1/fd"))


@pytest.fixture
def listed_album() -> Iterator[Path]:
    """A folder whose names may be read, but not what they stand for."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "1.png").write_bytes(b"x")
        Path(name).chmod(0o444)
        yield Path(name)
        Path(name).chmod(0o755)


@pytest.mark.usefixtures("listed_album", "not_root")
def test_an_album_that_may_be_listed_but_not_entered_names_its_photos(listed_album: Path) -> None:
    (photo,) = list_album(listed_album)
    assert "may not be read" in _refusal(photo)


def test_a_name_with_odd_characters_stays_on_one_line_and_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"für\\nzwei\.png"):
        load_photo(tmp_path / "für\nzwei.png")
