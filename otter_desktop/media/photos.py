"""Photos -> frames: every usual picture format, upright, as plain RGB."""

from __future__ import annotations

import os
import re
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from otter_desktop.errors import MediaError
from otter_desktop.media.files import read_header, shown
from otter_desktop.media.frames import Frame

if TYPE_CHECKING:
    from PIL.Image import Image

PHOTO_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".heic", ".heif", ".hif"}
    | {".avif", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
)

# Pillow's own limit of an error (twice its MAX_IMAGE_PIXELS): 0.5 GB as RGB.
MAX_PIXELS = 178_956_970

# What Pillow and libheif raise on damaged files, found by feeding them damaged files.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
)


def is_photo(path: Path) -> bool:
    """Whether the file name has the extension of a photo that can be opened."""
    return path.suffix.lower() in PHOTO_EXTENSIONS


def load_photo(path: Path) -> Frame:
    """Return a photo as one upright RGB frame.

    EXIF (and HEIC) rotation is applied; of an animation the first picture is taken; 16-bit and
    floating-point grey is scaled to 8 bits; transparency is laid on white. Raises `MediaError`
    where the file is missing, empty, damaged, cut off, not a picture or too large to decode.
    """
    header = read_header(path)
    try:
        with _open(path, header) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise _too_large(path, width, height)
            return Frame(_rgb(_upright(picture, path)), 0, None, path)
    except MemoryError:
        raise MediaError(
            f"{shown(path)} does not fit into memory; make a smaller copy of it."
        ) from None


def list_album(folder: Path) -> list[Path]:
    """Return the photos of a folder in natural order (`2.jpg` before `10.jpg`), not recursive.

    Hidden files are left out. Raises `MediaError` where the folder is missing, unreadable, not
    a folder, or holds no photo.
    """
    name = shown(folder)
    try:
        with os.scandir(folder) as found:
            entries = [Path(entry.path) for entry in found if not entry.is_dir()]
    except FileNotFoundError:
        raise MediaError(f"{name} does not exist; check the path of the album.") from None
    except NotADirectoryError:
        raise MediaError(f"{name} is not a folder; an album is a folder of photos.") from None
    except PermissionError:
        raise MediaError(f"{name} may not be read; change the folder's permissions.") from None
    except (OSError, ValueError) as error:
        raise MediaError(f"{name} cannot be opened ({error}); check the path.") from None
    photos = [entry for entry in entries if not entry.name.startswith(".") and is_photo(entry)]
    if not photos:
        raise MediaError(f"{name} holds no photos; an album needs JPEG, PNG, HEIC or the like.")
    return sorted(photos, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sort key that compares runs of digits as numbers and ignores case."""
    parts = re.split(r"(\d+)", name.casefold())
    # `isdecimal`: what \d matches, and int() reads in every script.
    keyed = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
    return keyed, name


def _open(path: Path, header: bytes) -> Image:
    from PIL import Image, UnidentifiedImageError

    # Pillow warns about large pictures and odd metadata: the size is checked against MAX_PIXELS
    # before decoding, and a picture that opens is a picture; the rest is noise on stderr.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if header[4:8] == b"ftyp":
        import pi_heif

        pi_heif.register_heif_opener()
    name = shown(path)
    try:
        return Image.open(path)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        raise MediaError(
            f"{name} is not a picture that can be read; use JPEG, PNG, WebP, HEIC, GIF, BMP or "
            "TIFF."
        ) from None
    except _DECODER_ERRORS as error:
        raise _damaged(path, error) from None


def _upright(picture: Image, path: Path) -> Image:
    from PIL import Image, ImageOps

    try:
        picture.load()
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except _DECODER_ERRORS as error:
        raise _damaged(path, error) from None
    try:
        return ImageOps.exif_transpose(picture)
    except _DECODER_ERRORS:
        # Damaged EXIF says nothing about the picture itself.
        return picture


def _rgb(picture: Image) -> NDArray[np.uint8]:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(_eight_bits(picture)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, layer)
    return np.array(picture.convert("RGB"))


def _eight_bits(picture: Image) -> NDArray[np.uint8]:
    # 16-bit grey uses its whole range; 32-bit and floating-point pictures (scans, scientific
    # TIFF) rarely do, so they are stretched between their own extremes.
    values = np.asarray(picture, np.float32)
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        if picture.mode == "I" and low >= 0 and high <= 65535:
            low, high = 0.0, 255.0 if high <= 255 else 65535.0
        elif low >= 0 and high <= 1:
            low, high = 0.0, 1.0
    scaled = (np.nan_to_num(values) - low) * (255.0 / (high - low or 1.0))
    grey: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return grey


def _damaged(path: Path, error: BaseException) -> MediaError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return MediaError(
        f"{shown(path)} is damaged or cut off ({reason}); copy it again from where it came."
    )


def _too_large(path: Path, width: int = 0, height: int = 0) -> MediaError:
    size = f" ({width} x {height} pixels)" if width else ""
    return MediaError(
        f"{shown(path)} is too large to decode{size}; make a copy under "
        f"{MAX_PIXELS // 1_000_000} megapixels."
    )
