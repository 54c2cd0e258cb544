"""Media: files on disk -> upright frames with their times -> the model's pixels.

Nothing here imports PyAV, Pillow or pi-heif before a file is opened.
"""

from otter_desktop.media.clips import is_clip, iter_clip, probe_clip, sample_clip
from otter_desktop.media.files import content_hash
from otter_desktop.media.frames import ClipInfo, Frame, Preprocessing
from otter_desktop.media.photos import is_photo, list_album, load_photo
from otter_desktop.media.pixels import crop_box, thumbnail, to_pixels

__all__ = [
    "ClipInfo",
    "Frame",
    "Preprocessing",
    "content_hash",
    "crop_box",
    "is_clip",
    "is_photo",
    "iter_clip",
    "list_album",
    "load_photo",
    "probe_clip",
    "sample_clip",
    "thumbnail",
    "to_pixels",
]
