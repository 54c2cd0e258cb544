"""The engine on packages of the golden checkpoints, against what the original computed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.checkpoints import open_checkpoint
from export.package import convert
from otter_desktop.assistant import Engine
from otter_desktop.errors import PromptError
from otter_desktop.text.tokenizer import Piece, Tag

pytestmark = pytest.mark.golden

MODELS = ("mpt_video", "llama_video")
TOLERANCES = {"f32": 1e-3, "f16": 8e-2}
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
TAGS = {"<image>": Tag.IMAGE, "<answer>": Tag.ANSWER, "<|endofchunk|>": Tag.END}

Opened = Callable[[str, str], Engine]


@pytest.fixture(scope="module")
def opened(golden_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Return a function: model, key/value type -> an engine, made once."""
    packages: dict[str, Path] = {}
    engines: dict[tuple[str, str], Engine] = {}

    def open_engine(model: str, kv_type: str) -> Engine:
        if model not in packages:
            source = golden_folder / model
            packages[model] = tmp_path_factory.mktemp("golden") / model
            checkpoint = open_checkpoint(source / "checkpoint", tokenizer=source / "tokenizer")
            convert(checkpoint, packages[model], scheme="f32")
        if (model, kv_type) not in engines:
            engines[model, kv_type] = Engine.open(
                packages[model],
                kv_type=kv_type,  # type: ignore[arg-type]
                device="cpu",
                threads=1,
            )
        return engines[model, kv_type]

    yield open_engine
    for engine in engines.values():
        engine.close()


def read(folder: Path, model: str, case: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    cases = folder / model / "cases"
    meta = json.loads((cases / "meta.json").read_text(encoding="utf-8"))
    with np.load(cases / f"{case}.npz") as data:
        return dict(data), {**meta, **meta["cases"][case]}


def latents_of(engine: Engine, data: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    return [engine.encode_pixels(frames) for frames in data["vision_x"][0]]


def same_within_margin(ours: list[int], data: dict[str, NDArray[Any]], tolerance: float) -> bool:
    sure = data["greedy_margin"] > tolerance
    count = len(sure) if sure.all() else int(np.argmin(sure))
    return ours[:count] == data["greedy_ids"][:count].tolist()


@pytest.mark.parametrize("model", MODELS)
def test_prompts_become_the_originals_token_ids(
    golden_folder: Path, opened: Opened, model: str
) -> None:
    engine = opened(model, "f32")
    _, meta = read(golden_folder, model, "single_image")
    texts = [(entry["text"], entry["ids"]) for entry in meta["tokenize"]]
    for case in CASES:
        data, info = read(golden_folder, model, case)
        texts.append((info["prompt"], data["input_ids"][0].tolist()))
    for text, ids in texts:
        split = re.split("(" + "|".join(map(re.escape, TAGS)) + ")", text)
        pieces: list[Piece] = [TAGS.get(part, part) for part in split if part]
        assert engine.tokenizer.encode(pieces) == ids


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MODELS)
def test_latents_logits_and_greedy_ids_are_the_originals(
    golden_folder: Path, opened: Opened, model: str, case: str
) -> None:
    data, info = read(golden_folder, model, case)
    ids = data["input_ids"][0].tolist()
    for kv_type, tolerance in TOLERANCES.items():
        engine = opened(model, kv_type)
        latents = latents_of(engine, data)
        assert np.abs(np.stack(latents) - data["perceiver"][0]).max() < 1e-3
        assert np.abs(engine.logits(ids, latents) - data["logits"][0]).max() < tolerance
        if not info["greedy_emits_image_token"]:
            greedy = engine.generate_ids(ids, latents, len(data["greedy_ids"]))
            assert same_within_margin(greedy, data, tolerance)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MODELS)
def test_beams_are_the_originals(
    golden_folder: Path, opened: Opened, model: str, case: str
) -> None:
    data, info = read(golden_folder, model, case)
    expected = data["beam3_ngram3_cache_false"].tolist()
    if info["media_token_id"] in expected:
        pytest.skip("the original looked at a photo that does not exist")
    engine = opened(model, "f32")
    ids = data["input_ids"][0].tolist()
    ours = engine.generate_ids(ids, latents_of(engine, data), 24, beams=3, no_repeat_ngram=3)
    assert ours == expected


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MODELS)
def test_the_originals_cached_decoding_is_reproduced_with_reference_compat(
    golden_folder: Path, opened: Opened, model: str, case: str
) -> None:
    data, info = read(golden_folder, model, case)
    if info["refcached_emits_image_token"]:
        pytest.skip("the original's text_time starts anew at an image token that it wrote")
    engine = opened(model, "f32")
    ids = data["input_ids"][0].tolist()
    ours = engine.generate_ids(ids, latents_of(engine, data), 32, reference_compat=True)
    assert ours == data["refcached_ids"].tolist()


@pytest.mark.parametrize("model", MODELS)
def test_more_tags_than_media_are_refused(golden_folder: Path, opened: Opened, model: str) -> None:
    data, _ = read(golden_folder, model, "more_tags_than_media")
    engine = opened(model, "f32")
    with pytest.raises(PromptError):
        engine.logits(data["input_ids"][0].tolist(), latents_of(engine, data))
