"""From a prompt to an answer's tokens, one at a time or by beams, over one session's cache."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_desktop.assistant.events import Finish
from otter_desktop.cancel import CancelToken
from otter_desktop.decoder import Session
from otter_desktop.text.beams import BeamSearch
from otter_desktop.text.sampling import LogitsRules, Sampler
from otter_desktop.text.tokenizer import Tokenizer

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """Token ids with the media number that each sees, and the number that the answer sees."""

    tokens: tuple[int, ...]
    text_time: tuple[int, ...]
    answer_time: int


def prompt_of(
    tokenizer: Tokenizer, tokens: Sequence[int], *, reference_compat: bool = False
) -> Prompt:
    """Carry text_time over the prompt and into the answer (FORMATS 1).

    With `reference_compat` the answer sees no media, as in the original with its cache.
    """
    times = tuple(tokenizer.text_time(tokens))
    return Prompt(tuple(tokens), times, 0 if reference_compat or not times else times[-1])


def prefill(
    session: Session, prompt: Prompt, cancel: CancelToken | None = None
) -> tuple[Logits, int]:
    """Bring sequence 0 to the prompt; returns the logits (vocab,) after it and the tokens reused.

    What the cache has in common with the prompt is not computed again. Raises `PromptError`.
    """
    reused = session.keep_prefix(prompt.tokens, prompt.text_time)
    logits = session.forward(prompt.tokens[reused:], prompt.text_time[reused:], cancel=cancel)
    return logits, reused


def write(
    session: Session,
    prompt: Prompt,
    logits: Logits,
    *,
    rules: LogitsRules,
    sampler: Sampler,
    limit: int,
    end_id: int | None,
    cancel: CancelToken | None = None,
) -> Generator[int, None, Finish]:
    """Yield the answer's tokens as they are chosen; the generator's value is the `Finish`.

    `end_id` None never ends by itself. The caller says how many tokens fit.
    """
    generated: list[int] = []
    while True:
        if cancel is not None:
            cancel.check()
        scores = rules.apply(logits, prompt.tokens, generated)
        token = sampler.draw(scores)
        if token == end_id or not np.isfinite(scores[token]):
            return Finish.END
        generated.append(token)
        yield token
        if len(generated) >= limit:
            return Finish.LENGTH
        logits = session.forward([token], [prompt.answer_time], cancel=cancel)


def write_by_beams(
    session: Session,
    prompt: Prompt,
    logits: Logits,
    *,
    beams: int,
    rules: LogitsRules,
    limit: int,
    end_id: int,
    cancel: CancelToken | None = None,
) -> list[int]:
    """Return the ids of the best answer of a beam search, with the end token if it ended.

    The session has `beams` sequences and the prompt in its first one.
    """
    for sequence in range(1, beams):
        session.copy_sequence(0, sequence)
    search = BeamSearch(
        prompt.tokens, beams=beams, max_new_tokens=limit, end_id=end_id, rules=rules
    )
    search.advance(np.repeat(logits[None], beams, axis=0))
    times = [prompt.answer_time] * beams
    while not search.done:
        if cancel is not None:
            cancel.check()
        session.reorder(search.parents)
        search.advance(session.forward_batch(search.last_tokens, times, cancel=cancel))
    return search.best()
