"""The built-in model from nothing to a checkpoint: perception, then language, then the files."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from export.model import OtterConfig, OtterModel
from training.pools import Pools, draw_pools, training_photo
from training.scenes.world import Split, random_clip, random_pair
from training.sequences import text_sample
from training.teach_perception import Teacher, teach_clips, teach_photos
from training.tokenizer import train_tokenizer
from training.transforms import MEAN, STD
from training.tune import Recipe, Tuner

log = logging.getLogger("storybook")

#: Where `tanh` of a gate starts: almost open (from 0 nothing was learned in the same time).
_GATE_INIT = 2.0
_VOCABULARY = 1536

DOMAIN = (
    "Drawn storybook scenes: 64 everyday things and 8 plain shapes in 8 colours, on seven "
    "backgrounds, and short clips of them. It does not know photographs."
)


def make_tokenizer() -> Tokenizer:
    """The tokenizer of the storybook world, always the same."""
    rng = random.Random(1)
    scenes = [training_photo(rng, Split.TRAIN) for _ in range(4000)]
    scenes += [random_clip(rng) for _ in range(2000)] + [random_pair(rng) for _ in range(1000)]
    return train_tokenizer(text_sample(rng, scenes), _VOCABULARY)


def _tokenizer_of(folder: Path) -> Tokenizer:
    """The run's tokenizer, made once: a resumed run must not meet other ids."""
    path = folder / "tokenizer.json"
    if not path.exists():
        make_tokenizer().save(str(path))
    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    return tokenizer


def model_with_perception(tokenizer: Tokenizer, perception: Path) -> OtterModel:
    """A fresh language model behind the vision encoder and resampler of a perception run."""
    torch.manual_seed(2)
    # A multiple of 32 rows, so that every quantisation takes the table.
    rows = -(-tokenizer.get_vocab_size() // 32) * 32
    config = OtterConfig.builtin(rows, image_token_id=tokenizer.token_to_id("<image>"))
    model = OtterModel(replace(config, gate_init=_GATE_INIT))
    seen = torch.load(perception, weights_only=True)["model"]
    kept = {name: value for name, value in seen.items() if not name.startswith("lang_encoder.")}
    missing, _ = model.load_state_dict(kept, strict=False)
    assert all(name.startswith("lang_encoder.") for name in missing)
    return model


def pools_for(model: OtterModel, folder: Path, *, photos: int, clips: int, pairs: int) -> Pools:
    """Training pools, drawn once and kept in the run's folder."""
    pools = Pools.load(folder / "pools")
    if pools is None:
        pools = draw_pools(model, Split.TRAIN, 41, photos=photos, clips=clips, pairs=pairs)
        pools.save(folder / "pools")
    return pools


def tune_storybook(
    folder: Path, recipe: Recipe, *, photos: int = 50000, clips: int = 6000, pairs: int = 5000
) -> None:
    """Tune on drawn scenes and write the checkpoint `folder/checkpoint`."""
    tokenizer = _tokenizer_of(folder)
    model = model_with_perception(tokenizer, folder / "perception.pt")
    log.info("drawing and encoding scenes")
    pools = pools_for(model, folder, photos=photos, clips=clips, pairs=pairs)
    held_out = draw_pools(model, Split.HELD_OUT, 43, photos=1500, clips=300, pairs=200)
    tuner = Tuner(model, tokenizer, recipe, folder)
    log.info("tuning")
    tuner.run(pools, held_out)
    write_checkpoint(folder / "checkpoint", model, tokenizer)


def make_storybook(
    folder: Path,
    *,
    photo_steps: int,
    clip_steps: int,
    language_steps: int,
    threads: int,
) -> None:
    """Every phase from nothing to `folder/checkpoint`; a stopped run goes on where it was."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    teacher = Teacher(folder)
    if "photos" not in teacher.finished:
        teach_photos(teacher, photo_steps)
    if "clips" not in teacher.finished:
        teach_clips(teacher, clip_steps)
    tune_storybook(folder, Recipe(steps=language_steps))


def write_checkpoint(folder: Path, model: OtterModel, tokenizer: Tokenizer) -> None:
    """Write the published layout plus what a package's manifest needs to know."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_published()
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    package = {
        "name": "otter-storybook",
        "title": "Otter Storybook",
        "licence": "Apache-2.0",
        "source": "trained from scratch by training/ on drawn scenes",
        "domain": DOMAIN,
        "template": "spaced",
        "album_template": "question_each",
        "preprocessing": {"image_size": model.config.vision.image_size, "mean": MEAN, "std": STD,
                          "fit": "crop"},
        "max_frames": model.config.max_num_frames,
        "default_frames": model.config.max_num_frames,
    }  # fmt: skip
    (folder / "otter_package.json").write_text(json.dumps(package, indent=1) + "\n")
