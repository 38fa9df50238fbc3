"""The parts of this room, put together for the page and the commands."""

from __future__ import annotations

from server.access.accounts import Accounts
from server.access.audit import AuditLog
from server.access.invitations import Invitations
from server.access.lockout import Lockout
from server.access.passwords import Passwords
from server.access.sessions import SessionLife, Sessions
from server.access.settings import AccessSettings
from server.access.tokens import ApiTokens
from server.consent.register import NewestConsents
from server.database.store import Store
from shared.clock import Clock

DAY_S = 86400.0


class Access:
    """Who may come in to a server. Safe from any thread."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: AccessSettings = AccessSettings(),  # noqa: B008  frozen
        *,
        passwords: Passwords | None = None,
    ) -> None:
        """passwords: None = those with argon2's own parameters, made when the first is needed"""
        self.store, self.clock, self.settings = store, clock, settings
        self.consents = NewestConsents(store)
        self.accounts = Accounts(store, clock)
        self.invitations = Invitations(store, clock)
        self.sessions = Sessions(store, clock, SessionLife(settings.idle_days * DAY_S, settings.login_days * DAY_S))
        self.tokens = ApiTokens(store, clock)
        self.lockout = Lockout()
        self.audit = AuditLog(store, clock, days=lambda: settings.audit_days)
        self._passwords = passwords
        self._any = False

    @property
    def passwords(self) -> Passwords:
        """Made late: it hashes one password to be able to take as long for a name that nobody has."""
        if self._passwords is None:
            self._passwords = Passwords()
        return self._passwords

    @property
    def has_accounts(self) -> bool:
        """Whether there is an account. Once there was one, this process asks for log-ins until it ends: whoever removes
        the last account does not open the page to everybody by that."""
        self._any = self._any or self.accounts.any()
        return self._any
