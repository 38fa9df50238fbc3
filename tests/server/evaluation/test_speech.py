"""Utterances against events, on time lines that can be followed by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.evaluation import speech
from tests.server.evaluation.stage import BIN, CURB, driven, event, said

STOP, CAUTION = "Stop, curb ahead.", "Caution, bin on the left."


def test_a_warning_before_the_deadline_answers_its_event() -> None:
    [found] = speech.event_results(driven([said(STOP, 3.0)], [event(CURB, 2.0, 4.0)]))
    assert found.by is not None
    assert found.delay_s == pytest.approx(1.0)
    assert found.distance_m == pytest.approx(1.2 + 1.1 * 0.5)  # the word begins at 3.5 s, the cane is there at 4.0 s


@pytest.mark.parametrize(("t_s", "warned"), [(-0.1, False), (0.0, True), (4.0, True), (4.1, False)])
def test_only_words_from_two_seconds_before_until_the_deadline_are_in_time(t_s: float, warned: bool) -> None:
    [found] = speech.event_results(driven([said(STOP, t_s)], [event(CURB, 2.0, 4.0)]))
    assert (found.by is not None) == warned


def test_another_thing_does_not_answer() -> None:
    [found] = speech.event_results(driven([said("Stop, stairs down ahead.", 3.0)], [event(CURB, 2.0, 4.0)]))
    assert found.by is None


def test_the_wrong_side_does_not_answer_unless_the_thing_is_there_by_then() -> None:
    left = said("Caution, bin on the left.", 3.0)
    ahead = event(("bin", "ahead"), 2.0, 4.0)
    assert speech.event_results(driven([left], [ahead]))[0].by is None
    moved = driven([left], [ahead], there=lambda t: [BIN] if t > 2.5 else [("bin", "ahead")])
    assert speech.event_results(moved)[0].by == left


def test_words_cut_off_before_the_thing_was_named_warn_nobody() -> None:
    cut = said(STOP, 3.0)
    cut = type(cut)(3.0, 3.2, cut.text, cut.tier, cut.why, cut.confidence, cut.took_ms, 3.5)
    assert speech.event_results(driven([cut], [event(CURB, 2.0, 4.0)]))[0].by is None


def test_a_thing_missed_because_its_words_were_just_said_is_covered_not_answered() -> None:
    [first, second] = speech.event_results(driven([said(STOP, 1.0)], [event(CURB, 1.0, 2.0), event(CURB, 8.0, 9.0)]))
    assert first.by is not None
    assert second.by is None
    assert second.covered
    assert not speech.event_results(driven([said(STOP, 1.0)], [event(CURB, 14.0, 15.0)]))[0].covered


def test_a_warning_of_what_is_not_there_is_false() -> None:
    [alarm] = speech.false_alarms(driven([said(STOP, 3.0)]))
    assert alarm.kind == "absent"


def test_a_warning_at_the_wrong_side_is_false_and_says_so() -> None:
    [alarm] = speech.false_alarms(driven([said("Caution, bin ahead.", 3.0)], [event(BIN, 2.0, 4.0)]))
    assert alarm.kind == "side"


@pytest.mark.parametrize(("t_s", "false"), [(2.9, True), (3.1, False), (7.0, False), (8.1, True)])
def test_a_little_early_or_late_is_not_false(t_s: float, false: bool) -> None:
    assert bool(speech.false_alarms(driven([said(STOP, t_s)], [event(CURB, 5.0, 7.0)]))) == false


def test_landmarks_and_news_of_the_device_are_no_alarms() -> None:
    landmark, news = said("Continue straight, door ahead.", 3.0), said("Camera blocked.", 5.0, why="state")
    assert speech.false_alarms(driven([landmark, news])) == []


def test_a_time_that_nobody_annotated_has_no_false_alarms_and_no_minutes() -> None:
    blank = driven([said(STOP, 3.0)])
    unknown = type(blank)(
        blank.course, tuple(type(m)(m.t_s, None, False, (), None, 4.0, 0) for m in blank.moments), blank.utterances
    )
    assert speech.false_alarms(unknown) == []
    assert speech.alarm_rate([unknown], 0).per_minute is None


def test_path_is_clear_before_a_hazard_is_a_false_clear() -> None:
    clear = said("Continue straight, path is clear.", 3.0, why="clear")
    assert speech.false_clears(driven([clear], [event(CURB, 2.0, 4.0)])) == [clear]
    assert speech.false_clears(driven([clear])) == []


def test_the_same_words_within_ten_seconds_are_a_repeat() -> None:
    kerb = said("Stop, kerb ahead.", 9.9)
    assert len(speech.repeats(driven([said(STOP, 0.0), said(CAUTION, 4.0), kerb]))) == 1
    assert speech.repeats(driven([said(STOP, 0.0), said(STOP, 10.0)])) == []


@pytest.mark.parametrize(("second_s", "repeated"), [(4.5, 1), (5.5, 0), (12.0, 1)])
def test_the_same_words_about_another_thing_are_no_repeat(second_s: float, repeated: int) -> None:
    """The first curb is in reach until 4 s; a second comes half a second later, a second and a half, or never."""
    drive = driven(
        [said(STOP, 3.0), said(STOP, 6.0)],
        there=lambda t: [CURB] if 2.0 <= t < 4.0 or second_s <= t < second_s + 2.0 else [],
    )
    assert len(speech.same_words(drive.utterances)) == 1
    assert len(speech.repeats(drive)) == repeated


def test_chunks_are_judged_by_what_came_of_them() -> None:
    # 0-2 s silent; 2-4 s the curb is named; 4-6 s nonsense; 6-8 s the bin's time runs out unsaid; 8-10 s silent
    drive = driven(
        [said(STOP, 2.5), said("Stop, drop-off ahead.", 4.5)],
        [event(CURB, 2.0, 4.5), event(BIN, 5.0, 7.0)],
        duration_s=10.0,
    )
    found = speech.chunks(drive)
    assert found == speech.Chunks(hit=1, false=1, missed=1, silent=2)
    assert found.speak_f1 == pytest.approx(2 / 4)
    assert found.silent_f1 == pytest.approx(4 / 6, abs=1e-4)


def test_the_amount_of_speech() -> None:
    found = speech.amount([driven([said(STOP, 2.0), said(CAUTION, 5.0)], duration_s=30.0)])
    assert found == speech.Amount(2, 0, round(60 * (3 + 5) / 30, 2), round(2 / 30, 4), 0, 0)


def test_recall_is_told_by_tier() -> None:
    events = [event(CURB, 2.0, 4.0), event(CURB, 12.0, 14.0), event(BIN, 6.0, 8.0)]
    found = speech.by_tier(speech.event_results(driven([said(STOP, 3.0)], events)))
    assert [(found[tier].recall.hits, found[tier].recall.count) for tier in (1, 2, 3)] == [(1, 2), (0, 1), (0, 0)]


@given(st.lists(st.floats(0, 19), max_size=12))
def test_an_event_is_either_answered_covered_or_missed_never_two(times: list[float]) -> None:
    events = [event(CURB, 3.0, 5.0), event(CURB, 11.0, 13.0)]
    for found in speech.event_results(driven([said(STOP, t) for t in sorted(times)], events)):
        assert not (found.by is not None and found.covered)
