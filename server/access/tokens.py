"""API tokens: log-ins of programs. Shown once, kept as a hash, good for what their scopes say and never for more than
their owner may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, insert, select, update

from server.access import accounts, hashed, tables
from server.access.accounts import PersonAccount
from server.database.store import Store
from shared.clock import Clock
from shared.errors import Refused

PREFIX = "wct_"
MOST_EACH = 50
USED_EVERY_S = 300.0


class TokenScope(StrEnum):
    """What a token is good for."""

    READ = "read"
    """Look at moments, files and figures."""
    REVIEW = "review"
    """Decide about moments."""
    ADMIN = "admin"
    """What only admins may do."""
    ACCOUNTS = "accounts"
    """Let people in and out, for an admin's programs. About admins: with `ADMIN` beside it alone."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as lists show it."""

    id: int
    name: str
    """Of its owner."""
    label: str
    scopes: tuple[str, ...]
    made_at_s: float
    expires_at_s: float | None
    used_at_s: float | None


class ApiTokens:
    """The tokens of a server. Safe from any thread and process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def make(self, account_id: int, label: str, scopes: Collection[TokenScope], *, days: float | None = None) -> str:
        """A new token. days: how long it is good, None = until it is revoked. Raises: Refused."""
        label = accounts.checked_name(label)
        if not scopes:
            raise Refused("A token needs a scope.", hint=f"Choose of: {', '.join(TokenScope)}.")
        token, now_s = hashed.new_secret(PREFIX), self._clock.utc_s()
        row = {"hash": hashed.hash_of(token), "account": account_id, "label": label}
        row |= {
            "scopes": sorted(scopes),
            "made_at": now_s,
            "expires_at": None if days is None else now_s + days * 86400,
        }
        with self._store.writing() as connection:
            own = select(tables.api_tokens.c.id).where(tables.api_tokens.c.account == account_id)
            if len(connection.execute(own).all()) >= MOST_EACH:
                raise Refused(f"There are {MOST_EACH} tokens already.", hint="Revoke one first.")
            connection.execute(insert(tables.api_tokens).values(**row))
        return token

    def account_of(self, token: str) -> tuple[PersonAccount, frozenset[TokenScope]] | None:
        """(whose token it is, what it is good for), or None."""
        table, now_s = tables.api_tokens, self._clock.utc_s()
        found = select(tables.accounts, table.c.id.label("token"), table.c.scopes, table.c.expires_at, table.c.used_at)
        query = found.join(table, table.c.account == tables.accounts.c.id).where(table.c.hash == hashed.hash_of(token))
        with self._store.reading() as connection:
            row = connection.execute(query).first()
        if row is None or (row.expires_at is not None and row.expires_at <= now_s):
            return None
        if row.used_at is None or not 0 <= now_s - row.used_at < USED_EVERY_S:
            with self._store.writing() as connection:
                connection.execute(update(table).where(table.c.id == row.token).values(used_at=now_s))
        return accounts.read(row), frozenset(map(TokenScope, row.scopes))

    def all(self, account_id: int | None = None) -> list[ApiToken]:
        """Those of an account, or of all."""
        table = tables.api_tokens
        query = select(table, tables.accounts.c.name).join(tables.accounts, table.c.account == tables.accounts.c.id)
        if account_id is not None:
            query = query.where(table.c.account == account_id)
        with self._store.reading() as connection:
            rows = connection.execute(query.order_by(table.c.id)).all()
        return [ApiToken(r.id, r.name, r.label, tuple(r.scopes), r.made_at, r.expires_at, r.used_at) for r in rows]

    def revoke(self, token_id: int, account_id: int | None = None) -> bool:
        """End a token, of that account where one is named. Whether there was one."""
        table = tables.api_tokens
        query = delete(table).where(table.c.id == token_id)
        if account_id is not None:
            query = query.where(table.c.account == account_id)
        with self._store.writing() as connection:
            return bool(connection.execute(query).rowcount)
