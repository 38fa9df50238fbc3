"""What is told whom and when: cool-down, quiet hours over midnight, retries; nothing is forgotten or repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.telling.step import (
    LINES_MOST,
    RETRY_FIRST_S,
    RETRY_MOST_S,
    Delivered,
    LookedAround,
    NewsItem,
    NewsKey,
    NewsKind,
    NewsLetter,
    Recipient,
    ToldSoFar,
    Undelivered,
    is_quiet,
    step,
)

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
HOUR_S = 3600.0
ANA = Recipient("Ana", cool_down_s=12 * HOUR_S)
NIGHT = NewsItem(NewsKey(NewsKind.NIGHT, "7"), "The last night failed.")
DISK = NewsItem(NewsKey(NewsKind.DISK, ""), "The disk is nearly full.")
HELP = NewsItem(NewsKey(NewsKind.HELP, "m1"), "The wearer of pi-1 asked for help.")


def look(
    state: ToldSoFar, now: float, *items: NewsItem, people: tuple[Recipient, ...] = (ANA,)
) -> tuple[ToldSoFar, list[str]]:
    """A round in which every message goes out: the state after it, and what was said to whom."""
    state, letters = step(state, LookedAround(items, people), now)
    said = []
    for letter in letters:
        state, more = step(state, Delivered(letter), now)
        assert more == ()
        said.append(f"{letter.person}: {' '.join(letter.lines)}")
    return state, said


def test_what_is_new_is_told_in_one_message_and_not_again_before_the_cool_down_has_passed() -> None:
    state, said = look(ToldSoFar(), NOON, NIGHT, DISK)
    assert said == ["Ana: The last night failed. The disk is nearly full."]
    state, said = look(state, NOON + 60, NIGHT, DISK)
    assert said == []
    state, said = look(state, NOON + 12 * HOUR_S, NIGHT)
    assert said == ["Ana: The last night failed."]


def test_what_comes_and_goes_is_not_told_each_time() -> None:
    state, said = look(ToldSoFar(), NOON, DISK)
    state, _ = look(state, NOON + 60)
    state, said = look(state, NOON + 120, DISK)
    assert said == []
    state, _ = look(state, NOON + 13 * HOUR_S)
    assert state.at_utc == {}
    _, said = look(state, NOON + 14 * HOUR_S, DISK)
    assert said == ["Ana: The disk is nearly full."]


def test_another_one_of_the_same_kind_is_told_at_once() -> None:
    state, _ = look(ToldSoFar(), NOON, NIGHT)
    _, said = look(state, NOON + 60, NIGHT, NewsItem(NewsKey(NewsKind.NIGHT, "8"), "Again."))
    assert said == ["Ana: Again."]


@pytest.mark.parametrize(
    ("hour", "quiet"), [(21, False), (22, True), (23, True), (0, True), (6, True), (7, False), (12, False)]
)
def test_quiet_hours_go_over_midnight_by_the_persons_own_clock(hour: int, quiet: bool) -> None:
    berlin = replace(ANA, quiet=(time(22), time(7)), zone="Europe/Berlin")  # UTC+1 in November
    at_utc = datetime(2026, 11, 28, hour, tzinfo=UTC).timestamp() - HOUR_S
    assert is_quiet(berlin, at_utc) is quiet


def test_in_quiet_hours_only_a_call_for_help_comes_and_the_rest_when_they_end() -> None:
    ana = replace(ANA, quiet=(time(22), time(7)))
    night = datetime(2026, 11, 28, 23, tzinfo=UTC).timestamp()
    state, said = look(ToldSoFar(), night, NIGHT, HELP, people=(ana,))
    assert said == ["Ana: The wearer of pi-1 asked for help."]
    _, said = look(state, night + 8 * HOUR_S, NIGHT, people=(ana,))
    assert said == ["Ana: The last night failed."]


def test_each_person_is_told_only_of_what_they_want_and_who_left_is_forgotten() -> None:
    bo = Recipient("Bo", frozenset({NewsKind.DISK}))
    state, said = look(ToldSoFar(), NOON, NIGHT, DISK, people=(ANA, bo))
    assert said == ["Ana: The last night failed. The disk is nearly full.", "Bo: The disk is nearly full."]
    state, _ = look(state, NOON + 60, NIGHT, DISK)
    assert {name for name, _ in state.at_utc} == {"Ana"}


def test_what_did_not_go_out_is_tried_again_with_backoff_and_holds_up_nobody_else() -> None:
    bo = Recipient("Bo")
    state, letters = step(ToldSoFar(), LookedAround((NIGHT,), (ANA, bo)), NOON)
    assert [letter.person for letter in letters] == ["Ana", "Bo"]
    state, _ = step(state, Undelivered(letters[0]), NOON)
    state, _ = step(state, Delivered(letters[1]), NOON)
    waits, now = [], NOON
    for _ in range(9):
        assert step(state, LookedAround((NIGHT,), (ANA, bo)), now)[1] == ()
        wait_s = state.not_before_utc["Ana"] - now
        waits.append(wait_s)
        now += wait_s
        state, (letter,) = step(state, LookedAround((NIGHT,), (ANA, bo)), now)
        state, _ = step(state, Undelivered(letter), now)
    assert waits[:3] == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S]
    assert waits[-1] == RETRY_MOST_S
    state, (letter,) = step(state, LookedAround((NIGHT,), (ANA, bo)), now + RETRY_MOST_S)
    state, _ = step(state, Delivered(letter), now)
    assert (state.failures, state.not_before_utc) == ({}, {})


def test_a_hundred_silent_devices_make_one_short_message() -> None:
    items = [NewsItem(NewsKey(NewsKind.SILENT, f"pi-{n}"), f"pi-{n} is silent.") for n in range(100)]
    _, (letter,) = step(ToldSoFar(), LookedAround(tuple(items), (ANA,)), NOON)
    assert len(letter.lines) == LINES_MOST + 1
    assert letter.lines[-1] == "And 80 more."
    assert len(letter.keys) == 100


@given(st.lists(st.tuples(st.floats(0, 4 * HOUR_S), st.sets(st.sampled_from([NIGHT, DISK, HELP]))), max_size=60))
def test_nothing_is_ever_told_twice_within_the_cool_down(rounds: list[tuple[float, set[NewsItem]]]) -> None:
    state, now = ToldSoFar(), NOON
    told: dict[NewsKey, float] = {}
    for wait_s, items in rounds:
        now += wait_s
        state, letters = step(state, LookedAround(tuple(items), (ANA,)), now)
        for letter in letters:
            for key in letter.keys:
                assert now - told.get(key, float("-inf")) >= ANA.cool_down_s
                told[key] = now
            state, _ = step(state, Delivered(letter), now)
        open_now = {item.key for item in items}
        assert all(key in told for key in open_now), "what holds was told at some time"


def test_a_call_for_help_waits_a_minute_at_most_for_who_could_not_be_reached_for_hours() -> None:
    state = ToldSoFar()
    for _ in range(9):
        state, _ = step(state, Undelivered(NewsLetter("Ana", (NIGHT.key,), (NIGHT.text,))), NOON)
    assert look(state, NOON + RETRY_MOST_S - 1, NIGHT)[1] == [], "what is not urgent waits"
    assert look(state, NOON + RETRY_FIRST_S - 1, NIGHT, HELP)[1] == []
    _, said = look(state, NOON + RETRY_FIRST_S, NIGHT, HELP)
    assert said == [f"Ana: {HELP.text}"], "and does not come with it before its time"


def test_who_is_called_for_help_is_told_before_all_others() -> None:
    slow = replace(ANA, name="Alf", kinds=frozenset({NewsKind.NIGHT}))
    _, letters = step(ToldSoFar(), LookedAround((NIGHT, HELP), (slow, ANA)), NOON)
    assert [letter.person for letter in letters] == ["Ana", "Alf"]
