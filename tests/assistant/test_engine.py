"""The engine on a real package: the parity API, answers, and what is not done twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otter_desktop.assistant import Engine
from otter_desktop.assistant.events import Answer, Event, Finish, MediaReady, Notice, Stage, Token
from otter_desktop.assistant.request import Clip, Example, Options, Photo, Request, Turn
from otter_desktop.cancel import CancelToken
from otter_desktop.errors import (
    Cancelled,
    FrameLimitError,
    MediaError,
    PackageError,
    PromptError,
    SettingsError,
)
from otter_desktop.text.prompt import AlbumLayout, Exchange, PromptTemplate
from otter_desktop.text.sampling import log_softmax

SHORT = Options(max_tokens=6)


def ask(engine: Engine, question: str, *media: Photo | Clip, **fields: Any) -> list[Event]:
    fields.setdefault("options", SHORT)
    return list(engine.ask(Request(question, media, **fields)))


def answer(engine: Engine, question: str, *media: Photo | Clip, **fields: Any) -> Answer:
    last = ask(engine, question, *media, **fields)[-1]
    assert isinstance(last, Answer)
    return last


def prompt_ids(engine: Engine, exchange: Exchange, **context: Sequence[Exchange]) -> list[int]:
    return engine.tokenizer.encode(engine.template.build(exchange, **context))


def latents_of(engine: Engine, path: Path) -> Any:
    from otter_desktop.assistant.seeing import Item

    return engine.eyes.look(Item((Photo(path),))).latents


# --- the parity API ---


def test_cached_greedy_decoding_equals_the_full_pass(engine: Engine, photos: list[Path]) -> None:
    latents = [latents_of(engine, photos[0])]
    ids = prompt_ids(engine, Exchange("What is it?", 1))
    generated = engine.generate_ids(ids, latents, 8)
    logits = engine.logits([*ids, *generated], latents)
    assert logits[len(ids) - 1 : -1].argmax(-1).tolist() == generated


def test_text_after_the_prompt_still_sees_the_media(engine: Engine, photos: list[Path]) -> None:
    latents = [latents_of(engine, photos[0])]
    ids = prompt_ids(engine, Exchange("What is it?", 1))
    blind = engine.generate_ids(ids, latents, 12, reference_compat=True)
    assert engine.generate_ids(ids, latents, 12) != blind


def test_one_beam_is_greedy_and_more_beams_score_no_worse(
    engine: Engine, photos: list[Path]
) -> None:
    latents = [latents_of(engine, photos[0])]
    ids = prompt_ids(engine, Exchange("What is it?", 1))

    def score(generated: list[int]) -> float:
        rows = log_softmax(engine.logits([*ids, *generated], latents))[len(ids) - 1 : -1]
        return float(rows[np.arange(len(generated)), generated].sum())

    greedy = engine.generate_ids(ids, latents, 6)
    assert score(engine.generate_ids(ids, latents, 6, beams=4)) >= score(greedy) - 0.05


def test_more_image_tags_than_media_are_refused(engine: Engine, photos: list[Path]) -> None:
    ids = prompt_ids(engine, Exchange("Which?", 2))
    with pytest.raises(PromptError, match="number 2"):
        engine.logits(ids, [latents_of(engine, photos[0])])


def test_pixels_become_latents_of_the_models_shape(engine: Engine) -> None:
    size = engine.manifest.preprocessing.image_size
    latents = engine.encode_pixels(np.zeros((3, 3, size, size), np.float32))
    assert latents.shape == (engine.vision.n_latents, engine.vision.width)


# --- answers ---


def test_events_come_in_order_and_the_tokens_make_the_answer(
    engine: Engine, photos: list[Path]
) -> None:
    events = ask(engine, "What is it?", Photo(photos[0]))
    kinds = [type(event) for event in events]
    assert kinds[0] is MediaReady
    assert kinds[-1] is Answer
    assert set(kinds[1:-1]) == {Token}
    text = "".join(event.text for event in events if isinstance(event, Token))
    assert isinstance(events[-1], Answer)
    assert text.strip().strip('"').strip() == events[-1].text


def test_an_answer_is_what_the_prompts_tokens_lead_to(engine: Engine, photos: list[Path]) -> None:
    ids = prompt_ids(engine, Exchange("What is it?", 1))
    latents = [latents_of(engine, photos[0])]
    expected: list[int] = []
    forbidden = engine.tokenizer.never_generated(engine.decoder.hparams.vocab_size)
    for _ in range(6):
        row = engine.logits([*ids, *expected], latents)[-1]
        row[forbidden] = -np.inf
        expected.append(int(row.argmax()))
        if expected[-1] == engine.tokenizer.end_id:
            break
    found = answer(engine, "What is it?", Photo(photos[0]))
    assert found.text == engine.tokenizer.decode(expected).strip().strip('"').strip()
    assert found.timings.prompt_tokens == len(ids)


def test_examples_are_part_of_the_prompt_and_come_first(engine: Engine, photos: list[Path]) -> None:
    example = Example([Photo(photos[1])], "What is it?", "A cat.")
    events = ask(engine, "And this?", Photo(photos[0]), examples=(example,))
    ready = [event for event in events if isinstance(event, MediaReady)]
    assert [(event.number, event.example) for event in ready] == [(1, True), (2, False)]
    ids = prompt_ids(
        engine, Exchange("And this?", 1), examples=[Exchange("What is it?", 1, "A cat.")]
    )
    assert isinstance(events[-1], Answer)
    assert events[-1].timings.prompt_tokens == len(ids)
    assert [frame.file for frame in events[-1].frames] == [photos[0]]


def test_a_clip_is_one_item_whose_frames_have_true_times(engine: Engine, clip: Path) -> None:
    events = ask(engine, "What happens?", Clip(clip, 0.5, 1.5, frames=3))
    (ready,) = [event for event in events if isinstance(event, MediaReady)]
    assert [frame.time_s for frame in ready.frames] == pytest.approx([0.5, 1.0, 1.5], abs=0.06)
    assert [frame.index for frame in ready.frames] == [0, 1, 2]


def test_a_clip_gets_the_packages_number_of_frames_unless_told(engine: Engine, clip: Path) -> None:
    assert len(answer(engine, "What happens?", Clip(clip)).frames) == engine.manifest.default_frames


def test_compared_photos_are_frames_of_one_item(engine: Engine, photos: list[Path]) -> None:
    events = ask(engine, "What differs?", Photo(photos[0]), Photo(photos[1]), compare=True)
    (ready,) = [event for event in events if isinstance(event, MediaReady)]
    assert [frame.file for frame in ready.frames] == photos[:2]
    apart = ask(engine, "What differs?", Photo(photos[0]), Photo(photos[1]))
    assert sum(isinstance(event, MediaReady) for event in apart) == 2


def test_more_frames_than_the_model_takes_are_refused(
    engine: Engine, clip: Path, photos: list[Path]
) -> None:
    limit = engine.manifest.max_frames
    with pytest.raises(FrameLimitError, match=f"at most {limit}"):
        ask(engine, "What happens?", Clip(clip, frames=limit + 1))
    with pytest.raises(FrameLimitError, match=f"at most {limit}"):
        ask(engine, "What differs?", *[Photo(photos[0])] * (limit + 1), compare=True)


def test_a_bad_file_of_an_album_is_named_and_the_others_are_answered(
    engine: Engine, photos: list[Path], bad_photo: Path
) -> None:
    events = ask(engine, "Which?", Photo(photos[0]), Photo(bad_photo), Photo(photos[1]))
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.file == bad_photo
    assert "bad.png" in notice.message
    assert isinstance(events[-1], Answer)
    assert [frame.file for frame in events[-1].frames] == photos[:2]


def test_a_bad_file_alone_or_only_bad_files_are_an_error(engine: Engine, bad_photo: Path) -> None:
    with pytest.raises(MediaError, match=r"bad\.png"):
        ask(engine, "What?", Photo(bad_photo))
    with pytest.raises(MediaError, match=r"bad\.png"):
        ask(engine, "What?", Photo(bad_photo), Photo(bad_photo))
    with pytest.raises(MediaError, match=r"gone\.png does not exist"):
        ask(engine, "What?", Photo("gone.png"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_ordinary_file_is_refused_instead_of_waited_for(
    engine: Engine, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (Path(os.devnull), pipe):
        with pytest.raises(MediaError, match="not an ordinary file"):
            ask(engine, "What?", Photo(path))
        with pytest.raises(MediaError, match="not an ordinary file"):
            ask(engine, "What?", Clip(path))


def test_a_question_without_media_is_answered(engine: Engine) -> None:
    assert answer(engine, "Who are you?").frames == ()


def test_the_length_limit_ends_an_answer(engine: Engine, photos: list[Path]) -> None:
    found = answer(engine, "What is it?", Photo(photos[0]), options=Options(max_tokens=2))
    assert found.finish is Finish.LENGTH
    assert found.timings.answer_tokens == 2


def test_an_answer_never_outgrows_the_context(engine: Engine, photos: list[Path]) -> None:
    options = Options(max_tokens=10_000, banned=("<|endofchunk|>",))
    found = answer(engine, "What is it?", Photo(photos[0]), options=options)
    whole = found.timings.prompt_tokens + found.timings.answer_tokens
    assert found.finish is Finish.END or whole == engine.decoder.context_length + 1


def test_a_prompt_longer_than_the_context_is_refused_and_the_next_one_answered(
    engine: Engine, photos: list[Path]
) -> None:
    before = answer(engine, "What is it?", Photo(photos[0])).text
    with pytest.raises(PromptError, match="tokens"):
        ask(engine, "why " * 2000, Photo(photos[0]))
    assert answer(engine, "What is it?", Photo(photos[0])).text == before


def test_drawn_answers_repeat_with_their_seed(engine: Engine, photos: list[Path]) -> None:
    def drawn(seed: int) -> str:
        options = Options(max_tokens=8, temperature=1.5, seed=seed)
        return answer(engine, "What is it?", Photo(photos[0]), options=options).text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_banned_texts_of_the_package_are_not_written(engine: Engine, photos: list[Path]) -> None:
    free = answer(engine, "What is it?", Photo(photos[0])).text
    banned = next(letter for letter in free if letter.isprintable() and letter != " ")
    engine.manifest = replace(engine.manifest, banned_strings=(banned,))
    assert banned not in answer(engine, "What is it?", Photo(photos[0])).text


def test_beams_answer_too(engine: Engine, photos: list[Path]) -> None:
    options = Options(max_tokens=6, beams=3, no_repeat_ngram=3)
    events = ask(engine, "What is it?", Photo(photos[0]), options=options)
    assert isinstance(events[-1], Answer)
    again = answer(engine, "What is it?", Photo(photos[0]), options=options)
    assert again.text == events[-1].text
    assert again.timings.reused_tokens == again.timings.prompt_tokens - 1


# --- nothing twice ---


def test_the_second_question_does_no_vision_work_and_no_prefill_of_the_unchanged_prefix(
    engine: Engine, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = Example([Photo(photos[1])], "What is it?", "A cat.")
    answer(engine, "Where is it?", Photo(photos[0]), examples=(example,))
    looked: list[object] = []
    computed: list[int] = []
    with engine.session() as session:
        forward = session.forward

        def counted(tokens: Sequence[int], *rest: Any, **named: Any) -> Any:
            computed.append(len(tokens))
            return forward(tokens, *rest, **named)

        monkeypatch.setattr(session, "forward", counted)
    monkeypatch.setattr(engine.vision, "encode", lambda *_: looked.append(1))
    second = answer(engine, "Why is it?", Photo(photos[0]), examples=(example,))
    first_ids, second_ids = (
        prompt_ids(engine, Exchange(q, 1), examples=[Exchange("What is it?", 1, "A cat.")])
        for q in ("Where is it?", "Why is it?")
    )
    common = next(i for i, (a, b) in enumerate(zip(first_ids, second_ids, strict=False)) if a != b)
    assert looked == []
    assert computed[0] == len(second_ids) - common
    assert second.timings.reused_tokens == common > 10
    assert second.timings.vision_runs == 0


def test_an_answer_from_a_reused_prefix_equals_one_from_scratch(
    engine: Engine, package: Path, photos: list[Path]
) -> None:
    answer(engine, "Where is it?", Photo(photos[0]))
    reused = answer(engine, "What is it?", Photo(photos[0]))
    with Engine.open(package, device="cpu", threads=1) as fresh:
        assert answer(fresh, "What is it?", Photo(photos[0])).text == reused.text


def test_a_further_turn_computes_only_what_is_new(engine: Engine, photos: list[Path]) -> None:
    first = answer(engine, "Where is it?", Photo(photos[0]))
    turns = (Turn("Where is it?", "On a table."),)
    ids = prompt_ids(
        engine, Exchange("Why?", 0), turns=[Exchange("Where is it?", 1, "On a table.")]
    )
    second = answer(engine, "Why?", Photo(photos[0]), turns=turns)
    assert second.timings.prompt_tokens == len(ids)
    assert second.timings.reused_tokens >= first.timings.prompt_tokens


def test_other_media_are_not_answered_from_the_old_prefix(
    engine: Engine, package: Path, photos: list[Path]
) -> None:
    answer(engine, "What is it?", Photo(photos[0]))
    changed = answer(engine, "What is it?", Photo(photos[1]))
    assert changed.timings.reused_tokens == 0
    with Engine.open(package, device="cpu", threads=1) as fresh:
        assert answer(fresh, "What is it?", Photo(photos[1])).text == changed.text


def test_media_seen_by_an_earlier_engine_are_not_looked_at_again(
    package: Path, photos: list[Path], clip: Path
) -> None:
    with Engine.open(package, device="cpu", threads=1) as first:
        before = answer(first, "What?", Photo(photos[0]), Clip(clip))
    with Engine.open(package, device="cpu", threads=1) as second:
        after = answer(second, "What?", Photo(photos[0]), Clip(clip))
    assert before.timings.vision_runs == 2
    assert after.timings.vision_runs == 0
    assert after.frames == before.frames
    assert after.text == before.text


def test_a_changed_file_is_looked_at_again(
    engine: Engine, photos: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(photos[0].read_bytes())
    answer(engine, "What?", Photo(path))
    path.write_bytes(photos[1].read_bytes())
    assert answer(engine, "What?", Photo(path)).timings.vision_runs == 1


def test_an_album_whose_photos_are_each_asked_about_is_shown_again_in_every_turn(
    engine: Engine, photos: list[Path]
) -> None:
    engine.template = PromptTemplate("spaced", AlbumLayout.QUESTION_EACH)
    album = [Photo(path) for path in photos[:2]]
    found = answer(engine, "And now?", *album, turns=(Turn("Which?", "Photo 1."),))
    ids = prompt_ids(engine, Exchange("And now?", 2), turns=[Exchange("Which?", 2, "Photo 1.")])
    assert ids.count(engine.tokenizer.image_id) == 4
    assert found.timings.prompt_tokens == len(ids)
    assert len(found.frames) == 2


# --- choosing ---


def test_choices_get_probabilities_from_the_logits(engine: Engine, photos: list[Path]) -> None:
    choices = ["yes", "no", "a table"]
    found = engine.choose(Request("Is it?", (Photo(photos[0]),)), choices)
    latents = [latents_of(engine, photos[0])]
    forbidden = engine.tokenizer.never_generated(engine.decoder.hparams.vocab_size)
    start = len(prompt_ids(engine, Exchange("Is it?", 1)))
    scores = []
    for choice in choices:
        pieces = engine.template.build(Exchange("Is it?", 1))
        ids = engine.tokenizer.encode([*pieces, *engine.template.answered(choice)])
        rows = engine.logits(ids, latents)[start - 1 : -1]
        rows[:, forbidden] = -np.inf
        scores.append(log_softmax(rows)[np.arange(len(rows)), ids[start:]].sum())
    weights = np.exp(np.array(scores) - max(scores))
    expected = weights / weights.sum()
    assert list(found) == choices
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=2e-2)
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("choices", [[], ["a", " "], ["a", "a"]])
def test_senseless_choices_are_refused(engine: Engine, choices: list[str]) -> None:
    with pytest.raises(SettingsError):
        engine.choose(Request("Is it?"), choices)


# --- stopping and opening ---


def test_cancelling_at_any_stage_ends_in_cancelled_and_leaves_the_engine_usable(
    engine: Engine, photos: list[Path]
) -> None:
    expected = answer(engine, "What is it?", Photo(photos[0])).text
    for stage in Stage:
        if stage is Stage.LOADING:
            continue
        token = CancelToken()
        fresh = photos[2] if stage is Stage.VISION else photos[0]
        request = Request("What is it?", (Photo(fresh),), options=SHORT)

        def stop(progress: Any, stage: Stage = stage, token: CancelToken = token) -> None:
            if progress.stage is stage:
                token.cancel()

        with pytest.raises(Cancelled):
            list(engine.ask(request, cancel=token, progress=stop))
        assert answer(engine, "What is it?", Photo(photos[0])).text == expected


def test_an_answer_left_early_leaves_the_engine_usable(engine: Engine, photos: list[Path]) -> None:
    request = Request("What is it?", (Photo(photos[0]),), options=SHORT)
    expected = list(engine.ask(request))[-1]
    events = engine.ask(request)
    while not isinstance(next(events), Token):
        pass
    events.close()  # type: ignore[attr-defined]
    last = list(engine.ask(request))[-1]
    assert isinstance(last, Answer)
    assert isinstance(expected, Answer)
    assert last.text == expected.text


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(PromptError, match="empty"):
        Request(question)


def test_a_changed_byte_in_a_package_is_noticed_even_after_it_was_opened_before(
    package: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in package.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    Engine.open(copy, device="cpu").close()
    decoder = copy / "decoder.gguf"
    content = bytearray(decoder.read_bytes())
    content[-1] ^= 1
    decoder.write_bytes(content)
    with pytest.raises(PackageError, match="SHA-256"):
        Engine.open(copy, device="cpu")


def test_a_package_that_passed_is_not_hashed_again(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Engine.open(package, device="cpu").close()
    hashed: list[Path] = []
    monkeypatch.setattr("otter_desktop.manifest.sha256_file", hashed.append)
    Engine.open(package, device="cpu").close()
    assert hashed == []
