"""What a model package says about itself: `manifest.json`, read, written and checked.

A leaf module: the engine, the store and the exporter all read the same description, and the
engine may not import the store.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from otter_desktop.errors import PackageError
from otter_desktop.hashing import sha256_file
from otter_desktop.paths import assets_dir, data_dir

FORMAT_VERSION = 1
BUILTIN_NAME = "otter-storybook"
MANIFEST_NAME = "manifest.json"
VISION_ENCODER_NAME = "vision_encoder.onnx"
RESAMPLER_NAME = "resampler.onnx"
DECODER_NAME = "decoder.gguf"
PACKAGE_FILES = (VISION_ENCODER_NAME, RESAMPLER_NAME, DECODER_NAME)
TEMPLATES = ("spaced", "simple", "llama2", "openflamingo")
ALBUM_TEMPLATES = ("question_each", "media_first")
FITS = ("crop", "squash", "letterbox")
_LARGEST_IMAGE = 4096
"""Edge in pixels, far above any published model: a wrong number must not fill the memory."""


@dataclass(frozen=True)
class SpecialTokens:
    """The texts of the tokens that Otter adds; `answer` is None where the model has none."""

    end_of_chunk: str = "<|endofchunk|>"
    image: str = "<image>"
    answer: str | None = "<answer>"
    pad: str | None = "<PAD>"


@dataclass(frozen=True)
class PixelRules:
    """How a frame becomes pixels: edge length, mean and deviation per channel, and the fit."""

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "crop"


@dataclass(frozen=True)
class FileEntry:
    """One file of the package."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A package's description; `write_manifest` and `read_manifest` are inverse."""

    name: str
    title: str
    licence: str
    source: str
    domain: str
    preprocessing: PixelRules
    max_frames: int
    default_frames: int
    quantization: str
    special_tokens: SpecialTokens = field(default_factory=SpecialTokens)
    template: str = "spaced"
    album_template: str = "media_first"
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    banned_strings: tuple[str, ...] = ()
    architecture: str = "otter"
    format: int = FORMAT_VERSION
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys that this version does not know; kept when the manifest is written again."""

    @property
    def size_bytes(self) -> int:
        """What the package's files take on disk."""
        return sum(entry.size for entry in self.files.values())

    @property
    def vision_hash(self) -> str:
        """Identifies the two vision models together: part of the latent cache's key."""
        return "-".join(self.files[name].sha256 for name in (VISION_ENCODER_NAME, RESAMPLER_NAME))


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` of a package folder, without opening its other files.

    Raises `PackageError` where it is missing, not JSON, of a newer format or has wrong values.
    """
    path = folder / MANIFEST_NAME
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackageError(f"{folder} is no model package: it has no {MANIFEST_NAME}.") from None
    except NotADirectoryError:
        raise PackageError(f"{folder} is a file, not a model package folder.") from None
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError):
        raise PackageError(f"{path} is not valid JSON: the package is damaged.") from None
    return parse_manifest(raw, where=str(path))


def builtin_folder() -> Path:
    """Return the folder of the model that ships with the program; it may be missing."""
    return assets_dir() / "builtin-model" / BUILTIN_NAME


def models_dir() -> Path:
    """Return the folder that holds imported packages, a folder each; not created here."""
    return data_dir() / "models"


def find_package(model: str | Path | None) -> Path:
    """Return the folder of a package by name or by folder; None is the built-in model.

    A name without separators is looked up among the installed models first. Raises
    `PackageError` where there is none.
    """
    if model is None or str(model) == BUILTIN_NAME:
        folder = builtin_folder()
        if not (folder / MANIFEST_NAME).is_file():
            raise PackageError(
                f"The built-in model is not in this installation ({folder}): install the program "
                "again, or name another model."
            )
        return folder
    if isinstance(model, str) and is_package_name(model):
        folder = models_dir() / model
        if (folder / MANIFEST_NAME).is_file():
            return folder
    folder = Path(model)
    if not folder.exists():
        raise PackageError(
            f"There is no model {str(model)!r}, neither installed nor as a folder: "
            "`otter models list` shows the installed ones."
        )
    return folder


def parse_manifest(raw: object, *, where: str = MANIFEST_NAME) -> Manifest:
    """Make a `Manifest` of parsed JSON; raises `PackageError` that names `where`."""
    if not isinstance(raw, dict):
        raise PackageError(f"{where} holds no JSON object.")
    version = raw.get("format")
    if not isinstance(version, int) or version < 1:
        raise PackageError(f"{where} has no valid format number.")
    if version > FORMAT_VERSION:
        raise PackageError(
            f"{where} has format {version}, made for a newer version of this program; "
            f"this one reads up to {FORMAT_VERSION}. Update the program."
        )
    try:
        manifest = _from_json(raw)
    except KeyError as error:
        raise PackageError(f"{where} lacks the key {error}.") from None
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise PackageError(f"{where} has a wrong value: {error}") from None
    _check(manifest, where)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a folder, whole or not at all."""
    content = asdict(manifest)
    content.update(content.pop("extra"))
    ordered = {"format": content.pop("format"), **content}
    path = folder / MANIFEST_NAME
    temporary = path.with_name(MANIFEST_NAME + ".part")
    temporary.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(path)


def with_files(manifest: Manifest, folder: Path) -> Manifest:
    """Return the manifest with sizes and hashes of the package files that lie in `folder`."""
    entries = {}
    for name in PACKAGE_FILES:
        path = folder / name
        if not path.is_file():
            raise PackageError(f"{path} is missing: the package is incomplete.")
        entries[name] = FileEntry(size=path.stat().st_size, sha256=sha256_file(path))
    return replace(manifest, files=entries)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that the package's files exist with the sizes promised (quick; reads nothing).

    Raises `PackageError` that names the first bad file.
    """
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError:
            raise PackageError(f"{path} is missing: import the package again.") from None
        if size != entry.size:
            raise PackageError(
                f"{path} has {size} bytes, not {entry.size}: the package is damaged; "
                "import it again."
            )


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check sizes and SHA-256 of all files of the package (reads every byte).

    Raises `PackageError` that names the first bad file.
    """
    check_files(folder, manifest)
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise PackageError(f"{path} cannot be read: {error.strerror}.") from error
        if digest != entry.sha256:
            raise PackageError(
                f"{path} does not have the SHA-256 that the manifest promises: the package is "
                "damaged; import it again."
            )


def _from_json(raw: Mapping[str, Any]) -> Manifest:
    known = {item.name for item in fields(Manifest)} - {"extra"}
    pixels = raw["preprocessing"]
    special = raw.get("special_tokens", {})
    return Manifest(
        name=_text(raw, "name"),
        title=_text(raw, "title"),
        licence=_text(raw, "licence"),
        source=_text(raw, "source"),
        domain=_text(raw, "domain"),
        architecture=_text(raw, "architecture"),
        quantization=_text(raw, "quantization"),
        template=str(raw.get("template", "spaced")),
        album_template=str(raw.get("album_template", "media_first")),
        max_frames=int(raw["max_frames"]),
        default_frames=int(raw["default_frames"]),
        special_tokens=SpecialTokens(
            end_of_chunk=str(special.get("end_of_chunk", "<|endofchunk|>")),
            image=str(special.get("image", "<image>")),
            answer=_text(special, "answer") if special.get("answer") is not None else None,
            pad=_text(special, "pad") if special.get("pad") is not None else None,
        ),
        preprocessing=PixelRules(
            image_size=int(pixels["image_size"]),
            mean=_three(pixels["mean"]),
            std=_three(pixels["std"]),
            fit=str(pixels.get("fit", "crop")),
        ),
        files={
            str(name): FileEntry(size=int(entry["size"]), sha256=str(entry["sha256"]).lower())
            for name, entry in raw["files"].items()
        },
        capabilities=tuple(str(task) for task in raw.get("capabilities", ())),
        banned_strings=tuple(str(text) for text in raw.get("banned_strings", ())),
        format=int(raw["format"]),
        extra={key: value for key, value in raw.items() if key not in known},
    )


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not text.")
    return value


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    if not all(map(math.isfinite, (red, green, blue))):
        raise ValueError(f"{values} are no colours")
    return red, green, blue


def _check(manifest: Manifest, where: str) -> None:
    problems = [
        (manifest.architecture != "otter", f"architecture {manifest.architecture!r} is unknown"),
        (manifest.template not in TEMPLATES, f"template {manifest.template!r} is unknown"),
        (
            manifest.album_template not in ALBUM_TEMPLATES,
            f"album_template {manifest.album_template!r} is unknown",
        ),
        (manifest.preprocessing.fit not in FITS, f"fit {manifest.preprocessing.fit!r} is unknown"),
        (
            not 1 <= manifest.preprocessing.image_size <= _LARGEST_IMAGE,
            f"image_size is not between 1 and {_LARGEST_IMAGE}",
        ),
        (min(manifest.preprocessing.std) <= 0, "std is not positive"),
        (manifest.max_frames < 1, "max_frames is not positive"),
        (
            not 1 <= manifest.default_frames <= manifest.max_frames,
            "default_frames is not between 1 and max_frames",
        ),
        (not is_package_name(manifest.name), f"the name {manifest.name!r} is no plain folder name"),
    ]
    for wrong, text in problems:
        if wrong:
            raise PackageError(f"{where}: {text}.")
    for name in PACKAGE_FILES:
        if name not in manifest.files:
            raise PackageError(f"{where} does not list {name}.")
    for name in manifest.files:
        if Path(name).name != name or name in ("", ".", ".."):
            raise PackageError(f"{where} lists {name!r}, which is no plain file name.")


def is_package_name(name: str) -> bool:
    """Whether a name can be a package's folder: no separators, no leading dot, not blank."""
    return bool(name.strip()) and not name.startswith(".") and not set(name) & set('/\\:\0*?"<>|')
