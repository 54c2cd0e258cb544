"""Which cell of the key/value cache holds which token of which sequence (no native code).

Sequences share cells: beams that have a prompt in common keep it once, and copying or reordering
beams moves no keys, only this table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Row:
    """One sequence: its tokens, the medium that each sees, and the cell of each."""

    tokens: list[int] = field(default_factory=list)
    text_time: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)

    def copy(self) -> Row:
        """Return an independent copy that points at the same cells."""
        return Row(list(self.tokens), list(self.text_time), list(self.cells))


class CellTable:
    """The table for `n_sequences` sequences over `n_cells` cells."""

    def __init__(self, n_sequences: int, n_cells: int) -> None:
        self.rows = [Row() for _ in range(n_sequences)]
        self._member = np.zeros((n_sequences, n_cells), np.bool_)
        self._position = np.zeros(n_cells, np.int32)

    def free_cells(self, count: int) -> list[int]:
        """Return the lowest free cells; fewer than `count` where the cache is full."""
        free = np.flatnonzero(~self._member.any(axis=0))
        return [int(cell) for cell in free[:count]]

    def append(
        self, sequence: int, tokens: Sequence[int], text_time: Sequence[int], cells: Sequence[int]
    ) -> None:
        """Put tokens at the end of a sequence into the given cells."""
        row = self.rows[sequence]
        start = len(row.tokens)
        self._member[sequence, list(cells)] = True
        self._position[list(cells)] = np.arange(start, start + len(tokens))
        row.tokens.extend(tokens)
        row.text_time.extend(text_time)
        row.cells.extend(cells)

    def truncate(self, sequence: int, length: int) -> None:
        """Keep only the first `length` tokens of a sequence."""
        row = self.rows[sequence]
        self._member[sequence, row.cells[length:]] = False
        del row.tokens[length:], row.text_time[length:], row.cells[length:]

    def reorder(self, parents: Sequence[int]) -> None:
        """Make every sequence i a copy of what `parents[i]` was."""
        old = self.rows
        self.rows = [old[parent].copy() for parent in parents]
        self._member = self._member[list(parents)]

    def copy(self, source: int, target: int) -> None:
        """Make a sequence a copy of another."""
        self.rows[target] = self.rows[source].copy()
        self._member[target] = self._member[source]

    def used_cells(self) -> int:
        """Return one more than the highest cell in use."""
        used = np.flatnonzero(self._member.any(axis=0))
        return int(used[-1]) + 1 if used.size else 0

    def distances(
        self, sequences: Sequence[int], positions: NDArray[np.int32], n_kv: int
    ) -> NDArray[np.float32]:
        """Return (tokens, n_kv): how far each cell lies behind each token, as a number <= 0.

        -inf where the token does not see the cell: another sequence's, or a later token's.
        """
        behind = self._position[:n_kv][None, :] - positions[:, None]
        visible = self._member[list(sequences), :n_kv] & (behind <= 0)
        return np.where(visible, behind.astype(np.float32), np.float32(-np.inf))
