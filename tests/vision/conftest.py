"""Tiny encoders and resamplers with the names, shapes and precision of a package's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SIZE, PATCH, WIDTH, LATENTS = 16, 8, 12, 5

PackageMaker = Callable[..., Path]


def _save(path: Path, graph: onnx.GraphProto) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(path))


def write_encoder(path: Path, *, width: int = WIDTH) -> None:
    """pixels (F,3,16,16) -> features (F,4,width): one convolution, patches as tokens."""
    kernel = np.random.default_rng(0).normal(size=(width, 3, PATCH, PATCH)).astype(np.float32) / 16
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["maps"], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["maps", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["features"], perm=[0, 2, 1]),
    ]
    tensors = [
        numpy_helper.from_array(kernel, "kernel"),
        numpy_helper.from_array(np.array([0, width, -1], np.int64), "shape"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["F", 3, SIZE, SIZE])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["F", 4, width])
    _save(path, helper.make_graph(nodes, "encoder", [pixels], [features], tensors))


def write_resampler(path: Path, *, stated: bool = True, frames: int | str = "F") -> None:
    """features (F,4,12) -> latents (5,12): a fixed mixture of the mean over frames."""
    mixture = np.random.default_rng(1).normal(size=(LATENTS, 4)).astype(np.float32)
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    nodes = [
        helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mixture", "mean"], ["latents"]),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [frames, 4, WIDTH])
    shape = [LATENTS, WIDTH] if stated else ["L", "V"]
    latents = helper.make_tensor_value_info("latents", TensorProto.FLOAT, shape)
    tensors = [numpy_helper.from_array(mixture, "mixture"), axes]
    _save(path, helper.make_graph(nodes, "resampler", [features], [latents], tensors))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The vision half of a package."""
    folder = tmp_path / "package ü"
    folder.mkdir()
    write_encoder(folder / "vision_encoder.onnx")
    write_resampler(folder / "resampler.onnx")
    return folder


@pytest.fixture
def open_shape_package(package: Path) -> Path:
    """A package whose resampler does not state the size of its latents."""
    write_resampler(package / "resampler.onnx", stated=False)
    return package


@pytest.fixture
def misfit_package(package: Path) -> Path:
    """A package whose encoder is wider than its resampler."""
    write_encoder(package / "vision_encoder.onnx", width=WIDTH + 1)
    return package


@pytest.fixture
def photo_package(package: Path) -> Path:
    """A package for single photos: its resampler has a fixed number of frames."""
    write_resampler(package / "resampler.onnx", frames=1)
    return package
