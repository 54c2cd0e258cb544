"""One device name from the user, two runtimes: where vision and decoder each will run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from otter_desktop.assistant.events import Notice
from otter_desktop.decoder import Decoder, DeviceKind, list_devices
from otter_desktop.errors import DeviceError
from otter_desktop.manifest import DECODER_NAME
from otter_desktop.vision import VisionModel

KvType = Literal["f16", "f32", "q8_0"]


def open_stages(
    folder: Path, *, device: str, kv_type: KvType, threads: int | None
) -> tuple[VisionModel, Decoder, tuple[Notice, ...]]:
    """Open both models of a package on a device: auto, cpu, gpu, gpu:NUMBER or ggml's name.

    Where a GPU was asked for and only one of the two can use it, the other runs on the
    processor and a notice says so. Raises `DeviceError` where neither can, `PackageError`.
    """
    notices: list[Notice] = []
    vision_device, decoder_device = _names(device)
    wants_gpu = vision_device.startswith("gpu")
    decoder_error: DeviceError | None = None
    try:
        decoder = _open_decoder(folder, decoder_device, kv_type, threads)
    except DeviceError as error:
        if not wants_gpu:
            raise
        decoder_error = error
        decoder = _open_decoder(folder, "cpu", kv_type, threads)
        notices.append(Notice("device", f"The language model runs on the CPU: {error.message}"))
    try:
        try:
            vision = VisionModel.open(folder, device=vision_device, threads=threads)
        except DeviceError as error:
            if not wants_gpu:
                raise
            if decoder_error is not None:
                raise decoder_error from error
            vision = VisionModel.open(folder, device="cpu", threads=threads)
            notices.append(Notice("device", f"Media are looked at on the CPU: {error.message}"))
    except BaseException:
        decoder.close()
        raise
    return vision, decoder, tuple(notices)


def device_label(vision: VisionModel, decoder: Decoder) -> str:
    """Where the two run, in words."""
    if vision.device_name == decoder.device_name:
        return str(decoder.device_name)
    return f"{decoder.device_name} (vision: {vision.device_name})"


def _open_decoder(folder: Path, device: str, kv_type: KvType, threads: int | None) -> Decoder:
    return Decoder.open(folder / DECODER_NAME, device=device, threads=threads, kv_type=kv_type)


def _names(device: str) -> tuple[str, str]:
    """Return the names that vision and decoder know the device by."""
    lowered = device.lower()
    if lowered in ("auto", "cpu", "gpu"):
        return lowered, lowered
    if match := re.fullmatch(r"gpu:(\d+)", lowered):
        gpus = [info.name for info in list_devices() if info.kind is DeviceKind.GPU]
        number = int(match[1])
        return lowered, gpus[number] if number < len(gpus) else lowered
    if match := re.fullmatch(r"cuda(\d+)", lowered):
        return f"gpu:{match[1]}", lowered
    # Another name of ggml's, such as Vulkan0: ONNX Runtime has no such device.
    return "cpu", lowered
