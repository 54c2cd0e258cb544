"""A session: text in a key/value cache, the media that it sees, and logits for what comes next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otter_desktop.cancel import CancelToken
from otter_desktop.closing import Closing
from otter_desktop.decoder.cells import CellTable
from otter_desktop.decoder.graph import GraphInputs, GraphShape
from otter_desktop.decoder.kv_cache import TextCache, cache_tensors, padded
from otter_desktop.decoder.media_slots import MediaSlots
from otter_desktop.decoder.runtime import GraphCache, Runtime
from otter_desktop.decoder.tensor_types import TensorType
from otter_desktop.errors import PromptError

_BATCH_TOKENS = 512  # tokens of one graph in prefill: bounds the memory of its results

Logits = NDArray[np.float32]


def check_length(n_tokens: int, context_length: int) -> None:
    """Raise `PromptError` where a prompt is longer than the context."""
    if n_tokens > context_length:
        raise PromptError(
            f"The question with its photos and examples needs {n_tokens} tokens, but the model "
            f"takes {context_length}: ask a shorter one, or use fewer photos or examples."
        )


class Session(Closing):
    """`n_sequences` texts (beams) over one cache, all of which see the same media.

    Text time 0 sees no medium, k sees medium number k. Not for use by two threads at once.
    """

    def __init__(
        self, runtime: Runtime, *, n_sequences: int, context_length: int, kv_type: TensorType
    ) -> None:
        self._runtime = runtime
        self._context_length = context_length
        self._text = TextCache(
            runtime.hparams, runtime.backend, kv_type, n_sequences * context_length
        )
        self._cells = CellTable(n_sequences, self._text.n_cells)
        media_type = TensorType.F32
        self._media = MediaSlots(runtime, media_type)
        self._graphs = GraphCache(runtime)

    # --- media ---

    @property
    def media_count(self) -> int:
        """Number of media items; text times from 0 to this are allowed."""
        return self._media.count

    def set_media(self, latents: Sequence[NDArray[np.float32]]) -> None:
        """Make these (n_latents, V) float32 arrays the media 1..T.

        Keys and values of content seen before are kept. Text that saw a medium whose content is
        now another one is forgotten, with all that follows it; `length` tells what is left.
        Raises `ValueError` for a wrong shape.
        """
        before = [self._media.key(number) for number in range(1, self._media.count + 1)]
        generation = self._media.generation
        try:
            self._media.set(latents)
        finally:
            if self._media.generation != generation:
                self._graphs.clear()
            self._forget_changed(before)

    def add_media(self, latents: NDArray[np.float32]) -> int:
        """Add one medium after the others; returns its number. Raises as `set_media`."""
        generation = self._media.generation
        try:
            return self._media.add(latents)
        finally:
            if self._media.generation != generation:
                self._graphs.clear()

    def _forget_changed(self, before: list[bytes]) -> None:
        same = {
            number
            for number in range(1, min(len(before), self._media.count) + 1)
            if self._media.key(number) == before[number - 1]
        }
        for sequence, row in enumerate(self._cells.rows):
            for index, time in enumerate(row.text_time):
                if time and time not in same:
                    self._cells.truncate(sequence, index)
                    break

    # --- text ---

    def length(self, sequence: int = 0) -> int:
        """Return the number of tokens of a sequence in the cache."""
        return len(self._cells.rows[sequence].tokens)

    def tokens(self, sequence: int = 0) -> list[int]:
        """Return the tokens of a sequence in the cache."""
        return list(self._cells.rows[sequence].tokens)

    def keep_prefix(
        self, tokens: Sequence[int], text_time: Sequence[int], sequence: int = 0
    ) -> int:
        """Truncate a sequence to what it has in common with these tokens; returns that length.

        At least the last token is left over, because `forward` needs one to give logits.
        """
        row = self._cells.rows[sequence]
        common = 0
        limit = min(len(row.tokens), max(0, len(tokens) - 1))
        while (
            common < limit
            and row.tokens[common] == tokens[common]
            and row.text_time[common] == text_time[common]
        ):
            common += 1
        self._cells.truncate(sequence, common)
        return common

    def forward(
        self,
        tokens: Sequence[int],
        text_time: Sequence[int],
        *,
        sequence: int = 0,
        all_positions: bool = False,
        cancel: CancelToken | None = None,
    ) -> Logits:
        """Append tokens to a sequence; returns logits (vocab,) of the last one.

        With `all_positions` (tokens, vocab). Raises `PromptError` when the context is too short
        or a text time has no medium, `Cancelled` (and then nothing was appended).
        """
        self._check(tokens, text_time)
        start = self.length(sequence)
        check_length(start + len(tokens), self._context_length)
        parts: list[Logits] = []
        try:
            for at in range(0, len(tokens), _BATCH_TOKENS):
                end = at + _BATCH_TOKENS
                batch = tokens[at:end]
                rows = self._run(
                    [sequence] * len(batch), batch, text_time[at:end], all_positions, cancel
                )
                if all_positions or end >= len(tokens):
                    parts.append(rows)
        except BaseException:
            self._cells.truncate(sequence, start)
            raise
        logits = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return logits if all_positions else logits[-1]

    def forward_batch(
        self,
        tokens: Sequence[int],
        text_time: Sequence[int],
        *,
        cancel: CancelToken | None = None,
    ) -> Logits:
        """Append one token to every sequence; returns logits (n_sequences, vocab).

        Raises as `forward`.
        """
        rows = self._cells.rows
        if len(tokens) != len(rows):
            raise ValueError(f"{len(tokens)} tokens for {len(rows)} sequences")
        self._check(tokens, text_time)
        lengths = [len(row.tokens) for row in rows]
        if max(lengths) >= self._context_length:
            raise PromptError(f"The answer does not fit: the model takes {self._context_length}.")
        try:
            return self._run(range(len(rows)), tokens, text_time, True, cancel)
        except BaseException:
            for sequence, length in enumerate(lengths):
                self._cells.truncate(sequence, length)
            raise

    def truncate(self, length: int, sequence: int = 0) -> None:
        """Forget all but the first `length` tokens of a sequence."""
        if not 0 <= length <= self.length(sequence):
            raise ValueError(f"cannot truncate {self.length(sequence)} tokens to {length}")
        self._cells.truncate(sequence, length)

    def copy_sequence(self, source: int, target: int) -> None:
        """Make `target` the same text as `source`; nothing is computed or moved."""
        self._cells.copy(source, target)

    def reorder(self, parents: Sequence[int]) -> None:
        """Make every sequence i what `parents[i]` was (beams); nothing is computed or moved."""
        if len(parents) != len(self._cells.rows):
            raise ValueError(f"{len(parents)} parents for {len(self._cells.rows)} sequences")
        self._cells.reorder(parents)

    # --- inside ---

    def _check(self, tokens: Sequence[int], text_time: Sequence[int]) -> None:
        """Refuse what would end the process inside ggml, or be silently wrong."""
        if not len(tokens) or len(tokens) != len(text_time):
            raise ValueError(f"{len(tokens)} tokens with {len(text_time)} text times")
        vocab = self._runtime.hparams.vocab_size
        if min(tokens) < 0 or max(tokens) >= vocab:
            raise ValueError(f"a token id is outside 0..{vocab - 1}")
        if min(text_time) < 0:
            raise ValueError("a text time is negative")
        if max(text_time) > self.media_count:
            raise PromptError(
                f"The prompt refers to photo or clip number {max(text_time)}, but there "
                f"{'is' if self.media_count == 1 else 'are'} {self.media_count}."
            )

    def _run(
        self,
        sequences: Sequence[int],
        tokens: Sequence[int],
        text_time: Sequence[int],
        all_rows: bool,
        cancel: CancelToken | None,
    ) -> Logits:
        cells = self._cells.free_cells(len(tokens))
        if len(cells) < len(tokens):
            raise PromptError("The context is full: ask a shorter question.")
        positions = np.empty(len(tokens), np.int32)
        for index, sequence in enumerate(sequences):
            positions[index] = self.length(sequence)
            self._cells.append(
                sequence, tokens[index : index + 1], text_time[index : index + 1],
                cells[index : index + 1],
            )  # fmt: skip
        n_kv = padded(self._cells.used_cells())
        self._text.prepare(n_kv)
        sees = any(text_time) and bool(self._runtime.hparams.gated_layers)
        shape = GraphShape(
            n_tokens=len(tokens),
            n_kv=n_kv,
            all_rows=all_rows or len(tokens) == 1,
            n_latents=self._media.n_latents if sees else 0,
        )
        graph = self._graphs.get(shape, cache_tensors(self._text, self._media.cache))
        self._runtime.set_input(graph.inputs.tokens, np.asarray(tokens, np.int32))
        self._runtime.set_input(graph.inputs.cells, np.asarray(cells, np.int64))
        self._set_mask(graph.inputs, sequences, positions, n_kv)
        if sees:
            self._set_cross_mask(graph.inputs, text_time)
        return graph.run(cancel)

    def _set_mask(
        self, inputs: GraphInputs, sequences: Sequence[int], positions: NDArray[np.int32], n_kv: int
    ) -> None:
        """Set the text mask: 0 or -inf with RoPE, distances <= 0 with ALiBi."""
        runtime = self._runtime
        behind = self._cells.distances(sequences, positions, n_kv)
        if runtime.biased_mask and runtime.slopes is not None:
            mask = behind[None] * runtime.slopes[:, None, None]
            runtime.set_input(inputs.mask, np.ascontiguousarray(mask, np.float32))
            return
        if runtime.slopes is None:
            behind[np.isfinite(behind)] = 0
        runtime.set_input(inputs.mask, behind.astype(np.float16))
        if inputs.positions is not None:
            runtime.set_input(inputs.positions, positions)

    def _set_cross_mask(self, inputs: GraphInputs, text_time: Sequence[int]) -> None:
        if inputs.cross_mask is None or inputs.cross_on is None:
            raise RuntimeError("the graph was built without media")
        count = self._runtime.hparams.latents_count
        mask = np.full((len(text_time), self._media.n_latents), -np.inf, np.float16)
        on = np.zeros(len(text_time), np.float32)
        for index, time in enumerate(text_time):
            if time == 0:
                mask[index] = 0
                continue
            slot = self._media.slot(time)
            mask[index, slot * count : (slot + 1) * count] = 0
            on[index] = 1
        self._runtime.set_input(inputs.cross_mask, mask)
        self._runtime.set_input(inputs.cross_on, on)

    def close(self) -> None:
        """Free the caches and graphs."""
        self._graphs.clear()
        self._media.close()
        self._text.close()
