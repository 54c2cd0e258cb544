"""A package against its checkpoint: torch, ONNX Runtime and ggml compared stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from export.checkpoints import Checkpoint
from export.golden import GoldenCase
from export.model.otter import OtterModel
from otter_desktop.decoder import Decoder
from otter_desktop.errors import PackageError
from otter_desktop.manifest import (
    DECODER_NAME,
    RESAMPLER_NAME,
    VISION_ENCODER_NAME,
    Manifest,
    read_manifest,
    verify_files,
)

Array = NDArray[np.float32]

VISION_TOLERANCE = 1e-3
LOGITS_TOLERANCE = {
    "f32": 1e-3,
    "f16": 2e-2,
    "q8_0": 1.5e-1,
    "q6_k": 3e-1,
    "q5_k_m": 6e-1,
    "q4_k_m": 1.2,
    "q4_0": 1.2,
}
"""Largest difference allowed, in the logits' own standard deviations except for f32, where it
is absolute. Quantising costs this much by its nature; a wrong graph costs several deviations."""

_PROMPT = "User: What is in the picture? GPT:"


@dataclass(frozen=True)
class Difference:
    """What one stage of the package computes against what torch (or the original) does."""

    stage: str
    case: str
    largest: float
    """Largest absolute difference."""
    tolerance: float
    """Absolute, too."""

    @property
    def passed(self) -> bool:
        """Whether the difference is within tolerance; not-a-number never is."""
        return bool(self.largest <= self.tolerance)


@dataclass(frozen=True)
class _Runtime:
    """The package opened stage by stage, in full precision where there is a choice."""

    manifest: Manifest
    encoder: onnxruntime.InferenceSession
    resampler: onnxruntime.InferenceSession
    decoder: Decoder

    def features(self, pixels: Array) -> Array:
        """Map (F, 3, H, W) -> (F, patches, V)."""
        return np.asarray(self.encoder.run(None, {"pixels": pixels})[0], np.float32)

    def latents(self, features: Array) -> Array:
        """Map (F, patches, V) -> (n_latents, V)."""
        return np.asarray(self.resampler.run(None, {"features": features})[0], np.float32)

    def logits(self, tokens: list[int], text_time: list[int], latents: list[Array]) -> Array:
        """Run one full pass: (tokens, vocab)."""
        session = self.decoder.session()
        try:
            session.set_media(latents)
            return session.forward(tokens, text_time, all_positions=True)
        finally:
            session.close()


def verify(
    checkpoint: Checkpoint, package: Path, golden: list[GoldenCase] | None = None
) -> Iterator[Difference]:
    """Yield the difference of each stage for clips of several lengths and for a prompt.

    With `golden` cases also against what the original implementation computed. Raises
    `PackageError` for a package that is damaged or belongs to another checkpoint.
    """
    manifest = read_manifest(package)
    verify_files(package, manifest)
    model = checkpoint.load_model()
    with Decoder.open(package / DECODER_NAME, kv_type="f32") as decoder:
        runtime = _Runtime(
            manifest,
            _session(package / VISION_ENCODER_NAME),
            _session(package / RESAMPLER_NAME),
            decoder,
        )
        _check_same_model(checkpoint, runtime)
        yield from _against_torch(checkpoint, model, runtime)
        for case in golden or []:
            yield from _against_golden(case, model, runtime)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its exceptions have no common base
        raise PackageError(f"{path} is no model that can run: {error}") from None


def _check_same_model(checkpoint: Checkpoint, runtime: _Runtime) -> None:
    config, found = checkpoint.config, runtime.decoder.hparams
    wanted = (config.language.vocab_size, config.language.width, config.language.layers)
    if (found.vocab_size, found.embedding_length, found.block_count) != wanted:
        raise PackageError("The package was made from another checkpoint: its sizes differ.")
    if runtime.decoder.tokenizer_json != checkpoint.tokenizer.tokenizer_json:
        raise PackageError("The package has another tokenizer than the checkpoint.")


def _against_torch(
    checkpoint: Checkpoint, model: OtterModel, runtime: _Runtime
) -> Iterator[Difference]:
    generator = torch.Generator().manual_seed(0)
    size = checkpoint.config.vision.image_size
    media: list[Array] = []
    limit = runtime.manifest.max_frames
    for frames in sorted({1, min(3, limit), min(8, limit), limit}):
        pixels = torch.randn(frames, 3, size, size, generator=generator)
        with torch.inference_mode():
            features = model.encode_vision(pixels)
            latents = model.resample(features[None, None])[0, 0].numpy()
        case = f"{frames} frame" if frames == 1 else f"{frames} frames"
        found = runtime.features(pixels.numpy())
        yield _compare("vision features", case, found, features.numpy(), VISION_TOLERANCE)
        ours = runtime.latents(found)
        yield _compare("latents", case, ours, latents, VISION_TOLERANCE)
        media.append(latents)
    tokens = _prompt(checkpoint, len(media))
    yield _logits("prompt", model, runtime, tokens, media, None)


def _prompt(checkpoint: Checkpoint, media: int) -> list[int]:
    """Some text before, then one example per media item, ended by the answer tag."""
    from tokenizers import Tokenizer

    special = checkpoint.tokenizer.special
    one = f"{special.image}{_PROMPT}{special.answer or ''}"
    text = "User: " + f" yes{special.end_of_chunk}".join([one] * media)
    backend = Tokenizer.from_str(checkpoint.tokenizer.tokenizer_json)
    return list(backend.encode(text).ids)


def _against_golden(case: GoldenCase, model: OtterModel, runtime: _Runtime) -> Iterator[Difference]:
    media, frames = case.pixels.shape[:2]
    flat = case.pixels.reshape(-1, *case.pixels.shape[2:])
    features = runtime.features(flat)
    yield _compare("vision features", case.name, features, case.features, VISION_TOLERANCE)
    items = features.reshape(media, frames, *features.shape[1:])
    latents = [runtime.latents(item) for item in items]
    yield _compare("latents", case.name, np.stack(latents), case.latents, VISION_TOLERANCE)
    yield _logits(case.name, model, runtime, case.tokens, latents, case.logits)


def _logits(
    case: str,
    model: OtterModel,
    runtime: _Runtime,
    tokens: list[int],
    media: list[Array],
    expected: Array | None,
) -> Difference:
    ids = torch.tensor([tokens])
    stacked = torch.from_numpy(np.stack(media))[None]
    if expected is None:
        with torch.inference_mode():
            expected = model(ids, latents=stacked)[0].numpy()
    found = runtime.logits(tokens, model.text_time(ids)[0].tolist(), media)
    scheme = runtime.manifest.quantization
    tolerance = LOGITS_TOLERANCE[scheme] * (1.0 if scheme == "f32" else float(expected.std()))
    return _compare(f"logits ({scheme})", case, found, expected, tolerance)


def _compare(stage: str, case: str, found: Array, wanted: Array, tolerance: float) -> Difference:
    if found.shape != wanted.shape:
        raise PackageError(f"{stage} have the shape {found.shape}, not {wanted.shape}.")
    return Difference(stage, case, float(np.abs(found - wanted).max()), tolerance)
