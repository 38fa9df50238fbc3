"""Deleting a moment, a walk or a wearer, now, so that nothing of it is left here, and a proof is.

    the plan is written down → its wishes are carried out (server.dataset.erasing) → what else names it goes
    → exports, models, caches → looked through → the WAL is emptied → the proof is written, the plan is gone

Every step may be done twice. A deletion that was cut off at any of them is found by its plan, and gone on with by the
next start, the next retention round or the next deletion (`finish`). A wearer's name is replaced by its hash first, so
that nothing comes in meanwhile.

What is kept: the ids of the records (`erasures`), so that a device's copy is refused when it comes; and the proof.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from sqlalchemy import Connection, MetaData, Table, delete, insert, inspect, select, update

from server.consent import register, terms
from server.consent.settings import ConsentSettings
from server.consent.tables import deletions
from server.database import review_tables as tables
from server.database import store as db
from server.database.store import Store
from server.dataset import (
    blobs,
    derived,
    erasing,
    feature_cache,
    help_calls,
    part_paths,
    record_log,
    row_log,
    view,
    wishes,
)
from server.dataset.folder import Dataset
from server.dataset.merge import Merge
from server.privacy import exports, leftovers, models, plans
from server.privacy import proof as proofs
from server.privacy.plans import DeletionKind, DeletionPlan
from server.privacy.proof import Proof
from shared import file_lock
from shared.clock import Clock
from shared.errors import Refused

LOCK = ".deleting.lock"
WAL_TRIES, WAL_AGAIN_S = 20, 0.1
"""A page of the review reads for milliseconds, a night's view for seconds."""
KEPT_TABLES = frozenset(("samples", "dataset_rows", "exported", "declined", "erasures", "alembic_version"))
"""Tables of which erasing takes care itself, or that keep ids so that what comes is refused, or folders found."""
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class DeletionPort:
    """What a deletion works on."""

    home: Path
    store: Store
    dataset: Dataset
    merge: Merge
    clock: Clock


def port_of(home: Path, store: Store, dataset: Dataset, clock: Clock, merge: Merge | None = None) -> DeletionPort:
    """What a deletion works on. merge: the running server's own, else one is made."""
    return DeletionPort(home, store, dataset, merge or Merge(store, dataset, clock), clock)


@dataclass(slots=True)
class _Work:
    """One deletion under way."""

    number: int
    plan: DeletionPlan
    by: str
    begun_at: float
    rows: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    exports: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def with_settings(plan: DeletionPlan, settings: ConsentSettings) -> DeletionPlan:
    """The plan with what the settings say of exports, models and backups. Pure."""
    backups = tuple(place.strip() for place in settings.backups.split(",") if place.strip())
    return replace(plan, exports=settings.exports, retire=settings.retire, backups=backups)


def begin(port: DeletionPort, plan: DeletionPlan, *, by: str) -> int:
    """Write a deletion down; from then on it will be done, whatever happens. Returns its number."""
    now_s = port.clock.utc_s()
    with port.store.writing() as connection:
        plan = plans.again(connection, plan)  # nothing comes in between: this transaction holds the write lock
        if plan.what is DeletionKind.WEARER:
            register.forget_wearer(connection, plan.name, said_by=by, now_s=now_s)
        values = {"by": by, "what": plan.what, "plan": plans.to_dict(plan), "proof": {}}
        row = insert(deletions).values(begun_at=now_s, ended_at=None, **values)
        return int(connection.execute(row.returning(deletions.c.id)).scalar_one())


def carry_out(port: DeletionPort, plan: DeletionPlan, *, by: str) -> Proof:
    """Delete, and return the proof. Raises: OSError, DatasetError; the deletion is then gone on with later."""
    number = begin(port, plan, by=by)
    finish(port)
    proof = proof_of(port.store, number)
    if proof is None:  # finished by another process, which ended it before it was proved
        raise Refused(f"Deletion {number} is under way.", hint="See: waycue-server consent proofs")
    return proof


def finish(port: DeletionPort) -> list[Proof]:
    """Go on with what was cut off. Returns the proofs. Raises: OSError, DatasetError."""
    with file_lock.locked(port.home / LOCK):
        return [_done(port, work) for work in _unfinished(port.store)]


def _unfinished(store: Store) -> list[_Work]:
    with store.reading() as connection:
        rows = connection.execute(
            select(deletions).where(deletions.c.ended_at.is_(None)).order_by(deletions.c.id)
        ).all()
    return [_Work(row.id, plans.from_dict(row.plan), row.by, row.begun_at) for row in rows]


def _done(port: DeletionPort, work: _Work) -> Proof:
    _erase(port, work)
    _other_rows(port, work)
    _rest(port, work)
    models.withdraw_adapter(port, work.plan)
    found = models.affected(port, work.plan)
    retired = models.retire(port, found) if work.plan.retire else ()
    work.left += models.left(port, found, retired)
    work.left += [f"copies of this server in {place}, from before" for place in work.plan.backups]
    work.left.append("what was copied from this server to elsewhere: nobody wrote that down")
    if not emptied(port.store):
        work.left.append("the database's write-ahead log, until nobody reads: the server empties it within the hour")
    proof = _proof(port, work, tuple(found), retired)
    with port.store.writing() as connection:
        values = {"ended_at": proof.ended_at, "plan": {}, "proof": proofs.to_dict(proof)}
        connection.execute(update(deletions).where(deletions.c.id == work.number).values(**values))
    emptied(port.store)
    logger.warning("Deletion %d by %s: %d moments.", work.number, work.by, proof.moments)
    return proof


def _erase(port: DeletionPort, work: _Work) -> None:
    """Through the wishes of the merge, which are crash-safe by themselves. A name's hash and the time of the plan make
    the same wish again."""
    plan = work.plan
    for device, names in plan.records.items():
        for some in wishes.in_pieces(names):
            wish = wishes.by_name(device, some, work.begun_at)
            with port.store.reading() as connection:
                known = wishes.known_body(connection, (device, wish.erase_id)) is not None
            outcome = port.merge.put_record(device, "erase", wish)
            if outcome.state == "refused" and not known:
                raise Refused(f"{outcome.reason}.", hint="These were not deleted.")
        work.rows["records"] += len(names)
    work.rows["samples"] = len(plan.moments)
    if plan.what is DeletionKind.BLUR:
        _replaced(port, plan)


def _replaced(port: DeletionPort, plan: DeletionPlan) -> None:
    """Delete the pictures and clips of which blurred ones have taken the place, unless another moment has them."""
    _note_parts(port, plan)
    with port.dataset.still(), port.store.reading() as connection:
        gone = set(plan.files) - erasing.still_used(connection, set(plan.files), but=())
        view.remove(port.dataset)
        blobs.drop(port.dataset.blobs, sorted(gone))


def _note_parts(port: DeletionPort, plan: DeletionPlan) -> None:
    """Where the parts lie now, into records.jsonl. Twice does no harm: a later line counts."""
    log, table = port.dataset.records, db.parts
    with port.dataset.appending(), port.store.writing() as connection:
        left = record_log.catch_up(connection, port.dataset, row_log.remembered_size(connection, log.name))
        own = table.c.record_id.in_(plan.blurred), table.c.kind.in_(set(plan.files.values()))
        rows = connection.execute(part_paths.rows().where(*own)).mappings().all()
        if rows:
            size = port.dataset.append_records([record_log.line_about("part", row) for row in rows])
            row_log.remember_size(connection, log.name, size)
    port.merge.recompose(sorted(left))


def _other_rows(port: DeletionPort, work: _Work) -> None:
    """Rows that name a moment in any table, those of later rooms included: by the column, not by a list of tables."""
    with port.dataset.still(), port.store.writing() as connection:
        for name in _naming(connection):
            table = Table(name, MetaData(), autoload_with=connection)
            for some in wishes.in_pieces(work.plan.moments):
                gone = connection.execute(delete(table).where(table.c.sample_id.in_(some))).rowcount
                work.rows[name] += gone
        _acts(connection, work)
        _walks(connection, work)
        leftovers.forget_names(connection, work.plan)


def _naming(connection: Connection) -> Iterator[str]:
    found = inspect(connection)
    for name in sorted(set(found.get_table_names()) - KEPT_TABLES):
        if any(column["name"] == "sample_id" for column in found.get_columns(name)):
            yield name


def _acts(connection: Connection, work: _Work) -> None:
    """Which decisions were made at once, of those that are gone: their numbers will be given to others."""
    acts = tables.review_acts
    gone = delete(acts).where(acts.c.review.not_in(select(tables.reviews.c.id)))
    work.rows[acts.name] += connection.execute(gone).rowcount


def _walks(connection: Connection, work: _Work) -> None:
    """Walks of which nothing is left, with the calls for help on them."""
    table, plan = db.walks, work.plan
    for some in wishes.in_pieces({*plan.walks, *([plan.name] if plan.what is DeletionKind.WALK else [])}):
        used = set(connection.execute(select(db.samples.c.walk_id).where(db.samples.c.walk_id.in_(some))).scalars())
        gone = [walk for walk in some if walk not in used]
        work.rows["walks"] += connection.execute(delete(table).where(table.c.walk_id.in_(gone))).rowcount
        work.rows[db.help_calls.name] += help_calls.forget_walks(connection, gone)


def _rest(port: DeletionPort, work: _Work) -> None:
    """Files outside the dataset, and exports."""
    plan = work.plan
    stems = {Path(path).stem for path in plan.files}
    derived.forget(port.home)
    feature_cache.forget(port.home / feature_cache.FOLDER, stems)
    work.files += leftovers.delete_files(port.home, plan)
    busy = leftovers.forget_nights(port.home, plan)
    if busy:
        work.left.append(busy)
    for told, gone in exports.take_back(port.store, plan.about, "mark" if plan.exports == "mark" else "remove"):
        work.exports.append(told)
        if not gone:
            work.left.append(f"the export {told}")
        work.files["exports"] += gone


def _proof(port: DeletionPort, work: _Work, found: tuple[str, ...], retired: tuple[str, ...]) -> Proof:
    plan, kept = work.plan, leftovers.still_there(port.dataset, work.plan)
    if kept:
        work.left.append(f"{len(kept)} files whose bytes belong to other moments, too")
    gone = Counter(kind for path, kind in plan.files.items() if path not in kept)
    return Proof(
        id=work.number,
        what=plan.what,
        by=work.by,
        begun_at=work.begun_at,
        ended_at=port.clock.utc_s(),
        moments=len(plan.about),
        records=sum(map(len, plan.records.values())),
        ids_sha256=proofs.ids_sha256(plan.about),
        rows={name: count for name, count in sorted(work.rows.items()) if count},
        files={name: count for name, count in sorted((work.files + gone).items()) if count},
        models=found,
        retired=retired,
        exports=tuple(work.exports),
        left=tuple(work.left),
        checked=not leftovers.found(port.store, port.dataset, plan),
    )


def emptied(store: Store) -> bool:
    """What was deleted lies in SQLite's WAL, or in rows of PostgreSQL's that nobody finds, until these are emptied; for
    that nobody may read meanwhile."""
    return any(store.wipe() or Event().wait(WAL_AGAIN_S) for _ in range(WAL_TRIES))


# --- looking back ---


def proof_of(store: Store, number: int) -> Proof | None:
    """The proof of a deletion; None where there is none yet."""
    with store.reading() as connection:
        body = connection.execute(select(deletions.c.proof).where(deletions.c.id == number)).scalar()
    return proofs.from_dict(body) if body else None


def all_proofs(store: Store) -> list[Proof]:
    """Every proof, the newest first."""
    with store.reading() as connection:
        bodies = connection.execute(select(deletions.c.proof).order_by(deletions.c.id.desc())).scalars().all()
    return [proofs.from_dict(body) for body in bodies if body]


def waiting(store: Store) -> int:
    """Deletions that were cut off and are not done yet."""
    return len(_unfinished(store))


def wearer_hash(wearer: str) -> str:
    """What is left of the name of a deleted wearer."""
    return terms.hashed(wearer)
