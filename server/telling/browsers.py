"""Browsers that people have told of themselves to be told by web push, and what each of these people wants to hear.

Who has removed their account is told nothing any more: their rows go with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from sqlalchemy import delete, func, insert, select

from server.access import accounts, tables
from server.access.person import Person, Role
from server.database.store import Store
from server.telling import people
from server.telling.people import PersonTold
from server.telling.step import NewsKind
from server.telling.webpush import PushSubscription
from shared.clock import Clock
from shared.errors import Refused

BROWSERS_MOST = 10
FOR_ROLES = {
    Role.WEARER: frozenset({NewsKind.CORRECTION}),
    Role.CAREGIVER: frozenset({NewsKind.CORRECTION, NewsKind.HELP}),
    Role.ADMIN: frozenset(NewsKind),
}
"""What people of a role may hear of."""


@dataclass(frozen=True, slots=True)
class PushBrowser:
    """One browser of a person."""

    id: int
    subscription: PushSubscription
    made_at_s: float


@dataclass(frozen=True, slots=True)
class PushPerson:
    """Somebody with at least one browser."""

    account_id: int
    person: Person
    choices: PersonTold
    browsers: tuple[PushBrowser, ...]

    @property
    def name(self) -> str:
        """As what was told to them is remembered; no name of telling.toml has a space."""
        return f"account {self.account_id}"


class PushBrowsers:
    """The browsers of a server. Safe from any thread and process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def add(self, account_id: int, subscription: PushSubscription) -> None:
        """Take a browser in; one that is known is its newest owner's. Raises: Refused for too many."""
        table = tables.push_browsers
        row = {"account": account_id, "hash": subscription.hash, "endpoint": subscription.endpoint}
        row |= {"p256dh": subscription.p256dh, "auth": subscription.auth, "made_at": self._clock.utc_s()}
        with self._store.writing() as connection:
            connection.execute(delete(table).where(table.c.hash == subscription.hash))
            own = select(func.count()).select_from(table).where(table.c.account == account_id)
            if (connection.scalar(own) or 0) >= BROWSERS_MOST:
                raise Refused(f"You have {BROWSERS_MOST} browsers here already.", hint="Remove one first.")
            connection.execute(insert(table).values(**row))

    def remove(self, browser_id: int, account_id: int) -> bool:
        """Whether there was such a browser of theirs."""
        table = tables.push_browsers
        with self._store.writing() as connection:
            own = delete(table).where(table.c.id == browser_id, table.c.account == account_id)
            return bool(connection.execute(own).rowcount)

    def drop(self, subscription: PushSubscription) -> None:
        """Its push service says that it is gone."""
        table = tables.push_browsers
        with self._store.writing() as connection:
            connection.execute(delete(table).where(table.c.hash == subscription.hash))

    def choose(self, account_id: int, choices: PersonTold) -> None:
        """What they want to hear, and when. Raises: ConfigError."""
        people.check_choices("your choice", choices)
        table, row = tables.push_people, asdict(choices)
        row = {name: row[name] for name in ("kinds", "quiet", "zone", "cool_down_h", "help_in_quiet")}
        with self._store.writing() as connection:
            connection.execute(delete(table).where(table.c.account == account_id))
            connection.execute(insert(table).values(account=account_id, **row))

    def choices(self, account_id: int) -> PersonTold:
        """As they chose, or what holds for who did not."""
        table = tables.push_people
        with self._store.reading() as connection:
            row = connection.execute(select(table).where(table.c.account == account_id)).first()
        if row is None:
            return PersonTold()
        kinds = tuple(row.kinds)
        return PersonTold((), kinds, row.quiet, row.zone, row.cool_down_h, help_in_quiet=row.help_in_quiet)

    def of(self, account_id: int) -> tuple[PushBrowser, ...]:
        """Their browsers, oldest first."""
        table = tables.push_browsers
        with self._store.reading() as connection:
            rows = connection.execute(select(table).where(table.c.account == account_id).order_by(table.c.id)).all()
        return tuple(
            PushBrowser(row.id, PushSubscription(row.endpoint, row.p256dh, row.auth), row.made_at) for row in rows
        )

    def any(self) -> bool:
        """Whether anybody has one."""
        with self._store.reading() as connection:
            return connection.execute(select(tables.push_browsers.c.id).limit(1)).first() is not None

    def everybody(self) -> Iterator[PushPerson]:
        """Who has a browser here."""
        table, has = tables.accounts, select(tables.push_browsers.c.account)
        with self._store.reading() as connection:
            rows = connection.execute(
                select(table).where(table.c.id.in_(has), table.c.disabled.is_(False)).order_by(table.c.id)
            ).all()
        for found in map(accounts.read, rows):
            yield PushPerson(found.id, found.person, self.choices(found.id), self.of(found.id))
