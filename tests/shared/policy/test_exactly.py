"""The speech policy at its edges: cases that mutation of its code found untested. Each holds one number or one rule."""

from __future__ import annotations

import pytest

from shared import policy, vocabulary
from shared.lens import LensTrouble
from shared.policy import PolicySettings, Speak, Worded, WordIt
from tests.shared.policy.walk import Hazard, Walk

CURB = Hazard("curb", "ahead", 0.97)
STAIRS = Hazard("stairs down", "ahead", 0.97)
POLE = Hazard("pole", "on the left", 0.9)
BIN = Hazard("bin", "on the left", 0.9)
POLE_SAID = "Caution, pole on the left."


def texts(walk: Walk) -> list[str]:
    return [speak.text for _, speak in walk.spoken]


def said(walk: Walk, text: str) -> list[float]:
    return [at_s for at_s, speak in walk.spoken if speak.text == text]


def word(walk: Walk, text: str, *, confidence: float = 0.9) -> tuple[policy.Action, ...]:
    return walk.give(Worded(text, confidence, walk.now_s))


def pole_is_said(walk: Walk, pole: Hazard = POLE, text: str = POLE_SAID) -> bool:
    """Two looks at an obstacle and its words."""
    before = len(walk.spoken)
    for _ in range(2):
        walk.look(pole)
        walk.wait(0.25)
    word(walk, text)
    return text in texts(walk)[before:]


def test_warnings_are_not_counted_against_the_budget_of_words_and_obstacles_are_for_a_minute() -> None:
    walk = Walk(PolicySettings(words_per_minute_max=14, repeat_after_s=0.5, gone_after_s=0.1))
    walk.wait(200.0)
    for _ in range(6):
        walk.look(CURB)
        walk.wait(3.0)
    assert len(texts(walk)) > 2
    began_s = walk.now_s
    assert pole_is_said(walk)  # 5 words, and an obstacle may take 8
    walk.wait(5.0)
    assert pole_is_said(walk)
    walk.wait(5.0)
    assert not pole_is_said(walk)
    walk.wait(began_s + 60.75 - walk.now_s)
    assert pole_is_said(walk)


def test_a_clear_way_is_said_as_such_and_is_no_guidance_to_repeat() -> None:
    walk = Walk(PolicySettings(say_clear=True))
    walk.look(CURB)
    for _ in range(8):
        walk.wait(0.5)
        walk.look()
    assert word(walk, vocabulary.CLEAR, confidence=0.89) == ()
    (speak,) = word(walk, vocabulary.CLEAR, confidence=0.9)
    assert speak == Speak(2, vocabulary.CLEAR, 3, "clear", 0.9)
    walk.wait(20.0 - 0.5)
    walk.look()
    assert word(walk, vocabulary.CLEAR) == ()
    walk.wait(0.5)
    assert walk.give(Worded(vocabulary.CLEAR, 0.9, walk.now_s - 2.01)) == ()
    assert len(walk.give(Worded(vocabulary.CLEAR, 0.9, walk.now_s - 2.0))) == 1
    walk.wait(5.0)
    walk.give(policy.RepeatAsked())
    assert texts(walk)[-1] == "Stop, curb ahead."


def test_a_clear_way_needs_all_eight_looks_and_one_that_was_not_said_is_not_counted() -> None:
    walk = Walk(PolicySettings(say_clear=True))
    for _ in range(7):
        walk.look()
    assert word(walk, vocabulary.CLEAR, confidence=0.95) == ()
    walk.look()
    walk.give(policy.StateChange("Camera back.", urgent=True))
    assert word(walk, vocabulary.CLEAR, confidence=0.95) == ()  # something is being said
    walk.wait(3.0)
    walk.look()
    assert len(word(walk, vocabulary.CLEAR, confidence=0.95)) == 1


def test_what_a_warning_carries_is_its_score() -> None:
    (speak,) = Walk().look(CURB)
    assert speak == Speak(1, "Stop, curb ahead.", 1, "hazard", CURB.score)


def test_the_voice_that_is_back_cuts_obstacles_and_is_taken_back_when_it_is_lost_again() -> None:
    walk = Walk()
    walk.give(policy.VoiceLost())
    walk.wait(10.0)
    assert pole_is_said(walk)
    assert "Voice is back." in [action.text for action in walk.give(policy.VoiceFound()) if isinstance(action, Speak)]
    waiting = Walk()
    waiting.look(CURB)
    waiting.give(policy.VoiceLost())
    waiting.give(policy.VoiceFound())
    (news,) = waiting.state.waiting
    assert (news.text, news.urgent, news.about) == ("Voice is back.", True, policy.VOICE)


def test_urgent_news_that_nobody_heard_is_urgent_when_it_is_said_again() -> None:
    walk = Walk()
    walk.give(policy.StateChange("Camera blocked.", urgent=True, about="camera"))
    walk.give(policy.VoiceLost())
    walk.give(policy.VoiceLost())
    walk.wait(4.0)
    walk.look(CURB)
    walk.give(policy.VoiceFound())
    assert [(news.text, news.urgent, news.about) for news in walk.state.waiting] == [
        ("Voice is back.", True, policy.VOICE),
        ("Camera blocked.", True, "camera"),
    ]


def test_the_voice_is_lost_since_the_first_report_of_it_not_the_last() -> None:
    walk = Walk()
    walk.give(policy.VoiceLost())
    walk.give(policy.StateChange("Camera back.", about="camera"))
    walk.wait(10.0)
    walk.give(policy.VoiceLost())
    walk.give(policy.VoiceFound())
    walk.wait(10.0)
    assert len(said(walk, "Camera back.")) == 2


@pytest.mark.parametrize(("urgent", "pauses_s"), [(False, [3, 6, 12, 24, 48, 96, 96]), (True, [0])])
def test_news_that_warnings_cut_off_waits_twice_as_long_each_time(urgent: bool, pauses_s: list[float]) -> None:
    walk = Walk(PolicySettings(repeat_after_s=0.0, gone_after_s=0.0, stalled_after_s=1e9))
    walk.give(policy.StateChange("Camera back.", urgent=urgent, about="camera"))
    for pause_s in pauses_s:
        assert walk.state.speaking is not None
        assert walk.state.speaking.rank > 1, "the news is being said"
        walk.wait(0.1)
        walk.look(CURB)
        cut_s = walk.now_s
        (news,) = walk.state.waiting
        assert news.not_before_s == cut_s + pause_s
        walk.wait(max(1.5, pause_s - 0.01))
        if pause_s > 1.5:
            walk.give(policy.TimePassed())
            assert walk.state.speaking is None
        walk.wait(0.02)
        walk.look()
        walk.give(policy.TimePassed())


@pytest.mark.parametrize("event", [policy.TimePassed(), policy.LookFailed()])
def test_paused_guidance_cuts_an_obstacle_and_its_return_takes_the_news_back(event: policy.Event) -> None:
    walk = Walk()
    walk.give(policy.WalkBegan())
    walk.wait(5.0)
    walk.look()
    assert pole_is_said(walk)
    walk.now_s += 2.0 if isinstance(event, policy.TimePassed) else 0.0  # no end of speech is reported meanwhile
    walk.ends = dict.fromkeys(walk.ends, walk.now_s + 1.0)
    cut, speak = walk.give(event)
    assert isinstance(cut, policy.Cut)
    assert isinstance(speak, Speak)
    assert speak.text.startswith("Guidance paused")
    speaking = walk.state.speaking
    assert speaking is not None
    assert speaking.news is not None
    assert (speaking.news.urgent, speaking.news.about) == (True, policy.GUIDING)


def test_looks_stall_two_seconds_after_the_last_one_and_not_before() -> None:
    walk = Walk()
    walk.wait(7.0)
    walk.look()
    walk.wait(1.99)
    assert walk.give(policy.TimePassed()) == ()
    walk.wait(0.01)
    assert len(walk.give(policy.TimePassed())) == 1


def test_pictures_that_show_nothing_are_no_stall_and_expect_no_looks_where_none_are_expected() -> None:
    walking, standing = Walk(), Walk()
    walking.give(policy.WalkBegan())
    for walk in (walking, standing):
        for _ in range(21):
            walk.wait(0.25)
            walk.give(policy.Viewed(LensTrouble.DARK))
            walk.give(policy.TimePassed())
        assert texts(walk) == ["Camera blocked."]
        walk.wait(2.5)
        walk.give(policy.TimePassed())
    assert texts(walking)[-1] == "Guidance paused, no picture."
    assert texts(standing) == ["Camera blocked."]


def test_words_that_a_siren_cut_off_leave_the_usual_gap() -> None:
    walk = Walk()
    door = Hazard("door", "on the right", 0.9)
    assert pole_is_said(walk, door, "Keep straight, door on the right.")
    walk.wait(0.1)
    walk.give(policy.SoundHeard("siren"))
    assert walk.state.quiet_since_s == walk.now_s


def test_the_decoder_is_not_asked_about_what_only_confirms_nor_again_about_what_was_just_said() -> None:
    walk = Walk()
    paving = Hazard("tactile paving", "ahead", 0.9)
    assert [WordIt() in walk.look(paving) for _ in range(4)] == [False] * 4
    walk = Walk()
    assert pole_is_said(walk)
    walk.wait(3.0)
    assert [WordIt() in walk.look(POLE) for _ in range(4)] == [False] * 4


def test_two_things_by_turns_are_each_said_once_in_ten_seconds() -> None:
    walk = Walk()
    bin_ = Hazard("bin", "on the right", 0.9)
    for _ in range(2):
        for text in (POLE_SAID, "Caution, bin on the right."):
            for _ in range(2):
                walk.look(POLE, bin_)
                walk.wait(0.25)
            word(walk, text)
            walk.wait(2.0)
    assert texts(walk) == [POLE_SAID, "Caution, bin on the right."]


def test_words_wanted_late_come_from_the_very_score_that_counts_as_near() -> None:
    far, near = Hazard("pole", "on the left", 0.79), Hazard("pole", "on the left", 0.8)
    assert not pole_is_said(Walk(PolicySettings(lead="late")), far)
    assert pole_is_said(Walk(PolicySettings(lead="late")), near)


@pytest.mark.parametrize("text", ["Continue straight, sidewalk ahead.", "Keep straight, sidewalk ahead."])
def test_every_way_to_say_that_the_way_goes_on_is_a_confirmation_and_comes_after_twenty_seconds(text: str) -> None:
    assert vocabulary.may_be_spoken(text)
    quiet, walk, sidewalk = Walk(), Walk(PolicySettings(confirmations=True)), Hazard("sidewalk", "ahead", 0.9)
    assert not pole_is_said(quiet, sidewalk, text)
    assert pole_is_said(walk, sidewalk, text)
    first_s = walk.now_s
    walk.wait(20.0 - 0.5 - 0.01)
    assert not pole_is_said(walk, sidewalk, text)
    walk.now_s = first_s + 20.0
    assert len(word(walk, text)) == 1


def test_doubt_points_to_what_the_hazard_head_is_sure_of_before_what_the_decoder_guesses() -> None:
    walk = Walk(PolicySettings(verbosity="obstacles"))
    walk.wait(100.0)
    for _ in range(2):
        walk.look(POLE)
        walk.wait(0.25)
    flag, speak = word(walk, "Caution, bin on the right.", confidence=0.3)
    assert flag == policy.Flag("low_confidence")
    assert speak == Speak(1, "Not sure, check left.", 2, "unsure", 0.3)


@pytest.mark.parametrize(
    ("spoken", "ago_s", "age_s", "points"),
    [
        (BIN, 4.0, 0.0, False),
        (BIN, 10.0, 0.0, True),
        (CURB, 4.0, 0.0, True),
        (CURB, 4.0, 3.0, True),
        (CURB, 4.0, 3.01, False),
    ],
)
def test_doubt_about_a_side_waits_for_ten_seconds_after_words_about_it(
    spoken: Hazard, ago_s: float, age_s: float, points: bool
) -> None:
    walk = Walk(PolicySettings(stalled_after_s=1e9, at_once_above=0.9))
    walk.wait(100.0)
    pole_is_said(walk, spoken, "Caution, bin on the left." if spoken is BIN else "")
    assert len(texts(walk)) == 1
    walk.wait(ago_s)
    for _ in range(2):
        walk.look()
        walk.give(Worded(POLE_SAID, 0.55, walk.now_s - age_s))
    assert texts(walk)[1:] == ["Not sure, check left."] * points


@pytest.mark.parametrize(
    ("newer", "about", "again"),
    [
        ("Back online.", "link", ["Back online."]),
        ("Offline.", "link", ["Offline."]),
        ("Camera back.", "camera", ["Offline.", "Camera back."]),
    ],
)
def test_news_that_is_cut_off_is_said_again_unless_newer_news_about_the_same_came(
    newer: str, about: str, again: list[str]
) -> None:
    walk = Walk()
    walk.give(policy.StateChange("Offline.", about="link"))
    walk.give(policy.StateChange(newer, about=about))
    walk.look(CURB)
    assert {news.text for news in walk.state.waiting} == set(again)


def test_muting_and_back_leaves_only_the_last_to_be_said() -> None:
    walk = Walk()
    walk.look(CURB)
    walk.give(policy.MuteToggled())
    walk.give(policy.MuteToggled())
    assert [news.text for news in walk.state.waiting] == ["Voice on."]


def test_a_lens_is_announced_after_three_quarters_of_a_second_and_another_trouble_of_it_five_seconds_later() -> None:
    walk = Walk()
    walk.wait(10.0)
    for _ in range(60):
        bright = walk.now_s >= 12.0
        walk.give(policy.Viewed(LensTrouble.BRIGHT if bright else LensTrouble.DARK))
        walk.wait(0.125)
    assert [(at_s, speak.text) for at_s, speak in walk.spoken] == [
        (10.75, "Camera blocked."),
        (15.75, "Camera blinded by light."),
    ]
