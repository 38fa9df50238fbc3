"""The pages for admins in a real Chromium: they break no rule of axe, nothing is cut off, targets are large, all of it
by keyboard and without JavaScript."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from server import config as server_config
from tests.server.web.browsing import TARGET_PX, broken_words, covered, needs_chromium
from tests.server.web.test_admin import PAGES, AdminSite, site

__all__ = ["site"]

pytestmark = needs_chromium


ALL_PAGES = (*(f"/admin{path}" for path in PAGES), "/people", "/wearers", "/wearers/Ada", "/deletions")


def opened(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), pytest.param(1280, "light", marks=pytest.mark.soak)])
def test_nothing_is_cut_off_targets_are_large_and_headings_go_down_step_by_step(
    browser: Browser, site: AdminSite, width: int, scheme: Literal["dark", "light"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    for path in ALL_PAGES:
        page.goto(f"{site.url}{path}")
        opened(page)
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == [], path
        current = page.get_by_role("navigation", name="Main").locator("[aria-current]").all_inner_texts()
        assert current == ["Admin" if path.startswith(("/admin", "/people")) else "Wearers"], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        small = page.evaluate(
            """least => [...document.querySelectorAll(
                    'a, button, select, summary, textarea, input:not([type=hidden]):not([type=checkbox])')]
                .filter(e => e.offsetParent && !e.closest('.lead, label') && !e.classList.contains('skip'))
                .filter(e => e.getBoundingClientRect().height < least || e.getBoundingClientRect().width < least)
                .map(e => e.outerHTML)""",
            TARGET_PX,
        )
        assert small == [], path
        assert covered(page) == [], path
        assert broken_words(page) == [], path
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, svg[role]')]
                .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim()
                               || [...(e.labels || [])].some(label => label.textContent.trim())))
                .map(e => e.outerHTML)"""
        )
        assert nameless == [], path
        levels = page.evaluate(
            "() => [...document.querySelectorAll('h1, h2, h3, h4')].filter(h => !h.closest('dialog'))"
            ".map(h => Number(h.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), path
    context.close()
    assert complaints == []


def test_a_setting_is_changed_by_keyboard_alone_without_javascript(browser: Browser, site: AdminSite) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.url}/admin/settings/learn")
    page.get_by_label("new_rows_least").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("57")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Changed: new_rows_least.")
    assert server_config.load(site.house.home).learn.new_rows_least == 57
    page.goto(f"{site.url}/admin/progress")
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details").first.get_by_role("table")).to_be_visible()
    context.close()
