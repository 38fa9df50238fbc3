"""The worst moments of some drives: what a person should look at first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.evaluation import slots, speech
from server.evaluation.facts import Drive, Moment
from shared import vocabulary

MOST, MOST_OF_A_KIND = 12, 4
MISSED, NEEDLESS, CLEAR, WORDS = "missed", "needless stop", "false clear", "wrong words"


@dataclass(frozen=True, slots=True)
class Worst:
    """One moment with its picture."""

    kind: str
    cost: float
    walk: str
    t_s: float
    due: str
    said: str
    picture: bytes
    """JPEG"""


def worst(drives: Sequence[Drive]) -> list[Worst]:
    """At most MOST, at most MOST_OF_A_KIND of a kind, the costliest first; only of drives that kept their pictures."""
    found = sorted((w for drive in drives if drive.pictures for w in _of(drive)), key=lambda w: -w.cost)
    chosen: list[Worst] = []
    for one in found:
        same = [w for w in chosen if w.kind == one.kind]
        close = any(w.walk == one.walk and abs(w.t_s - one.t_s) < 3.0 for w in same)
        if len(chosen) < MOST and len(same) < MOST_OF_A_KIND and not close:
            chosen.append(one)
    return chosen


def _of(drive: Drive) -> Iterator[Worst]:
    name = drive.course.name
    for missed in speech.answered(drive):
        if missed.by is None and not missed.covered and missed.event.tier == 1:
            event = missed.event
            middle_s = (event.t_visible_s + event.t_deadline_s) / 2
            at = _nearest(drive, middle_s)
            seen_s = event.t_deadline_s - event.t_visible_s
            due = f"{vocabulary.instruct(*event.thing)} In reach for {seen_s:.1f} s."
            yield Worst(MISSED, 8 + min(seen_s, 4) / 4, name, at.t_s, due, _head(at, event.thing), _picture(drive, at))
    for alarm in speech.false_alarms(drive):
        if alarm.utterance.tier == 1:
            at = _nearest(drive, alarm.utterance.t_s)
            cost = 2 + alarm.utterance.confidence + (alarm.kind == "absent")
            yield Worst(NEEDLESS, cost, name, at.t_s, _due(at), alarm.utterance.text, _picture(drive, at))
    for utterance in speech.false_clears(drive):
        at = _nearest(drive, utterance.t_s)
        yield Worst(CLEAR, 10, name, at.t_s, _due(at), utterance.text, _picture(drive, at))
    for at in drive.moments:
        if at.sampled and at.truth and at.words and (cost := slots.cost(at.words.text, at.truth.references)) > 2:
            sure = f"{at.words.text} (confidence {at.words.confidence:.2f})"
            yield Worst(WORDS, cost * at.words.confidence, name, at.t_s, _due(at), sure, _picture(drive, at))


def _nearest(drive: Drive, t_s: float) -> Moment:
    return min(drive.moments, key=lambda moment: abs(moment.t_s - t_s))


def _picture(drive: Drive, moment: Moment) -> bytes:
    return drive.pictures[moment.picture]


def _due(moment: Moment) -> str:
    return "unknown" if moment.truth is None else moment.truth.references[0]


def _head(moment: Moment, thing: tuple[str, str]) -> str:
    """What the hazard head thought instead."""
    score = next((s for name, side, s in moment.hazards if (name, side) == thing), 0.0)
    name, side, best = moment.hazards[0] if moment.hazards else ("nothing", "", 0.0)
    return f"nothing in time (its score {score:.2f}; best: {name} {side}, {best:.2f})"
