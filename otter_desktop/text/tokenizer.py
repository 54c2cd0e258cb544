"""Text to token ids and back: the package's own tokenizer, special ids looked up by name.

What a person types never becomes a special token, even when it looks like one.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from otter_desktop.errors import PackageError, PromptError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Tag(Enum):
    """A special token's place in a prompt; everything else in a prompt is plain text."""

    IMAGE = "image"
    ANSWER = "answer"
    END = "end_of_chunk"


Piece = str | Tag


class Tokenizer:
    """The tokenizer of a package, from the text of its `tokenizer.json`.

    Raises `PackageError` where the text is damaged or lacks the end-of-chunk or image token.
    """

    def __init__(
        self,
        tokenizer_json: str,
        *,
        end_of_chunk: str = "<|endofchunk|>",
        image: str = "<image>",
        answer: str | None = "<answer>",
        pad: str | None = "<PAD>",
    ) -> None:
        from tokenizers import Tokenizer as Backend

        try:
            self._backend: Any = Backend.from_str(tokenizer_json)
            self._raw: dict[str, Any] = json.loads(tokenizer_json)
        except Exception as error:
            raise PackageError(f"The package's tokenizer is damaged: {error}") from error
        self._backend.no_padding()
        self._backend.no_truncation()
        self._texts = {Tag.IMAGE: image, Tag.END: end_of_chunk}
        self.end_id = self._required(end_of_chunk)
        self.image_id = self._required(image)
        self.answer_id = self._required(answer) if answer else None
        if answer:
            self._texts[Tag.ANSWER] = answer
        self.pad_id: int | None = self._backend.token_to_id(pad) if pad else None
        self._specials = [
            token["content"] for token in self._raw.get("added_tokens", ()) if token["special"]
        ]
        self._bytes = _token_bytes_reader(self._raw)

    def __len__(self) -> int:
        """How many ids the tokenizer knows, added tokens included."""
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Token ids of a whole prompt, with whatever the tokenizer puts in front of a text.

        Text that spells a special token is encoded letter by letter. Raises `PromptError` for
        text with half characters, as bytes that are no text become on a command line.
        """
        runs = _joined(pieces)
        _check_characters(runs)
        if any(isinstance(run, str) and self._looks_special(run) for run in runs):
            return self._encode_apart(runs)
        text = "".join(run if isinstance(run, str) else self._tag(run) for run in runs)
        return list(self._backend.encode(text, add_special_tokens=True).ids)

    def never_generated(self, vocab_size: int) -> NDArray[np.bool_]:
        """Mask (vocab_size,) of ids that an answer never holds.

        Those are the image, answer and padding tokens and the rows of the output matrix that
        belong to no token (FORMATS: logits at or past `len(tokenizer)` are masked).
        """
        mask = np.zeros(vocab_size, dtype=np.bool_)
        mask[len(self) :] = True
        for token in (self.image_id, self.answer_id, self.pad_id):
            if token is not None and token != self.end_id and token < vocab_size:
                mask[token] = True
        return mask

    def text_time(self, tokens: Sequence[int]) -> list[int]:
        """Running count of image tokens, inclusive: the media number that each token sees."""
        counts = np.cumsum(np.asarray(tokens, dtype=np.int64) == self.image_id)
        return [int(count) for count in counts]

    def token_bytes(self, token: int) -> bytes:
        """UTF-8 bytes that a token adds to an answer; special and unknown ids add none."""
        text = self._backend.id_to_token(token)
        if text is None or text in self._specials:
            return b""
        return self._bytes(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids without special tokens; broken UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, tokens)).decode("utf-8", errors="replace")

    def _tag(self, tag: Tag) -> str:
        """Text of a special token; the answer tag is empty where the model has none."""
        return self._texts.get(tag, "")

    def _required(self, text: str) -> int:
        token = self._backend.token_to_id(text)
        if token is None:
            raise PackageError(f"The package's tokenizer does not know {text}: wrong tokenizer.")
        return int(token)

    def _looks_special(self, text: str) -> bool:
        return any(special in text for special in self._specials)

    def _encode_apart(self, runs: Sequence[Piece]) -> list[int]:
        """Encode every stretch of plain text on its own, blind to special tokens."""
        ids = list(self._backend.encode("", add_special_tokens=True).ids)
        for run in runs:
            if isinstance(run, Tag):
                if self._tag(run):
                    ids.append(self._required(self._tag(run)))
                continue
            self._backend.encode_special_tokens = True
            try:
                ids += self._backend.encode(run, add_special_tokens=False).ids
            finally:
                self._backend.encode_special_tokens = False
        return ids


class TextStream:
    """Turns tokens into text as they come, never printing half of a UTF-8 character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._started = False

    def push(self, token: int) -> str:
        """Text that is complete now; leading white space of the answer is left out."""
        return self._strip(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self) -> str:
        """Whatever was left incomplete, as U+FFFD."""
        return self._strip(self._decoder.decode(b"", final=True))

    def _strip(self, text: str) -> str:
        if not self._started:
            text = text.lstrip()
            self._started = bool(text)
        return text


def clean_answer(text: str, end_of_chunk: str = "<|endofchunk|>") -> str:
    """Cut at the end token, strip white space and the double quotes around (FORMATS 5).

    Quotes inside an answer stay, also where one of them is its first or last character.
    """
    text = text.split(end_of_chunk)[0].strip()
    inner = text.strip('"')
    return text if '"' in inner else inner.strip()


def _check_characters(runs: Sequence[Piece]) -> None:
    for run in runs:
        if isinstance(run, str) and any("\ud800" <= letter <= "\udfff" for letter in run):
            raise PromptError(f"{run.strip()!r} holds bytes that are no text: write it in UTF-8.")


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces with neighbouring texts made one."""
    runs: list[Piece] = []
    for piece in pieces:
        last = runs[-1] if runs else None
        if isinstance(piece, str) and isinstance(last, str):
            runs[-1] = last + piece
        else:
            runs.append(piece)
    return runs


def _token_bytes_reader(raw: dict[str, Any]) -> Callable[[str], bytes]:
    """Choose how a token's text spells bytes: by GPT-2's byte letters or by SentencePiece."""
    kinds = set(_kinds(raw.get("decoder")))
    added = {token["content"] for token in raw.get("added_tokens", ())}
    if "ByteLevel" in kinds:
        letters = _byte_letters()

        def byte_level(text: str) -> bytes:
            if text in added:
                return text.encode()
            return bytes(letters[letter] for letter in text if letter in letters)

        return byte_level
    if kinds & {"ByteFallback", "Metaspace", "Replace"}:

        def sentence_piece(text: str) -> bytes:
            if text in added:
                return text.encode()
            if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
                return bytes([int(text[3:5], 16)])
            return text.replace("▁", " ").encode()

        return sentence_piece
    raise PackageError(f"The package's tokenizer decodes in an unknown way: {sorted(kinds)}.")


def _kinds(decoder: Any) -> list[str]:
    if not isinstance(decoder, dict):
        return []
    return [str(decoder.get("type"))] + [
        kind for child in decoder.get("decoders", ()) for kind in _kinds(child)
    ]


def _byte_letters() -> dict[str, int]:
    """GPT-2's table of printable letters for the 256 bytes (its `bytes_to_unicode`)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in plain}
    others = [byte for byte in range(256) if byte not in set(plain)]
    return letters | {chr(256 + n): byte for n, byte in enumerate(others)}
