"""The recogniser of presses, for any order of events, and what the settings make of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.controls.actions import ButtonAction
from device.controls.bindings import ACTIONS, Binding, Meaning, binding, named
from device.controls.press import Edge, EventsLost, PressKind, PressState, PressTiming, Recognised, step
from shared.errors import ConfigError

SINGLE, DOUBLES = PressTiming(0.6, 0.4), PressTiming(0.6, 0.4, doubles=True)
Told = tuple[float, Edge | EventsLost | None]
DOWN, UP, LOST = Edge(True), Edge(False), EventsLost()


def recognised(told: list[Told], timing: PressTiming) -> list[tuple[str, float]]:
    state, found = PressState(), []
    for at_s, event in told:
        state, presses = step(state, event, at_s, timing)
        found += [(press.kind.value, press.t_s) for press in presses]
    return found


@pytest.mark.parametrize(
    ("told", "timing", "expected"),
    [
        ([(1.0, DOWN), (1.2, UP)], SINGLE, [("short", 1.0)]),
        ([(1.0, DOWN), (1.7, None), (3.0, UP)], SINGLE, [("long", 1.0), ("long ended", 3.0)]),
        ([(1.0, DOWN), (3.0, UP)], SINGLE, [("long", 1.0), ("long ended", 3.0)]),
        ([(1.0, DOWN), (1.2, UP), (1.3, None)], DOUBLES, []),
        ([(1.0, DOWN), (1.2, UP), (1.7, None)], DOUBLES, [("short", 1.0)]),
        ([(1.0, DOWN), (1.2, UP), (1.5, DOWN), (1.6, UP), (9.0, None)], DOUBLES, [("double", 1.0)]),
        ([(1.0, DOWN), (1.2, UP), (1.5, DOWN), (8.0, None), (9.0, UP)], DOUBLES, [("double", 1.0)]),
        ([(1.0, DOWN), (1.2, UP), (1.7, DOWN), (1.8, UP), (9.0, None)], DOUBLES, [("short", 1.0), ("short", 1.7)]),
        ([(1.0, DOWN), (1.1, DOWN), (1.2, DOWN), (1.3, UP), (1.4, UP)], SINGLE, [("short", 1.0)]),
        ([(1.0, UP), (1.2, None)], SINGLE, []),
        ([(1.0, DOWN), (1.2, LOST), (5.0, UP)], SINGLE, []),
        ([(1.0, DOWN), (2.0, LOST), (5.0, UP)], SINGLE, [("long", 1.0), ("long ended", 2.0)]),
        ([(1.0, DOWN), (1.1, UP), (1.2, LOST), (5.0, None)], DOUBLES, [("short", 1.0)]),
    ],
)
def test_presses_are_told_apart(told: list[Told], timing: PressTiming, expected: list[tuple[str, float]]) -> None:
    assert recognised(told, timing) == expected


events = st.lists(st.tuples(st.floats(0.01, 1.5), st.sampled_from([DOWN, UP, LOST, None])), max_size=60)


@given(steps=events, doubles=st.booleans())
def test_whatever_comes_a_long_press_ends_once_and_nothing_is_given_out_twice(
    steps: list[tuple[float, Edge | EventsLost | None]], doubles: bool
) -> None:
    at_s, told = 0.0, list[Told]()
    for pause_s, event in [*steps, (5.0, None), (5.0, UP), (5.0, None)]:
        at_s += pause_s
        told.append((at_s, event))
    found = recognised(told, PressTiming(0.6, 0.4, doubles=doubles))
    kinds = [kind for kind, _ in found]
    assert kinds.count("long") == kinds.count("long ended")
    for number, kind in enumerate(kinds):
        assert (kind == "long") == (kinds[number + 1 : number + 2] == ["long ended"])
    starts = [t_s for kind, t_s in found if kind != "long ended"]
    assert len(starts) == len(set(starts))
    downs = sum(event == DOWN for _, event in told)
    assert len(starts) <= downs
    assert doubles or "double" not in kinds


@given(doubles=st.booleans(), presses=st.lists(st.tuples(st.floats(0.5, 2.0), st.floats(0.05, 0.55)), max_size=20))
def test_presses_far_apart_are_each_found_however_rarely_time_is_looked_at(
    doubles: bool, presses: list[tuple[float, float]]
) -> None:
    at_s, told = 0.0, list[Told]()
    for pause_s, held_s in presses:
        told += [(at_s + pause_s, DOWN), (at_s + pause_s + held_s, UP)]
        at_s += pause_s + held_s
    found = recognised([*told, (at_s + 9.0, None)], PressTiming(0.6, 0.4, doubles=doubles))
    assert found == [("short", t_s) for t_s, event in told if event == DOWN]


def test_settings_name_what_presses_do() -> None:
    assert binding("flag, correct", "buttons.press") == Binding(ButtonAction.FLAG, ButtonAction.HOLD)
    assert binding(" - , pause,forget", "x") == Binding(None, ButtonAction.PAUSE, ButtonAction.FORGET)
    assert binding("", "x") == Binding()
    assert named(["GPIO22: ahead, status", "GPIO5:repeat"], "buttons.pins") == {
        "GPIO22": Binding(ButtonAction.AHEAD, ButtonAction.STATUS),
        "GPIO5": Binding(ButtonAction.REPEAT),
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("flg", "Did you mean flag?"),
        ("flag, forgt", "Did you mean forget?"),
        ("hold", "There are: flag, correct"),
        ("quit", "nothing that a press can do"),
        ("flag, correct, mute, pause", "at most three"),
    ],
)
def test_a_slip_in_what_a_press_does_is_refused_with_the_nearest_word(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        binding(text, "buttons.press")


@pytest.mark.parametrize("lines", [["GPIO5 flag"], [": flag"], ["GPIO5: flag", "GPIO5: mute"]])
def test_a_line_that_names_no_button_or_one_twice_is_refused(lines: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"buttons\.pins"):
        named(lines, "buttons.pins")


def test_no_press_of_the_settings_ends_a_walk() -> None:
    assert ButtonAction.QUIT not in ACTIONS.values()


def test_a_correction_by_a_long_press_lasts_as_long_and_by_a_short_one_until_the_next() -> None:
    held = Meaning(binding("flag, correct", "x"))
    assert [press.action for press in held.of(Recognised(PressKind.LONG, 1.0))] == ["hold"]
    assert [press.action for press in held.of(Recognised(PressKind.LONG_ENDED, 2.0))] == ["release"]
    toggled = Meaning(binding("correct", "x"))
    actions = [toggled.of(Recognised(PressKind.SHORT, t_s))[0].action for t_s in (1.0, 2.0, 3.0)]
    assert actions == ["hold", "release", "hold"]
    assert toggled.of(Recognised(PressKind.LONG, 1.0)) == toggled.of(Recognised(PressKind.LONG_ENDED, 1.0)) == []
