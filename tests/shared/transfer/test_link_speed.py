"""Parts and window follow the link's speed, and never leave their bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.link_speed import (
    LEAST_PART_BYTES,
    LinkSpeed,
    observe,
    paced_part_bytes,
    window_bytes,
    window_parts,
    wire_bytes,
)
from shared.transfer import MAX_PART_BYTES, MAX_WINDOW_BYTES, MIN_PART_BYTES, PART_BYTES, WINDOW_BYTES, WINDOW_PARTS

speeds = st.one_of(st.just(0.0), st.floats(1, 1e10))


def link(bytes_per_s: float, seconds: float, speed: LinkSpeed | None = None) -> LinkSpeed:
    """A link of this speed with a window that is always full: each part is acknowledged when it is through."""
    speed, now_s = replace(speed or LinkSpeed(), since_s=None), 0.0
    speed = observe(speed, 0, now_s, full=True)
    while now_s < seconds:
        size = paced_part_bytes(speed, PART_BYTES)
        now_s += size / bytes_per_s
        speed = observe(speed, size, now_s, full=True)
    return speed


@pytest.mark.parametrize("bytes_per_s", [5_000.0, 20_000.0, 64_000.0, 2_500_000.0, 1e8])
def test_a_part_takes_about_a_second_and_the_wire_holds_about_three(bytes_per_s: float) -> None:
    speed = link(bytes_per_s, 30.0 if bytes_per_s < 1e6 else 3.0)
    size = paced_part_bytes(speed, PART_BYTES)
    assert size == pytest.approx(min(PART_BYTES, max(bytes_per_s, LEAST_PART_BYTES)), rel=0.05)
    assert wire_bytes(speed, size) == pytest.approx(min(WINDOW_BYTES, 3 * bytes_per_s), rel=0.05)


def test_the_window_is_the_wire_until_a_fifth_of_a_second_is_more() -> None:
    phone, radio, cable = LinkSpeed(300_000), LinkSpeed(12_500_000), LinkSpeed(1e9)
    assert window_bytes(phone, PART_BYTES) == wire_bytes(phone, PART_BYTES) == WINDOW_BYTES
    assert window_bytes(radio, PART_BYTES) == 6_250_000
    assert window_bytes(cable, MAX_PART_BYTES) == MAX_WINDOW_BYTES
    assert [window_parts(size) for size in (1000, WINDOW_BYTES, MAX_WINDOW_BYTES)] == [WINDOW_PARTS, 16, 256]


def test_on_a_fast_link_a_part_is_what_four_milliseconds_carry() -> None:
    speeds = (0.0, 5_000_000, 6_000_000, 12_500_000, 32_768_000, 1e9)
    sizes = [paced_part_bytes(LinkSpeed(speed), MAX_PART_BYTES) for speed in speeds]
    assert sizes == [PART_BYTES, PART_BYTES, PART_BYTES // 2, 50_000, 131_072, MAX_PART_BYTES]
    assert paced_part_bytes(LinkSpeed(1e9), PART_BYTES) == PART_BYTES


def test_a_link_that_becomes_slow_or_fast_is_known_within_seconds() -> None:
    slow = link(30_000, 20.0, link(1e7, 2.0))
    assert slow.bytes_per_s == pytest.approx(30_000, rel=0.1)
    assert link(1e7, 3.0, slow).bytes_per_s == pytest.approx(1e7, rel=0.1)


def test_a_full_window_in_silence_makes_it_small_and_one_that_is_not_full_says_nothing() -> None:
    speed = link(1e6, 2.0)
    now_s = 10.0
    silent = observe(speed, 0, now_s, full=True)
    for _ in range(20):
        now_s += 2.5
        silent = observe(silent, 0, now_s, full=True)
    assert silent.bytes_per_s < speed.bytes_per_s / 100
    assert paced_part_bytes(silent, PART_BYTES) == LEAST_PART_BYTES
    idle = observe(speed, 0, 10.0, full=False)
    assert observe(idle, 100, 20.0, full=False).bytes_per_s == idle.bytes_per_s


@given(speeds, st.integers(MIN_PART_BYTES, MAX_PART_BYTES))
def test_parts_and_window_stay_in_their_bounds(bytes_per_s: float, most: int) -> None:
    speed = LinkSpeed(bytes_per_s)
    size = paced_part_bytes(speed, most)
    assert MIN_PART_BYTES <= size <= most
    assert size <= wire_bytes(speed, size) <= WINDOW_BYTES
    assert wire_bytes(speed, size) <= window_bytes(speed, size) <= MAX_WINDOW_BYTES


@given(st.lists(st.tuples(st.integers(0, WINDOW_BYTES), st.floats(0, 100), st.booleans()), max_size=50))
def test_no_story_of_answers_breaks_it(story: list[tuple[int, float, bool]]) -> None:
    speed, now_s = LinkSpeed(), 0.0
    for acked, gap_s, full in story:
        now_s += gap_s
        speed = observe(speed, acked, now_s, full=full)
        assert speed.bytes_per_s >= 0
        assert speed.acked_bytes >= 0
