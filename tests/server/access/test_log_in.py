"""Logging in and staying logged in: names, passwords, codes, links, tokens."""

from __future__ import annotations

import subprocess
import sys
import threading

import pyotp
import pytest

from server.access import hashed, login, totp
from server.access.invitations import MOST_HOURS, NewLogin
from server.access.lockout import FREE, MOST_NAME_S, Lockout
from server.access.login import LoginAttempt
from server.access.passwords import AT_ONCE, WAITING
from server.access.person import Role
from server.access.tokens import TokenScope
from shared.clock import ManualClock
from shared.errors import Refused, Transient
from tests.paths import ROOT
from tests.server.access.people import PASSWORD, Town


def clock(town: Town) -> ManualClock:
    assert isinstance(town.clock, ManualClock)
    return town.clock


def test_a_person_logs_in_by_name_however_it_is_written(site: Town) -> None:
    for name in ("Carl", "carl", " CARL "):
        result = login.attempt(site.access, LoginAttempt(name, PASSWORD))
        assert result.account is not None
        assert result.account.person.name == "Carl"
    assert login.attempt(site.access, LoginAttempt("Carl", PASSWORD + "x")).account is None
    assert login.attempt(site.access, LoginAttempt("Nobody", PASSWORD)).account is None


def test_an_unknown_name_costs_a_password_check_too(site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    real = site.access.passwords.is_right

    def is_right(password: str, kept: str) -> bool:
        checked.append(kept)
        return real(password, kept)

    monkeypatch.setattr(site.access.passwords, "is_right", is_right)
    login.attempt(site.access, LoginAttempt("Nobody", "x" * 12))
    login.attempt(site.access, LoginAttempt("Carl", "x" * 12))
    assert len(checked) == 2


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", "x" * 257, "Caroline Muster"])
def test_a_bad_password_is_refused(empty: Town, password: str) -> None:
    with pytest.raises(Refused):
        empty.access.passwords.hash(password, name="caroline muster")


def test_nothing_that_lets_somebody_in_is_kept_as_it_is(site: Town) -> None:
    account_id = site.id_of("Carl")
    secrets = [
        site.access.sessions.open(account_id),
        site.access.sessions.remember(account_id, ""),
        site.access.invitations.invite(Role.CAREGIVER, None, by="Ana"),
        site.access.tokens.make(account_id, "script", [TokenScope.READ]),
        PASSWORD,
    ]
    site.house.store.wipe()
    held = b"".join(path.read_bytes() for path in site.house.home.glob("waycue.sqlite*"))
    assert [secret for secret in secrets if secret.encode() in held] == []
    assert hashed.hash_of(secrets[0]).encode() in held


def test_a_session_ends_when_it_is_idle_and_in_any_case_after_a_month(site: Town) -> None:
    sessions, now = site.access.sessions, clock(site)
    token = sessions.open(site.id_of("Carl"))
    for _ in range(5):
        now.now_s += sessions.life.idle_s - 10
        used = sessions.account_of(token)
        if now.now_s > sessions.life.life_s:
            break
        assert used is not None
    assert used is None
    other = sessions.open(site.id_of("Carl"))
    now.now_s += sessions.life.idle_s
    assert sessions.account_of(other) is None
    assert sessions.account_of("") is None


def test_logging_out_everywhere_ends_every_session_of_that_person_alone(site: Town) -> None:
    sessions = site.access.sessions
    mine = [sessions.open(site.id_of("Carl")) for _ in range(3)]
    hers = sessions.open(site.id_of("Ana"))
    assert sessions.close_all(site.id_of("Carl")) == 3
    assert [sessions.account_of(token) for token in mine] == [None] * 3
    assert sessions.account_of(hers) is not None


def test_an_invitation_is_good_once_and_for_a_while(empty: Town) -> None:
    invitations = empty.access.invitations
    token = invitations.invite(Role.WEARER, frozenset({"Ada"}), by="Ana", hours=2)
    assert invitations.look(token) is not None
    assert invitations.look(token) is not None, "to look uses nothing up"
    made = invitations.redeem(token, NewLogin("Wendy", "hash"))
    assert empty.access.accounts.by_id(made) is not None
    with pytest.raises(Refused):
        invitations.redeem(token, NewLogin("Eve", "hash"))
    late = invitations.invite(Role.ADMIN, None, by="Ana", hours=2)
    clock(empty).now_s += 2 * 3600
    assert invitations.look(late) is None
    with pytest.raises(Refused):
        invitations.redeem(late, NewLogin("Eve", "hash"))
    assert [account.person.name for account in empty.access.accounts.all()] == ["Wendy"]


def test_a_name_that_is_taken_uses_no_invitation_up(site: Town) -> None:
    token = site.access.invitations.invite(Role.CAREGIVER, None, by="Ana")
    with pytest.raises(Refused, match="already"):
        site.access.invitations.redeem(token, NewLogin("cARL", "hash"))
    assert site.access.invitations.look(token) is not None


@pytest.mark.parametrize(
    ("role", "wearers", "hours"),
    [
        (Role.WEARER, None, 1),
        (Role.ADMIN, frozenset({"Ada"}), 1),
        (Role.CAREGIVER, None, 0),
        (Role.CAREGIVER, None, MOST_HOURS + 1),
        (Role.CAREGIVER, frozenset({""}), 1),
    ],
)
def test_an_invitation_that_makes_no_sense_is_refused(
    empty: Town, role: Role, wearers: frozenset[str] | None, hours: float
) -> None:
    with pytest.raises(Refused):
        empty.access.invitations.invite(role, wearers, by="Ana", hours=hours)


def test_a_reset_ends_what_was_open_before(site: Town) -> None:
    access, carl = site.access, site.id_of("Carl")
    session, token = access.sessions.open(carl), access.tokens.make(carl, "script", [TokenScope.READ])
    access.accounts.change(carl, totp=totp.new_totp())
    first = access.invitations.reset(carl, by="Ana")
    link = access.invitations.reset(carl, by="Ana")
    assert access.invitations.look(first) is None, "a newer link ends the older"
    assert access.sessions.account_of(session) is not None, "making a link changes nothing yet"
    access.invitations.redeem(link, NewLogin("ignored", access.passwords.hash("another long one", name="Carl")))
    assert access.sessions.account_of(session) is None
    assert access.tokens.account_of(token) is None
    assert login.attempt(access, LoginAttempt("Carl", PASSWORD)).account is None
    assert login.attempt(access, LoginAttempt("Carl", "another long one")).account is not None


def test_the_last_admin_stays(site: Town) -> None:
    with pytest.raises(Refused, match="last admin"):
        site.access.accounts.remove(site.id_of("Ana"))
    with pytest.raises(Refused, match="last admin"):
        site.access.accounts.allow(site.id_of("Ana"), Role.CAREGIVER, None)
    for name in ("Carl", "Wanda", "Ana"):
        site.access.accounts.remove(site.id_of(name))
    assert site.access.accounts.all() == []


def test_removing_somebody_leaves_nothing_of_theirs_open(site: Town) -> None:
    carl = site.id_of("Carl")
    session, token = site.access.sessions.open(carl), site.access.tokens.make(carl, "script", [TokenScope.READ])
    link = site.access.invitations.reset(carl, by="Ana")
    site.access.accounts.remove(carl)
    assert site.access.sessions.account_of(session) is None
    assert site.access.tokens.account_of(token) is None
    assert site.access.invitations.look(link) is None


def test_a_code_counts_once_and_only_beside_the_password(site: Town) -> None:
    secret, now = totp.new_totp(), clock(site)
    codes, kept = totp.new_recovery()
    site.access.accounts.change(site.id_of("Carl"), totp=secret, recovery=kept)

    def try_code(code: str, password: str = PASSWORD) -> bool:
        now.now_s += 2 * MOST_NAME_S
        return login.attempt(site.access, LoginAttempt("Carl", password, code)).account is not None

    assert not try_code("")
    now.now_s += 60
    code = pyotp.TOTP(secret).at(int(now.utc_s() + 2 * MOST_NAME_S))
    assert not try_code(code, "wrong password"), "a right code does not stand for a password"
    now.now_s -= 2 * MOST_NAME_S
    assert try_code(code)
    now.now_s -= 2 * MOST_NAME_S
    assert not try_code(code), "seen over somebody's shoulder, it is good for nothing"
    assert try_code(codes[0].lower().replace("-", " "))
    assert not try_code(codes[0])
    assert try_code(codes[1])


def test_a_token_does_what_it_says_until_it_ends(site: Town) -> None:
    tokens, carl = site.access.tokens, site.id_of("Carl")
    token = tokens.make(carl, "script", [TokenScope.READ, TokenScope.REVIEW], days=1)
    found = tokens.account_of(token)
    assert found is not None
    assert (found[0].person.name, found[1]) == ("Carl", frozenset({TokenScope.READ, TokenScope.REVIEW}))
    (listed,) = tokens.all(carl)
    assert listed.used_at_s is not None
    assert tokens.all(site.id_of("Ana")) == []
    assert not tokens.revoke(listed.id, site.id_of("Ana")), "nobody revokes another's"
    clock(site).now_s += 86400
    assert tokens.account_of(token) is None
    with pytest.raises(Refused):
        tokens.make(carl, "script", [])


def test_a_crowd_at_the_door_is_sent_away_at_once(site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, gate, inside = site.access.passwords, threading.Event(), threading.Semaphore(0)

    def verify(*_: object) -> bool:
        inside.release()
        return gate.wait(20)

    monkeypatch.setattr(passwords._hash, "verify", verify)
    crowd = [threading.Thread(target=passwords.is_right, args=("x" * 12, "")) for _ in range(AT_ONCE + WAITING)]
    for one in crowd:
        one.start()
    for _ in range(AT_ONCE):
        inside.acquire(timeout=20)
    while passwords._queue.acquire(timeout=0):  # until the last of the crowd waits too
        passwords._queue.release()
    with pytest.raises(Transient):
        passwords.is_right("x" * 12, "")
    assert not inside.acquire(blocking=False), "no more than two were hashed at once"
    gate.set()
    for one in crowd:
        one.join(20)


def test_guesses_cost_more_and_more_time_and_a_minute_at_most_for_a_name() -> None:
    lockout, keys = Lockout(), [("name", "carl")]
    waits: list[float] = []
    for _ in range(20):
        now_s = 1000.0 + 100 * len(waits)
        lockout.wrong(keys, now_s)
        waits.append(lockout.wait_s(keys, now_s))
    assert waits[: FREE - 1] == [0.0] * (FREE - 1)
    assert waits[FREE - 1 : FREE + 3] == [1.0, 2.0, 4.0, 8.0]
    assert max(waits) == MOST_NAME_S
    assert lockout.wait_s(keys, now_s + MOST_NAME_S) == 0
    lockout.right(keys)
    assert lockout.wait_s(keys, now_s) == 0


def test_a_right_password_does_not_clear_what_was_guessed_from_an_address() -> None:
    lockout, address = Lockout(), ("address", "192.0.2.7")
    for _ in range(FREE + 4):
        lockout.wrong([address], 10.0)
    lockout.right([("name", "mallory"), address])
    assert lockout.wait_s([address], 10.0) == 16.0


def test_what_people_look_at_is_written_down_once_a_minute_and_for_so_many_days(site: Town) -> None:
    audit, now = site.access.audit, clock(site)
    for _ in range(3):
        audit.note("Carl", "looked", "m-1")
        audit.note("Carl", "decided", "m-1")
    audit.flush()
    assert [entry.action for entry in audit.newest(about="m-1")] == ["decided", "decided", "decided", "looked"]
    now.now_s += 61
    audit.note("Carl", "looked", "m-1")
    audit.tick()
    assert len(audit.newest(name="Carl")) == 5
    now.now_s += 89 * 86400
    audit.tick()
    assert len(audit.newest()) == 5
    now.now_s += 2 * 86400
    audit.tick()
    assert audit.newest() == []


def test_accounts_of_a_damaged_database_are_copied() -> None:
    """In a process that has imported nothing but the check, as `waycue-server check --repair` does."""
    code = "from server.maintenance import check_database; from server.database import store; "
    code += "print('accounts' in store.metadata.tables)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "True\n", done.stderr
