"""The decoder's weights: checked against the table, mapped from the file or repacked for speed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from otter_desktop.decoder import bindings as c
from otter_desktop.decoder import keys, tensor_names
from otter_desktop.decoder.gguf import GgufFile
from otter_desktop.decoder.handles import Backend, Buffer, Context
from otter_desktop.decoder.hparams import KEY_OF_FIELD, Hparams
from otter_desktop.decoder.tensor_names import TensorSpec
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.errors import PackageError

_READABLE = {int(kind) for kind in TensorType}


@dataclass(frozen=True)
class _Place:
    """Where a group of tensors lives: a buffer type, or the mapped file (None)."""

    buffer_type: int | None


class Weights:
    """All tensors of one decoder on one back end, by GGUF name.

    `tensor` gives native tensors; `gate` gives tanh of a gated block's gate as a number.
    """

    def __init__(self, file: GgufFile, hparams: Hparams, backend: Backend) -> None:
        self._file = file
        self._backend = backend
        self._tensors: dict[str, int] = {}
        self._contexts: list[Context] = []
        self._buffers: list[Buffer] = []
        self.repacked: set[str] = set()
        self.on_cpu = backend.is_cpu
        specs = tensor_names.expected_tensors(hparams)
        self._gates = {
            spec.name: math.tanh(self._number(spec.name))
            for spec in specs.values()
            if spec.shape == (1,)
        }
        self._load(_by_place(file, specs, hparams, backend))
        file.forget_pages()

    def tensor(self, template: str, layer: int | None = None) -> int:
        """Return a native tensor; `template` is a name of `tensor_names`."""
        return self._tensors[template.format(n=layer)]

    def gate(self, template: str, layer: int) -> float:
        """Return tanh(gate) of a gated block."""
        return self._gates[template.format(n=layer)]

    def _number(self, name: str) -> float:
        return float(self._file.tensor_bytes(name).view(np.float32)[0])

    def _load(self, places: dict[_Place, list[tuple[str, TensorSpec]]]) -> None:
        for place, members in places.items():
            context = Context(len(members))
            self._contexts.append(context)
            for name, spec in members:
                self._tensors[name] = _new_tensor(context, self._file, name, spec)
            if place.buffer_type is None:
                self._map(members)
                continue
            buffer = context.allocate(place.buffer_type, "the model's weights")
            c.backend_buffer_set_usage(buffer.address, c.USAGE_WEIGHTS)
            self._buffers.append(buffer)
            extra = place.buffer_type != self._backend.buffer_type
            for name, spec in members:
                data = self._file.tensor_bytes(spec.name)
                c.backend_tensor_set(self._tensors[name], data.ctypes.data, 0, data.nbytes)
                if extra:
                    self.repacked.add(name)

    def _map(self, members: list[tuple[str, TensorSpec]]) -> None:
        """Point tensors into the mapped file: nothing is copied, pages come when needed."""
        data = self._file.data()
        address = c.backend_cpu_buffer_from_ptr(data.ctypes.data, data.nbytes)
        buffer = Buffer(address, "the mapped weights")
        c.backend_buffer_set_usage(buffer.address, c.USAGE_WEIGHTS)
        self._buffers.append(buffer)
        for name, spec in members:
            place = data.ctypes.data + self._file.tensors[spec.name].offset
            c.backend_tensor_alloc(buffer.address, self._tensors[name], place)

    def close(self) -> None:
        """Free the weights and unmap the file."""
        for handle in (*self._buffers, *self._contexts):
            handle.close()
        self._tensors.clear()
        self._file.close()


def read_hparams(file: GgufFile) -> Hparams:
    """Return the checked sizes of a decoder file; raises `PackageError`."""
    architecture = file.metadata.get(keys.GENERAL_ARCHITECTURE)
    if architecture != keys.ARCHITECTURE:
        raise PackageError(f"{file.path} holds a model of kind {architecture!r}, not an Otter.")
    version = file.metadata.get(keys.GENERAL_FILE_FORMAT)
    if version != keys.FORMAT_VERSION:
        raise PackageError(f"{file.path} has format {version!r}: this program reads format 1.")
    values = {
        field: file.metadata[key] for field, key in KEY_OF_FIELD.items() if key in file.metadata
    }
    for field, value in values.items():
        wanted = Hparams.__dataclass_fields__[field].type
        if type(value).__name__ != wanted:
            raise PackageError(f"{file.path}: {KEY_OF_FIELD[field]} is {value!r}, not {wanted}.")
    try:
        hparams = Hparams.from_mapping(values)
        hparams.check()
    except TypeError as error:
        lacking = [k for f, k in KEY_OF_FIELD.items() if f not in values]
        raise PackageError(f"{file.path} does not say {', '.join(lacking)}.") from error
    except ValueError as error:
        raise PackageError(f"{file.path}: {error}.") from error
    return hparams


def check_tensors(file: GgufFile, hparams: Hparams) -> None:
    """Raise `PackageError` unless the file has exactly the table's tensors, shaped as it says.

    ggml trusts shapes and types: what is wrong here would end the process there.
    """
    path: Path = file.path
    try:
        specs = tensor_names.expected_tensors(hparams)
    except ValueError as error:
        raise PackageError(f"{path}: {error}.") from error
    missing = [name for name in specs if name not in file.tensors]
    extra = [name for name in file.tensors if name not in specs]
    if missing:
        raise PackageError(f"{path} lacks {_some(missing)}: convert the checkpoint again.")
    if extra:
        raise PackageError(f"{path} has unknown tensors {_some(extra)}: convert it again.")
    for name, spec in specs.items():
        entry = file.tensors[name]
        if entry.shape != spec.shape:
            raise PackageError(f"{path}: {name} has shape {entry.shape}, not {spec.shape}.")
        allowed = {int(TensorType.F32)} if spec.role == "vector" else _READABLE
        if entry.type_code not in allowed:
            raise PackageError(f"{path}: {name} has a number format that is not supported.")
        kind = TensorType(entry.type_code)
        rows = math.prod(spec.shape[:-1])
        if entry.size_bytes != rows * kind.row_bytes(spec.shape[-1]):
            raise PackageError(f"{path}: {name} has {entry.size_bytes} bytes.")
        if entry.offset % c.TENSOR_ALIGNMENT:
            raise PackageError(f"{path}: {name} does not start at a multiple of 32 bytes.")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _by_place(
    file: GgufFile, specs: dict[str, TensorSpec], hparams: Hparams, backend: Backend
) -> dict[_Place, list[tuple[str, TensorSpec]]]:
    """Decide for each tensor where it lives; a tied output matrix may live apart, repacked."""
    default = _Place(None) if backend.is_cpu else _Place(backend.buffer_type)
    extras = backend.extra_buffer_types()
    places: dict[_Place, list[tuple[str, TensorSpec]]] = {}
    for name, spec in specs.items():
        place = default
        if spec.role == "matrix" or name == tensor_names.OUTPUT:
            place = _matrix_place(file, spec, backend, extras) or default
        places.setdefault(place, []).append((name, spec))
    if hparams.tied_output:
        spec = specs[tensor_names.TOKEN_EMBD]
        place = _matrix_place(file, spec, backend, extras) or default
        places.setdefault(place, []).append((tensor_names.OUTPUT, spec))
    return places


def _matrix_place(
    file: GgufFile, spec: TensorSpec, backend: Backend, extras: list[int]
) -> _Place | None:
    for buffer_type in extras:
        if _supports(file, spec, backend, buffer_type):
            return _Place(buffer_type)
    return None


def _supports(file: GgufFile, spec: TensorSpec, backend: Backend, buffer_type: int) -> bool:
    """Ask the device whether it multiplies this matrix from this buffer type.

    A matrix in a wrong buffer is a segmentation fault, so ggml itself is asked, with an empty
    buffer standing in for the real one.
    """
    with (
        Context(8) as context,
        Buffer(c.backend_buft_alloc_buffer(buffer_type, 0), "a trial") as buffer,
    ):
        weight = _new_tensor(context, file, spec.name, spec)
        c.Tensor.from_address(weight).buffer = buffer.address
        activations = c.new_tensor_2d(context.address, c.TYPE_F32, spec.shape[1], 512)
        product = c.mul_mat(context.address, weight, activations)
        return bool(c.backend_dev_supports_op(backend.device, product))


def _new_tensor(context: Context, file: GgufFile, name: str, spec: TensorSpec) -> int:
    kind = file.tensors[spec.name].type_code
    if len(spec.shape) == 1:
        tensor: int = c.new_tensor_1d(context.address, kind, spec.shape[0])
    else:
        tensor = c.new_tensor_2d(context.address, kind, spec.shape[1], spec.shape[0])
    c.set_name(tensor, name.encode())
    return tensor
