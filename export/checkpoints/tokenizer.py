"""The base model's tokenizer with Otter's tokens added, as the text of one tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from otter_desktop.errors import CheckpointError
from otter_desktop.manifest import SpecialTokens

END_OF_CHUNK, IMAGE, ANSWER, PAD = "<|endofchunk|>", "<image>", "<answer>", "<PAD>"


@dataclass(frozen=True)
class PackageTokenizer:
    """A whole tokenizer: its file's text and the special tokens that a package names."""

    tokenizer_json: str
    special: SpecialTokens
    ids: Mapping[str, int]
    """Ids of the special tokens by their text."""
    size: int
    """Number of ids, added tokens included: len(tokenizer)."""


def read_tokenizer(folder: Path, *, answer: bool = True) -> PackageTokenizer:
    """Read tokenizer.json, or a legacy LLaMA tokenizer.model, and add Otter's tokens.

    They come in the order of the published code (`<|endofchunk|>`, `<image>`, `<answer>`, then
    `<PAD>` only where the base has no padding token), so that their ids are those trained with.
    Raises `CheckpointError` when the folder has no tokenizer.
    """
    settings = _settings(folder)
    tokenizer = _base_tokenizer(folder, settings)
    wanted = [END_OF_CHUNK, IMAGE, *([ANSWER] if answer else [])]
    pad = settings.get("pad_token")
    pad = pad.get("content") if isinstance(pad, Mapping) else pad
    if pad is None or tokenizer.token_to_id(str(pad)) is None:
        pad = PAD
        wanted.append(PAD)
    # One by one: ids follow the order even where some are there already.
    for text in wanted:
        if tokenizer.token_to_id(text) is None:
            tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)])
    return PackageTokenizer(
        tokenizer_json=tokenizer.to_str(),
        special=SpecialTokens(END_OF_CHUNK, IMAGE, ANSWER if answer else None, str(pad)),
        ids={text: tokenizer.token_to_id(text) or 0 for text in [*wanted, str(pad)]},
        size=int(tokenizer.get_vocab_size(with_added_tokens=True)),
    )


def has_tokenizer(folder: Path) -> bool:
    """Tell whether a folder holds a tokenizer that `read_tokenizer` reads."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))


def _settings(folder: Path) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            try:
                raw = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                raise CheckpointError(f"{path} is damaged: copy the tokenizer again.") from None
            joined |= {key: value for key, value in raw.items() if value is not None}
    return joined


def _base_tokenizer(folder: Path, settings: Mapping[str, Any]) -> Tokenizer:
    fast, slow = folder / "tokenizer.json", folder / "tokenizer.model"
    # A LLaMA folder may hold both; the fast file is often one converted without the legacy rule
    # that the models were trained with.
    if slow.is_file() and (settings.get("legacy", True) or not fast.is_file()):
        return _slow_llama(slow, settings)
    if fast.is_file():
        try:
            return Tokenizer.from_file(str(fast))
        except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
            raise CheckpointError(f"{fast} is no tokenizer: {error}") from None
    raise CheckpointError(
        f"{folder} has no tokenizer (tokenizer.json or tokenizer.model): the published "
        "checkpoints come without one; give the base model's folder with --tokenizer."
    )


def _slow_llama(path: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """Convert a SentencePiece BPE model to the behaviour of LLaMA's slow tokenizer.

    The legacy one (the default) puts "▁" in front of the text and of every stretch after a
    special token, the other one only in front of the text.
    """
    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):
        raise CheckpointError(f"{path} is no SentencePiece model: copy it again.") from None
    vocabulary = {pieces.id_to_piece(i): i for i in range(len(pieces))}
    scores = {pieces.id_to_piece(i): pieces.get_score(i) for i in range(len(pieces))}
    control = [i for i in range(len(pieces)) if pieces.is_control(i) or pieces.is_unknown(i)]
    unknown = pieces.id_to_piece(pieces.unk_id())
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            _merges(vocabulary, scores),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=any(pieces.is_byte(i) for i in range(len(pieces))),
        )
    )
    if settings.get("legacy", True):
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(pieces.id_to_piece(i), special=True, normalized=False) for i in control]
    )
    for text in _added_later(path.parent, settings, len(pieces)):
        tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)])
    if settings.get("add_bos_token", True):
        bos = pieces.id_to_piece(pieces.bos_id())
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos}:0 $A:0",
            pair=f"{bos}:0 $A:0 {bos}:1 $B:1",
            special_tokens=[(bos, pieces.bos_id())],
        )
    return tokenizer


def _added_later(folder: Path, settings: Mapping[str, Any], size: int) -> list[str]:
    """List the tokens that somebody added behind the SentencePiece model, in their order."""
    listed = {
        int(number): str(token["content"])
        for number, token in settings.get("added_tokens_decoder", {}).items()
    }
    path = folder / "added_tokens.json"
    if path.is_file():
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            listed |= {int(number): str(text) for text, number in raw.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            raise CheckpointError(f"{path} is damaged: copy the tokenizer again.") from None
    return [text for number, text in sorted(listed.items()) if number >= size]


def _merges(vocabulary: Mapping[str, int], scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """List the pairs that join to a piece, the highest-scored first (as transformers does)."""
    found: list[tuple[float, int, int, str, str]] = []
    for piece, score in scores.items():
        pairs = [
            (piece[:cut], piece[cut:])
            for cut in range(1, len(piece))
            if piece[:cut] in vocabulary and piece[cut:] in vocabulary
        ]
        pairs.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        found += [(score, len(left), len(right), left, right) for left, right in pairs]
    found.sort(key=lambda item: item[:3], reverse=True)
    return [(left, right) for *_, left, right in found]
