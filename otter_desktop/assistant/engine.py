"""The engine: one open package that answers requests, in this very process.

`Assistant` keeps it in a child process; parity tests and the exporter use it directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from otter_desktop.assistant.answering import answer_request, choose_answer
from otter_desktop.assistant.devices import KvType, device_label, open_stages
from otter_desktop.assistant.events import Event, ModelInfo, Notice
from otter_desktop.assistant.request import Request
from otter_desktop.assistant.seeing import Eyes, Latents, ProgressCall
from otter_desktop.assistant.verification import verify_once
from otter_desktop.assistant.writing import prefill, prompt_of, write, write_by_beams
from otter_desktop.cancel import CancelToken
from otter_desktop.closing import Closing
from otter_desktop.decoder import Decoder, Session
from otter_desktop.errors import OtterError
from otter_desktop.manifest import Manifest, read_manifest
from otter_desktop.paths import cache_dir
from otter_desktop.text.options import SamplingOptions
from otter_desktop.text.prompt import AlbumLayout, PromptTemplate
from otter_desktop.text.sampling import LogitsRules, Sampler
from otter_desktop.text.tokenizer import Tokenizer
from otter_desktop.vision import LatentCache, VisionModel

LATENT_CACHE_LIMIT_BYTES = 512 << 20


def latent_cache() -> LatentCache:
    """Return the cache of latents that all engines of this user share."""
    return LatentCache(cache_dir() / "latents", LATENT_CACHE_LIMIT_BYTES)


class Engine(Closing):
    """An open package. Not for use by two threads at once; close it, or use it in `with`."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        vision: VisionModel,
        decoder: Decoder,
        notices: Sequence[Notice] = (),
    ) -> None:
        """Use `Engine.open`."""
        self.folder = folder
        self.manifest = manifest
        self.vision = vision
        self.decoder = decoder
        self.notices = tuple(notices)
        special = manifest.special_tokens
        self.tokenizer = Tokenizer(
            decoder.tokenizer_json,
            end_of_chunk=special.end_of_chunk,
            image=special.image,
            answer=special.answer,
            pad=special.pad,
        )
        self.template = PromptTemplate(manifest.template, AlbumLayout(manifest.album_template))
        self.eyes = Eyes(manifest, vision, latent_cache())
        self._session: tuple[int, Session] | None = None

    @classmethod
    def open(
        cls,
        package_dir: Path | str,
        kv_type: KvType = "f16",
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> Self:
        """Open a package folder; `device` is auto, cpu, gpu, gpu:NUMBER or a name of ggml's.

        Raises `PackageError`, `DeviceError`, `SettingsError`.
        """
        folder = Path(package_dir)
        manifest = read_manifest(folder)
        verify_once(folder, manifest)
        vision, decoder, notices = open_stages(
            folder, device=device, kv_type=kv_type, threads=threads
        )
        try:
            vision.check_size(manifest.preprocessing.image_size)
            return cls(folder, manifest, vision, decoder, notices)
        except BaseException:
            decoder.close()
            raise

    @property
    def device(self) -> str:
        """Where it computes, in words."""
        return device_label(self.vision, self.decoder)

    @property
    def info(self) -> ModelInfo:
        """What front ends show about the open model."""
        manifest = self.manifest
        return ModelInfo(
            name=manifest.name,
            title=manifest.title,
            domain=manifest.domain,
            device=self.device,
            max_frames=manifest.max_frames,
            default_frames=manifest.default_frames,
            notices=self.notices,
        )

    def wait(self) -> ModelInfo:
        """Return the `info` at once: the engine is open."""
        return self.info

    # --- answering ---

    def ask(
        self,
        request: Request,
        *,
        cancel: CancelToken | None = None,
        progress: ProgressCall = lambda _: None,
    ) -> Iterator[Event]:
        """Answer a request: yields MediaReady and Notice, then Token…, and last the Answer.

        Raises any `OtterError`; `Cancelled` where the token says so.
        """
        return answer_request(self, request, cancel, progress)

    def choose(
        self,
        request: Request,
        choices: Sequence[str],
        *,
        cancel: CancelToken | None = None,
        progress: ProgressCall = lambda _: None,
    ) -> dict[str, float]:
        """Return how probable each choice is as the whole answer; together they make 1."""
        return choose_answer(self, request, choices, cancel, progress)

    @contextmanager
    def session(self, beams: int = 1) -> Iterator[Session]:
        """Lend the session, with what it remembers of the last request.

        It is thrown away after an error that is no `OtterError`, and made anew for another
        number of beams.
        """
        if self._session is not None and self._session[0] != beams:
            self._forget()
        if self._session is None:
            self._session = (beams, self.decoder.session(beams))
        session = self._session[1]
        for sequence in range(1, beams):
            session.truncate(0, sequence)
        try:
            yield session
        except (OtterError, GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        if self._session is not None:
            self._session[1].close()
            self._session = None

    # --- stages for parity work (DESIGN: The Python API) ---

    def encode_pixels(self, pixels: NDArray[np.float32]) -> Latents:
        """Return the latents (n_latents, V) of pixels (F, 3, H, W) float32."""
        return self.vision.encode(np.ascontiguousarray(pixels, dtype=np.float32))

    def logits(self, token_ids: Sequence[int], latents: Sequence[Latents]) -> NDArray[np.float32]:
        """Return the logits (len(token_ids), vocab) of one full pass without a cache.

        `latents` are the media that the image tokens refer to, in order. Raises `PromptError`
        for more image tokens than media or a prompt that is too long.
        """
        prompt = prompt_of(self.tokenizer, list(map(int, token_ids)))
        with self.decoder.session() as session:
            session.set_media(list(latents))
            return session.forward(prompt.tokens, prompt.text_time, all_positions=True)

    def generate_ids(
        self,
        token_ids: Sequence[int],
        latents: Sequence[Latents],
        max_new_tokens: int,
        beams: int = 1,
        no_repeat_ngram: int = 0,
        *,
        reference_compat: bool = False,
        stop_at_end: bool = False,
    ) -> list[int]:
        """Return new token ids by cached decoding, with nothing masked.

        One beam goes on past the end token unless `stop_at_end`; a beam search ends as the
        original's does. `reference_compat` lets the answer see no media, as the original with
        its cache.
        """
        ids = list(map(int, token_ids))
        prompt = prompt_of(self.tokenizer, ids, reference_compat=reference_compat)
        options = SamplingOptions(
            max_tokens=max_new_tokens, beams=beams, no_repeat_ngram=no_repeat_ngram
        )
        rules = LogitsRules(options)
        end_id = self.tokenizer.end_id
        with self.decoder.session(beams) as session:
            session.set_media(list(latents))
            first, _ = prefill(session, prompt)
            if beams > 1:
                return write_by_beams(
                    session,
                    prompt,
                    first,
                    beams=beams,
                    rules=rules,
                    limit=max_new_tokens,
                    end_id=end_id,
                )
            return list(
                write(
                    session,
                    prompt,
                    first,
                    rules=rules,
                    sampler=Sampler(options),
                    limit=max_new_tokens,
                    end_id=end_id if stop_at_end else None,
                )
            )

    def close(self) -> None:
        """Free the models."""
        self._forget()
        self.decoder.close()
