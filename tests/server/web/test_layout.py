"""How the pages look in a real Chromium: no rule of axe is broken in light, dark or on a phone, nothing is cut off,
targets are large, texts have contrast."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from server.review import decisions, marks
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment
from tests.server.web.browsing import TARGET_PX, NewPage, broken_words, covered, field, needs_chromium
from tests.server.web.serving import PUZZLING

pytestmark = needs_chromium

PAGES = (
    "/",
    f"/moments/{PUZZLING}",
    "/moments?state=all&thing=bin",
    "/batch",
    "/keys",
    "/ear",
    "/offline",
    "/?words=z",
)


def test_no_page_breaks_a_rule_of_axe_in_light_dark_or_on_a_phone(open_page: NewPage, house: House) -> None:
    marks.mark_difficult(house.store, PUZZLING, "Ana", difficult=True, now_s=1.0)
    marks.comment(house.store, PUZZLING, "Ana", "Is this a cone?", now_s=1.0)
    for options in (
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
    ):
        page = open_page(**options)
        for path in PAGES:
            page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + path)
            found = Axe().run(page).response["violations"]
            assert [(path, rule["id"], rule["nodes"][0]["html"]) for rule in found] == []
            texts = [heading.strip() for heading in page.locator("main h1, main h2, main h3").all_inner_texts()]
            assert len(texts) == len(set(texts)), path
            levels = page.evaluate(
                "() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]"
                ".filter(h => !h.closest('dialog')).map(h => Number(h.tagName[1]))"
            )
            assert levels[0] == 1, path
            assert all(after <= before + 1 for before, after in pairwise(levels)), path


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_cut_off_and_targets_are_large(open_page: NewPage, house: House, width: int) -> None:
    house.send_all([moment(n, raw_output="Caution, signboard slightly left.") for n in (10, 11)])
    page = open_page(viewport={"width": width, "height": 800})
    origin = page.url.rstrip("/")
    for path in ("/", f"/moments/{PUZZLING}", "/moments?state=pending", "/batch", "/keys", "/ear"):
        page.goto(f"{origin}{path}")
        for summary in page.locator("details.where > summary").all():
            if not summary.evaluate("element => element.parentElement.open"):
                summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        cut = page.evaluate(
            "[...document.querySelectorAll('button')].filter(e => e.scrollWidth > e.clientWidth)"
            ".map(e => e.textContent)"
        )
        assert cut == [], "a button is as wide as its longest word, at least"
        assert broken_words(page) == [], path
        assert covered(page) == [], path
        small = page.evaluate(
            """least => [...document.querySelectorAll(
                    'a, button, select, summary, input:not([type=hidden]):not([type=checkbox]), audio')]
                .filter(e => e.offsetParent && !e.closest('.empty p, .lead, .aside') && !e.classList.contains('skip'))
                .filter(e => e.getBoundingClientRect().height < least || e.getBoundingClientRect().width < least)
                .map(e => e.outerHTML)""",
            TARGET_PX,
        )
        assert small == [], path


def test_on_a_phone_sentence_and_accept_come_first_and_stay_in_reach(open_page: NewPage) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    for scrolled in (0, 600):
        page.evaluate("y => window.scrollTo(0, y)", scrolled)
        box = page.get_by_role("button", name="Accept").bounding_box()
        said = page.locator(".wording").bounding_box()
        assert box is not None
        assert said is not None
        assert 0 <= said["y"] < box["y"]
        assert box["y"] + box["height"] <= 844
    assert page.locator(".decide").bounding_box()["height"] < 400  # type: ignore[index]


def test_one_word_without_an_end_widens_nothing(open_page: NewPage, house: House) -> None:
    endless = "x" * 10_000
    house.send(moment(20, raw_output=endless[:4000], spoken=endless[:4000], wearer="y" * 90, flags=("wearer",)))
    page = open_page(viewport={"width": 390, "height": 844})
    origin = page.url.rstrip("/")
    for path in ("/moments/pi-1-b00t-000020", "/moments", "/batch"):
        page.goto(f"{origin}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_pages_that_commands_write_fit_a_phone(open_page: NewPage, house: House, tmp_path: Path) -> None:
    house.send_all([moment(n, raw_output="Caution, signboard slightly left.") for n in range(10, 13)])
    for row in house.dataset.rows():
        decision = ReviewDecision("edit", "a caregiver with a long name", "Stop, curb ahead.")
        decisions.review(house.store, house.dataset, row.sample_id, decision, now_s=1.0)
    page = open_page("/", viewport={"width": 360, "height": 800})
    for command in (("stats",), ("coverage",)):
        file = tmp_path / f"{command[0]}.html"
        assert server(house.home, *command, "--html", file).returncode == 0
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, command


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_a_contrast_of_at_least_seven_to_one_where_it_is_read(open_page: NewPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    field(page).fill("person on left, car approaching from right")
    field(page).press("Enter")
    expect(page.locator("[data-offer]")).to_be_visible()
    measured = page.evaluate(
        """() => {
            const luminance = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
                .map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                return .2126 * r + .7152 * g + .0722 * b; };
            const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
                if (!c.endsWith(', 0)')) return c; } return 'rgb(255, 255, 255)'; };
            return [...document.querySelectorAll('h1, h2, p, dt, dd, q, label, button, a, figcaption')]
                .filter(e => e.offsetParent && e.textContent.trim()).map(e => {
                const a = luminance(getComputedStyle(e).color), b = luminance(behind(e));
                return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 120)]; });
        }"""
    )
    assert len(measured) > 40
    assert [found for found in measured if found[0] < 7] == []


def test_times_are_shown_in_the_readers_zone(open_page: NewPage) -> None:
    assert "23:13" in open_page().locator("#title time").inner_text()
    assert "22:13 UTC" in open_page(java_script_enabled=False).locator("#title time").inner_text()
