"""The speech policy, case by case."""

from __future__ import annotations

import pytest

from shared import policy
from shared.lens import LensTrouble
from shared.policy import Flag, PolicySettings, Speak, Worded, WordIt
from tests.shared.policy.walk import Hazard, Walk

CURB = Hazard("curb", "ahead", 0.95)
MAYBE_CURB = Hazard("curb", "ahead", 0.6)
POLE = Hazard("pole", "on the left", 0.9)
DOOR = Hazard("door", "on the right", 0.9)


def texts(walk: Walk) -> list[str]:
    return [speak.text for _, speak in walk.spoken]


def word(walk: Walk, text: str, *, confidence: float = 0.9, age_s: float = 0.0) -> tuple[policy.Action, ...]:
    return walk.give(Worded(text, confidence, walk.now_s - age_s))


def test_a_certain_curb_ahead_is_said_at_the_first_look() -> None:
    walk = Walk()
    (speak,) = walk.look(CURB)
    assert isinstance(speak, Speak)
    assert (speak.text, speak.tier, speak.why) == ("Stop, curb ahead.", 1, "hazard")


def test_an_uncertain_curb_needs_a_second_look() -> None:
    walk = Walk()
    assert walk.look(MAYBE_CURB) == ()
    walk.wait(0.25)
    assert walk.look() == ()
    walk.wait(0.25)
    walk.look(MAYBE_CURB)
    assert texts(walk) == ["Stop, curb ahead."]


def test_a_curb_that_stays_and_comes_nearer_is_said_again_after_ten_seconds_and_a_still_one_is_not() -> None:
    still, nearer = Walk(), Walk()
    for number in range(60):
        for walk, score in ((still, 0.85), (nearer, min(0.99, 0.85 + 0.004 * number))):
            walk.look(Hazard("curb", "ahead", score))
            walk.wait(0.25)
    assert texts(still) == ["Stop, curb ahead."]
    assert texts(nearer) == ["Stop, curb ahead.", "Stop, curb ahead."]
    assert nearer.spoken[1][0] - nearer.spoken[0][0] >= 10.0


@pytest.mark.parametrize(("away", "warnings"), [(2, 1), (5, 1), (8, 2)])
def test_a_second_staircase_is_warned_of_within_ten_seconds_and_one_that_flickers_is_not(
    away: int, warnings: int
) -> None:
    walk = Walk()
    for there in (*(True,) * 4, *(False,) * away, *(True,) * 4):
        walk.look(*(Hazard("stairs down", "ahead", 0.97),) * there)
        walk.wait(0.25)
    assert texts(walk) == ["Stop, stairs down ahead."] * warnings


def test_a_curb_that_only_the_decoder_knows_and_that_never_left_is_not_said_again() -> None:
    """It is worded every two seconds, and no look between shows it."""
    walk = Walk()
    for look in range(100):
        walk.look()
        if look % 8 in (0, 1):
            walk.give(Worded("Stop, curb ahead.", 0.88, walk.now_s))
        walk.wait(0.25)
    assert texts(walk) == ["Stop, curb ahead."]


def test_guidance_that_paused_does_not_take_the_same_staircase_for_another() -> None:
    walk = Walk()
    walk.look(Hazard("stairs down", "ahead", 0.97))
    walk.wait(6.0)
    walk.look(Hazard("stairs down", "ahead", 0.97))
    assert texts(walk) == ["Stop, stairs down ahead."]


def test_a_pole_beside_the_path_is_worded_after_two_looks_and_said_once() -> None:
    walk = Walk()
    assert walk.look(POLE) == ()
    walk.wait(0.25)
    assert walk.look(POLE) == (WordIt(),)
    word(walk, "Caution, pole on the left.")
    for _ in range(80):
        walk.wait(0.25)
        walk.look(POLE)
    assert texts(walk) == ["Caution, pole on the left."]


def test_a_pole_that_was_gone_and_comes_again_is_a_new_one() -> None:
    walk = Walk()
    for _ in range(2):
        walk.look(POLE)
        walk.wait(0.25)
        walk.look(POLE)
        word(walk, "Caution, pole on the left.")
        for _ in range(48):
            walk.wait(0.25)
            walk.look()
    assert texts(walk) == ["Caution, pole on the left."] * 2


def test_words_the_decoder_is_unsure_of_are_not_spoken_but_where_to_check_is_and_the_moment_is_flagged() -> None:
    walk = Walk()
    walk.look(POLE)
    walk.look(POLE)
    flag, speak = word(walk, "Caution, pole on the left.", confidence=0.55)
    assert flag == Flag("low_confidence")
    assert isinstance(speak, Speak)
    assert (speak.text, speak.tier, speak.why) == ("Not sure, check left.", 2, "unsure")
    walk.wait(3.0)
    assert word(walk, "Caution, purple pole.", confidence=0.99) == (Flag("low_confidence"),)
    assert texts(walk) == ["Not sure, check left."]
    walk.look(POLE)
    word(walk, "Caution, pole on the left.", confidence=0.9)
    assert texts(walk)[1:] == ["Caution, pole on the left."], "once it is sure it says so"


def test_an_obstacle_only_the_decoder_suspects_is_checked_at_the_next_look_and_then_told_as_unsure() -> None:
    walk = Walk()
    walk.look()
    assert word(walk, "Stop, curb ahead.", confidence=0.4) == (Flag("low_confidence"),)
    assert walk.look() == (WordIt(),)
    word(walk, "Caution, bin ahead.", confidence=0.45)
    assert texts(walk) == ["Not sure, check ahead."]


def test_a_side_the_wearer_attends_to_already_is_not_told_as_unsure() -> None:
    walk = Walk()
    walk.look(CURB)
    walk.wait(3.0)
    for _ in range(4):
        walk.look(CURB)
        word(walk, "Caution, bin ahead.", confidence=0.4)
        walk.wait(0.25)
    assert texts(walk) == ["Stop, curb ahead."]


def test_a_model_out_of_its_depth_is_announced_and_so_is_its_recovery() -> None:
    walk = Walk()
    for confidence in (*[0.9] * 10, *[0.2] * 10, *[0.9] * 10):
        walk.look()
        word(walk, "Continue straight, crosswalk ahead.", confidence=confidence)
        walk.wait(2.0)
    assert [text for text in texts(walk) if "sure" in text] == ["Guidance is unsure.", "Guidance is sure again."]


def test_a_warning_about_a_picture_that_is_too_old_is_not_given_and_the_next_one_is() -> None:
    walk = Walk()
    walk.wait(8.0)
    for age_s in (7.0, 3.1):
        assert walk.give(policy.Looked((CURB,), 0.5, 0.2, seen_at_s=walk.now_s - age_s)) == ()
    assert word(walk, "Stop, curb ahead.", age_s=3.1) == ()
    walk.give(policy.Looked((CURB,), 0.5, 0.2, seen_at_s=walk.now_s - 0.3))
    assert texts(walk) == ["Stop, curb ahead."]


def test_a_warning_whose_end_is_never_reported_holds_back_the_next_for_five_seconds_at_most() -> None:
    walk = Walk()
    walk.look(CURB)
    walk.ends.clear()
    stairs = Hazard("stairs down", "ahead", 0.99)
    walk.now_s += 4.0
    assert walk.look(stairs) == ()
    walk.now_s += 1.5
    walk.look(stairs)
    assert texts(walk)[-1] == "Stop, stairs down ahead."


def test_a_thing_only_the_decoder_knows_is_spoken_when_it_names_it_at_two_looks() -> None:
    walk = Walk()
    walk.look()
    word(walk, "Caution, dog ahead.")
    walk.wait(0.25)
    assert walk.look() == (WordIt(),)
    word(walk, "Caution, dog ahead.")
    assert texts(walk) == ["Caution, dog ahead."]


def test_a_decoder_that_wavers_does_not_run_at_every_look() -> None:
    walk, runs = Walk(), 0
    walk.look()
    word(walk, "Caution, dog ahead.")
    for number in range(40):
        walk.wait(0.25)
        if WordIt() in walk.look():
            runs += 1
            word(walk, ("Caution, bin ahead.", "Caution, dog ahead.")[number % 2])
    assert runs <= 12


def test_a_warning_cuts_an_obstacle_and_both_never_sound_together() -> None:
    walk = Walk()
    walk.look(POLE)
    walk.look(POLE)
    word(walk, "Caution, pole on the left.")
    walk.wait(0.3)
    cut, speak = walk.look(POLE, CURB)
    assert cut == policy.Cut(1)
    assert isinstance(speak, Speak)
    assert speak.text == "Stop, curb ahead."


def test_a_second_warning_waits_for_the_first_to_end() -> None:
    walk = Walk()
    walk.look(CURB)
    stairs = Hazard("stairs down", "ahead", 0.99)
    walk.wait(0.25)
    assert walk.look(CURB, stairs) == ()
    walk.wait(1.0)
    walk.look(CURB, stairs)
    assert texts(walk) == ["Stop, curb ahead.", "Stop, stairs down ahead."]


def test_stale_tier_three_words_are_dropped() -> None:
    walk = Walk()
    walk.look(DOOR)
    walk.wait(5.0)
    walk.look(DOOR)
    assert word(walk, "Keep straight, door on the right.", age_s=2.5) == ()
    word(walk, "Keep straight, door on the right.", age_s=0.5)
    assert texts(walk) == ["Keep straight, door on the right."]


def test_tier_three_is_held_back_while_a_siren_sounds() -> None:
    walk = Walk()
    walk.give(policy.SoundHeard("siren"))
    walk.look(DOOR)
    assert walk.look(DOOR) == ()
    walk.wait(5.0)
    walk.look(DOOR)
    assert walk.look(DOOR) in ((WordIt(),), ())
    word(walk, "Keep straight, door on the right.")
    assert texts(walk) == ["Keep straight, door on the right."]


def test_a_siren_does_not_hold_back_a_warning() -> None:
    walk = Walk()
    walk.give(policy.SoundHeard("siren"))
    walk.look(CURB)
    assert texts(walk) == ["Stop, curb ahead."]


@pytest.mark.parametrize("look_every_s", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(("brightness", "contrast"), [(0.0, 0.0), (0.4, 0.001), (0.001, 0.1)])
def test_a_blocked_camera_is_announced_within_three_seconds_even_over_speech(
    look_every_s: float, brightness: float, contrast: float
) -> None:
    walk = Walk()
    walk.look(CURB)
    for _ in range(int(3.0 / look_every_s)):
        walk.look(CURB, brightness=brightness, contrast=contrast)
        walk.wait(look_every_s)
    blocked = [at_s for at_s, speak in walk.spoken if speak.text == "Camera blocked."]
    assert len(blocked) == 1
    assert blocked[0] <= 3.0


def test_a_camera_that_stays_blocked_is_announced_again_and_its_return_once() -> None:
    walk = Walk()
    for _ in range(4 * 40):
        walk.look(brightness=0.0)
        walk.wait(0.25)
    for _ in range(20):
        walk.look()
        walk.wait(0.25)
    assert texts(walk) == ["Camera blocked.", "Camera blocked.", "Camera back."]


def test_a_dark_street_with_one_lamp_is_not_a_blocked_camera() -> None:
    walk = Walk()
    for _ in range(40):
        walk.look(brightness=0.04, contrast=0.05)
        walk.wait(0.25)
    assert texts(walk) == []


def test_no_look_for_two_seconds_is_announced_and_so_is_the_second_of_the_next() -> None:
    walk = Walk()
    walk.give(policy.WalkBegan())
    for _ in range(30):
        walk.wait(0.1)
        walk.give(policy.TimePassed())
    walk.wait(2.0)
    walk.look()
    walk.wait(0.25)
    assert texts(walk) == ["Guidance paused, no picture."]
    walk.look()
    walk.wait(2.0)
    walk.give(policy.WalkEnded())
    walk.wait(9.0)
    walk.give(policy.TimePassed())
    assert texts(walk) == ["Guidance paused, no picture.", "Guidance is back."]


def test_a_failing_model_is_announced_once_until_it_works_again() -> None:
    walk = Walk()
    for _ in range(5):
        walk.give(policy.LookFailed())
        walk.wait(0.5)
    walk.look()
    walk.wait(0.25)
    walk.look()
    assert texts(walk) == ["Guidance paused.", "Guidance is back."]


def test_a_model_that_fails_at_every_other_look_is_not_back_with_each_good_one() -> None:
    walk = Walk()
    walk.give(policy.WalkBegan())
    for number in range(60):
        walk.give(policy.LookFailed()) if number % 2 == 0 else walk.look()
        walk.wait(0.5)
    assert texts(walk) == ["Guidance paused."]


@pytest.mark.parametrize("every_s", [2.2, 2.5, 4.0])
def test_a_camera_with_a_picture_now_and_then_is_not_back_with_each(every_s: float) -> None:
    walk = Walk()
    walk.give(policy.WalkBegan())
    for number in range(1, 400):
        walk.wait(0.1)
        walk.look() if number % round(every_s * 10) == 0 else walk.give(policy.TimePassed())
    assert texts(walk) == ["Guidance paused, no picture."]


def test_a_state_change_cut_by_a_warning_is_said_again() -> None:
    walk = Walk()
    walk.give(policy.StateChange("Storage full."))
    walk.look(CURB)
    walk.give(policy.WalkEnded())
    walk.wait(5.0)
    walk.give(policy.TimePassed())
    assert texts(walk) == ["Storage full.", "Stop, curb ahead.", "Storage full."]


PATIENT = policy.StateChange("This model sees people and dogs.", patient=True)
AGAIN = PATIENT.text


def test_news_that_can_wait_is_cut_by_an_obstacle_and_said_again_until_it_was_heard_once() -> None:
    walk = Walk()
    walk.give(PATIENT)
    pole = Hazard("pole", "on the left", 0.9)
    for _ in range(2):
        walk.look(pole)
        walk.wait(0.25)
    walk.give(policy.Worded("Caution, pole on the left.", 0.9, walk.now_s))
    assert texts(walk) == [AGAIN, "Caution, pole on the left."]
    walk.give(policy.WalkEnded())
    for _ in range(20):
        walk.wait(2.0)
        walk.give(policy.TimePassed())
    assert texts(walk) == [AGAIN, "Caution, pole on the left.", AGAIN]


def test_news_that_can_wait_and_never_comes_to_its_end_is_given_up_after_five_tries() -> None:
    walk = Walk()
    walk.give(PATIENT)
    while walk.now_s < 1800.0:
        walk.give(policy.StateChange("Offline.", about="link"))
        walk.wait(1.0)
        walk.give(policy.StateChange("Online.", about="link"))
        walk.wait(1.0)
        walk.give(policy.TimePassed())
    assert texts(walk).count(AGAIN) == 5


def test_among_many_warnings_news_that_can_wait_is_begun_three_times_in_a_minute() -> None:
    walk = Walk()
    walk.give(PATIENT)
    while walk.now_s < 60.0:
        for place in ("on the left", "on the right"):
            walk.give(policy.StateChange("Offline.", about=place))
            walk.wait(0.5)
            walk.give(policy.StateChange("Online.", about=place))
            walk.wait(1.0)
            walk.give(policy.TimePassed())
    assert texts(walk).count(AGAIN) <= 3


def test_other_news_goes_first_and_cuts_news_that_can_wait() -> None:
    walk = Walk()
    walk.give(PATIENT)
    walk.give(policy.StateChange("Offline."))
    walk.give(policy.WalkEnded())
    for _ in range(10):
        walk.wait(2.0)
        walk.give(policy.TimePassed())
    assert texts(walk) == [AGAIN, "Offline.", AGAIN]


def test_news_that_can_wait_is_silent_while_a_siren_sounds() -> None:
    walk = Walk()
    walk.give(PATIENT)
    walk.give(policy.SoundHeard("siren"))
    assert walk.cuts == [(0.0, 1)]
    walk.wait(walk.settings.sound_hold_s - 0.1)
    walk.give(policy.TimePassed())
    assert texts(walk) == [AGAIN]
    walk.wait(0.2)
    walk.give(policy.TimePassed())
    assert texts(walk) == [AGAIN, AGAIN]


def test_news_that_can_wait_does_not_talk_into_a_correction() -> None:
    walk = Walk()
    walk.give(PATIENT)
    walk.give(policy.CorrectionListening(True))
    assert walk.cuts == [(0.0, 1)]
    walk.wait(5.0)
    walk.give(policy.TimePassed())
    assert texts(walk) == [AGAIN]
    walk.give(policy.CorrectionListening(False))
    assert texts(walk) == [AGAIN, AGAIN]


def test_news_that_is_no_longer_true_is_not_said_again() -> None:
    walk = Walk()
    walk.give(policy.StateChange("No model.", about="model"))
    walk.give(policy.StateChange("Offline."))
    walk.look(CURB)
    walk.give(policy.StateChange("Guidance ready.", about="model"))
    walk.give(policy.WalkEnded())
    for _ in range(10):
        walk.wait(2.0)
        walk.give(policy.TimePassed())
    assert texts(walk) == ["No model.", "Stop, curb ahead.", "Offline.", "Guidance ready."]


def test_news_among_many_warnings_is_begun_seldom_and_said_whole_when_they_stop() -> None:
    walk = Walk()
    news = "The storage is full, nothing more is kept."
    walk.give(policy.StateChange(news))
    names = ["curb", "stairs down", "drop-off", "street edge", "train tracks", "bicycle", "vehicle"]
    for number in range(40):
        walk.look(Hazard(names[number % len(names)], "ahead", 0.99))
        walk.wait(1.8)
    begun = texts(walk).count(news)
    walk.give(policy.WalkEnded())
    walk.wait(100.0)
    walk.give(policy.TimePassed())
    assert begun <= 6
    assert texts(walk)[-1] == news


def test_while_the_wearer_speaks_only_warnings_and_urgent_news_are_heard() -> None:
    walk = Walk()
    walk.give(policy.CorrectionListening(on=True))
    walk.give(policy.StateChange("Back online."))
    walk.look(POLE)
    assert walk.look(POLE) == ()
    walk.look(CURB)
    walk.wait(3.0)
    walk.give(policy.CorrectionListening(on=False))
    assert texts(walk) == ["Stop, curb ahead.", "Back online."]


def test_repeat_says_the_last_guidance_again_even_within_ten_seconds() -> None:
    walk = Walk()
    walk.give(policy.RepeatAsked())
    walk.wait(2.0)
    walk.look(CURB)
    walk.wait(2.0)
    walk.give(policy.StateChange("Offline."))
    walk.wait(2.0)
    walk.give(policy.RepeatAsked())
    assert texts(walk) == ["Nothing said yet.", "Stop, curb ahead.", "Offline.", "Stop, curb ahead."]


def test_a_muted_voice_still_warns_and_says_that_it_is_muted() -> None:
    walk = Walk()
    walk.give(policy.MuteToggled())
    walk.wait(3.0)
    walk.look(POLE)
    assert walk.look(POLE) == ()
    walk.look(CURB)
    walk.wait(3.0)
    walk.give(policy.MuteToggled())
    assert texts(walk) == ["Muted. Warnings only.", "Stop, curb ahead.", "Voice on."]


def test_an_utterance_whose_end_is_never_reported_does_not_silence_warnings_for_ever() -> None:
    walk = Walk()
    walk.give(policy.StateChange("Offline."))
    walk.ends.clear()  # the voice died: nobody reports the end
    walk.look(Hazard("pole", "ahead", 0.9))
    walk.now_s += 16.0
    walk.look(CURB)
    assert texts(walk)[-1] == "Stop, curb ahead."


def test_clear_is_said_when_turned_on_only_after_eight_empty_looks_and_not_often() -> None:
    walk = Walk(PolicySettings(say_clear=True))
    for _ in range(100):
        walk.look()
        word(walk, "Continue straight, path is clear.", confidence=0.97)
        walk.wait(0.25)
    times = [at_s for at_s, _ in walk.spoken]
    assert len(times) == 2
    assert times[0] >= 7 * 0.25
    assert times[1] - times[0] >= 20.0
    walk.look(POLE)
    assert walk.state.empty_looks == 0


def test_an_overhead_branch_is_said_with_duck() -> None:
    walk = Walk()
    walk.look(Hazard("head obstacle", "ahead", 0.96))
    assert texts(walk) == ["Duck, head obstacle ahead."]


def test_a_thing_the_vocabulary_has_no_word_for_is_ignored() -> None:
    walk = Walk()
    assert walk.look(Hazard("hovercraft", "ahead", 1.0)) == ()


# --- what says that guidance sees ---

READY = policy.StateChange("Guidance ready.", about="model", sees=True)


def test_that_guidance_is_ready_is_not_said_while_the_lens_shows_nothing() -> None:
    walk = Walk()
    for _ in range(8):
        walk.give(policy.Viewed(LensTrouble.DARK))
        walk.give(READY)
        walk.wait(0.25)
    walk.wait(5.0)
    assert texts(walk) == ["Camera blocked."]
    for _ in range(8):
        walk.give(policy.Viewed(None))
        walk.wait(1.0)
    assert sorted(texts(walk)) == ["Camera back.", "Camera blocked.", "Guidance ready."]


def test_what_was_being_said_of_readiness_when_the_lens_was_covered_is_not_the_last_word() -> None:
    walk = Walk()
    walk.give(READY)
    for _ in range(40):
        walk.give(policy.Viewed(LensTrouble.COVERED))
        walk.wait(0.25)
    assert texts(walk)[:2] == ["Guidance ready.", "Camera blocked."]
    assert set(texts(walk)[2:]) <= {"Camera blocked."}


def test_while_the_model_fails_nothing_says_that_it_guides() -> None:
    walk = Walk()
    walk.give(policy.LookFailed())
    walk.give(READY)
    walk.wait(10.0)
    assert texts(walk) == ["Guidance paused."]
    for _ in range(8):
        walk.look()
        walk.wait(1.0)
    assert sorted(texts(walk)) == ["Guidance is back.", "Guidance paused.", "Guidance ready."]
