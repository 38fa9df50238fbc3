"""Sentences against references: is the grammar kept, which slots are right, what does a wrong action cost? Pure.

A sentence is read with `vocabulary.parse`, so synonyms and word order do not count. vocabulary.CLEAR, and an opener
alone ("Continue straight."), name nothing: they have no slots, like silence. Nor has a sentence that may not be said:
the policy keeps it from the voice, so the wearer hears nothing. Slots are compared with the reference that agrees best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from server.evaluation.facts import seen_side
from server.evaluation.measures import Proportion, f1, f1_interval, ratio
from shared import vocabulary

NAMES = ("action", "object", "side", "modifier")
Counts = tuple[int, int, int]
"""hit, false, missed"""

ACTS = ("stop", "duck", "wait", "caution", "steer", "go", "nothing")
"""What a sentence asks of the body. steer: turn, move, step, keep to a side. go: continue, cross, follow, enter.
nothing: it names nothing, or nothing is said."""
_ACT = {name: name for name in ("stop", "duck", "wait", "caution")} | dict.fromkeys(("turn", "move", "step"), "steer")
_STOPS = {"stop", "duck", "wait"}
# Rows: what was due; columns: what was said, in the order of ACTS. A walker sent on towards what they should stop for
# is the worst there is (10); a needless stop annoys and wears out trust (1 to 2).
COSTS = {
    "stop":    (0, 2, 1, 4, 5, 10, 8),
    "duck":    (1, 0, 1, 4, 5, 10, 8),
    "wait":    (1, 2, 0, 4, 5, 10, 8),
    "caution": (1, 1, 1, 0, 1, 4, 3),
    "steer":   (2, 2, 2, 1, 0, 3, 2),
    "go":      (2, 2, 2, 1, 1, 0, 1),
    "nothing": (2, 2, 2, 1, 1, 1, 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SlotScores:
    """Micro-averaged over moments."""

    moments: int
    f1: float | None
    interval: tuple[float, float] | None
    by_slot: dict[str, float | None]
    whole: Proportion
    """Sentences whose action, object and side are all those of one reference; right silence counts."""
    silence: Proportion
    """Of the moments at which nothing should be said: those that name nothing."""
    false_clear: Proportion
    """Of the moments at which something is there: those that name nothing."""


@dataclass(frozen=True, slots=True)
class ActionConfusion:
    """Cost-weighted confusion of actions."""

    table: dict[str, dict[str, int]]
    """due → said → how often"""
    mean_cost: float | None
    go_for_stop: Proportion
    """Of the moments that ask for stop, duck or wait: those answered with "go" or nothing."""


def read(text: str) -> dict[str, str]:
    """The filled slots of a sentence; {} where it names nothing."""
    slots = vocabulary.parse(text)
    if slots is None or not slots.object or text == vocabulary.CLEAR:
        return {}
    given = {"action": slots.action, "object": slots.object, "side": seen_side(slots.side), "modifier": slots.modifier}
    return {name: value for name, value in given.items() if value}


def compare(said: str, references: Sequence[str]) -> dict[str, Counts]:
    """Per slot, against the reference that agrees best."""
    spoken = read(said)
    return max((_against(spoken, read(reference)) for reference in references), key=_agreement)


def right(said: str, references: Sequence[str]) -> bool:
    """Same action, object and side as one of the references."""
    first = ("action", "object", "side")
    spoken = [read(said).get(name) for name in first]
    return any(spoken == [read(reference).get(name) for name in first] for reference in references)


def scores(pairs: Sequence[tuple[str, Sequence[str]]]) -> SlotScores:
    """pairs: (sentence, references)"""
    compared = [compare(text, references) for text, references in pairs]
    totals = [_sum(list(by_slot.values())) for by_slot in compared]
    nothing_due = [not read(text) for text, references in pairs if not read(references[0])]
    something_due = [not read(text) for text, references in pairs if read(references[0])]
    return SlotScores(
        len(pairs),
        f1(*_sum(totals)),
        f1_interval(totals),
        {name: f1(*_sum([by_slot[name] for by_slot in compared])) for name in NAMES},
        whole=Proportion.of(sum(right(text, references) for text, references in pairs), len(pairs)),
        silence=Proportion.of(sum(nothing_due), len(nothing_due)),
        false_clear=Proportion.of(sum(something_due), len(something_due)),
    )


def grammar(sentences: Sequence[str]) -> Proportion:
    """Those that hold to the vocabulary's grammar."""
    return Proportion.of(sum(not vocabulary.problems(text) for text in sentences), len(sentences))


def act(text: str) -> str:
    """Which of ACTS a sentence asks for."""
    if not read(text):
        return "nothing"
    opener, _, direction = read(text)["action"].partition(" ")
    return "steer" if opener == "keep" and direction in ("left", "right") else _ACT.get(opener, "go")


def cost(said: str, references: Sequence[str]) -> int:
    """What a sentence costs, against the reference for which it costs least."""
    return _cost(_due(said, references), act(said))


def confusion(pairs: Sequence[tuple[str, Sequence[str]]]) -> ActionConfusion:
    """pairs: (sentence, references)"""
    acts = [(_due(text, references), act(text)) for text, references in pairs]
    to_stop = [act(text) for text, references in pairs if {act(reference) for reference in references} <= _STOPS]
    return ActionConfusion(
        _table(Counter(acts)),
        ratio(sum(_cost(due, said) for due, said in acts), len(acts)),
        Proportion.of(sum(said in ("go", "nothing") for said in to_stop), len(to_stop)),
    )


def _table(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """due → said → how often, in the order of ACTS, without zeros. counts: of (due, said)"""
    table = {due: {said: counts[due, said] for said in ACTS if counts[due, said]} for due in ACTS}
    return {due: row for due, row in table.items() if row}


def _due(text: str, references: Sequence[str]) -> str:
    """The act that was due, by the reference for which a sentence costs least."""
    said = act(text)
    return min((act(reference) for reference in references), key=lambda due: _cost(due, said))


def _cost(due: str, said: str) -> int:
    return COSTS[due][ACTS.index(said)]


def _against(spoken: dict[str, str], reference: dict[str, str]) -> dict[str, Counts]:
    out = {}
    for name in NAMES:
        said, due = spoken.get(name), reference.get(name)
        hit = said is not None and said == due
        out[name] = (int(hit), int(said is not None and not hit), int(due is not None and not hit))
    return out


def _agreement(counts: dict[str, Counts]) -> tuple[float, int]:
    total = _sum(list(counts.values()))
    value = f1(*total)
    return 1.0 if value is None else value, total[0]


def _sum(counts: Sequence[Counts]) -> Counts:
    hit, false, missed = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    return hit, false, missed
