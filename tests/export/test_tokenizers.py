"""Tokenizers: Otter's tokens in the published order, LLaMA's slow rules in the fast file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from export.checkpoints.tokenizer import read_tokenizer
from export.random_checkpoint import write_fast_tokenizer, write_slow_tokenizer
from otter_desktop.errors import CheckpointError


def test_special_tokens_follow_the_base_vocabulary_in_the_published_order(tmp_path: Path) -> None:
    write_fast_tokenizer(tmp_path)
    size = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size()
    read = read_tokenizer(tmp_path)
    ordered = ["<|endofchunk|>", "<image>", "<answer>", "<PAD>"]
    assert [read.ids[text] for text in ordered] == list(range(size, size + 4))
    assert read.size == size + 4


def test_a_base_with_a_pad_token_gets_no_other(tmp_path: Path) -> None:
    write_fast_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<|endoftext|>"}')
    read = read_tokenizer(tmp_path)
    assert read.special.pad == "<|endoftext|>"
    assert "<PAD>" not in read.tokenizer_json


def test_reading_a_finished_tokenizer_again_adds_nothing(tmp_path: Path) -> None:
    write_fast_tokenizer(tmp_path)
    once = read_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(once.tokenizer_json)
    assert read_tokenizer(tmp_path).ids == once.ids


@pytest.mark.parametrize("text", ["A cat sits", "naïve 12 — 日本", "a  b\nc", " x"])
def test_the_converted_slow_tokenizer_encodes_as_sentencepiece_does(
    tmp_path: Path, text: str
) -> None:
    write_slow_tokenizer(tmp_path)
    slow = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    fast = Tokenizer.from_str(read_tokenizer(tmp_path).tokenizer_json)
    assert fast.encode(text).ids == [slow.bos_id(), *slow.encode(text)]


def test_the_legacy_rule_puts_a_space_after_every_special_token(tmp_path: Path) -> None:
    write_slow_tokenizer(tmp_path)
    read = read_tokenizer(tmp_path)
    fast = Tokenizer.from_str(read.tokenizer_json)
    slow = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    expected = [1, read.ids["<image>"], *slow.encode("User"), read.ids["<answer>"]]
    assert fast.encode("<image>User<answer>").ids == expected


def test_tokens_that_were_added_to_the_slow_base_keep_their_ids(tmp_path: Path) -> None:
    write_slow_tokenizer(tmp_path)
    size = len(SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model")))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<pad>": size}))
    assert read_tokenizer(tmp_path).ids["<|endofchunk|>"] == size + 1


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="no tokenizer"):
        read_tokenizer(tmp_path)
