"""What every store of blobs promises, on the folder and on an object store; and that nothing needs more than it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporters.datasets import folder as exporting
from exporters.datasets.formats import write_jsonl
from server.dataset import blobs as stores
from server.dataset.blobs import Blobs, FolderBlobs
from server.ingest.ingest import Ingest
from server.maintenance.check_files import FileCheck, SeenFiles
from server.review.chosen import ChosenRows
from server.review.export import Wanted
from server.web.app import create_app
from shared import messages
from shared.messages import Ack, Begin, Envelope, EraseRecord
from tests.server.dataset.moments import House, Moment, Spoken, moment, sound, spoken
from tests.server.dataset.objects import ObjectBlobs, ObjectServer
from tests.server.web.serving import ask, served

ONE, TWO = b"one" * 1000, b"two" * 2000


def name_of(data: bytes) -> str:
    return f"frames/{hashlib.sha256(data).hexdigest()}.jpg"


class Shelf:
    """A store, and a second look at it as another process has it."""

    def __init__(self, folder: Path, open_store: Callable[[Path], Blobs]) -> None:
        self.folder = folder
        self._open = open_store
        self.blobs = self.other()

    def other(self) -> Blobs:
        return self._open(self.folder)

    def source(self, data: bytes) -> Path:
        path = self.folder / "incoming"
        path.write_bytes(data)
        return path

    def adopt(self, data: bytes) -> str:
        self.blobs.adopt(name_of(data), self.source(data))
        return name_of(data)


@contextmanager
def _shelf(kind: str, folder: Path) -> Iterator[Shelf]:
    if kind == "folder":
        for place in stores.PLACES:
            (folder / "home" / "dataset" / place).mkdir(parents=True)
        yield Shelf(folder, lambda own: FolderBlobs(own / "home" / "dataset"))
        return
    with ObjectServer() as server:
        yield Shelf(folder, lambda own: ObjectBlobs(server.address, own / "cache"))


@pytest.fixture(params=["folder", "objects"])
def shelf(request: pytest.FixtureRequest, memory_path: Path) -> Iterator[Shelf]:
    with _shelf(request.param, memory_path) as shelf:
        yield shelf


def test_what_was_adopted_is_there_at_once_and_for_everybody_once_settled(shelf: Shelf) -> None:
    name = shelf.adopt(ONE)
    assert not (shelf.folder / "incoming").exists()
    assert (shelf.blobs.size(name), shelf.blobs.read(name)) == (len(ONE), ONE)
    assert shelf.blobs.local(name).read_bytes() == ONE
    shelf.blobs.settle("frames")
    other = shelf.other()
    assert (other.size(name), other.read(name), other.local(name).read_bytes()) == (len(ONE), ONE, ONE)


def test_adopting_again_after_a_crash_does_no_harm(shelf: Shelf) -> None:
    name, blobs = shelf.adopt(ONE), shelf.other()  # the process that adopted it was killed before it settled
    blobs.adopt(name, shelf.folder / "incoming")  # which has moved
    blobs.adopt(name, shelf.source(ONE))  # or was sent again
    blobs.settle("frames")
    blobs.settle("frames")
    assert blobs.read(name) == ONE
    blobs.adopt(name, shelf.folder / "incoming")
    with pytest.raises(FileNotFoundError):
        blobs.adopt(name_of(TWO), shelf.folder / "incoming")
    assert [entry.name for entry in blobs.listed("frames")] == [name]


@pytest.mark.parametrize("settled", [False, True])
def test_what_is_given_back_is_a_file_again_and_no_blob(shelf: Shelf, settled: bool) -> None:
    source = shelf.source(ONE)
    assert shelf.blobs.adopt(name_of(ONE), source)
    if settled:
        shelf.blobs.settle("frames")
    assert not shelf.other().adopt(name_of(ONE), shelf.source(ONE))
    shelf.blobs.give_back(name_of(ONE), source)
    shelf.blobs.settle("frames")
    assert source.read_bytes() == ONE
    assert (shelf.blobs.size(name_of(ONE)), shelf.other().size(name_of(ONE))) == (None, None)
    assert list(shelf.blobs.listed("frames")) == []


def test_what_was_put_is_whole_and_putting_it_again_changes_nothing(shelf: Shelf) -> None:
    name = name_of(TWO)
    shelf.blobs.put(name, TWO)
    shelf.blobs.put(name, TWO)
    assert shelf.other().read(name) == TWO


def test_bytes_are_read_from_anywhere_to_anywhere(shelf: Shelf) -> None:
    name, end = shelf.adopt(TWO), len(TWO)
    for settled in (False, True):
        if settled:
            shelf.blobs.settle("frames")
        parts = [(0, 10), (1, 10), (end - 3, 10), (end, 10), (7, None)]
        read = [shelf.blobs.read(name, first=first, most=most) for first, most in parts]
        assert read == [TWO[:10], TWO[1:11], TWO[-3:], b"", TWO[7:]]


def test_what_is_not_there_is_said_so(shelf: Shelf) -> None:
    for name in (name_of(ONE), "frames/none.jpg", ""):
        assert shelf.blobs.size(name) is None
        assert not shelf.blobs.local(name).is_file()
    with pytest.raises(FileNotFoundError):
        shelf.blobs.read(name_of(ONE))
    assert list(shelf.blobs.listed("clips")) == []
    assert stores.used(shelf.blobs, "clips") == 0


def test_a_place_is_listed_with_sizes(shelf: Shelf) -> None:
    names = [shelf.adopt(ONE), shelf.adopt(TWO)]
    shelf.blobs.put("clips/other.mp4", b"clip")
    for settled in (False, True):
        if settled:
            shelf.blobs.settle("frames")
        listed = {entry.name: entry.size for entry in shelf.blobs.listed("frames")}
        assert listed == dict(zip(names, (len(ONE), len(TWO)), strict=True))
        assert stores.used(shelf.blobs, "frames") == len(ONE) + len(TWO)
    assert all(abs(entry.changed_at_s - os.stat(shelf.folder).st_mtime) < 600 for entry in shelf.blobs.listed("frames"))


def test_what_was_removed_is_in_no_copy_and_comes_back_by_nothing(shelf: Shelf) -> None:
    names = [shelf.adopt(ONE), shelf.adopt(TWO)]
    shelf.blobs.settle("frames")
    folder = shelf.other().gathered(names)
    assert [(folder / name).read_bytes() for name in names] == [ONE, TWO]
    copy = shelf.blobs.local(names[0])
    stores.drop(shelf.blobs, [*names, name_of(b"never there")])
    assert not copy.exists()
    assert not any((folder / name).exists() for name in names)
    shelf.blobs.settle("frames")
    for blobs in (shelf.blobs, shelf.other()):
        assert (blobs.size(names[0]), list(blobs.listed("frames"))) == (None, [])
        assert not blobs.local(names[0]).exists()


def test_what_was_removed_before_it_was_settled_stays_away(shelf: Shelf) -> None:
    name = shelf.adopt(ONE)
    stores.drop(shelf.blobs, [name])
    shelf.blobs.settle("frames")
    assert shelf.other().size(name) is None


def test_a_blob_that_is_withdrawn_is_a_file_and_no_blob(shelf: Shelf) -> None:
    name = shelf.adopt(ONE)
    shelf.blobs.settle("frames")
    shelf.blobs.withdraw(name, shelf.folder / "quarantine" / "one.jpg")
    assert (shelf.folder / "quarantine" / "one.jpg").read_bytes() == ONE
    assert shelf.other().size(name) is None


# the whole way, on both


def taken_in(ingest: Ingest, sent: Moment | Spoken, record_id: str, kind: str) -> None:
    """As a device sends it: its files, then its record."""
    device = sent.record.device

    def send(levels: list[str], payload: bytes) -> list[str]:
        replies = ingest.handle(device, ["up", *levels], payload) + ingest.settle()
        return [messages.decode(Ack, answer).state for _, answer in replies]

    for part in sent.record.parts:
        data, name = sent.payloads[part.kind], f"{record_id}.{part.kind}"
        send([name, "begin"], messages.encode(Begin(record_id, part, device)))
        for at in range(0, len(data), 64 * 1024):
            send([name, str(at)], data[at : at + 64 * 1024])
        assert send([name, "end"], b"") == ["merged"]
    event = messages.encode(Envelope(kind, record_id, messages.to_dict(sent.record)))
    assert send(["event"], event) == ["merged"]


def test_a_moment_goes_from_the_intake_to_the_page_the_export_and_its_erasure(shelf: Shelf) -> None:
    house = House(shelf.folder / "home", blobs=shelf.blobs)
    ingest = Ingest(house.home / "incoming", house.merge)
    sent = moment(1, with_clip=True)
    said = spoken(sent.record.chunk_id, sound(5))
    taken_in(ingest, sent, sent.record.chunk_id, "chunk")
    taken_in(ingest, said, said.record.correction_id, "correction")
    [waiting] = house.merge.unheard()
    assert waiting.sound() == sound(5)
    house.merge.put_transcript(
        "pi-1", said.record.correction_id, transcript="cone", confidence=1.0, proposal="Caution, cone on the left."
    )
    [row] = house.dataset.rows()
    with served(create_app(house.store, house.dataset, clock=house.clock, model=lambda: "m")) as site:
        assert f"/media/{row.frame_path}" in ask(f"{site}/").body.decode()
        assert ask(f"{site}/media/{row.frame_path}").body == sent.payloads["frame"]
        part = ask(f"{site}/media/{row.clip_path}", headers={"Range": "bytes=10-19"})
        assert (part.status, part.body) == (206, sent.payloads["clip"][10:20])
        rows = ChosenRows.of(house.store, Wanted(only="all", silence="Nothing."), house.dataset.blobs)
        with exporting.building(shelf.folder / "out") as out:
            write_jsonl(rows, out)
        assert [path.read_bytes() for path in (shelf.folder / "out").glob("frames/*")] == [sent.payloads["frame"]]
        assert looked(house) == []
        wish = EraseRecord("pi-1-e1", "pi-1", 1_700_000_000.0, (sent.record.chunk_id,))
        assert house.merge.put_record("pi-1", "erase", wish).state == "merged"
        assert ask(f"{site}/media/{row.frame_path}").status == 404
    assert [entry for place in ("frames", "clips") for entry in shelf.other().listed(place)] == []
    house.close()


def looked(house: House) -> list[tuple[str, str]]:
    """What the check of the files finds."""
    *_, seen = FileCheck(house.store, house.dataset, house.home, house.clock, repair=False).look(SeenFiles())
    return [(finding.what, finding.name) for finding in seen.findings]


def test_the_check_finds_a_blob_that_is_lost(shelf: Shelf) -> None:
    house = House(shelf.folder / "home", blobs=shelf.blobs)
    house.send(moment(1))
    [row] = house.dataset.rows()
    stores.drop(shelf.blobs, [row.frame_path])
    assert looked(house) == [("file missing", row.frame_path)]
    house.close()


def test_a_batch_of_the_merge_costs_a_request_for_each_file_and_no_more(memory_path: Path) -> None:
    with ObjectServer() as server:
        house = House(memory_path / "home", blobs=ObjectBlobs(server.address, memory_path / "cache"))
        assert {merged.state for merged in house.send_together([moment(n) for n in range(8)])} == {"merged"}
        assert server.asked == {"PUT": len(server.names())}
        house.close()


def test_in_a_folder_a_batch_syncs_each_place_once(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[str]()

    class Counting(FolderBlobs):
        def settle(self, place: str) -> None:
            synced.append(place)
            FolderBlobs.settle(self, place)

    house = House(memory_path / "home", blobs=Counting(memory_path / "home" / "dataset"))
    house.send_together([moment(n, with_clip=True) for n in range(8)])
    assert sorted(synced) == list(stores.PLACES)
    house.close()
