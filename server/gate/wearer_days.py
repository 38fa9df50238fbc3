"""What an A/B by wearer-day came to: flags and corrections an hour, and how often guidance was right. Pure.

    moments of the covered devices → wearer-days → arm by the same hash as when it was offered
    → sums of each arm, and the difference with its interval, wearer-days being the unit

A wearer-day counts for the arm that was drawn for it, whatever ran: who was out of reach in the morning chose nothing
(intention to treat). How many moments came from the drawn version is told beside it.

Nobody reports how long was walked. The audit stream is a uniform share of all chunks, so its moments measure the time:
each stands for CHUNK_S / AUDIT_SHARE seconds of guidance, at the share that devices have by default. Another share
changes the hours of both arms alike, and no accuracy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from server.dataset.sample_row import SampleRow
from server.gate import resample
from server.releases import days
from server.releases.rollout_rules import Rollout
from server.review import stats
from shared.chunk_format import CHUNK_S

AUDIT_SHARE = 0.05
HOURS_OF_AN_AUDIT = CHUNK_S / AUDIT_SHARE / 3600
DAYS_LEAST = 5
"""Wearer-days of an arm, below which no interval is believed."""
RESAMPLES = 2000
TRIED, CHAMPION = "tried", "champion"
MEASURES = (
    ("flags an hour", "lower", "flags", "hours"),
    ("corrections an hour", "lower", "corrections", "hours"),
    ("audit accuracy", "higher", "right", "audited"),
)
"""Name, what is better, and the fields of a WearerDay whose sums are divided."""


@dataclass(frozen=True, slots=True)
class WearerDay:
    """One wearer on one day."""

    wearer: str
    day: str
    arm: str
    """TRIED or CHAMPION."""
    moments: int
    as_drawn: int
    """Of them, those at which the drawn arm's model guided."""
    hours: float
    """Of guidance, by the audit stream."""
    flags: int
    """Presses of the wearer."""
    corrections: int
    audited: int
    """Moments of the audit stream that a person judged …"""
    right: int
    """… and found right."""


@dataclass(frozen=True, slots=True)
class OutcomeMeasure:
    """One figure of both arms."""

    name: str
    better: str
    """lower | higher"""
    tried: float | None
    """None where there is nothing to divide by."""
    champion: float | None
    difference: float | None
    interval: tuple[float, float] | None
    """95 % of the difference; None with fewer than DAYS_LEAST wearer-days in an arm."""

    @property
    def verdict(self) -> str:
        """In a word: better, worse, or that it cannot be told."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "cannot be told"
        return "better" if (self.interval[1] < 0) == (self.better == "lower") else "worse"


@dataclass(frozen=True, slots=True)
class DaysResult:
    """All of it."""

    version: str
    state: str
    days: tuple[WearerDay, ...]
    measures: tuple[OutcomeMeasure, ...]


def result(rollout: Rollout, rows: Iterable[SampleRow], devices: frozenset[str], *, now_utc: float) -> DaysResult:
    """What a rollout by wearer-day came to until it ended, or until now.

    rows: the newest of each moment; devices: those that it names, cohort included
    """
    until_utc = now_utc if rollout.state == "running" else rollout.changed_utc
    chosen = (row for row in rows if row.device in devices and rollout.started_utc <= row.timestamp < until_utc)
    found: defaultdict[tuple[str, str], list[SampleRow]] = defaultdict(list)
    for row in chosen:
        found[row.speaker_id or row.device, days.day_of(row.timestamp, rollout.day_begins_h)].append(row)
    counted = tuple(_counted(rollout, *key, moments) for key, moments in sorted(found.items()))
    return DaysResult(rollout.version, rollout.state, counted, tuple(_measures(counted)))


def _counted(rollout: Rollout, wearer: str, day: str, moments: Sequence[SampleRow]) -> WearerDay:
    tried = days.runs(rollout.version, wearer, day, rollout.days_percent)
    judged = [row for row in moments if stats.is_judged(row) and stats.in_audit(row)]
    return WearerDay(
        wearer,
        day,
        TRIED if tried else CHAMPION,
        len(moments),
        sum((row.model_version == rollout.version) == tried for row in moments),
        sum(map(stats.in_audit, moments)) * HOURS_OF_AN_AUDIT,
        sum("wearer" in row.flags for row in moments),
        sum(bool(row.correction_id) for row in moments),
        len(judged),
        sum(bool(row.was_correct) for row in judged),
    )


def _measures(counted: Sequence[WearerDay]) -> Iterator[OutcomeMeasure]:
    for name, better, of, per in MEASURES:
        tried, champion = (
            [(float(getattr(day, of)), float(getattr(day, per))) for day in counted if day.arm == arm]
            for arm in (TRIED, CHAMPION)
        )
        yield _measure(name, better, tried, champion)


def _measure(
    name: str, better: str, tried: list[tuple[float, float]], champion: list[tuple[float, float]]
) -> OutcomeMeasure:
    ours, theirs = _ratio(tried), _ratio(champion)
    if ours is None or theirs is None:
        return OutcomeMeasure(name, better, ours, theirs, None, None)
    enough = min(len(tried), len(champion)) >= DAYS_LEAST
    interval = resample.ratio_difference(tried, champion, resamples=RESAMPLES) if enough else None
    return OutcomeMeasure(name, better, ours, theirs, ours - theirs, interval)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    below = sum(per for _, per in pairs)
    return sum(of for of, _ in pairs) / below if below > 0 else None
