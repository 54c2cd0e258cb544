"""The manifest: reading, writing, checking."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from otter_desktop.errors import PackageError
from otter_desktop.manifest import (
    PACKAGE_FILES,
    Manifest,
    PixelRules,
    check_files,
    parse_manifest,
    read_manifest,
    verify_files,
    with_files,
    write_manifest,
)

PLAIN = Manifest(
    name="tiny",
    title="Tiny",
    licence="Apache-2.0",
    source="made for a test",
    domain="nothing",
    preprocessing=PixelRules(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    max_frames=8,
    default_frames=4,
    quantization="f32",
    extra={"later": [1, 2]},
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name in PACKAGE_FILES:
        (tmp_path / name).write_bytes(name.encode())
    write_manifest(tmp_path, with_files(PLAIN, tmp_path))
    return tmp_path


def test_reading_gives_back_what_was_written_with_unknown_keys(package: Path) -> None:
    assert read_manifest(package) == with_files(PLAIN, package)


def test_a_whole_package_verifies(package: Path) -> None:
    verify_files(package, read_manifest(package))


def test_a_changed_byte_is_found_and_the_file_named(package: Path) -> None:
    path = package / "decoder.gguf"
    path.write_bytes(path.read_bytes()[::-1])
    check_files(package, read_manifest(package))
    with pytest.raises(PackageError, match=r"decoder\.gguf.*SHA-256"):
        verify_files(package, read_manifest(package))


def test_a_truncated_file_is_found_without_hashing(package: Path) -> None:
    (package / "resampler.onnx").write_bytes(b"x")
    with pytest.raises(PackageError, match=r"resampler\.onnx has 1 bytes"):
        check_files(package, read_manifest(package))


def test_a_missing_file_is_named(package: Path) -> None:
    (package / "vision_encoder.onnx").unlink()
    with pytest.raises(PackageError, match=r"vision_encoder\.onnx is missing"):
        check_files(package, read_manifest(package))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 2}, "newer version"),
        ({"format": "x"}, "format number"),
        ({"max_frames": float("inf")}, "wrong value"),
        ({"special_tokens": {"answer": 5}}, "answer is not text"),
        ({"preprocessing": {"image_size": 1e6, "mean": [0, 0, 0], "std": [1, 1, 1]}}, "image_size"),
        ({"preprocessing": {"image_size": 8, "mean": [0, 0, 0], "std": [1, 1, math.nan]}}, "colou"),
        ({"name": "../evil"}, "plain folder name"),
        ({"template": "x"}, "template"),
        ({"default_frames": 9}, "default_frames"),
        ({"max_frames": None}, "wrong value"),
        ({"title": 3}, "title is not text"),
        ({"files": {}}, "does not list"),
        ({"preprocessing": {"image_size": 8}}, "lacks the key 'mean'"),
    ],
)
def test_wrong_values_are_named(package: Path, change: dict[str, object], text: str) -> None:
    raw = json.loads((package / "manifest.json").read_text())
    with pytest.raises(PackageError, match=text):
        parse_manifest({**raw, **change})


def test_a_file_entry_outside_the_folder_is_refused(package: Path) -> None:
    raw = json.loads((package / "manifest.json").read_text())
    raw["files"]["../x"] = {"size": 1, "sha256": "0"}
    with pytest.raises(PackageError, match="plain file name"):
        parse_manifest(raw)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000])
def test_a_damaged_manifest_is_a_package_error(package: Path, content: str) -> None:
    (package / "manifest.json").write_text(content)
    with pytest.raises(PackageError, match=r"manifest\.json"):
        read_manifest(package)


def test_a_folder_without_manifest_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no model package"):
        read_manifest(tmp_path)


def test_a_package_cannot_be_described_while_a_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is missing"):
        with_files(replace(PLAIN), tmp_path)
