"""The page in a real Chromium: by mouse, by keyboard alone, without JavaScript, without a connection."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from server.review import decisions
from server.review.decisions import ReviewDecision
from tests.server.dataset.moments import House, moment
from tests.server.web.browsing import NewPage, field, needs_chromium, shown, state
from tests.server.web.serving import AUDITED, CORRECTED, FLAGGED, PUZZLING, correct

pytestmark = needs_chromium


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def test_a_caregiver_accepts_edits_and_rejects_by_mouse_one_moment_a_screen(open_page: NewPage, house: House) -> None:
    page = open_page()
    assert page.locator(".moment").count() == 1
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, cone on the left.”")
    shown(page, PUZZLING)
    assert state(house, CORRECTED) == ("reviewed", "Caution, cone on the left.")

    field(page).fill("watch out, kerb in front")
    expect(page.locator("[data-live]")).to_have_text("Will be taught as “Caution, curb ahead.”")
    page.get_by_role("button", name="Save edit").click()
    expect(page.locator("[data-offer]").get_by_text("It will be taught as")).to_contain_text("Caution, curb ahead.")
    assert state(house, PUZZLING)[0] == "pending"
    page.get_by_role("button", name="Teach this wording").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, curb ahead.”")
    assert state(house, PUZZLING) == ("reviewed", "Caution, curb ahead.")

    shown(page, FLAGGED)
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected")
    assert state(house, FLAGGED) == ("rejected", "")
    expect(page.get_by_role("link", name="Review 1")).to_be_visible()
    page.get_by_role("button", name="Nothing should be said").click()
    expect(page.get_by_role("heading", name="Nothing to review")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: nothing should be said.")


def test_the_same_by_keyboard_alone_with_skip_undo_and_a_number(open_page: NewPage, house: House) -> None:
    page = open_page()
    page.keyboard.press("Enter")
    shown(page, PUZZLING)
    assert state(house, CORRECTED)[0] == "reviewed"
    expect(page.locator("#title")).to_be_focused()

    page.keyboard.press("s")
    shown(page, FLAGGED)
    page.keyboard.press("e")
    expect(field(page)).to_be_focused()
    page.keyboard.type("next person at the exit")  # n, e, x and s among them
    page.keyboard.press("Control+a")
    page.keyboard.type("Caution, person on the left.")
    page.keyboard.press("Enter")
    shown(page, AUDITED)
    assert state(house, FLAGGED) == ("reviewed", "Caution, person on the left.")

    page.keyboard.press("u")
    shown(page, FLAGGED)
    expect(page.get_by_role("status")).to_contain_text("Taken back")
    assert state(house, FLAGGED) == ("pending", "")
    page.keyboard.press("u")
    shown(page, CORRECTED)
    page.keyboard.press("2")
    shown(page, FLAGGED)
    assert state(house, CORRECTED) == ("reviewed", "Caution, bin ahead.")
    page.keyboard.press("t")
    shown(page, AUDITED)
    assert state(house, FLAGGED)[0] == "rejected"
    page.keyboard.press("d")
    expect(page.get_by_role("status")).to_contain_text("difficult")
    shown(page, PUZZLING)  # skipped first, so it comes back first
    page.keyboard.press("Enter")  # there is nothing to accept: it must be listened to
    expect(page.get_by_role("status")).to_contain_text("nothing to accept")
    page.keyboard.press("n")
    shown(page, AUDITED)
    expect(page.get_by_text("Difficult, says caregiver.")).to_be_visible()
    assert state(house, PUZZLING) == ("reviewed", "")


def test_only_the_plain_key_acts_and_enter_on_a_control_does_what_the_control_says(
    open_page: NewPage, house: House
) -> None:
    page = open_page()
    for keys in ("Control+n", "Alt+n", "Meta+e", "Control+Enter", "Shift+Enter", "Shift+N"):
        page.keyboard.press(keys)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', repeat: true, bubbles: true}))")
    assert decisions.counts(house.store)["pending"] == 4
    assert focused(page) == "title"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "accept", "the first stop"
    page.get_by_role("button", name="Reject").focus()
    page.keyboard.press("Enter")
    shown(page, PUZZLING)
    assert state(house, CORRECTED)[0] == "rejected"


def test_keys_can_be_changed_and_turned_off_and_stay_so(open_page: NewPage, house: House) -> None:
    page = open_page("/keys")
    change = page.get_by_role("button", name=re.compile("Change ?: Nothing should"))
    for key, told in (("e", "used already: edit"), ("3", "The numbers choose"), ("q", "The key is Q now.")):
        if key == "e":
            change.click()
        page.keyboard.press(key)
        expect(page.get_by_role("status")).to_contain_text(told)
    page.goto(page.url.replace("/keys", "/"))
    page.keyboard.press("n")
    assert decisions.counts(house.store)["pending"] == 4
    page.keyboard.press("q")
    shown(page, PUZZLING)
    assert state(house, CORRECTED) == ("reviewed", "")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    page.keyboard.press("t")  # the dialog is open: nothing behind it may change
    dialog.get_by_label("Use keyboard shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    for key in ("t", "q", "Enter", "?"):
        page.keyboard.press(key)
    expect(dialog).to_be_hidden()
    assert decisions.counts(house.store)["pending"] == 3


def test_clip_and_sound_are_one_player_and_then_the_wearer_is_heard(open_page: NewPage) -> None:
    page = open_page()
    clip, sound, voice = (page.locator(f"[data-{name}]") for name in ("clip", "sound", "voice"))
    expect(page.locator("[data-sound-box]")).to_be_hidden()
    page.keyboard.press("r")
    page.wait_for_function("() => document.querySelector('[data-sound]').currentTime > 0.2")
    at = [player.evaluate("player => player.currentTime") for player in (clip, sound)]
    assert abs(at[0] - at[1]) < 0.4
    assert voice.evaluate("player => player.paused")
    clip.evaluate("player => player.pause()")
    page.wait_for_function("() => document.querySelector('[data-sound]').paused")
    clip.evaluate("player => { player.currentTime = 1.2; }")
    page.wait_for_function("() => Math.abs(document.querySelector('[data-sound]').currentTime - 1.2) < 0.2")
    page.keyboard.press("r")
    page.wait_for_function("() => document.querySelector('[data-voice]').currentTime > 0", timeout=15_000)
    assert sound.evaluate("player => player.error") is None
    assert page.locator(".drawn").get_attribute("aria-label") == (
        "Drawn over the picture: the device: bin, ahead; proposed: cone, on the left."
    )


def test_the_end_of_a_clip_does_not_begin_its_sound_again(open_page: NewPage) -> None:
    """Loaded again for its first picture, the clip stands at 0; the sound followed it there and was heard twice."""
    page = open_page()
    page.evaluate(
        "() => { window.again = 0; const [clip, sound] = ['[data-clip]', '[data-sound]'].map(one =>"
        " document.querySelector(one)); clip.addEventListener('emptied', () => { window.loaded = true; });"
        " sound.addEventListener('seeking', () => { if (window.loaded) window.again++; });"
        " sound.addEventListener('ended', () => { window.over = true; }); }"
    )
    page.keyboard.press("r")
    page.wait_for_function("() => window.over && window.loaded")
    assert page.evaluate("() => window.again") == 0


def test_what_is_unsure_is_played_before_enter_takes_it(open_page: NewPage, house: House) -> None:
    correct(house, FLAGGED, n=6, transcript="cone on the left", proposal="Caution, cone on the left.", confidence=0.4)
    page = open_page(f"/moments/{FLAGGED}")
    expect(page.get_by_text("Listen before you accept.")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("listen first")
    assert state(house, FLAGGED)[0] == "pending"
    expect(page.get_by_role("status")).to_contain_text("Enter accepts it now.", timeout=15_000)
    assert page.locator("[data-voice]").evaluate("player => player.played.end(0)") > 1.9
    assert state(house, FLAGGED)[0] == "pending"
    page.keyboard.press("Enter")
    shown(page, CORRECTED)
    assert state(house, FLAGGED) == ("reviewed", "Caution, cone on the left.")


def test_words_outside_the_vocabulary_are_explained_beside_the_field(open_page: NewPage, house: House) -> None:
    page = open_page(f"/moments/{FLAGGED}")
    field(page).fill("mind the thingy")
    field(page).press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("'thingy' is not in the vocabulary")
    expect(field(page)).to_be_focused()
    expect(field(page)).to_have_attribute("aria-invalid", "true")
    assert state(house, FLAGGED)[0] == "pending"
    page.get_by_role("button", name="Teach “Caution, obstacle ahead.”").focus()
    field(page).fill("Caution, dog ahead.")
    field(page).press("Enter")
    shown(page, CORRECTED)
    assert state(house, FLAGGED) == ("reviewed", "Caution, dog ahead.")


def test_other_words_are_shown_as_what_would_be_taught_and_never_taken_by_enter(
    open_page: NewPage, house: House
) -> None:
    page = open_page(f"/moments/{FLAGGED}")
    field(page).fill("person on left, car approaching from right")
    field(page).press("Enter")
    offer = page.locator("[data-offer]")
    expect(offer).to_be_focused()
    expect(offer).to_contain_text("You wrote person on left, car approaching from right")
    expect(offer).to_contain_text("It will be taught as Stop, vehicle approaching right.")
    expect(offer).to_contain_text("Left out: person on the left.")
    expect(field(page)).not_to_have_attribute("aria-invalid", "true")
    for _ in range(3):
        page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Choose a wording with its button")
    assert state(house, FLAGGED)[0] == "pending"
    field(page).fill("cone left, bollard right")  # other words take it away
    field(page).press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("neither may be left out")
    page.get_by_role("button", name="Teach “Caution, bollard on the right.”").click()
    shown(page, CORRECTED)
    assert state(house, FLAGGED) == ("reviewed", "Caution, bollard on the right.")


def test_a_proposal_says_where_it_came_from_and_what_it_leaves_out(open_page: NewPage, house: House) -> None:
    heard = "there's a car coming and a person on the left"
    correct(house, AUDITED, n=5, transcript=heard, proposal="Stop, vehicle approaching ahead.")
    correct(house, FLAGGED, n=6, transcript="do not cross, car coming", proposal="")
    house.send(moment(4, raw_output="", spoken="Stop, curb ahead. Caution, bin on the left."))
    page = open_page(f"/moments/{AUDITED}")
    expect(page.locator(".from")).to_contain_text("Heard there's a car coming")
    expect(page.locator(".from")).to_contain_text("proposed Stop, vehicle approaching ahead.")
    expect(page.locator(".from")).to_contain_text("Left out: person on the left.")
    two = "pi-1-b00t-000004"
    page.goto(page.url.replace(AUDITED, two))
    page.keyboard.press("Enter")  # no wording is confirmed that is not what was said
    expect(page.locator(".from")).to_contain_text("Left out: bin on the left")
    assert state(house, two)[0] == "pending"
    page.get_by_role("button", name="Teach this wording").click()
    page.wait_for_url("**/")
    assert state(house, two) == ("reviewed", "Stop, curb ahead.")
    page.goto(f"{page.url}moments/{FLAGGED}")
    expect(page.locator(".from")).to_contain_text("say what to do, not what not to do")
    expect(page.get_by_role("button", name="Accept")).to_have_count(0)
    page.get_by_role("button", name="Teach “Stop, vehicle approaching ahead.”").click()
    page.wait_for_url("**/")
    assert state(house, FLAGGED) == ("reviewed", "Stop, vehicle approaching ahead.")


def test_without_javascript_forms_do_it_all(open_page: NewPage, house: House) -> None:
    page = open_page(java_script_enabled=False)
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, cone on the left.”")
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("status")).to_contain_text("Skipped")
    field(page).fill("mind the thingy")
    page.get_by_role("button", name="Save edit").click()
    expect(page.get_by_role("alert").first).to_contain_text("'thingy' is not in the vocabulary")
    expect(field(page)).to_be_focused()
    expect(page.get_by_role("button", name="Teach “Caution, obstacle ahead.”")).to_be_visible()
    field(page).fill("dog ahead")
    field(page).press("Enter")
    expect(page.get_by_role("group", name="You wrote dog ahead")).to_be_focused()
    assert state(house, FLAGGED)[0] == "pending"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, dog ahead.”")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Taken back")
    assert state(house, FLAGGED)[0] == "pending"
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("button", name="Nothing should be said").click()
    page.get_by_role("button", name="Nothing should be said").click()
    expect(page.get_by_role("heading", name="Nothing to review")).to_be_visible()
    assert [state(house, i)[0] for i in (CORRECTED, PUZZLING, FLAGGED, AUDITED)] == [
        "reviewed",
        "reviewed",
        "rejected",
        "reviewed",
    ]
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_hidden()


def test_a_stale_accept_shows_both_wordings_and_keeps_what_was_typed(open_page: NewPage, house: House) -> None:
    page = open_page(f"/moments/{FLAGGED}")
    other = ReviewDecision("edit", "Ana", "Stop, curb ahead.")
    decisions.review(house.store, house.dataset, FLAGGED, other, now_s=house.clock.utc_s())
    page.keyboard.press("Enter")
    conflict = page.get_by_role("region", name="Not saved")
    expect(conflict).to_contain_text("You read")
    expect(conflict).to_contain_text("Caution, pole ahead.")
    expect(conflict).to_contain_text("Stop, curb ahead.")
    expect(conflict).to_contain_text("Ana")
    expect(conflict).to_be_focused()
    assert state(house, FLAGGED) == ("reviewed", "Stop, curb ahead.")
    page.goto(page.url.replace(FLAGGED, AUDITED))
    field(page).fill("Caution, dog ahead.")
    decisions.review(house.store, house.dataset, AUDITED, ReviewDecision("nothing", "Ana"), now_s=house.clock.utc_s())
    field(page).press("Enter")
    expect(conflict).to_contain_text("nothing should be said")
    expect(field(page)).to_have_value("Caution, dog ahead.")
    assert state(house, AUDITED) == ("reviewed", "")
    page.get_by_role("button", name="Save edit").click()
    page.wait_for_url("**/")
    assert state(house, AUDITED) == ("reviewed", "Caution, dog ahead.")


def test_those_that_look_the_same_are_shown_beside_it_and_x_takes_them_too(open_page: NewPage, house: House) -> None:
    house.send_all([moment(n, seed=7, raw_output="Caution, bin ahead.", walk_id="w") for n in (10, 11, 12)])
    page = open_page("/moments/pi-1-b00t-000010")
    expect(page.get_by_role("heading", name="Looks the same: 2 more")).to_be_visible()
    page.locator("input[name=chosen]").last.uncheck()
    page.keyboard.press("x")
    expect(page.get_by_role("status")).to_contain_text("Confirmed")
    states = [state(house, f"pi-1-b00t-{n:06d}")[0] for n in (10, 11, 12)]
    assert sorted(states) == ["pending", "reviewed", "reviewed"]


def test_decisions_without_a_connection_are_kept_and_sent_and_a_stale_one_is_shown(
    open_page: NewPage, house: House
) -> None:
    page = open_page()
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 decision is kept on this machine")).to_be_visible()
    assert state(house, CORRECTED)[0] == "pending"
    page.context.set_offline(False)
    expect(page.locator("#kept")).to_have_count(0, timeout=20_000)
    assert state(house, CORRECTED) == ("reviewed", "Caution, cone on the left.")

    page.goto(f"{page.url}moments/{FLAGGED}")
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 decision is kept on this machine")).to_be_visible()
    decisions.review(house.store, house.dataset, FLAGGED, ReviewDecision("nothing", "Ana"), now_s=house.clock.utc_s())
    page.context.set_offline(False)
    kept = page.get_by_role("region", name="Decisions kept on this machine")
    expect(kept).to_contain_text("You read “Caution, pole ahead.”", timeout=20_000)
    expect(kept).to_contain_text("Now stands: nothing should be said.")
    assert state(house, FLAGGED) == ("reviewed", "")
    kept.get_by_role("button", name="Dismiss").click()
    expect(kept).to_have_count(0)


def test_the_shell_is_kept_and_nothing_of_a_moment_is(open_page: NewPage, site: str) -> None:
    page = open_page()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.reload()
    names = page.evaluate(
        "caches.keys().then((all) => Promise.all(all.map((name) => caches.open(name).then((c) => c.keys()))))"
        ".then((all) => all.flat().map((request) => new URL(request.url).pathname))"
    )
    assert "/offline" in names
    assert [name for name in names if not name.startswith("/static/") and name != "/offline"] == []
    manifest = page.evaluate("fetch('/manifest.webmanifest').then((answer) => answer.json())")
    sizes = page.evaluate(
        "(urls) => Promise.all(urls.map((url) => fetch(url).then((a) => a.blob()).then(createImageBitmap)"
        ".then((image) => `${image.width}x${image.height}`)))",
        [icon["src"] for icon in manifest["icons"]],
    )
    assert sizes == [icon["sizes"] for icon in manifest["icons"]] == ["192x192", "512x512", "512x512"]
    page.context.set_offline(True)
    page.goto(f"{site}/moments")
    expect(page.get_by_role("heading", name="No connection")).to_be_visible()
    page.context.set_offline(False)


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


def test_a_search_is_a_queue_of_its_own(open_page: NewPage, house: House) -> None:
    page = open_page("/moments")
    page.locator("details.filters > summary").click()
    page.get_by_label("Thing").select_option("pole")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#moments li")).to_have_count(1)
    page.get_by_role("link", name="Review these").click()
    shown(page, FLAGGED)
    expect(page.get_by_text("thing: pole")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No more of these")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Confirmed: “Caution, pole ahead.”")
    page.keyboard.press("u")
    shown(page, FLAGGED)
    page.goto(f"{page.url.split('/moments')[0]}/moments?state=all")
    for box in page.locator("input[name=chosen]").all()[:2]:
        box.check()
    page.get_by_label("For whom").last.fill("Ben")
    page.get_by_role("button", name="Assign").click()
    expect(page.get_by_text("For Ben.")).to_have_count(2)
