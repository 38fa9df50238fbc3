"""What a deletion is about, found before anything is deleted: the moments, and all that devices sent of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select

from server.consent import register
from server.database import store as db
from server.dataset import lookup, part_paths, wishes
from shared import strict
from shared.errors import Refused
from shared.plural import several

_SEE = "See: waycue-server samples list --state all"


class DeletionKind(StrEnum):
    """What a person asks to have deleted."""

    MOMENT = "moment"
    WALK = "walk"
    WEARER = "wearer"
    AGE = "age"
    """Moments that have reached their age; nobody asked."""
    SPACE = "space"
    """Moments that were worth least when space was needed; nobody asked."""
    BLUR = "blur"
    """Only pictures and clips, of which blurred ones have taken the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionPlan:
    """What a deletion removes. Written down before it begins, so that it can be gone on with."""

    what: DeletionKind
    name: str = ""
    """Of the walk or the wearer."""
    moments: tuple[str, ...]
    """Ids, sorted."""
    records: Mapping[str, tuple[str, ...]]
    """Device → ids of what it sent of these moments: the chunks, and what was said about them."""
    files: Mapping[str, str]
    """Path in the dataset → kind, of all their files, also blurred ones and those before them."""
    walks: tuple[str, ...] = ()
    blurred: tuple[str, ...] = ()
    """Of DeletionKind.BLUR: the moments, which stay."""
    exports: str = "remove"
    """What becomes of exports that hold some of it: remove or mark."""
    retire: bool = False
    backups: tuple[str, ...] = ()

    @property
    def about(self) -> tuple[str, ...]:
        """Moments of which exports and models may have something."""
        return self.moments or self.blurred

    @property
    def empty(self) -> bool:
        return not self.moments and not self.records


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """How much a plan takes."""

    moments: int = 0
    records: int = 0
    files: Mapping[str, int] = field(default_factory=dict)
    """Part kind → how many."""
    there: bool = True
    """False = there is no such thing."""


def counted(plan: DeletionPlan) -> PlanCounts:
    """What a plan comes to. Pure."""
    return PlanCounts(len(plan.moments), sum(map(len, plan.records.values())), dict(Counter(plan.files.values())))


def to_dict(plan: DeletionPlan) -> dict[str, Any]:
    """As plain JSON values."""
    return dict(strict.plain(plan))


def from_dict(value: Any) -> DeletionPlan:
    """Raises: MessageError."""
    return strict.read(DeletionPlan, value)


def of_moments(connection: Connection, ids: Iterable[str], what: DeletionKind = DeletionKind.MOMENT) -> DeletionPlan:
    """The plan to delete these. Raises: Refused naming one that there is not."""
    wanted = tuple(sorted(set(ids)))
    found = _some(connection, db.samples.c.sample_id, db.samples.c.sample_id, wanted)
    missing = sorted(set(wanted) - found)
    if missing:
        raise Refused(f"There is no moment {missing[0]!r:.110}.", hint=_SEE)
    return _plan(connection, what, "", wanted, _some_records(connection, wanted))


def named(connection: Connection, names: Sequence[str], wearer: str | None = None) -> DeletionPlan:
    """The plan of what a person names: a wearer, one walk, or moments. Raises: Refused."""
    if bool(names) == (wearer is not None):
        raise Refused("Name moments, one walk, or a wearer.", hint=_SEE)
    if wearer is not None:
        return of_wearer(connection, wearer)
    walks = select(db.samples.c.walk_id).where(db.samples.c.walk_id == names[0]).limit(1)
    if len(names) == 1 and connection.execute(walks).first() is not None:
        return of_walk(connection, names[0])
    return of_moments(connection, names)


def again(connection: Connection, plan: DeletionPlan) -> DeletionPlan:
    """The same plan with what came since it was made, for what is asked for by a name."""
    makers = {DeletionKind.WALK: of_walk, DeletionKind.WEARER: of_wearer}
    maker = makers.get(plan.what)
    if maker is None:
        return plan
    return replace(maker(connection, plan.name), exports=plan.exports, retire=plan.retire, backups=plan.backups)


def of_walk(connection: Connection, walk_id: str) -> DeletionPlan:
    """The plan to delete a walk: also what came of it and is no moment yet. Raises: Refused where there is none."""
    moments = select(db.samples.c.sample_id).where(db.samples.c.walk_id == walk_id)
    sent = db.records.c.walk_id == walk_id
    return _of(connection, DeletionKind.WALK, walk_id, moments.scalar_subquery(), sent)


def of_wearer(connection: Connection, wearer: str) -> DeletionPlan:
    """The plan to delete all of a wearer. Raises: Refused where nobody knows them."""
    own = db.records.c.wearer
    sent = or_(own == wearer, (own == "") & (db.records.c.device == wearer))
    moments = select(db.samples.c.sample_id).where(register.who() == wearer)
    return _of(connection, DeletionKind.WEARER, wearer, moments.scalar_subquery(), sent)


def _of(connection: Connection, what: DeletionKind, name: str, moments: Any, sent: ColumnElement[bool]) -> DeletionPlan:
    if not name:  # records without a wearer say "", and are their device's
        raise Refused(f"There is no {what} without a name.", hint=_SEE)
    ids = set(connection.execute(select(db.samples.c.sample_id).where(db.samples.c.sample_id.in_(moments))).scalars())
    own = _records(connection, sent)
    chunks = {*ids, *(record_id for device, record_id in own)}
    records = own | _some_records(connection, chunks)
    plan = _plan(connection, what, name, tuple(sorted(ids)), records)
    known = what is DeletionKind.WEARER and bool(register.load(connection).asked(name))
    if plan.empty and not known:
        raise unknown(what, name)
    return plan


def unknown(what: DeletionKind, name: str) -> Refused:
    """What to say of a name that is none."""
    return Refused(f"There is no {what} {name!r:.110}.", hint=_SEE)


def _plan(
    connection: Connection, what: DeletionKind, name: str, moments: tuple[str, ...], records: set[tuple[str, str]]
) -> DeletionPlan:
    by_device: dict[str, list[str]] = {}
    for device, record_id in sorted(records | _own_ids(connection, moments)):
        by_device.setdefault(device, []).append(record_id)
    walks = _some(connection, db.samples.c.walk_id, db.samples.c.sample_id, moments)
    return DeletionPlan(
        what=what,
        name=name,
        moments=moments,
        records={device: tuple(some) for device, some in by_device.items()},
        files=_files(connection, moments, records),
        walks=tuple(sorted(walks)),
    )


def _own_ids(connection: Connection, moments: Sequence[str]) -> set[tuple[str, str]]:
    """A moment has the id of its chunk, also where the chunk's record is not here."""
    table, found = db.samples, set[tuple[str, str]]()
    for some in wishes.in_pieces(moments):
        query = select(table.c.device, table.c.sample_id).where(table.c.sample_id.in_(some))
        found |= {(device, sample_id) for device, sample_id in connection.execute(query)}
    return found


_KINDS = {
    "frame_path": "frame",
    "audio_path": "audio",
    "clip_path": "clip",
    "correction_audio_path": "correction_audio",
}


def _files(connection: Connection, moments: Sequence[str], records: Iterable[tuple[str, str]]) -> dict[str, str]:
    found, by_device, parts = dict[str, str](), defaultdict[str, list[str]](list), db.parts.c
    for device, record_id in sorted(records):
        by_device[device].append(record_id)
    for device, record_ids in by_device.items():  # by the table's key
        for some in wishes.in_pieces(record_ids):
            query = select(part_paths.PATH, parts.kind).where(parts.device == device, parts.record_id.in_(some))
            found |= dict(connection.execute(query).all())
    for some in wishes.in_pieces(moments):
        bodies = select(db.dataset_rows.c.body).where(db.dataset_rows.c.sample_id.in_(some))
        for body in connection.execute(bodies).scalars():
            found |= {str(body[name]): kind for name, kind in _KINDS.items() if body.get(name)}
    return found


def _some(
    connection: Connection, wanted: ColumnElement[str], where: ColumnElement[str], names: Sequence[str]
) -> set[str]:
    return {
        value
        for some in wishes.in_pieces(names)
        for value in connection.execute(select(wanted).where(where.in_(some))).scalars()
    }


def _some_records(connection: Connection, chunks: Collection[str]) -> set[tuple[str, str]]:
    return {key for some in wishes.in_pieces(chunks) for key in _records(connection, lookup.of_chunks(some))}


def _records(connection: Connection, where: ColumnElement[bool]) -> set[tuple[str, str]]:
    query = select(db.records.c.device, db.records.c.record_id).where(where)
    return {(device, record_id) for device, record_id in connection.execute(query)}


def in_words(plan: DeletionPlan, counts: PlanCounts | None = None) -> list[str]:
    """What will go, a sentence for each thing, for whoever is asked to confirm it. counts: None = the plan's own"""
    counts = counts or counted(plan)
    names = {"frame": "picture", "audio": "sound", "clip": "clip", "correction_audio": "spoken correction"}
    said = ", ".join(several(counts.files[kind], name) for kind, name in names.items() if counts.files.get(kind))
    lines = [f"{several(counts.moments, 'moment')} will be deleted for good, with all that people decided there."]
    sent = f"{several(counts.records, 'record')} that devices sent"
    lines += [f"Also deleted: {f'{said}, and {sent}' if said else sent}."] if said or counts.records else []
    if plan.what is DeletionKind.WEARER:
        lines.append("Nothing of this wearer is stored any more, until somebody writes down a new consent.")
    exports = {"remove": "are removed", "mark": "are marked, and stay"}[plan.exports]
    lines.append(f"Exports that were made on this server and hold some of it {exports}.")
    learnt = "are retired" if plan.retire else "keep what they learnt; they are named"
    lines.append(f"Models that learnt from it {learnt}.")
    if plan.backups:
        lines.append(f"It stays in copies: {', '.join(plan.backups)}.")
    return [*lines, "It cannot be undone."]
