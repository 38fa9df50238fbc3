"""How far a check is: it takes minutes where there is a million moments, and nobody waits long for silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
EVERY = 500


@dataclass(frozen=True, slots=True)
class CheckPart:
    """Where one part of a check stands."""

    name: str
    done: int
    total: int
    """0 = not known."""


Told = Callable[[CheckPart], None]


def nobody(_part: CheckPart) -> None:
    """Where nobody wants to know."""


def told(items: Iterable[Item], name: str, total: int, to: Told) -> Iterator[Item]:
    """The same items; `to` hears of every five-hundredth, and of the end."""
    to(CheckPart(name, 0, total))
    done = 0
    for item in items:
        yield item
        done += 1
        if done % EVERY == 0:
            to(CheckPart(name, done, max(total, done) if total else 0))
    to(CheckPart(name, done, done))
