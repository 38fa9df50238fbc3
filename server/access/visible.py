"""Which moments and which files a person may see: those of the wearers that their account names, as far as these agree
to it (server.consent.visible). Every route asks here, and nothing else decides it.

may_see(person, row)      one moment
may_see_wearer(…)         all moments of a wearer
clause(person)            the same as a condition on `samples`, None = all of them; of another table that says whose
wearers(person)           whose, where these can be named
may_open(store, …)        a file: one of the moments that name it may be seen
devices(store, person)    devices of which every moment may be seen
may_answer_for(…)         a wearer's answers and deletions are this person's
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, not_, select, union
from sqlalchemy.sql.elements import True_

from server.access.person import Person, Role
from server.consent import visible as consented
from server.consent.terms import wearer_of
from server.database import store as db
from server.database.store import Store
from server.dataset import part_paths, sample_row
from server.dataset.sample_row import SampleRow


def may_see(person: Person, row: SampleRow) -> bool:
    """Whether a person may see a moment, with all that belongs to it. Pure."""
    return may_see_wearer(person, wearer_of(row))


def may_see_wearer(person: Person, wearer: str) -> bool:
    """Whether a person may see what a wearer's moments are, and what the wearer agreed to. Pure."""
    if person.consents is not None:
        return consented.sees(person, wearer, person.consents)
    return person.wearers is None or wearer in person.wearers


def may_answer_for(person: Person, wearer: str) -> bool:
    """Whether a person may answer for a wearer, and delete what is theirs: an admin, or the wearer. Pure."""
    own = person.role is Role.WEARER and person.wearers is not None and wearer in person.wearers
    return person.role is Role.ADMIN or own


def may_delete(person: Person, row: SampleRow) -> bool:
    """Whether a person may delete a moment. Pure."""
    return may_answer_for(person, wearer_of(row))


def clause(person: Person, table: Table = db.samples) -> ColumnElement[bool] | None:
    """What `may_see` says, as a condition on `samples`; None = all of them. Pure. table: another one with a `wearer`"""
    if person.consents is not None and person.role is not Role.ADMIN:
        found = consented.clause(person, person.consents, table.c.wearer)
        return None if isinstance(found, True_) else found  # lists and sums of all cost no look at each moment
    return None if person.wearers is None else table.c.wearer.in_(sorted(person.wearers))


def wearers(person: Person) -> frozenset[str] | None:
    """Wearers of whom a person may see moments, None = of all, or of all but some. Pure."""
    if person.wearers is None or (person.consents is not None and person.role is Role.ADMIN):
        return None
    return frozenset(wearer for wearer in person.wearers if may_see_wearer(person, wearer))


def conditions(person: Person, table: Table = db.samples) -> list[ColumnElement[bool]]:
    """`clause` for a query's `where`: empty where there is nothing to restrict. Pure."""
    found = clause(person, table)
    return [] if found is None else [found]


def devices(store: Store, person: Person) -> frozenset[str] | None:
    """Devices of which a person may see every moment, None = of all: figures of a device are told to nobody else."""
    if (seen := clause(person)) is None:
        return None
    with store.reading() as connection:
        shown, hidden = (
            frozenset(connection.execute(select(db.samples.c.device).where(which).distinct()).scalars())
            for which in (seen, not_(seen))
        )
    return shown - hidden


def may_open(store: Store, person: Person, path: str) -> bool:
    """Whether a person may see a file of the dataset: a moment that they may see names it in its newest row.

    path: inside the dataset folder, as rows and parts name it
    """
    parts, records, samples = db.parts.c, db.records.c, db.samples.c
    named = parts.file == part_paths.key_of(path)  # and perhaps another file's parts: the rows tell
    same = (records.device == parts.device) & (records.record_id == parts.record_id)
    of_parts = select(records.chunk_id).join(db.parts, same).where(named)
    ids = union(of_parts, select(parts.record_id).where(named))
    with store.reading() as connection:
        bodies = connection.execute(select(samples.body).where(samples.sample_id.in_(ids))).scalars().all()
    rows = map(sample_row.from_dict, bodies)
    return any(path in sample_row.files_of(row) and may_see(person, row) for row in rows)
