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
    candidates = [moment for drive in drives if drive.pictures for moment in _candidates(drive)]
    chosen: list[Worst] = []
    for moment in sorted(candidates, key=lambda moment: -moment.cost):
        if len(chosen) < MOST and _adds(moment, chosen):
            chosen.append(moment)
    return chosen


def _adds(moment: Worst, chosen: Sequence[Worst]) -> bool:
    """Whether few of its kind were chosen, none of them within 3 s of the same walk."""
    same = [other for other in chosen if other.kind == moment.kind]
    close = any(other.walk == moment.walk and abs(other.t_s - moment.t_s) < 3.0 for other in same)
    return len(same) < MOST_OF_A_KIND and not close


def _candidates(drive: Drive) -> Iterator[Worst]:
    yield from _missed(drive)
    for alarm in speech.false_alarms(drive):
        said = alarm.utterance
        if said.tier == 1:
            cost = 2 + said.confidence + (alarm.kind == "absent")
            yield _moment(drive, NEEDLESS, cost, _nearest(drive, said.t_s), said.text)
    for said in speech.false_clears(drive):
        yield _moment(drive, CLEAR, 10, _nearest(drive, said.t_s), said.text)
    yield from _wrong_words(drive)


def _missed(drive: Drive) -> Iterator[Worst]:
    for result in speech.event_results(drive):
        event = result.event
        if result.missed and event.tier == 1:
            at = _nearest(drive, (event.t_visible_s + event.t_deadline_s) / 2)
            seen_s = event.t_deadline_s - event.t_visible_s
            due = f"{vocabulary.instruct(*event.thing)} In reach for {seen_s:.1f} s."
            yield _moment(drive, MISSED, 8 + min(seen_s, 4) / 4, at, _head(at, event.thing), due)


def _wrong_words(drive: Drive) -> Iterator[Worst]:
    for at in drive.moments:
        words = at.words
        if at.sampled and at.truth and words and (cost := slots.cost(words.text, at.truth.references)) > 2:
            said = f"{words.text} (confidence {words.confidence:.2f})"
            yield _moment(drive, WORDS, cost * words.confidence, at, said)


def _moment(drive: Drive, kind: str, cost: float, at: Moment, said: str, due: str | None = None) -> Worst:
    return Worst(kind, cost, drive.course.name, at.t_s, due or _due(at), said, drive.pictures[at.picture])


def _nearest(drive: Drive, t_s: float) -> Moment:
    return min(drive.moments, key=lambda moment: abs(moment.t_s - t_s))


def _due(moment: Moment) -> str:
    return "unknown" if moment.truth is None else moment.truth.references[0]


def _head(moment: Moment, thing: tuple[str, str]) -> str:
    """What the hazard head thought instead."""
    score = next((s for name, side, s in moment.hazards if (name, side) == thing), 0.0)
    name, side, best = moment.hazards[0] if moment.hazards else ("nothing", "", 0.0)
    return f"nothing in time (its score {score:.2f}; best: {name} {side}, {best:.2f})"
