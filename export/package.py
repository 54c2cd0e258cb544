"""A checkpoint becomes a package: a folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from export.checkpoints import Checkpoint
from export.decoder_gguf import write_decoder
from export.decoder_weights import stored_weights
from export.model.config import HEAD_DIM, OtterConfig
from export.model.resampler import PerceiverResampler
from export.model.vision import VisionEncoder
from export.quantize import SCHEMES
from export.vision_onnx import write_resampler, write_vision_encoder
from otter_desktop.decoder import keys
from otter_desktop.decoder.gguf import GgufFile
from otter_desktop.decoder.hparams import Hparams
from otter_desktop.decoder.weights import read_hparams
from otter_desktop.errors import CheckpointError, SettingsError
from otter_desktop.manifest import (
    DECODER_NAME,
    RESAMPLER_NAME,
    VISION_ENCODER_NAME,
    Manifest,
    PixelRules,
    read_manifest,
    verify_files,
    with_files,
    write_manifest,
)

Progress = Callable[[str], None]

_FRAMES_OF_IMAGE_MODELS = 16
"""Without frame embeddings any number of frames works; the original's demos gave 16."""


def convert(
    checkpoint: Checkpoint,
    out: Path,
    *,
    scheme: str = "q8_0",
    progress: Progress = lambda _: None,
) -> Manifest:
    """Write the package folder `out`, which must not exist, and return its manifest.

    `progress` gets a line before each step. Everything is written to a folder beside `out` that
    is renamed at the end and removed on any failure. Raises `CheckpointError`, `SettingsError`.
    """
    return _whole_or_nothing(
        out, scheme, lambda folder: _write(checkpoint, folder, scheme, progress)
    )


def _write(checkpoint: Checkpoint, folder: Path, scheme: str, progress: Progress) -> Manifest:
    config, tensors = checkpoint.config, checkpoint.tensors
    described = package_manifest(checkpoint, scheme)
    progress(f"decoder ({scheme})")
    write_decoder(
        folder / DECODER_NAME,
        family=config.language.family,
        hparams=decoder_sizes(config),
        tensors=((name, tensors[name]) for name in tensors if name.startswith("lang_encoder.")),
        tokenizer_json=checkpoint.tokenizer.tokenizer_json,
        scheme=scheme,
        metadata={"general.name": checkpoint.name},
    )
    progress("vision encoder")
    encoder = VisionEncoder(config.vision)
    _load(encoder, checkpoint, "vision_encoder.")
    write_vision_encoder(folder / VISION_ENCODER_NAME, encoder, config)
    progress("resampler")
    resampler = PerceiverResampler(config)
    _load(resampler, checkpoint, "perceiver.")
    write_resampler(folder / RESAMPLER_NAME, resampler, config)
    manifest = with_files(described, folder)
    write_manifest(folder, manifest)
    return manifest


def requantize(package: Path, out: Path, *, scheme: str, name: str | None = None) -> Manifest:
    """Write a package whose decoder's weights are those of `package` in another scheme.

    Raises `SettingsError` where `out` exists, `PackageError` for a damaged package.
    """
    manifest = read_manifest(package)
    verify_files(package, manifest)
    described = replace(manifest, name=name or manifest.name, quantization=scheme)

    def write(folder: Path) -> Manifest:
        for copied in (VISION_ENCODER_NAME, RESAMPLER_NAME):
            shutil.copyfile(package / copied, folder / copied)
        with GgufFile(package / DECODER_NAME) as file:
            sizes, tokenizer_json = read_hparams(file), str(file.metadata[keys.TOKENIZER_JSON])
        write_decoder(
            folder / DECODER_NAME,
            family=sizes.family,
            hparams=sizes,
            tensors=stored_weights(package / DECODER_NAME),
            tokenizer_json=tokenizer_json,
            scheme=scheme,
            metadata={"general.name": described.name},
        )
        finished = with_files(described, folder)
        write_manifest(folder, finished)
        return finished

    return _whole_or_nothing(out, scheme, write)


def _whole_or_nothing(out: Path, scheme: str, write: Callable[[Path], Manifest]) -> Manifest:
    if scheme not in SCHEMES:
        raise SettingsError(f"quantisation {scheme!r} is unknown: use {', '.join(SCHEMES)}.")
    if out.exists():
        raise SettingsError(f"{out} exists already: remove it or choose another name.")
    temporary = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        manifest = write(temporary)
        temporary.rename(out)
    except OSError as error:
        raise SettingsError(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _load(module: VisionEncoder | PerceiverResampler, checkpoint: Checkpoint, prefix: str) -> None:
    # Not strict: the post layer norm, which nothing uses, may be missing. The rest was checked
    # when the checkpoint was opened.
    state = {name: tensor.float() for name, tensor in checkpoint.tensors.under(prefix).items()}
    module.load_state_dict(state, strict=False)


def decoder_sizes(config: OtterConfig) -> Hparams:
    """Return the decoder's sizes; raises `CheckpointError` for what its graph cannot compute."""
    language = config.language
    scale = language.softmax_scale
    if scale is not None and abs(scale * language.head_dim**0.5 - 1) > 1e-6:
        raise CheckpointError(f"softmax_scale {scale} is not supported by the decoder.")
    llama = language.family == "llama"
    sizes = Hparams(
        family=language.family,
        vocab_size=language.vocab_size,
        context_length=language.max_length,
        embedding_length=language.width,
        block_count=language.layers,
        feed_forward_length=language.ff_width,
        head_count=language.heads,
        head_count_kv=language.kv_heads or language.heads,
        norm_epsilon=language.norm_eps,
        max_alibi_bias=0.0 if llama else language.alibi_bias_max,
        clamp_kqv=language.clip_qkv or 0.0,
        qk_norm=language.qk_ln,
        rope_freq_base=language.rope_theta if llama else 0.0,
        # MPT and MosaicGPT know no other output than the embedding table.
        tied_output=config.tie_word_embeddings or not llama,
        cross_attention_every=config.cross_attention_every,
        cross_head_count=config.xattn_inner // HEAD_DIM,
        cross_key_length=HEAD_DIM,
        cross_feed_forward_length=config.xattn_ff_width,
        latents_width=config.vision.width,
        latents_count=config.n_latents,
    )
    try:
        sizes.check()
    except ValueError as error:
        raise CheckpointError(f"The checkpoint's sizes make no sense: {error}.") from None
    return sizes


def package_manifest(checkpoint: Checkpoint, scheme: str) -> Manifest:
    """Describe the package of a checkpoint, without its files."""
    details, config = checkpoint.details, checkpoint.config
    limit = config.max_num_frames
    max_frames = details.max_frames or limit or _FRAMES_OF_IMAGE_MODELS
    if limit is not None and max_frames > limit:
        raise SettingsError(f"max_frames is {max_frames}, but the model takes only {limit}.")
    return Manifest(
        name=checkpoint.name,
        title=details.title or checkpoint.name,
        licence=details.licence,
        source=details.source,
        domain=details.domain,
        preprocessing=PixelRules(config.vision.image_size, details.mean, details.std, details.fit),
        max_frames=max_frames,
        default_frames=min(details.default_frames or 16, max_frames),
        quantization=scheme,
        special_tokens=checkpoint.tokenizer.special,
        template=details.template,
        album_template=details.album_template,
        capabilities=details.capabilities,
        banned_strings=details.banned_strings,
    )
