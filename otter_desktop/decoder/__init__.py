"""Latents and tokens to logits: the language model on ggml, from a GGUF file."""

from otter_desktop.decoder.decoder import Decoder
from otter_desktop.decoder.devices import DeviceInfo, DeviceKind, list_devices
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.session import Session

__all__ = [
    "Decoder",
    "DeviceInfo",
    "DeviceKind",
    "Hparams",
    "Session",
    "list_devices",
]
