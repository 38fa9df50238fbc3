"""What sentences are worth against their references, with intervals over whole runs of moments that are alike. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from server.evaluation import slots
from server.evaluation.facts import Truth
from server.evaluation.measures import FEW, Proportion, f1_interval
from shared import vocabulary

STRETCH = 10
"""Moments in a row that are drawn together: they show much the same."""
Answer = tuple[str, Truth]
"""A sentence, and what was right."""


def worth(runs: Sequence[Sequence[Answer]]) -> dict[str, Any]:
    """Figures of one row. runs: walks, or stretches of one: drawn as wholes for the interval of the slot F1."""
    answers = [answer for run in runs for answer in run]
    whole = slots.scores([_pair(answer) for answer in answers])
    stops = [(stops_for(text), stops_for(truth.references[0])) for text, truth in answers]
    low, high = f1_interval([_sums(map(_counts, run)) for run in runs if run]) or (0.0, 1.0)
    return {
        "slot_f1": [whole.f1 or 0.0, low, high],
        "silence_right": whole.silence.share,
        "false_stops": _share([said for said, due in stops if not due]),
        "stop_recall": _share([said for said, due in stops if due]),
        "false_clear": whole.false_clear.share,
    }


def stretches(answers: Sequence[Answer], length: int) -> Iterator[Sequence[Answer]]:
    """Runs of so many answers in a row, the last one shorter."""
    for start in range(0, len(answers), length):
        yield answers[start : start + length]


def of_walks(walks: Sequence[Sequence[Answer]]) -> list[Sequence[Answer]]:
    """What to draw for an interval: whole walks, or stretches of STRETCH where they are few."""
    if len(walks) >= FEW:
        return list(walks)
    return [stretch for walk in walks for stretch in stretches(walk, STRETCH)]


def most_frequent(truths: Iterable[Truth]) -> str:
    """The best sentence that is due most often; silence where none is ever due."""
    counted = Counter(truth.references[0] for truth in truths if not truth.silent)
    return counted.most_common(1)[0][0] if counted else vocabulary.CLEAR


def stops_for(text: str) -> bool:
    """Whether a sentence asks to stop, duck or wait."""
    return slots.act(text) in ("stop", "duck", "wait")


def _share(flags: Sequence[bool]) -> list[float]:
    """Share and its 95 % interval."""
    counted = Proportion.of(sum(flags), len(flags))
    return [counted.share or 0.0, counted.low, counted.high]


def _pair(answer: Answer) -> tuple[str, Sequence[str]]:
    return answer[0], answer[1].references


def _counts(answer: Answer) -> slots.Counts:
    return _sums(slots.compare(*_pair(answer)).values())


def _sums(counts: Iterable[slots.Counts]) -> slots.Counts:
    hit, false, missed = (sum(column) for column in zip(*counts, strict=True))
    return hit, false, missed
