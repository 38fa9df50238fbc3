"""What is told of a battery, on traces with noise, nonsense, resets, and of a bank that does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.health.power import news
from device.health.power.news import BATTERY_EMPTY, BATTERY_UNKNOWN, CHARGING, LOW_POWER, ON_BATTERY, POWER_TEXTS
from device.health.power.reading import PowerReading
from shared import monitor, vocabulary
from tests.device.health.power.traces import EVERY_S, Battery, reset_at, texts, told, with_jumps


def levels(said: list[str]) -> list[int]:
    return [int(found[1]) for text in said if (found := re.match(r"Battery (\d+) percent", text))]


@pytest.mark.parametrize(
    "battery",
    [
        Battery(),
        Battery(noise=1.0),
        Battery(noise=2.5),
        Battery(whole=True),
        Battery(whole=True, noise=0.7, tells_charging=False),
        Battery(hours=1.0, noise=1.0),
        Battery(hours=10.0, whole=True),
    ],
)
def test_each_level_is_told_once_whatever_the_gauge_is_like(battery: Battery) -> None:
    assert levels(texts(battery.used(battery.hours * 60))) == [30, 15, 5]


@pytest.mark.parametrize(("hours", "at_30", "at_15"), [(1.0, 10, 5), (3.0, 40, 20), (5.0, 90, 40)])
def test_the_minutes_that_are_left_are_told_with_it_and_rounded_down(hours: float, at_30: int, at_15: int) -> None:
    said = texts(Battery(hours=hours, noise=0.5).used(hours * 60))
    assert said[:2] == [f"Battery 30 percent, about {at_30} minutes.", f"Battery 15 percent, about {at_15} minutes."]


def test_minutes_are_told_only_once_they_are_known() -> None:
    assert texts(Battery(full=31.0, hours=1.0).used(9))[0] == "Battery 30 percent."


def test_a_single_nonsense_reading_tells_nothing() -> None:
    walk = Battery().used(60)
    assert texts(with_jumps(walk)) == []
    assert texts(with_jumps(walk, to=100.0)) == []


def test_a_gauge_that_starts_anew_higher_does_not_have_its_levels_told_twice() -> None:
    said = texts(reset_at(Battery(tells_charging=False).used(195), 8_000.0, 4.5))
    assert levels(said) == [30, 15, 5]


def test_a_gauge_that_starts_anew_does_not_make_the_minutes_nonsense() -> None:
    walk = Battery(hours=3.0).used(180)
    said = texts(reset_at(walk, 6_600.0, -9.0))
    assert "Battery 30 percent." in said  # right after the jump nothing is known
    assert "Battery 15 percent, about 20 minutes." in said


def test_a_bank_that_does_not_tell_is_silent() -> None:
    assert texts([(EVERY_S * n, PowerReading(volts=5.1, watts=6.0)) for n in range(1000)]) == []


def test_levels_are_told_again_only_after_it_was_charged_above_them() -> None:
    down = Battery(full=40.0, hours=1.0).used(30)  # to 20 %
    at_s = down[-1][0] + EVERY_S
    little = Battery(full=20.0).charged(5, from_s=at_s, to=33.0)
    more = Battery(full=20.0).charged(20, from_s=at_s, to=60.0)
    assert levels(texts([*down, *little, *Battery(full=33.0, hours=1.0).used(15, from_s=little[-1][0] + EVERY_S)])) == [
        30
    ]
    again = Battery(full=60.0, hours=1.0).used(40, from_s=more[-1][0] + EVERY_S)
    assert levels(texts([*down, *more, *again])) == [30, 30]


def test_a_source_that_does_not_say_that_it_charges_counts_as_charged_after_ten_minutes() -> None:
    down = Battery(full=40.0, hours=1.0, tells_charging=False).used(20)
    up = Battery(full=27.0, tells_charging=False).charged(30, from_s=down[-1][0] + EVERY_S, to=80.0)
    again = Battery(full=80.0, hours=1.0, tells_charging=False).used(40, from_s=up[-1][0] + EVERY_S)
    assert levels(texts([*down, *up, *again])) == [30, 30]


@pytest.mark.parametrize(
    ("percent", "said"), [(28.0, "Battery 30 percent."), (22.0, "Battery 20 percent."), (12.0, "Battery 10 percent."),
                          (4.0, "Battery 5 percent."), (1.0, BATTERY_EMPTY), (0.0, BATTERY_EMPTY)],
)  # fmt: skip
def test_a_walk_that_begins_low_is_told_once_what_there_is(percent: float, said: str) -> None:
    assert texts([(EVERY_S * n, PowerReading(percent)) for n in range(30)]) == [said]


def test_no_level_is_told_while_it_charges() -> None:
    assert texts(Battery(full=4.0).charged(60, from_s=0.0, to=90.0)) == []


def test_a_battery_that_falls_although_it_is_fed_is_told() -> None:
    def fed(percents: Iterable[float]) -> list[str]:
        return texts([(EVERY_S * n, PowerReading(percent, charging=True)) for n, percent in enumerate(percents)])

    assert levels(fed(50 - n / 10 for n in range(480))) == [30, 15, 5]  # a bank that gives too little
    assert fed(12 + n / 10 for n in range(300)) == []
    assert fed(30 + (n % 3 - 1) for n in range(300)) == []  # a gauge that wavers


def test_a_gauge_that_falls_silent_is_told_once_and_its_last_figure_is_forgotten() -> None:
    state, said = news.PowerState(), list[str]()
    for number in range(40):
        reading = PowerReading(57.0) if number < 20 or number in (22, 23) else PowerReading()
        state, pieces = news.step(state, reading, EVERY_S * number)
        said += [piece.text for piece in pieces]
        assert (state.percent is None) == (number < 2 or number >= 30)
    assert said == [BATTERY_UNKNOWN]


def test_a_plug_is_told_once_it_is_sure_and_bouncing_is_not() -> None:
    def at(n: int, charging: bool) -> tuple[float, PowerReading]:
        return EVERY_S * n, PowerReading(80.0, charging)

    bouncing = [at(n, n % 2 == 0) for n in range(20)]
    assert texts(bouncing) == []
    assert texts([*(at(n, n >= 10) for n in range(20)), *(at(n, False) for n in range(20, 30))]) == [
        CHARGING,
        ON_BATTERY,
    ]


def test_low_voltage_is_told_at_once_and_again_only_after_five_minutes() -> None:
    flickering = [(EVERY_S * n, PowerReading(low_voltage=n % 3 == 0)) for n in range(100)]
    assert [at_s for at_s, text in told(flickering) if text == LOW_POWER] == [0.0, 300.0, 600.0, 900.0]
    lasting = [(EVERY_S * n, PowerReading(low_voltage=True)) for n in range(100)]
    assert texts(lasting) == [LOW_POWER]


def test_a_dip_between_two_readings_is_told_and_one_from_before_the_walk_is_not() -> None:
    def dips(*before: bool) -> list[str]:
        return texts(
            [(EVERY_S * n, PowerReading(low_voltage=False, low_voltage_before=b)) for n, b in enumerate(before)]
        )

    assert dips(False, False, True, True) == [LOW_POWER]
    assert dips(True, True, True) == []


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 100)), st.sampled_from([None, True, False])), max_size=150))
def test_whatever_a_source_says_nothing_is_told_twice_in_a_row_and_all_of_it_is_known_beforehand(
    story: list[tuple[float | None, bool | None]],
) -> None:
    state, said = news.PowerState(), list[str]()
    for number, (percent, charging) in enumerate(story):
        state, pieces = news.step(state, PowerReading(percent, charging), EVERY_S * number)
        said += [piece.text for piece in pieces]
    assert set(said) <= set(POWER_TEXTS)
    assert all(first != then for first, then in pairwise(said) if first in (CHARGING, ON_BATTERY))


def test_the_source_s_own_estimate_is_preferred() -> None:
    walk = [(t, replace(r, minutes_left=33.0)) for t, r in Battery(full=35.0).used(30)]
    state, said = news.PowerState(), list[str]()
    for t_s, reading in walk:
        state, pieces = news.step(state, reading, t_s)
        said += [piece.text for piece in pieces]
    assert said == ["Battery 30 percent, about 30 minutes."]


@pytest.mark.parametrize("text", POWER_TEXTS)
def test_every_text_may_be_announced_and_passes_the_monitor(text: str) -> None:
    assert vocabulary.may_be_announced(text)
    assert monitor.stopped(text, tier=2, why="state") is None
