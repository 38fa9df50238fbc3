"""Every route of the page, asked without a log-in, by each role, and for another wearer's moment.

The routes come from the application itself: one that is not in `server.web.permits` fails here.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from server.review import decisions
from server.web import permits
from server.web.permits import PERMITS, Permit
from tests.server.access.people import ADAS, BOBS, PEOPLE, SAME_SITE, SITE, Town, town

PROVIDER = AccessSettings(provider="http://127.0.0.1:9", client_id="waycue")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with town(tmp_path_factory.mktemp("town"), settings=PROVIDER) as made:
        yield made


@pytest.fixture(scope="module")
def app(site: Town) -> Any:
    return site.app()


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


def path_of(site: Town, permit: Permit, sample_id: str = ADAS) -> str:
    kind, name = row_of(site, sample_id).frame_path.split("/")
    values = {"sample_id": sample_id, "kind": kind, "name": name, "account_id": 1, "token_id": 1, "token": "x"}
    return permit.path.replace("{path:path}", "review.css").format(**values)


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
    answer = browser(app, site, name).request(permit.method, path_of(site, permit))
    assert permit.least is not None
    if PEOPLE[name].role.covers(permit.least):
        assert answer.status_code in ((200,) if permit.method == "GET" else (200, 303, 409, 422)), answer.text
    else:
        assert answer.status_code == 403


@pytest.mark.parametrize("permit", GUARDED, ids=names)
def test_a_token_does_what_its_scopes_say(permit: Permit, app: Any, site: Town) -> None:
    token = site.access.tokens.make(site.id_of("Ana"), "read", [TokenScope.READ])
    (made,) = site.access.tokens.all()
    answer = browser(app, site, Authorization=f"Bearer {token}").request(permit.method, path_of(site, permit))
    assert (answer.status_code == 200) == (permit.scope is TokenScope.READ), answer.text
    site.access.tokens.revoke(made.id)
    again = browser(app, site, Authorization=f"Bearer {token}").request(permit.method, path_of(site, permit))
    assert again.status_code in (303, 401)


@pytest.mark.parametrize("control", ["on", "off"])
@pytest.mark.parametrize("name", ["Wanda", "Carl"])
@pytest.mark.parametrize("permit", ABOUT_A_MOMENT, ids=names)
def test_another_wearers_moment_is_not_there(
    permit: Permit, name: str, control: str, app: Any, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    own, foreign = (browser(app, site, name).request(permit.method, path_of(site, permit, m)) for m in (ADAS, BOBS))
    assert own.status_code in (200, 303, 422)
    if control == "off":
        assert foreign.status_code == own.status_code, "without the control the attack works"
        return
    assert foreign.status_code == 404
    missing = browser(app, site, name).request(permit.method, path_of(site, permit, BOBS).replace("pi-2", "pi-9"))
    assert foreign.text.replace("pi-2", "pi-9") == missing.text or permit.path.startswith("/media/")


@pytest.mark.parametrize("control", ["on", "off"])
def test_lists_and_figures_hold_ones_own_moments_only(
    control: str, app: Any, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "clause", lambda _: None)
        monkeypatch.setattr("server.web.page.may_see", lambda *_: True)
    wanda = browser(app, site, "Wanda")
    listed = wanda.get("/api/samples", params={"state": "all"}).json()
    pages = [wanda.get(path).text for path in ("/", "/batch", f"/?done={BOBS}")]
    seen = BOBS in str(listed), any(BOBS in page for page in pages), sum(listed["counts"].values()) == 2
    assert seen == ((True,) * 3 if control == "off" else (False,) * 3)
    assert any(ADAS in page for page in pages)
    total = sum(wanda.get("/api/stats").json()["counts"].values())
    assert total == (2 if control == "off" else 1)


@pytest.mark.parametrize("control", ["on", "off"])
def test_several_at_once_are_ones_own_too(control: str, app: Any, site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr("server.web.batch.may_see", lambda *_: True)
    form = {"chosen": [row_of(site, ADAS).row_id, row_of(site, BOBS).row_id], "action": "nothing"}
    answer = browser(app, site, "Wanda").post("/batch", data=form)
    if control == "off":
        assert answer.status_code == 303
        assert row_of(site, BOBS).state == "reviewed", "without the control the attack works"
    else:
        assert answer.status_code == 404
        assert (row_of(site, ADAS).state, row_of(site, BOBS).state) == ("pending", "pending")


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
    wanda.post(f"/api/samples/{ADAS}/review", json={"action": "reject"})
    site.access.audit.flush()
    entries = site.access.audit.newest(name="Wanda")
    found = [(entry.action, entry.about) for entry in entries[: len(entries) - before]]
    wanted = {("listed", ADAS), ("looked", ADAS), ("opened", row_of(site, ADAS).frame_path), ("decided", ADAS)}
    assert set(found) == wanted
    assert wanda.post(f"/api/samples/{ADAS}/review", json={"action": "nothing"}).status_code == 200


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
