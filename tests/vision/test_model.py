"""The vision model: latents from pixels, in batches, and what a damaged package says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from otter_desktop.cancel import CancelToken
from otter_desktop.errors import Cancelled, DeviceError, FrameLimitError, PackageError
from otter_desktop.vision import VisionModel


def _pixels(frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(frames).normal(size=(frames, 3, 16, 16)).astype(np.float32)


def _expected(package: Path, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the two models in numpy from the weights in their files."""
    encoder = onnx.load(str(package / "vision_encoder.onnx")).graph.initializer
    kernel = numpy_helper.to_array(next(t for t in encoder if t.name == "kernel"))
    resampler = onnx.load(str(package / "resampler.onnx")).graph.initializer
    mixture = numpy_helper.to_array(next(t for t in resampler if t.name == "mixture"))
    patches = pixels.reshape(-1, 3, 2, 8, 2, 8)
    features = np.einsum("fcyixj,wcij->fyxw", patches, kernel).reshape(len(pixels), 4, -1)
    latents: NDArray[np.float32] = mixture @ features.mean(0)
    return latents


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 9])
def test_latents_are_those_of_all_frames_whatever_their_number(package: Path, frames: int) -> None:
    model = VisionModel.open(package, device="cpu", threads=1)
    pixels = _pixels(frames)
    latents = model.encode(pixels)
    assert latents.shape == (model.n_latents, model.width) == (5, 12)
    assert latents.dtype == np.float32
    np.testing.assert_allclose(latents, _expected(package, pixels), atol=1e-5)


def test_sizes_are_found_out_where_the_file_leaves_them_open(open_shape_package: Path) -> None:
    model = VisionModel.open(open_shape_package, device="cpu")
    assert (model.n_latents, model.width) == (5, 12)


def test_the_device_in_use_is_named(package: Path) -> None:
    assert VisionModel.open(package, device="cpu").device_name == "CPU"


def test_a_device_that_does_not_exist_is_refused(package: Path) -> None:
    with pytest.raises(DeviceError, match="choose auto, cpu, gpu"):
        VisionModel.open(package, device="abacus")


def test_a_gpu_that_is_not_there_is_refused_not_replaced(package: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime can use a GPU")
    with pytest.raises(DeviceError, match="CPU only"):
        VisionModel.open(package, device="gpu")


@pytest.mark.parametrize("name", ["vision_encoder.onnx", "resampler.onnx"])
def test_a_missing_model_file(package: Path, name: str) -> None:
    (package / name).unlink()
    with pytest.raises(PackageError, match=f"{name} is missing"):
        VisionModel.open(package)


@pytest.mark.parametrize("name", ["vision_encoder.onnx", "resampler.onnx"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_model_file(package: Path, name: str, damage: str) -> None:
    path = package / name
    content = path.read_bytes()
    noise = np.random.default_rng(0).bytes(500)
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "noise": noise}[damage])
    with pytest.raises(PackageError) as caught:
        VisionModel.open(package)
    assert name in caught.value.message
    assert "\n" not in caught.value.message


def test_an_encoder_and_a_resampler_that_do_not_fit(misfit_package: Path) -> None:
    with pytest.raises(PackageError, match="do not fit together"):
        VisionModel.open(misfit_package)


def test_pixels_of_another_size_than_the_model_takes(package: Path) -> None:
    model = VisionModel.open(package)
    with pytest.raises(PackageError, match="manifest"):
        model.encode(np.zeros((1, 3, 32, 32), np.float32))


def test_pixels_that_are_no_frames_are_a_mistake_of_the_caller(package: Path) -> None:
    model = VisionModel.open(package)
    with pytest.raises(ValueError, match="frames"):
        model.encode(np.zeros((0, 3, 16, 16), np.float32))


def test_cancelling_stops_before_the_next_batch(package: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        VisionModel.open(package).encode(_pixels(8), token)


def test_a_model_for_single_photos_refuses_more_frames(photo_package: Path) -> None:
    model = VisionModel.open(photo_package)
    assert model.encode(_pixels(1)).shape == (5, 12)
    with pytest.raises(FrameLimitError, match="1 frame at a time"):
        model.encode(_pixels(2))


def test_pixels_of_another_size_than_the_models_are_refused_beforehand(package: Path) -> None:
    model = VisionModel.open(package, device="cpu", threads=1)
    model.check_size(16)
    with pytest.raises(PackageError, match="its manifest prepares"):
        model.check_size(17)


def test_latents_that_are_no_numbers_are_a_damaged_package(package: Path) -> None:
    model = VisionModel.open(package, device="cpu", threads=1)
    with pytest.raises(PackageError, match="not finite"):
        model.encode(np.full((1, 3, 16, 16), np.inf, np.float32))
