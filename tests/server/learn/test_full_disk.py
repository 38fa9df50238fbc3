"""A full disk is said as one, and the night goes on with room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters.onnx import bundle as exporter
from server.database.store import open_store
from shared.errors import Transient
from tests.faults import disk
from tests.faults.disk import SmallDisk
from tests.server.learn.crash_driver import exported_once
from tests.server.learn.parts import reviewed_home, small_night

pytestmark = pytest.mark.skipif(bool(disk.why_not()), reason=disk.why_not() or "it can")

LEAVE_BYTES = (16_000, 64_000, 256_000, 1_000_000, 2_000_000, 2_500_000, 3_000_000, 4_000_000, 5_000_000)
"""A whole night finds room at one of these: how much it needs differs by database, and by version."""


@pytest.fixture
def small(memory_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(memory_path, size_bytes=64 * 1024 * 1024) as made:
        yield made


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # PostgreSQL has a disk of its own
def test_a_database_that_has_no_room_to_be_opened_says_so(small: SmallDisk) -> None:
    """Not even for the index of its WAL, which SQLite calls a disk I/O error."""
    home = small.path / "home"
    open_store(home).close()
    for leave_bytes in (0, 16_000):
        small.fill(leave_bytes=leave_bytes)
        with pytest.raises(Transient, match=r"(?s)The disk of .*home is full .* could not be opened .*Free some space"):
            open_store(home)
        small.empty()
    open_store(home).close()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_full_disk_is_said_as_one_and_the_night_goes_on_with_room(
    small: SmallDisk, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs that found room once are copied from then on: the weights are the same each time."""
    monkeypatch.setattr(exporter, "export_graphs", exported_once(tmp_path))
    home = reviewed_home(small.path / "home", walks_of={"w": 2})
    said: list[str] = []
    words: list[str] = []
    for leave_bytes in LEAVE_BYTES:
        small.fill(leave_bytes=leave_bytes)
        try:
            found = small_night(home, base, said=said)
            break
        except Transient as error:
            words.append(str(error))
        finally:
            small.empty()
    full = re.compile(r"(?s)The disk of .*home is full .* goes on where it stopped")
    assert [text for text in words if not full.search(text)] == []
    assert len(words) >= 5
    assert "exporting three graphs" in said, "it came as far as the graphs, a little further each time"
    assert found.outcome in ("refused", "trial", "promoted")
    assert small_night(home, base).outcome == "skipped"
