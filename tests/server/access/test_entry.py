"""Every route of the page, asked without a log-in, by each role, and for another wearer's moment.

The routes come from the application itself: one that is not in `server.web.permits` fails here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from server.access import visible
from server.access.person import Role
from server.access.settings import AccessSettings
from server.access.tokens import TokenScope
from server.consent.terms import GRANTED, SeenBy
from server.dataset import sought
from server.ingest import counters
from server.ingest.counters import DailyCounts
from server.privacy.plans import DeletionKind
from server.review import decisions, leases, marks
from server.review.decisions import ReviewDecision
from server.web import permits
from server.web.permits import PERMITS, Permit
from tests.server.access.people import ADAS, BOBS, PEOPLE, SAME_SITE, SITE, Town, town
from tests.server.dataset.moments import moment
from tests.shared.bundle.bundles import contents, make_bundle

PROVIDER = AccessSettings(provider="http://127.0.0.1:9", client_id="waycue")
HIDDEN = replace(GRANTED, seen=SeenBy.NOBODY)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """With one of everything that a route can name."""
    folder = tmp_path_factory.mktemp("town")
    with town(folder, settings=PROVIDER) as made:
        make_bundle(folder / "m1", "m1", contents({"a.onnx": 500}, seed=1))
        desk, privacy = made.desk(), made.privacy()
        desk.watched.registry.add(folder / "m1")
        desk.watched.claims.add("pi-1")
        privacy.delete(privacy.plan(DeletionKind.MOMENT, spare(made)), by="Ana")
        yield made


@pytest.fixture(scope="module")
def app(site: Town) -> Any:
    return site.app(whole=True)


def browser(app: Any, site: Town, name: str = "", **headers: str) -> TestClient:
    made = TestClient(app, base_url=SITE, headers={**SAME_SITE, **headers}, follow_redirects=False)
    if name:
        made.cookies.set("waycue", site.access.sessions.open(site.id_of(name)))
    return made


def routes_of(app: Any) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    waiting = list(app.routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, Mount):
            found.add(("GET", f"{route.path}/{{path:path}}"))
        elif isinstance(route, APIRoute | Route):
            found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
        else:
            waiting += list(getattr(route, "routes", None) or route.original_router.routes)
    return found


def row_of(site: Town, sample_id: str) -> Any:
    row = decisions.get(site.house.store, sample_id)
    assert row is not None
    return row


def spare(site: Town, **changes: Any) -> str:
    """A new moment, of Ada's unless it is said, to be deleted."""
    sent = moment(next(NUMBERS), **{"wearer": "Ada", **changes})
    site.house.send(sent)
    SPARES.append(sent.record.chunk_id)
    return sent.record.chunk_id


NUMBERS, SPARES = count(100), list[str]()


@pytest.fixture(autouse=True)
def no_spares(site: Town) -> Iterator[None]:
    """What was not deleted after all."""
    yield
    while SPARES:
        if decisions.get(site.house.store, sample_id := SPARES.pop()) is not None:
            site.privacy().delete(site.privacy().plan(DeletionKind.MOMENT, sample_id), by="Ana")


NAMED = {"/wearers/": "Ada", "/admin/devices/": "pi-1", "/admin/telling/": "Bo"}
SENT: dict[str, dict[str, Any]] = {
    "GET /api/wording": {"params": {"text": "curb ahead"}},
    "DELETE /api/words": {"params": {"words": "plank"}},
    "GET /api/ear/phrase": {"params": {"name": "help"}},
    "GET /api/ear/{sample_id}/walk": {"params": {"way": "next"}},
    "GET /api/ear/{sample_id}/say": {"params": {"what": "wearer"}},
    "POST /api/ear/{sample_id}/delete": {"json": {"told": []}},
    "POST /moments/{sample_id}/comment": {"data": {"comment": "Look again."}},
    "POST /wearers/{name:path}": {"data": {"no_question": "x"}},  # refused: nobody's consent changes here
    "POST /api/accounts": {"json": {"role": "caregiver"}},
    "POST /api/accounts/{account_id}/allow": {"json": {"role": "wearer", "wearers": ["Ada"]}},
    "POST /api/accounts/{account_id}/disable": {"json": {"disabled": False}},
    "POST /api/accounts/{account_id}/reset": {"json": {"hours": 1.0}},
    "POST /admin/nights": {"data": {"force": "x" * 9}},  # refused: no night begins here
}
"""What a route wants to be asked with."""
STRICTER = {
    "GET /moments/{sample_id}/delete": {"Carl": 403},
    "POST /moments/{sample_id}/delete": {"Carl": 403, "Wanda": 409, "Ana": 409},  # told of nothing
    "GET /api/ear/{sample_id}/delete": {"Carl": 403},
    "POST /api/ear/{sample_id}/delete": {"Carl": 403, "Wanda": 409, "Ana": 409},  # told of nothing
    "GET /wearers/{name:path}/delete": {"Carl": 403},
    "POST /wearers/{name:path}/delete": {"Wanda": 403, "Carl": 403, "Ana": 404},  # of nobody
    "POST /walks/{walk_id:path}/delete": {"Ana": 404},  # of none
    "POST /wearers/{name:path}": {"Carl": 422},
    "GET /deletions/{number}": {"Wanda": 404, "Carl": 404},  # Ana's
    "GET /ear/sound/{token}": dict.fromkeys(PEOPLE, 404),  # offered to nobody
    "DELETE /api/accounts/{account_id}": {"Ana": 404},  # who is not there
    "DELETE /api/accounts/{account_id}/tokens/{token_id}": {"Ana": 404},
    "POST /admin/telling/{name}/remove": {"Ana": 404},  # who is told nothing
}
"""What a route itself answers to those who may ask for it."""


def path_of(site: Town, permit: Permit, sample_id: str = ADAS, by: str = "Ana") -> str:
    """by: whose comment is meant, of all that are deleted"""
    row, is_deletion = row_of(site, sample_id), names(permit).startswith("POST") and permit.path.endswith("/delete")
    kind, name = row.frame_path.split("/")
    name = next((named for start, named in NAMED.items() if permit.path.startswith(start)), name)
    values = {
        "sample_id": sample_id,
        "kind": kind,
        "name": name,
        "account_id": 1,
        "token_id": 1,
        "browser_id": 1,
        "token": "0" * 32,
    }
    values |= {"walk_id": row.walk_id, "number": 1, "run_id": 1, "version": "m1", "step": "halt", "section": "web"}
    if is_deletion:
        values |= {"walk_id": "none", "name": "nobody"}
        if sample_id == ADAS and "{sample_id}" in permit.path:
            values["sample_id"] = spare(site)
    if permit.method == "DELETE" and permit.path.startswith("/api/accounts"):
        values |= {"account_id": 999, "token_id": 999}  # of nobody
    if "{comment_id}" in permit.path:
        values["comment_id"] = marks.comment(site.house.store, sample_id, by, "Mine.", now_s=1.0).id
    return permit.path.replace("{path:path}", "review.css").replace(":path}", "}").format(**values)


def ask(browser: TestClient, permit: Permit, path: str) -> Any:
    """A request as the route wants it."""
    return browser.request(permit.method, path, **SENT.get(names(permit), {}))


def names(permit: Permit) -> str:
    return f"{permit.method} {permit.path}"


GUARDED = [permit for permit in PERMITS if permit.least is not None]
ABOUT_A_MOMENT = [p for p in PERMITS if "{sample_id}" in p.path or p.path.startswith("/media/")]


def test_every_route_is_in_the_table_and_every_line_of_it_is_a_route(app: Any, site: Town) -> None:
    known = {(permit.method, permit.path) for permit in PERMITS}
    assert routes_of(app) - known == set(), "write these into server.web.permits"
    assert known - routes_of(app) == set()


def test_a_route_that_is_not_in_the_table_is_answered_to_nobody(site: Town) -> None:
    app = site.app()
    app.add_api_route("/new", lambda: {"secret": 1})
    assert browser(app, site, "Ana").get("/new").status_code == 404
    assert permits.find("GET", "/new") is None


@pytest.mark.parametrize("permit", GUARDED, ids=names)
def test_without_a_log_in_nothing_is_answered(permit: Permit, app: Any, site: Town) -> None:
    answer = browser(app, site).request(permit.method, path_of(site, permit))
    if permit.path.startswith(("/api/", "/media/")):
        assert (answer.status_code, answer.json()) == (401, {"detail": "Log in first."})
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login")
        assert answer.content == b""


@pytest.mark.parametrize("wrong", ["waycue=x", "waycue=", "waycue=" + "a" * 4000, "__Host-waycue=x"])
def test_a_made_up_session_is_none(wrong: str, app: Any, site: Town) -> None:
    assert browser(app, site, Cookie=wrong).get("/api/samples").status_code == 401
    assert browser(app, site, Authorization=f"Bearer {wrong}").get("/api/samples").status_code == 401


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("permit", GUARDED, ids=names)
def test_each_role_may_do_what_the_table_says(permit: Permit, name: str, app: Any, site: Town) -> None:
    answer = ask(browser(app, site, name), permit, path_of(site, permit, by=name))
    assert permit.least is not None
    stricter = STRICTER.get(names(permit), {}).get(name)
    if not PEOPLE[name].role.covers(permit.least):
        assert answer.status_code == 403
    elif stricter is not None:
        assert answer.status_code == stricter, answer.text
    else:
        assert answer.status_code in ((200,) if permit.method == "GET" else (200, 303, 409, 422)), answer.text


@pytest.mark.parametrize("permit", GUARDED, ids=names)
def test_a_token_does_what_its_scopes_say(permit: Permit, app: Any, site: Town) -> None:
    token = site.access.tokens.make(site.id_of("Ana"), "read", [TokenScope.READ])
    (made,) = site.access.tokens.all()
    path, program = path_of(site, permit), browser(app, site, Authorization=f"Bearer {token}")
    answer = ask(program, permit, path)
    site.access.tokens.revoke(made.id)
    told = STRICTER.get(names(permit), {}).get("Ana", 200)
    assert answer.status_code == (told if permit.scope is TokenScope.READ else 403), answer.text
    again = ask(program, permit, path)
    assert again.status_code in (303, 401)


@pytest.mark.parametrize("control", ["on", "off"])
@pytest.mark.parametrize("name", ["Wanda", "Carl"])
@pytest.mark.parametrize("permit", ABOUT_A_MOMENT, ids=names)
def test_another_wearers_moment_is_not_there(
    permit: Permit, name: str, control: str, app: Any, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    for one in PEOPLE:
        leases.release(site.house.store, one)
    asks, theirs = browser(app, site, name), path_of(site, permit, BOBS, by=name)
    own, foreign = (ask(asks, permit, path) for path in (path_of(site, permit, by=name), theirs))
    assert own.status_code in (200, 303, 422) or STRICTER[names(permit)][name] == own.status_code
    if control == "off":
        is_deletion = permit.path.endswith("/delete")  # only by the wearer: a control of its own
        assert foreign.status_code == (403 if is_deletion else own.status_code), "without the control the attack works"
        return
    assert foreign.status_code == 404
    missing = ask(asks, permit, theirs.replace("pi-2", "pi-9"))
    assert foreign.text.replace("pi-2", "pi-9") == missing.text or permit.path.startswith("/media/")


@pytest.mark.parametrize("control", ["on", "off"])
def test_lists_and_figures_hold_ones_own_moments_only(
    control: str, app: Any, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "clause", lambda *_: None)
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    wanda = browser(app, site, "Wanda")
    listed = wanda.get("/api/samples", params={"state": "all"}).json()
    pages = [wanda.get(path).text for path in ("/", "/batch", f"/?done={BOBS}")]
    seen = BOBS in str(listed), any(BOBS in page for page in pages), sum(listed["counts"].values()) == 2
    assert seen == ((True,) * 3 if control == "off" else (False,) * 3)
    assert any(ADAS in page for page in pages)
    total = sum(wanda.get("/api/stats").json()["counts"].values())
    assert total == (2 if control == "off" else 1)


@pytest.mark.parametrize("control", ["on", "off"])
def test_what_could_be_taught_is_counted_over_the_moments_that_one_may_see(
    control: str, memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "clause", lambda *_: None)
    with town(memory_path) as own:
        house = own.house
        for name in (ADAS, BOBS):
            cone = ReviewDecision("edit", "Ana", "Caution, cone ahead.")
            decisions.review(house.store, house.dataset, name, cone, now_s=own.clock.utc_s())
        told = "2 new confirmed moments," if control == "off" else "1 new confirmed moment,"
        assert told in own.as_("Carl").get("/teach").text
        assert "2 new confirmed moments," in own.as_("Ana").get("/teach").text
        refused = own.as_("Carl").post("/teach", data={"thing": "cone"})
        assert refused.status_code == 422
        assert f"{told[0]} confirmed moments of a cone" in refused.text, "nor is it said to who tries"


@pytest.mark.parametrize("control", ["on", "off"])
@pytest.mark.parametrize("path", ["/batch", "/moments/several", "/api/batch", f"/moments/{ADAS}/alike"])
def test_several_at_once_are_ones_own_too(
    path: str, control: str, app: Any, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    read = [row_of(site, name).row_id for name in (ADAS, BOBS)]
    sent: dict[str, Any] = {"data": {"chosen": read, "action": "reject"}}
    if path == "/api/batch":
        sent = {"json": {"row_ids": read, "action": "reject"}}
    elif path.endswith("/alike"):
        sent = {"data": {"row_id": read[0], "chosen": read[1:], "action": "accept"}}
    answer = browser(app, site, "Wanda").post(path, **sent)
    states = {row_of(site, name).state for name in (ADAS, BOBS)}
    if control == "off":
        assert answer.status_code in (200, 303)
        assert states == {"reviewed" if path.endswith("/alike") else "rejected"}, "without the control the attack works"
        for name in (ADAS, BOBS):
            decisions.review(site.house.store, site.house.dataset, name, ReviewDecision("return", "Ana"), now_s=2.0)
    else:
        assert answer.status_code == 404
        assert states == {"pending"}


@pytest.fixture
def carl(app: Any, site: Town) -> Iterator[TestClient]:
    """Carl, who may see two wearers; one of them has not said anything yet."""
    site.access.accounts.allow(site.id_of("Carl"), Role.CAREGIVER, frozenset({"Ada", "Bob"}))
    site.agrees("Bob", GRANTED)
    yield browser(app, site, "Carl")
    site.agrees("Bob", GRANTED)
    site.access.accounts.allow(site.id_of("Carl"), Role.CAREGIVER, frozenset({"Ada"}))


@pytest.mark.parametrize("control", ["on", "off"])
@pytest.mark.parametrize("permit", ABOUT_A_MOMENT, ids=names)
def test_the_moment_of_a_wearer_who_withdrew_is_not_there_from_the_next_request_on(
    permit: Permit, control: str, site: Town, carl: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ask(carl, permit, path_of(site, permit, BOBS, by="Carl"))
    assert before.status_code != 404
    if control == "off":
        monkeypatch.setattr("server.consent.visible.sees", lambda *_: True)
    site.agrees("Bob", HIDDEN)
    after = ask(carl, permit, path_of(site, permit, BOBS, by="Carl"))
    assert after.status_code == (before.status_code if control == "off" else 404)


DOES_MORE = ("POST /undo", "POST /api/undo", "POST /api/ear/undo")
LISTS = [
    permit
    for permit in GUARDED
    if ("{sample_id}" not in permit.path or permit.method == "GET")
    and Role.CAREGIVER.covers(permit.least or Role.ADMIN)
    and names(permit) not in DOES_MORE
    and not permit.path.startswith("/account")  # it says for whom the account is: what an admin wrote, not a wearer
]
SHOWN = {
    "GET /", "GET /moments", "GET /batch", "GET /api/samples", "GET /api/choices", "GET /api/stats", "GET /wearers",
    "POST /api/next", "GET /api/undo", "GET /api/samples/{sample_id}/near", "GET /moments/{sample_id}",
}  # fmt: skip
"""Answers that show Bob's moment to whom he lets see it, though their address names another one or none."""


@pytest.mark.parametrize("control", ["on", "off"])
def test_no_answer_shows_anything_of_a_wearer_who_withdrew(
    control: str, site: Town, carl: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = row_of(site, BOBS)
    spare(site, wearer="Bob", device="pi-2", raw_output=row.raw_output)  # a second one, for a group
    carl.post(f"/api/samples/{BOBS}/assign", json={"to": "Bobby"})
    assert carl.post(f"/api/samples/{BOBS}/comments", json={"text": "Is Bobby here?"}).status_code == 200
    for action in ("reject", "return"):
        asked = {"action": action, "row_id": row_of(site, BOBS).row_id}
        assert carl.post(f"/api/samples/{BOBS}/review", json=asked).status_code == 200
    counts = DailyCounts(site.clock, site.house.store)
    counts.add("pi-2", counters.NAMES[0])
    counts.flush(now=True)
    secret = (BOBS, "Bob", "pi-2", row.frame_path, row.clip_path, row.audio_path)

    def shown() -> set[str]:
        carl.post("/api/samples/" + ADAS + "/skip")  # so that Bob's comes first, to whom may see it
        found = set()
        for permit in LISTS:
            answer = ask(carl, permit, path_of(site, permit, by="Carl"))
            found |= {names(permit)} if any(text in answer.text for text in secret) else set()
        return found

    assert shown() >= SHOWN, "it is there while he agrees"
    if control == "off":
        monkeypatch.setattr(visible, "clause", lambda *_: None)
        monkeypatch.setattr(visible, "may_see_wearer", lambda *_: True)
    site.agrees("Bob", HIDDEN)
    after = shown()
    assert after >= SHOWN if control == "off" else not after, after


@pytest.mark.parametrize("control", ["on", "off"])
@pytest.mark.parametrize("path", ["/undo", "/api/undo", "/api/ear/undo"])
def test_a_decision_about_a_moment_that_may_not_be_seen_any_more_is_not_undone(
    path: str, control: str, site: Town, carl: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"action": "reject", "row_id": row_of(site, BOBS).row_id}
    assert carl.post(f"/api/samples/{BOBS}/review", json=asked).status_code == 200
    if control == "off":
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    site.agrees("Bob", HIDDEN)
    answer = carl.post(path) if path == "/undo" else carl.post(path, json={})
    assert row_of(site, BOBS).state == ("pending" if control == "off" else "rejected")
    assert (BOBS in answer.text + answer.headers.get("location", "")) == (control == "off")
    if control == "on":
        assert "may not see that moment any more" in answer.text
        site.agrees("Bob", GRANTED)
        assert carl.post("/api/undo", json={}).status_code == 200


@pytest.mark.parametrize("control", ["on", "off"])
def test_what_was_offered_to_the_ear_is_not_spoken_any_more(
    control: str, site: Town, carl: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = carl.get(f"/api/ear/{BOBS}/say", params={"what": "wearer"}).json()["parts"]
    addresses = [part["sound"] for part in offered if part["sound"].startswith("/ear/sound/")]
    assert addresses
    if control == "off":
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    site.agrees("Bob", HIDDEN)
    for address in addresses:
        assert (carl.get(address).status_code == 404) == (control == "on")


@pytest.mark.parametrize("control", ["on", "off"])
def test_what_looks_like_a_moment_that_may_not_be_seen_is_not_told(
    control: str, site: Town, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.house.store.writing() as connection:
        sought.keep_looks(connection, {ADAS: 7, BOBS: 7})
    if control == "off":
        monkeypatch.setattr(visible, "clause", lambda *_: None)
    found = browser(app, site, "Wanda").get("/api/samples", params={"state": "all", "like": BOBS}).json()
    assert bool(found["total"]) == (control == "off")


def test_figures_for_prometheus_are_for_admins_this_machine_and_a_token(app: Any, site: Town) -> None:
    assert [browser(app, site, name).get("/metrics").status_code for name in ("", *PEOPLE)] == [403, 403, 403, 200]
    text = browser(app, site, "Ana").get("/metrics").text
    assert "waycue_moments" in text
    assert not any(secret in text for secret in (ADAS, BOBS, "Ada", "Bob", "Wanda", "Carl"))


def test_signs_in_a_path_open_nothing(app: Any, site: Town) -> None:
    """What the table sees is what the routes match, whatever is encoded in a path."""
    visitor = browser(app, site)
    for start in ("/healthz", "/static", "/join/x", f"/api/samples/{ADAS}"):
        for end in ("%3F", "%23", "%3F/review", "%2F..%2Fhealthz", "/", "%00"):
            answer = visitor.get(f"{start}{end}")
            assert answer.status_code in (303, 401, 404), f"{start}{end}: {answer.text}"
            assert ADAS not in answer.text


def test_all_wearers_are_seen_by_those_who_may(app: Any, site: Town) -> None:
    ana = browser(app, site, "Ana")
    assert ana.get(f"/moments/{BOBS}").status_code == 200
    assert BOBS in ana.get("/api/samples?state=all").text
    path = row_of(site, BOBS).clip_path
    assert ana.get(f"/media/{path}").status_code == 200
    assert ana.get(f"/media/{path}", headers={"Range": "bytes=0-9"}).status_code == 206


def test_a_file_that_no_moment_names_is_not_there(app: Any, site: Town) -> None:
    orphan = "frames/" + "0" * 64 + ".jpg"
    (site.house.dataset.folder / orphan).write_bytes(b"x")
    assert browser(app, site, "Ana").get(f"/media/{orphan}").status_code == 404


def test_other_wearers_count_from_the_next_request(app: Any, site: Town) -> None:
    carl = browser(app, site, "Carl")
    assert carl.get(f"/moments/{BOBS}").status_code == 404
    site.access.accounts.allow(site.id_of("Carl"), Role.CAREGIVER, frozenset({"Bob"}))
    try:
        assert (carl.get(f"/moments/{BOBS}").status_code, carl.get(f"/moments/{ADAS}").status_code) == (200, 404)
    finally:
        site.access.accounts.allow(site.id_of("Carl"), Role.CAREGIVER, frozenset({"Ada"}))


def test_who_looked_at_what_is_written_down(app: Any, site: Town) -> None:
    site.house.clock.sleep(120)
    wanda = browser(app, site, "Wanda")
    site.access.audit.flush()
    before = len(site.access.audit.newest(name="Wanda"))
    wanda.get("/api/samples?state=all")
    wanda.get(f"/moments/{ADAS}")
    wanda.get(f"/moments/{BOBS}")
    wanda.get(f"/media/{row_of(site, ADAS).frame_path}")
    asked = {"action": "reject", "row_id": row_of(site, ADAS).row_id}
    assert wanda.post(f"/api/samples/{ADAS}/review", json=asked).status_code == 200
    site.access.audit.flush()
    entries = site.access.audit.newest(name="Wanda")
    found = [(entry.action, entry.about) for entry in entries[: len(entries) - before]]
    wanted = {("listed", ADAS), ("looked", ADAS), ("opened", row_of(site, ADAS).frame_path), ("decided", ADAS)}
    assert set(found) == wanted
    asked = {"action": "return", "row_id": row_of(site, ADAS).row_id}
    assert wanda.post(f"/api/samples/{ADAS}/review", json=asked).status_code == 200


def test_before_there_is_an_account_only_this_machine_is_served(memory_path: Path) -> None:
    with town(memory_path, people=False) as empty:
        here, elsewhere = empty.visitor(alone=True), empty.visitor(alone=False)
        assert here.get("/").status_code == 200
        assert [here.get(path).status_code for path in ("/account", "/account/code", "/people")] == [404, 404, 200]
        assert here.post("/account/everywhere").status_code == 404
        assert here.get("/", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403
        for permit in PERMITS:
            if "provider" in permit.path:
                continue
            answer = elsewhere.request(permit.method, path_of(empty, permit))
            assert (answer.status_code == 403) != permit.before_accounts, names(permit)
        empty.add(PEOPLE["Ana"])
        assert here.get("/").headers["location"] == "/login"
        assert elsewhere.get("/").headers["location"] == "/login"
