"""The caregiver of the loop, who sees what is there, slips now and then, and is replaced by a bad helper. Pure.

A slip is one that people make: the other side, something else that stands around, or silence although something is
there. Which moments these are is drawn by their ids: the same in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from scripts.loop.plan import Bad
from server.learn.batches import mirror
from server.review.decisions import ReviewDecision
from shared import vocabulary

NAME, HELPER = "Eve", "Hal"
SLIPS = 0.08
"""Share of a careful person's labels that are wrong."""
_NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


def labels(truths: Mapping[str, str], bad: Bad, *, seed: int) -> dict[str, str]:
    """What is confirmed of each moment: a sentence, "" = nothing is to be said.

    truths: moment → what is right of it
    """
    match bad:
        case "shuffled":
            other = _other_names(things_of(truths), seed)
            return {name: _renamed(text, other) for name, text in truths.items()}
        case "swapped":
            return {name: other_side(text) for name, text in truths.items()}
        case "silenced":
            return dict.fromkeys(truths, "")
        case _:
            things = things_of(truths)
            return {name: _with_slips(name, text, things) for name, text in truths.items()}


def things_of(truths: Mapping[str, str]) -> list[str]:
    """All that the sentences name."""
    return sorted({thing(text) for text in truths.values()} - {""})


def _other_names(things: Sequence[str], seed: int) -> dict[str, str]:
    """Each thing → another one."""
    by = 1 + seed % max(1, len(things) - 1)
    return dict(zip(things, [*things[by:], *things[:by]], strict=True))


def _renamed(truth: str, other: Mapping[str, str]) -> str:
    slots = vocabulary.parse(truth) if truth else None
    return truth if slots is None or not slots.object else vocabulary.instruct(other[slots.object], slots.side)


def _with_slips(name: str, truth: str, things: Sequence[str]) -> str:
    share, kind, which = _lots(name)
    if share >= SLIPS:
        return truth
    named, side = _thing_at(truth)
    others = [other for other in things if other != named]
    if kind == 0 and other_side(truth) != truth:
        return other_side(truth)
    if (named and kind == 1) or not others:
        return ""
    return vocabulary.instruct(others[which % len(others)], side)


def _thing_at(truth: str) -> tuple[str, str]:
    slots = vocabulary.parse(truth) if truth else None
    return ("", "ahead") if slots is None else (slots.object, slots.side)


def _lots(name: str) -> tuple[float, int, int]:
    """(0 to 1, one of three, any number), the same for the same moment."""
    digest = hashlib.sha256(f"slip {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48, digest[6] % 3, digest[7]


def other_side(text: str) -> str:
    """Left for right and right for left."""
    return mirror(_NO_PICTURE, text)[1]


def thing(text: str) -> str:
    """What a sentence names, "" = nothing."""
    slots = vocabulary.parse(text) if text else None
    return slots.object if slots is not None else ""


def decision(text: str, offered: str, *, by: str) -> ReviewDecision:
    """How a person confirms a sentence. offered: what the page would take with one key"""
    if not text:
        return ReviewDecision("nothing", by)
    return ReviewDecision("accept", by) if text == offered else ReviewDecision("edit", by, text)
