"""Utterances against what was there: who was warned in time, what was said for nothing, and how much. Pure.

A warning answers an event where it names the object, at the event's side or at a side where the object then is, begins
between EARLY_S before the thing came within reach and its deadline, and was not cut off before the word for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from server.evaluation.facts import Drive, Thing, Utterance
from server.evaluation.measures import EventRate, Proportion, Spread, f1, ratio
from server.walks import Event
from shared import vocabulary

SPEED_MPS = 1.1
REACH_M = 1.2
"""Where an event's deadline is: a cane's reach."""
EARLY_S = 2.0
"""A thing that is named this long before it comes within reach (2.2 m of way) is early, not false."""
LATE_S = 1.0
"""A thing that was within reach this long before is still being spoken about."""
REPEAT_S = 10.0
ANOTHER_S = 1.0
"""A thing that comes within reach when none such was for this long is another one."""


@dataclass(frozen=True, slots=True)
class EventResult:
    """An event, and the first utterance that warned of it in time."""

    event: Event
    by: Utterance | None
    covered: bool
    """Missed, but the same words had been said within REPEAT_S: the policy keeps silent on purpose."""

    @property
    def missed(self) -> bool:
        """Nobody was warned, and not on purpose."""
        return self.by is None and not self.covered

    @property
    def delay_s(self) -> float | None:
        """From coming within reach to the first sound."""
        return None if self.by is None else self.by.t_s - self.event.t_visible_s

    @property
    def distance_m(self) -> float | None:
        """What is left to walk, at SPEED_MPS, when the word for the thing begins."""
        return None if self.by is None else REACH_M + SPEED_MPS * (self.event.t_deadline_s - self.by.hazard_word_s)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An utterance about something that was not there."""

    utterance: Utterance
    kind: str
    """absent: no such thing near | side: it is there, but elsewhere"""


@dataclass(frozen=True, slots=True)
class Chunks:
    """Speak or keep silent, chunk by chunk.

    A chunk is hit where an utterance names a thing that is near; false where it has words, but none about such a
    thing; missed where nothing is said and the time of an event runs out that nobody spoke about; else rightly silent.
    """

    hit: int = 0
    false: int = 0
    missed: int = 0
    silent: int = 0

    @property
    def speak_f1(self) -> float | None:
        return f1(self.hit, self.false, self.missed)

    @property
    def silent_f1(self) -> float | None:
        return f1(self.silent, self.missed, self.false)

    def __add__(self, other: Chunks) -> Chunks:
        return Chunks(
            self.hit + other.hit, self.false + other.false, self.missed + other.missed, self.silent + other.silent
        )


def event_results(drive: Drive) -> list[EventResult]:
    """Every event of the course, with the utterance that warned of it."""
    words = [utterance for utterance in drive.utterances if utterance.guides]
    near = Near(drive)
    results = []
    for event in drive.course.events:
        by = next((utterance for utterance in words if _answers(utterance, event, near)), None)
        results.append(EventResult(event, by, by is None and any(_covers(utterance, event) for utterance in words)))
    return results


def false_alarms(drive: Drive) -> list[Alarm]:
    """Utterances of tiers 1 and 2 about what was not there. Where nobody annotated, none is called false."""
    near = Near(drive)
    alarms = []
    for utterance in drive.utterances:
        if not utterance.guides or utterance.tier > 2 or not near.known(utterance.t_s):
            continue
        if not near.justifies(utterance):
            named = any(utterance.thing[0] == name for name, _ in near.around(utterance))
            alarms.append(Alarm(utterance, "side" if named else "absent"))
    return alarms


def false_clears(drive: Drive) -> list[Utterance]:
    """ "Path is clear" while something was within reach."""
    near = Near(drive)
    return [u for u in drive.utterances if u.why == "clear" and near.between(u.t_s - 0.1, u.t_s + 0.1)]


def chunks(drive: Drive) -> Chunks:
    """Of one drive; see Chunks."""
    near = Near(drive)
    missed = [result.event for result in event_results(drive) if result.missed]
    total = Chunks()
    for start_s, end_s in _grid(drive):
        spoken = [u for u in drive.utterances if u.guides and start_s <= u.t_s < end_s]
        good = any(near.justifies(utterance) for utterance in spoken)
        late = any(start_s <= event.t_deadline_s < end_s for event in missed)
        if spoken:
            total += Chunks(hit=int(good), false=int(not good))
        else:
            total += Chunks(missed=int(late), silent=int(not late))
    return total


def same_words(utterances: Iterable[Utterance]) -> list[tuple[Utterance, Utterance]]:
    """Pairs with the same (object, side, tier) that began less than REPEAT_S apart."""
    last: dict[tuple[Thing, int], Utterance] = {}
    pairs = []
    for utterance in utterances:
        if not utterance.guides:
            continue
        key = (utterance.thing, utterance.tier)
        before = last.get(key)
        if before is not None and utterance.t_s - before.t_s < REPEAT_S:
            pairs.append((before, utterance))
        last[key] = utterance
    return pairs


def repeats(drive: Drive) -> list[tuple[Utterance, Utterance]]:
    """Those of `same_words` that are about the same thing, or about none: between the two, none such was out of reach
    for ANOTHER_S, or the second was for nothing. Two stairs down, one after the other, are two warnings."""
    near = Near(drive)
    return [pair for pair in same_words(drive.utterances) if not _about_another(*pair, near)]


def _about_another(first: Utterance, again: Utterance, near: Near) -> bool:
    return near.justifies(again) and near.absent_s(again.thing, first.t_s, again.t_s + EARLY_S) >= ANOTHER_S


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is said."""

    utterances: int
    """About the way."""
    unsure: int
    """How often it said that it is not sure."""
    words_per_minute: float | None
    """Of everything that is said."""
    duty: float | None
    """Share of the time with speech."""
    repeats: int
    same_words: int
    """Within REPEAT_S, repeats and what was said of another such thing."""


def amount(drives: Sequence[Drive]) -> Amount:
    said = [utterance for drive in drives for utterance in drive.utterances]
    seconds = sum(drive.course.duration_s for drive in drives)
    words = sum(len(vocabulary.words(utterance.text)) for utterance in said)
    speaking_s = sum(utterance.end_s - utterance.t_s for utterance in said)
    return Amount(
        utterances=sum(utterance.guides for utterance in said),
        unsure=sum(utterance.why == "unsure" for utterance in said),
        words_per_minute=ratio(60 * words, seconds, digits=2),
        duty=ratio(speaking_s, seconds),
        repeats=sum(len(repeats(drive)) for drive in drives),
        same_words=sum(len(same_words(drive.utterances)) for drive in drives),
    )


@dataclass(frozen=True, slots=True)
class Warnings:
    """How well was warned of events of one tier."""

    recall: Proportion
    covered: int
    """Missed on purpose: the same words had been said less than REPEAT_S before."""
    delay_s: Spread
    distance_m: Spread


def by_tier(results: Sequence[EventResult]) -> dict[int, Warnings]:
    return {tier: warnings([result for result in results if result.event.tier == tier]) for tier in (1, 2, 3)}


def warnings(results: Sequence[EventResult]) -> Warnings:
    return Warnings(
        Proportion.of(sum(result.by is not None for result in results), len(results)),
        sum(result.covered for result in results),
        Spread.of([result.delay_s for result in results if result.delay_s is not None]),
        Spread.of([result.distance_m for result in results if result.distance_m is not None]),
    )


def alarm_rate(drives: Sequence[Drive], alarms: int) -> EventRate:
    """Per annotated minute."""
    return EventRate.of(alarms, sum(Near(drive).known_s for drive in drives))


class Near:
    """What is within reach around a time, from the truth of the looks."""

    def __init__(self, drive: Drive) -> None:
        known = [(m.t_s, m.truth.there) for m in drive.moments if m.truth is not None]
        self._times = [t_s for t_s, _ in known]
        self._there = [there for _, there in known]
        self.known_s = drive.course.duration_s * len(known) / max(1, len(drive.moments))
        self._step_s = drive.course.duration_s / max(1, len(drive.moments))

    def known(self, t_s: float) -> bool:
        """Whether somebody annotated this time."""
        at = bisect_left(self._times, t_s - 2 * self._step_s)
        return at < len(self._times) and self._times[at] <= t_s + 2 * self._step_s

    def between(self, begin_s: float, end_s: float) -> frozenset[Thing]:
        """All that is within reach at some look in this time."""
        first, last = bisect_left(self._times, begin_s), bisect_right(self._times, end_s)
        return frozenset().union(*self._there[first:last])

    def around(self, utterance: Utterance) -> frozenset[Thing]:
        """All that an utterance may be about: within reach a little before or after it began."""
        return self.between(utterance.t_s - LATE_S, utterance.t_s + EARLY_S)

    def justifies(self, utterance: Utterance) -> bool:
        """Whether what an utterance names was there."""
        return utterance.thing in self.around(utterance)

    def absent_s(self, thing: Thing, begin_s: float, end_s: float) -> float:
        """The longest time without it before it came (again), between the two; 0 where nobody annotated."""
        first, last = bisect_left(self._times, begin_s), bisect_right(self._times, end_s)
        longest, since = 0.0, None
        for t_s, there in zip(self._times[first:last], self._there[first:last], strict=True):
            if thing in there and since is not None:
                longest = max(longest, t_s - since)
            since = None if thing in there else t_s if since is None else since
        return longest


def _answers(utterance: Utterance, event: Event, near: Near) -> bool:
    name, side = utterance.thing
    in_time = event.t_visible_s - EARLY_S <= utterance.t_s <= event.t_deadline_s
    heard = utterance.end_s >= utterance.hazard_word_s
    if name != event.object or not in_time or not heard:
        return False
    return side == event.side or (name, side) in near.between(utterance.t_s - 0.1, utterance.t_s + LATE_S)


def _covers(utterance: Utterance, event: Event) -> bool:
    ago = event.t_visible_s - EARLY_S - utterance.t_s
    return utterance.thing == event.thing and utterance.tier == event.tier and 0 < ago < REPEAT_S


def _grid(drive: Drive) -> Iterator[tuple[float, float]]:
    step, start = drive.course.chunk_s, 0.0
    while start < drive.course.duration_s - step / 4:
        yield start, start + step
        start += step
