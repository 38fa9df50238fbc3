"""Attacks on the log-in and on what it protects. Each is repeated with its control taken out, to see it work."""

from __future__ import annotations

from typing import Any

import pytest

from server.access import login, visible
from server.access.lockout import FREE, MOST_NAME_S, Lockout
from server.access.login import LoginAttempt
from server.access.sessions import Sessions
from server.access.tokens import TokenScope
from server.dataset.sample_row import SampleRow
from server.review import decisions
from server.web import guard, signing_in
from tests.server.access.people import ADAS, PASSWORD, PEOPLE, Town

CONTROL = pytest.mark.parametrize("control", ["on", "off"])
LOGIN = {"name": "Carl", "password": PASSWORD}


def state(site: Town) -> str:
    return moment(site).state


def moment(site: Town) -> SampleRow:
    row = decisions.get(site.house.store, ADAS)
    assert row is not None
    return row


def reject(site: Town) -> dict[str, str]:
    """A decision that is in order."""
    return {"action": "reject", "row_id": moment(site).row_id}


@CONTROL
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
        {"Sec-Fetch-Site": ""},
    ],
)
def test_another_site_can_not_use_a_browsers_log_in(
    headers: dict[str, str], control: str, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cross-site request forgery. SameSite=Lax, which browsers add, is not counted on here."""
    if control == "off":
        monkeypatch.setattr(guard, "_is_from_elsewhere", lambda *_: False)
    carl = site.as_("Carl")
    for path, sent in ((f"/moments/{ADAS}/review", reject(site)), ("/account/everywhere", {})):
        answer = carl.post(path, data=sent, headers=headers)
        assert answer.status_code == (303 if control == "off" else 403)
    assert state(site) == ("rejected" if control == "off" else "pending")
    assert site.access.sessions.count(site.id_of("Carl")) == (0 if control == "off" else 1)


@CONTROL
def test_another_site_can_not_log_a_browser_in(control: str, site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(guard, "_is_from_elsewhere", lambda *_: False)
    answer = site.visitor().post("/login", data=LOGIN, headers={"Sec-Fetch-Site": "cross-site"})
    assert ("waycue" in answer.cookies) == (control == "off")


def test_a_program_with_a_token_needs_no_browsers_headers(site: Town) -> None:
    token = site.access.tokens.make(site.id_of("Carl"), "script", [TokenScope.REVIEW])
    headers = {"Authorization": f"Bearer {token}", "Sec-Fetch-Site": ""}
    answer = site.visitor().post(f"/api/samples/{ADAS}/review", json=reject(site), headers=headers)
    assert answer.status_code == 200


@CONTROL
def test_a_session_that_somebody_else_chose_is_not_taken_over(
    control: str, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Session fixation: Mallory's own session is planted in Carl's browser before Carl logs in."""
    if control == "off":

        def adopt(self: Sessions, account_id: int, *, instead_of: str = "") -> str:
            return instead_of or opened(self, account_id)

        opened = Sessions.open
        monkeypatch.setattr(Sessions, "open", adopt)
    planted = site.access.sessions.open(site.id_of("Wanda"))
    victim = site.visitor()
    victim.cookies.set("waycue", planted)
    assert victim.post("/login", data=LOGIN).status_code == 303
    after = victim.cookies.get("waycue", domain="127.0.0.1") or victim.cookies.get("waycue", domain="")
    if control == "off":
        assert after == planted, "without the control both know the token"
    else:
        assert after != planted
        assert site.access.sessions.account_of(planted) is None, "and what was planted has ended"


def test_the_cookie_is_out_of_reach_of_scripts_and_of_plain_http(site: Town) -> None:
    plain = site.visitor().post("/login", data=LOGIN).headers["set-cookie"]
    secure = site.visitor(url="https://127.0.0.1").post("/login", data=LOGIN).headers["set-cookie"]
    for text in (plain, secure):
        assert "HttpOnly" in text
        assert "SameSite=lax" in text
    assert "Secure" not in plain
    assert "Secure" in secure
    assert secure.startswith("__Host-waycue=")


@CONTROL
def test_passwords_can_not_be_guessed(control: str, site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(Lockout, "wait_s", lambda *_: 0.0)
    read = 0
    for guess in range(200):
        typed = LoginAttempt("Carl", f"wrong guess {guess}", network=f"192.0.2.{guess % 100}")
        before = dict(site.access.lockout._known)
        login.attempt(site.access, typed)
        read += site.access.lockout._known != before
    assert read == (200 if control == "off" else FREE), "the clock stands still: only the free ones are read"


@CONTROL
def test_an_address_can_not_try_one_password_on_all_names(
    control: str, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    if control == "off":
        monkeypatch.setattr(Lockout, "wait_s", lambda *_: 0.0)
    waits = [
        login.attempt(site.access, LoginAttempt(f"name {n}", PASSWORD, network="192.0.2.7")).wait_s for n in range(20)
    ]
    assert (max(waits) > 0) == (control == "on")


@CONTROL
def test_how_often_an_address_asks_at_all_is_bounded(control: str, site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(signing_in.DoorRates, "allow", lambda *_: True)
    visitor = site.visitor()
    links = [visitor.get("/join/made-up").status_code for _ in range(40)]
    assert (429 in links) == (control == "on")


def test_guesses_keep_nobody_out_for_ever(site: Town) -> None:
    known = site.access.sessions.remember(site.id_of("Carl"), "")
    for guess in range(50):
        login.attempt(site.access, LoginAttempt("Carl", "wrong", network=f"192.0.2.{guess}"))
    mine = {"name": "Carl", "password": PASSWORD, "network": "198.51.100.1"}
    assert login.attempt(site.access, LoginAttempt(**mine)).wait_s > 0, "a new browser waits"
    assert login.attempt(site.access, LoginAttempt(**mine, browser=known)).account is not None, "a known one does not"
    stolen = site.access.sessions.remember(site.id_of("Wanda"), "")
    assert login.attempt(site.access, LoginAttempt(**mine, browser=stolen)).account is None
    site.house.clock.sleep(MOST_NAME_S)
    assert login.attempt(site.access, LoginAttempt(**mine)).account is not None, "and so does everybody a minute later"


def test_an_unknown_name_and_a_wrong_password_are_answered_alike(site: Town) -> None:
    def tries(name: str) -> list[tuple[int, str]]:
        site.access.lockout = Lockout()
        answers = [site.visitor().post("/login", data={"name": name, "password": "x" * 12}) for _ in range(FREE + 1)]
        return [(answer.status_code, answer.text.replace(name, "NAME")) for answer in answers]

    assert tries("Carl") == tries("Nobody")


@pytest.mark.parametrize(
    "after",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil",
     "/login?after=/", "/\tevil", "http:/evil", "///evil.example", ""],
)  # fmt: skip
def test_a_log_in_leads_on_to_this_server_only(after: str, site: Town) -> None:
    answer = site.visitor().post("/login", data={**LOGIN, "after": after})
    assert answer.headers["location"] == "/"


def test_a_log_in_leads_on_to_the_page_that_was_asked_for(site: Town) -> None:
    visitor = site.visitor()
    asked = visitor.get(f"/moments/{ADAS}?changed=true")
    form = visitor.get(asked.headers["location"])
    assert f'value="/moments/{ADAS}?changed=true"' in form.text
    answer = visitor.post("/login", data={**LOGIN, "after": f"/moments/{ADAS}?changed=true"})
    assert answer.headers["location"] == f"/moments/{ADAS}?changed=true"


def test_names_that_are_markup_are_text(site: Town) -> None:
    evil = "<img src=x onerror=alert(1)>"
    answer = site.visitor().post("/login", data={"name": evil, "password": "x" * 12})
    assert evil not in answer.text
    site.access.accounts.change(site.id_of("Wanda"), name=evil)
    assert evil not in site.as_("Ana").get("/people").text


@CONTROL
def test_a_token_never_does_more_than_its_owner_may(control: str, site: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    if control == "off":
        monkeypatch.setattr(visible, "may_see", lambda *_: True)
    token = site.access.tokens.make(site.id_of("Wanda"), "all", list(TokenScope))
    bearer = {"Authorization": f"Bearer {token}"}
    visitor = site.visitor()
    assert visitor.get("/people", headers=bearer).status_code == 403
    foreign = visitor.get("/api/samples/pi-2-b00t-000000", headers=bearer)
    assert foreign.status_code == (200 if control == "off" else 404)


def test_an_open_browser_is_not_enough_to_stay_in(site: Town) -> None:
    carl: Any = site.as_("Carl")
    new = {"password": "another long one", "again": "another long one"}
    for path, form in (
        ("/account/password", new),
        ("/account/tokens", {"label": "x", "scopes": "read"}),
        ("/account/code/off", {}),
    ):
        for current in ("", "wrong"):
            assert carl.post(path, data={**form, "current": current}).status_code == 422
    assert site.access.tokens.all() == []
    assert login.attempt(site.access, LoginAttempt("Carl", PASSWORD)).account is not None
    assert PEOPLE["Carl"].name == "Carl"
