"""GGUF files through ggml's own reader and writer: metadata, tensor directory, mapped data."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from otter_desktop.closing import Closing
from otter_desktop.decoder import bindings as c
from otter_desktop.decoder.handles import Context, Handle, take_last_message
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.errors import PackageError

Value = str | int | float | bool

_GETTERS: dict[int, Any] = {
    c.GGUF_UINT32: c.gguf_get_val_u32,
    c.GGUF_INT32: c.gguf_get_val_i32,
    c.GGUF_UINT64: c.gguf_get_val_u64,
    c.GGUF_INT64: c.gguf_get_val_i64,
    c.GGUF_FLOAT32: c.gguf_get_val_f32,
    c.GGUF_FLOAT64: c.gguf_get_val_f64,
    c.GGUF_BOOL: c.gguf_get_val_bool,
}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file; `offset` in bytes from the start of the file."""

    name: str
    type_code: int
    shape: tuple[int, ...]  # (rows, columns) or (columns,), as in torch
    offset: int
    size_bytes: int


class GgufFile(Closing):
    """An open GGUF file: metadata and tensor directory read, tensor data mapped into memory."""

    def __init__(self, path: Path) -> None:
        """Read the directory; raises `PackageError` where the file is missing or damaged."""
        self.path = path
        self._map: mmap.mmap | None = None
        self._data: NDArray[np.uint8] | None = None
        self.size_bytes = _file_size(path)
        tensors = ctypes.c_void_p()
        take_last_message()
        params = c.GgufInitParams(no_alloc=True, ctx=ctypes.pointer(tensors))
        address = c.gguf_init_from_file(os.fsencode(path), params)
        if not address:
            raise PackageError(f"{path} is damaged or no decoder file: {take_last_message()}")
        with Handle(address, c.gguf_free, "the file's directory") as gguf:
            try:
                self.metadata = _read_metadata(gguf.address)
                self.tensors = _read_entries(gguf.address, tensors.value)
            finally:
                c.free(tensors)
        for entry in self.tensors.values():
            if entry.offset + entry.size_bytes > self.size_bytes:
                raise PackageError(f"{path} is cut off: tensor {entry.name} is not complete.")

    def data(self) -> NDArray[np.uint8]:
        """Return the whole file as mapped bytes; pages are read when they are touched."""
        if self._data is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._data = np.frombuffer(self._map, np.uint8)
        return self._data

    def tensor_bytes(self, name: str) -> NDArray[np.uint8]:
        """Return the mapped bytes of one tensor."""
        entry = self.tensors[name]
        return self.data()[entry.offset : entry.offset + entry.size_bytes]

    def forget_pages(self) -> None:
        """Give back the memory of pages read so far: repacked weights are not read again.

        What is read again comes from the system's cache of the file.
        """
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap the data; nothing may point into it any more."""
        self._data = None
        if self._map is not None:
            mapped, self._map = self._map, None
            try:
                mapped.close()
            except BufferError:  # an array of it lives on: its last reference unmaps
                return


def _file_size(path: Path) -> int:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}.") from error
    if magic != b"GGUF":
        raise PackageError(f"{path} is no decoder file: it does not start like a GGUF file.")
    return size


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _read_metadata(gguf: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for index in range(c.gguf_get_n_kv(gguf)):
        key = _text(c.gguf_get_key(gguf, index))
        kind = c.gguf_get_kv_type(gguf, index)
        if kind == c.GGUF_STRING:
            values[key] = _text(c.gguf_get_val_str(gguf, index))
        elif kind in _GETTERS:
            values[key] = _GETTERS[kind](gguf, index)
    return values


def _read_entries(gguf: int, context: int | None) -> dict[str, TensorEntry]:
    start = c.gguf_get_data_offset(gguf)
    entries: dict[str, TensorEntry] = {}
    address = c.get_first_tensor(context) if context else None
    for index in range(c.gguf_get_n_tensors(gguf)):
        name = _text(c.gguf_get_tensor_name(gguf, index))
        if not address:
            raise PackageError("the directory of tensors is damaged.")
        tensor = c.Tensor.from_address(address)
        dims = list(tensor.ne)
        while len(dims) > 1 and dims[-1] == 1:
            dims.pop()
        entries[name] = TensorEntry(
            name=name,
            type_code=c.gguf_get_tensor_type(gguf, index),
            shape=tuple(reversed(dims)),
            offset=start + c.gguf_get_tensor_offset(gguf, index),
            size_bytes=c.gguf_get_tensor_size(gguf, index),
        )
        address = c.get_next_tensor(context, address)
    return entries


class GgufWriter:
    """Writes one GGUF file: everything declared first, then each tensor's bytes in any order.

    The file appears under its name only when `finish` was called; leaving `with` by an error
    leaves nothing behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        self._gguf = Handle(c.gguf_init_empty(), c.gguf_free, "a file's directory")
        self._shapes: dict[str, tuple[tuple[int, ...], TensorType]] = {}
        self._entries: dict[str, tuple[int, int]] = {}
        self._written: set[str] = set()
        self._file: Any = None

    def set(self, key: str, value: Value) -> None:
        """Set one metadata value; numbers become u32 (where they fit) or f32."""
        gguf, name = self._gguf.address, key.encode()
        if isinstance(value, bool):
            c.gguf_set_val_bool(gguf, name, value)
        elif isinstance(value, int):
            if 0 <= value < 1 << 32:
                c.gguf_set_val_u32(gguf, name, value)
            else:
                c.gguf_set_val_i64(gguf, name, value)
        elif isinstance(value, float):
            c.gguf_set_val_f32(gguf, name, value)
        else:
            if "\0" in value:
                raise ValueError(f"{key} holds a zero character")
            c.gguf_set_val_str(gguf, name, value.encode())

    def set_all(self, values: Mapping[str, Value]) -> None:
        """Set several metadata values."""
        for key, value in values.items():
            self.set(key, value)

    def declare(self, name: str, shape: tuple[int, ...], kind: TensorType) -> None:
        """Announce a tensor of shape (rows, columns) or (columns,)."""
        if len(name.encode()) > 63 or not 1 <= len(shape) <= 2 or shape[-1] % kind.block_length:
            raise ValueError(f"tensor {name} of shape {shape} cannot be stored as {kind.name}")
        self._shapes[name] = (shape, kind)

    def begin(self) -> None:
        """Write the directory; after it only `write` and `finish`."""
        with Context(len(self._shapes)) as context:
            for name, (shape, kind) in self._shapes.items():
                if len(shape) == 1:
                    tensor = c.new_tensor_1d(context.address, int(kind), shape[0])
                else:
                    tensor = c.new_tensor_2d(context.address, int(kind), shape[1], shape[0])
                c.set_name(tensor, name.encode())
                c.gguf_add_tensor(self._gguf.address, tensor)
        size = c.gguf_get_meta_size(self._gguf.address)
        meta = np.empty(size, np.uint8)
        c.gguf_get_meta_data(self._gguf.address, meta.ctypes.data)
        for name in self._shapes:
            index = c.gguf_find_tensor(self._gguf.address, name.encode())
            offset = size + c.gguf_get_tensor_offset(self._gguf.address, index)
            self._entries[name] = (offset, c.gguf_get_tensor_size(self._gguf.address, index))
        self._file = self._partial.open("wb")
        self._file.write(meta.data)

    def write(self, name: str, data: NDArray[np.uint8]) -> None:
        """Write the bytes of one declared tensor at its place."""
        offset, size = self._entries[name]
        shape, _ = self._shapes[name]
        if data.nbytes != size or math.prod(shape) == 0:
            raise ValueError(f"tensor {name} has {data.nbytes} bytes, {size} were declared")
        self._file.seek(offset)
        self._file.write(np.ascontiguousarray(data).data)
        self._written.add(name)

    def finish(self) -> None:
        """Complete the file and give it its name; raises `ValueError` when a tensor lacks."""
        missing = sorted(set(self._entries) - self._written)
        if missing:
            raise ValueError(f"tensors were declared but not written: {', '.join(missing)}")
        ends = [offset + size for offset, size in self._entries.values()]
        if ends:
            # Readers expect the padding after the last tensor too.
            self._file.truncate(-(-max(ends) // c.TENSOR_ALIGNMENT) * c.TENSOR_ALIGNMENT)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gguf.close()
        if self._file is not None and not self._file.closed:
            self._file.close()
        self._partial.unlink(missing_ok=True)
