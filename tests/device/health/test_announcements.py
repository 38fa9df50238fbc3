"""What is announced about link and microphone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device.health.announcements import NOT_ERASED, REFUSED, Outage, RefusalNews, link_news, refusal_news, sound_news

steps = st.lists(st.tuples(st.floats(0.1, 8.0), st.booleans()), max_size=40)


def reported(story: list[tuple[float, bool]]) -> list[tuple[float, str]]:
    state, now_s, out = Outage(), 0.0, []
    for gap_s, online in story:
        now_s += gap_s
        state, text = link_news(state, now_s, online=online)
        if text:
            out.append((now_s, text))
    return out


@given(steps)
def test_offline_and_back_online_alternate_and_begin_with_offline(story: list[tuple[float, bool]]) -> None:
    texts = [text for _, text in reported(story)]
    assert texts == ["Offline.", "Back online."] * (len(texts) // 2) + ["Offline."] * (len(texts) % 2)


@given(steps)
def test_nothing_is_said_before_the_first_connection(story: list[tuple[float, bool]]) -> None:
    first = next((number for number, (_, online) in enumerate(story) if online), len(story))
    assert reported(story[:first]) == []


def test_a_short_gap_is_no_news_and_a_long_one_is_said_once() -> None:
    assert reported([(1, True), (1, False), (1, False), (1, True)]) == []
    assert reported([(1, True), (1, False), (3, False), (3, False), (60, False), (1, True)]) == [
        (8, "Offline."),
        (69, "Back online."),
    ]


def test_a_microphone_that_stops_is_told_once_and_so_is_its_return() -> None:
    state, out = Outage(), []
    for now_s, healthy in ((0, True), (1, False), (5, False), (7, False), (60, False), (61, True), (62, True)):
        state, text = sound_news(state, now_s, healthy=healthy)
        out.append(text)
    assert out == [None, None, None, "Microphone stopped.", None, "Microphone is back.", None]


def refusals_told(*story: tuple[float, int]) -> list[float]:
    state, now_s, out = RefusalNews(), 0.0, []
    for gap_s, refused in story:
        now_s += gap_s
        state, text = refusal_news(state, now_s, refused=refused)
        assert text in (None, REFUSED)
        if text:
            out.append(now_s)
    return out


def test_what_was_refused_before_is_no_news_and_more_of_it_is() -> None:
    assert refusals_told((1, 3), (1, 3), (1, 3)) == []
    assert refusals_told((1, 0), (1, 1), (1, 1), (100, 1)) == [2]


def test_a_backlog_that_is_refused_is_told_once_a_minute() -> None:
    assert refusals_told((1, 0), *((1, n) for n in range(1, 101))) == [2, 62]
    assert refusals_told((1, 0), (1, 1), (1, 2), (60, 2)) == [2, 63]


def test_sending_refused_ones_again_and_having_them_refused_again_is_news() -> None:
    assert refusals_told((1, 2), (1, 0), (100, 2)) == [102]


def test_a_refused_wish_to_erase_is_no_refused_moment() -> None:
    state, _ = refusal_news(RefusalNews(), 0.0, refused=0, text=NOT_ERASED)
    assert refusal_news(state, 1.0, refused=1, text=NOT_ERASED)[1] == NOT_ERASED
    assert REFUSED != NOT_ERASED
