"""The decoder on the golden checkpoints, from the golden latents: the original's own numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.decoder_gguf import write_decoder
from export.model import OtterConfig
from export.package import decoder_sizes
from otter_desktop.decoder import Decoder

pytestmark = pytest.mark.golden

MODELS = ["mpt_video", "llama_video"]
# `more_tags_than_media` is a user error here; `batch_leftpad` is about padding, which we have not.
CASES = [
    "single_image", "in_context3", "text_before", "multi_turn", "video", "video2_in_context",
    "no_image", "more_media_than_tags",
]  # fmt: skip
TOLERANCE = {"f32": 1e-3, "f16": 8e-2}


@dataclass(frozen=True)
class Golden:
    folder: Path
    decoders: dict[str, Decoder]

    def case(self, name: str) -> Any:
        with np.load(self.folder / "cases" / f"{name}.npz") as arrays:
            return dict(arrays)

    def meta(self, name: str) -> Any:
        text = (self.folder / "cases" / "meta.json").read_text(encoding="utf-8")
        return json.loads(text)["cases"][name]


@pytest.fixture(scope="module", params=MODELS)
def golden(
    request: pytest.FixtureRequest, golden_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Golden]:
    folder = golden_folder / request.param
    tensors = _read(folder / "checkpoint")
    config = json.loads((folder / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    hparams = decoder_sizes(OtterConfig.from_checkpoint(config, shapes))
    path = tmp_path_factory.mktemp("golden") / "decoder.gguf"
    write_decoder(
        path, family=hparams.family, hparams=hparams, tensors=tensors.items(),
        tokenizer_json="{}", scheme="f32",
    )  # fmt: skip
    with (
        Decoder.open(path, kv_type="f32", threads=1) as exact,
        Decoder.open(path, kv_type="f16", threads=1) as half,
    ):
        yield Golden(folder, {"f32": exact, "f16": half})


def _read(folder: Path) -> dict[str, Any]:
    import safetensors.torch
    import torch

    single = folder / "model.safetensors"
    if single.exists():
        return dict(safetensors.torch.load_file(single))
    tensors: dict[str, Any] = {}
    for shard in sorted(folder.glob("pytorch_model-*.bin")):
        tensors.update(torch.load(shard, weights_only=True))
    return tensors


@pytest.mark.parametrize("kv_type", ["f32", "f16"])
@pytest.mark.parametrize("name", CASES)
def test_logits_of_the_full_pass(golden: Golden, name: str, kv_type: str) -> None:
    case = golden.case(name)
    with golden.decoders[kv_type].session() as session:
        session.set_media(list(case["perceiver"][0]))
        logits = session.forward(
            case["input_ids"][0].tolist(), case["text_time"][0].tolist(), all_positions=True
        )
    assert np.abs(logits - case["logits"][0]).max() < TOLERANCE[kv_type]


@pytest.mark.parametrize("carried", [True, False], ids=["carried text_time", "as the original"])
@pytest.mark.parametrize("name", CASES)
def test_cached_decoding(golden: Golden, name: str, carried: bool) -> None:
    """Every step on the original's own tokens: full passes, and its cache that loses the media."""
    case = golden.case(name)
    which = "greedy" if carried else "refcached"
    if golden.meta(name)[f"{which}_emits_image_token"]:
        pytest.skip("the original generates <image> here, which changes its text times")
    times = case["text_time"][0].tolist()
    with golden.decoders["f32"].session() as session:
        session.set_media(list(case["perceiver"][0]))
        logits = session.forward(case["input_ids"][0].tolist(), times)
        for token, expected in zip(
            case[f"{which}_ids"].tolist(), case[f"{which}_step_logits"], strict=True
        ):
            assert np.abs(logits - expected).max() < TOLERANCE["f32"]
            logits = session.forward([token], [times[-1] if carried else 0])
