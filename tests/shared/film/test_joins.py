"""One time line through stamps that begin again, jump, wrap or are damaged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.film.joins import TimeLine, step

PICTURES, SOUND = 0, 1


def placed(stamps: Iterable[float], *, length_s: float = 0.1) -> tuple[list[float], TimeLine]:
    """Where each packet of one stream begins."""
    line, times = TimeLine(), list[float]()
    for stamp_s in stamps:
        line = step(line, PICTURES, stamp_s, length_s)
        times.append(round(stamp_s + line.offset_s, 6))
    return times, line


def ten(start_s: float = 0.0) -> list[float]:
    return [start_s + number / 10 for number in range(10)]


EVEN = pytest.approx([number / 10 for number in range(20)])


def test_stamps_in_order_are_left_alone() -> None:
    times, line = placed(ten() + ten(1.0))
    assert times == EVEN
    assert line.joins == 0


@pytest.mark.parametrize(
    "second", [0.0, 0.5, -3.0, 26.5 * 3600, 1e6], ids=["again", "half", "before", "wrap", "clock set"]
)
def test_what_begins_again_or_jumps_goes_on_where_all_before_it_ended(second: float) -> None:
    times, line = placed(ten() + ten(second))
    assert times == EVEN
    assert line.joins == 1


def test_a_pause_stays_a_pause() -> None:
    times, line = placed(ten() + ten(21.0))
    assert times[10] - times[9] == pytest.approx(20.1)
    assert line.joins == 0


def test_one_stream_that_pauses_while_the_other_goes_on_is_no_new_beginning() -> None:
    line = TimeLine()
    for second in range(100):
        line = step(line, SOUND, float(second), 1.0)
    line = step(step(line, PICTURES, 0.0, 0.1), PICTURES, 99.0, 0.1)
    assert (line.joins, line.offset_s) == (0, 0.0)


def test_a_stamp_that_is_damaged_alone_changes_nothing_after_it() -> None:
    stamps = ten() + ten(1.0)
    stamps[7] = 5e5
    times, line = placed(stamps)
    assert times[8:] == pytest.approx([number / 10 for number in range(8, 20)])
    assert line.joins == 0


def test_disorder_between_neighbours_is_no_new_beginning() -> None:
    _, line = placed([0.0, 0.2, 0.1, 0.3, 0.5, 0.4, 0.6])
    assert line.joins == 0


def test_pictures_and_sound_take_the_same_step() -> None:
    line = TimeLine()
    for stamp_s in ten():
        line = step(line, PICTURES, stamp_s, 0.1)
        line = step(line, SOUND, stamp_s, 0.12)
    line = step(line, SOUND, 0.0, 0.12)
    assert line.offset_s == pytest.approx(1.02)
    line = step(line, PICTURES, 0.05, 0.1)
    assert line.offset_s == pytest.approx(1.02)
    assert line.joins == 1


def test_in_the_middle_of_pictures_nothing_begins() -> None:
    line = step(TimeLine(), PICTURES, 0.0, 0.1)
    astray = step(line, PICTURES, 9000.0, 0.1, begins=False)
    assert (astray.ends_s, astray.offset_s, astray.joins) == (line.ends_s, line.offset_s, 0)
    assert step(astray, PICTURES, 0.1, 0.1, begins=False).offset_s == 0.0
    assert step(astray, PICTURES, 5000.0, 0.1, begins=False).joins == 0


def test_a_clock_that_is_set_between_two_key_frames_counts_from_the_second_packet_on() -> None:
    line = step(TimeLine(), PICTURES, 0.0, 0.1)
    for stamp_s in (9000.0, 9000.1, 9000.2):
        line = step(line, PICTURES, stamp_s, 0.1, begins=False)
    assert line.joins == 1
    assert line.end_s == pytest.approx(0.4)


@given(st.lists(st.floats(-1e7, 1e7, allow_nan=False), min_size=1, max_size=60))
def test_whatever_stamps_say_each_packet_lies_near_the_one_before(stamps: list[float]) -> None:
    times, _ = placed(stamps)
    for before, after in itertools.pairwise(times):
        assert after - before <= 60.0 + 0.2
