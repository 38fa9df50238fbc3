"""The page in a real Chromium: by mouse, by keyboard alone, without JavaScript, and for a screen reader."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.commands.terminal import server
from tests.server.dataset.moments import House, moment
from tests.server.web.serving import AUDITED, CORRECTED, FLAGGED, PUZZLING, correct

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required --mute-audio"
).split()
TARGET_PX = 44  # WCAG 2.5.5
NewPage = Callable[..., Page]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, site: str) -> Iterator[NewPage]:
    """Opens a path in a fresh profile; whatever the console complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**{"timezone_id": "Europe/Berlin", "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{site}{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    refusals = ("status of 422", "status of 409")  # Chromium reports each refused request in the console
    assert [text for text in complaints if not any(refusal in text for refusal in refusals)] == []


def card(page: Page, sample_id: str) -> Any:
    return page.locator(f"#moment-{sample_id}")


def provoke(page: Page) -> None:
    """Words in the first two moments that are offered in other words, and refused with suggestions."""
    for sample_id, text in (
        (CORRECTED, "person on left, car approaching from right"),
        (PUZZLING, "don't go, hole ahead"),
    ):
        page.locator(f"#text-{sample_id}").fill(text)
        page.locator(f"#text-{sample_id}").press("Enter")
        expect(card(page, sample_id).locator("[data-offer]")).to_be_visible()


def state(house: House, sample_id: str) -> tuple[str, str]:
    row = decisions.get(house.store, sample_id)
    assert row is not None
    return row.state, row.ground_truth


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def test_a_caregiver_accepts_edits_and_rejects_by_mouse(open_page: NewPage, house: House) -> None:
    page = open_page()
    card(page, CORRECTED).get_by_role("button", name="Accept").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, cone on the left.”")
    expect(card(page, CORRECTED)).to_have_count(0)
    assert state(house, CORRECTED) == ("reviewed", "Caution, cone on the left.")

    card(page, FLAGGED).get_by_label("What should have been said").fill("watch out, kerb in front")
    card(page, FLAGGED).get_by_role("button", name="Save edit").click()
    expect(card(page, FLAGGED).get_by_text("It will be taught as")).to_contain_text("Caution, curb ahead.")
    assert state(house, FLAGGED)[0] == "pending"
    card(page, FLAGGED).get_by_role("button", name="Teach this wording").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, curb ahead.”")
    assert state(house, FLAGGED) == ("reviewed", "Caution, curb ahead.")

    card(page, AUDITED).get_by_role("button", name="Reject").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected")
    assert state(house, AUDITED) == ("rejected", "")
    for name, count in (("To review", 1), ("Reviewed", 2), ("Rejected", 1)):
        expect(page.get_by_role("link", name=f"{name} {count}")).to_be_visible()

    card(page, PUZZLING).get_by_role("button", name="Nothing should be said").click()
    expect(page.get_by_role("heading", name="Nothing to review")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: nothing should be said.")


def test_the_same_by_keyboard_alone(open_page: NewPage, house: House) -> None:
    page = open_page()
    page.keyboard.press("Enter")
    expect(card(page, CORRECTED)).to_have_count(0)
    assert state(house, CORRECTED)[0] == "reviewed"
    expect(page.locator(f"#title-{PUZZLING}")).to_be_focused()

    page.keyboard.press("s")
    expect(page.locator(f"#title-{FLAGGED}")).to_be_focused()
    page.keyboard.press("e")
    expect(page.locator(f"#text-{FLAGGED}")).to_be_focused()
    page.keyboard.type("next person at the exit")  # n, e, x and s among them
    page.keyboard.press("Control+a")
    page.keyboard.type("Caution, person on the left.")
    assert page.locator(".moment").count() == 3
    page.keyboard.press("Enter")
    expect(card(page, FLAGGED)).to_have_count(0)
    assert state(house, FLAGGED) == ("reviewed", "Caution, person on the left.")

    expect(page.locator(f"#title-{AUDITED}")).to_be_focused()
    page.keyboard.press("x")
    expect(card(page, AUDITED)).to_have_count(0)
    assert state(house, AUDITED)[0] == "rejected"

    expect(page.locator(f"#title-{PUZZLING}")).to_be_focused()
    page.keyboard.press("Enter")  # there is nothing to accept: it must be listened to
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Nothing to review")).to_be_visible()
    assert state(house, PUZZLING) == ("reviewed", "")


def test_enter_on_a_control_does_what_the_control_says(open_page: NewPage, house: House) -> None:
    page = open_page()
    card(page, CORRECTED).get_by_role("button", name="Reject").focus()
    page.keyboard.press("Enter")
    expect(card(page, CORRECTED)).to_have_count(0)
    assert state(house, CORRECTED)[0] == "rejected"


def test_keys_with_a_modifier_or_held_down_do_nothing(open_page: NewPage, house: House) -> None:
    page = open_page()
    for keys in ("Control+x", "Alt+n", "Meta+e", "Control+Enter"):
        page.keyboard.press(keys)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', repeat: true, bubbles: true}))")
    assert page.locator(".moment").count() == 4
    assert focused(page) != f"text-{CORRECTED}"
    assert decisions.counts(house.store)["pending"] == 4


def test_keys_can_be_turned_off_and_stay_off(open_page: NewPage, house: House) -> None:
    page = open_page()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    page.keyboard.press("x")  # the dialog is open: nothing behind it may change
    dialog.get_by_label("Use keyboard shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.reload()
    for key in ("x", "n", "Enter", "?"):
        page.keyboard.press(key)
    expect(dialog).to_be_hidden()
    assert decisions.counts(house.store)["pending"] == 4
    page.get_by_role("button", name="Keyboard shortcuts").click()
    dialog.get_by_label("Use keyboard shortcuts").check()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("x")
    expect(card(page, CORRECTED)).to_have_count(0)


def test_r_plays_the_sound_and_then_what_the_wearer_said(open_page: NewPage) -> None:
    page = open_page()
    page.keyboard.press("r")
    first = card(page, CORRECTED)
    page.wait_for_function("() => document.querySelector('[data-sound]').currentTime > 0")
    assert first.locator("[data-voice]").evaluate("player => player.paused")
    page.evaluate("document.querySelector('[data-sound]').currentTime = 1.9")
    page.wait_for_function("() => document.querySelector('[data-voice]').currentTime > 0")
    assert first.locator("video").evaluate("player => player.error") is None
    assert first.locator("img").evaluate("image => image.complete && image.naturalWidth") == 480


def test_words_outside_the_vocabulary_are_explained_beside_the_field(open_page: NewPage, house: House) -> None:
    page = open_page()
    field = page.locator(f"#text-{FLAGGED}")
    field.fill("mind the thingy")
    field.press("Enter")
    expect(card(page, FLAGGED).get_by_role("alert")).to_contain_text("'thingy' is not in the vocabulary")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    assert state(house, FLAGGED)[0] == "pending"
    card(page, FLAGGED).get_by_role("button", name="Teach “Caution, obstacle ahead.”").focus()
    field.fill("Caution, dog ahead.")
    field.press("Enter")
    expect(card(page, FLAGGED)).to_have_count(0)
    assert state(house, FLAGGED) == ("reviewed", "Caution, dog ahead.")


def test_other_words_are_shown_as_what_would_be_taught_and_never_taken_by_enter(
    open_page: NewPage, house: House
) -> None:
    page = open_page()
    field = page.locator(f"#text-{FLAGGED}")
    field.fill("person on left, car approaching from right")
    field.press("Enter")
    offer = card(page, FLAGGED).locator("[data-offer]")
    expect(offer).to_be_focused()
    expect(offer).to_contain_text("You wrote person on left, car approaching from right")
    expect(offer).to_contain_text("It will be taught as Stop, vehicle approaching right.")
    expect(offer).to_contain_text("Left out: person on the left.")
    expect(field).not_to_have_attribute("aria-invalid", "true")
    for _ in range(3):
        page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Choose a wording with its button")
    assert state(house, FLAGGED)[0] == "pending"
    page.keyboard.press("Tab")
    assert focused(page) == "Teach this wording"
    page.keyboard.press("Enter")
    expect(card(page, FLAGGED)).to_have_count(0)
    assert state(house, FLAGGED) == ("reviewed", "Stop, vehicle approaching right.")


def test_a_refusal_offers_what_may_have_been_meant_and_other_words_take_it_away(
    open_page: NewPage, house: House
) -> None:
    page = open_page()
    field = page.locator(f"#text-{FLAGGED}")
    field.fill("don't continue, hole ahead")
    field.press("Enter")
    expect(card(page, FLAGGED).get_by_role("alert")).to_contain_text("say what to do, not what not to do")
    expect(field).to_be_focused()
    expect(card(page, FLAGGED).get_by_role("button", name="Teach “Stop, drop-off ahead.”")).to_be_visible()
    field.fill("flowers")
    field.press("Enter")
    expect(card(page, FLAGGED).get_by_role("alert")).to_contain_text("'flowers' is not in the vocabulary")
    expect(card(page, FLAGGED).locator("[data-offer]")).to_be_hidden()
    field.fill("cone left, bollard right")
    field.press("Enter")
    expect(card(page, FLAGGED).get_by_role("alert")).to_contain_text("neither may be left out")
    card(page, FLAGGED).get_by_role("button", name="Teach “Caution, bollard on the right.”").click()
    expect(card(page, FLAGGED)).to_have_count(0)
    assert state(house, FLAGGED) == ("reviewed", "Caution, bollard on the right.")


def test_a_proposal_says_where_it_came_from_and_what_it_leaves_out(open_page: NewPage, house: House) -> None:
    correct(
        house,
        AUDITED,
        n=5,
        transcript="there's a car coming and a person on the left",
        proposal="Stop, vehicle approaching ahead.",
    )
    correct(house, FLAGGED, n=6, transcript="do not cross, car coming", proposal="")
    house.send(moment(4, raw_output="", spoken="Stop, curb ahead. Caution, bin on the left."))
    page = open_page()
    expect(card(page, AUDITED).locator(".from")).to_contain_text("Heard there's a car coming")
    expect(card(page, AUDITED).locator(".from")).to_contain_text("proposed Stop, vehicle approaching ahead.")
    expect(card(page, AUDITED).locator(".from")).to_contain_text("Left out: person on the left.")
    expect(card(page, FLAGGED).locator(".from")).to_contain_text("say what to do, not what not to do")
    expect(card(page, FLAGGED).get_by_role("button", name="Accept")).to_have_count(0)
    two = "pi-1-b00t-000004"
    page.locator(f"#title-{two}").focus()
    page.keyboard.press("Enter")  # no wording is confirmed that is not what was said
    expect(card(page, two).locator(".from")).to_contain_text("Left out: bin on the left")
    assert state(house, two)[0] == "pending"
    card(page, two).get_by_role("button", name="Teach this wording").click()
    expect(card(page, two)).to_have_count(0)
    assert state(house, two) == ("reviewed", "Stop, curb ahead.")
    card(page, FLAGGED).get_by_role("button", name="Teach “Stop, vehicle approaching ahead.”").click()
    expect(card(page, FLAGGED)).to_have_count(0)
    assert state(house, FLAGGED) == ("reviewed", "Stop, vehicle approaching ahead.")


def test_without_javascript_forms_do_it_all(open_page: NewPage, house: House) -> None:
    page = open_page(java_script_enabled=False)
    card(page, CORRECTED).get_by_role("button", name="Accept").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, cone on the left.”")
    card(page, FLAGGED).get_by_label("What should have been said").fill("mind the thingy")
    card(page, FLAGGED).get_by_role("button", name="Save edit").click()
    expect(page.get_by_role("alert")).to_contain_text("'thingy' is not in the vocabulary")
    expect(page.get_by_label("What should have been said")).to_be_focused()
    expect(page.get_by_role("button", name="Teach “Caution, obstacle ahead.”")).to_be_visible()
    page.get_by_label("What should have been said").fill("dog ahead")
    page.get_by_label("What should have been said").press("Enter")
    expect(page.get_by_role("group", name="You wrote dog ahead")).to_be_focused()
    assert state(house, FLAGGED)[0] == "pending"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, dog ahead.”")
    card(page, AUDITED).get_by_role("button", name="Reject").click()
    card(page, PUZZLING).get_by_role("button", name="Nothing should be said").click()
    expect(page.get_by_role("heading", name="Nothing to review")).to_be_visible()
    assert [state(house, i)[0] for i in (CORRECTED, FLAGGED, AUDITED, PUZZLING)] == [
        "reviewed",
        "reviewed",
        "rejected",
        "reviewed",
    ]
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_hidden()


def test_a_decision_can_be_changed_from_the_message_about_it(open_page: NewPage, house: House) -> None:
    page = open_page()
    page.keyboard.press("x")
    page.get_by_role("status").get_by_role("link", name="Change").click()
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, cone on the left.”")
    assert state(house, CORRECTED)[0] == "reviewed"


def test_a_moment_that_changed_meanwhile_is_shown_again(open_page: NewPage, house: House) -> None:
    page = open_page()
    correct(house, FLAGGED, n=4, transcript="stairs down", proposal="Stop, stairs down ahead.")
    card(page, FLAGGED).get_by_role("button", name="Accept").click()
    expect(page.get_by_role("alert").first).to_contain_text("has changed since you opened it")
    expect(page.get_by_text("Stop, stairs down ahead.").first).to_be_visible()
    assert state(house, FLAGGED)[0] == "pending"


def test_every_control_has_a_name_and_headings_go_down_step_by_step(open_page: NewPage) -> None:
    for path in ("/", "/?state=rejected", f"/moments/{CORRECTED}", f"/moments/{PUZZLING}"):
        page = open_page(path)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), audio, video, img')]
                .filter(e => !(e.getAttribute('aria-label') || e.alt || e.textContent.trim()
                               || [...(e.labels || [])].some(label => label.textContent.trim())))
                .map(e => e.outerHTML)"""
        )
        assert nameless == []
        levels = page.evaluate(
            "() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]"
            ".filter(h => !h.closest('dialog')).map(h => Number(h.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        landmarks: tuple[Literal["banner", "navigation", "main", "contentinfo"], ...]
        landmarks = ("banner", "navigation", "main", "contentinfo")
        assert [role for role in landmarks if page.get_by_role(role).count() == 0] == []
        assert page.locator("html").get_attribute("lang") == "en"


def test_focus_goes_through_a_moment_in_reading_order_and_can_be_seen(open_page: NewPage) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the moments"
    assert page.get_by_text("Skip to the moments").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert focused(page) == "main"
    stops: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => { const e = document.activeElement, style = getComputedStyle(e);
                const moment = e.closest('.moment');
                return [moment && moment.dataset.id, e.name === 'text' ? 'text' : e.value || e.tagName,
                        style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]; }"""
        )
        if stop[0] != CORRECTED:
            break
        if not stops or stops[-1] != stop[1]:
            stops.append(stop[1])
        assert stop[2] or stop[1] in ("AUDIO", "VIDEO"), stop
    assert stops == ["AUDIO", "VIDEO", "AUDIO", "accept", "text", "edit", "nothing", "reject", "A", "SUMMARY", "A"]


@pytest.mark.parametrize("width", [320, 768, 1280])
@pytest.mark.parametrize("path", ["/", f"/moments/{CORRECTED}", "/?state=rejected", "/batch"])
def test_nothing_is_cut_off_and_targets_are_large(open_page: NewPage, house: House, width: int, path: str) -> None:
    if path == "/batch":
        house.send_all([moment(n, raw_output="Caution, signboard slightly left.") for n in (10, 11)])
    page = open_page(path, viewport={"width": width, "height": 800})
    if path == "/":
        provoke(page)
    for summary in page.locator("details.where > summary").all()[:1]:
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate("[...document.querySelectorAll('button')].filter(e => e.scrollWidth > e.clientWidth).length")
    assert cut == 0, "a button is as wide as its longest word, at least"
    small = page.evaluate(
        """least => [...document.querySelectorAll(
                'a, button, select, summary, input:not([type=hidden]):not([type=checkbox]), audio')]
            .filter(e => e.offsetParent && !e.closest('.empty p, .lead') && !e.classList.contains('skip'))
            .filter(e => e.getBoundingClientRect().height < least || e.getBoundingClientRect().width < least)
            .map(e => e.outerHTML)""",
        TARGET_PX,
    )
    assert small == []


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


def test_several_are_ticked_with_one_press_and_decided_with_another(open_page: NewPage, house: House) -> None:
    house.send_all([moment(n, raw_output="Caution, signboard ahead.") for n in (10, 11)])
    page = open_page("/batch")
    boxes = page.locator("input[name=chosen]")
    assert [box.is_checked() for box in boxes.all()] == [False, False]
    page.get_by_role("button", name="Tick all").click()
    assert [box.is_checked() for box in boxes.all()] == [True, True]
    expect(page.get_by_role("button", name="Tick none")).to_be_visible()
    page.get_by_role("button", name="Accept “Caution, signboard ahead.” for the ticked").click()
    expect(page.get_by_role("status")).to_contain_text("2 moments decided.")
    assert decisions.counts(house.store)["reviewed"] == 2


def test_where_and_when_is_saved_without_leaving_the_list(open_page: NewPage, house: House) -> None:
    page = open_page("/")
    moment_shown = card(page, CORRECTED)
    moment_shown.locator("summary").click()
    moment_shown.get_by_label("Weather").select_option("rain")
    moment_shown.get_by_role("button", name="Save where and when").click()
    expect(card(page, CORRECTED).locator("summary")).to_contain_text("Where and when: rain")
    assert page.url.endswith(f"/?state=pending&page=1#moment-{CORRECTED}")
    row = decisions.get(house.store, CORRECTED)
    assert row is not None
    assert (row.weather, row.weather_from, row.state) == ("rain", "person", "pending")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_a_contrast_of_at_least_seven_to_one_where_it_is_read(open_page: NewPage, scheme: str) -> None:
    page = open_page("/", color_scheme=scheme)
    provoke(page)
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
    assert "23:13" in card(open_page(), CORRECTED).locator("time").inner_text()
    assert "22:13 UTC" in card(open_page(java_script_enabled=False), CORRECTED).locator("time").inner_text()


def test_the_next_page_comes_when_this_one_is_done(open_page: NewPage, house: House) -> None:
    house.send_all([moment(n) for n in range(10, 18)])
    page = open_page()
    expect(page.get_by_text("Moments 1 to 10 of 12")).to_be_visible()
    for left in range(9, -1, -1):
        page.keyboard.press("n")
        if left:
            expect(page.locator(".moment")).to_have_count(left)
    expect(page.get_by_role("status")).to_contain_text("Confirmed")
    expect(page.locator(".moment")).to_have_count(2)
    assert decisions.counts(house.store) == {"pending": 2, "reviewed": 10, "rejected": 0}
