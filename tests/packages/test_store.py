"""The store: import whole or not at all, list, remove."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from otter_desktop.errors import PackageError
from otter_desktop.manifest import (
    BUILTIN_NAME,
    PACKAGE_FILES,
    Manifest,
    PixelRules,
    find_package,
    models_dir,
    with_files,
    write_manifest,
)
from otter_desktop.packages.store import (
    import_package,
    list_packages,
    open_package,
    remove_package,
    verify_package,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "some folder"
    folder.mkdir()
    for name in PACKAGE_FILES:
        (folder / name).write_bytes(name.encode())
    (folder / "notes.txt").write_text("not part of the package")
    manifest = Manifest(
        name="tiny",
        title="Tiny",
        licence="Apache-2.0",
        source="made for a test",
        domain="nothing",
        preprocessing=PixelRules(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        max_frames=8,
        default_frames=4,
        quantization="f32",
    )
    write_manifest(folder, with_files(manifest, folder))
    return folder


def imported() -> list[str]:
    return [package.name for package in list_packages() if not package.builtin]


def leftovers() -> list[str]:
    return [path.name for path in models_dir().glob(".*")] if models_dir().exists() else []


def test_an_imported_folder_is_found_by_name_and_holds_only_the_package(source: Path) -> None:
    package = import_package(source)
    assert package.name == "tiny"
    assert package.folder == find_package("tiny") == models_dir() / "tiny"
    assert {path.name for path in package.folder.iterdir()} == {"manifest.json", *PACKAGE_FILES}
    assert verify_package("tiny")[1].title == "Tiny"
    assert imported() == ["tiny"]
    assert leftovers() == []


@pytest.mark.parametrize("inside", ["", "tiny/"])
def test_an_archive_is_imported(source: Path, tmp_path: Path, inside: str) -> None:
    archive = tmp_path / "tiny.otterpkg"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("manifest.json", *PACKAGE_FILES):
            file.write(source / name, inside + name)
    import_package(archive)
    verify_package("tiny")


@pytest.mark.parametrize("name", ["decoder.gguf", "resampler.onnx"])
def test_a_damaged_package_leaves_nothing_behind(source: Path, name: str) -> None:
    (source / name).write_bytes(b"x" * len(name))
    with pytest.raises(PackageError, match="SHA-256"):
        import_package(source)
    assert imported() == leftovers() == []


def test_an_incomplete_package_is_refused(source: Path) -> None:
    (source / "decoder.gguf").unlink()
    with pytest.raises(PackageError, match="incomplete"):
        import_package(source)
    assert imported() == leftovers() == []


def test_a_damaged_archive_is_refused(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.otterpkg"
    archive.write_bytes(b"PK not really")
    with pytest.raises(PackageError, match="no model package"):
        import_package(archive)


def test_an_encrypted_archive_is_refused(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.otterpkg"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(source / "manifest.json", "manifest.json")
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag "encrypted", before the file and in the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(PackageError, match="no model package"):
        import_package(archive)


def test_an_archive_that_unpacks_to_more_than_it_says_is_refused(
    source: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "tiny.otterpkg"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in source.iterdir():
            grown = path.name == "decoder.gguf"
            file.writestr(path.name, bytes(10_000) if grown else path.read_bytes())
    with pytest.raises(PackageError, match=r"decoder\.gguf is larger than"):
        import_package(archive)
    assert (imported(), leftovers()) == ([], [])


def test_a_second_import_of_the_same_name_is_refused_and_the_first_stays(source: Path) -> None:
    import_package(source)
    with pytest.raises(PackageError, match="installed already"):
        import_package(source)
    verify_package("tiny")


def test_a_full_disk_is_said_before_anything_is_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage("/"))(10, 10, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PackageError, match="make room"):
        import_package(source)
    assert imported() == leftovers() == []


def test_a_removed_package_is_gone(source: Path) -> None:
    import_package(source)
    remove_package("tiny")
    assert imported() == leftovers() == []
    with pytest.raises(PackageError, match="No model named 'tiny'"):
        remove_package("tiny")


def test_what_a_killed_import_left_goes_with_the_next_one_but_a_running_one_stays(
    source: Path,
) -> None:
    old, new = models_dir() / ".import-1-old", models_dir() / ".import-2-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    import_package(source)
    assert leftovers() == [new.name]


@pytest.mark.parametrize("name", ["../x", BUILTIN_NAME, "", "."])
def test_only_imported_packages_can_be_removed(name: str) -> None:
    with pytest.raises(PackageError):
        remove_package(name)


def test_a_package_that_cannot_be_read_is_listed_with_its_error(source: Path) -> None:
    folder = import_package(source).folder
    (folder / "manifest.json").write_text("{")
    (package,) = [package for package in list_packages() if not package.builtin]
    assert package.manifest is None
    assert package.error is not None
    assert "not valid JSON" in package.error


def test_a_package_opens_by_folder(source: Path) -> None:
    assert open_package(str(source))[0] == source
    with pytest.raises(PackageError, match="no model"):
        open_package("elsewhere/nothing")
