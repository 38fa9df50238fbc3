"""Web push as one of the ways to tell: who of the accounts hears what, and sending it to their browsers.

An account hears of what it may see: an admin of all, a caregiver of corrections and calls for help of their wearers, a
wearer of their own corrections.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from server.access import visible
from server.access.person import Person, Role
from server.admin import waiting
from server.consent.register import NewestConsents
from server.database.store import Store
from server.telling import look, people, vapid, webpush
from server.telling.browsers import FOR_ROLES, PushBrowsers, PushPerson
from server.telling.people import PersonTold
from server.telling.settings import TellingSection
from server.telling.step import NewsItem, NewsKind, Recipient
from server.telling.webpush import PLAIN_MOST, PushOutcome, PushSender, PushSubscription
from shared.clock import Clock
from shared.errors import Refused
from shared.token_bucket import RateLimiter

TITLE = "waycue"
TESTS = 5
"""Of one person, a minute: a request waits while one goes out."""


class PushWay:
    """Tells people in their browsers. Safe from any thread."""

    def __init__(self, home: Path, store: Store, clock: Clock, section: TellingSection) -> None:
        self._home, self._store, self._clock, self._section = home, store, clock, section
        self._consents = NewestConsents(store)
        self.browsers = PushBrowsers(store, clock)
        self._tests, self._lock = RateLimiter(rate_per_s=TESTS / 60.0, capacity=TESTS), threading.Lock()

    @property
    def is_on(self) -> bool:
        """Whether there is web push at all."""
        return bool(self._section.push_services)

    def public_key(self) -> str:
        """What browsers subscribe to. Raises: ConfigError, OSError."""
        return vapid.public(vapid.private_key(self._home))

    def subscribe(self, account_id: int, subscription: PushSubscription) -> None:
        """Raises: Refused."""
        webpush.check(subscription, self._section.push_services)
        self.browsers.add(account_id, subscription)

    def recipients(self, items: Sequence[NewsItem]) -> dict[Recipient, PushPerson]:
        """Everybody with a browser, with what they may hear of."""
        if not self.is_on:
            return {}
        found = list(self.browsers.everybody())
        consents = self._consents() if found else None
        return {self._recipient(one, replace(one.person, consents=consents), items): one for one in found}

    def _recipient(self, one: PushPerson, person: Person, items: Sequence[NewsItem]) -> Recipient:
        may = FOR_ROLES[person.role]
        chosen = people.recipient(one.name, one.choices)
        return replace(chosen, kinds=chosen.kinds & may, sees=tuple(self._seen_by(person, items)))

    def _seen_by(self, person: Person, items: Sequence[NewsItem]) -> Iterator[NewsItem]:
        for item in items:
            if item.key.kind is NewsKind.CORRECTION and person.role is not Role.ADMIN:
                with self._store.reading() as connection:
                    own = waiting.corrections(connection, *visible.conditions(person))
                yield from look.correction_items(own)
            elif item.wearer is None or cares_for(person, item.wearer):
                yield item

    def send(self, one: PushPerson, lines: Sequence[str], *, urgent: bool = False) -> bool:
        """Whether a browser of theirs took it, or none is left that could. Those that are gone are removed. Raises:
        ConfigError, OSError."""
        contact = self._section.push_contact or (self._section.link if _is_https(self._section.link) else "")
        sender = PushSender(vapid.private_key(self._home), contact, self._clock.utc_s())
        to = [browser.subscription for browser in one.browsers]
        outcomes = _posted(to, partial(webpush.post, plain=payload(lines), sender=sender, urgent=urgent))
        for subscription, outcome in zip(to, outcomes, strict=True):
            if outcome is PushOutcome.GONE:
                self.browsers.drop(subscription)
        return PushOutcome.TAKEN in outcomes or PushOutcome.FAILED not in outcomes

    def test(self, account_id: int, person: Person, text: str) -> None:
        """Send somebody a test. Raises: Refused, ConfigError, OSError."""
        with self._lock:
            if not self._tests.allows(str(account_id), self._clock.monotonic_s()):
                raise Refused("You have sent some tests just now.", hint="Wait a minute.")
        one = PushPerson(account_id, person, PersonTold(), self.browsers.of(account_id))
        if not one.browsers:
            raise Refused("No browser of yours is told anything.", hint="Press the button above in one first.")
        taken = self.send(one, [text])
        if not taken or not self.browsers.of(account_id):
            raise Refused("No browser of yours could be reached.", hint="See the server's log, or begin anew here.")


def _posted(to: Sequence[PushSubscription], post: Callable[[PushSubscription], PushOutcome]) -> Sequence[PushOutcome]:
    """All at once: a service that does not answer must not keep a call for help from the others. The end of the server
    waits for none of them."""
    outcomes = [PushOutcome.FAILED] * len(to)

    def send(at: int) -> None:
        outcomes[at] = post(to[at])

    threads = [threading.Thread(target=send, args=(at,), name="web push", daemon=True) for at in range(len(to))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def cares_for(person: Person, wearer: str) -> bool:
    """Whether somebody hears of a call for help: who may see the wearer's moments, and whom an admin has given this
    wearer by name, whatever they may see. Pure."""
    return visible.may_see_wearer(person, wearer) or (person.wearers is not None and wearer in person.wearers)


def payload(lines: Sequence[str]) -> bytes:
    """What the service worker shows; lines that do not fit are left out. Pure."""
    kept = list(lines)
    while len(data := json.dumps({"title": TITLE, "body": "\n".join(kept)}).encode()) > PLAIN_MOST:
        kept.pop()
    return data


def _is_https(url: str) -> bool:
    return url.startswith("https://")
