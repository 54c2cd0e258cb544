"""`otter models`: the packages on this computer."""

from __future__ import annotations

import argparse
from typing import Any

from otter_desktop.cli.output import clean, print_json, say
from otter_desktop.manifest import Manifest
from otter_desktop.packages.store import (
    InstalledPackage,
    import_package,
    list_packages,
    open_package,
    remove_package,
    verify_package,
)


def run(arguments: argparse.Namespace) -> int:
    """Run one action; returns the exit code, raises `PackageError`."""
    actions = {
        "list": _list,
        "show": _show,
        "verify": _verify,
        "import": _import,
        "remove": _remove,
    }
    actions[arguments.action](arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    for package in list_packages():
        if arguments.json:
            print_json(_as_json(package))
        elif package.manifest is None:
            say(clean(f"{package.name:24} cannot be used: {package.error}"))
        else:
            kind = "built-in" if package.builtin else "imported"
            manifest = package.manifest
            say(
                clean(
                    f"{package.name:24} {_size(manifest):>9}  {manifest.quantization:8} {kind}  "
                    f"{manifest.title}: {manifest.domain}"
                )
            )


def _show(arguments: argparse.Namespace) -> None:
    folder, manifest = open_package(arguments.model)
    if arguments.json:
        print_json({"folder": folder, "manifest": manifest})
        return
    rows = {
        "name": manifest.name,
        "title": manifest.title,
        "knows": manifest.domain,
        "can": ", ".join(manifest.capabilities) or "not stated",
        "licence": manifest.licence,
        "source": manifest.source,
        "size": f"{_size(manifest)}, {manifest.quantization}",
        "frames": f"{manifest.default_frames} by default, at most {manifest.max_frames}",
        "template": manifest.template,
        "folder": str(folder),
    }
    for key, value in rows.items():
        say(clean(f"{key:9} {value}"))


def _verify(arguments: argparse.Namespace) -> None:
    folder, manifest = verify_package(arguments.model)
    if arguments.json:
        print_json({"event": "verified", "name": manifest.name, "folder": folder})
    else:
        say(clean(f"{manifest.name}: every file is as the manifest promises."))


def _import(arguments: argparse.Namespace) -> None:
    package = import_package(arguments.model)
    if arguments.json:
        print_json({"event": "imported", **_as_json(package)})
    else:
        say(clean(f"{package.name} is installed in {package.folder}."))


def _remove(arguments: argparse.Namespace) -> None:
    folder = remove_package(arguments.model)
    if arguments.json:
        print_json({"event": "removed", "name": arguments.model, "folder": folder})
    else:
        say(clean(f"{arguments.model} is removed."))


def _as_json(package: InstalledPackage) -> dict[str, Any]:
    manifest = package.manifest
    return {
        "name": package.name,
        "folder": package.folder,
        "builtin": package.builtin,
        "error": package.error,
        "title": manifest.title if manifest else None,
        "domain": manifest.domain if manifest else None,
        "quantization": manifest.quantization if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
    }


def _size(manifest: Manifest) -> str:
    size = manifest.size_bytes
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
