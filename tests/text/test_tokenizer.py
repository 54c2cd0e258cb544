"""Tokens: special ids, user text that looks special, streaming."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_desktop.errors import PackageError, PromptError
from otter_desktop.text.tokenizer import Tag, TextStream, Tokenizer, clean_answer


def test_tags_become_their_special_ids(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode([Tag.IMAGE, "User: a cat? GPT:", Tag.ANSWER])
    assert ids.count(tokenizer.image_id) == 1
    assert ids[-1] == tokenizer.answer_id


def test_a_beginning_token_comes_first_where_the_tokenizer_has_one(
    byte_fallback: Tokenizer, byte_level: Tokenizer
) -> None:
    assert byte_fallback.encode([Tag.IMAGE, "a"])[:2] == [1, byte_fallback.image_id]
    assert byte_level.encode([Tag.IMAGE, "a"])[0] == byte_level.image_id


@pytest.mark.parametrize("typed", ["<image>", "<|endofchunk|>", "a <answer> b", "<PAD>"])
def test_what_a_person_types_never_becomes_a_special_token(
    tokenizer: Tokenizer, typed: str
) -> None:
    plain = tokenizer.encode([Tag.IMAGE, "User: ", "a", " GPT:", Tag.ANSWER])
    ids = tokenizer.encode([Tag.IMAGE, "User: ", typed, " GPT:", Tag.ANSWER])
    for special in (tokenizer.image_id, tokenizer.answer_id, tokenizer.end_id, tokenizer.pad_id):
        assert ids.count(special) == plain.count(special)
    assert typed.replace(" ", "") in tokenizer.decode(ids).replace(" ", "")


def test_a_special_token_split_over_pieces_is_not_made_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(["a <ima", "ge> b", Tag.ANSWER])
    assert tokenizer.image_id not in ids


def test_the_encoding_of_the_next_text_is_not_changed_by_a_suspicious_one(
    tokenizer: Tokenizer,
) -> None:
    before = tokenizer.encode([Tag.IMAGE, "a cat"])
    tokenizer.encode(["<image>", Tag.IMAGE])
    assert tokenizer.encode([Tag.IMAGE, "a cat"]) == before


def test_never_generated_ids_are_image_answer_padding_and_rows_without_a_token(
    tokenizer: Tokenizer,
) -> None:
    mask = tokenizer.never_generated(len(tokenizer) + 5)
    expected = {tokenizer.image_id, tokenizer.answer_id, tokenizer.pad_id}
    expected |= set(range(len(tokenizer), len(tokenizer) + 5))
    assert set(np.flatnonzero(mask).tolist()) == expected


def test_text_time_counts_image_tokens_and_a_tag_sees_its_own_image(
    byte_level: Tokenizer,
) -> None:
    image = byte_level.image_id
    assert byte_level.text_time([5, image, 5, image, image, 5]) == [0, 1, 1, 2, 3, 3]


@given(text=st.text(max_size=30))
def test_byte_level_text_survives_encoding_and_decoding(byte_level: Tokenizer, text: str) -> None:
    assert byte_level.decode(byte_level.encode([text])) == text


@given(text=st.text(min_size=1, max_size=20))
def test_streamed_text_is_whole_characters_that_add_up(byte_level: Tokenizer, text: str) -> None:
    stream = TextStream(byte_level)
    parts = [stream.push(token) for token in byte_level.encode([text])]
    assert all(text.lstrip().startswith("".join(parts[:n])) for n in range(len(parts) + 1))
    assert "".join(parts) + stream.finish() == text.lstrip()


def test_a_stream_cut_inside_a_character_ends_in_a_replacement_sign(
    byte_fallback: Tokenizer,
) -> None:
    stream = TextStream(byte_fallback)
    ids = byte_fallback.encode(["好"])[-3:]
    assert [stream.push(token) for token in ids[:2]] == ["", ""]
    assert stream.finish() == "\ufffd"


def test_special_tokens_leave_no_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([tokenizer.end_id, tokenizer.image_id, 10**6]) == ""


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (' "A cat."<|endofchunk|>User', "A cat."),
        ("A cat.\n", "A cat."),
        ('say "yes" now', 'say "yes" now'),
        ('it says "yes"', 'it says "yes"'),
        ('"A cat.', "A cat."),
        ("", ""),
    ],
)
def test_answers_are_cut_and_stripped(raw: str, clean: str) -> None:
    assert clean_answer(raw) == clean


def test_a_tokenizer_without_the_image_token_is_refused(byte_level: Tokenizer) -> None:
    with pytest.raises(PackageError, match="does not know <picture>"):
        Tokenizer(byte_level._backend.to_str(), image="<picture>")


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"model": 1})])
def test_a_damaged_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(PackageError, match="damaged"):
        Tokenizer(text)


def test_a_missing_answer_token_is_allowed_only_where_the_package_names_none(
    byte_level: Tokenizer,
) -> None:
    plain = Tokenizer(byte_level._backend.to_str(), answer=None)
    assert plain.answer_id is None
    assert plain.encode(["a", Tag.ANSWER]) == plain.encode(["a"])


def test_bytes_that_are_no_text_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(PromptError, match="UTF-8"):
        tokenizer.encode([Tag.IMAGE, "What \udcff is it?"])
