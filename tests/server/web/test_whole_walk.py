"""The whole of what a reviewer does, in a real Chromium against a whole `waycue-server run` with TLS and accounts, by
keyboard alone: from the invitation to the proof of a deletion and the log-out."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from server.review import decisions
from tests.server.dataset.moments import House, moment
from tests.server.web.browsing import needs_chromium, state
from tests.server.web.keyboard import Keyboard
from tests.server.web.running import invitation, running
from tests.server.web.serving import correct

pytestmark = needs_chromium
PASSWORD = "correct horse battery"
SLOW_MS = 20_000


def name(n: int) -> str:
    return f"pi-1-b00t-{n:06d}"


PUT_OFF = {name(3): "s", name(4): "d"}
ALIKE = {name(n) for n in (7, 8, 9)}


def fill(house: House) -> None:
    """Ten moments to review one by one, then three that are found and decided at once."""
    words = ("bin ahead", "bin ahead", "pole ahead", "dog ahead", "person ahead", "car ahead", "bicycle ahead")
    house.send_all([moment(n, raw_output=f"Caution, {said}.") for n, said in enumerate(words)])
    house.send_all([moment(n, seed=7, raw_output="Caution, cone ahead.", walk_id="w") for n in (7, 8, 9)])
    house.send_all([moment(n, raw_output="Stop, stairs down ahead.", flags=("low_confidence",)) for n in (20, 21, 22)])
    correct(house, name(0), n=0, transcript="cone on the left", proposal="Caution, cone on the left.")
    correct(house, name(1), n=1, transcript="mumble", proposal="")
    correct(house, name(6), n=6, transcript="cone left", proposal="Caution, cone on the left.", confidence=0.4)


def join(page: Page, link: str, who: str) -> Keyboard:
    """Follow an invitation, from the loaded page on."""
    page.goto(link)
    keys = Keyboard(page)
    for field, text in (("Your name", who), ("Password", PASSWORD), ("The same password", PASSWORD)):
        keys.go(field)
        keys.type(text)
    keys.open("Save and log in", heading="by Ada")
    return keys


def decide(keys: Keyboard, sample_id: str) -> None:
    """What this person does at each of the ten."""
    page, said = keys.page, keys.page.get_by_role("status")
    match int(sample_id[-2:]):
        case 1:
            keys.press("e")
            keys.type("dog ahead")
            expect(page.locator("[data-live]")).to_contain_text("Will be taught as “Caution, dog ahead.”")
            keys.press("Enter")
            keys.open("Teach this wording")
        case 2:
            keys.press("n")
        case 5:
            keys.press("b")
            keys.arrive("Nothing was found to blur")
            keys.open("Blur all of the picture")
            keys.arrive("Flagged by Ada")
            keys.press("Enter")
        case 6:
            keys.press("Enter")
            expect(said).to_contain_text("listen first")
            expect(said).to_contain_text("Enter accepts it now.", timeout=SLOW_MS)
            keys.press("Enter")
        case 7 | 8 | 9:
            expect(page.get_by_role("heading", name="Looks the same: 2 more")).to_be_visible()
            keys.press("x")
        case _:
            keys.press("Enter")


@pytest.mark.slow
def test_ten_are_reviewed_undone_found_and_one_is_deleted_with_proof(browser: Browser, house: House) -> None:
    fill(house)
    with running(house.home) as url:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        keys = join(page, url + invitation(house.home, "admin"), "Ana")
        review(keys, house)
        undo(keys, house)
        disagree(keys, browser, url + invitation(house.home, "caregiver"), house)
        decide_at_once(keys, house)
        put_off(keys, house)
        delete(keys, house)
        keys.open("Log out", heading="Log in")
        expect(page.get_by_role("status")).to_have_text("You are logged out.")
        page.go_back()
        page.reload()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        context.close()
    assert complaints == []


def review(keys: Keyboard, house: House) -> None:
    """The ten, in whatever order they are handed out; two of them are put off."""
    page, seen = keys.page, set[str]()
    article = page.locator(".moment")
    while len(seen) < 10:
        expect(article).to_be_visible()
        sample_id = str(article.get_attribute("data-id"))
        expect(page.locator("#title")).to_be_focused()
        if sample_id in PUT_OFF:
            keys.press(PUT_OFF[sample_id])
        else:
            decide(keys, sample_id)
        seen |= {sample_id} if sample_id not in ALIKE else ALIKE
        expect(page.locator(f"#moment-{sample_id}")).to_have_count(0)
    assert {n: state(house, name(n)) for n in range(10)} == {
        0: ("reviewed", "Caution, cone on the left."),
        1: ("reviewed", "Caution, dog ahead."),
        2: ("reviewed", ""),
        3: ("pending", ""),
        4: ("pending", ""),
        5: ("reviewed", "Caution, vehicle ahead."),
        6: ("reviewed", "Caution, cone on the left."),
        **dict.fromkeys((7, 8, 9), ("reviewed", "Caution, cone ahead.")),
    }


def undo(keys: Keyboard, house: House) -> None:
    keys.press("u")
    expect(keys.page.get_by_role("status")).to_contain_text("Taken back")
    back = str(keys.page.locator(".moment").get_attribute("data-id"))
    assert state(house, back) == ("pending", "")
    decide(keys, back)
    expect(keys.page.locator(f"#moment-{back}")).to_have_count(0)


def disagree(keys: Keyboard, browser: Browser, link: str, house: House) -> None:
    """A second person is given another moment; where she decides about the first's, that one is shown both wordings."""
    context = browser.new_context(ignore_https_errors=True)
    hers, own = join(context.new_page(), link, "Cora"), keys.page.locator(".moment")
    sample_id, answers = str(own.get_attribute("data-id")), list[int]()
    assert hers.page.locator(".moment").get_attribute("data-id") != sample_id
    hers.page.goto(f"{hers.page.url}moments/{sample_id}")
    expect(hers.page.get_by_text("Ana has this one.")).to_be_visible()
    hers.press("n")
    expect(hers.page.get_by_role("status")).to_contain_text("Confirmed: nothing should be said.")
    hers.open("Log out", heading="Log in")
    context.close()
    keys.page.on("response", lambda answer: answers.append(answer.status))
    keys.press("Enter")
    conflict = keys.page.get_by_role("region", name="Not saved")
    expect(conflict).to_be_focused()
    expect(conflict).to_contain_text(re.compile("Cora.*You read.*stairs down ahead.*Now stands.*nothing should"))
    assert answers[0] == 409
    assert state(house, sample_id) == ("reviewed", "")


def decide_at_once(keys: Keyboard, house: House) -> None:
    """Moments are searched, ticked and decided together."""
    page = keys.page
    keys.open("Moments$", heading="All moments")
    keys.open("Search$")
    keys.go("Thing")
    keys.type("stairs")
    keys.open("Search$")
    expect(page.locator("#moments li")).to_have_count(3)
    keys.open("Tick all")
    keys.open("Nothing should be said")
    expect(page.get_by_role("status")).to_have_text("Done for the ticked moments.")
    assert [state(house, name(n)) for n in (20, 21, 22)] == [("reviewed", "")] * 3


def put_off(keys: Keyboard, house: House) -> None:
    """What was skipped and what was difficult come back once the others are done."""
    page = keys.page
    keys.open("Review", heading="by Ada")
    for _ in PUT_OFF:
        sample_id = str(page.locator(".moment").get_attribute("data-id"))
        expect(page.locator("#title")).to_be_focused()
        keys.press("t" if sample_id == name(3) else "Enter")
        expect(page.locator(f"#moment-{sample_id}")).to_have_count(0)
    keys.arrive("Nothing to review")
    assert (state(house, name(3))[0], state(house, name(4))[0]) == ("rejected", "reviewed")


def delete(keys: Keyboard, house: House) -> None:
    page = keys.page
    keys.open("Moments$", heading="All moments")
    keys.go("Flagged by Ada")
    gone = str(page.evaluate("document.activeElement.getAttribute('href')")).rpartition("/")[2]
    keys.press("Enter")
    keys.arrive("Flagged by Ada")
    keys.open("Delete this moment", heading="Delete this moment?")
    expect(page.get_by_role("heading", name="Delete this moment?")).to_be_focused()
    expect(page.get_by_text("1 moment will be deleted for good")).to_be_visible()
    keys.open("Delete for good", heading="Deleted")
    expect(page.get_by_role("heading", level=1, name="Deleted")).to_be_focused()
    expect(page.get_by_role("heading", name="Proof 2: moment, by Ana")).to_be_visible()  # 1 is of what was blurred
    expect(page.get_by_text("Looked through afterwards: nothing of it is in the database")).to_be_visible()
    assert decisions.get(house.store, gone) is None
