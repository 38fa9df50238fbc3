"""The log of what wearers agreed to. It only grows: what somebody said stays, with who wrote it down, when and how.

Only the deletion of a wearer changes older lines: their name becomes its hash, under which moments that still come are
refused, and what was said goes.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from server.consent import terms
from server.consent.tables import consents, declined
from server.consent.terms import EVERYBODY, NOTHING, Consent, Consents
from server.database import store as db
from server.database.distinct import distinct
from server.database.store import Store, open_store
from shared.errors import Refused

WEARER_MOST = 256
SETTINGS = "settings"
"""Who said what holds for those whom nobody has asked."""
_DELETED = "everything of this wearer was deleted"


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """One line of the log."""

    wearer: str
    at: float
    said_by: str
    how: str
    consent: Consent


def load(connection: Connection) -> Consents:
    """The newest answer of everybody. Raises: DatasetError."""
    newest = select(func.max(consents.c.id)).group_by(consents.c.wearer)
    rows = connection.execute(select(consents.c.wearer, consents.c.body).where(consents.c.id.in_(newest)))
    return Consents({wearer: terms.from_dict(body) for wearer, body in rows})


def read(store: Store) -> Consents:
    """The same, in a transaction of its own."""
    with store.reading() as connection:
        return load(connection)


class NewestConsents:
    """What everybody agrees to now, read again when somebody has said something since. Safe from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: tuple[int, Consents] = (-1, Consents())

    def __call__(self) -> Consents:
        """Raises: DatasetError."""
        with self._store.reading() as connection:
            last = connection.execute(select(func.max(consents.c.id))).scalar() or 0
            if last != self._known[0]:
                self._known = (last, load(connection))
        return self._known[1]


def of_home(home: Path) -> Consents:
    """The same of a server's folder. Raises: ConfigError, DatasetError."""
    with closing(open_store(home)) as store:
        return read(store)


def say(store: Store, answer: ConsentAnswer) -> None:
    """Write down what a wearer agreed to. Raises: Refused for no name, or nobody who says so."""
    if not answer.wearer.strip() or len(answer.wearer) > WEARER_MOST:
        raise Refused("This is no wearer's name.", hint="See: waycue-server consent list")
    if not answer.said_by.strip():
        raise Refused("Nobody says who wrote this down.", hint="Name them with --as.")
    with store.writing() as connection:
        _append(connection, answer)


def use_default(store: Store, default: str, *, now_s: float) -> bool:
    """From now on, this holds for wearers whom nobody has asked. default: "granted" or "ask". Whether it is new."""
    wanted = terms.DEFAULTS[default]
    with store.writing() as connection:
        if load(connection).of(EVERYBODY) == wanted:
            return False
        _append(connection, ConsentAnswer(EVERYBODY, now_s, SETTINGS, "consent.default", wanted))
    return True


def history(store: Store, wearer: str) -> list[ConsentAnswer]:
    """All that was written down of a wearer, oldest first."""
    names = (wearer, terms.hashed(wearer))
    query = select(consents).where(consents.c.wearer.in_(names)).order_by(consents.c.id)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [ConsentAnswer(row.wearer, row.at, row.said_by, row.how, terms.from_dict(row.body)) for row in rows]


def wearers(store: Store) -> list[str]:
    """Everybody of whom there is a moment, or who was asked, by name."""
    with store.reading() as connection:
        found = distinct(connection, who())
        asked = connection.execute(select(consents.c.wearer).distinct()).scalars().all()
    return sorted({*found, *(name for name in asked if name != EVERYBODY and not name.startswith("sha256:"))})


def moments(connection: Connection, wearer: str) -> int:
    """How many moments there are of a wearer; it counts them."""
    return int(connection.execute(select(func.count()).where(who() == wearer)).scalar_one())


def who() -> ColumnElement[str]:
    """Of the table of samples: whose moment it is."""
    return db.samples.c.wearer


def forget_wearer(connection: Connection, wearer: str, *, said_by: str, now_s: float) -> None:
    """Of a wearer only a hash is left, under which nothing is kept until somebody asks them anew. Idempotent."""
    name = terms.hashed(wearer)
    own = consents.c.wearer == wearer
    empty = terms.to_dict(NOTHING)
    connection.execute(update(consents).where(own).values(wearer=name, said_by="", how="", body=empty))
    newest = connection.execute(select(consents.c.how).where(consents.c.wearer == name).order_by(consents.c.id.desc()))
    if newest.scalar() != _DELETED:
        _append(connection, ConsentAnswer(name, now_s, said_by, _DELETED, NOTHING))


def _append(connection: Connection, answer: ConsentAnswer) -> None:
    connection.execute(
        insert(consents).values(
            wearer=answer.wearer,
            at=answer.at,
            said_by=answer.said_by,
            how=answer.how,
            body=terms.to_dict(answer.consent),
        )
    )


def decline(connection: Connection, device: str, record_id: str, *, now_s: float) -> bool:
    """Remember that a record came without consent: its files are not kept either. Whether it is new."""
    known = select(declined.c.at).where(declined.c.device == device, declined.c.record_id == record_id)
    if connection.execute(known).first() is not None:
        return False
    connection.execute(insert(declined).values(device=device, record_id=record_id, at=now_s))
    return True


def declined_of(connection: Connection, keys: Collection[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Which of these (device, record id) came without consent."""
    ids = [record_id for _, record_id in keys]
    query = select(declined.c.device, declined.c.record_id).where(declined.c.record_id.in_(ids))
    return frozenset((device, record_id) for device, record_id in connection.execute(query)) & frozenset(keys)


def accept_again(connection: Connection, device: str, record_id: str) -> None:
    """A record that was declined once may be kept now."""
    connection.execute(delete(declined).where(declined.c.device == device, declined.c.record_id == record_id))


def declined_count(store: Store) -> int:
    """How many records were not kept, for want of consent."""
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(declined)).scalar() or 0)
