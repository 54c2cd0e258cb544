"""Beam search against an exhaustive search and against hand-made cases."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from otter_desktop.text.beams import BeamSearch
from otter_desktop.text.options import SamplingOptions
from otter_desktop.text.sampling import LogitsRules, log_softmax

PROMPT = [0, 1, 2]
VOCAB = 5
END = 4


def table(seed: int) -> NDArray[np.float32]:
    """Logits of the next token after each last token (row VOCAB: after the prompt)."""
    return np.random.default_rng(seed).standard_normal((VOCAB + 1, VOCAB)).astype(np.float32) * 2


def search(
    logits: NDArray[np.float32], *, beams: int, length: int, ngram: int = 0, end: int = END
) -> list[int]:
    rules = LogitsRules(SamplingOptions(no_repeat_ngram=ngram))
    found = BeamSearch(PROMPT, beams=beams, max_new_tokens=length, end_id=end, rules=rules)
    found.advance(np.repeat(logits[VOCAB][None], beams, axis=0))
    while not found.done:
        found.advance(logits[found.last_tokens])
    return found.best()


def score(logits: NDArray[np.float32], tokens: tuple[int, ...]) -> float:
    """Log-probability of an answer over the length of prompt and answer without the end."""
    total, last = 0.0, VOCAB
    for token in tokens:
        total += float(log_softmax(logits[last])[token])
        last = token
    return total / (len(PROMPT) + len(tokens) - (tokens[-1] == END))


def every_answer(length: int) -> list[tuple[int, ...]]:
    return [
        answer
        for size in range(1, length + 1)
        for answer in itertools.product(range(VOCAB), repeat=size)
        if END not in answer[:-1] and (size == length or answer[-1] == END)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_one_beam_without_an_end_is_greedy(seed: int) -> None:
    logits = table(seed)
    greedy, last = [], VOCAB
    for _ in range(6):
        last = int(np.argmax(logits[last]))
        greedy.append(last)
    assert search(logits, beams=1, length=6, end=-1) == greedy


@pytest.mark.parametrize("seed", range(8))
def test_beams_wide_enough_for_everything_find_the_best_answer(seed: int) -> None:
    logits = table(seed)
    best = max(every_answer(3), key=lambda answer: score(logits, answer))
    assert tuple(search(logits, beams=16, length=3)) == best


def test_more_beams_never_score_worse_than_greedy_on_the_whole() -> None:
    def mean(beams: int) -> float:
        return float(
            np.mean(
                [score(t, tuple(search(t, beams=beams, length=5))) for t in map(table, range(30))]
            )
        )

    assert mean(1) <= mean(3) <= mean(8)


def test_no_answer_repeats_an_ngram() -> None:
    for seed in range(10):
        tokens = search(table(seed), beams=3, length=12, ngram=2, end=-1)
        pairs = list(itertools.pairwise(tokens))
        assert len(pairs) == len(set(pairs))


def test_an_answer_that_ends_holds_the_end_token() -> None:
    logits = np.zeros((VOCAB + 1, VOCAB), np.float32)
    logits[VOCAB, 2] = 9
    logits[2, END] = 9
    assert search(logits, beams=3, length=8) == [2, END]
