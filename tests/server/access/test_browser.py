"""The door in a real Chromium: with the keyboard alone, without JavaScript, on a phone; the console stays silent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ViewportSize, expect, sync_playwright

from server.access.person import Role
from server.web.app import create_app
from tests.server.access.people import PASSWORD, Town, town
from tests.server.web.browsing import ARGUMENTS, CHROMIUM, TARGET_PX
from tests.server.web.serving import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")
PHONE: ViewportSize = {"width": 390, "height": 844}
SMALL = """() => [...document.querySelectorAll('main a, main button, main input, main select, main summary, .who a')]
    .filter(e => e.type !== 'checkbox' && e.type !== 'hidden' && e.offsetParent !== null)
    .filter(e => e.getBoundingClientRect().height < TARGET).map(e => e.outerHTML.slice(0, 90))"""


@pytest.fixture
def site(memory_path: Path) -> Iterator[Town]:
    with town(memory_path, people=False) as made:
        yield made


def test_an_admin_joins_logs_in_with_a_code_and_invites_by_keyboard_alone(site: Town, tmp_path: Path) -> None:
    complaints: list[str] = []
    link = site.access.invitations.invite(Role.ADMIN, None, by="")
    app = create_app(site.house.store, site.house.dataset, clock=site.clock, access=site.access, alone=False)
    with served(app) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(viewport=PHONE, java_script_enabled=True, color_scheme="dark").new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.goto(f"{url}/join/{link}")
        page.get_by_label("Your name").focus()
        for text in ("Ana", PASSWORD, PASSWORD):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Flagged by Ada")
        page.get_by_role("button", name="Log out").press("Enter")
        expect(page.get_by_role("status")).to_have_text("You are logged out.")
        page.goto(f"{url}/people")
        page.get_by_label("Name").fill("ana")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("People")
        page.get_by_role("button", name="Make an invitation").press("Enter")
        expect(page.get_by_role("img", name="QR code with the link")).to_be_visible()
        assert re.fullmatch(rf"{url}/join/[\w-]{{43}}", page.locator(".secret").inner_text())
        for path in ("/login", "/people", "/account", "/account/code", "/"):
            page.goto(f"{url}{path}")
            if path == "/people":
                page.get_by_text("Change").first.click()
            page.screenshot(path=tmp_path / f"phone{path.replace('/', '-')}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            assert Axe().run(page).response["violations"] == [], path
            if path != "/":
                assert page.evaluate(SMALL.replace("TARGET", str(TARGET_PX))) == [], path
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto(f"{url}/account")
        plain.get_by_label("Name").fill("Ana")
        plain.get_by_label("Password", exact=True).fill("wrong password")
        plain.get_by_role("button", name="Log in").click()
        expect(plain.get_by_role("alert")).to_contain_text("is wrong")
        plain.screenshot(path=tmp_path / "login.png")
        plain.get_by_label("Password", exact=True).fill(PASSWORD)
        plain.get_by_role("button", name="Log in").click()
        expect(plain.get_by_role("heading", level=1)).to_have_text("Your account")
        plain.screenshot(path=tmp_path / "account.png", full_page=True)
        browser.close()
    assert complaints == []
