"""Sessions: media and text times, prefixes, beams, limits, stopping."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otter_desktop.cancel import CancelToken
from otter_desktop.decoder import Decoder, Session
from otter_desktop.errors import Cancelled, PromptError

TOKENS = [3, 9, 14, 2, 61, 33, 8, 5]


@pytest.fixture(scope="module")
def decoder(tiny_path: Path) -> Iterator[Decoder]:
    with Decoder.open(tiny_path, kv_type="f32", threads=1) as opened:
        yield opened


@pytest.fixture
def session(decoder: Decoder) -> Iterator[Session]:
    with decoder.session() as made:
        yield made


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, atol=2e-4)


def test_a_token_sees_only_the_medium_of_its_text_time(session: Session, tiny: Any) -> None:
    session.set_media([tiny.media(0), tiny.media(1)])
    first = session.forward(TOKENS, [2] * 8)
    session.set_media([tiny.media(5), tiny.media(1)])
    session.truncate(0)
    np.testing.assert_array_equal(first, session.forward(TOKENS, [2] * 8))


def test_text_time_0_sees_no_medium_but_keeps_the_feed_forward(session: Session, tiny: Any) -> None:
    session.set_media([tiny.media(0)])
    with_media = session.forward(TOKENS, [0] * 8, all_positions=True)
    close(with_media, tiny.logits(TOKENS, [0] * 8))


def test_text_time_0_and_1_mix_in_one_batch(session: Session, tiny: Any) -> None:
    session.set_media([tiny.media(0)])
    times = [0, 0, 0, 1, 1, 0, 0, 1]
    logits = session.forward(TOKENS, times, all_positions=True)
    close(logits, tiny.logits(TOKENS, times, [tiny.media(0)]))


def test_equal_media_are_computed_once_and_both_seen(session: Session, tiny: Any) -> None:
    media = [tiny.media(0), tiny.media(1), tiny.media(0)]
    session.set_media(media)
    times = [1, 1, 2, 2, 3, 3, 3, 3]
    close(session.forward(TOKENS, times), tiny.logits(TOKENS, times, media)[-1])


def test_media_can_be_added_one_by_one_without_forgetting_text(session: Session, tiny: Any) -> None:
    media = [tiny.media(seed) for seed in range(5)]
    times = [1, 1, 2, 3, 3, 4, 5, 5]
    for number, token in enumerate(TOKENS):
        while session.media_count < times[number]:
            assert session.add_media(media[session.media_count]) == session.media_count
        logits = session.forward([token], [times[number]])
    assert session.length() == 8
    close(logits, tiny.logits(TOKENS, times, media)[-1])


def test_text_that_saw_a_changed_medium_is_forgotten(session: Session, tiny: Any) -> None:
    session.set_media([tiny.media(0), tiny.media(1)])
    session.forward(TOKENS, [0, 1, 1, 1, 2, 2, 2, 2])
    session.set_media([tiny.media(0), tiny.media(7)])
    assert session.length() == 4
    times = [0, 1, 1, 1, 2, 2, 2, 2]
    rest = session.forward(TOKENS[4:], times[4:])
    close(rest, tiny.logits(TOKENS, times, [tiny.media(0), tiny.media(7)])[-1])


def test_a_text_time_without_medium_is_refused(session: Session, tiny: Any) -> None:
    session.set_media([tiny.media(0)])
    with pytest.raises(PromptError, match="number 2"):
        session.forward(TOKENS, [1] * 7 + [2])
    assert session.length() == 0


@pytest.mark.parametrize("shape", [(5, 31), (4, 32), (5, 32, 1)])
def test_latents_of_another_shape_are_refused(session: Session, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        session.set_media([np.zeros(shape, np.float32)])


def test_latents_that_are_not_finite_are_refused(session: Session, tiny: Any) -> None:
    broken = tiny.media(0)
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        session.set_media([broken])


@pytest.mark.parametrize(
    ("tokens", "times"), [([], []), ([1], []), ([70], [0]), ([-1], [0]), ([1], [-1])]
)
def test_what_would_abort_in_native_code_is_refused_before(
    session: Session, tokens: list[int], times: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"token|text time"):
        session.forward(tokens, times)


def test_truncated_text_continues_as_if_it_had_never_been_longer(
    session: Session, tiny: Any
) -> None:
    session.forward([*TOKENS[:4], 40, 41, 42], [0] * 7)
    session.truncate(4)
    close(session.forward(TOKENS[4:], [0] * 4), tiny.logits(TOKENS, [0] * 8)[-1])


def test_the_common_prefix_is_kept_but_for_one_token(session: Session, tiny: Any) -> None:
    session.set_media([tiny.media(0)])
    session.forward(TOKENS, [0, 0, 1, 1, 1, 1, 1, 1])
    assert session.keep_prefix([*TOKENS[:6], 50], [0, 0, 1, 1, 1, 1, 1]) == 6
    assert session.tokens() == TOKENS[:6]
    assert session.keep_prefix(TOKENS[:6], [0, 0, 1, 0, 1, 1]) == 3
    assert session.keep_prefix(TOKENS[:3], [0, 0, 1]) == 2


def test_long_text_crosses_batches_and_padding_unchanged(session: Session, tiny: Any) -> None:
    random = np.random.default_rng(3)
    tokens = [int(t) for t in random.integers(0, 70, 600)]
    logits = session.forward(tokens, [0] * 600, all_positions=True)
    assert logits.shape == (600, 70)
    close(logits, tiny.logits(tokens, [0] * 600))


def test_a_prompt_longer_than_the_context_is_refused(tiny_path: Path) -> None:
    with (
        Decoder.open(tiny_path, threads=1, context_length=10) as decoder,
        decoder.session() as session,
    ):
        with pytest.raises(PromptError, match="11 tokens"):
            session.forward([1] * 11, [0] * 11)
        session.forward([1] * 10, [0] * 10)
        with pytest.raises(PromptError):
            session.forward([1], [0])
        with pytest.raises(PromptError):
            session.forward_batch([1], [0])
        assert session.length() == 10


def test_beams_that_part_and_are_reordered_compute_their_own_texts(
    decoder: Decoder, tiny: Any
) -> None:
    media = [tiny.media(0)]
    with decoder.session(3) as session:
        session.set_media(media)
        session.forward(TOKENS, [1] * 8)
        session.copy_sequence(0, 1)
        session.copy_sequence(0, 2)
        session.forward_batch([10, 11, 12], [1, 1, 1])
        session.reorder([2, 0, 2])
        session.forward_batch([20, 21, 22], [1, 1, 1])
        session.reorder([1, 1, 0])
        logits = session.forward_batch([30, 31, 32], [1, 1, 1])
        texts = [session.tokens(i) for i in range(3)]
    assert texts == [
        [*TOKENS, 10, 21, 30],
        [*TOKENS, 10, 21, 31],
        [*TOKENS, 12, 20, 32],
    ]
    for row, text in zip(logits, texts, strict=True):
        close(row, tiny.logits(text, [1] * 11, media)[-1])


def test_sequences_of_different_lengths_advance_together(decoder: Decoder, tiny: Any) -> None:
    with decoder.session(2) as session:
        session.forward(TOKENS, [0] * 8, sequence=0)
        session.forward(TOKENS[:3], [0] * 3, sequence=1)
        logits = session.forward_batch([5, 6], [0, 0])
    close(logits[0], tiny.logits([*TOKENS, 5], [0] * 9)[-1])
    close(logits[1], tiny.logits([*TOKENS[:3], 6], [0] * 4)[-1])


def test_copying_beams_takes_no_room_so_the_full_context_stays_usable(tiny_path: Path) -> None:
    with (
        Decoder.open(tiny_path, threads=1, context_length=300) as decoder,
        decoder.session(2) as session,
    ):
        session.forward([1] * 280, [0] * 280)
        for _ in range(20):
            session.copy_sequence(0, 1)
            session.forward_batch([1, 2], [0, 0])
        assert session.length(1) == 300


def test_a_cancelled_prefill_leaves_the_text_as_it_was(session: Session) -> None:
    session.forward(TOKENS, [0] * 8)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        session.forward([1] * 100, [0] * 100, cancel=cancel)
    assert session.length() == 8


def test_cancelling_from_another_thread_stops_inside_a_prefill(
    make_tiny: Any, tmp_path: Path
) -> None:
    model = make_tiny(block_count=30, cross_attention_every=0)
    cancel = _CancelAfterLooks(30)
    with (
        Decoder.open(model.write(tmp_path / "m.gguf"), threads=1) as decoder,
        decoder.session() as session,
    ):
        with pytest.raises(Cancelled):
            session.forward([1] * 500, [0] * 500, cancel=cancel)
        assert session.length() == 0
        assert cancel.looks < 100
        assert np.isfinite(session.forward([1, 2], [0, 0])).all()


class _CancelAfterLooks(CancelToken):
    """A token that another thread sets while the graph runs: after a number of looks at it."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = 0
        self._until = looks

    @property
    def cancelled(self) -> bool:
        self.looks += 1
        if self.looks == self._until:
            other = threading.Thread(target=self.cancel)
            other.start()
            other.join()
        return super().cancelled


def test_sessions_of_one_decoder_do_not_disturb_each_other(decoder: Decoder, tiny: Any) -> None:
    with decoder.session() as one, decoder.session() as two:
        one.forward(TOKENS, [0] * 8)
        two.forward(TOKENS[:2], [0] * 2)
        close(one.forward([7], [0]), tiny.logits([*TOKENS, 7], [0] * 9)[-1])
        close(two.forward([8], [0]), tiny.logits([*TOKENS[:2], 8], [0] * 3)[-1])


def test_a_session_freed_and_made_again_starts_empty(decoder: Decoder, tiny: Any) -> None:
    for _ in range(3):
        with decoder.session() as session:
            assert session.length() == 0
            close(session.forward(TOKENS, [0] * 8), tiny.logits(TOKENS, [0] * 8)[-1])
