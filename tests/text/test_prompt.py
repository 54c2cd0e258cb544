"""Prompts: every published layout, spelled out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from otter_desktop.errors import PackageError, PromptError
from otter_desktop.text.prompt import AlbumLayout, Exchange, PromptTemplate
from otter_desktop.text.tokenizer import Piece, Tag

SPELLED = {Tag.IMAGE: "<image>", Tag.ANSWER: "<answer>", Tag.END: "<|endofchunk|>"}


def spell(pieces: Sequence[Piece]) -> str:
    return "".join(SPELLED[piece] if isinstance(piece, Tag) else piece for piece in pieces)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spaced", "<image>User: q GPT:<answer>"),
        ("simple", "<image>User:q GPT:<answer>"),
        ("llama2", "[INST]<image>\nq[/INST]<answer>"),
        ("openflamingo", "<image>Question:q Short answer:<answer>"),
    ],
)
def test_one_media_item(name: str, expected: str) -> None:
    assert spell(PromptTemplate(name).build(Exchange(" q\n", 1))) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spaced", "<image>User: a GPT:<answer> b<|endofchunk|><image>User: q GPT:<answer>"),
        ("simple", "<image>User:a GPT:<answer>b<|endofchunk|><image>User:q GPT:<answer>"),
        ("llama2", "[INST]<image>\na[/INST]<answer>b<|endofchunk|>[INST]<image>\nq[/INST]<answer>"),
    ],
)
def test_examples_come_before_with_their_own_media(name: str, expected: str) -> None:
    pieces = PromptTemplate(name).build(Exchange("q", 1), examples=[Exchange("a", 1, "b")])
    assert spell(pieces) == expected


def test_further_turns_do_not_repeat_the_media() -> None:
    pieces = PromptTemplate().build(Exchange("q2", 0), turns=[Exchange("q1", 1, "a1")])
    expected = "<image>User: q1 GPT:<answer> a1<|endofchunk|>User: q2 GPT:<answer>"
    assert spell(pieces) == expected


def test_no_image() -> None:
    assert spell(PromptTemplate().build(Exchange("q", 0))) == "User: q GPT:<answer>"
    assert spell(PromptTemplate("llama2").build(Exchange("q", 0))) == "[INST]q[/INST]<answer>"


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (
            AlbumLayout.QUESTION_EACH,
            "User:<image>Photo 1. q<image>Photo 2. q<image>Photo 3. q GPT:<answer>",
        ),
        (
            AlbumLayout.MEDIA_FIRST,
            "<image>Photo 1.<image>Photo 2.<image>Photo 3.User: q GPT:<answer>",
        ),
    ],
)
def test_an_album_names_its_photos(layout: AlbumLayout, expected: str) -> None:
    assert spell(PromptTemplate("spaced", layout).build(Exchange("q", 3))) == expected


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(PromptError, match="question is empty"):
        PromptTemplate().build(Exchange(question, 1))


def test_an_example_without_answer_is_refused() -> None:
    with pytest.raises(PromptError, match="no answer"):
        PromptTemplate().build(Exchange("q", 1), examples=[Exchange("a", 1, " ")])


def test_an_unknown_template_is_a_package_error() -> None:
    with pytest.raises(PackageError, match="unknown prompt template 'x'"):
        PromptTemplate("x")
