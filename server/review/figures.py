"""The statistics of server.review.stats and breakdown from the sums that the database keeps: they cost the same at a
hundred moments and at a million, and say the same as the sums over all rows.

What needs pictures or rows (light, error patterns with examples) is not here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, select, true

from server.database import store as db
from server.database.as_rows import as_rows
from server.database.store import Store
from server.dataset import judged, rollups
from server.dataset.judged import BETWEEN
from server.dataset.rollups import Tally
from server.dataset.sample_row import State
from server.review import order, stats
from server.review.breakdown import UNKNOWN, Contributor
from server.review.stats import Group, ReviewedShare, Summary, WalkCounts, WordingConfusion

BREAKDOWNS = {
    "by_wearer": "wearer",
    "by_place": "place",
    "by_walk": "walk",
    "by_environment": "env",
    "by_weather": "sky",
    "by_source": "source",
}
"""As server.review.breakdown names them, without the light → kind of cell."""
Tallies = Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class CourseFigures:
    """What tells whether guidance gets better."""

    weeks: tuple[Group, ...]
    """Oldest first, by the Monday of the week."""
    models: tuple[Group, ...]
    """The model of the newest moment last."""


def course(store: Store) -> CourseFigures:
    """From the sums alone."""
    with store.reading() as connection:
        weeks = tuple(_over_time(rollups.tallies(connection, "day"), by="week"))
        return CourseFigures(weeks, by_model(connection)[::-1])


def summary(store: Store, *, by: Literal["day", "week"] = "day") -> Summary:
    """What `stats.summary` says of all rows."""
    with store.reading() as connection:
        days = rollups.tallies(connection, "day")
        everything = _summed(days.values())
        walks = _walks(connection)
        return Summary(
            states=order.counts(connection),
            corrections=sum(walk.corrections for walk in walks),
            accuracy=ReviewedShare(everything.correct, everything.judged),
            audit=ReviewedShare(everything.audit_correct, everything.audit_judged),
            by_object=by_object(connection),
            by_model=by_model(connection),
            over_time=tuple(_over_time(days, by=by)),
            confusions=_confusions(rollups.tallies(connection, "wrong")),
            missed_words=tuple(stats.first(_moments(rollups.tallies(connection, "word")))),
            walks=walks,
        )


def accuracy(store: Store) -> dict[str, Any]:
    """How often guidance was right by what people confirmed, as plain JSON values: all, audit, by_object, by_model."""
    with store.reading() as connection:
        everything = _summed(rollups.tallies(connection, "day").values())
        return {
            "all": stats.share_to_dict(ReviewedShare(everything.correct, everything.judged)),
            "audit": stats.share_to_dict(ReviewedShare(everything.audit_correct, everything.audit_judged)),
            "by_object": [stats.group_to_dict(group) for group in by_object(connection)],
            "by_model": [stats.group_to_dict(group) for group in by_model(connection)],
        }


def by_object(connection: Connection) -> tuple[Group, ...]:
    """By what should have been said; the most frequent first."""
    return _most_judged(rollups.tallies(connection, "object"))


def by_model(connection: Connection) -> tuple[Group, ...]:
    """The model of the newest moment first, then by name."""
    tallies = rollups.tallies(connection, "model")
    found = [_group(name, tally) for name, tally in tallies.items() if tally.judged]
    newest = _newest(connection, [group.name for group in found])
    return tuple(sorted(found, key=lambda group: (-newest.get(group.name, 0.0), group.name)))


def _newest(connection: Connection, models: Sequence[str]) -> dict[str, float]:
    """Model → when its newest moment was. Its list is in the order of states and priorities, and then of time: each of
    these has its newest first, and they are leaped over as in `server.database.distinct`."""
    own = db.samples.c
    names, states = as_rows(connection, models).subquery(), as_rows(connection, get_args(State)).subquery()

    def first(model: Any, state: Any, *beyond: ColumnElement[bool]) -> ScalarSelect[Any]:
        return select(func.min(own.priority)).where(own.model == model, own.state == state, *beyond).scalar_subquery()

    model, state = names.c.value.label("model"), states.c.value.label("state")
    start = select(model, state, first(names.c.value, states.c.value).label("priority"))
    start = start.select_from(names.join(states, true()))
    leap = start.cte("leap", recursive=True)
    at = leap.c
    later = first(at.model, at.state, own.priority > at.priority)
    leap = leap.union_all(select(at.model, at.state, later).where(at.priority.is_not(None)))
    at = leap.c
    of_place = own.model == at.model, own.state == at.state, own.priority == at.priority
    newest = select(func.max(own.captured_at)).where(*of_place).scalar_subquery()
    query = select(at.model, func.max(newest)).where(at.priority.is_not(None)).group_by(at.model)
    return {name: float(when) for name, when in connection.execute(query)}


def groups(store: Store) -> dict[str, tuple[Group, ...]]:
    """What `breakdown.groups` says of all rows, but by light."""
    out = {}
    with store.reading() as connection:
        for name, kind in BREAKDOWNS.items():
            found = _most_judged(rollups.tallies(connection, kind))
            if any(group.name != UNKNOWN for group in found):
                out[name] = found[: stats.MOST]
    return out


def contributors(store: Store) -> tuple[Contributor, ...]:
    """What `breakdown.contributors` says of all rows."""
    decided: dict[str, Counter[str]] = {}
    with store.reading() as connection:
        for name, tally in rollups.tallies(connection, "author").items():
            author, _, state = name.rpartition(BETWEEN)
            decided.setdefault(author, Counter())[state] += tally.moments
        for wearer, tally in rollups.tallies(connection, "wearer").items():
            if tally.corrections:
                decided.setdefault(wearer, Counter())["corrections"] += tally.corrections
    people = [Contributor(name, own["reviewed"], own["rejected"], own["corrections"]) for name, own in decided.items()]
    return tuple(sorted(people, key=lambda one: (-one.confirmed - one.rejected, -one.corrections, one.name)))


def _most_judged(tallies: Tallies) -> tuple[Group, ...]:
    found = [_group(name, tally) for name, tally in tallies.items() if tally.judged]
    return tuple(sorted(found, key=lambda group: (-group.all.judged, group.name)))


def _group(name: str, tally: Tally) -> Group:
    own = ReviewedShare(tally.correct, tally.judged)
    return Group(name, own, ReviewedShare(tally.audit_correct, tally.audit_judged))


def _over_time(days: Tallies, *, by: Literal["day", "week"]) -> list[Group]:
    spans: dict[str, Tally] = {}
    for day, tally in days.items():
        name = day if by == "day" else judged.monday_of(day)
        spans[name] = _summed((spans.get(name, Tally()), tally))
    return [_group(name, spans[name]) for name in sorted(spans)]


def _confusions(tallies: Tallies) -> tuple[WordingConfusion, ...]:
    pairs = Counter({tuple(name.split(BETWEEN, 1)): tally.moments for name, tally in tallies.items()})
    return tuple(WordingConfusion(said, should, count) for (said, should), count in stats.first(pairs))


def _walks(connection: Connection) -> tuple[WalkCounts, ...]:
    table = db.walks
    splits = dict(connection.execute(select(table.c.walk_id, table.c.split)).all())
    walks = [
        WalkCounts(name, tally.moments, tally.corrections, splits.get(name, "train"))
        for name, tally in rollups.tallies(connection, "walk").items()
    ]
    return tuple(sorted(walks, key=lambda walk: (-walk.corrections, -walk.moments, walk.name)))


def _moments(tallies: Tallies) -> Counter[str]:
    return Counter({name: tally.moments for name, tally in tallies.items()})


def _summed(tallies: Iterable[Tally]) -> Tally:
    sums = [0] * 6
    for one in tallies:
        own = (one.moments, one.corrections, one.judged, one.correct, one.audit_judged, one.audit_correct)
        sums = [left + right for left, right in zip(sums, own, strict=True)]
    return Tally(*sums)
