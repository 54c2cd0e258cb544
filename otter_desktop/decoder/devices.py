"""Devices that ggml can compute on."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import StrEnum

from otter_desktop.decoder import bindings as c
from otter_desktop.errors import DeviceError


class DeviceKind(StrEnum):
    """What a device is."""

    CPU = "cpu"
    GPU = "gpu"
    ACCELERATOR = "accelerator"


@dataclass(frozen=True)
class DeviceInfo:
    """One device; memory in bytes, 0 where the back end does not know."""

    name: str
    description: str
    kind: DeviceKind
    memory_free_bytes: int
    memory_total_bytes: int
    index: int


def list_devices() -> list[DeviceInfo]:
    """Return the devices that the ggml libraries found, in their order."""
    return [_describe(index) for index in range(c.backend_dev_count())]


def _describe(index: int) -> DeviceInfo:
    device = c.backend_dev_get(index)
    kinds = {
        c.DEVICE_CPU: DeviceKind.CPU,
        c.DEVICE_GPU: DeviceKind.GPU,
        c.DEVICE_IGPU: DeviceKind.GPU,
    }
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    c.backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return DeviceInfo(
        name=c.backend_dev_name(device).decode(),
        description=c.backend_dev_description(device).decode(),
        kind=kinds.get(c.backend_dev_type(device), DeviceKind.ACCELERATOR),
        memory_free_bytes=free.value,
        memory_total_bytes=total.value,
        index=index,
    )


def find_device(wanted: str) -> DeviceInfo:
    """Return the device for "auto", "cpu", "gpu" or a device's own name.

    "auto" is the first GPU where there is one, the processor otherwise. Raises `DeviceError`.
    """
    devices = list_devices()
    lowered = wanted.lower()
    by_name = [d for d in devices if d.name.lower() == lowered]
    cpus = [d for d in devices if d.kind is DeviceKind.CPU]
    gpus = [d for d in devices if d.kind is DeviceKind.GPU]
    found = by_name or {"auto": gpus or cpus, "cpu": cpus, "gpu": gpus}.get(lowered, [])
    if not found:
        names = ", ".join(d.name for d in devices)
        raise DeviceError(f"There is no device {wanted!r} for the language model; found: {names}.")
    return found[0]
