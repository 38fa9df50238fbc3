"""Moments that have reached their age are announced, and then deleted.

    a wearer's own number of days        the moment is deleted on that day, announced from `announce_days` before on
    the server's (`consent.days`)        the same; one that nobody has reviewed stays `unreviewed_days` longer. What is
                                         too old already when the setting comes is announced first, and waits as long

So nothing goes silently: each moment is written down as announced before it is deleted, and what was announced is told
by the page, the command and the log.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, case, delete, insert, select

from server.consent import register
from server.consent.settings import ConsentSettings
from server.consent.tables import expiries
from server.consent.terms import Consents
from server.database import store as db
from server.database.store import Store
from server.dataset import help_calls, wishes
from server.privacy import deletion, plans
from server.privacy.deletion import DeletionPort
from server.privacy.plans import DeletionKind
from server.privacy.proof import Proof
from shared.plural import several

EVERY_S = 3600.0
AT_ONCE = 500
"""Moments that one deletion takes: what a power cut makes be done again."""
DAY_S = 86_400.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AgedMoment:
    """What is known of a moment's age."""

    sample_id: str
    wearer: str
    taken_at: float
    """When it was recorded; by this server's clock where the device's was in the future."""
    reviewed: bool


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a moment is to be deleted."""

    sample_id: str
    wearer: str
    delete_at: float
    reviewed: bool
    announced_at: float


@dataclass(frozen=True, slots=True)
class RetentionRound:
    """What one round comes to."""

    announced: tuple[Expiry, ...] = ()
    """All that will be deleted, and is told: also those that were announced before."""
    due: tuple[Expiry, ...] = ()
    """What is to be deleted now."""


def ends_at(moment: AgedMoment, consents: Consents, settings: ConsentSettings) -> tuple[float, bool] | None:
    """(when a moment has reached its age, whether by its wearer's own word); None = never. Pure."""
    own, rule = consents.of(moment.wearer).days, settings.days
    if rule and not moment.reviewed:
        rule += settings.unreviewed_days
    if own and (not rule or own <= rule):
        return moment.taken_at + own * DAY_S, True
    return (moment.taken_at + rule * DAY_S, False) if rule else None


def decide(
    moments: Iterable[AgedMoment],
    told: Mapping[str, float],
    consents: Consents,
    settings: ConsentSettings,
    now_s: float,
) -> RetentionRound:
    """What is announced and what is due. told: moment → when it was announced. Pure."""
    announced, due, notice_s = list[Expiry](), list[Expiry](), settings.announce_days * DAY_S
    for moment in moments:
        end = ends_at(moment, consents, settings)
        if end is None or end[0] - notice_s > now_s:
            continue
        at, by_wearer = end
        since = told.get(moment.sample_id, now_s)
        delete_at = at if by_wearer else max(at, since + notice_s)
        expiry = Expiry(moment.sample_id, moment.wearer, delete_at, moment.reviewed, since)
        (due if delete_at <= now_s else announced).append(expiry)
    return RetentionRound(tuple(announced), tuple(due))


def look(store: Store, settings: ConsentSettings, now_s: float) -> RetentionRound:
    """What a round would do now; changes nothing. Raises: DatasetError."""
    with store.reading() as connection:
        return _look(connection, settings, now_s)


def _look(connection: Connection, settings: ConsentSettings, now_s: float) -> RetentionRound:
    consents = register.load(connection)
    limits = [days for days in (settings.days, *(one.days for one in consents.known.values())) if days]
    if not limits:
        return RetentionRound()
    before = now_s - (min(limits) - settings.announce_days) * DAY_S
    told = {row.sample_id: row.announced_at for row in connection.execute(select(expiries))}
    return decide(_aged(connection, before, now_s), told, consents, settings, now_s)


def _aged(connection: Connection, before: float, now_s: float) -> list[AgedMoment]:
    """Moments from before a time. One whose device's clock was in the future counts from when it came."""
    table = db.samples
    taken = case((table.c.captured_at < table.c.changed_at, table.c.captured_at), else_=table.c.changed_at)
    query = select(table.c.sample_id, register.who(), table.c.captured_at, table.c.changed_at, table.c.state)
    return [
        AgedMoment(sample_id, wearer, changed if captured > now_s else captured, state != "pending")
        for sample_id, wearer, captured, changed, state in connection.execute(query.where(taken <= before))
    ]


def run(port: DeletionPort, settings: ConsentSettings) -> list[Proof]:
    """One round: announce, go on with what was cut off, delete what is due; then what was erased since the last round
    is taken out of where SQL does not look. Raises: OSError, DatasetError."""
    now_s = port.clock.utc_s()
    with port.store.writing() as connection:
        found = _look(connection, settings, now_s)
        fresh = _announce(connection, found)
        help_calls.forget_old(connection, now_s=now_s)
    if fresh:
        told = "; ".join(in_words(RetentionRound(announced=tuple(fresh))))
        logger.warning("Announced: %s", told)
    done = deletion.finish(port)
    for start in range(0, len(found.due), AT_ONCE):
        some = [expiry.sample_id for expiry in found.due[start : start + AT_ONCE]]
        with port.store.reading() as connection:
            plan = plans.of_moments(connection, some, DeletionKind.AGE)
        done.append(deletion.carry_out(port, deletion.with_settings(plan, settings), by="consent.days"))
    deletion.emptied(port.store)
    return done


def _announce(connection: Connection, found: RetentionRound) -> list[Expiry]:
    """Write down what is told now; what has no end any more is taken back. Returns what is new."""
    known = set(connection.execute(select(expiries.c.sample_id)).scalars())
    listed = {expiry.sample_id: expiry for expiry in (*found.announced, *found.due)}
    for some in wishes.in_pieces(known):
        connection.execute(delete(expiries).where(expiries.c.sample_id.in_(some)))
    rows = [
        {"sample_id": one.sample_id, "announced_at": one.announced_at, "delete_at": one.delete_at}
        for one in listed.values()
    ]
    if rows:
        connection.execute(insert(expiries), rows)
    return [expiry for name, expiry in listed.items() if name not in known]


@dataclass(slots=True)
class AnnouncedDay:
    """What goes on one day."""

    day: str
    """UTC, YYYY-MM-DD."""
    moments: int = 0
    unreviewed: int = 0
    wearers: Counter[str] = field(default_factory=Counter)


def by_day(expiries_of: Sequence[Expiry]) -> list[AnnouncedDay]:
    """The announcement, the nearest day first. Pure."""
    days: dict[str, AnnouncedDay] = {}
    for one in sorted(expiries_of, key=lambda one: one.delete_at):
        day = datetime.fromtimestamp(one.delete_at, UTC).date().isoformat()
        found = days.setdefault(day, AnnouncedDay(day))
        found.moments += 1
        found.unreviewed += not one.reviewed
        found.wearers[one.wearer] += 1
    return list(days.values())


def in_words(found: RetentionRound) -> list[str]:
    """What was found, a sentence for each day. Pure."""
    lines = []
    if found.due:
        unreviewed = sum(not one.reviewed for one in found.due)
        lines.append(f"Due now: {several(len(found.due), 'moment')}, {unreviewed} not reviewed.")
    for day in by_day(found.announced):
        whose = ", ".join(f"{count} of {wearer}" for wearer, count in sorted(day.wearers.items()))
        lines.append(
            f"{several(day.moments, 'moment')} will be deleted on {day.day} ({whose}), {day.unreviewed} not reviewed."
        )
    return lines
