"""The table of cells: who sees what, and which cells are free."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otter_desktop.decoder.cells import CellTable

N_CELLS = 40


def put(table: CellTable, sequence: int, tokens: list[int]) -> None:
    table.append(sequence, tokens, [0] * len(tokens), table.free_cells(len(tokens)))


def test_a_token_sees_earlier_tokens_of_its_own_sequence_only() -> None:
    table = CellTable(2, 8)
    put(table, 0, [10, 11, 12])
    put(table, 1, [20])
    seen = table.distances([0, 1], np.array([1, 0], np.int32), 5)
    expected = [[-1, 0, -np.inf, -np.inf, -np.inf], [-np.inf] * 3 + [0, -np.inf]]
    np.testing.assert_array_equal(seen, expected)


def test_cells_are_shared_by_copies_and_freed_with_the_last() -> None:
    table = CellTable(2, 8)
    put(table, 0, [10, 11, 12])
    table.copy(0, 1)
    assert table.used_cells() == 3
    table.truncate(0, 0)
    assert table.free_cells(8) == [3, 4, 5, 6, 7]
    table.truncate(1, 1)
    assert table.free_cells(8) == [1, 2, 3, 4, 5, 6, 7]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 4)),
        st.tuples(st.just("truncate"), st.integers(0, 2), st.integers(0, 6)),
        st.tuples(st.just("copy"), st.integers(0, 2), st.integers(0, 2)),
        st.tuples(st.just("reorder"), st.integers(0, 2), st.integers(0, 2)),
    ),
    max_size=25,
)


@given(steps)
def test_whatever_is_done_every_sequence_reads_its_own_tokens(
    actions: list[tuple[str, int, int]],
) -> None:
    """The cache is played by an array of tokens by cell; texts are kept apart as plain lists."""
    table, stored, texts = CellTable(3, N_CELLS), [-1] * N_CELLS, [[], [], []]
    counter = 0
    for action, a, b in actions:
        if action == "append" and len(table.free_cells(b)) == b:
            cells = table.free_cells(b)
            tokens = list(range(counter, counter + b))
            counter += b
            for cell, token in zip(cells, tokens, strict=True):
                stored[cell] = token
            table.append(a, tokens, [0] * b, cells)
            texts[a] = texts[a] + tokens
        elif action == "truncate":
            table.truncate(a, min(b, len(texts[a])))
            texts[a] = texts[a][:b]
        elif action == "copy":
            table.copy(a, b)
            texts[b] = list(texts[a])
        elif action == "reorder":
            table.reorder([a, b, 1])
            texts = [list(texts[a]), list(texts[b]), list(texts[1])]
    for sequence, text in enumerate(texts):
        assert table.rows[sequence].tokens == text
        last = np.array([len(text) - 1], np.int32)
        distance = table.distances([sequence], last, N_CELLS)[0]
        visible = np.flatnonzero(np.isfinite(distance))
        by_distance = sorted(visible, key=lambda cell: distance[cell])
        assert [stored[cell] for cell in by_distance] == text
