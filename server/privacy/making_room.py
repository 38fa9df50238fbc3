"""Space for what comes: what is worth least is announced, and deleted with a proof when its day has come and the space
is needed then (server.privacy.space decides).

Moments are read class by class in the order of an index, a few hundred at a time, and no more of them than come to what
is needed. What was announced is written down (`space_expiries`) before anything is told or deleted. A round may be cut
off anywhere: a deletion is gone on with by its plan, and the next round reads anew what there is.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, or_, select, tuple_

from server.consent.settings import ConsentSettings
from server.consent.tables import expiries, space_expiries, space_rounds
from server.database import store as db
from server.database.store import Store
from server.dataset import wishes
from server.dataset.worth import Worth
from server.privacy import deletion, plans, space
from server.privacy.deletion import DeletionPort
from server.privacy.plans import DeletionKind
from server.privacy.proof import Proof
from server.privacy.space import DAY_S, GB, SpaceChoice, SpaceFacts, SpaceMoment, SpaceNeed
from server.privacy.space_settings import SpaceSettings
from shared.plural import several

AT_ONCE = 500
"""Moments that are read, announced or deleted at once: what a power cut makes be done again."""
NAMED_MOST = 10
"""Wearers that a sentence names; there may be a thousand."""
_BY = "space"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpaceDay:
    """What was announced for one day."""

    day: str
    """UTC, YYYY-MM-DD: none of it is deleted before."""
    wearer: str
    moments: int
    unreviewed: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SpaceStanding:
    """How it stands, as the last round left it."""

    at: float | None = None
    """When the last round was; None = there was none."""
    over_bytes: int = 0
    """More is stored than the settings allow."""
    short_bytes: int = 0
    """Of what is needed, or will be in `announce_days`, nothing that may go was found."""
    announced: tuple[SpaceDay, ...] = ()
    """The nearest day first."""

    @property
    def moments(self) -> int:
        return sum(day.moments for day in self.announced)

    @property
    def unreviewed(self) -> int:
        return sum(day.unreviewed for day in self.announced)

    @property
    def size_bytes(self) -> int:
        return sum(day.size_bytes for day in self.announced)


def measured(store: Store, a_day: float) -> SpaceFacts:
    """What there is now. a_day: bytes that come in a day. Raises: OSError."""
    disk = shutil.disk_usage(store.home)
    with store.reading() as connection:
        stored = connection.execute(select(db.stored_bytes.c.size_bytes)).scalar() or 0
    return SpaceFacts(disk.free, disk.total, stored, a_day)


def look(store: Store, settings: SpaceSettings, a_day: float, now_s: float) -> SpaceStanding:
    """What a round would announce and have announced; changes nothing. Raises: OSError."""
    left = begun = space.need(measured(store, a_day), settings)
    days: dict[tuple[str, str], list[int]] = {}
    for moment, choice, rest in space.plan(left, _moments(store, settings, now_s), settings, now_s):
        left = rest
        if choice in (SpaceChoice.ANNOUNCED, SpaceChoice.WAITS, SpaceChoice.DELETED):
            since = now_s if moment.announced_at is None else moment.announced_at
            counts = days.setdefault((_day(since, settings), moment.wearer), [0, 0, 0])
            counts[:] = counts[0] + 1, counts[1] + (not moment.reviewed), counts[2] + moment.size_bytes
    announced = tuple(SpaceDay(*key, *counts) for key, counts in sorted(days.items()))
    return SpaceStanding(now_s, round(begun.over), left.short, announced)


def standing(store: Store) -> SpaceStanding:
    """As the last round left it."""
    table = space_expiries.c
    sums = (func.count(), func.sum(table.unreviewed), func.sum(table.size_bytes))
    query = select(table.day, table.wearer, *sums).group_by(table.day, table.wearer).order_by(table.day, table.wearer)
    with store.reading() as connection:
        days = tuple(SpaceDay(*row) for row in connection.execute(query))
        last = connection.execute(select(space_rounds)).first()
    return SpaceStanding(last.at, last.over_bytes, last.short_bytes, days) if last else SpaceStanding(announced=days)


def run(port: DeletionPort, settings: SpaceSettings, consent: ConsentSettings, a_day: float) -> list[Proof]:
    """One round: announce, delete what is needed and due. Raises: OSError, DatasetError."""
    store, now_s, before = port.store, port.clock.utc_s(), standing(port.store)
    done, new = list[Proof](), 0
    left = begun = space.need(measured(store, a_day), settings)
    last: SpaceMoment | None = None
    steps = space.plan(left, _moments(store, settings, now_s), settings, now_s)
    while some := tuple(islice(steps, AT_ONCE)):
        last, _, left = some[-1]
        new += _write(store, some, settings, now_s)
        if ids := [moment.sample_id for moment, choice, _ in some if choice is SpaceChoice.DELETED]:
            done.append(_deleted(port, ids, consent))
    with store.writing() as connection:
        _take_back(connection, settings, last, ended=left.met)
        connection.execute(delete(space_rounds))
        values = {"id": 1, "at": now_s, "over_bytes": round(begun.over), "short_bytes": left.short}
        connection.execute(insert(space_rounds).values(**values))
    found = standing(store)
    if new or (found.short_bytes and not before.short_bytes):
        logger.warning("Space: %s", " ".join(in_words(found, settings)))
    if done:
        store.wipe()
    return done


def _deleted(port: DeletionPort, ids: Sequence[str], consent: ConsentSettings) -> Proof:
    with port.store.reading() as connection:
        plan = plans.of_moments(connection, ids, DeletionKind.SPACE)
    return deletion.carry_out(port, deletion.with_settings(plan, consent), by=_BY)


def _classes(settings: SpaceSettings) -> list[Worth]:
    return [
        worth
        for worth in Worth
        if worth is not Worth.UNKNOWN and (settings.unreviewed or worth is not Worth.UNREVIEWED)
    ]


def _moments(store: Store, settings: SpaceSettings, now_s: float) -> Iterator[SpaceMoment]:
    """All that may go, in the order of their worth; within a class what changed longest ago first."""
    soon = now_s + settings.announce_days * DAY_S
    for worth in _classes(settings):
        after = (-1.0, "")
        while True:
            with store.reading() as connection:
                found = connection.execute(query_of(worth, after)).all()
            for row in found:
                yield SpaceMoment(
                    row.sample_id,
                    row.wearer,
                    worth,
                    row.size_bytes,
                    row.state != "pending",
                    row.announced_at,
                    row.delete_at is not None and row.delete_at <= soon,
                    row.changed_at,
                )
            if len(found) < AT_ONCE:
                break
            after = (found[-1].changed_at, found[-1].sample_id)


def query_of(worth: Worth, after: tuple[float, str]) -> Select[Any]:
    """The next moments of a class behind (changed at, id), as the index has them. Bytes of spoken corrections are not
    counted: they have ids of their own."""
    table, told, aged = db.samples.c, space_expiries, expiries
    columns = (table.sample_id, table.wearer, table.state, table.changed_at)
    joined = db.samples.outerjoin(told, told.c.sample_id == table.sample_id)
    joined = joined.outerjoin(aged, aged.c.sample_id == table.sample_id)
    own = select(func.coalesce(func.sum(db.parts.c.size_bytes), 0)).where(
        db.parts.c.device == table.device, db.parts.c.record_id == table.sample_id
    )
    size = own.scalar_subquery().label("size_bytes")
    query = select(*columns, told.c.announced_at, aged.c.delete_at, size).select_from(joined)
    query = query.where(table.worth == worth, tuple_(table.changed_at, table.sample_id) > after)
    return query.order_by(table.changed_at, table.sample_id).limit(AT_ONCE)


def _write(
    store: Store, steps: Collection[tuple[SpaceMoment, SpaceChoice, SpaceNeed]], settings: SpaceSettings, now_s: float
) -> int:
    """What is announced now, and what is left to its age. Returns how many are new."""
    rows = [
        {
            "sample_id": moment.sample_id,
            "wearer": moment.wearer,
            "size_bytes": moment.size_bytes,
            "unreviewed": int(not moment.reviewed),
            "announced_at": now_s,
            "day": _day(now_s, settings),
        }
        for moment, choice, _ in steps
        if choice is SpaceChoice.ANNOUNCED
    ]
    aged = [
        moment.sample_id
        for moment, choice, _ in steps
        if choice is SpaceChoice.AGES and moment.announced_at is not None
    ]
    if rows or aged:
        with store.writing() as connection:
            connection.execute(delete(space_expiries).where(space_expiries.c.sample_id.in_(aged)))
            if rows:
                connection.execute(insert(space_expiries), rows)
    return len(rows)


def _take_back(connection: Connection, settings: SpaceSettings, last: SpaceMoment | None, *, ended: bool) -> None:
    """What may not go any more, and what lies behind the last one that is needed."""
    table, told = db.samples.c, space_expiries
    if ended and last is None:
        connection.execute(delete(told))
        return
    gone: ColumnElement[bool] = table.worth.not_in(_classes(settings))
    if ended and last is not None:
        behind = and_(table.worth == last.worth, table.changed_at > last.changed_at)
        gone = or_(gone, table.worth > last.worth, behind)
    joined = told.outerjoin(db.samples, table.sample_id == told.c.sample_id)
    own = select(told.c.sample_id).select_from(joined).where(or_(table.sample_id.is_(None), gone))
    for some in wishes.in_pieces(connection.execute(own).scalars().all()):
        connection.execute(delete(told).where(told.c.sample_id.in_(some)))


def _day(announced_at: float, settings: SpaceSettings) -> str:
    return datetime.fromtimestamp(announced_at + settings.announce_days * DAY_S, UTC).date().isoformat()


def in_words(found: SpaceStanding, settings: SpaceSettings) -> list[str]:
    """How it stands, a sentence for each thing. Pure."""
    return [*announced_in_words(found), *trouble(found, settings)]


def announced_in_words(found: SpaceStanding, wearers: Collection[str] | None = None) -> list[str]:
    """What may be deleted when. wearers: only what concerns these; None = everybody. Pure."""
    lines = []
    days: dict[str, list[SpaceDay]] = {}
    for day in found.announced:
        if wearers is None or day.wearer in wearers:
            days.setdefault(day.day, []).append(day)
    for name, own in sorted(days.items()):
        own.sort(key=lambda day: (-day.moments, day.wearer))
        whose = ", ".join(f"{day.moments} of {day.wearer}" for day in own[:NAMED_MOST])
        whose += f" and of {several(len(own) - NAMED_MOST, 'other')}" if len(own) > NAMED_MOST else ""
        many, unreviewed = several(sum(day.moments for day in own), "moment"), sum(day.unreviewed for day in own)
        size = sum(day.size_bytes for day in own) / GB
        lines.append(
            f"{many} ({size:.2f} GB) may be deleted from {name} on, where space is needed then ({whose}),"
            f" {unreviewed} not reviewed."
        )
    return lines


def trouble(found: SpaceStanding, settings: SpaceSettings) -> list[str]:
    """What the bound lacks, and what happens then. Pure."""
    lines = []
    if found.over_bytes:
        lines.append(f"{found.over_bytes / GB:.2f} GB more are stored than the settings of space allow.")
    if found.short_bytes:
        may = "" if settings.unreviewed else " What nobody has reviewed stays (space.unreviewed): review some."
        lines.append(
            f"{found.short_bytes / GB:.2f} GB that are needed cannot be made free: nothing more may go.{may}"
            " Intake goes on until limits.free_mb is left; then devices keep what they have, and wait."
        )
    return lines
