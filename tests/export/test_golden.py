"""The reference model against what the original implementation computed, stage by stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from export.checkpoints import Checkpoint, open_checkpoint
from export.model import OtterModel
from export.model.generation import GenerationRules, generate
from export.model.otter import Past

pytestmark = pytest.mark.golden

CASES = (
    "single_image",
    "in_context3",
    "text_before",
    "multi_turn",
    "video",
    "no_image",
    "more_media_than_tags",
    "video2_in_context",
)


class Golden:
    """One checkpoint, its reference model and its cases."""

    def __init__(self, folder: Path) -> None:
        self.cases = folder / "cases"
        self.checkpoint: Checkpoint = open_checkpoint(
            folder / "checkpoint", tokenizer=folder / "tokenizer"
        )
        self.model: OtterModel = self.checkpoint.load_model()
        self.meta: dict[str, Any] = json.loads((self.cases / "meta.json").read_text("utf-8"))

    def case(self, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self.cases / f"{name}.npz") as data:
            return dict(data)

    def latents(self, data: dict[str, NDArray[Any]]) -> torch.Tensor:
        with torch.inference_mode():
            return self.model.encode_media(torch.from_numpy(data["vision_x"]))

    def answer(self, data: dict[str, NDArray[Any]], beams: int = 1, **rules: Any) -> list[int]:
        prompt = data["input_ids"][0].tolist()
        chosen = GenerationRules(original_tags=True, **rules)
        latents = self.latents(data)
        return generate(self.model, prompt, latents=latents, beams=beams, rules=chosen)


@pytest.fixture(scope="module", params=["mpt_video", "llama_video"])
def golden(golden_folder: Path, request: pytest.FixtureRequest) -> Golden:
    return Golden(golden_folder / request.param)


def _difference(ours: torch.Tensor, theirs: NDArray[Any]) -> float:
    return float(np.abs(ours.numpy() - theirs).max())


def test_the_tokenizer_gives_the_originals_ids(golden: Golden) -> None:
    backend = Tokenizer.from_str(golden.checkpoint.tokenizer.tokenizer_json)
    assert golden.checkpoint.tokenizer.size == golden.meta["len_tokenizer"]
    for sample in golden.meta["tokenize"]:
        assert backend.encode(sample["text"]).ids == sample["ids"]
        assert backend.decode(sample["ids"], skip_special_tokens=False) == sample["decoded"]


@pytest.mark.parametrize("name", CASES)
def test_every_stage_is_the_originals(golden: Golden, name: str) -> None:
    data, trace = golden.case(name), {}
    pixels = torch.from_numpy(data["vision_x"])
    with torch.inference_mode():
        features = golden.model.encode_vision(pixels.flatten(0, 2))
        latents = golden.model.encode_media(pixels)
        logits = golden.model(torch.from_numpy(data["input_ids"]), latents=latents, trace=trace)
    assert _difference(features, data["clip_hidden"]) < 1e-4
    assert _difference(latents, data["perceiver"]) < 1e-4
    assert _difference(logits, data["logits"]) < 1e-4
    kept = [key for key in data if key.startswith("h_")]
    assert kept
    # Hidden states reach 44, where float32 carries errors of a few 1e-4 through the layers.
    assert max(_difference(trace[key], data[key]) for key in kept) < 5e-4


def test_left_padding_is_the_originals(golden: Golden) -> None:
    data = golden.case("batch_leftpad")
    mask = torch.from_numpy(data["attention_mask"])
    with torch.inference_mode():
        logits = golden.model(
            torch.from_numpy(data["input_ids"]),
            vision_x=torch.from_numpy(data["vision_x"]),
            attention_mask=mask,
        )
    seen = mask[..., None].float()
    assert _difference(logits * seen, data["logits"] * seen.numpy()) < 2e-4


def test_tags_without_a_medium_see_the_mean_of_all_when_told_to_do_as_the_original(
    golden: Golden,
) -> None:
    data = golden.case("more_tags_than_media")
    with torch.inference_mode():
        logits = golden.model(
            torch.from_numpy(data["input_ids"]),
            latents=golden.latents(data),
            past=Past(reference=True),
        )
    assert _difference(logits, data["logits"]) < 2e-4


@pytest.mark.parametrize("name", CASES)
def test_greedy_answers_are_the_originals(golden: Golden, name: str) -> None:
    data, meta = golden.case(name), golden.meta["cases"][name]
    if meta["greedy_emits_image_token"]:
        pytest.skip("the original looked at a photo that does not exist")
    assert golden.answer(data, max_new_tokens=32) == data["greedy_ids"].tolist()


@pytest.mark.parametrize("name", CASES)
def test_cached_answers_of_the_original_are_reproduced(golden: Golden, name: str) -> None:
    data, meta = golden.case(name), golden.meta["cases"][name]
    if meta["refcached_emits_image_token"]:
        pytest.skip("the original's text_time starts anew at an image token that it wrote")
    answer = golden.answer(data, max_new_tokens=32, reference_compat=True)
    assert answer == data["refcached_ids"].tolist()


@pytest.mark.parametrize("name", CASES)
def test_beams_are_the_originals(golden: Golden, name: str) -> None:
    data = golden.case(name)
    end = golden.meta["eoc_token_id"]
    answer = golden.answer(data, beams=3, max_new_tokens=24, end_token=end, no_repeat_ngram=3)
    assert answer == data["beam3_ngram3_cache_false"].tolist()
