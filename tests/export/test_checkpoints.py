"""Checkpoints on disk: every layout reads the same, and a bad one says in one line what it is."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from export.checkpoints import open_checkpoint
from export.random_checkpoint import (
    Layout,
    random_config,
    write_checkpoint,
    write_fast_tokenizer,
    write_random_checkpoint,
)
from otter_desktop.errors import CheckpointError


@pytest.fixture
def folder(tmp_path: Path, checkpoint_of: Callable[[str], Path]) -> Path:
    """Return a copy of a random checkpoint that a test may spoil."""
    return Path(shutil.copytree(checkpoint_of("mpt"), tmp_path / "checkpoint"))


def _change(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize("layout", ["safetensors", "sharded_safetensors", "bin", "sharded_bin"])
def test_every_layout_gives_back_the_weights(tmp_path: Path, layout: Layout) -> None:
    model = write_random_checkpoint(tmp_path, layout=layout)
    read = open_checkpoint(tmp_path).load_model().state_dict()
    assert read.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(read[name], tensor), name


def test_half_precision_weights_become_float32(folder: Path) -> None:
    _change(folder, lambda state: state.update({n: t.half() for n, t in state.items()}))
    parameters = open_checkpoint(folder).load_model().parameters()
    assert {parameter.dtype for parameter in parameters} == {torch.float32}


def test_buffers_and_wrapped_names_of_old_files_are_understood(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["vision_encoder.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    state["lang_encoder.transformer.blocks.0.decoder_layer.attn.bias"] = torch.ones(1)
    (folder / "model.safetensors").unlink()
    torch.save({f"module.{n}": t for n, t in state.items()}, folder / "pytorch_model.bin")
    names = open_checkpoint(folder).tensors.keys()
    assert not any(name.endswith(("position_ids", "attn.bias")) for name in names)
    assert any(name.endswith("gated_cross_attn_layer.attn.norm.bias") for name in names)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    name = "perceiver.layers.1.to_kv.weight"
    _change(folder, lambda state: state.pop(name))
    with pytest.raises(CheckpointError, match=f"lacks the tensor {name}") as caught:
        open_checkpoint(folder)
    assert "\n" not in caught.value.message


def test_a_missing_part_is_named(folder: Path) -> None:
    def drop(state: dict[str, torch.Tensor]) -> None:
        for name in [name for name in state if name.startswith("vision_encoder.")]:
            del state[name]

    _change(folder, drop)
    with pytest.raises(CheckpointError, match=r"no tensor vision_encoder\."):
        open_checkpoint(folder)


def test_an_extra_tensor_is_named(folder: Path) -> None:
    _change(folder, lambda state: state.update({"lang_encoder.stray": torch.ones(1)}))
    with pytest.raises(CheckpointError, match=r"the tensor lang_encoder\.stray which no Otter"):
        open_checkpoint(folder)


def test_a_misshapen_tensor_is_named(folder: Path) -> None:
    name = "lang_encoder.transformer.blocks.2.decoder_layer.norm_1.weight"
    _change(folder, lambda state: state.update({name: torch.ones(5)}))
    with pytest.raises(CheckpointError, match=r"norm_1\.weight has the shape \(5,\)"):
        open_checkpoint(folder)


def test_the_unused_norm_may_be_missing(folder: Path) -> None:
    name = "vision_encoder.vision_model.post_layernorm.weight"
    _change(folder, lambda state: state.pop(name))
    assert name in open_checkpoint(folder).load_model().state_dict()


def test_a_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        open_checkpoint(folder)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(folder: Path) -> None:
    trace = folder / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (trace,))  # type: ignore[return-value]

    (folder / "model.safetensors").unlink()
    torch.save({"x": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="refused"):
        open_checkpoint(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Evil()}))
    with pytest.raises(CheckpointError, match="refused"):
        open_checkpoint(folder)
    assert not trace.exists()


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_random_checkpoint(tmp_path, layout="sharded_bin")
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match="lacks the shard pytorch_model-00002-of-00002"):
        open_checkpoint(tmp_path)


def test_a_folder_without_weights_says_what_was_expected(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"expected model\.safetensors or pytorch_model\.bin"):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model_type": "bert"}'])
def test_what_is_no_otter_is_refused_in_one_line(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError):
        open_checkpoint(folder)


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "nowhere")


def test_a_checkpoint_without_tokenizer_asks_for_one(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="--tokenizer"):
        open_checkpoint(folder)


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    config = random_config()
    smaller = config.language.__class__(**{**config.language.__dict__, "vocab_size": 100})
    write_random_checkpoint(tmp_path, config.__class__(**{**config.__dict__, "language": smaller}))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("key", [None, True, False])
def test_tying_follows_the_top_level_key_whatever_head_the_file_holds(
    tmp_path: Path, key: bool | None
) -> None:
    model = write_random_checkpoint(tmp_path, random_config("llama"))
    published = json.loads((tmp_path / "config.json").read_text())
    published["text_config"]["tie_word_embeddings"] = False
    del published["tie_word_embeddings"]
    if key is not None:
        published["tie_word_embeddings"] = key
    (tmp_path / "config.json").write_text(json.dumps(published))
    read = open_checkpoint(tmp_path).load_model().lang_encoder
    own = model.lang_encoder
    expected = own.output_weight if key is False else own.embedding.weight
    assert torch.equal(read.output_weight, expected)


def test_details_beside_the_weights_describe_the_package(tmp_path: Path) -> None:
    details = {
        "name": "story",
        "domain": "drawn scenes",
        "preprocessing": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "fit": "squash"},
        "capabilities": ["caption"],
    }
    write_random_checkpoint(tmp_path, details=details)
    read = open_checkpoint(tmp_path)
    assert (read.name, read.details.fit, read.details.mean) == ("story", "squash", (0.5,) * 3)
    assert read.details.capabilities == ("caption",)


def test_an_unknown_detail_is_an_error(tmp_path: Path) -> None:
    write_random_checkpoint(tmp_path, details={"licens": "MIT"})
    with pytest.raises(CheckpointError, match="unknown key 'licens'"):
        open_checkpoint(tmp_path)


def test_a_trained_model_written_and_read_keeps_its_image_tag(
    tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    first = open_checkpoint(checkpoint_of("mpt"))
    write_checkpoint(tmp_path, first.load_model())
    write_fast_tokenizer(tmp_path)
    assert open_checkpoint(tmp_path).config == first.config
