"""Links that let somebody in once: a new person with a role and the wearers they may see, or a person who forgot their
password. A link is good once and for a while; to look at it uses nothing up, because mail programs do that by
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from server.access import accounts, hashed, tables
from server.access.accounts import Wearers
from server.access.person import Person, Role
from server.database.store import Store
from shared.clock import Clock
from shared.errors import Refused

DEFAULT_HOURS = 72.0
MOST_HOURS = 24.0 * 30
GONE = "This link has been used, has expired, or was never one."


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """What a link is for."""

    role: Role
    wearers: Wearers
    account_id: int | None
    """Whose password it sets anew; None = somebody new."""
    name: str
    """Theirs; "" = somebody new chooses one."""
    expires_at_s: float


@dataclass(frozen=True, slots=True)
class NewLogin:
    """How somebody who follows a link will log in from then on: a password's hash, or the provider's subject."""

    name: str
    password: str = ""
    provider_id: str = ""


class Invitations:
    """The links that are open. Safe from any thread and process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def invite(self, role: Role, wearers: Wearers, *, by: str, hours: float = DEFAULT_HOURS) -> str:
        """The token of a link for somebody new. Raises: Refused where role and wearers do not go together."""
        accounts.check_wearers(role, wearers)
        return self._make(None, role, wearers, by=by, hours=hours)

    def reset(self, account_id: int, *, by: str, hours: float = DEFAULT_HOURS) -> str:
        """The token of a link with which somebody sets a new password; their older ones end."""
        with self._store.writing() as connection:
            connection.execute(delete(tables.invitations).where(tables.invitations.c.account == account_id))
        return self._make(account_id, Role.WEARER, None, by=by, hours=hours)

    def _make(self, account_id: int | None, role: Role, wearers: Wearers, *, by: str, hours: float) -> str:
        if not 0 < hours <= MOST_HOURS:
            raise Refused(f"A link is good for at most {MOST_HOURS:g} hours.")
        token, now_s = hashed.new_secret(), self._clock.utc_s()
        row: dict[str, Any] = {"hash": hashed.hash_of(token), "role": role.value}
        row |= {
            "wearers": accounts.to_json(wearers),
            "account": account_id,
            "made_by": by,
            "made_at": now_s,
            "expires_at": now_s + hours * 3600,
        }
        with self._store.writing() as connection:
            connection.execute(delete(tables.invitations).where(tables.invitations.c.expires_at <= now_s))
            connection.execute(insert(tables.invitations).values(**row))
        return token

    def withdraw_first(self) -> None:
        """End the open links for a first admin: the server prints a new one at each start."""
        with self._store.writing() as connection:
            connection.execute(delete(tables.invitations).where(tables.invitations.c.made_by == ""))

    def look(self, token: str) -> OpenInvitation | None:
        """What a link is for; None where it is good for nothing."""
        with self._store.reading() as connection:
            return self._open(connection, token)

    def redeem(self, token: str, login: NewLogin) -> int:
        """Use a link up: the number of the account that was made, or whose log-in was set anew.

        raises: Refused where the link is not good any more, or the name is taken
        """
        now_s = self._clock.utc_s()
        with self._store.writing() as connection:
            found = self._open(connection, token)
            if found is None:
                raise Refused(GONE, hint="Ask for a new one.")
            gone = tables.invitations.c.hash == hashed.hash_of(token)
            connection.execute(delete(tables.invitations).where(gone))
            values = {"password": login.password, "provider_id": login.provider_id or None}
            if found.account_id is None:
                person = Person(login.name, found.role, found.wearers)
                return accounts.add(connection, person, now_s=now_s, **values)
            _set_anew(connection, found.account_id, {name: value for name, value in values.items() if value})
            return found.account_id

    def _open(self, connection: Connection, token: str) -> OpenInvitation | None:
        table = tables.invitations
        query = select(table, tables.accounts.c.name).outerjoin(
            tables.accounts, table.c.account == tables.accounts.c.id
        )
        alive = table.c.expires_at > self._clock.utc_s()
        row = connection.execute(query.where(table.c.hash == hashed.hash_of(token), alive)).first()
        if row is None:
            return None
        wearers = accounts.from_json(row.wearers)
        return OpenInvitation(Role(row.role), wearers, row.account, row.name or "", row.expires_at)


def _set_anew(connection: Connection, account_id: int, values: dict[str, str | None]) -> None:
    """Another log-in for somebody; what was open under the one before ends. The second factor goes too: who lost the
    password has often lost the phone, and the admin who made the link vouches for them."""
    for table in (tables.login_sessions, tables.known_browsers, tables.api_tokens):
        connection.execute(delete(table).where(table.c.account == account_id))
    values = {**values, "totp": ""}
    connection.execute(update(tables.accounts).where(tables.accounts.c.id == account_id).values(recovery=[], **values))
