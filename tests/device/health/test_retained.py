"""What the broker keeps of a device's status: battery, heat and disk where they are known, and nothing unreadable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device.health import status
from device.health.status import DeviceStatus
from shared import messages
from shared.messages import Status

STATUS = DeviceStatus(
    device="pi-1", kernel_boot="0" * 8, updated_s=1.0, pid=1, agent_version="0.1.0", uptime_s=9.0, source="none",
    walking=False, walk_s=0.0, guidance="no model", model_version="", model_state="idle", last_said="", looks=0,
    chunks=0, flagged=0, not_kept=0, online=True, broker="", queued=0, queued_bytes=0, failed=0,
)  # fmt: skip


def with_power(**values: float) -> DeviceStatus:
    return replace(STATUS, **values)  # type: ignore[arg-type]


def test_battery_heat_and_disk_are_told_where_they_are_known() -> None:
    told = status.retained(with_power(battery_percent=71.26, heat_c=48.04), disk_free_bytes=10**9)
    assert (told.battery_percent, told.heat_c, told.disk_free_bytes) == (71.3, 48.0, 10**9)
    assert messages.decode(Status, messages.encode(told)) == told


def test_what_no_sensor_tells_is_not_written_so_that_older_servers_read_the_same_bytes() -> None:
    written = messages.encode(status.retained(STATUS))
    assert not any(name in written for name in (b"battery", b"heat", b"disk"))


@pytest.mark.parametrize("values", [{"battery_percent": 655.35}, {"heat_c": 1e9}, {"battery_percent": -1.0}])
def test_a_wild_sensor_does_not_make_the_whole_status_unreadable(values: dict[str, float]) -> None:
    told = status.retained(with_power(**values))
    assert (told.battery_percent, told.heat_c) == (None, None)
    assert messages.decode(Status, messages.encode(told)).agent_version == "0.1.0"


def test_what_is_free_is_told_of_a_folder_and_nothing_of_none(tmp_path: Path) -> None:
    assert (status.free_bytes(tmp_path) or 0) > 0
    assert status.free_bytes(tmp_path / "gone") is None
