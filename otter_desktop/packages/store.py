"""The models on this computer: the built-in one and the imported ones, a folder each."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from otter_desktop.errors import PackageError
from otter_desktop.manifest import (
    BUILTIN_NAME,
    MANIFEST_NAME,
    Manifest,
    builtin_folder,
    find_package,
    models_dir,
    parse_manifest,
    read_manifest,
    verify_files,
)

ARCHIVE_SUFFIX = ".otterpkg"
_MANIFEST_LIMIT_BYTES = 1 << 20
_LEFTOVER_AGE_S = 86_400
# RuntimeError: encrypted, an unknown compression, or a manifest that is nested too deeply.
_ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class InstalledPackage:
    """A package on this computer; one that cannot be read has an `error` and no manifest."""

    name: str
    folder: Path
    builtin: bool
    manifest: Manifest | None
    error: str | None = None


def list_packages() -> list[InstalledPackage]:
    """Return the built-in model, where it is installed, and the imported ones by name."""
    found = []
    if (builtin_folder() / MANIFEST_NAME).is_file():
        found.append(_described(builtin_folder(), builtin=True))
    with suppress(OSError):
        found += [
            _described(folder, builtin=False)
            for folder in sorted(models_dir().iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        ]
    return found


def open_package(model: str | Path | None) -> tuple[Path, Manifest]:
    """Return the folder and manifest of a package by name or folder; None is the built-in one.

    Raises `PackageError`.
    """
    folder = find_package(model)
    return folder, read_manifest(folder)


def verify_package(model: str | Path | None) -> tuple[Path, Manifest]:
    """Check every byte of a package against its manifest; raises `PackageError`."""
    folder, manifest = open_package(model)
    verify_files(folder, manifest)
    return folder, manifest


def import_package(source: Path) -> InstalledPackage:
    """Install a package folder or a `.otterpkg` archive (a ZIP file of one).

    It is copied beside its place, verified, and renamed into it: it appears whole or not at all.
    Raises `PackageError` where it is damaged, already installed, or the disk is too full.
    """
    if source.is_dir():
        manifest = read_manifest(source)
    elif source.is_file():
        manifest = _archived_manifest(source)
    else:
        raise PackageError(f"{source} does not exist: give a package folder or archive.")
    target = models_dir() / manifest.name
    if manifest.name == BUILTIN_NAME or target.exists():
        raise PackageError(
            f"A model named {manifest.name} is installed already: remove it first with "
            f"`otter models remove {manifest.name}`."
        )
    try:
        with _staging(manifest) as part:
            _copy(source, part, manifest)
            verify_files(part, read_manifest(part))
            part.rename(target)
    except OSError as error:
        raise PackageError(
            f"{manifest.name} cannot be installed in {models_dir()}: {error.strerror or error}."
        ) from error
    return _described(target, builtin=False)


def remove_package(name: str) -> Path:
    """Remove an imported package; returns where it was. Raises `PackageError`."""
    if name == BUILTIN_NAME:
        raise PackageError("The built-in model is part of the program and stays.")
    installed = {package.name: package for package in list_packages() if not package.builtin}
    if name not in installed:
        raise PackageError(f"No model named {name!r} is installed: see `otter models list`.")
    folder = installed[name].folder
    # Renamed first: whatever happens while deleting, no half of a package is left in its place.
    grave = folder.with_name(f".removed-{os.getpid()}-{name}")
    try:
        folder.rename(grave)
        shutil.rmtree(grave)
    except OSError as error:
        raise PackageError(f"{folder} cannot be removed: {error.strerror}.") from error
    return folder


def _described(folder: Path, *, builtin: bool) -> InstalledPackage:
    try:
        return InstalledPackage(folder.name, folder, builtin, read_manifest(folder))
    except PackageError as error:
        return InstalledPackage(folder.name, folder, builtin, None, error.message)


@contextmanager
def _staging(manifest: Manifest) -> Iterator[Path]:
    """Lend a new folder beside the packages; what is left of it at the end is removed."""
    models_dir().mkdir(parents=True, exist_ok=True)
    _sweep()
    free = shutil.disk_usage(models_dir()).free
    if free < manifest.size_bytes:
        raise PackageError(
            f"{manifest.name} needs {manifest.size_bytes / 1e9:.1f} GB, but {models_dir()} has "
            f"{free / 1e9:.1f} GB free: make room first."
        )
    part = models_dir() / f".import-{os.getpid()}-{manifest.name}"
    try:
        part.mkdir()
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sweep() -> None:
    """Remove what an import or removal left that was killed more than a day ago."""
    for folder in models_dir().iterdir():
        if folder.name.startswith((".import-", ".removed-")):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _LEFTOVER_AGE_S:
                    shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, part: Path, manifest: Manifest) -> None:
    """Copy the manifest and the files that it lists, and nothing else."""
    names = [MANIFEST_NAME, *manifest.files]
    if source.is_dir():
        for name in names:
            if not (source / name).is_file():
                raise PackageError(f"{source / name} is missing: the package is incomplete.")
            shutil.copyfile(source / name, part / name)
        return
    with zipfile.ZipFile(source) as archive:
        for name in names:
            limit = manifest.files[name].size if name in manifest.files else _MANIFEST_LIMIT_BYTES
            _extract(archive, name, part, source, limit)


def _extract(
    archive: zipfile.ZipFile, name: str, part: Path, source: Path, limit_bytes: int
) -> None:
    member = _member(archive, name, source)
    if member.file_size > limit_bytes:
        raise PackageError(f"{source} is damaged: {name} is larger than its manifest says.")
    try:
        with archive.open(member) as reading, (part / name).open("wb") as writing:
            shutil.copyfileobj(reading, writing, 1 << 20)
    except _ARCHIVE_ERRORS as error:
        raise PackageError(f"{source} is damaged ({error}): get it again.") from error


def _member(archive: zipfile.ZipFile, name: str, source: Path) -> zipfile.ZipInfo:
    """Find a file of the package, at the top of the archive or in its one folder."""
    found = [info for info in archive.infolist() if info.filename.split("/")[-1] == name]
    found = [info for info in found if info.filename.count("/") <= 1]
    if len(found) != 1:
        raise PackageError(f"{source} holds no model package: {name} is not in it.")
    return found[0]


def _archived_manifest(source: Path) -> Manifest:
    try:
        with zipfile.ZipFile(source) as archive:
            member = _member(archive, MANIFEST_NAME, source)
            if member.file_size > _MANIFEST_LIMIT_BYTES:
                raise PackageError(f"{source} is damaged: its manifest is too large.")
            raw = json.loads(archive.read(member))
    except (*_ARCHIVE_ERRORS, ValueError, OSError) as error:
        raise PackageError(
            f"{source} is no model package: give a package folder or a {ARCHIVE_SUFFIX} file."
        ) from error
    return parse_manifest(raw, where=f"{source}:{MANIFEST_NAME}")
