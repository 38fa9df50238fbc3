"""Accounts by program: the same acts as by the page, with a scope of their own, each written down."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from server.access.person import Person, Role
from server.access.tokens import TokenScope
from server.web import entry
from tests.server.access.people import PASSWORD, SAME_SITE, Town

SESSION = "waycue"


BOTH = (TokenScope.ACCOUNTS, TokenScope.ADMIN)


def program(site: Town, name: str = "Ana", scopes: tuple[TokenScope, ...] = BOTH) -> TestClient:
    token = site.access.tokens.make(site.id_of(name), "script", scopes)
    made = site.visitor()
    made.headers.update({"Authorization": f"Bearer {token}"})
    return made


def noted(site: Town) -> list[tuple[str, str, str, str]]:
    site.access.audit.flush()
    return [(one.name, one.action, one.about, one.detail) for one in site.access.audit.newest(name="Ana")][::-1]


def test_a_program_lets_somebody_in_changes_and_removes_them(site: Town) -> None:
    ana = program(site)
    invited = ana.post("/api/accounts", json={"role": "caregiver", "wearers": ["Ada"], "hours": 2}).json()
    token = invited["link"].rpartition("/")[2]
    joined = site.visitor().post(f"/join/{token}", data={"name": "Cleo", "password": PASSWORD, "again": PASSWORD})
    assert joined.status_code == 303
    cleo = site.id_of("Cleo")
    (told,) = [one for one in ana.get("/api/accounts").json()["accounts"] if one["name"] == "Cleo"]
    assert (told["id"], told["role"], told["wearers"], told["disabled"]) == (cleo, "caregiver", ["Ada"], False)
    assert not {"password", "totp", "recovery", "provider_id"} & set(told)
    assert ana.post(f"/api/accounts/{cleo}/allow", json={"role": "admin"}).json()["role"] == "admin"
    link = ana.post(f"/api/accounts/{cleo}/reset", json={}).json()["link"]
    assert site.visitor().get(link.removeprefix("http://127.0.0.1")).status_code == 200
    assert ana.delete(f"/api/accounts/{cleo}").json() == {"status": "ok"}
    assert site.access.accounts.by_id(cleo) is None
    assert noted(site) == [
        ("Ana", "let in", "", "invited: caregiver, Ada"),
        ("Ana", "changed", "Cleo", "admin, all wearers"),
        ("Ana", "let in", "Cleo", "a link for a new password"),
        ("Ana", "removed", "Cleo", ""),
    ]


def test_a_list_of_nobody_lets_somebody_see_nobody_s_moments_and_not_everybody_s(site: Town) -> None:
    ana, carl = program(site), site.id_of("Carl")
    before = site.access.accounts.named("Carl").person.wearers
    assert before
    for path in ("/api/accounts", f"/api/accounts/{carl}/allow"):
        assert ana.post(path, json={"role": "caregiver", "wearers": []}).status_code == 422
    assert site.access.accounts.named("Carl").person.wearers == before


@pytest.mark.parametrize("act", ["disable", "demote", "remove"])
def test_an_admin_who_is_one_no_more_has_no_link_left_to_come_in_by(act: str, site: Town) -> None:
    carl = site.id_of("Carl")
    site.access.accounts.allow(carl, Role.ADMIN, None)
    spare, ana = program(site, "Carl").post("/api/accounts", json={"role": "admin"}).json()["link"], program(site)
    other = ana.post("/api/accounts", json={"role": "caregiver"}).json()["link"]
    if act == "remove":
        assert ana.delete(f"/api/accounts/{carl}").status_code == 200
    elif act == "demote":
        assert ana.post(f"/api/accounts/{carl}/allow", json={"role": "caregiver"}).status_code == 200
    else:
        assert ana.post(f"/api/accounts/{carl}/disable", json={"disabled": True}).status_code == 200
    open_links = [site.visitor().get(link.removeprefix("http://127.0.0.1")).status_code for link in (spare, other)]
    assert open_links == [404, 200]


@pytest.mark.parametrize("control", ["on", "off"])
def test_who_is_switched_off_is_let_in_by_nothing_until_they_are_switched_on(
    control: str, site: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana, carl = program(site), site.id_of("Carl")
    browser, script = site.as_("Carl"), program(site, "Carl", (TokenScope.READ,))
    assert script.get("/api/samples").status_code == browser.get("/").status_code == 200
    if control == "off":
        monkeypatch.setattr(entry, "SWITCHED_OFF", "")
        monkeypatch.setattr(type(site.access.accounts), "switch", lambda *_, **__: None)
    ana.post(f"/api/accounts/{carl}/disable", json={"disabled": True})
    expected = 200 if control == "off" else 403
    assert script.get("/api/samples").status_code == expected
    assert browser.get("/").status_code == (200 if control == "off" else 303), "the log-in has ended"
    if control == "off":
        return
    login = site.visitor()
    login.post("/login", data={"name": "Carl", "password": PASSWORD})
    assert "switched off" in login.get("/").text
    assert login.get("/login").status_code == 200, "somebody else may log in there"
    assert ana.post(f"/api/accounts/{carl}/disable", json={"disabled": False}).json()["disabled"] is False
    assert script.get("/api/samples").status_code == 200


def test_the_last_admin_and_oneself_stay_also_beside_admins_who_are_switched_off(site: Town) -> None:
    ana, own = program(site), site.id_of("Ana")
    for path, sent in ((f"/api/accounts/{own}/disable", {"disabled": True}),):
        assert ana.post(path, json=sent).status_code == 422
    assert ana.delete(f"/api/accounts/{own}").status_code == 422
    assert ana.post(f"/api/accounts/{own}/allow", json={"role": "caregiver"}).status_code == 422
    carl = site.id_of("Carl")
    assert ana.post(f"/api/accounts/{carl}/allow", json={"role": "admin"}).status_code == 200
    assert ana.post(f"/api/accounts/{carl}/disable", json={"disabled": True}).status_code == 200
    answer = ana.post(f"/api/accounts/{own}/allow", json={"role": "caregiver"})
    assert answer.json() == {"detail": "This is the last admin. Make another one first."}


@pytest.mark.parametrize("scopes", [(TokenScope.ADMIN, TokenScope.REVIEW, TokenScope.READ), (TokenScope.ACCOUNTS,)])
def test_a_token_without_the_scope_or_of_no_admin_does_nothing(scopes: tuple[TokenScope, ...], site: Town) -> None:
    whose = "Ana" if TokenScope.ACCOUNTS not in scopes else "Carl"
    asks = program(site, whose, scopes)
    for method, path, sent in (
        ("GET", "/api/accounts", None),
        ("POST", "/api/accounts", {"role": "admin"}),
        ("POST", f"/api/accounts/{site.id_of('Carl')}/allow", {"role": "admin"}),
    ):
        answer = asks.request(method, path, json=sent) if sent else asks.request(method, path)
        assert answer.status_code == 403, path
    assert site.access.accounts.named("Carl").person.role is Role.CAREGIVER


def test_a_token_that_lets_people_in_makes_no_admin_and_touches_none(site: Town) -> None:
    ana, carl = program(site, scopes=(TokenScope.ACCOUNTS,)), site.id_of("Carl")
    other = site.add(Person("Otto", Role.ADMIN))
    phone = site.access.tokens.make(other, "phone", [TokenScope.READ])
    (own,) = site.access.tokens.all(other)
    for method, path, sent in (
        ("POST", "/api/accounts", {"role": "admin"}),
        ("POST", f"/api/accounts/{carl}/allow", {"role": "admin"}),
        ("POST", f"/api/accounts/{other}/allow", {"role": "caregiver"}),
        ("POST", f"/api/accounts/{other}/reset", {}),
        ("POST", f"/api/accounts/{site.id_of('Ana')}/reset", {}),
        ("POST", f"/api/accounts/{other}/disable", {"disabled": True}),
        ("POST", f"/api/accounts/{other}/disable", {"disabled": False}),
        ("DELETE", f"/api/accounts/{other}", None),
        ("DELETE", f"/api/accounts/{other}/tokens/{own.id}", None),
    ):
        answer = ana.request(method, path, json=sent)
        assert (answer.status_code, "scope admin" in answer.text) == (403, True), (path, answer.text)
    assert site.access.tokens.account_of(phone) is not None
    assert site.access.accounts.named("Carl").person.role is Role.CAREGIVER
    assert ana.post(f"/api/accounts/{carl}/disable", json={"disabled": True}).status_code == 200
    assert ana.post("/api/accounts", json={"role": "caregiver"}).status_code == 200


def test_tokens_are_told_without_their_secret_and_ended_by_their_owners_number(site: Town) -> None:
    ana, carl = program(site), site.id_of("Carl")
    secret = site.access.tokens.make(carl, "phone", [TokenScope.READ])
    answer = ana.get(f"/api/accounts/{carl}/tokens")
    (told,) = answer.json()["tokens"]
    assert secret not in answer.text
    assert (told["label"], told["scopes"]) == ("phone", ["read"])
    assert ana.delete(f"/api/accounts/{site.id_of('Wanda')}/tokens/{told['id']}").status_code == 404
    assert ana.delete(f"/api/accounts/{carl}/tokens/{told['id']}").status_code == 200
    assert site.access.tokens.all(carl) == []


@pytest.mark.parametrize(
    "sent",
    [
        {"role": "owner"},
        {"role": "wearer"},
        {"role": "admin", "wearers": ["Ada"]},
        {"role": "caregiver", "hours": 10_000},
        {"role": "caregiver", "wearers": [""]},
        {"role": "caregiver", "extra": 1},
    ],
)
def test_what_cannot_be_is_refused_in_words(sent: dict[str, Any], site: Town) -> None:
    answer = program(site).post("/api/accounts", json=sent)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_the_page_switches_off_and_on_too(site: Town) -> None:
    ana, carl = site.as_("Ana"), site.id_of("Carl")
    assert ana.post(f"/people/{carl}/switch", data={"off": "yes"}, headers=SAME_SITE).status_code == 303
    assert "switched off" in ana.get("/people").text
    assert ana.post(f"/people/{carl}/switch", headers=SAME_SITE, data={"off": ""}).status_code == 303
    assert not site.access.accounts.named("Carl").disabled
