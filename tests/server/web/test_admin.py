"""The pages for admins, asked over HTTP: what they show, what they change, and who gets in."""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import config as server_config
from server.admin import nights
from server.consent.settings import ConsentSettings
from server.identity.authority import Authority
from server.privacy import deletion, making_room
from server.privacy.blurring import PeopleFinder
from server.privacy.desk import PrivacyDesk
from server.privacy.space_settings import SpaceSettings
from server.releases.registry import Registry
from server.releases.signing import Release
from server.telling import people
from server.watching import Watch, watch
from server.web.app import create_app
from server.web.person import Person, Role
from shared import file_lock
from shared.clock import ManualClock
from shared.errors import ConfigError
from shared.messages import Status
from tests.server.dataset.moments import House
from tests.server.web.serving import Answer, ask, asked_as, seed, served
from tests.shared.bundle.bundles import contents, make_bundle

NOW_S = 1_795_200_000.0
PAGES = (
    "", "/progress", "/models", "/models/m1", "/models/m2", "/nights", "/devices", "/devices/pi-1", "/coverage",
    "/errors", "/storage", "/telling", "/settings", "/settings/learn", "/settings/broker", "/settings/budget",
    "/settings/space",
)  # fmt: skip
GATE = {
    "verdict": "promoted",
    "rules": [
        {"name": "forgets nothing", "about": "taught", "verdict": "passed", "sentence": "none is forgotten",
         "leads_to": "", "figures": {"lost": 0}, "interval": [0.1, None], "bound": 0, "cases": 7, "walks": 3}
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AdminSite:
    """A server's pages with an admin before them."""

    url: str
    house: House
    registry: Registry
    watch: Watch
    who: list[Person]
    """Whose requests they are; none = nobody logs in here."""

    def get(self, path: str = "", **headers: str) -> Answer:
        return ask(f"{self.url}/admin{path}", headers=headers)

    def post(self, path: str, *fields: tuple[str, str]) -> Answer:
        head = {"Content-Type": "application/x-www-form-urlencoded"}
        return ask(f"{self.url}/admin{path}", method="POST", data=urllib.parse.urlencode(fields).encode(), headers=head)

    def text(self, path: str = "") -> str:
        """What a page says, without its tags."""
        answer = self.get(path)
        assert answer.status == 200, answer.text
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    """One for all tests of this file: each changes a part of its own."""
    folder = tmp_path_factory.mktemp("admin")
    clock = ManualClock(epoch_s=NOW_S)
    house = House(folder / "home", clock=clock)
    server_config.init(house.home)
    Authority.make(house.home, clock=clock)
    Release.make(house.home, clock=clock)
    registry = Registry(house.home, store=house.store, clock=clock)
    for name, evaluation in (("m1", {}), ("m2", night("promoted")), ("m3", night("refused"))):
        make_bundle(folder / name, name, contents({"a.onnx": 500}, seed=int(name[1:])))
        registry.add(folder / name, parent="m1" if evaluation else "", evaluation={**evaluation, "version": name})
    registry.promote("m1", "the first model")
    seed(house)
    status = Status(
        online=True,
        agent_version="0.1.0",
        model_version="m1",
        backlog=3,
        battery_percent=12.0,
        heat_c=41.0,
        disk_free_bytes=9_000_000_000,
        extra={"waits": ["<b>metered</b>"], "not_kept": 0},
    )
    house.merge.put_statuses({"pi-1": status})
    watching = watch(registry, house.dataset, server_config.load(house.home), clock, lambda: False)
    watching.desk.watched.claims.add("pi-1")
    port = deletion.port_of(house.home, house.store, house.dataset, clock, house.merge)
    privacy = PrivacyDesk(port, ConsentSettings(), lambda: PeopleFinder(()))
    who: list[Person] = []
    app = create_app(
        house.store, house.dataset, clock=clock, model=registry.champion, desk=watching.desk, privacy=privacy
    )
    asked_as(app, lambda _: who[0] if who else None)
    with served(app) as url:
        yield AdminSite(url, house, registry, watching, who)
    house.close()


def night(outcome: str) -> dict[str, object]:
    figures = {"frames": 120, "instruction_right": 0.8}
    gate = {**GATE, "verdict": outcome}
    return {"outcome": outcome, "reasons": [f"{outcome} because of <stairs>"], "gate": gate, "evaluation": figures}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_shown_and_escapes_what_came_from_outside(site: AdminSite, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 200, answer.text
    assert "<b>metered" not in answer.text
    assert "<stairs>" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_only_admins_get_in_on_every_route_there_is(site: AdminSite) -> None:
    routes = [(method, path) for method, path in routes_of(site) if path.startswith("/admin")]
    assert len(routes) > 25
    for role, status in ((Role.WEARER, 403), (Role.CAREGIVER, 403)):
        site.who[:] = [Person("Bo", role)]
        for method, path in routes:
            target = re.sub(r"{run_id}", "1", re.sub(r"{(?:version|name|section|step)}", "m1", path))
            data = b"" if method == "POST" else None
            head = {"Content-Type": "application/x-www-form-urlencoded"}
            assert ask(f"{site.url}{target}", method=method, data=data, headers=head).status == status, (method, path)
    site.who[:] = []


def routes_of(site: AdminSite) -> list[tuple[str, str]]:
    app = create_app(site.house.store, site.house.dataset, clock=site.house.clock, desk=site.watch.desk)
    included = [route for group in app.routes for route in getattr(group, "effective_route_contexts", list)()]
    return [(method, str(route.path)) for route in (*app.routes, *included) for method in getattr(route, "methods", ())]


def test_the_overview_names_what_needs_somebody_first(site: AdminSite) -> None:
    text = site.text()
    assert "Something needs you now." in text
    assert text.index("is not reached") < text.index("battery at 12 %") < text.index("None ends soon.")


def test_is_it_getting_better_answers_on_one_screen(site: AdminSite) -> None:
    text = site.text("/progress")
    assert "Nothing has been judged yet." in text
    assert "0 of 7" in text  # corrections forgotten, by the gate's rule
    assert "1 promoted" in text
    assert "refused because of <stairs>" in text


def test_a_version_is_promoted_and_rolled_back_with_a_reason_only(site: AdminSite) -> None:
    text = site.text("/models/m2")
    assert "none is forgotten" in text
    assert "0.100 to inf" in text
    assert "m2 ← m1 ←" in text
    assert site.post("/models/m2/promote", ("why", " ")).status == 422
    assert site.registry.champion() == "m1"
    assert site.post("/models/m2/promote", ("why", "better on <stairs>")).status == 303
    assert site.registry.champion() == "m2"
    assert "better on <stairs>" in site.text("/models")
    assert site.post("/models/nobody/promote", ("why", "x")).status == 409
    assert site.post("/models/rollback", ("why", "worse in the rain")).status == 303
    assert (site.registry.champion(), site.registry.log()[-1].why) == ("m1", "worse in the rain")


def test_a_rollout_is_begun_shown_and_halted(site: AdminSite) -> None:
    assert site.post("/models/m3/rollout", ("percent", "0"), ("why", "")).status == 409
    assert site.post("/models/m3/rollout", ("percent", "10"), ("why", "a first try")).status == 303
    assert "m3: running" in site.text("/models")
    assert "0 have proven it" in site.text("/models")
    assert site.post("/models/m3/rollout/advance").status == 409  # nobody has proven it
    assert site.post("/models/m3/rollout/sideways").status == 404
    assert site.post("/models/m3/rollout/halt", ("why", "enough")).status == 303
    assert "m3: halted" in site.text("/models")


def test_a_device_is_let_in_by_a_code_that_is_shown_once_and_locked_out_by_its_name(site: AdminSite) -> None:
    assert "battery at 12 %" in site.text("/devices")
    assert "<b>metered</b>" in site.text("/devices")
    answer = site.post("/devices", ("name", "pi-2"), ("hours", "2"))
    assert answer.status == 200
    code = re.search(r"--code (\S+)", answer.text)
    assert code is not None
    assert "<svg" in answer.text
    assert code[1] not in site.get("/devices").text
    assert site.post("/devices", ("name", "Not A Name"), ("hours", "2")).status == 422
    assert site.post("/devices/pi-2/revoke", ("confirm", "yes")).status == 422
    assert "pi-2" in site.text("/devices")
    assert site.post("/devices/pi-2/revoke", ("confirm", "pi-2"), ("why", "lost")).status == 303
    assert "revoked: lost" in site.text("/devices/pi-2")


def test_settings_keep_their_comments_are_checked_and_say_when_to_restart(site: AdminSite) -> None:
    path = site.house.home / server_config.FILE
    seen = re.search(r'name="seen" value="(\w+)"', site.get("/settings/learn").text)
    assert seen is not None
    wrong = site.post("/settings/learn", ("new_rows_least", "0"), ("seen", seen[1]))
    assert (wrong.status, "It must be 1 to" in wrong.text) == (422, True)
    assert site.post("/settings/learn", ("new_rows_least", "33"), ("seen", seen[1])).status == 303
    assert server_config.load(site.house.home).learn.new_rows_least == 33
    assert "# a demonstration model; for the field" in path.read_text()
    assert "Restart needed" not in site.text("/settings")
    assert site.post("/settings/learn", ("new_rows_least", "44"), ("seen", seen[1])).status == 409  # changed meanwhile
    again = re.search(r'name="seen" value="(\w+)"', site.get("/settings/enrol").text)
    assert again is not None
    assert site.post("/settings/enrol", ("announce", "false"), ("seen", again[1])).status == 303
    assert "Restart needed for enrol.announce" in site.text("/settings")
    assert site.post("/settings/nothing", ("seen", "x")).status == 404


def test_what_goes_to_make_room_is_announced_to_admins_and_to_whom_it_concerns(site: AdminSite) -> None:
    port = deletion.port_of(site.house.home, site.house.store, site.house.dataset, site.house.clock, site.house.merge)
    assert "the settings have no bound under space" in site.text("/storage")
    making_room.run(port, SpaceSettings(dataset_most_gb=1e-9), ConsentSettings(), 0.0)
    try:
        assert "cannot be made free: nothing more may go" in site.text("/storage")
        assert "cannot be made free" in site.text(), "the overview has it, too"
        making_room.run(port, SpaceSettings(dataset_most_gb=1e-9, unreviewed=True), ConsentSettings(), 0.0)
        assert re.search(r"moments .* may be deleted from [\d-]+ on, where space is needed then", site.text("/storage"))
        assert "where space is needed then" in ask(f"{site.url}/wearers").text
    finally:
        making_room.run(port, SpaceSettings(), ConsentSettings(), 0.0)
    assert "where space is needed then" not in ask(f"{site.url}/wearers").text


def test_people_are_added_tested_and_removed_and_their_addresses_never_shown(site: AdminSite) -> None:
    fields = (
        ("name", "Ana"),
        ("urls", "json://127.0.0.1:9/secret-topic"),
        ("kinds", "night"),
        ("quiet", "22:00-07:00"),
    )
    assert site.post("/telling", *fields).status == 303
    assert "secret-topic" not in site.get("/telling").text
    assert "By json" in site.text("/telling")
    assert people.load(site.house.home)["Ana"].kinds == ("night",)
    assert (site.house.home / people.FILE).stat().st_mode & 0o077 == 0
    tested = site.post("/telling/Ana/test")
    assert (tested.status, "json did not take it" in tested.text) == (409, True)
    assert "secret-topic" not in tested.text
    bad = site.post("/telling", ("name", "Bo"), ("urls", "nonsense-with-a-password"))
    assert (bad.status, "nonsense" in bad.text) == (422, False)
    assert site.post("/telling/Ana/remove").status == 303
    assert people.load(site.house.home) == {}


def test_a_night_is_shown_live_and_a_second_one_is_refused(site: AdminSite) -> None:
    home, store = site.house.home, site.house.store
    with nights.recorded(home, store, site.house.clock) as record, file_lock.locked(home / nights.LOCK):
        assert record is not None
        record.stage("train")
        record.say("step 1 <of> 9")
        text = site.text("/nights")
        assert "It is learning." in text
        assert "step 1 <of> 9" in text
        assert 'http-equiv="refresh"' in site.get("/nights").text
        assert site.post("/nights").status == 409
        record.end("refused", version="m3", reasons=["worse"])
    assert 'http-equiv="refresh"' not in site.get("/nights").text
    assert "Refused: m3." in site.text("/nights/1")
    assert site.post("/nights/end").status == 409


def test_metrics_are_for_this_machine_and_not_for_who_a_proxy_speaks_for(site: AdminSite) -> None:
    text = ask(f"{site.url}/metrics").text
    assert 'waycue_device_battery_percent{device="pi-1"} 12.0' in text
    assert "waycue_broker_up 0.0" in text
    assert 'waycue_moments{state="pending"} 4.0' in text
    assert 'waycue_http_requests_total{method="GET",route="/metrics",status="200"}' in ask(f"{site.url}/metrics").text
    assert "secret" not in text
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert ask(f"{site.url}/metrics", headers={name: "203.0.113.9"}).status == 403
    site.get("/models/m1")
    assert 'route="/admin/models/{version}",status="200"' in ask(f"{site.url}/metrics").text
    ask(f"{site.url}/nobody/knows/this")
    assert "nobody" not in ask(f"{site.url}/metrics").text


def test_a_damaged_file_of_settings_or_people_is_a_sentence_and_no_broken_page(site: AdminSite) -> None:
    path = site.house.home / people.FILE
    path.write_text("[Ana]\nurls = 'mailtos://ana:hunter2@example.org'\n")
    answer = site.get("/telling")
    assert (answer.status, "urls must be a list" in answer.text, "hunter2" in answer.text) == (200, True, False)
    path.unlink()
    with pytest.raises(ConfigError):
        people.load(broken(site.house.home))


def broken(home: Path) -> Path:
    (home / "other").mkdir()
    (home / "other" / people.FILE).write_text("Ana = 3")
    return home / "other"
