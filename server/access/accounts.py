"""The people who may log in: a name, a role, whose moments they may see, how they prove who they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from server.access import tables
from server.access.person import Person, Role
from server.database.store import Store
from shared.clock import Clock
from shared.errors import Refused

LONGEST_NAME = 64
MOST_WEARERS = 200
_OWNED = (
    tables.login_sessions, tables.known_browsers, tables.invitations, tables.api_tokens, tables.push_browsers,
    tables.push_people,
)  # fmt: skip
Wearers = frozenset[str] | None
"""The `speaker_id`s whose moments a person may see; None = all."""


@dataclass(frozen=True, slots=True)
class PersonAccount:
    """Somebody who may log in."""

    id: int
    person: Person
    password: str
    """Its hash; "" = none."""
    provider_id: str
    """Issuer and subject of OpenID Connect; "" = none."""
    totp: str
    """Secret of the second factor; "" = none."""
    totp_step: int
    recovery: tuple[str, ...]
    made_at_s: float
    seen_at_s: float | None
    disabled: bool = False
    """They are let in no more, until an admin says so."""


class Accounts:
    """The accounts of a server. Safe from any thread and process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def any(self) -> bool:
        """Whether there is an account."""
        with self._store.reading() as connection:
            return connection.execute(select(tables.accounts.c.id).limit(1)).first() is not None

    def all(self) -> list[PersonAccount]:
        """By name."""
        with self._store.reading() as connection:
            rows = connection.execute(select(tables.accounts).order_by(tables.accounts.c.name_key)).all()
        return [read(row) for row in rows]

    def by_name(self, name: str) -> PersonAccount | None:
        """Whoever has that name, however it is written."""
        return self._one(tables.accounts.c.name_key == key_of(name))

    def by_id(self, account_id: int) -> PersonAccount | None:
        """Whoever has that number."""
        return self._one(tables.accounts.c.id == account_id)

    def by_provider(self, provider_id: str) -> PersonAccount | None:
        """Whoever logs in with the provider under that subject."""
        return self._one(tables.accounts.c.provider_id == provider_id) if provider_id else None

    def named(self, name: str) -> PersonAccount:
        """Raises: Refused where nobody has that name."""
        found = self.by_name(name)
        if found is None:
            raise Refused(f"Nobody is called {name!r:.80}.", hint="See: waycue-server accounts list")
        return found

    def change(self, account_id: int, **values: Any) -> None:
        """Set columns of an account."""
        with self._store.writing() as connection:
            connection.execute(update(tables.accounts).where(tables.accounts.c.id == account_id).values(**values))

    def allow(self, account_id: int, role: Role, wearers: Wearers) -> None:
        """Give somebody another role or other wearers; counts from their next request. Raises: Refused."""
        check_wearers(role, wearers)
        with self._store.writing() as connection:
            if role is not Role.ADMIN:
                _keep_an_admin(connection, account_id)
                _end_invitations(connection, account_id)
            values = {"role": role.value, "wearers": to_json(wearers)}
            connection.execute(update(tables.accounts).where(tables.accounts.c.id == account_id).values(**values))

    def switch(self, account_id: int, *, off: bool) -> None:
        """Let somebody in no more, at once, or again; it ends their log-ins. Raises: Refused for the last admin."""
        table, sessions = tables.accounts, tables.login_sessions
        with self._store.writing() as connection:
            if off:
                _keep_an_admin(connection, account_id)
                _end_invitations(connection, account_id)
                connection.execute(delete(sessions).where(sessions.c.account == account_id))
            connection.execute(update(table).where(table.c.id == account_id).values(disabled=off))

    def remove(self, account_id: int) -> None:
        """Take somebody's access away, at once, with all log-ins and tokens; what they decided stays, with their name.

        raises: Refused for the last admin while others have an account
        """
        with self._store.writing() as connection:
            _keep_an_admin(connection, account_id)
            _end_invitations(connection, account_id)
            for table in _OWNED:
                connection.execute(delete(table).where(table.c.account == account_id))
            connection.execute(delete(tables.accounts).where(tables.accounts.c.id == account_id))

    def seen(self, account_id: int) -> None:
        """Somebody has logged in."""
        self.change(account_id, seen_at=self._clock.utc_s())

    def use_step(self, account_id: int, step: int) -> bool:
        """Use up the code of a time step; False where another request was faster."""
        table = tables.accounts
        query = update(table).where(table.c.id == account_id, table.c.totp_step < step).values(totp_step=step)
        with self._store.writing() as connection:
            return bool(connection.execute(query).rowcount)

    def use_recovery(self, account_id: int, *, before: Sequence[str], left: Sequence[str]) -> bool:
        """Use up a recovery code; False where another request was faster."""
        table = tables.accounts
        with self._store.writing() as connection:
            kept = connection.execute(select(table.c.recovery).where(table.c.id == account_id)).scalar()
            if kept != list(before):
                return False
            connection.execute(update(table).where(table.c.id == account_id).values(recovery=list(left)))
        return True

    def _one(self, condition: Any) -> PersonAccount | None:
        with self._store.reading() as connection:
            row = connection.execute(select(tables.accounts).where(condition)).first()
        return None if row is None else read(row)


def add(connection: Connection, person: Person, *, now_s: float, **values: Any) -> int:
    """Write an account down within a transaction; its number. Raises: Refused where the name is taken or none."""
    check_wearers(person.role, person.wearers)
    name = checked_name(person.name)
    row: dict[str, Any] = {"password": "", "totp": "", "totp_step": 0, "recovery": [], "made_at": now_s, **values}
    row |= {"name": name, "name_key": key_of(name), "role": person.role.value, "wearers": to_json(person.wearers)}
    try:
        done = connection.execute(insert(tables.accounts).values(**row))
    except IntegrityError:
        raise Refused(f"There is an account {name!r} already.", hint="Choose another name.") from None
    return int(done.inserted_primary_key[0])  # type: ignore[index]  # an INSERT of one row has one


def checked_name(name: str) -> str:
    """A name that somebody may have. Raises: Refused."""
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    if not 1 <= len(plain) <= LONGEST_NAME or not plain.isprintable() or not any(sign.isalnum() for sign in plain):
        raise Refused(f"A name has 1 to {LONGEST_NAME} letters, digits, signs and spaces.", hint="Choose another.")
    return plain


def key_of(name: str) -> str:
    """A name as it is looked up: upper and lower case are one. Pure."""
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()[: 2 * LONGEST_NAME]


def check_wearers(role: Role, wearers: Wearers) -> None:
    """Raises: Refused where a role does not go with these wearers."""
    if role is Role.WEARER and not wearers:
        raise Refused("A wearer sees their own moments.", hint="Say under which name they wear the device.")
    if role is Role.ADMIN and wearers is not None:
        raise Refused("An admin sees all wearers' moments.", hint="Name no wearers, or choose another role.")
    if wearers is not None and not (len(wearers) <= MOST_WEARERS and all(0 < len(one) <= 96 for one in wearers)):
        raise Refused(f"At most {MOST_WEARERS} wearers can be named, each with 1 to 96 letters.")


def to_json(wearers: Wearers) -> list[str] | None:
    """Wearers as the database has them."""
    return None if wearers is None else sorted(wearers)


def from_json(value: Sequence[str] | None) -> Wearers:
    """Wearers from what the database has."""
    return None if value is None else frozenset(value)


def read(row: Any) -> PersonAccount:
    """An account from its row."""
    return PersonAccount(
        row.id,
        Person(row.name, Role(row.role), from_json(row.wearers)),
        row.password,
        row.provider_id or "",
        row.totp,
        row.totp_step,
        tuple(row.recovery),
        row.made_at,
        row.seen_at,
        row.disabled,
    )


def _keep_an_admin(connection: Connection, account_id: int) -> None:
    """Raises: Refused where the account is the last admin's, and others would be left without one."""
    table = tables.accounts.c
    others = connection.execute(select(table.role, table.disabled).where(table.id != account_id)).all()
    if others and not any(role == Role.ADMIN.value and not disabled for role, disabled in others):
        raise Refused("This is the last admin.", hint="Make another one first.")


def _end_invitations(connection: Connection, account_id: int) -> None:
    """End the links that somebody made: with one of an admin's they would let themselves in again."""
    table = tables.invitations
    name = select(tables.accounts.c.name).where(tables.accounts.c.id == account_id).scalar_subquery()
    connection.execute(delete(table).where(table.c.made_by == name))
