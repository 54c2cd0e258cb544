"""The vision encoder and the resampler as two ONNX files with any number of frames."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from export.model.config import OtterConfig
from export.model.resampler import PerceiverResampler
from export.model.vision import VisionEncoder

OPSET = 20
"""At 23 onnxruntime's quantize_dynamic writes an invalid graph."""


class _OneItem(nn.Module):
    """The resampler for one media item, without the batch dimension."""

    def __init__(self, resampler: PerceiverResampler) -> None:
        super().__init__()
        self.resampler = resampler

    def forward(self, features: Tensor) -> Tensor:
        """Map features (F, patches, V) -> latents (n_latents, V)."""
        return self.resampler(features[None])[0]  # type: ignore[no-any-return]


def write_vision_encoder(path: Path, encoder: VisionEncoder, config: OtterConfig) -> None:
    """Write pixels (F, 3, H, W) float32 -> features (F, patches, V) float32."""
    size = config.vision.image_size
    example = torch.zeros(2, 3, size, size)
    _export(path, encoder, example, "pixels", "features", largest=None)


def write_resampler(path: Path, resampler: PerceiverResampler, config: OtterConfig) -> None:
    """Write features (F, patches, V) float32 -> latents (n_latents, V) float32."""
    example = torch.zeros(2, config.vision.patches, config.vision.width)
    if config.max_num_frames == 1:
        example = example[:1]
    _export(
        path, _OneItem(resampler), example, "features", "latents", largest=config.max_num_frames
    )


def _export(
    path: Path, module: nn.Module, example: Tensor, source: str, result: str, largest: int | None
) -> None:
    frames = Dim("frames", min=1, max=largest)
    shapes = ({0: frames},) if example.shape[0] > 1 else ({},)
    with torch.no_grad(), _quiet():
        torch.onnx.export(
            module.eval(),
            (example,),
            str(path),
            input_names=[source],
            output_names=[result],
            opset_version=OPSET,
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its notes to its own developers off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
