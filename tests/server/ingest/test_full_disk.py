"""A server's disk that fills up, for real: devices wait, what was acknowledged is kept, and it goes on by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from server.ingest.counters import DailyCounts
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from shared import messages
from shared.messages import Ack, Begin, Envelope, Part
from tests.faults.disk import SmallDisk, why_not
from tests.server.dataset.moments import House, Moment, moment

MB = 1_000_000
LIMITS = LimitsSettings(free_mb=4)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() != 0 or why_not():
        pytest.skip(why_not() or "mounting a filesystem needs root")
    with SmallDisk(tmp_path, size_bytes=24 * MB) as mounted:
        yield mounted


class Device:
    """Sends moments, and comes again with what was not acknowledged, as shared.transfer does."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self.merged: list[str] = []
        self.reasons: list[str] = []

    def tell(self, *levels: str, payload: bytes = b"") -> str:
        """The last answer's state; "" = none came."""
        replies = self._ingest.handle("pi-1", ["up", *levels], payload) + self._ingest.settle()
        acks = [messages.decode(Ack, answer) for _, answer in replies]
        self.reasons += [ack.reason for ack in acks if ack.reason]
        return acks[-1].state if acks else ""

    def send(self, sent: Moment) -> bool:
        """Whether all of it was acknowledged as merged."""
        record = sent.record
        event = messages.encode(Envelope("chunk", record.chunk_id, messages.to_dict(record)))
        if self.tell("event", payload=event) != "merged":
            return False
        if not all(self._send_part(record.chunk_id, one, sent.payloads[one.kind]) for one in record.parts):
            return False
        self.merged.append(record.chunk_id)
        return True

    def _send_part(self, chunk_id: str, part: Part, data: bytes) -> bool:
        name = f"{chunk_id}.{part.kind}"
        began = self.tell(name, "begin", payload=messages.encode(Begin(chunk_id, part, "pi-1")))
        if began != "receiving":
            return began == "merged"
        self.tell(name, "0", payload=data)
        return self.tell(name, "end") == "merged"


def whole(house: House, chunk_id: str) -> bool:
    """Whether the dataset has this moment with its bytes."""
    rows = [row for row in house.dataset.rows() if row.sample_id == chunk_id]
    paths = [house.dataset.folder / path for row in rows for path in (row.frame_path, row.audio_path)]
    return bool(rows) and all(sha256(path.read_bytes()).hexdigest() == path.stem for path in paths)


@pytest.mark.parametrize("leave", [5 * MB, 0], ids=["nearly full", "full to the last byte"])
def test_devices_wait_while_the_disk_is_full_and_nothing_is_lost(disk: SmallDisk, leave: int) -> None:
    house = House(disk.path / "home")
    limits = LIMITS if leave else LimitsSettings(free_mb=0)  # without the limit, every write is tried
    ingest = Ingest(house.home / "incoming", house.merge, settings=limits, counts=DailyCounts(house.clock, house.store))
    device, many = Device(ingest), [moment(n) for n in range(24)]
    assert device.send(many[0])
    disk.fill(leave_bytes=leave)
    waiting = [one for one in many if not device.send(one)]
    assert waiting, "it was full"
    if leave:
        assert device.reasons[-1] == "the server's disk is nearly full"
        assert len(waiting) < len(many) - 1, "what there was room for came in"
    assert all(whole(house, chunk_id) for chunk_id in device.merged)
    disk.empty()
    assert [one.record.chunk_id for one in waiting if not device.send(one)] == []
    assert all(whole(house, one.record.chunk_id) for one in many)
    ingest.close()
    house.close()
