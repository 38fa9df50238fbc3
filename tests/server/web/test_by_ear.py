"""Review by ear alone, end to end: a real Chromium whose page is dark, keys only, and ears that write down what was
played. What is compared is the sound that the page's player gave out, not what stands on the page."""

from __future__ import annotations

import io
import shutil
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from server.review import decisions
from server.review.decisions import ReviewDecision
from server.web import ear_words, view
from server.web.ear_words import EarKind
from shared.messages import EraseRecord
from shared.wav import decode_sound
from tests.server.dataset.moments import House, moment
from tests.server.web.ears import EARS, FASTEST, needs_ears, understood
from tests.server.web.serving import AUDITED, CORRECTED, FLAGGED, PUZZLING, ask, correct, post_json

GRAMMAR = """#JSGF V1.0;
grammar ear;
public <s> = [ proposed ] <what> [ enter to accept ] | confirmed <what> <left> left u takes it back | taken back ;
<what> = caution cone on the left | caution bin ahead | caution pole ahead | stop curb ahead | nothing should be said ;
<left> = one | two | three | four | none is ;
"""


@pytest.fixture
def listener(browser: Browser, site: str) -> Iterator[Page]:
    """The page for ears, before the first key."""
    page, troubles = browser.new_page(), list[str]()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.add_init_script(EARS)
    page.goto(f"{site}/ear")
    for _ in range(FASTEST):
        page.keyboard.press("+")
    yield page
    page.close()
    assert troubles == []


def until(page: Page, text: str, *, timeout_ms: float = 60_000) -> None:
    """Wait until a part with these words is being played, or was: the log is what the player was given."""
    page.wait_for_function(
        "text => [...document.querySelectorAll('#ear-log li')].some((line) => line.textContent.includes(text))",
        arg=text,
        timeout=timeout_ms,
    )


def ended(page: Page, count: int) -> None:
    """Wait until so many parts were heard to their end."""
    page.wait_for_function(f"() => heard.filter((part) => part.ended).length >= {count}", timeout=60_000)


def loudness(page: Page) -> list[float]:
    """The greatest amplitude that came out of the player during each part that was heard to its end."""
    peaks = "heard.filter((part) => part.ended).map((part) => part.peak)"
    return [float(peak) for peak in page.evaluate(peaks)]


def sound_of(page: Page, site: str, text: str) -> NDArray[np.float32]:
    """The sound that the player was given while it said this: float32 [n], 16 kHz."""
    at = page.locator("#ear-log li").all_inner_texts().index(text)
    page.wait_for_function(f"() => heard.length > {at}")
    return decode_sound(ask(site + page.evaluate(f"heard[{at}].address")).body)


@needs_ears
def test_a_moment_is_heard_accepted_and_taken_back_without_looking(listener: Page, house: House, site: str) -> None:
    page = listener
    page.keyboard.press("Enter")
    until(page, "Proposed: Caution, cone on the left.")
    told = page.locator("#ear-log li").all_inner_texts()
    assert told[0] == "Moment 1 of 4. Correction by Ada, November 14, 22:13."
    assert told[1] == "The device said: Caution, bin ahead."
    assert told[2:4] == ["The sound of the moment", "Ada said:"]
    proposed = sound_of(page, site, "Proposed: Caution, cone on the left. Enter to accept.")
    assert understood(proposed, GRAMMAR) == "proposed caution cone on the left enter to accept"
    media = [part for part in page.evaluate("heard.map((part) => part.address)") if part.startswith("/media/")]
    assert len(media) == 2, "the moment and what the wearer said"
    ended(page, len(told) - 1)
    assert min(loudness(page)) > 0.02, "each of them is sound"

    page.wait_for_function("() => document.getElementById('ear-player').currentTime > 1.2")
    page.keyboard.press("Enter")
    confirmed = "Confirmed: “Caution, cone on the left.” 3 left. U takes it back."
    until(page, confirmed)
    heard = understood(sound_of(page, site, confirmed), GRAMMAR)
    assert heard == "confirmed caution cone on the left three left u takes it back"
    row = decisions.get(house.store, CORRECTED)
    assert row is not None
    assert (row.ground_truth, row.author) == ("Caution, cone on the left.", "caregiver")
    page.keyboard.press("u")
    until(page, "Taken back.")
    again = decisions.get(house.store, CORRECTED)
    assert again is not None
    assert again.state == "pending"
    page.keyboard.press("n")  # nothing can be decided before the moment is heard again
    page.wait_for_function("() => document.getElementById('ear-log').textContent.split('Moment 1 of 4').length === 3")
    page.keyboard.press("n")
    until(page, "Confirmed: nothing should be said. 3 left.")
    last = "() => document.querySelector('#ear-log li:last-child').textContent"
    page.wait_for_function(f"{last}.startsWith('Moment 2 of 4')")
    page.keyboard.press("h")
    until(page, "Keys.")
    page.keyboard.press("s")  # while the help is still being spoken
    until(page, "Skipped.")
    until(page, "Moment 2 of 4. Flagged by Ada")


@needs_ears
def test_enter_takes_nothing_that_was_not_heard_and_words_are_typed_blind(
    listener: Page, house: House, site: str
) -> None:
    correct(house, CORRECTED, n=9, transcript="cone left", proposal="Caution, cone on the left.", confidence=0.3)
    page = listener
    page.keyboard.press("Enter")
    until(page, "Moment 1 of 4")
    page.keyboard.press("Enter")  # to the proposal, past what the wearer said
    until(page, "It is unsure: listen, then Enter accepts.")
    page.wait_for_function("() => document.getElementById('ear-player').currentTime > 1.2")
    page.keyboard.press("Enter")
    until(page, ear_words.UNHEARD)
    assert decisions.counts(house.store)["reviewed"] == 0
    until(page, "It was heard as: cone left.")
    page.keyboard.press("Enter")
    until(page, "3 left.")

    until(page, "Moment 2 of 4")
    page.keyboard.press("e")
    until(page, "Type what should be said")
    page.keyboard.type("kerb in front")
    page.keyboard.press("Enter")
    until(page, "It will be taught as: Stop, curb ahead.")
    row = decisions.get(house.store, PUZZLING)
    assert row is not None
    assert row.state == "pending"
    page.wait_for_function("() => document.getElementById('ear-player').currentTime > 1.2")
    page.keyboard.press("Enter")
    until(page, "Confirmed: “Stop, curb ahead.” 2 left.")

    until(page, "Moment 3 of 4")
    other = ReviewDecision("edit", "Ana", "Stop, curb ahead.")
    decisions.review(house.store, house.dataset, FLAGGED, other, now_s=house.clock.utc_s())
    page.keyboard.press("n")
    until(page, "Not saved. Ana changed this moment meanwhile.")
    until(page, "You heard: Caution, pole ahead. Confirmed: “Stop, curb ahead.”")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_what_is_spoken_is_given_to_the_one_who_may_hear_it(site: str) -> None:
    told = post_json(f"{site}/api/ear/next", {"done": 0}).json
    assert (told["id"], told["acceptable"], told["must_hear"]) == (CORRECTED, True, False)
    spoken = [part for part in told["parts"] if part["sound"].startswith("/ear/sound/")]
    answer = ask(f"{site}{spoken[0]['sound']}")
    assert (answer.status, answer.headers["content-type"], answer.headers["cache-control"]) == (
        200,
        "audio/wav",
        "no-store",
    )
    with wave.open(io.BytesIO(answer.body)) as sound:
        assert sound.getnframes() / sound.getframerate() > 2
    assert ask(f"{site}/ear/sound/{'0' * 32}").status == 404
    assert ask(f"{site}/ear/sound/../secret").status == 404
    assert post_json(f"{site}/api/ear/nobody/do", {"act": "accept", "row_id": "nobody#1"}).status == 404
    assert ask(f"{site}/api/ear/phrase?name=anything").status == 422


def test_each_moment_begins_otherwise_and_says_all_that_a_picture_would(house: House, site: str) -> None:
    rows = decisions.listing(house.store)
    heard = [ear_words.moment(view.card(row), number=n, of=4, held_by="Ana") for n, row in enumerate(rows, start=1)]
    assert len({parts[0].text for parts in heard}) == 4
    assert all(parts[1].text == "Ana has this one." for parts in heard)
    kinds = [parts[-1].kind for parts in heard]
    assert kinds == [EarKind.PROPOSAL, EarKind.WORDS, EarKind.PROPOSAL, EarKind.PROPOSAL]
    assert heard[1][-1].text.startswith("Nothing is proposed. E: type")
    assert ear_words.wearer_only(view.card(rows[2])) == (ear_words.EarPart("The wearer said nothing."),)


def test_a_walk_is_gone_along_by_ear_to_its_ends(house: House, site: str) -> None:
    def along(sample_id: str, way: str) -> Any:
        return ask(f"{site}/api/ear/{sample_id}/walk?way={way}&done=1").json

    following = along(AUDITED, "next")
    assert (following["id"], following["first"], following["parts"][0]["text"]) == (
        FLAGGED,
        1,
        "The moment after it on the walk.",
    )
    assert along(FLAGGED, "previous")["id"] == AUDITED
    end = along(AUDITED, "previous")
    assert (end["id"], end["parts"][0]["text"]) == ("", "No moment of this walk comes before this one.")
    assert ask(f"{site}/api/ear/{AUDITED}/walk?way=up").status == 422
    assert ask(f"{site}/api/ear/nobody/walk?way=next").status == 404
    decisions.review(house.store, house.dataset, FLAGGED, ReviewDecision("nothing", "Ana"), now_s=house.clock.utc_s())
    decided = along(AUDITED, "next")
    assert [part["text"] for part in decided["parts"]][-1] == "Confirmed: nothing should be said."


def test_one_decision_by_ear_is_about_those_that_look_the_same_or_about_none(house: House, site: str) -> None:
    names = [moment(n).record.chunk_id for n in (10, 11, 12)]
    house.send_all([moment(n, seed=7, raw_output="Caution, bin ahead.", walk_id="w") for n in (10, 11, 12)])
    address, asked = f"{site}/api/ear/{names[0]}/alike", ask(f"{site}/api/ear/{names[0]}/alike").json
    assert asked["may"]
    told = [part["text"] for part in asked["parts"]]
    assert told[0].startswith("2 other moments of this walk")
    assert told[-1] == "Proposed for all: Caution, bin ahead. Enter accepts all of them. Escape leaves it."
    assert asked["parts"][-1]["kind"] == EarKind.QUESTION
    decisions.review(house.store, house.dataset, names[2], ReviewDecision("nothing", "Ana"), now_s=house.clock.utc_s())
    sent = {"row_id": f"{names[0]}#1", "chosen": asked["chosen"]}
    stale = post_json(address, sent)
    assert (stale.status, stale.json["go_on"], stale.json["count"]) == (409, False, 0)
    assert decisions.counts(house.store)["reviewed"] == 1, "all of them or none"
    erased = EraseRecord("e-1", "pi-1", 5.0, record_ids=(names[2],))
    assert house.merge.put_record("pi-1", "erase", erased).state == "merged"
    went = post_json(address, sent)
    assert (went.status, went.json["go_on"], went.json["count"]) == (409, False, 0)
    assert went.json["parts"][0]["text"] == ear_words.ONE_WENT
    own = {"row_id": f"{names[2]}#1", "chosen": [f"{names[1]}#1"]}
    assert post_json(address.replace(names[0], names[2]), own).status == 404
    assert decisions.counts(house.store)["reviewed"] == 0
    again = ask(address).json
    assert [row_id.rpartition("#")[0] for row_id in again["chosen"]] == [names[1]]
    done = post_json(address, {"row_id": sent["row_id"], "chosen": again["chosen"]})
    assert (done.status, done.json["count"]) == (200, 2)
    assert done.json["parts"][0]["text"] == "Confirmed: 2 moments. 4 left. U takes all of them back."
    assert ask(f"{site}/api/ear/{FLAGGED}/alike").json["may"] is False
    back = post_json(f"{site}/api/ear/undo", {"done": 3}).json
    assert (back["id"] in names[:2], back["count"]) == (True, 2)
    texts = [part["text"] for part in back["parts"]]
    assert texts[0] == "Taken back: 2 moments."
    assert texts[1].startswith("Moment 2 of 7."), "one was decided before these two"
    assert decisions.counts(house.store)["reviewed"] == 0, "taken back together"


@needs_ears
def test_keys_by_ear_go_along_the_walk_and_take_those_that_look_the_same(
    listener: Page, house: House, site: str
) -> None:
    house.send_all([moment(n, seed=7, raw_output="Caution, bin ahead.", walk_id="w") for n in (10, 11)])
    page, now_s = listener, house.clock.utc_s()
    for sample_id in (CORRECTED, PUZZLING, FLAGGED, AUDITED):
        decisions.review(house.store, house.dataset, sample_id, ReviewDecision("nothing", "Ana"), now_s=now_s)
    page.keyboard.press("Enter")
    until(page, "Moment 1 of 2")
    page.keyboard.press("j")
    said = "() => /(after it on the walk|comes after this one)/.test(document.getElementById('ear-log').textContent)"
    page.wait_for_function(said)
    if page.locator("#ear-log").get_by_text("comes after this one").count():
        page.keyboard.press("k")
        until(page, "The moment before it on the walk.")
    page.wait_for_function("() => document.getElementById('ear-log').textContent.split('Moment 1 of 2').length === 3")
    page.keyboard.press("x")
    until(page, "Proposed for all: Caution, bin ahead.")
    page.wait_for_function("() => document.getElementById('ear-player').currentTime > 1.2")
    assert decisions.counts(house.store)["pending"] == 2, "asked first"
    page.keyboard.press("Escape")
    until(page, "Left as it was.")
    page.keyboard.press("x")
    page.wait_for_function(
        "() => document.getElementById('ear-log').textContent.split('Proposed for all').length === 3"
    )
    page.wait_for_function("() => document.getElementById('ear-player').currentTime > 1.2")
    page.keyboard.press("Enter")
    until(page, "Confirmed: 2 moments. None is left. U takes all of them back.")
    assert decisions.counts(house.store)["pending"] == 0
    page.keyboard.press("u")
    until(page, "Taken back: 2 moments.")
    page.wait_for_function("() => document.getElementById('ear-log').textContent.split('Moment 1 of 2').length === 4")
    page.wait_for_function("() => sessionStorage.getItem('waycue.ear.done') === '0'")


@needs_ears
def test_a_moment_that_went_while_it_was_heard_is_told_of_and_the_next_one_comes(listener: Page, house: House) -> None:
    page = listener
    page.keyboard.press("Enter")
    until(page, "Moment 1 of 4")
    page.wait_for_function("() => document.getElementById('ear-log').children.length > 1")
    wish = EraseRecord("e-1", "pi-1", 5.0, record_ids=(CORRECTED,))
    assert house.merge.put_record("pi-1", "erase", wish).state == "merged"
    page.keyboard.press("Delete")
    until(page, "This moment is not there for you any more.")
    until(page, "Moment 1 of 3")
    assert "Not saved" not in page.locator("#ear-log").inner_text()
