"""The tensors of a checkpoint, read from its files one at a time and mapped, not loaded."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from otter_desktop.errors import CheckpointError

_IGNORED = re.compile(r"(position_ids|rotary_emb\.inv_freq|(attn|attention)\.(masked_)?bias)$")
"""Buffers that old versions of libraries wrote into state dicts (never `…_attn.norm.bias`)."""

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class _Entry:
    shape: tuple[int, ...]
    load: Callable[[], Tensor]


class TensorFiles(Mapping[str, Tensor]):
    """Tensors by name from one or several files; a value is read when it is asked for."""

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self._entries = dict(entries)

    @classmethod
    def open(cls, paths: list[Path]) -> TensorFiles:
        """Open files and join what they hold; raises `CheckpointError` for a damaged one."""
        entries: dict[str, _Entry] = {}
        for path in paths:
            for name, entry in _open_file(path):
                plain = name.removeprefix("module.")
                if _IGNORED.search(plain):
                    continue
                if plain in entries:
                    raise CheckpointError(f"{path} holds {plain}, which another file holds too.")
                entries[plain] = entry
        return cls(entries)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors, without reading them."""
        return {name: entry.shape for name, entry in self._entries.items()}

    def without(self, names: frozenset[str]) -> TensorFiles:
        """Return the same files without some of their tensors."""
        return TensorFiles({n: entry for n, entry in self._entries.items() if n not in names})

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Read all tensors below a prefix, which is cut off their names."""
        return {name.removeprefix(prefix): self[name] for name in self if name.startswith(prefix)}

    def __getitem__(self, name: str) -> Tensor:
        return self._entries[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights, shards in the order of their index.

    Raises `CheckpointError` when there are none or when a shard of the index is missing.
    """
    for name in SINGLE_FILES:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return [folder / name]
        if index.is_file():
            return _shards(index)
    raise CheckpointError(
        f"{folder} has no weights: expected {' or '.join(SINGLE_FILES)}, or their shards."
    )


def _shards(index: Path) -> list[Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = list(dict.fromkeys(weight_map.values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f"{index} is no index of shards: download it again.") from None
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{index} names {name!r}, which is no plain file name.")
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index.parent} lacks the shard {name}: download it.")
    return [index.parent / name for name in names]


def _open_file(path: Path) -> Iterator[tuple[str, _Entry]]:
    if path.suffix == ".safetensors":
        yield from _open_safetensors(path)
    else:
        yield from _open_pickle(path)


def _open_safetensors(path: Path) -> Iterator[tuple[str, _Entry]]:
    try:
        file: Any = safe_open(path, framework="pt")
        names = list(file.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or cannot be read: {error}") from None
    for name in names:
        shape = tuple(file.get_slice(name).get_shape())
        yield name, _Entry(shape, partial(file.get_tensor, name))


def _open_pickle(path: Path) -> Iterator[tuple[str, _Entry]]:
    try:
        # weights_only: a pickle that builds anything but tensors is refused, never run.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd pickle protocols: refused below anyway
            state = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors, which would be run: it is refused."
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is damaged or cannot be read: {reason}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds no dictionary of tensors.")
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path} holds {name!r}, which is no tensor.")
        yield name, _Entry(tuple(tensor.shape), tensor.detach)
