"""Tuning: only answers are learned, the frozen parts stay, a stopped run goes on exactly."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as TrainedTokenizer

from export.model import OtterConfig, OtterModel
from otter_desktop.text.tokenizer import Tokenizer
from training.batches import Batch, Mixture, collate, drawn
from training.pools import Pools, draw_pools
from training.scenes.phrases import Task
from training.scenes.world import Split, random_clip, random_pair, random_photo
from training.sequences import SequenceMaker, text_sample
from training.tokenizer import SPECIAL_TOKENS, train_tokenizer
from training.tune import Recipe, Tuner, right_answers

SMALL = Mixture(
    photos=4,
    counting=1,
    clips=2,
    pairs=1,
    photo_turns=1,
    clip_turns=1,
    albums=1,
    forms=1,
    made_up=1,
)


@pytest.fixture(scope="module")
def tokenizer() -> TrainedTokenizer:
    rng = random.Random(0)
    scenes = [random_photo(rng) for _ in range(150)] + [random_clip(rng) for _ in range(60)]
    return train_tokenizer(text_sample(rng, [*scenes, random_pair(rng)]), 900)


def _model(tokenizer: TrainedTokenizer) -> OtterModel:
    torch.manual_seed(0)
    image = tokenizer.token_to_id("<image>")
    config = OtterConfig.builtin(tokenizer.get_vocab_size(), image_token_id=image)
    vision = replace(config.vision, layers=1)
    language = replace(config.language, layers=1)
    return OtterModel(replace(config, vision=vision, language=language, perceiver_layers=1))


@pytest.fixture(scope="module")
def pools(tokenizer: TrainedTokenizer) -> Pools:
    return draw_pools(_model(tokenizer), Split.TRAIN, 1, photos=80, clips=6, pairs=4)


def test_special_tokens_follow_the_base_vocabulary_in_the_published_order(
    tokenizer: TrainedTokenizer,
) -> None:
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    assert ids == list(range(tokenizer.get_vocab_size() - 4, tokenizer.get_vocab_size()))


def test_labels_are_the_answers_and_their_end_tokens_only(
    tokenizer: TrainedTokenizer, pools: Pools
) -> None:
    maker = SequenceMaker(Tokenizer(tokenizer.to_str()), pools.scenes, Split.TRAIN)
    sequence = drawn(maker.photo, random.Random(1))
    batch = collate([sequence], pools, 0)
    learned = batch.labels[0][batch.labels[0] >= 0].tolist()
    expected = [
        token for answer in sequence.answers for token in sequence.ids[answer.start : answer.end]
    ]
    assert learned == expected
    ends = sum(token == tokenizer.token_to_id("<|endofchunk|>") for token in learned)
    assert ends == len(sequence.answers)


def test_the_first_example_of_a_form_is_not_learned(
    tokenizer: TrainedTokenizer, pools: Pools
) -> None:
    maker = SequenceMaker(Tokenizer(tokenizer.to_str()), pools.scenes, Split.TRAIN)
    sequence = drawn(lambda rng: maker.form(rng, shots=2), random.Random(1))
    assert [answer.scored for answer in sequence.answers] == [False, True, True]
    assert len(sequence.media) == 3


def test_an_album_has_one_photo_with_the_thing_and_says_which(
    tokenizer: TrainedTokenizer, pools: Pools
) -> None:
    maker = SequenceMaker(Tokenizer(tokenizer.to_str()), pools.scenes, Split.TRAIN)
    for seed in range(20):
        sequence = drawn(maker.album, random.Random(seed))
        shown = [number for number, (_, yes) in enumerate(sequence.presence) if yes]
        answer = sequence.answers[0]
        text = tokenizer.decode(sequence.ids[answer.start : answer.end])
        assert len(shown) == 1
        assert text.strip() == f"photo {shown[0] + 1}"
        assert len({sequence.ids[position] for position, _ in sequence.presence}) == 1
        for position, _ in sequence.presence:
            assert tokenizer.decode([sequence.ids[position]]) in "?."


def test_vision_and_resampler_stay_while_the_language_model_learns(
    tokenizer: TrainedTokenizer, pools: Pools, tmp_path: Path
) -> None:
    model = _model(tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tuner = Tuner(model, tokenizer, Recipe(steps=2, mixture=SMALL), tmp_path)
    tuner.run(pools, pools, final_questions=2)
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved
    assert all(name.startswith("lang_encoder.") for name in moved)
    assert any("gated_cross_attn_layer.attn_gate" in name for name in moved)


def test_a_stopped_run_goes_on_to_the_same_weights(
    tokenizer: TrainedTokenizer, pools: Pools, tmp_path: Path
) -> None:
    recipe = Recipe(steps=4, mixture=SMALL, warm_up_steps=2)
    whole = Tuner(_model(tokenizer), tokenizer, recipe, tmp_path / "whole")
    whole.run(pools, pools, final_questions=1)
    stopped = Tuner(_model(tokenizer), tokenizer, recipe, tmp_path / "stopped")
    stopped.run(pools, pools, until=2)
    resumed = Tuner(_model(tokenizer), tokenizer, recipe, tmp_path / "stopped")
    assert resumed.step == 2
    resumed.run(pools, pools, final_questions=1)
    assert resumed.loss == whole.loss
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_evaluation_counts_an_answer_right_only_when_every_token_is(
    tokenizer: TrainedTokenizer, pools: Pools
) -> None:
    maker = SequenceMaker(Tokenizer(tokenizer.to_str()), pools.scenes, Split.TRAIN)
    sequence = drawn(lambda rng: maker.one(Task.NAME, rng), random.Random(2))
    answer = sequence.answers[-1]
    wanted = sequence.ids[answer.start : answer.end]
    batch = collate([sequence], pools, 0)
    assert right_answers(batch, _said(batch, wanted)) == 1
    assert right_answers(batch, _said(batch, [*wanted[:-1], wanted[-1] - 1])) == 0


def _said(batch: Batch, answer: list[int]) -> torch.Tensor:
    """Likeliest next tokens of a model that gives this answer."""
    start = batch.sequences[0].answers[-1].start
    said = torch.zeros_like(batch.input_ids)
    said[0, start - 1 : start - 1 + len(answer)] = torch.tensor(answer)
    return said
