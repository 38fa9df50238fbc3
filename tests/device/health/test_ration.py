"""What changes again and again is told less and less often, and what was told last is true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from device.health.ration import MOST_PAUSE_S, RationedNews, RationState, step
from device.moments.sealer import STORAGE_LOST, Sealer
from device.outbox.outbox import Outbox
from shared.clock import ManualClock
from tests.device.agent.test_storage import parcel
from tests.pulse import until


def told(story: list[tuple[float, str]], *, until_s: float, about: str | None = "storage") -> list[tuple[float, str]]:
    """(when, what) of news, where time passes second by second. about: None = of an event"""
    clock, out = ManualClock(), list[tuple[float, str]]()
    news = RationedNews(lambda text, about: out.append((clock.now_s, text)), clock)
    waiting = list(story)
    while clock.now_s < until_s:
        while waiting and waiting[0][0] <= clock.now_s:
            news.tell(waiting.pop(0)[1], about=about)
        news.tick()
        clock.now_s += 1.0
    return out


def flapping(seconds: int, every: int = 5) -> list[tuple[float, str]]:
    texts = ("Storage full.", "Storage is working again.")
    return [(float(at_s), texts[at_s // every % 2]) for at_s in range(0, seconds, every)]


def test_that_it_failed_and_that_it_works_again_are_told_at_once() -> None:
    story = [(3.0, "Storage failed."), (5.0, "Storage is working again.")]
    assert told(story, until_s=60) == story


def test_a_card_that_fails_and_works_every_five_seconds_is_told_of_four_times_in_a_minute_and_ten_in_an_hour() -> None:
    said = told(flapping(3600), until_s=3600)
    assert sum(at_s < 60 for at_s, _ in said) <= 4
    assert len(said) <= 12
    assert all(first[1] != then[1] for first, then in pairwise(said))


def test_the_last_word_is_how_things_are() -> None:
    for seconds in (35, 40, 75, 80):
        story = flapping(seconds)
        assert told(story, until_s=seconds + 2 * MOST_PAUSE_S)[-1][1] == story[-1][1]


def test_after_twenty_minutes_of_calm_it_is_told_at_once_again() -> None:
    story = [*flapping(60), (2000.0, "Storage failed.")]
    assert (2000.0, "Storage failed.") in told(story, until_s=2100)


def test_an_event_that_goes_on_is_told_again_only_after_a_minute_and_then_more_rarely() -> None:
    said = [at_s for at_s, _ in told([(5.0 * n, STORAGE_LOST) for n in range(200)], until_s=1000, about=None)]
    assert said[:3] == [0.0, 60.0, 120.0]
    assert len(said) <= 8


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from("abc")), max_size=60))
def test_whatever_comes_what_is_said_last_and_what_waits_are_the_newest(story: list[tuple[float, str]]) -> None:
    state, now_s = RationState(), 0.0
    for gap_s, text in story:
        now_s += gap_s
        state, _ = step(state, text, now_s)
        assert text in (state.said, state.waiting)
        assert state.waiting is None or state.waiting != state.said


def test_a_full_outbox_that_drops_a_moment_every_five_seconds_is_told_of_twice_in_a_minute(tmp_path: Path) -> None:
    clock, out = ManualClock(), list[str]()
    news = RationedNews(lambda text, about: out.append(text), clock)
    sealed = list[str]()
    outbox = Outbox(tmp_path / "outbox")
    sealer = Sealer(
        outbox, announce=news.tell, answer=news.tell, sealed=lambda done: sealed.append(done.name), limit_bytes=30_000
    )
    sealer.start()
    for chunk in range(17):
        sealer.store(parcel(chunk, {"frame": bytes(9_000)}))
        until(lambda: len(sealed) > chunk, "sealed")  # noqa: B023 - asked before the next is stored
        clock.now_s += 5.0
    sealer.close()
    outbox.close()
    assert sealer.lost >= 9
    assert out == [STORAGE_LOST] * 2
