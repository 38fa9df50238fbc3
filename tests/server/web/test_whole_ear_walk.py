"""The whole of what a blind wearer does, in a real Chromium against a whole `waycue-server run`: the page is black from
beginning to end. At the door there are the names that a screen reader says; from then on what to press is taken from
the sound that the page's player gave out, and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from server.review import decisions
from server.web import ear_words
from tests.server.dataset.moments import House, moment
from tests.server.web.browsing import state
from tests.server.web.ears import EARS, FASTEST, Ears, HeardPart, needs_ears
from tests.server.web.keyboard import Keyboard
from tests.server.web.running import invitation, running
from tests.server.web.serving import correct
from tests.server.web.test_whole_walk import join, name

GRAMMAR = """#JSGF V1.0;
grammar ear;
public <s> = <proposed> | <chosen> | <offered> | <done> | <deleted> ;
<proposed> = proposed <what> ( enter to accept | it is unsure listen then enter accepts ) ;
<chosen> = two <what> [ enter teaches it escape leaves it ] ;
<offered> = you wrote curb in front it will be taught as <what> [ enter teaches it escape leaves it ] ;
<done> = ( confirmed <what> | rejected this moment will not teach the device ) [ <left> left [ u takes it back ] ] ;
<deleted> = deleted for good one moment and one record ;
<what> = ( caution | stop ) <thing> ( ahead | on the left | on the right ) | nothing should be said ;
<thing> = cone | bin | pole | barrier | person | bicycle | bollard | curb | stairs down | vehicle ;
<left> = one | two | three | four | five | six | seven | eight | nine | ten | eleven | none is ;
"""


def fill(house: House) -> None:
    """Ten moments, and two that the device was unsure of, which come last."""
    words = ["bin ahead", "bin ahead", "pole ahead", "barrier ahead", "person ahead", "bicycle ahead", "bin ahead"]
    words += ["bin on the left", "vehicle ahead"]
    house.send_all([moment(n, raw_output=f"Caution, {said}.") for n, said in enumerate(words)])
    house.send(moment(9, raw_output="Caution, bin ahead.", spoken="Caution, bin ahead."))
    house.send_all([moment(n, raw_output="Stop, stairs down ahead.", flags=("low_confidence",)) for n in (20, 21)])
    correct(house, name(0), n=0, transcript="cone on the left", proposal="Caution, cone on the left.")
    correct(house, name(1), n=1, transcript="mumble", proposal="")
    correct(house, name(6), n=6, transcript="cone right", proposal="Caution, cone on the right.", confidence=0.4)
    correct(house, name(9), n=9, transcript="bollard ahead", proposal="Caution, bollard ahead.")


@needs_ears
@pytest.mark.soak
@pytest.mark.slow
def test_a_blind_wearer_reviews_ten_takes_one_back_and_deletes_one_with_proof(browser: Browser, house: House) -> None:
    fill(house)
    with running(house.home) as url:
        context = browser.new_context(ignore_https_errors=True)
        page, complaints = context.new_page(), list[str]()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(EARS)
        keys = join(page, url + invitation(house.home, "wearer", wearer="Ada"), "Ada")
        keys.open("By ear", heading="Review by ear")
        ears = Ears(page, GRAMMAR)
        keys.press(*"+" * FASTEST, "Enter")
        for _ in range(10):
            review(keys, ears)
        assert {n: state(house, name(n)) for n in range(10)} == STANDS
        take_back(keys, ears, house)
        delete(keys, ears, house)
        keys.open("Log out", heading="Log in")
        context.close()
    assert complaints == []


STANDS = {
    0: ("reviewed", "Caution, cone on the left."),
    1: ("reviewed", "Stop, curb ahead."),
    2: ("reviewed", ""),
    3: ("pending", ""),
    4: ("pending", ""),
    5: ("rejected", ""),
    6: ("reviewed", "Caution, cone on the right."),
    7: ("reviewed", "Caution, bin on the left."),
    8: ("reviewed", "Caution, vehicle ahead."),
    9: ("reviewed", "Caution, bin ahead."),
}


def proposed(keys: Keyboard, ears: Ears) -> HeardPart:
    """What a moment proposes: the beginning is heard, and Enter goes straight to it."""
    ears.next()
    keys.press("Enter")
    return ears.next()


def review(keys: Keyboard, ears: Ears) -> None:
    """One moment, by what was heard of it."""
    part = proposed(keys, ears)
    if part.says("There is nothing to accept. E: type what should be said. N: nothing should be said."):
        keys.press("e")
        assert ears.next().says("Type what should be said, then Enter. Escape leaves it.")
        keys.type("kerb in front")
        keys.press("Enter")
        assert ears.next().words.startswith(
            "you wrote curb in front it will be taught as stop curb ahead enter teaches"
        )
        keys.press("Enter")
        return confirmed(ears, "stop curb ahead")
    said = re.match("proposed (.*?) (enter|it is unsure)", part.words)  # the last word of a sound is often lost
    assert said, part.words
    match said[1]:
        case "caution pole ahead":
            keys.press("n")
            confirmed(ears, "nothing should be said")
        case "caution barrier ahead":
            keys.press("s")
            assert ears.next().says("Skipped.")
        case "caution person ahead":
            keys.press("d")
            assert ears.next().says("Marked as difficult, for somebody else.")
        case "caution bicycle ahead":
            keys.press("t")
            assert ears.next().words.startswith("rejected this moment will not teach the device")
        case "caution bollard ahead":
            keys.press("2")
            assert ears.next().words.startswith("two caution bin ahead")
            keys.press("Enter")
            confirmed(ears, "caution bin ahead")
        case what:
            keys.press("Enter")
            if said[2] == "it is unsure":
                assert ears.next().says(ear_words.UNHEARD)
                until(ears, lambda heard: heard.is_media, to_end=True)
                ears.next()  # how it was heard
                keys.press("Enter")
            confirmed(ears, what)


def until(ears: Ears, found: Callable[[HeardPart], bool], *, to_end: bool = False) -> HeardPart:
    """Listen on to a part that is meant."""
    for _ in range(12):
        part = ears.next(to_end=to_end)
        if found(part):
            return part
    raise AssertionError("it was never said")


def confirmed(ears: Ears, what: str) -> None:
    words = ears.next().words
    assert words.startswith(f"confirmed {what}"), words


def take_back(keys: Keyboard, ears: Ears, house: House) -> None:
    before = decisions.counts(house.store)["pending"]
    ears.next()
    keys.press("u")
    assert ears.next().says("Taken back.")
    assert decisions.counts(house.store)["pending"] == before + 1
    review(keys, ears)
    assert decisions.counts(house.store)["pending"] == before


def delete(keys: Keyboard, ears: Ears, house: House) -> None:
    """Asked for, thought better of, asked for again."""
    question = "It cannot be undone. Enter deletes it. Escape keeps it."
    ears.next()
    keys.press("Delete")
    until(ears, lambda part: part.says(question))
    keys.press("Escape")
    assert ears.next().says("Left as it was.")
    moments = decisions.counts(house.store)
    keys.press("Enter")  # what was heard last was no proposal: nothing is accepted, it is told again
    assert ears.next().words.startswith("proposed ")
    assert decisions.counts(house.store) == moments
    keys.press("Delete")
    until(ears, lambda part: part.says(question))
    keys.press("Enter")
    assert ears.next().words == "deleted for good one moment and one record"
    until(ears, lambda part: part.says("This is proof 1. It stands under Wearers, What was deleted."))
    assert sum(decisions.counts(house.store).values()) == sum(moments.values()) - 1
    assert min(ears.loudness()) > 0.02, "all of it was sound"
    keys.open("Wearers", heading="Wearers and consent")
    keys.open("What was deleted", heading="What was deleted")
    expect(keys.page.get_by_role("heading", name="Proof 1: moment, by Ada")).to_have_count(1)
