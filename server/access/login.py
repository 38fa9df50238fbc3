"""One attempt to log in with a name, a password and, where it is set up, a code.

Every refusal is the same, whichever of the three was wrong, and takes one password check: nothing tells whether a name
exists or a password was right. Guesses are counted (server.access.lockout); how often an address may ask at all is
bounded before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from server.access import totp
from server.access.accounts import PersonAccount, key_of
from server.access.lockout import Key
from server.access.service import Access

WRONG = "The name, the password or the code is wrong."


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What somebody typed, and where they are."""

    name: str
    password: str = field(repr=False)
    code: str = field(default="", repr=False)
    """Of the second factor, or a recovery code; "" = none was typed."""
    network: str = ""
    """The address that they come from; an IPv6 one stands for its /64."""
    browser: str = field(default="", repr=False)
    """The token by which their browser is known, "" = none."""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """What became of it."""

    account: PersonAccount | None = None
    """Who is logged in; None = nobody."""
    wait_s: float = 0.0
    """How long to wait before the next attempt is read; 0 = not at all."""


def attempt(access: Access, typed: LoginAttempt) -> LoginResult:
    """Try to log somebody in. Raises: Transient where too many try at once."""
    now_s = access.clock.monotonic_s()
    account = access.accounts.by_name(typed.name)
    keys = _keys(access, typed, account)
    waits_s = access.lockout.wait_s(keys, now_s)
    if waits_s > 0:
        return LoginResult(wait_s=waits_s)
    right = access.passwords.is_right(typed.password, account.password if account else "")
    if account is None or not right or not _second_factor(access, account, typed.code):
        access.lockout.wrong(keys, now_s)
        # A name that nobody has may be a password in the wrong field: it is not written down.
        access.audit.note(account.person.name if account else "(unknown)", "refused", address=typed.network)
        return LoginResult(wait_s=access.lockout.wait_s(keys, now_s))
    access.lockout.right(keys)
    access.accounts.seen(account.id)
    access.audit.note(account.person.name, "logged in", address=typed.network)
    return LoginResult(account)


def _keys(access: Access, typed: LoginAttempt, account: PersonAccount | None) -> list[Key]:
    known = account is not None and access.sessions.knows(account.id, typed.browser)
    own: Key = ("browser", typed.browser) if known else ("name", key_of(typed.name))
    return [own] if known else [own, ("address", typed.network)]


def _second_factor(access: Access, account: PersonAccount, code: str) -> bool:
    """Whether the code is right, which is then used up; True where none is set up."""
    if not account.totp:
        return True
    if not code.strip():
        return False
    step = totp.step_of(account.totp, code, access.clock.utc_s(), after=account.totp_step)
    if step is not None:
        return access.accounts.use_step(account.id, step)
    left = totp.recovery_left(account.recovery, code)
    return left is not None and access.accounts.use_recovery(account.id, before=account.recovery, left=left)


def confirm(access: Access, account: PersonAccount, password: str) -> bool:
    """Whether somebody who is logged in knows the password; True where there is none, because they log in with the
    provider. Wrong guesses are counted by account. Raises: Transient."""
    now_s, keys = access.clock.monotonic_s(), [("browser", f"account {account.id}")]
    if not account.password:
        return True
    if access.lockout.wait_s(keys, now_s) > 0:
        return False
    right = access.passwords.is_right(password, account.password)
    if right:
        access.lockout.right(keys)
    else:
        access.lockout.wrong(keys, now_s)
    return right
