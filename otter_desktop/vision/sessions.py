"""ONNX Runtime sessions: which device, how many threads, and what a damaged model raises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from otter_desktop.cores import physical_cores
from otter_desktop.errors import DeviceError, PackageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Port:
    """One input or output of a model; a dimension that is not fixed is None."""

    name: str
    shape: tuple[int | None, ...]


class OnnxSession:
    """One ONNX model with one input and one output, float32, ready to run."""

    def __init__(self, path: Path, *, device: str, threads: int | None) -> None:
        """Load a model.

        Raises `PackageError` where the file is missing, damaged or of another form, and
        `DeviceError` where the device does not exist.
        """
        self._path = path
        if not path.is_file():
            raise PackageError(f"{path} is missing; import or download the model again.")
        self._session: Any = _create(path, device, threads)
        self.input = _only_port(path, "input", self._session.get_inputs())
        self.output = _only_port(path, "output", self._session.get_outputs())
        # ONNX Runtime falls back to the CPU by itself where a GPU cannot be set up.
        self.device_name = "GPU (CUDA)" if self._session.get_providers()[0] == _CUDA else "CPU"
        if device.startswith("gpu") and self.device_name == "CPU":
            raise DeviceError(
                "The GPU cannot be used (CUDA or cuDNN did not load); update the driver, or "
                "choose the CPU."
            )

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the model once."""
        try:
            (result,) = self._session.run([self.output.name], {self.input.name: values})
        except _errors() as error:
            reason = _first_line(error)
            if "alloc" in reason.lower() or "out of memory" in reason.lower():
                raise DeviceError(
                    f"The {self.device_name} ran out of memory while looking at the media; close "
                    "other programs or choose fewer frames."
                ) from None
            raise PackageError(
                f"{self._path} cannot be run ({reason}); import the model again."
            ) from None
        array: NDArray[np.float32] = np.asarray(result)
        return array


def available_providers() -> list[str]:
    """What the installed ONNX Runtime can compute on, its best first: "CUDA", "CPU", ….

    Raises `ImportError` or `AttributeError` where the runtime is missing or an empty shell.
    """
    import onnxruntime as ort

    return [name.removesuffix("ExecutionProvider") for name in ort.get_available_providers()]


def _create(path: Path, device: str, threads: int | None) -> Any:
    import onnxruntime as ort

    providers = _providers(device, ort)
    options = ort.SessionOptions()
    # A given number also keeps ONNX Runtime from pinning its threads to cores.
    options.intra_op_num_threads = threads or physical_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Idle workers would spin on the cores that the decoder uses next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=providers)
    except _errors() as error:
        raise PackageError(
            f"{path} is damaged or of an unknown form ({_first_line(error)}); import or download "
            "the model again."
        ) from None


def _providers(device: str, ort: Any) -> Sequence[Any]:
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "gpu") or (number and not number.isdecimal()):
        raise DeviceError(f"There is no device {device!r}; choose auto, cpu, gpu or gpu:NUMBER.")
    if kind == "cpu" or (kind == "auto" and _CUDA not in ort.get_available_providers()):
        return [_CPU]
    if _CUDA not in ort.get_available_providers():
        raise DeviceError(
            "This installation looks at media on the CPU only; choose the CPU, or install the "
            "gpu extra."
        )
    ort.preload_dlls()
    # TF32 would cost three decimal places.
    return [(_CUDA, {"device_id": int(number or 0), "use_tf32": 0}), _CPU]


def _only_port(path: Path, kind: str, ports: Sequence[Any]) -> Port:
    if len(ports) != 1 or ports[0].type != "tensor(float)":
        raise PackageError(
            f"{path} has not exactly one float32 {kind}, so it is no part of an Otter model; "
            "convert the model again."
        )
    shape = tuple(size if isinstance(size, int) else None for size in ports[0].shape)
    return Port(ports[0].name, shape)


def _errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidProtobuf,
        state.InvalidGraph,
        state.InvalidArgument,
        state.NoSuchFile,
        state.NoModel,
        state.NotImplemented,
        state.RuntimeException,
        state.EPFail,
        RuntimeError,
        ValueError,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    # "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from …" - the last part says it.
    return lines[0].removeprefix("[ONNXRuntimeError] : ")[:160] if lines else type(error).__name__
