"""Damaged and foreign files end in one typed line, never in native code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.decoder_gguf import write_decoder
from otter_desktop.decoder import Decoder, keys
from otter_desktop.decoder.gguf import GgufFile, GgufWriter
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.errors import CheckpointError, DeviceError, PackageError, SettingsError


def rewritten(
    source: Path,
    target: Path,
    *,
    metadata: dict[str, Any] | None = None,
    without: str = "",
    extra: str = "",
    shape: dict[str, tuple[int, ...]] | None = None,
    kind: dict[str, TensorType] | None = None,
) -> Path:
    """Copy a decoder file with something changed in it."""
    with GgufFile(source) as file, GgufWriter(target) as writer:
        values = {**file.metadata, **(metadata or {})}
        writer.set_all({key: value for key, value in values.items() if value is not None})
        data = {name: file.tensor_bytes(name).copy() for name in file.tensors if name != without}
        if extra:
            data[extra] = np.zeros(4, np.float32).view(np.uint8)
        for name, array in data.items():
            entry = file.tensors.get(name)
            own = (shape or {}).get(name, entry.shape if entry else (4,))
            as_kind = (kind or {}).get(name, TensorType.F32)
            writer.declare(name, own, as_kind)
            data[name] = np.resize(array, int(np.prod(own[:-1])) * as_kind.row_bytes(own[-1]))
        writer.begin()
        for name, array in data.items():
            writer.write(name, array)
        writer.finish()
    return target


def test_a_rewritten_file_without_change_opens(tiny_path: Path, tmp_path: Path) -> None:
    with Decoder.open(rewritten(tiny_path, tmp_path / "m.gguf"), threads=1) as decoder:
        assert decoder.tokenizer_json == '{"model": "tiny"}'
        assert decoder.hparams.architecture == "mpt"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"nowhere\.gguf cannot be read"):
        Decoder.open(tmp_path / "nowhere.gguf")


@pytest.mark.parametrize("content", [b"", b"GG", b"PK\3\4 not this", b"GGUF", b"GGUF\3\0\0\0\xff"])
def test_a_file_that_is_no_decoder_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(PackageError, match=r"no decoder file") as caught:
        Decoder.open(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused(tiny_path: Path, tmp_path: Path, kept: float) -> None:
    whole = tiny_path.read_bytes()
    path = tmp_path / "m.gguf"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(PackageError):
        Decoder.open(path)


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_in_the_directory_never_reach_native_code(
    tiny_path: Path, tmp_path: Path, seed: int
) -> None:
    random = np.random.default_rng(seed)
    damaged = bytearray(tiny_path.read_bytes())
    for at in random.integers(0, 6000, 4):
        damaged[at] = int(random.integers(0, 256))
    path = tmp_path / "m.gguf"
    path.write_bytes(damaged)
    try:
        with Decoder.open(path, threads=1, context_length=8) as decoder, decoder.session() as s:
            s.forward([1, 2, 3], [0, 0, 0])
    except (PackageError, SettingsError):
        return


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"without": "blk.2.ffn_up.weight"}, r"lacks blk\.2\.ffn_up\.weight"),
        ({"extra": "blk.9.mystery.weight"}, r"unknown tensors blk\.9\.mystery"),
        ({"shape": {"blk.0.attn_norm.weight": (95,)}}, r"attn_norm\.weight has shape"),
        ({"shape": {"token_embd.weight": (69, 96)}}, r"token_embd\.weight has shape"),
        ({"kind": {"blk.0.attn_norm.weight": TensorType.F16}}, "number format"),
        ({"metadata": {keys.GENERAL_ARCHITECTURE: "llama"}}, "'llama', not an Otter"),
        ({"metadata": {keys.FAMILY: "gpt9"}}, "unknown language model family 'gpt9'"),
        ({"metadata": {keys.GENERAL_FILE_FORMAT: 2}}, "format 2"),
        ({"metadata": {keys.HEAD_COUNT: 7}}, "not a multiple of head_count"),
        ({"metadata": {keys.HEAD_COUNT: 0}}, "head_count is 0"),
        ({"metadata": {keys.CONTEXT_LENGTH: 1 << 30}}, "context_length"),
        ({"metadata": {keys.EMBEDDING_LENGTH: "96"}}, "'96', not int"),
        ({"metadata": {keys.NORM_EPSILON: 3.0}}, "norm_epsilon"),
        ({"metadata": {keys.CROSS_EVERY: 1}}, "lacks blk"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(
    tiny_path: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = rewritten(tiny_path, tmp_path / "m.gguf", **change)
    with pytest.raises(PackageError, match=message):
        Decoder.open(path)


@pytest.mark.parametrize("key", [keys.BLOCK_COUNT, keys.FAMILY])
def test_a_size_that_the_file_does_not_say_is_named(
    tiny_path: Path, tmp_path: Path, key: str
) -> None:
    path = rewritten(tiny_path, tmp_path / "m.gguf", metadata={key: None})
    with pytest.raises(PackageError, match=f"does not say {key}"):
        Decoder.open(path)


def test_a_file_without_tokenizer_is_refused(tiny_path: Path, tmp_path: Path) -> None:
    path = rewritten(tiny_path, tmp_path / "m.gguf", metadata={keys.TOKENIZER_JSON: None})
    with pytest.raises(PackageError, match="no tokenizer"):
        Decoder.open(path)


def test_an_unknown_device_is_named_with_those_that_exist(tiny_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"'quantum'.*CPU"):
        Decoder.open(tiny_path, device="quantum")


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"threads": 1000}, {"kv_type": "f64"}, {"context_length": 701}]
)
def test_options_that_make_no_sense_are_refused(tiny_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Decoder.open(tiny_path, **options)


def written(tiny: Any, path: Path, tensors: dict[str, Any], **options: Any) -> None:
    write_decoder(
        path, family="mpt", hparams=tiny.hparams, tensors=tensors.items(), tokenizer_json="{}",
        scheme="f32", **options,
    )  # fmt: skip


WTE = "lang_encoder.transformer.wte.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(WTE), f"lacks {WTE}"),
        (lambda t: t.update({"lang_encoder.surprise": np.zeros(3)}), "unknown tensor"),
        (lambda t: t.update({WTE: t[WTE][:-1]}), "has shape"),
        (lambda t: t.update({WTE: t[WTE] * np.nan}), "finite"),
    ],
)
def test_the_writer_refuses_a_wrong_checkpoint_and_leaves_nothing(
    tiny: Any, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    tensors = dict(tiny.tensors)
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        written(tiny, tmp_path / "m.gguf", tensors)
    assert list(tmp_path.iterdir()) == [tmp_path / "otter home ü"] or not list(
        tmp_path.glob("m.gguf*")
    )


def test_the_writer_passes_over_what_is_not_the_decoders(tiny: Any, tmp_path: Path) -> None:
    others = {
        "perceiver.latents": np.zeros((5, 32)),
        "vision_encoder.vision_model.embeddings.class_embedding": np.zeros(32),
        "lang_encoder.transformer.blocks.0.decoder_layer.attn.masked_bias": np.zeros(1),
        "lang_encoder.lm_head.weight": np.zeros((70, 96)),
    }
    written(tiny, tmp_path / "m.gguf", {**others, **tiny.tensors})
    with Decoder.open(tmp_path / "m.gguf", threads=1) as decoder:
        assert decoder.hparams == replace(tiny.hparams, norm_epsilon=decoder.hparams.norm_epsilon)


def test_a_gate_given_as_a_scalar_is_taken(tiny: Any, tmp_path: Path) -> None:
    tensors = {
        name: array.reshape(()) if array.shape == (1,) else array
        for name, array in tiny.tensors.items()
    }
    written(tiny, tmp_path / "m.gguf", tensors, metadata={"general.name": "Tiny"})
    with Decoder.open(tmp_path / "m.gguf", threads=1) as decoder:
        assert decoder.metadata["general.name"] == "Tiny"
