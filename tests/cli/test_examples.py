"""Sets of examples in files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from otter_desktop.assistant.request import Clip, Photo
from otter_desktop.cli.examples import parse_example, read_examples
from otter_desktop.errors import SettingsError


def test_an_example_is_a_file_a_question_and_an_answer() -> None:
    example = parse_example("C::a.mp4::What is it? :: A cat.")
    assert example.media == (Clip("C::a.mp4"),)
    assert (example.question, example.answer) == ("What is it?", "A cat.")


def test_files_of_a_list_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(
        json.dumps(
            [
                {"file": "a.png", "question": "q", "answer": "a"},
                {"files": ["a.png", "b.png"], "question": "q", "answer": "a", "compare": True},
            ]
        )
    )
    first, second = read_examples(path)
    assert first.media == (Photo(tmp_path / "a.png"),)
    assert second.compare
    assert len(second.media) == 2


def test_mimic_it_instructions_find_images_as_files_and_in_base64(tmp_path: Path) -> None:
    entry = {"instruction": "What?", "answer": "A cat.", "rel_ins_ids": []}
    path = tmp_path / "LA_instructions.json"
    path.write_text(
        json.dumps(
            {
                "meta": {},
                "data": {
                    "LA_1": {**entry, "image_ids": ["LA_IMG_1"]},
                    "LA_2": {**entry, "image_ids": ["LA_IMG_1", "LA_IMG_2"]},
                },
            }
        )
    )
    (tmp_path / "LA_IMG_1.jpg").write_bytes(b"one")
    (tmp_path / "LA.json").write_text(json.dumps({"LA_IMG_2": base64.b64encode(b"two").decode()}))
    first, second = read_examples(path)
    assert first.media == (Photo(tmp_path / "LA_IMG_1.jpg"),)
    assert not first.compare
    assert second.compare
    assert second.media[1].path.read_bytes() == b"two"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[1]",
        "{}",
        "5",
        "[" * 100_000,
        '[{"file": "a"}]',
        '[{"file": "a", "question": null, "answer": "b"}]',
        '{"data": {"a": {}}}',
        '{"data": {}}',
    ],
)
def test_a_file_without_examples_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"set\.json"):
        read_examples(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "X_instructions.json"
    entry = {"instruction": "q", "answer": "a", "image_ids": ["X_7"]}
    path.write_text(json.dumps({"data": {"X": entry}}))
    with pytest.raises(SettingsError, match="X_7"):
        read_examples(path)
