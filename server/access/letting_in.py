"""What an admin does about people, by a page or by a program: one function each, and each is written down.

raises, all of them: Refused with what to do
"""

from __future__ import annotations

from dataclasses import dataclass

from server.access.accounts import PersonAccount, Wearers
from server.access.invitations import DEFAULT_HOURS
from server.access.person import Role
from server.access.service import Access
from shared.errors import Refused


class NoSuchAccount(Refused):
    """There is nobody with that number."""


class AboutAdmins(Refused):
    """It would make an admin, or touch an admin's account."""


@dataclass(frozen=True, slots=True)
class LettingIn:
    """by: the admin who asks. about_admins: whether it may make admins, and touch accounts of admins: a program whose
    token lacks that scope could let itself in as one."""

    access: Access
    by: str
    about_admins: bool = True

    def invite(self, role: Role, wearers: Wearers, *, hours: float = DEFAULT_HOURS) -> str:
        """The token of a link for somebody new."""
        self._check(role)
        token = self.access.invitations.invite(role, wearers, by=self.by, hours=hours)
        self._note("let in", detail=f"invited: {role}, {told(wearers)}")
        return token

    def reset(self, account_id: int, *, hours: float = DEFAULT_HOURS) -> str:
        """The token of a link with which somebody sets a new password."""
        account = self._touched(account_id)
        token = self.access.invitations.reset(account.id, by=self.by, hours=hours)
        self._note("let in", account, "a link for a new password")
        return token

    def allow(self, account_id: int, role: Role, wearers: Wearers) -> None:
        """Give somebody another role or other wearers."""
        account = self._touched(account_id)
        self._check(role)
        self.access.accounts.allow(account.id, role, wearers)
        self._note("changed", account, f"{role}, {told(wearers)}")

    def switch(self, account_id: int, *, off: bool) -> None:
        """Let somebody in no more for now, at once, or again: then their tokens work, and their log-ins have ended."""
        account = self._other(account_id) if off else self._touched(account_id)
        self.access.accounts.switch(account.id, off=off)
        self._note("changed", account, "switched off" if off else "switched on")

    def remove(self, account_id: int) -> None:
        """Take somebody's access away for good."""
        account = self._other(account_id)
        self.access.accounts.remove(account.id)
        self._note("removed", account)

    def revoke(self, account_id: int, token_id: int) -> None:
        """End somebody's token."""
        account = self._touched(account_id)
        if not self.access.tokens.revoke(token_id, account.id):
            raise NoSuchAccount(f"{account.person.name} has no token {token_id}.")
        self._note("changed", account, f"token {token_id} revoked")

    def one(self, account_id: int) -> PersonAccount:
        """Whoever has that number."""
        account = self.access.accounts.by_id(account_id)
        if account is None:
            raise NoSuchAccount("This account is not there any more.")
        return account

    def _touched(self, account_id: int) -> PersonAccount:
        account = self.one(account_id)
        self._check(account.person.role)
        return account

    def _check(self, role: Role) -> None:
        if role is Role.ADMIN and not self.about_admins:
            raise AboutAdmins("This token does nothing about admins.", hint="It needs the scope admin, too.")

    def _other(self, account_id: int) -> PersonAccount:
        account = self._touched(account_id)
        if account.person.name == self.by:
            raise Refused("This is your own account.", hint="Another admin can do it.")
        return account

    def _note(self, action: str, account: PersonAccount | None = None, detail: str = "") -> None:
        self.access.audit.note(self.by, action, account.person.name if account else "", detail=detail)


def told(wearers: Wearers) -> str:
    """Wearers in words. Pure."""
    return "all wearers" if wearers is None else ", ".join(sorted(wearers))
