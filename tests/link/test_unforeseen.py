"""What fails in a way that nobody foresaw costs no other device anything, and is not asked for again for ever."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DatabaseError

from server.dataset import merge as merging
from server.dataset import part_paths
from server.dataset.blobs import PLACES
from server.dataset.compose import compose
from server.dataset.recover import Recovered, recover
from server.ingest import decode
from server.ingest.failures import MOST_TRIES
from server.ingest.ingest import Ingest
from server.ingest.limits import LimitsSettings
from server.maintenance.check import check
from shared import container, messages
from shared.errors import DatasetError
from shared.messages import Ack, Begin, ChunkRecord, Envelope, EraseRecord, Part
from tests.server.dataset.moments import House, Moment, moment

DEVICES = ("pi-1", "pi-2", "pi-3", "pi-4", "pi-5")
ODD = "pi-3"
DISK_FULL = OSError(28, "No space left on device")
Patch = pytest.MonkeyPatch


class Fleet:
    """Some devices, each with moments, and the intake with the real merge behind it."""

    def __init__(self, folder: Path) -> None:
        self.house = House(folder / "home")
        self.ingest = Ingest(folder / "incoming", self.house.merge, settings=LimitsSettings(free_mb=0)).granting(1000)

    def close(self) -> None:
        self.ingest.close()
        self.house.close()

    def container(self, sent: Moment) -> bytes:
        record, files = sent.record, b"".join(sent.payloads[part.kind] for part in sent.record.parts)
        envelope = messages.encode(Envelope("chunk", record.chunk_id, messages.to_dict(record)))
        return container.make_head(envelope, len(record.parts)) + files

    def send(self, n: int, *, devices: tuple[str, ...] = DEVICES) -> None:
        """A moment of each device as a container."""
        for device in devices:
            sent = moment(n, device=device)
            name = f"{sent.record.chunk_id}.container"
            assert self.ingest.handle(device, ["up", name, "0"], self.container(sent)) == []

    def settle(self) -> dict[str, str]:
        """Device → state of its answer."""
        found = {}
        for topic, payload in self.ingest.settle():
            found[topic.split("/")[2]] = messages.decode(Ack, payload).state
        return found

    def round(self, n: int, *, devices: tuple[str, ...] = DEVICES) -> dict[str, str]:
        self.send(n, devices=devices)
        return self.settle()

    @property
    def merged(self) -> set[str]:
        return {row.sample_id for row in self.house.dataset.rows()}

    @property
    def left_over(self) -> list[str]:
        return [path.name for path in (self.house.home.parent / "incoming").rglob("*") if path.is_file()]


@pytest.fixture
def fleet(memory_path: Path) -> Iterator[Fleet]:
    with closing(Fleet(memory_path)) as made:
        yield made


OTHERS = {device: "merged" for device in DEVICES if device != ODD}
ALL = dict.fromkeys(DEVICES, "merged")
ODD_ID = moment(0, device=ODD).record.chunk_id


def odd_in_opening(patch: Patch, error: Exception) -> None:
    """Its container cannot be taken apart."""
    real = decode.record_in

    def fails(envelope: Envelope) -> messages.Record:
        if envelope.record_id == ODD_ID:
            raise error
        return real(envelope)

    patch.setattr(decode, "record_in", fails)


def odd_in_composing(patch: Patch, error: Exception) -> None:
    """Its record cannot be merged, which shows after the lines of all are in records.jsonl."""

    def fails(record: ChunkRecord, *args: object, **options: object) -> object:
        if record.chunk_id == ODD_ID:
            raise error
        return compose(record, *args, **options)  # type: ignore[arg-type]

    patch.setattr(merging, "compose", fails)


@pytest.mark.parametrize("injected", [odd_in_opening, odd_in_composing])
def test_one_odd_container_costs_the_others_nothing_and_is_refused_in_the_end(
    fleet: Fleet, injected: Callable[[Patch, Exception], None], monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    injected(monkeypatch, KeyError("unforeseen"))
    assert fleet.round(0) == OTHERS
    assert "KeyError" in caplog.text, "with its traceback"
    assert fleet.left_over == []
    for _ in range(MOST_TRIES - 2):
        assert fleet.round(0, devices=(ODD,)) == {}
    assert fleet.round(0, devices=(ODD,)) == {ODD: "refused"}
    assert fleet.left_over == []
    assert fleet.round(1) == ALL
    assert fleet.merged == {moment(n, device=device).record.chunk_id for n in (0, 1) for device in DEVICES} - {ODD_ID}


def test_what_an_odd_record_left_in_the_logs_is_cut_off_and_fails_no_later_writer(
    fleet: Fleet, monkeypatch: Patch
) -> None:
    house = fleet.house
    odd_in_composing(monkeypatch, KeyError("unforeseen"))
    with pytest.raises(KeyError):
        house.merge.put_record(ODD, "chunk", moment(0, device=ODD).record)
    sizes = house.dataset.records.stat().st_size
    assert house.merge.put_record("pi-1", "chunk", moment(5).record).state == "merged"
    assert house.dataset.records.stat().st_size > sizes
    assert ODD_ID not in house.dataset.records.read_text()
    assert recover(house.store, house.dataset, house.merge, house.clock, thoroughly=True) == Recovered()


@pytest.mark.parametrize(
    "error",
    [OSError(5, "I/O"), MemoryError(), DatasetError("a log"), DatabaseError("", {}, Exception("malformed"))],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("injected", [odd_in_opening, odd_in_composing])
def test_what_is_this_machines_fault_is_asked_for_again_for_as_long_as_it_lasts(
    fleet: Fleet, injected: Callable[[Patch, Exception], None], error: Exception, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        injected(patch, error)
        assert fleet.round(0) == OTHERS
        for n in range(1, MOST_TRIES + 2):
            fleet.send(0, devices=(ODD,))
            assert fleet.round(n, devices=("pi-1",)) == {"pi-1": "merged"}
    assert fleet.round(0, devices=(ODD,)) == {ODD: "merged"}


def test_where_nothing_goes_through_nothing_is_refused(fleet: Fleet, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(merging, "compose", lambda *_args, **_options: 1 // 0)
        for _ in range(MOST_TRIES + 2):
            assert fleet.round(0) == {}
    assert fleet.round(0) == ALL


def full_in_writing(patch: Patch) -> None:
    real = os.open

    def opens(path: str | Path, *args: int) -> int:
        if ODD_ID in str(path) and str(path).endswith("audio.opened"):
            raise DISK_FULL
        return real(path, *args)

    patch.setattr(os, "open", opens)


def full_in_syncing(patch: Patch) -> None:
    real = os.fdatasync

    def syncs(fd: int) -> None:
        if f"{ODD_ID}." in os.readlink(f"/proc/self/fd/{fd}"):
            raise DISK_FULL
        real(fd)

    patch.setattr(os, "fdatasync", syncs)


@pytest.mark.parametrize("injected", [full_in_writing, full_in_syncing])
def test_a_disk_that_is_full_for_one_file_lets_it_wait_and_no_other(
    fleet: Fleet, injected: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        injected(patch)
        assert fleet.round(0) == OTHERS
        assert fleet.left_over == []
        for n in range(1, MOST_TRIES + 2):
            fleet.send(0, devices=(ODD,))
            assert fleet.round(n, devices=("pi-1",)) == {"pi-1": "merged"}
    assert fleet.round(0, devices=(ODD,)) == {ODD: "merged"}
    assert len(fleet.merged) == len(DEVICES) + MOST_TRIES + 1


def test_one_file_that_cannot_be_checked_costs_the_others_nothing(fleet: Fleet, monkeypatch: Patch) -> None:
    real = os.fdatasync

    def syncs(fd: int) -> None:
        if f"/{ODD_ID}." in os.readlink(f"/proc/self/fd/{fd}"):
            raise RuntimeError("unforeseen")
        real(fd)

    sent = {device: moment(0, device=device) for device in DEVICES}

    def files() -> None:
        for device, one in sent.items():
            data, own = one.payloads["frame"], one.record.chunk_id
            part = Part("frame", "frame.jpg", len(data), sha256(data).hexdigest())
            fleet.ingest.handle(device, ["up", f"{own}.frame", "begin"], messages.encode(Begin(own, part, device)))
            fleet.ingest.handle(device, ["up", f"{own}.frame", "0"], data)
            fleet.ingest.handle(device, ["up", f"{own}.frame", "end"], b"")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", syncs)
        files()
        assert fleet.settle() == OTHERS
    files()
    assert fleet.settle() == ALL


def test_a_record_by_itself_that_cannot_be_read_is_refused_in_the_end_and_no_other(
    fleet: Fleet, monkeypatch: Patch
) -> None:
    odd_in_opening(monkeypatch, KeyError("unforeseen"))

    def event(n: int, device: str) -> dict[str, str]:
        record = moment(n, device=device).record
        payload = messages.encode(Envelope("chunk", record.chunk_id, messages.to_dict(record)))
        said = fleet.ingest.handle(device, ["up", "event"], payload)
        return {topic.split("/")[2]: messages.decode(Ack, ack).state for topic, ack in said} | fleet.settle()

    answers = [(event(0, ODD), event(n, "pi-1")) for n in range(MOST_TRIES)]
    assert answers == [*[({}, {"pi-1": "merged"})] * (MOST_TRIES - 1), ({ODD: "refused"}, {"pi-1": "merged"})]


def test_an_erasure_that_fails_unforeseen_is_asked_for_again_and_never_given_up(
    fleet: Fleet, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    assert fleet.round(0) == ALL
    wish = EraseRecord(f"{ODD}-e1", ODD, asked_at_utc=1.0, record_ids=(ODD_ID,))
    payload = messages.encode(Envelope("erase", wish.erase_id, messages.to_dict(wish)))
    caplog.set_level(logging.ERROR)
    with monkeypatch.context() as patch:
        patch.setattr("server.dataset.erasing.apply", lambda *_: 1 // 0)
        for n in range(1, MOST_TRIES + 2):
            fleet.ingest.handle(ODD, ["up", "event"], payload)
            assert fleet.round(n, devices=("pi-1",)) == {"pi-1": "merged"}
    fleet.ingest.handle(ODD, ["up", "event"], payload)
    assert fleet.settle() == {ODD: "merged"}
    assert ODD_ID not in fleet.merged


@pytest.mark.parametrize("error", [OSError(5, "I/O"), KeyError("unforeseen")], ids=lambda error: type(error).__name__)
def test_files_of_what_could_not_be_merged_are_no_blobs_that_an_erasure_would_not_find(
    fleet: Fleet, error: Exception, monkeypatch: Patch
) -> None:
    def blobs() -> set[str]:
        return {entry.name for place in PLACES for entry in fleet.house.dataset.blobs.listed(place)}

    def fails(row: Mapping[str, Any]) -> dict[str, Any]:
        """After the files were moved."""
        if row["record_id"] in (ODD_ID, again.record.chunk_id):
            raise error
        return stored(row)

    stored, again = part_paths.stored, moment(2, seed=1, device=ODD)
    assert fleet.round(1, devices=DEVICES[:2]) == dict.fromkeys(DEVICES[:2], "merged")
    before = blobs()
    with monkeypatch.context() as patch:
        patch.setattr(part_paths, "stored", fails)
        name = f"{again.record.chunk_id}.container"  # its files are blobs already, of others
        fleet.ingest.handle(ODD, ["up", name, "0"], fleet.container(again))
        assert fleet.round(0, devices=(ODD,)) == {}
    assert (blobs(), fleet.left_over) == (before, [])
    wish = EraseRecord(f"{ODD}-e1", ODD, asked_at_utc=1.0, record_ids=(ODD_ID,))
    assert fleet.house.merge.put_record(ODD, "erase", wish).state == "merged"
    assert blobs() == before
    assert fleet.round(3) == ALL
    assert check(fleet.house.home, fleet.house.clock).findings == ()
