"""The round: look, decide, send, remember. One for a server, on a thread of its own.

    <home>/telling.json     what was told to whom, and when (format 1)

A crash between sending and remembering tells once more; nothing that was remembered is told again in the cool-down.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from server.telling import people, send
from server.telling.browsers import PushPerson
from server.telling.people import PersonTold
from server.telling.push import PushWay
from server.telling.step import (
    Delivered,
    LookedAround,
    NewsItem,
    NewsKey,
    NewsKind,
    NewsLetter,
    Recipient,
    ToldSoFar,
    Undelivered,
    step,
)
from shared import atomic
from shared.clock import Clock
from shared.errors import ConfigError, Refused

EVERY_S = 60.0
LOOK_S = 2.0
"""How long a call for help waits to be told."""
LEFT_AFTER_S = 2.0
"""A message may take long to go out; the end of the server never waits for it."""
STATE = "telling.json"
TEST_TEXT = "This is a test: messages from your waycue server reach you."
Send = Callable[[Sequence[str], Sequence[str]], tuple[str, ...]]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TellingWays:
    """How people are told."""

    post: Send = send.send
    """To addresses of apprise."""
    push: PushWay | None = None
    """None = there is no web push."""


class Telling:
    """look: what holds now. link: TellingSection.link.
    called: the number of the newest call for help"""

    def __init__(
        self,
        home: Path,
        look: Callable[[], Sequence[NewsItem]],
        clock: Clock,
        *,
        link: str = "",
        ways: TellingWays = TellingWays(),
        called: Callable[[], int] = int,
    ) -> None:
        self._home, self._look, self._clock, self._link = home, look, clock, link
        self._post, self.push = ways.post, ways.push
        self._trouble, self._called, self._rounded_s = "", called, float("-inf")
        self._calls = called()

    def tick(self) -> None:
        """A round, where it is time for one or somebody has called for help."""
        calls, now_s = self._called(), self._clock.monotonic_s()
        if now_s - self._rounded_s >= EVERY_S or calls != self._calls:
            self._calls, self._rounded_s = calls, now_s
            self.round()

    def round(self) -> None:
        """Look once, and tell what is new. A file of people that is wrong is logged once."""
        named = self._people()
        if not named and not (self.push and self.push.browsers.any()):
            return
        items = tuple(self._look())
        known = {recipient(name, person, items): person for name, person in named.items()}
        everybody: dict[Recipient, PersonTold | PushPerson] = {**known, **self._pushed(items)}
        ways = {each.name: way for each, way in everybody.items()}
        state, letters = step(read(self._home), LookedAround(items, tuple(everybody)), self._clock.utc_s())
        for letter in letters:
            event = Delivered(letter) if self._sent(ways[letter.person], letter) else Undelivered(letter)
            state, _ = step(state, event, self._clock.utc_s())
            write(self._home, state)
        write(self._home, state)

    def test(self, name: str) -> None:
        """Send a person a test. Raises: Refused naming the services that did not take it, ConfigError."""
        person = people.load(self._home).get(name)
        if person is None:
            raise Refused(f"Nobody called {name!r:.40} is told anything.")
        if failed := self._post(person.urls, (TEST_TEXT, *self._foot())):
            raise Refused(f"{', '.join(failed)} did not take it.", hint="See whether the address is right.")

    def _people(self) -> dict[str, PersonTold]:
        try:
            found, self._trouble = people.load(self._home), ""
        except ConfigError as error:
            if str(error) != self._trouble:
                logger.error("Nobody is told anything: %s", error)
            found, self._trouble = {}, str(error)
        return found

    def _pushed(self, items: tuple[NewsItem, ...]) -> dict[Recipient, PushPerson]:
        return self.push.recipients(items) if self.push else {}

    def _sent(self, person: PersonTold | PushPerson, letter: NewsLetter) -> bool:
        if isinstance(person, PushPerson):
            return self._pushes(person, letter)
        failed = self._post(person.urls, (*letter.lines, *self._foot()))
        if failed:
            logger.warning("%s was not told by %s; it is tried again.", letter.person, ", ".join(failed))
        return len(failed) < len(person.urls)

    def _pushes(self, person: PushPerson, letter: NewsLetter) -> bool:
        try:
            return self.push is not None and self.push.send(person, letter.lines, urgent=letter.is_urgent)
        except (ConfigError, OSError) as error:
            logger.error("Nobody is told by web push: %s", error)
            return False

    def _foot(self) -> tuple[str, ...]:
        return (self._link,) if self._link else ()


def recipient(name: str, person: PersonTold, items: tuple[NewsItem, ...]) -> Recipient:
    """A person of telling.toml, with what is theirs of all that holds. Pure."""
    return replace(people.recipient(name, person), sees=people.told_of(person, items))


def read(home: Path) -> ToldSoFar:
    """What was told; nothing where the file is missing or cannot be read."""
    try:
        value: dict[str, Any] = json.loads((home / STATE).read_bytes())
        told = {
            (str(each["person"]), NewsKey(NewsKind(each["kind"]), str(each["about"]))): float(each["at_utc"])
            for each in value["told"]
        }
        failures = {str(name): int(count) for name, count in value["failures"].items()}
        waits = {str(name): float(at_utc) for name, at_utc in value["not_before_utc"].items()}
        return ToldSoFar(told, failures, waits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ToldSoFar()


def write(home: Path, state: ToldSoFar) -> None:
    """Raises: OSError."""
    told = [
        {"person": name, "kind": key.kind, "about": key.about, "at_utc": at_utc}
        for (name, key), at_utc in sorted(state.at_utc.items())
    ]
    value = {"format": 1, "told": told, "failures": dict(state.failures), "not_before_utc": dict(state.not_before_utc)}
    atomic.write_json(home / STATE, value)
