"""What a wearer may set, and what they are told about the device's own eyes and voice, case by case."""

from __future__ import annotations

import pytest

from shared import policy
from shared.lens import LensTrouble
from shared.policy import PolicySettings, Worded
from tests.shared.policy.walk import Hazard, Walk

CURB = Hazard("curb", "ahead", 0.95)
MAYBE_CURB = Hazard("curb", "ahead", 0.6)
POLE = Hazard("pole", "on the left", 0.9)
DOOR = Hazard("door", "on the right", 0.9)


def texts(walk: Walk) -> list[str]:
    return [speak.text for _, speak in walk.spoken]


def word(walk: Walk, text: str, *, confidence: float = 0.9) -> tuple[policy.Action, ...]:
    return walk.give(Worded(text, confidence, walk.now_s))


def test_who_wants_warnings_early_hears_a_faint_curb_at_the_first_look() -> None:
    walk = Walk(PolicySettings(lead="early"))
    walk.look(MAYBE_CURB)
    assert texts(walk) == ["Stop, curb ahead."]


def test_who_wants_words_late_hears_of_an_obstacle_once_it_is_near_and_of_a_curb_at_once() -> None:
    walk = Walk(PolicySettings(lead="late"))
    far = Hazard("pole", "on the left", 0.6)
    for hazard in (far, far, far):
        assert walk.look(hazard) == ()
        word(walk, "Caution, pole on the left.")
    walk.look(POLE)
    word(walk, "Caution, pole on the left.")
    walk.wait(2.0)
    walk.look(CURB)
    assert texts(walk) == ["Caution, pole on the left.", "Stop, curb ahead."]


def test_that_the_way_goes_on_is_said_only_to_who_wants_it_and_seldom() -> None:
    quiet, wanting = Walk(), Walk(PolicySettings(confirmations=True))
    sidewalk = Hazard("sidewalk", "ahead", 0.9)
    for number in range(200):
        for walk in (quiet, wanting):
            walk.look(sidewalk)
            word(walk, ("Keep straight, sidewalk ahead.", "Follow, tactile paving ahead.")[number // 40 % 2])
            walk.wait(0.25)
    assert texts(quiet) == []
    times = [at_s for at_s, _ in wanting.spoken]
    assert len(times) == 2
    assert times[1] - times[0] >= 20.0


def test_a_blocked_sidewalk_is_no_confirmation() -> None:
    walk = Walk()
    for _ in range(2):
        walk.look()
        word(walk, "Keep straight, sidewalk narrow ahead.")
        walk.wait(0.25)
    assert texts(walk) == ["Keep straight, sidewalk narrow ahead."]


def test_the_tick_sounds_while_all_is_well_and_silent_and_never_when_it_is_not() -> None:
    walk = Walk(PolicySettings(tick_every_s=4.0))

    def go_on(seconds: float, *hazards: Hazard, brightness: float = 0.5) -> int:
        before = len(walk.actions)
        for _ in range(round(seconds * 4)):
            walk.look(*hazards, brightness=brightness)
            walk.wait(0.25)
        return sum(action == policy.Beat() for _, action in walk.actions[before:])

    assert go_on(20.0) == 5
    walk.give(policy.SoundHeard("siren"))
    assert go_on(4.0) == 0
    assert go_on(10.0, brightness=0.0) == 0
    walk.give(policy.LookFailed())
    walk.wait(30.0)
    walk.give(policy.TimePassed())
    assert [action for at_s, action in walk.actions if at_s > walk.now_s - 29.0 and action == policy.Beat()] == []


def test_a_siren_cuts_words_that_only_find_the_way_and_makes_the_rest_quieter_until_it_is_gone() -> None:
    walk = Walk()
    walk.look(DOOR)
    walk.look(DOOR)
    word(walk, "Keep straight, door on the right.")
    walk.wait(0.2)
    assert walk.give(policy.SoundHeard("siren")) == (policy.Duck(on=True), policy.Cut(1))
    walk.wait(2.0)
    assert walk.give(policy.SoundHeard("siren")) == ()
    walk.wait(3.9)
    assert walk.look() == ()
    walk.wait(0.2)
    assert walk.look() == (policy.Duck(on=False),)


def test_the_newest_news_about_a_thing_is_what_is_said_last() -> None:
    walk = Walk()
    for _ in range(12):
        walk.look(brightness=0.0)
        walk.wait(0.25)
    walk.give(policy.StateChange("Offline.", about="link"))
    for brightness in (*[0.5] * 4, *[0.0] * 8):
        walk.look(brightness=brightness)
        walk.wait(0.25)
    walk.give(policy.StateChange("Back online.", about="link"))
    walk.wait(5.0)
    walk.give(policy.TimePassed())
    camera = [text for text in texts(walk) if text.startswith("Camera")]
    assert camera[-1] == "Camera blocked."
    assert [text for text in texts(walk) if "line" in text][-1] == "Back online."


def test_a_camera_that_shows_every_other_picture_only_is_announced_and_still_warns() -> None:
    walk = Walk()
    for number in range(12):
        walk.look(brightness=0.5 * (number % 2))
        walk.wait(0.25)
    assert texts(walk) == ["Camera blocked."]
    walk.look(CURB)
    assert texts(walk)[-1] == "Stop, curb ahead."


@pytest.mark.parametrize(("lens", "text"), sorted(policy.LENS_TEXTS.items()))
def test_each_trouble_of_the_lens_has_its_own_words_also_without_a_look(lens: LensTrouble, text: str) -> None:
    walk = Walk()
    for _ in range(12):
        walk.give(policy.Viewed(lens))
        walk.wait(0.25)
    for _ in range(24):  # under lamps it is dark every few steps: that lasts longer
        walk.give(policy.Viewed())
        walk.wait(0.25)
    assert texts(walk) == [text, "Camera back."]


def test_a_lens_misjudged_as_covered_does_not_silence_a_warning_but_words_are_held_back() -> None:
    walk = Walk()
    for _ in range(4):
        walk.give(policy.Looked((CURB, POLE), 0.5, 0.2, LensTrouble.COVERED))
        assert word(walk, "Caution, pole on the left.") == ()
        walk.wait(0.25)
    assert texts(walk)[0] == "Stop, curb ahead."
    assert "Caution, pole on the left." not in texts(walk)


def test_what_nobody_heard_is_said_again_when_the_voice_is_back() -> None:
    walk = Walk()
    walk.give(policy.StateChange("Guidance updated.", about="model"))
    walk.wait(60.0)
    walk.give(policy.StateChange("Storage full.", about="storage"))
    walk.look(CURB)
    walk.wait(2.0)
    walk.give(policy.VoiceLost())
    walk.give(policy.StateChange("Offline.", about="link"))
    walk.wait(4.0)
    walk.give(policy.StateChange("Back online.", about="link"))
    walk.wait(2.0)
    before = len(walk.spoken)
    walk.give(policy.VoiceFound())
    for _ in range(20):
        walk.wait(0.5)
        walk.look(CURB)
    said = texts(walk)[before:]
    assert said[0] == "Voice is back."
    assert set(said) == {"Voice is back.", "Stop, curb ahead.", "Storage full.", "Back online."}


def test_a_voice_that_was_never_lost_is_not_announced_as_back() -> None:
    walk = Walk()
    walk.give(policy.VoiceFound())
    assert texts(walk) == []
