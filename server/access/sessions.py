"""Log-ins of browsers: a random token in a cookie, of which the database has the hash.

A session ends IDLE_S after the last request and LIFE_S after the log-in, whichever is first; at once when its person
logs out, logs out everywhere, gets a new password or is removed. Tokens are made here alone: what a browser brings and
nobody made here is nobody's session (session fixation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from server.access import accounts, hashed, tables
from server.access.accounts import PersonAccount
from server.database.store import Store
from shared.clock import Clock

SEEN_EVERY_S = 300.0
"""How exactly it is written down when a session was used last: not a durable write for every picture."""
MOST_BROWSERS = 20
BROWSER_LIFE_S = 400 * 86400.0  # what browsers keep a cookie for


@dataclass(frozen=True, slots=True)
class SessionLife:
    """How long somebody stays logged in."""

    idle_s: float = 7 * 86400.0
    life_s: float = 30 * 86400.0


class Sessions:
    """The log-ins of all browsers. Safe from any thread and process."""

    def __init__(self, store: Store, clock: Clock, life: SessionLife = SessionLife()) -> None:
        self._store, self._clock, self.life = store, clock, life

    def open(self, account_id: int, *, instead_of: str = "") -> str:
        """A new token. instead_of: the session that the browser had, which ends."""
        token, now_s = hashed.new_secret(), self._clock.utc_s()
        with self._store.writing() as connection:
            self._sweep(connection, now_s)
            gone = tables.login_sessions.c.hash == hashed.hash_of(instead_of)
            connection.execute(delete(tables.login_sessions).where(gone))
            row = {"hash": hashed.hash_of(token), "account": account_id, "made_at": now_s, "seen_at": now_s}
            connection.execute(insert(tables.login_sessions).values(**row))
        return token

    def account_of(self, token: str) -> PersonAccount | None:
        """Whose session it is, None where there is none or it has ended."""
        table, now_s = tables.login_sessions, self._clock.utc_s()
        both = select(tables.accounts, table.c.seen_at.label("used_at"))
        query = both.join(table, table.c.account == tables.accounts.c.id).where(table.c.hash == hashed.hash_of(token))
        with self._store.reading() as connection:
            row = connection.execute(query.where(*self._alive(now_s))).first()
        if row is None:
            return None
        if not 0 <= now_s - row.used_at < SEEN_EVERY_S:
            with self._store.writing() as connection:
                mine = table.c.hash == hashed.hash_of(token)
                connection.execute(update(table).where(mine).values(seen_at=now_s))
        return accounts.read(row)

    def close(self, token: str) -> None:
        """End one session."""
        with self._store.writing() as connection:
            gone = tables.login_sessions.c.hash == hashed.hash_of(token)
            connection.execute(delete(tables.login_sessions).where(gone))

    def close_all(self, account_id: int) -> int:
        """End all sessions of an account, and forget its browsers. How many sessions there were."""
        with self._store.writing() as connection:
            browsers = tables.known_browsers
            connection.execute(delete(browsers).where(browsers.c.account == account_id))
            sessions = tables.login_sessions
            return connection.execute(delete(sessions).where(sessions.c.account == account_id)).rowcount

    def count(self, account_id: int) -> int:
        """How many sessions of an account have not ended."""
        table = tables.login_sessions
        query = select(table.c.hash).where(table.c.account == account_id, *self._alive(self._clock.utc_s()))
        with self._store.reading() as connection:
            return len(connection.execute(query).all())

    def remember(self, account_id: int, browser: str) -> str:
        """A token by which this browser is known again, whose guesses are counted by themselves
        (server.access.lockout). browser: the one that it has, which stays where it is this account's."""
        if self.knows(account_id, browser):
            return browser
        token, table = hashed.new_secret(), tables.known_browsers
        with self._store.writing() as connection:
            own = select(table.c.hash).where(table.c.account == account_id).order_by(table.c.made_at.desc())
            old = connection.execute(own.offset(MOST_BROWSERS - 1)).scalars().all()
            connection.execute(delete(table).where(table.c.hash.in_(old)))
            row = {"hash": hashed.hash_of(token), "account": account_id, "made_at": self._clock.utc_s()}
            connection.execute(insert(table).values(**row))
        return token

    def knows(self, account_id: int | None, browser: str) -> bool:
        """Whether somebody logged in to this account with this browser before."""
        table = tables.known_browsers
        query = select(table.c.hash).where(table.c.hash == hashed.hash_of(browser), table.c.account == account_id)
        with self._store.reading() as connection:
            return bool(browser) and connection.execute(query).first() is not None

    def _alive(self, now_s: float) -> tuple[Any, ...]:
        table = tables.login_sessions.c
        return (table.seen_at > now_s - self.life.idle_s, table.made_at > now_s - self.life.life_s)

    def _sweep(self, connection: Connection, now_s: float) -> None:
        table = tables.login_sessions
        idle, old = table.c.seen_at <= now_s - self.life.idle_s, table.c.made_at <= now_s - self.life.life_s
        connection.execute(delete(table).where(or_(idle, old)))
