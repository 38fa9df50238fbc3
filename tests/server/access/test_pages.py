"""The pages of log-in, invitation, account and people, as a browser without JavaScript uses them."""

from __future__ import annotations

import re

import pyotp

from server.access import login
from server.access.login import LoginAttempt
from server.access.person import Role
from tests.server.access.people import ADAS, BOBS, PASSWORD, Town

NEW = "another long one"


def test_an_invited_person_chooses_a_name_and_is_in(empty: Town) -> None:
    token = empty.access.invitations.invite(Role.WEARER, frozenset({"Ada"}), by="Ana")
    browser = empty.visitor(alone=False)
    page = browser.get(f"/join/{token}")
    assert "a wearer, for the moments of Ada" in page.text
    form = {"name": "Wendy", "password": NEW, "again": NEW}
    assert "not the same" in browser.post(f"/join/{token}", data={**form, "again": "x"}).text
    assert "10 to 256" in browser.post(f"/join/{token}", data={**form, "password": "x", "again": "x"}).text
    assert browser.post(f"/join/{token}", data=form).headers["location"] == "/"
    assert f"moment-{ADAS}" in browser.get("/").text
    assert f"moment-{BOBS}" not in browser.get("/").text
    assert 'Logged in as <a href="/account">Wendy</a>' in browser.get("/").text
    assert empty.visitor().get(f"/join/{token}").status_code == 404
    assert empty.visitor().post(f"/join/{token}", data={**form, "name": "Eve"}).status_code == 404


def test_logging_out_ends_the_session(site: Town) -> None:
    wanda = site.as_("Wanda")
    session = wanda.cookies["waycue"]
    assert wanda.post("/logout").headers["location"] == "/login?said=out"
    assert "You are logged out." in wanda.get("/login?said=out").text
    assert site.access.sessions.account_of(session) is None


def test_a_changed_password_logs_the_others_out_and_not_oneself(site: Town) -> None:
    here, there = site.as_("Carl"), site.as_("Carl")
    form = {"current": PASSWORD, "password": NEW, "again": NEW}
    assert here.post("/account/password", data=form).headers["location"] == "/account?said=password"
    assert here.get("/account?said=password").status_code == 200
    assert there.get("/").headers["location"] == "/login"
    assert login.attempt(site.access, LoginAttempt("Carl", NEW)).account is not None


def test_an_app_for_codes_is_set_up_with_a_picture_and_recovery_codes(site: Town) -> None:
    carl = site.as_("Carl")
    page = carl.get("/account/code").text
    secret = re.search(r'name="secret" value="([A-Z2-7]{32})"', page)
    assert secret is not None
    assert "<svg" in page
    now = int(site.clock.utc_s())
    form = {"secret": secret[1], "code": "000000", "current": PASSWORD}
    assert "The code is wrong" in carl.post("/account/code", data=form).text
    done = carl.post("/account/code", data={**form, "code": pyotp.TOTP(secret[1]).at(now)}).text
    codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code></li>", done)
    assert len(codes) == 8
    login_form = {"name": "Carl", "password": PASSWORD}
    browser = site.visitor()
    assert browser.post("/login", data=login_form).status_code == 401
    assert browser.post("/login", data={**login_form, "code": codes[3]}).status_code == 303
    assert browser.post("/account/code/off", data={"current": PASSWORD}).status_code == 303
    assert site.visitor().post("/login", data=login_form).status_code == 303


def test_a_token_is_shown_once_listed_and_revoked(site: Town) -> None:
    carl = site.as_("Carl")
    form = {"label": "my script", "scopes": ["read", "review"], "days": "30", "current": PASSWORD}
    shown = re.search(r"wct_[\w-]{43}", carl.post("/account/tokens", data=form).text)
    assert shown is not None
    page = carl.get("/account").text
    assert shown[0] not in page
    assert "my script" in page
    bearer = {"Authorization": f"Bearer {shown[0]}"}
    assert site.visitor().get("/api/samples", headers=bearer).status_code == 200
    (made,) = site.access.tokens.all()
    assert carl.post(f"/account/tokens/{made.id}/revoke").status_code == 303
    assert site.visitor().get("/api/samples", headers=bearer).status_code == 401


def test_an_admin_invites_changes_resets_and_removes(site: Town) -> None:
    ana = site.as_("Ana")
    assert "Wearers who are known here: Ada, Bob." in ana.get("/people").text
    page = ana.post("/people/invite", data={"role": "caregiver", "wearers": "Ada, Bob"}).text
    link = re.search(r"http://127\.0\.0\.1/join/[\w-]{43}", page)
    assert link is not None
    assert "<svg" in page
    joined = site.visitor()
    form = {"name": "Cleo", "password": NEW, "again": NEW}
    assert joined.post(link[0], data=form).status_code == 303
    assert joined.get(f"/moments/{BOBS}").status_code == 200
    cleo = site.id_of("Cleo")
    assert ana.post(f"/people/{cleo}/allow", data={"role": "wearer", "wearers": "Ada"}).status_code == 303
    assert joined.get(f"/moments/{BOBS}").status_code == 404
    assert "Say under which name" in ana.post(f"/people/{cleo}/allow", data={"role": "wearer"}).text
    reset = re.search(r"http://127\.0\.0\.1/join/[\w-]{43}", ana.post(f"/people/{cleo}/reset").text)
    assert reset is not None
    assert "For Cleo" in site.visitor().get(reset[0]).text
    assert "Tick" in ana.post(f"/people/{cleo}/remove").text
    assert ana.post(f"/people/{cleo}/remove", data={"sure": "yes"}).status_code == 303
    assert joined.get("/").headers["location"] == "/login"
    assert "your own account" in ana.post(f"/people/{site.id_of('Ana')}/remove", data={"sure": "yes"}).text
    site.access.audit.flush()
    assert {"let in", "changed", "removed"} <= {entry.action for entry in site.access.audit.newest(name="Ana")}


def test_pages_have_one_heading_and_a_label_for_each_field(site: Town) -> None:
    token = site.access.invitations.invite(Role.CAREGIVER, None, by="Ana")
    ana = site.as_("Ana")
    paths = ("/account", "/account/code", "/people", "/login", f"/join/{token}")
    for path in paths:
        text = ana.get(path).text
        assert text.count("<h1") == 1
        ids = re.findall(r'<(?:input|select)(?![^>]*type="hidden")[^>]* id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert [one for one in ids if f'for="{one}"' not in text] == []
        assert len(re.findall(r'<(?:input|select)(?![^>]*type="hidden")', text)) == len(ids)
        assert "style=" not in text
        assert "<script>" not in text
