"""How long somebody waits who guesses passwords: by address, by name, and by browser.

    address   FREE guesses, then a wait that doubles up to MOST_ADDRESS_S
    name      the same, up to MOST_NAME_S: whoever it is that guesses, the name is free again after a minute
    browser   one that was logged in under this name before is counted by itself, and not by the name: a stranger's
              guesses keep nobody out who has logged in here before

A guess within a wait is refused unread and makes it no longer. What was counted is forgotten after FORGET_S, and when
the server starts anew. Names that nobody has are counted alike, so that the answer tells nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

FREE = 5
MOST_NAME_S, MOST_ADDRESS_S = 60.0, 900.0
FORGET_S = 3600.0
MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class WrongGuesses:
    """What is known of one key."""

    count: int = 0
    at_s: float = 0.0
    """Monotonic time of the last one."""

    def more(self, now_s: float) -> WrongGuesses:
        """After another wrong guess. Pure."""
        return WrongGuesses(1 if now_s - self.at_s > FORGET_S else self.count + 1, now_s)

    def wait_s(self, now_s: float, most_s: float) -> float:
        """How long until the next guess is read. Pure."""
        if self.count < FREE or now_s - self.at_s > FORGET_S:
            return 0.0
        return max(0.0, self.at_s + min(most_s, 2.0 ** min(self.count - FREE, 30)) - now_s)


Key = tuple[str, str]
"""("address" | "name" | "browser", which)"""


class Lockout:
    """Counts wrong guesses. Safe from any thread; beyond MOST_KEYS the key that was used longest ago is forgotten."""

    def __init__(self) -> None:
        self._known: dict[Key, WrongGuesses] = {}
        self._lock = threading.Lock()

    def wait_s(self, keys: Sequence[Key], now_s: float) -> float:
        """How long whoever has these keys waits; 0 = not at all."""
        with self._lock:
            return max(self._known.get(key, WrongGuesses()).wait_s(now_s, _most_s(key)) for key in keys)

    def wrong(self, keys: Sequence[Key], now_s: float) -> None:
        """A guess was wrong."""
        with self._lock:
            for key in keys:
                self._known[key] = self._known.pop(key, WrongGuesses()).more(now_s)
            while len(self._known) > MOST_KEYS:
                del self._known[next(iter(self._known))]

    def right(self, keys: Sequence[Key]) -> None:
        """A guess was right: what was counted against the name or the browser is forgotten. That of the address stays:
        whoever has an account would otherwise clear it between two guesses at another's."""
        with self._lock:
            for key in keys:
                if key[0] != "address":
                    self._known.pop(key, None)


def _most_s(key: Key) -> float:
    return MOST_ADDRESS_S if key[0] == "address" else MOST_NAME_S
