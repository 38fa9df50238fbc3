"""The clock floor: monotone, durable, and not to be fooled far."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import ManualClock, SystemClock
from shared.floor import AGREE_S, BUILT_UTC_S, DAY_S, FILE, STEP_S, ClockFloor, bounded

NOW_S = BUILT_UTC_S + 20 * DAY_S
DECADE_S = 3653 * DAY_S


def floor_at(folder: Path, epoch_s: float) -> ClockFloor:
    return ClockFloor(folder, ManualClock(epoch_s=epoch_s))


def test_a_clock_from_before_this_software_does_not_count(tmp_path: Path) -> None:
    assert floor_at(tmp_path, 0.0).now_s() == BUILT_UTC_S


def test_the_day_of_this_software_is_past() -> None:
    assert SystemClock().utc_s() > BUILT_UTC_S


def test_a_signed_time_holds_over_a_restart_with_a_clock_ten_years_back(tmp_path: Path) -> None:
    floor_at(tmp_path, NOW_S).raise_to(NOW_S)
    assert floor_at(tmp_path, NOW_S - DECADE_S).now_s() == NOW_S


def test_a_wall_clock_ten_years_ahead_leaves_no_trace(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=NOW_S + DECADE_S)
    floor = ClockFloor(tmp_path, clock)
    assert floor.now_s() == NOW_S + DECADE_S
    floor.raise_to(NOW_S)
    clock.epoch_s = NOW_S
    assert floor.now_s() == NOW_S
    assert floor_at(tmp_path, NOW_S).now_s() == NOW_S


def test_the_floor_without_the_wall_clock_is_what_was_signed(tmp_path: Path) -> None:
    floor = floor_at(tmp_path, NOW_S + DECADE_S)
    floor.raise_to(NOW_S)
    assert floor.floor_s() == NOW_S


def test_it_goes_on_while_the_wall_clock_stands_still(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=NOW_S)
    floor = ClockFloor(tmp_path, clock)
    floor.raise_to(NOW_S)
    clock.now_s, clock.epoch_s = 40 * DAY_S, NOW_S - 40 * DAY_S
    assert clock.utc_s() == NOW_S
    assert floor.now_s() == NOW_S + 40 * DAY_S


def test_a_wrong_signed_time_moves_it_by_a_week_a_day_and_no_further(tmp_path: Path) -> None:
    clock = ManualClock(epoch_s=0.0)
    floor = ClockFloor(tmp_path, clock)
    for _ in range(10):
        floor.raise_to(BUILT_UTC_S + DECADE_S)
    assert floor.floor_s() == BUILT_UTC_S + STEP_S
    clock.sleep(DAY_S)
    floor.raise_to(BUILT_UTC_S + DECADE_S)
    assert floor.floor_s() == BUILT_UTC_S + 2 * STEP_S


def test_a_signed_time_that_the_wall_clock_bears_out_is_believed_at_once(tmp_path: Path) -> None:
    later_s = NOW_S + DECADE_S
    assert floor_at(tmp_path, later_s - AGREE_S).raise_to(later_s) == later_s


def test_enrolment_takes_a_poisoned_floor_back(tmp_path: Path) -> None:
    floor = floor_at(tmp_path, NOW_S + DECADE_S)
    floor.raise_to(NOW_S + DECADE_S)
    floor.reset(NOW_S)
    assert floor.floor_s() == NOW_S
    assert floor_at(tmp_path, 0.0).now_s() == NOW_S


def test_enrolment_does_not_take_it_below_the_day_of_this_software(tmp_path: Path) -> None:
    floor = floor_at(tmp_path, 0.0)
    floor.reset(0.0)
    assert floor.floor_s() == BUILT_UTC_S


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"floor_utc_s": "2026"}', b'{"floor_utc_s": NaN}', b'{"floor_utc_s": true}',
     b'{"floor_utc_s": -1e300}', b'{"floor_utc_s": 1' + b"0" * 400 + b"}", b"[" * 100_000, b"\xff\xfe"],
)  # fmt: skip
def test_a_damaged_file_begins_again_and_never_stops_a_device(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    floor = floor_at(tmp_path, 0.0)
    assert floor.now_s() == BUILT_UTC_S
    assert floor.raise_to(BUILT_UTC_S + DAY_S) == BUILT_UTC_S + DAY_S
    assert json.loads((tmp_path / FILE).read_bytes())["floor_utc_s"] == BUILT_UTC_S + DAY_S


def test_a_disk_that_refuses_is_logged_and_the_floor_holds_until_the_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    floor = ClockFloor(tmp_path / "file" / "trust", ManualClock(epoch_s=0.0))
    with caplog.at_level(logging.ERROR):
        assert floor.raise_to(BUILT_UTC_S + DAY_S) == BUILT_UTC_S + DAY_S
    assert "could not be kept" in caplog.text
    assert floor.floor_s() == BUILT_UTC_S + DAY_S


def test_nothing_is_written_that_is_not_new(tmp_path: Path) -> None:
    floor = floor_at(tmp_path, NOW_S)
    floor.raise_to(NOW_S)
    before = (tmp_path / FILE).stat().st_mtime_ns
    floor.raise_to(NOW_S - DAY_S)
    floor.raise_to(NOW_S)
    assert (tmp_path / FILE).stat().st_mtime_ns == before


times = st.floats(allow_nan=True, allow_infinity=True)


@given(utc_s=times, wall_s=st.floats(0, 1e11), start_s=st.floats(0, 1e11), running_s=st.floats(0, 1e9))
def test_no_signed_time_goes_beyond_its_bound(utc_s: float, wall_s: float, start_s: float, running_s: float) -> None:
    found = bounded(utc_s, wall_s=wall_s, start_s=start_s, running_s=running_s)
    assert 0 <= found <= max(wall_s + AGREE_S, start_s + STEP_S * (1 + running_s / DAY_S))
    if 0 <= utc_s <= wall_s:
        assert found == utc_s
