"""Passwords: argon2id through pwdlib, with its own parameters (64 MiB and three passes).

At most AT_ONCE are hashed at a time, and at most WAITING wait for that: forty strangers at once would otherwise take
2.5 GB of memory, and every thread that answers requests.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from pwdlib import PasswordHash
from pwdlib.exceptions import PwdlibError
from pwdlib.hashers.argon2 import Argon2Hasher

from server.access import hashed
from shared.errors import Refused, Transient

AT_ONCE, WAITING = 2, 8
WAIT_S = 5.0
SHORTEST, LONGEST = 10, 256


class Passwords:
    """Makes and checks hashes. Safe from any thread."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        """hasher: with other parameters; None = those of pwdlib"""
        self._hash = PasswordHash((hasher or Argon2Hasher(),))
        self._turns, self._queue = threading.BoundedSemaphore(AT_ONCE), threading.BoundedSemaphore(AT_ONCE + WAITING)
        self._nobodys = self._hash.hash(hashed.new_secret())

    def hash(self, password: str, *, name: str) -> str:
        """What the database keeps of a new password.

        name: whose it is to be. Raises: Refused where it is too short, too long or the name itself; Transient.
        """
        plain = _same(password)
        if not SHORTEST <= len(plain) <= LONGEST:
            raise Refused(f"A password has {SHORTEST} to {LONGEST} characters.", hint="A few words are easy to type.")
        if plain.casefold() == _same(name).casefold():
            raise Refused("The password is the name.", hint="Choose another.")
        if len(set(plain)) < 4:
            raise Refused("The password repeats the same few characters.", hint="Choose another.")
        with self._turn():
            return self._hash.hash(plain)

    def is_right(self, password: str, kept: str) -> bool:
        """Whether `kept` was made from this password. kept: "" = there is none; it takes as long. Raises: Transient."""
        plain = _same(password)[:LONGEST]
        with self._turn():
            try:
                same = self._hash.verify(plain, kept or self._nobodys)
            except PwdlibError:  # a damaged hash
                same = False
        return same and bool(kept)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with _held(self._queue, 0.0), _held(self._turns, WAIT_S):
            yield


@contextmanager
def _held(semaphore: threading.BoundedSemaphore, wait_s: float) -> Iterator[None]:
    """Raises: Transient where it is not free in time."""
    if not semaphore.acquire(timeout=wait_s):
        raise Transient("Many people log in at this moment.", hint="Try again in a minute.")
    try:
        yield
    finally:
        semaphore.release()


def _same(text: str) -> str:
    """One form for letters that keyboards compose in different ways (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", text)
