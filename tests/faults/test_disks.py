"""The disk is full, fails, or loses its power: what was promised before is there after, and nothing else was."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.outbox.outbox import Outbox
from shared import atomic
from tests.faults import cargo, disk
from tests.faults.carrier import bring_all
from tests.faults.disk import PowerDisk, SmallDisk
from tests.faults.judge import Party, judge

pytestmark = pytest.mark.skipif(bool(disk.why_not()), reason=disk.why_not() or "it can")
DEVICE = "pi-1"


@pytest.fixture
def power(memory_path: Path) -> Iterator[PowerDisk]:
    with PowerDisk(memory_path) as made:
        yield made


def _seal(box: Outbox, number: int) -> str:
    return box.seal_chunk(*cargo.chunk(DEVICE, number)).chunk_id


def test_a_power_cut_shows_what_was_never_synced(power: PowerDisk) -> None:
    """The disk itself, so that the tests below mean something."""
    atomic.write_bytes(power.path / "synced", b"here")
    (power.path / "not-synced").write_bytes(b"gone")
    (power.path / "synced").rename(power.path / "renamed-only-in-memory")
    power.cut_power()
    with pytest.raises(OSError) as caught:
        (power.path / "renamed-only-in-memory").read_bytes()
    assert caught.value.errno == errno.EIO
    power.restore()
    assert {path.name for path in power.path.iterdir()} == {"synced", "lost+found"}
    assert (power.path / "synced").read_bytes() == b"here"


def test_what_was_sealed_survives_a_power_cut_and_what_was_cut_off_leaves_nothing(power: PowerDisk) -> None:
    box = Outbox(power.path / "outbox")
    sealed = [_seal(box, number) for number in range(5)]
    power.cut_power()
    with pytest.raises(OSError):
        _seal(box, 5)
    box.close()
    power.restore()
    again = Outbox(power.path / "outbox")
    waiting = {item.record_id for item in again.claim(100) + again.claim(100, bulk=True)}
    assert waiting == set(sealed)
    assert again.recovered.lost == again.recovered.damaged == ()
    again.close()


def test_on_a_full_disk_sealing_fails_as_a_whole_and_works_again_when_there_is_room(memory_path: Path) -> None:
    with SmallDisk(memory_path, size_bytes=8 * 1024 * 1024) as small:
        box = Outbox(small.path / "outbox")
        first = _seal(box, 0)
        small.fill()
        with pytest.raises(OSError) as caught:  # noqa: PT012  how many still fit is not the point
            for number in range(1, 2000):
                _seal(box, number)
        assert caught.value.errno == errno.ENOSPC
        before = {item.record_id for item in box.claim(5000) + box.claim(5000, bulk=True)}
        assert first in before
        small.empty()
        last = _seal(box, 2000)
        box.close()
        again = Outbox(small.path / "outbox")
        after = {item.record_id for item in again.claim(5000) + again.claim(5000, bulk=True)}
        assert after == before | {last}
        again.close()


def test_what_the_server_acknowledged_survives_its_power_cut(power: PowerDisk, memory_path: Path) -> None:
    home = power.path / "home"
    box = Outbox(memory_path / "device" / "outbox")
    ledger = cargo.Ledger(memory_path / "ledger")
    for number in range(4):
        ledger.say("sealed", _seal(box, number))
    bring_all(home, box, DEVICE)
    box.close()
    power.cut_power()
    power.restore()
    verdict = judge(home, [Party(DEVICE, memory_path / "device", ledger.path)])
    assert verdict.clean
    assert len(verdict.merged) == 4
