"""Vision: pixels -> latents, the 64 vectors per media item that the decoder attends to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from otter_desktop.cancel import CancelToken
from otter_desktop.errors import FrameLimitError, PackageError
from otter_desktop.vision.sessions import OnnxSession

if TYPE_CHECKING:
    from otter_desktop.vision.sessions import Port

ENCODER_FILE = "vision_encoder.onnx"
RESAMPLER_FILE = "resampler.onnx"

# Frames that go through the encoder at once: enough to fill the cores, few enough that memory
# does not depend on the number of frames.
_FRAMES_PER_BATCH = 4


class VisionModel:
    """The vision encoder and the resampler of one package on one device."""

    def __init__(self, encoder: OnnxSession, resampler: OnnxSession) -> None:
        self._encoder = encoder
        self._resampler = resampler
        self.n_latents, self.width = _latents_shape(encoder, resampler)

    @classmethod
    def open(cls, package_dir: Path, *, device: str = "auto", threads: int | None = None) -> Self:
        """Load the two models of a package.

        `device` is auto (a GPU where ONNX Runtime can use one), cpu, gpu or gpu:NUMBER;
        `threads` None takes the physical cores. Raises `PackageError` where a file is missing,
        damaged or does not fit the other, `DeviceError` where the device cannot be used.
        """
        encoder = OnnxSession(package_dir / ENCODER_FILE, device=device, threads=threads)
        resampler = OnnxSession(package_dir / RESAMPLER_FILE, device=device, threads=threads)
        _check_fit(package_dir, encoder.input, encoder.output, resampler.input)
        return cls(encoder, resampler)

    @property
    def device_name(self) -> str:
        """Where the encoder really runs, in words."""
        return self._encoder.device_name

    def encode(
        self, pixels: NDArray[np.float32], cancel: CancelToken | None = None
    ) -> NDArray[np.float32]:
        """Return the latents (n_latents, width) of one media item.

        `pixels` is (frames, 3, height, width) float32, at least one frame. Raises
        `FrameLimitError` where the model takes single photos only, `PackageError` where it
        takes other pixels, fails or gives no numbers, `Cancelled` between batches.
        """
        self._check_pixels(pixels)
        limit = self._resampler.input.shape[0]
        if limit is not None and len(pixels) != limit:
            raise FrameLimitError(f"This model takes {limit} frame at a time, not {len(pixels)}.")
        batches = []
        for start in range(0, len(pixels), _FRAMES_PER_BATCH):
            if cancel is not None:
                cancel.check()
            batch = np.ascontiguousarray(pixels[start : start + _FRAMES_PER_BATCH])
            batches.append(self._encoder.run(batch))
        if cancel is not None:
            cancel.check()
        latents = self._resampler.run(np.concatenate(batches))
        if not np.isfinite(latents).all():
            raise PackageError(
                "The model's vision gives numbers that are not finite: it is damaged, or the "
                f"{self.device_name} cannot run it; import it again or choose another device."
            )
        return latents

    def check_size(self, image_size: int) -> None:
        """Raise `PackageError` unless the encoder takes square pixels of this edge length."""
        self._check_shape((3, image_size, image_size))

    def _check_pixels(self, pixels: NDArray[np.float32]) -> None:
        if pixels.ndim != 4 or not len(pixels) or pixels.dtype != np.float32:
            raise ValueError(f"pixels must be (frames, 3, H, W) float32, not {pixels.shape}")
        self._check_shape(pixels.shape[1:])

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        wanted = self._encoder.input.shape[1:]
        for have, want in zip(shape, wanted, strict=True):
            if want is not None and have != want:
                raise PackageError(
                    f"The model's encoder takes {wanted} pixels but its manifest prepares "
                    f"{shape}; convert the model again."
                )


def _check_fit(package_dir: Path, pixels: Port, features: Port, taken: Port) -> None:
    pairs = zip(features.shape[1:], taken.shape[1:], strict=False)
    fits = all(made is None or want is None or made == want for made, want in pairs)
    if len(pixels.shape) != 4 or len(features.shape) != 3 or len(taken.shape) != 3 or not fits:
        raise PackageError(
            f"{package_dir} has a vision encoder and a resampler that do not fit together; "
            "convert the model again."
        )


def _latents_shape(encoder: OnnxSession, resampler: OnnxSession) -> tuple[int, int]:
    shape = resampler.output.shape
    if len(shape) == 2 and shape[0] is not None and shape[1] is not None:
        return shape[0], shape[1]
    # An exporter that left them open: one blank run tells.
    sizes = [size or 1 for size in encoder.input.shape]
    features = encoder.run(np.zeros([1, *sizes[1:]], np.float32))
    latents = resampler.run(features)
    if latents.ndim != 2:
        raise PackageError(
            f"The model's resampler gives {latents.ndim}-dimensional latents instead of 2; "
            "convert the model again."
        )
    return latents.shape[0], latents.shape[1]
