"""What a hot or slow board gives up: clips, then wording, then looks; never a warning, and told once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.guidance.shedding import DOWN_S, FULL_SPEED, SHED_TEXTS, SLOWER, BoardLoad, Shed, ShedRules, ShedState, step
from shared import monitor, vocabulary

RULES = ShedRules()


def lived(loads: list[BoardLoad], rules: ShedRules = RULES) -> tuple[list[ShedState], list[str]]:
    """The state after each second of a story, and what was told."""
    state, states, told = ShedState.of(rules), [], []
    for now_s, load in enumerate(loads):
        state, text = step(state, load, float(now_s), rules)
        states.append(state)
        told += [text] if text else []
    return states, told


def levels(states: list[ShedState]) -> list[int]:
    """The levels in turn, each once."""
    return [level for level, _ in itertools.groupby(int(state.level) for state in states)]


def heat(*temperatures: float) -> list[BoardLoad]:
    return [BoardLoad(heat_c=celsius) for celsius in temperatures]


def slow(look_s: float, seconds: int) -> list[BoardLoad]:
    return [BoardLoad(look_s=look_s)] * seconds


def test_a_board_that_heats_up_and_cools_down_gives_up_in_order_and_is_told_of_twice() -> None:
    up = [60 + 0.1 * n for n in range(260)]
    states, told = lived(heat(*up, *reversed(up)))
    assert levels(states) == [0, 1, 2, 3, 2, 1, 0]
    assert told == [SLOWER, FULL_SPEED]
    assert {state.looks_per_s for state in states if state.level == Shed.LOOKS} == {2.0}
    assert {state.looks_per_s for state in states if state.level < Shed.LOOKS} == {4.0}


def test_heat_that_wavers_about_a_limit_changes_nothing_each_time() -> None:
    wavering = [82.5 if n % 2 else 79.0 for n in range(600)]
    states, told = lived(heat(*wavering))
    assert levels(states)[-1] == Shed.LOOKS
    assert len(levels(states)) <= 3
    assert told == [SLOWER]


def test_a_firmware_that_slows_the_board_down_takes_the_wording() -> None:
    states, told = lived([BoardLoad(slowed=True)] * 5)
    assert (states[-1].level, told) == (Shed.WORDING, [])


@pytest.mark.parametrize(
    ("look_s", "level", "told", "first_look"),
    [
        (0.2, Shed.NOTHING, [], False),
        (0.3, Shed.CLIPS, [], False),
        (0.45, Shed.WORDING, [], False),
        (0.6, Shed.LOOKS, [SLOWER], False),
        (1.5, Shed.LOOKS, [SLOWER], True),
        (2.5, Shed.LOOKS, [SLOWER], True),
        (3.5, Shed.LOOKS, [], True),  # that is announced as a pause
    ],
)
def test_how_long_a_look_takes_decides_what_is_given_up(
    look_s: float, level: Shed, told: list[str], first_look: bool
) -> None:
    states, texts = lived(slow(look_s, 300))
    assert (states[-1].level, texts, states[-1].first_look) == (level, told, first_look)
    assert levels(states) == sorted(levels(states))


def test_looks_of_a_second_and_more_are_told_of_within_five_seconds() -> None:
    assert lived(slow(1.5, 5))[1] == [SLOWER]


def test_a_board_that_looks_rarely_by_its_settings_is_not_called_slow() -> None:
    assert lived(slow(0.9, 100), ShedRules(looks_per_s=1.0))[1] == []
    assert lived(slow(0.3, 100), ShedRules(looks_per_s=15.0))[1] == []


def test_a_board_that_is_only_fast_without_its_clips_does_not_waver_for_ever() -> None:
    """Its looks take 0.7 s, and 0.1 s as soon as everything is given up."""
    state, told, changes = ShedState.of(RULES), list[str](), 0
    for now_s in range(3600):
        before = state.level
        load = BoardLoad(look_s=0.1 if state.level >= Shed.LOOKS else 0.7)
        state, text = step(state, load, float(now_s), RULES)
        told += [text] if text else []
        changes += state.level != before
    assert len(told) <= 20
    assert changes <= 30


def test_what_was_given_up_comes_back_only_after_half_a_minute_of_calm() -> None:
    states, told = lived([*slow(0.6, 20), *slow(0.1, int(3 * DOWN_S) + 10)])
    assert told == [SLOWER, FULL_SPEED]
    assert states[-1].level == Shed.NOTHING
    assert states[20 + int(DOWN_S) - 1].level == Shed.LOOKS


loads = st.builds(
    BoardLoad,
    heat_c=st.one_of(st.none(), st.floats(20, 110)),
    slowed=st.sampled_from([None, False, True]),
    look_s=st.one_of(st.none(), st.floats(0.01, 10)),
)


@given(st.lists(loads, max_size=80), st.sampled_from([0.5, 1.0, 4.0, 15.0]))
def test_whatever_happens_it_looks_at_least_as_often_as_said_and_tells_in_turns(
    story: list[BoardLoad], looks_per_s: float
) -> None:
    states, told = lived(story, ShedRules(looks_per_s=looks_per_s))
    assert told == [SLOWER, FULL_SPEED] * (len(told) // 2) + [SLOWER] * (len(told) % 2)
    assert all(min(1.0, looks_per_s) <= state.looks_per_s <= looks_per_s for state in states)


@pytest.mark.parametrize("text", SHED_TEXTS)
def test_every_text_may_be_announced_and_passes_the_monitor(text: str) -> None:
    assert vocabulary.may_be_announced(text)
    assert monitor.stopped(text, tier=2, why="state") is None
