"""Greedy decoding that checks a draft several tokens at a time, under a grammar or without one.

    pass 1   prompt + draft                → logits after the prompt and after each drafted token
    pass 2…  last token written + draft    until the end token

A drafted token counts only where the decoder itself chooses it: the first other choice replaces it and the rest of the
draft is forgotten. The answer is therefore the one that plain greedy decoding gives, token for token, whatever is
drafted; with a grammar, the one that choosing the best token allowed gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.runtime.decoder import Decoder, Rows
from shared.runtime.draft import DRAFT_MOST, Propose
from shared.runtime.grammar import START, Grammar

Embed = Callable[[Sequence[int]], NDArray[np.float32]]


@dataclass(slots=True)
class Written:
    """An answer, token by token."""

    ids: list[int] = field(default_factory=list)
    """Without the end token."""
    weakest: float = 1.0
    """Probability of the least certain token among all tokens, allowed or not."""
    refused: int | None = None
    """The token that the decoder wanted when the grammar first refused one."""
    kept: int = 0
    """How many of `ids` were written when that happened."""
    passes: int = 0
    """Runs of the decoder."""
    state: int = START
    """Where the grammar is after `ids`."""
    ended: bool = False


def write(
    decoder: Decoder, prompt: Rows, embed: Embed, propose: Propose, *, grammar: Grammar | None, end_id: int, most: int
) -> Written:
    """One answer after `prompt`. The decoder keeps more positions than before: rewind it.

    prompt: float32 [k, e] parts; embed: tokens → float32 [n, e]; most: tokens at most, the end token not counted
    """
    written = Written()
    draft = list(propose(()))[:DRAFT_MOST]
    rows = [*prompt, embed(draft)] if draft else [*prompt]
    start = decoder.kept + sum(len(part) for part in prompt)
    while True:
        logits = decoder.run(rows, wanted=1 + len(draft))
        written.passes += 1
        _read(written, logits, draft, grammar, end_id=end_id, most=most)
        if written.ended:
            return written
        decoder.rewind(start + len(written.ids) - 1)  # the newest token has not been run yet
        draft = list(propose(written.ids))[: min(DRAFT_MOST, most - len(written.ids))]
        rows = [embed([written.ids[-1], *draft])]


def _read(
    written: Written,
    logits: NDArray[np.float32],
    draft: Sequence[int],
    grammar: Grammar | None,
    *,
    end_id: int,
    most: int,
) -> None:
    """Take over the tokens that the decoder chooses, as far as the draft goes along with it.

    logits: float32 [n, vocabulary], of the places after the prompt and after each drafted token
    """
    chosen: list[int] = []
    for at, row in enumerate(logits):
        token = _choose(written, row, grammar)
        chosen.append(token)
        if token == end_id:
            written.ended = True
            break
        written.ids.append(token)
        if len(written.ids) == most:
            written.ended = True
            break
        if at == len(draft) or draft[at] != token:
            break
    read = logits[: len(chosen)]
    top = read[np.arange(len(chosen)), chosen]
    peak = read.max(axis=1)  # not `top`: what the grammar allows may be far below it
    shares = np.exp(top - peak) / np.exp(read - peak[:, None]).sum(axis=1)
    written.weakest = min(written.weakest, float(shares.min()))


def _choose(written: Written, row: NDArray[np.float32], grammar: Grammar | None) -> int:
    """The best token that the grammar allows; notes the first that it refuses. row: float32 [vocabulary]"""
    if grammar is None:
        return int(row.argmax())
    allowed, states = grammar.choices(written.state)
    pick = int(row[allowed].argmax())
    token, written.state = int(allowed[pick]), states[pick]
    if written.refused is None:
        best = int(row.argmax())
        if best != token:
            written.refused, written.kept = best, len(written.ids)
    return token
