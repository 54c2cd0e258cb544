"""Prompts: how a question, its media, examples and earlier turns are laid out (FORMATS 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from otter_desktop.errors import PackageError, PromptError
from otter_desktop.text.tokenizer import Piece, Tag


class AlbumLayout(Enum):
    """Where several photos stand: each before the question again, or all before it once.

    A small model finds a thing in a photo when the question stands where only that photo is
    seen; a large one, trained so, remembers the photos.
    """

    QUESTION_EACH = "question_each"
    MEDIA_FIRST = "media_first"


@dataclass(frozen=True)
class Exchange:
    """A question about `media_count` media items, with its answer where it is known."""

    question: str
    media_count: int
    answer: str | None = None


@dataclass(frozen=True)
class _Wording:
    """The fixed words of a template: around the question, before the answer."""

    before: str
    between: str
    answer_space: str
    question_space: str = " "


_WORDINGS = {
    "spaced": _Wording("User: ", " GPT:", " "),
    "simple": _Wording("User:", " GPT:", ""),
    "llama2": _Wording("[INST]", "[/INST]", "", "\n"),
    "openflamingo": _Wording("Question:", " Short answer:", ""),
}


class PromptTemplate:
    """One of the published prompt layouts, by the name in the package's manifest."""

    def __init__(
        self, name: str = "spaced", album_layout: AlbumLayout = AlbumLayout.MEDIA_FIRST
    ) -> None:
        if name not in _WORDINGS:
            raise PackageError(f"The package asks for the unknown prompt template {name!r}.")
        self.name = name
        self.album_layout = album_layout
        self._wording = _WORDINGS[name]

    def build(
        self,
        exchange: Exchange,
        *,
        examples: Sequence[Exchange] = (),
        turns: Sequence[Exchange] = (),
    ) -> list[Piece]:
        """Pieces of the prompt that ends where the answer begins.

        Examples come first, each with its own media; then the earlier turns, whose first one
        carries the media; then the question, with its own media where `media_count` says so.
        Raises `PromptError` for an empty question or an example without an answer.
        """
        pieces: list[Piece] = []
        for example in examples:
            if example.answer is None or not example.answer.strip():
                raise PromptError("An example has no answer: give one, or leave it out.")
            pieces += self._exchange(example)
        for turn in turns:
            pieces += self._exchange(turn)
        return pieces + self._exchange(exchange)

    def answered(self, answer: str) -> list[Piece]:
        """Pieces that follow a prompt when the model gives this answer and ends."""
        return [self._wording.answer_space + answer.strip(), Tag.END]

    def _exchange(self, exchange: Exchange) -> list[Piece]:
        question = exchange.question.strip()
        if not question:
            raise PromptError("The question is empty: say what you want to know.")
        words = self._wording
        pieces = self._asked(question, exchange.media_count)
        pieces += [words.between, Tag.ANSWER]
        if exchange.answer is not None:
            pieces += self.answered(exchange.answer)
        return pieces

    def _asked(self, question: str, media_count: int) -> list[Piece]:
        words = self._wording
        llama2 = self.name == "llama2"
        if media_count > 1 and self.album_layout is AlbumLayout.QUESTION_EACH:
            return [words.before.rstrip(), *_album(media_count, f" {question}")]
        media: list[Piece] = [Tag.IMAGE] if media_count == 1 else _album(media_count)
        if llama2:
            return [words.before, *media, *(["\n"] if media else []), question]
        return [*media, words.before, question]


def _album(count: int, question: str = "") -> list[Piece]:
    """`<image>Photo 1.<image>Photo 2.`: each photo's words stand where only it is seen.

    With a question, it is asked of each photo in turn.
    """
    pieces: list[Piece] = []
    for number in range(1, count + 1):
        pieces += [Tag.IMAGE, f"Photo {number}.{question}"]
    return pieces
