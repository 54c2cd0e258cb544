"""The reference model: who sees which medium, and cached decoding against the full pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.checkpoints import open_checkpoint
from export.model import OtterConfig, OtterModel
from export.model.generation import GenerationRules, banned_by_ngram, generate
from export.model.language import alibi_slopes
from export.model.otter import Past
from export.random_checkpoint import random_config, random_model
from otter_desktop.errors import CheckpointError, FrameLimitError, PromptError

IMAGE = 7
TEXT = [11, 12, IMAGE, 13, 14, 15, IMAGE, 16, 17, 18]


@pytest.fixture(scope="module")
def model() -> OtterModel:
    return random_model(random_config("mpt", image_token_id=IMAGE))


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn(1, 2, 8, 48, generator=torch.Generator().manual_seed(1))


def _logits(
    model: OtterModel, latents: torch.Tensor | None, tokens: list[int] = TEXT
) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([tokens]), latents=latents)[0]


def test_text_before_the_first_image_does_not_depend_on_media(
    model: OtterModel, latents: torch.Tensor
) -> None:
    changed = _logits(model, latents + 1)
    assert torch.equal(changed[:2], _logits(model, latents)[:2])


def test_the_image_tag_sees_its_own_medium(model: OtterModel, latents: torch.Tensor) -> None:
    other = latents.clone()
    other[:, 0] += 1
    difference = (_logits(model, other) - _logits(model, latents)).abs().amax(dim=1)
    assert difference[2] > 1e-3


def test_text_after_the_second_image_attends_to_the_second_medium_only(
    model: OtterModel, latents: torch.Tensor
) -> None:
    # Self-attention would carry the first medium along: look at a text without one before it.
    tokens = [IMAGE, IMAGE, 16]
    alone = torch.cat([latents[:, 1:], latents[:, 1:]], dim=1)
    hidden = random_model(replace(model.config, cross_attention_every=4), seed=3)
    for block in hidden.lang_encoder.blocks:
        block.decoder_layer.attn.out_proj.weight.data.zero_()
    assert torch.allclose(_logits(hidden, alone, tokens)[2], _logits(hidden, latents, tokens)[2])


def test_no_media_equals_text_time_zero(model: OtterModel, latents: torch.Tensor) -> None:
    text = [11, 12, 13]
    assert torch.allclose(_logits(model, None, text), _logits(model, latents, text), atol=1e-5)


def test_the_gated_feed_forward_applies_without_media(model: OtterModel) -> None:
    closed = random_model(model.config)
    for block in closed.lang_encoder.blocks:
        if block.gated_cross_attn_layer is not None:
            block.gated_cross_attn_layer.ff_gate.data.zero_()
    difference = (_logits(closed, None, [11, 12]) - _logits(model, None, [11, 12])).abs().max()
    assert difference > 1e-2


def test_more_tags_than_media_are_refused(model: OtterModel, latents: torch.Tensor) -> None:
    with pytest.raises(PromptError, match="2 image tags but only 1"):
        _logits(model, latents[:, :1])


def test_more_frames_than_the_model_knows_are_refused(model: OtterModel) -> None:
    with pytest.raises(FrameLimitError, match="9 frames"):
        model.resample(torch.zeros(1, 1, 9, 4, 48))


def test_the_order_of_frames_matters_only_with_frame_embeddings() -> None:
    features = torch.randn(1, 1, 3, 4, 48)
    for limit in (8, None):
        model = random_model(random_config("mpt", max_num_frames=limit))
        there, back = model.resample(features), model.resample(features.flip(2))
        assert torch.allclose(there, back, atol=1e-4) is (limit is None)


@pytest.mark.parametrize("kind", ["mpt", "mpt_qk_ln", "mosaicgpt", "llama"])
def test_decoding_with_a_cache_equals_the_full_pass(
    kind: str, checkpoint_of: Callable[[str], Path], latents: torch.Tensor
) -> None:
    model = open_checkpoint(checkpoint_of(kind)).load_model()
    image = model.config.image_token_id
    tokens = [token if token != IMAGE else image for token in TEXT]
    past = Past()
    with torch.inference_mode():
        whole = model(torch.tensor([tokens]), latents=latents)
        steps = [model(torch.tensor([tokens[:4]]), latents=latents, past=past)]
        steps += [model(torch.tensor([[token]]), past=past) for token in tokens[4:]]
    assert torch.allclose(torch.cat(steps, dim=1), whole, atol=1e-4)


def test_padding_on_either_side_changes_nothing(model: OtterModel, latents: torch.Tensor) -> None:
    plain = _logits(model, latents)
    for left, right in ((3, 0), (0, 3)):
        ids = torch.tensor([[0] * left + TEXT + [0] * right])
        mask = (ids != 0).long()
        with torch.inference_mode():
            padded = model(ids, latents=latents, attention_mask=mask)[0]
        assert torch.allclose(padded[left : left + len(TEXT)], plain, atol=1e-4)


def test_one_beam_and_greedy_agree(model: OtterModel, latents: torch.Tensor) -> None:
    rules = GenerationRules(max_new_tokens=1, never=frozenset({IMAGE}))
    greedy = generate(model, TEXT, latents=latents, rules=rules)
    assert generate(model, TEXT, latents=latents, beams=2, rules=rules) == greedy


def test_beams_find_at_least_as_likely_an_answer_as_greedy(
    model: OtterModel, latents: torch.Tensor
) -> None:
    rules = GenerationRules(max_new_tokens=6, never=frozenset({IMAGE}))

    def likelihood(answer: list[int]) -> float:
        scores = _logits(model, latents, TEXT + answer).log_softmax(dim=-1)
        places = range(len(TEXT) - 1, len(TEXT) + len(answer) - 1)
        return sum(float(scores[i, token]) for i, token in zip(places, answer, strict=True))

    greedy = generate(model, TEXT, latents=latents, rules=rules)
    beams = generate(model, TEXT, latents=latents, beams=4, rules=rules)
    assert likelihood(beams) >= likelihood(greedy) - 1e-4


def test_an_answer_repeats_no_trigram_when_told_so(
    model: OtterModel, latents: torch.Tensor
) -> None:
    rules = GenerationRules(max_new_tokens=24, no_repeat_ngram=3, never=frozenset({IMAGE}))
    tokens = TEXT + generate(model, TEXT, latents=latents, beams=2, rules=rules)
    trigrams = [tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)]
    assert len(set(trigrams)) == len(trigrams)


def test_banned_tokens_are_those_that_followed_the_same_words() -> None:
    assert banned_by_ngram([1, 2, 3, 1, 2], 3) == {3}
    assert banned_by_ngram([1, 2], 3) == set()
    assert banned_by_ngram([4, 4], 1) == {4}


def test_gradients_reach_every_weight_but_the_unused_norm(latents: torch.Tensor) -> None:
    model = random_model(random_config("mpt", image_token_id=IMAGE))
    pixels = torch.randn(1, 2, 3, 3, 28, 28)
    model(torch.tensor([TEXT]), vision_x=pixels).logsumexp(dim=-1).mean().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    unused = "vision_encoder.vision_model.post_layernorm."
    assert {name.removeprefix(unused) for name in without} == {"weight", "bias"}


def test_alibi_slopes_round_the_heads_for_mpt_only() -> None:
    mpt, mosaic = random_config("mpt").language, random_config("mosaicgpt").language
    expected = [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]
    assert alibi_slopes(mpt).tolist() == pytest.approx(expected)
    assert alibi_slopes(mosaic).tolist() == pytest.approx([2 ** (-8 * i / 6) for i in range(1, 7)])


@pytest.mark.parametrize("family", ["mpt", "mosaicgpt", "llama"])
def test_a_configuration_survives_its_published_form(family: str) -> None:
    config = random_config(family)  # type: ignore[arg-type]
    shapes = {name: tuple(x.shape) for name, x in OtterModel(config).state_dict().items()}
    assert OtterConfig.from_checkpoint(config.to_published(), shapes) == config


def test_the_built_in_model_survives_its_published_form() -> None:
    config = OtterConfig.builtin(600, image_token_id=3)
    with torch.device("meta"):
        shapes = {name: tuple(x.shape) for name, x in OtterModel(config).state_dict().items()}
    assert OtterConfig.from_checkpoint(config.to_published(), shapes) == config


def test_a_missing_spacing_of_gated_blocks_is_read_off_the_tensors() -> None:
    config = random_config("mpt")
    shapes = {name: tuple(x.shape) for name, x in OtterModel(config).state_dict().items()}
    published = config.to_published()
    del published["cross_attn_every_n_layers"]
    assert OtterConfig.from_checkpoint(published, shapes) == config


def test_an_unknown_way_of_positions_is_refused() -> None:
    config = random_config("mpt")
    shapes = {name: tuple(x.shape) for name, x in OtterModel(config).state_dict().items()}
    published = config.to_published()
    published["text_config"]["attn_config"]["alibi"] = False
    with pytest.raises(CheckpointError, match="ALiBi"):
        OtterConfig.from_checkpoint(published, shapes)
