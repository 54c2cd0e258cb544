"""The manifest as the store and the exporter see it; the engine reads the same leaf module."""

from __future__ import annotations

from otter_desktop.manifest import (
    DECODER_NAME,
    FORMAT_VERSION,
    MANIFEST_NAME,
    PACKAGE_FILES,
    RESAMPLER_NAME,
    VISION_ENCODER_NAME,
    FileEntry,
    Manifest,
    PixelRules,
    SpecialTokens,
    check_files,
    is_package_name,
    parse_manifest,
    read_manifest,
    verify_files,
    with_files,
    write_manifest,
)

__all__ = [
    "DECODER_NAME",
    "FORMAT_VERSION",
    "MANIFEST_NAME",
    "PACKAGE_FILES",
    "RESAMPLER_NAME",
    "VISION_ENCODER_NAME",
    "FileEntry",
    "Manifest",
    "PixelRules",
    "SpecialTokens",
    "check_files",
    "is_package_name",
    "parse_manifest",
    "read_manifest",
    "verify_files",
    "with_files",
    "write_manifest",
]
