"""A page with two wearers' moments and people of each role, in the test's own process or behind a real uvicorn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.testclient import TestClient

from server import config as server_config
from server.access import accounts
from server.access.passwords import Passwords
from server.access.person import Person, Role
from server.access.service import Access
from server.access.settings import AccessSettings
from server.admin.reckoned import Reckoned
from server.admin.teachable import teachable_to
from server.consent import register
from server.consent.register import ConsentAnswer
from server.consent.settings import ConsentSettings
from server.consent.terms import Consent
from server.privacy import deletion
from server.privacy.blurring import PeopleFinder
from server.privacy.desk import PrivacyDesk
from server.releases.registry import Registry
from server.review.teaching import Lessons, Teachable
from server.watching import watch
from server.web.admin_desk import AdminDesk
from server.web.app import create_app
from tests.server.dataset.moments import House, moment

ADAS, BOBS = "pi-1-b00t-000000", "pi-2-b00t-000000"
PASSWORD = "correct horse battery"
PEOPLE = {
    "Wanda": Person("Wanda", Role.WEARER, frozenset({"Ada"})),
    "Carl": Person("Carl", Role.CAREGIVER, frozenset({"Ada"})),
    "Ana": Person("Ana", Role.ADMIN, None),
}
SITE = "http://127.0.0.1"
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


def cheap() -> Passwords:
    """Argon2 that costs a millisecond."""
    return Passwords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))


class Town:
    """The page, its store, and who may come in."""

    def __init__(self, house: House, *, settings: AccessSettings | None = None, people: bool = True) -> None:
        self.house, self.clock = house, house.clock
        self._apps: dict[bool, FastAPI] = {}
        self.access = Access(house.store, house.clock, settings or AccessSettings(), passwords=cheap())
        if people:
            for person in PEOPLE.values():
                self.add(person)

    def add(self, person: Person) -> int:
        kept = self.access.passwords.hash(PASSWORD, name=person.name)
        with self.house.store.writing() as connection:
            return accounts.add(connection, person, now_s=self.clock.utc_s(), password=kept)

    def id_of(self, name: str) -> int:
        return self.access.accounts.named(name).id

    def agrees(self, wearer: str, consent: Consent) -> None:
        """Write down what a wearer agrees to from now on."""
        register.say(self.house.store, ConsentAnswer(wearer, self.clock.utc_s(), "Ana", "in a test", consent))

    def privacy(self) -> PrivacyDesk:
        """Consent, deleting and blurring, with nothing to find faces with."""
        house = self.house
        port = deletion.port_of(house.home, house.store, house.dataset, self.clock, house.merge)
        return PrivacyDesk(port, ConsentSettings(), lambda: PeopleFinder(()))

    def desk(self) -> AdminDesk:
        """What the pages for admins work on."""
        home = self.house.home
        if not (home / server_config.FILE).exists():
            server_config.init(home)
        registry = Registry(home, store=self.house.store, clock=self.clock)
        return watch(registry, self.house.dataset, server_config.load(home), self.clock, lambda: False).desk

    def app(self, *, alone: bool = True, whole: bool = False) -> FastAPI:
        """whole: with every part that a running server gives it."""
        lessons = Lessons(self.house.home, self._teachable, self.clock, least=5)
        return create_app(
            self.house.store,
            self.house.dataset,
            clock=self.clock,
            access=self.access,
            alone=alone,
            lessons=lessons,
            privacy=self.privacy() if whole else None,
            desk=self.desk() if whole else None,
            hosts=("0.0.0.0", "testserver"),
        )

    def _teachable(self, person: Person) -> Sequence[Teachable] | None:
        return teachable_to(person, self.house.store, Reckoned(self.house.store, self.clock), least=5)

    def visitor(self, *, alone: bool = True, url: str = SITE) -> TestClient:
        """A browser without a log-in; redirects are not followed."""
        if alone not in self._apps:
            self._apps[alone] = self.app(alone=alone)
        return TestClient(self._apps[alone], base_url=url, headers=SAME_SITE, follow_redirects=False)

    def as_(self, name: str) -> TestClient:
        """A browser in which somebody is logged in."""
        browser = self.visitor()
        browser.cookies.set("waycue", self.access.sessions.open(self.id_of(name)))
        return browser


def seed(house: House) -> None:
    """A moment of each of two wearers, with different files."""
    house.send_all(
        [
            moment(0, seed=1, with_clip=True, wearer="Ada", raw_output="Caution, pole ahead."),
            moment(0, seed=2, with_clip=True, wearer="Bob", device="pi-2", raw_output="Caution, bin ahead."),
        ]
    )


@contextmanager
def town(folder: Path, *, settings: AccessSettings | None = None, people: bool = True) -> Iterator[Town]:
    house = House(folder / "home")
    seed(house)
    yield Town(house, settings=settings, people=people)
    house.close()
