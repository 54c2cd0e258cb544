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
from export.decoder_weights import stored_weights
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
LOGITS_TOLERANCE = {"f32": 1e-3, "f16": 8e-2}
"""Largest absolute difference of logits where ggml computes in floating point."""

LOGITS_DEVIATIONS = 0.75
"""The same for quantised weights, in standard deviations of the logits: torch computes with the
package's own dequantised weights, but ggml rounds activations to 8 bits, too, which a model of
random weights amplifies most. A wrong graph is off by several deviations."""

WEIGHTS_TOLERANCE = {
    "f32": 1e-7,
    "f16": 5e-4,
    "q8_0": 1e-2,
    "q6_k": 3e-2,
    "q5_k_m": 6e-2,
    "q4_k_m": 1.2e-1,
    "q4_0": 1.3e-1,
}
"""Root mean square error of one tensor relative to its root mean square."""

_PROMPT = "User: What is in the picture? GPT:"


@dataclass(frozen=True)
class Difference:
    """What one stage of the package computes against what torch (or the original) does."""

    stage: str
    case: str
    largest: float
    """Largest absolute difference; of weights, the relative error of one tensor."""
    tolerance: float

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

    With `golden` cases also against what the original implementation computed (for quantised
    weights: against torch with those weights on the same prompts). Raises `PackageError` for a
    package that is damaged or belongs to another checkpoint.
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
        yield _compare_weights(checkpoint, package / DECODER_NAME, runtime, model)
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


def _compare_weights(
    checkpoint: Checkpoint, path: Path, runtime: _Runtime, model: OtterModel
) -> Difference:
    """Compare the stored weights, and give torch the stored ones for the stages that follow."""
    worst, where = 0.0, "all tensors"
    state = model.state_dict()
    for name, stored in stored_weights(path):
        wanted = checkpoint.tensors[name].float().reshape(stored.shape)
        size = float(wanted.square().mean().sqrt())
        error = float((stored - wanted).square().mean().sqrt()) / max(size, 1e-12)
        if not error <= worst:
            worst, where = error, name.rsplit(".", 3)[-2]
        state[name].copy_(stored.reshape(state[name].shape))
    tolerance = WEIGHTS_TOLERANCE[runtime.manifest.quantization]
    return Difference("weights", where, worst, tolerance)


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
    scheme = runtime.manifest.quantization
    ids = torch.tensor([tokens])
    stacked = torch.from_numpy(np.stack(media))[None]
    if expected is None or scheme not in LOGITS_TOLERANCE:
        with torch.inference_mode():
            expected = model(ids, latents=stacked)[0].numpy()
    found = runtime.logits(tokens, model.text_time(ids)[0].tolist(), media)
    tolerance = LOGITS_TOLERANCE.get(scheme, LOGITS_DEVIATIONS * float(expected.std()))
    return _compare(f"logits ({scheme})", case, found, expected, tolerance)


def _compare(stage: str, case: str, found: Array, wanted: Array, tolerance: float) -> Difference:
    if found.shape != wanted.shape:
        raise PackageError(f"{stage} have the shape {found.shape}, not {wanted.shape}.")
    return Difference(stage, case, float(np.abs(found - wanted).max()), tolerance)
