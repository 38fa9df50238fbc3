"""No page costs more the more moments there are: every GET route of the table, at two sizes of home.

What a request does is counted, not timed: instructions of SQLite's machine, and calls of Python functions. A route that
reads all rows takes four times as many of one of them in the larger home.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import event, select
from starlette.testclient import TestClient

from benchmarks import _large_home
from server.admin.reckoned import FEW, Reckoned
from server.admin.teachable import teachable_to
from server.consent.settings import ConsentSettings
from server.database import store as db
from server.privacy import deletion
from server.privacy.blurring import PeopleFinder
from server.privacy.desk import PrivacyDesk
from server.privacy.plans import PlanCounts
from server.review.teaching import Lessons
from server.web.app import create_app
from server.web.permits import PERMITS
from tests.server.access.people import SAME_SITE, SITE, Town
from tests.server.dataset.moments import House
from tests.shared.bundle.bundles import contents, make_bundle

SIZES = 2_000, 8_000
assert min(SIZES) > FEW
MORE, ALLOWED = 1.5, 3_000
"""A request of the larger home may take that many times as much, and so much more: there are more walks and days."""
STEP = 50
NOTHING = (sys.executable, "-c", "")
"""In the place of the process that reckons: what it reads is no part of a request."""
EXAMPLES: dict[str, tuple[str, ...]] = {
    "/": ("/", "/?page=150"),
    "/moments": (
        "/moments", "/moments?words=curb", "/moments?thing=curb", "/moments?flag=audit", "/moments?wearer=Wearer 1",
        "/moments?device=device-001", "/moments?model=2026-01-night-starter", "/moments?walk=walk-000003",
        "/moments?state=reviewed", "/moments?state=all&page=40", "/moments?wearer=Wearer 1&state=all&words=curb",
        "/moments?wearer=Wearer 1&state=reviewed", "/moments?marked=difficult", "/moments?marked=skipped&state=all",
        "/moments?assigned=Ben&model=2026-01-night-starter",
    ),
    "/api/samples": ("/api/samples", "/api/samples?state=all&limit=200", "/api/samples?state=reviewed&offset=300"),
    "/api/wording": ("/api/wording?text=curb on the left",),
    "/api/ear/{sample_id}/say": ("/api/ear/{sample_id}/say?what=wearer",),
    "/api/ear/{sample_id}/walk": ("/api/ear/{sample_id}/walk?way=next",),
    "/api/ear/phrase": ("/api/ear/phrase?name=help",),
    "/admin/models/{version}": ("/admin/models/m1",),
}  # fmt: skip
"""Route → what is asked for, where that is not its path alone."""
GROWS = {"/moments?flag=audit": 30, "/moments?wearer=Wearer 1&state=all&words=curb": 2}
"""Steps for each moment, of searches that find many and not more than are sorted (server.review.narrowing.SORTED)."""
NO_COST = {"/static/{path:path}", "/join/{token}", "/login/provider", "/login/provider/back", "/ear/sound/{token}"}
NO_COST |= {"/deletions/{number}", "/admin/nights/{run_id}"}
"""Never look at moments, or have nothing to show here."""
GETS = [permit.path for permit in PERMITS if permit.method == "GET" and permit.path not in NO_COST]


@dataclass
class Spent:
    """What was counted since the last look."""

    steps: int = 0
    calls: int = 0

    def on_step(self) -> None:
        self.steps += STEP

    def on_call(self, frame: FrameType, what: str, arg: Any) -> None:
        if what in ("call", "c_call"):
            self.calls += 1


@dataclass
class Sized:
    """A home of a size, and its pages."""

    town: Town
    browser: TestClient
    spent: Spent
    names: dict[str, str]

    def cost(self, path: str) -> tuple[int, int]:
        """(steps, calls) of the second request: what is loaded with the first is not counted."""
        for name, value in self.names.items():
            path = path.replace(name, value)
        self.browser.get(path)
        self.spent.steps = self.spent.calls = 0
        answer = self.browser.get(path)
        assert answer.status_code in (200, 303), f"{path}: {answer.status_code} {answer.text[:300]}"
        return self.spent.steps, self.spent.calls


@contextmanager
def sized(folder: Path, moments: int, spent: Spent) -> Iterator[Sized]:
    _large_home.build(folder, moments, own_files=False)
    house = House(folder)
    event.listen(house.store.engine, "connect", lambda raw, _: raw.set_progress_handler(spent.on_step, STEP))
    house.store.close()  # connections from now on are counted
    town = Town(house)
    reckoned = Reckoned(house.store, house.clock, command=NOTHING)
    desk = replace(town.desk(), reckoned=reckoned)
    port = deletion.port_of(house.home, house.store, house.dataset, house.clock, house.merge)

    def counted(what: str, name: str) -> PlanCounts | None:
        found: PlanCounts | None = reckoned.get("deletion", f"{what} {name}").value
        return found

    privacy = PrivacyDesk(port, ConsentSettings(), lambda: PeopleFinder(()), counted)
    lessons = Lessons(house.home, lambda who: teachable_to(who, house.store, reckoned, least=5), house.clock, least=5)
    app = create_app(
        house.store, house.dataset, clock=house.clock, access=town.access, lessons=lessons, privacy=privacy, desk=desk
    )
    with house.store.reading() as connection:
        query = select(db.samples.c.sample_id, db.samples.c.walk_id, db.samples.c.body)
        sample_id, walk_id, body = connection.execute(query.order_by(db.samples.c.row_id).limit(1)).one()
    desk.watched.claims.add("device-001")
    make_bundle(folder.with_suffix(".m1"), "m1", contents({"a.onnx": 500}, seed=1))
    desk.watched.registry.add(folder.with_suffix(".m1"))
    names = {
        "{sample_id}": sample_id,
        "{walk_id:path}": walk_id,
        "{name:path}": "Wearer 1",
        "{section}": "learn",
        "{kind}/{name}": body["frame_path"],
        "{name}": "device-001",
        "{version}": "m1",
        "{number}": "1",
        "{run_id}": "1",
        "{account_id}": "1",
    }
    try:
        browser = TestClient(app, base_url=SITE, headers=SAME_SITE, follow_redirects=False)
        browser.cookies.set("waycue", town.access.sessions.open(town.id_of("Ana")))
        with browser:
            yield Sized(town, browser, spent, names)
    finally:
        reckoned.close()
        house.close()


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sized, Sized]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_large_home, "A_WALK", 50)
        patch.setattr(_large_home, "KINDS", 100)
        folder, spent = tmp_path_factory.mktemp("sizes"), Spent()
        threading.setprofile(spent.on_call)  # in the threads that answer, which are started from now on
        try:
            with sized(folder / "few", SIZES[0], spent) as few, sized(folder / "many", SIZES[1], spent) as many:
                yield few, many
        finally:
            threading.setprofile(None)


@pytest.mark.parametrize("path", [path for route in GETS for path in EXAMPLES.get(route, (route,))])
def test_a_page_costs_the_same_with_four_times_as_many_moments(path: str, homes: tuple[Sized, Sized]) -> None:
    few, many = (home.cost(path) for home in homes)
    print(path, few, many)
    grows = GROWS.get(path, 0) * (SIZES[1] - SIZES[0]), 0
    for before, after, more in zip(few, many, grows, strict=True):
        assert after <= MORE * before + ALLOWED + more, f"(steps, calls) of {path}: {few}, then {many}"
