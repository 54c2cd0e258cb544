"""Sampling: every filter by what it lets through, and seeded draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from otter_desktop.errors import SettingsError
from otter_desktop.text.options import SamplingOptions
from otter_desktop.text.sampling import (
    LogitsRules,
    Sampler,
    filtered_probabilities,
    log_softmax,
    repeating_tokens,
)
from otter_desktop.text.tokenizer import Tokenizer

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))


def kept(**options: Any) -> list[int]:
    probabilities = filtered_probabilities(LOGITS, SamplingOptions(**options))
    return np.flatnonzero(probabilities).tolist()


def test_greedy_takes_the_most_likely_token() -> None:
    assert Sampler(SamplingOptions()).draw(LOGITS) == 0


def test_temperature_sharpens_and_flattens() -> None:
    cold = filtered_probabilities(LOGITS, SamplingOptions(temperature=0.5))
    hot = filtered_probabilities(LOGITS, SamplingOptions(temperature=2))
    assert cold[0] > 0.5 > hot[0]
    assert cold == pytest.approx(np.square([0.5, 0.25, 0.15, 0.1]) / 0.345, rel=1e-5)


def test_next_to_no_temperature_takes_the_most_likely_token() -> None:
    assert Sampler(SamplingOptions(temperature=1e-320)).draw(LOGITS) == 0


def test_a_draw_from_nothing_is_no_error() -> None:
    nothing = np.full(4, -np.inf, np.float32)
    assert Sampler(SamplingOptions(temperature=1)).draw(nothing) in range(4)


def test_top_k_keeps_the_k_most_likely() -> None:
    assert kept(temperature=1, top_k=2) == [0, 1]
    assert kept(temperature=1, top_k=9) == [0, 1, 2, 3]


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    assert kept(temperature=1, top_p=0.6) == [0, 1]
    assert kept(temperature=1, top_p=0.4) == [0]
    assert kept(temperature=1, top_p=0.95) == [0, 1, 2, 3]


def test_min_p_is_relative_to_the_most_likely() -> None:
    assert kept(temperature=1, min_p=0.25) == [0, 1, 2]


def test_draws_repeat_with_a_seed_and_follow_the_probabilities() -> None:
    options = SamplingOptions(temperature=1, seed=7)
    draws = [sampler.draw(LOGITS) for sampler in [Sampler(options)] for _ in range(2000)]
    again = Sampler(options)
    assert [again.draw(LOGITS) for _ in range(20)] == draws[:20]
    assert np.bincount(draws) / 2000 == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.04)


def test_repetition_penalty_makes_seen_tokens_less_likely_prompt_included() -> None:
    rules = LogitsRules(SamplingOptions(repetition_penalty=2))
    scores = rules.apply(np.array([2, -2, 2, -2], np.float32), prompt=[0], generated=[1])
    assert scores.tolist() == [1, -4, 2, -2]


def test_a_repeated_ngram_is_found_in_prompt_and_answer_alike() -> None:
    assert repeating_tokens([1, 2, 3, 9, 1, 2], 3) == [3]
    assert repeating_tokens([1, 2, 3, 9, 2, 1], 3) == []
    assert repeating_tokens([4, 5], 1) == [4, 5]
    assert repeating_tokens([1], 3) == []
    rules = LogitsRules(SamplingOptions(no_repeat_ngram=2))
    assert np.isneginf(rules.apply(LOGITS, prompt=[1, 2], generated=[1])[2])


def test_forbidden_ids_cannot_be_drawn() -> None:
    forbidden = np.array([True, False, False, False])
    rules = LogitsRules(SamplingOptions(), forbidden=forbidden)
    assert Sampler(SamplingOptions()).draw(rules.apply(LOGITS, [], [])) == 1


def test_the_logits_given_stay_as_they_are() -> None:
    before = LOGITS.copy()
    LogitsRules(SamplingOptions(repetition_penalty=3)).apply(LOGITS, [0, 1], [])
    assert np.array_equal(LOGITS, before)


def test_banned_strings_cannot_be_spelled_by_any_tokens(byte_level: Tokenizer) -> None:
    rules = LogitsRules(SamplingOptions(banned=("cat",)), tokenizer=byte_level)
    random = np.random.default_rng(0)
    generated: list[int] = []
    wish = byte_level.encode(["a cat c"]) + byte_level.encode(["a"]) + byte_level.encode(["t"])
    for step in range(60):
        logits = random.standard_normal(len(byte_level)).astype(np.float32)
        logits[wish[step % len(wish)]] += 20
        generated.append(int(np.argmax(rules.apply(logits, [], generated))))
    text = byte_level.decode(generated)
    assert "cat" not in text
    assert "ca" in text


@pytest.mark.parametrize(
    "bad",
    [
        {"max_tokens": 0},
        {"beams": 0},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"min_p": 1},
        {"repetition_penalty": 0},
        {"no_repeat_ngram": -1},
        {"beams": 2, "temperature": 1},
        {"seed": -1},
    ],
)
def test_senseless_options_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        SamplingOptions(**bad)


def test_log_softmax_survives_large_logits() -> None:
    row = log_softmax(np.array([1e4, 1e4], np.float32))
    assert row == pytest.approx([-np.log(2)] * 2)
