"""Conversion and back-check: what the package computes is what torch computes, or it is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.checkpoints import Checkpoint, open_checkpoint
from export.cli import SCHEMES, main
from export.package import convert, decoder_sizes, requantize
from export.quantize import SCHEMES as QUANTISER_SCHEMES
from export.verify import verify
from otter_desktop.errors import CheckpointError, PackageError, SettingsError
from otter_desktop.manifest import read_manifest, verify_files, with_files, write_manifest

PackageOf = Callable[..., tuple[Checkpoint, Path]]


@pytest.fixture
def spoiled(tmp_path: Path, package_of: PackageOf) -> tuple[Checkpoint, Path]:
    """Return a checkpoint and a copy of its package that a test may spoil."""
    checkpoint, package = package_of("mpt")
    return checkpoint, Path(shutil.copytree(package, tmp_path / "package"))


@pytest.mark.parametrize("kind", ["mpt", "mpt_qk_ln", "mosaicgpt", "llama"])
def test_torch_onnx_and_ggml_agree_in_float32(kind: str, package_of: PackageOf) -> None:
    checkpoint, package = package_of(kind)
    found = list(verify(checkpoint, package))
    assert {item.stage for item in found} >= {"weights", "vision features", "latents"}
    assert max(item.largest for item in found) < 1e-3


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_onnx_equals_torch_for_any_number_of_frames(frames: int, package_of: PackageOf) -> None:
    checkpoint, package = package_of("mpt")
    model = checkpoint.load_model()
    pixels = torch.randn(frames, 3, 28, 28)
    encoder = onnxruntime.InferenceSession(str(package / "vision_encoder.onnx"))
    resampler = onnxruntime.InferenceSession(str(package / "resampler.onnx"))
    (features,) = encoder.run(None, {"pixels": pixels.numpy()})
    (latents,) = resampler.run(None, {"features": features})
    with torch.inference_mode():
        expected = model.encode_media(pixels[None, None])[0, 0].numpy()
    assert features.shape == (frames, 4, 48)
    assert np.abs(latents - expected).max() < 1e-4


@pytest.mark.parametrize("scheme", ["q8_0", "q4_0"])
def test_a_quantised_package_passes_its_back_check(
    scheme: str, tmp_path: Path, package_of: PackageOf
) -> None:
    checkpoint, package = package_of("llama")
    manifest = requantize(package, tmp_path / "package", scheme=scheme)
    assert manifest.quantization == scheme
    assert all(item.passed for item in verify(checkpoint, tmp_path / "package"))


def test_the_manifest_describes_the_model(package_of: PackageOf) -> None:
    _, package = package_of("mosaicgpt")
    manifest = read_manifest(package)
    verify_files(package, manifest)
    assert manifest.preprocessing.image_size == 28
    assert (manifest.max_frames, manifest.default_frames) == (16, 16)


def test_a_failed_conversion_leaves_nothing_behind(
    tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    folder = Path(shutil.copytree(checkpoint_of("mpt"), tmp_path / "checkpoint"))
    state = load_file(folder / "model.safetensors")
    state["lang_encoder.transformer.blocks.3.decoder_layer.norm_2.weight"][5] = torch.nan
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"norm_2\.weight"):
        convert(open_checkpoint(folder), tmp_path / "package", scheme="f32")
    assert list(tmp_path.iterdir()) == [folder]


def test_what_the_decoder_cannot_compute_is_refused(checkpoint_of: Callable[[str], Path]) -> None:
    config = open_checkpoint(checkpoint_of("mpt")).config
    language = replace(config.language, softmax_scale=0.5)
    with pytest.raises(CheckpointError, match="softmax_scale"):
        decoder_sizes(replace(config, language=language))


def test_an_existing_folder_is_not_overwritten(
    tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    with pytest.raises(SettingsError, match="exists already"):
        convert(open_checkpoint(checkpoint_of("mpt")), tmp_path)


def test_a_flipped_byte_is_found_by_the_hash(spoiled: tuple[Checkpoint, Path]) -> None:
    checkpoint, package = spoiled
    _flip(package / "decoder.gguf")
    with pytest.raises(PackageError, match="SHA-256"):
        list(verify(checkpoint, package))


def test_changed_weights_with_a_fresh_hash_fail_the_back_check(
    spoiled: tuple[Checkpoint, Path],
) -> None:
    checkpoint, package = spoiled
    _flip(package / "decoder.gguf")
    write_manifest(package, with_files(read_manifest(package), package))
    failed = [item.stage for item in verify(checkpoint, package) if not item.passed]
    assert failed[0] == "weights"


def test_a_package_of_another_checkpoint_fails_the_back_check(
    package_of: PackageOf, checkpoint_of: Callable[[str], Path]
) -> None:
    _, package = package_of("llama")
    with pytest.raises(PackageError, match="another"):
        list(verify(open_checkpoint(checkpoint_of("mpt")), package))


def test_swapped_vision_models_are_refused(spoiled: tuple[Checkpoint, Path]) -> None:
    checkpoint, package = spoiled
    (package / "resampler.onnx").write_bytes(b"not a model")
    write_manifest(package, with_files(read_manifest(package), package))
    with pytest.raises(PackageError, match=r"resampler\.onnx is no model"):
        list(verify(checkpoint, package))


def _flip(path: Path) -> None:
    """Change the exponent of a weight near the end of a file."""
    content = bytearray(path.read_bytes())
    content[-4 * 1000 - 1] ^= 0x40
    path.write_bytes(content)


def test_the_command_line_converts_quantises_and_verifies(
    tmp_path: Path, package_of: PackageOf, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, package = package_of("mpt")
    out = str(tmp_path / "package")
    assert main(["quantize", str(package), out, "f16"]) == 0
    assert read_manifest(Path(out)).name == "tiny-mpt"
    assert main(["verify", str(checkpoint.path), out]) == 0
    assert "largest difference in latents" in capsys.readouterr().out


def test_the_command_line_fails_past_tolerance(
    spoiled: tuple[Checkpoint, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, package = spoiled
    _flip(package / "decoder.gguf")
    write_manifest(package, with_files(read_manifest(package), package))
    assert main(["verify", str(checkpoint.path), str(package)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_the_command_line_offers_every_scheme() -> None:
    assert SCHEMES == QUANTISER_SCHEMES


def test_the_command_line_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
