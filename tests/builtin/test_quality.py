"""The built-in model answers as well as the README says it does, through the whole program.

Questions, scenes and greedy answers are the same in every run; `otter-train evaluate` asks more.
"""

from __future__ import annotations

import pytest

from training.evaluate import TASKS, Question, evaluate

#: What the shipped model has to reach, on held-out compositions and phrasings. Counting (1-3) is
#: not here: its bar of 75% is not reached yet, the README's table says by how much.
BARS = {
    "name": 0.85,
    "yes_no": 0.80,
    "motion": 0.75,
    "caption_two_things": 0.60,
    "where": 0.70,
    "form_by_example": 0.85,
}


@pytest.mark.parametrize("task", BARS)
def test_the_built_in_model_reaches_its_bar(task: str) -> None:
    wrong: list[str] = []

    def note(question: Question, answer: str) -> None:
        wrong.append(f"{question.text} {answer!r} for {question.answer!r}")

    score = evaluate(None, questions_per_task=60, seed=2, tasks=[task], wrong=note)[task]
    assert score.accuracy >= BARS[task], "\n".join(wrong)


def test_every_bar_is_a_task() -> None:
    assert set(BARS) <= set(TASKS)
