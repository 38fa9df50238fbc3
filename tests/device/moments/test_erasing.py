"""The sealer and a real outbox: what is to be erased is deleted, also what the disk has not taken yet."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device.moments.sealer import Parcel, Sealer
from device.outbox import inspect
from device.outbox.outbox import Outbox
from shared.messages import EraseRecord
from tests.device.outbox.records import chunk, correction, payloads, wav
from tests.pulse import until

WISH = EraseRecord("pi-1-b0071-e001", "pi-1", 0.0, (), "b0071", from_s=2.0, to_s=4.0)


class Card(Outbox):
    """A card that is full while it is said to be."""

    full = False

    def _seal(self, *arguments: object) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "no space left")
        super()._seal(*arguments)  # type: ignore[arg-type]


class Keeping:
    def __init__(self, folder: Path) -> None:
        self.box = Card(folder, boot="b")
        self.said: list[str] = []
        self.kept: list[str] = []
        self.sealer = Sealer(
            self.box,
            announce=self.said.append,
            answer=self.said.append,
            sealed=lambda parcel: self.kept.append(parcel.name),
            limit_bytes=10**9,
        )
        self.sealer.start()

    def names(self) -> set[str]:
        return {path.name for path in self.box.folder.iterdir() if path.is_dir() and path.name != "failed"}

    def close(self) -> None:
        self.sealer.close()
        self.box.close()


@pytest.fixture
def keeping(memory_path: Path) -> Iterator[Keeping]:
    made = Keeping(memory_path / "outbox")
    yield made
    made.close()


def of_chunk(number: int) -> Parcel:
    return Parcel(chunk(number), payloads(number))


def test_what_was_sealed_is_deleted_what_is_outside_of_the_time_is_not_and_it_is_said_once_it_is_durable(
    keeping: Keeping,
) -> None:
    spoken = Parcel(correction(1), {"correction_audio": wav(1)})
    for parcel in (of_chunk(0), of_chunk(1), spoken, of_chunk(2), Parcel(WISH, {}, "Last 5 minutes forgotten.")):
        keeping.sealer.store(parcel)
    until(lambda: keeping.said == ["Last 5 minutes forgotten."], "the erasure")
    assert keeping.names() == {chunk(0).chunk_id, chunk(2).chunk_id, WISH.erase_id}
    counts = keeping.box.counts()
    assert (counts.queued, counts.lost, counts.failed) == (3, 0, 0)
    items = keeping.box.claim(1)
    assert items[0].record_id == WISH.erase_id, "before moments that wait"
    assert inspect.lost(keeping.box.folder) == []


def test_what_a_full_card_has_not_taken_yet_never_gets_there(keeping: Keeping) -> None:
    keeping.box.full = True
    keeping.sealer.store(of_chunk(1))
    until(lambda: keeping.said == ["Storage full."], "the full card")
    keeping.sealer.store(Parcel(WISH, {}, "Last 5 minutes forgotten."))
    until(lambda: keeping.said == ["Storage full.", "Not erased yet."], "an answer")
    assert keeping.sealer.held == 1
    keeping.box.full = False
    keeping.sealer.store(of_chunk(3))
    until(lambda: chunk(3).chunk_id in keeping.kept, "the card to work")
    assert keeping.names() == {WISH.erase_id, chunk(3).chunk_id}
    assert keeping.said[2:] == ["Storage is working again.", "Last 5 minutes forgotten."]
    assert keeping.sealer.lost == 0


def test_refused_records_are_erased_too_and_the_wish_names_them(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    box.seal_chunk(chunk(1), payloads(1))
    for item in box.claim(10):
        box.refused(item, "too large")
    assert [failure.record_id for failure in box.failures()] == [chunk(1).chunk_id]
    assert box.seal_erase(WISH).record_ids == (chunk(1).chunk_id,)
    assert box.failures() == []
    assert not list((box.folder / "failed").iterdir())
    assert box.seal_erase(replace(WISH, erase_id="pi-1-b0071-e002")).record_ids == ()
    box.close()


def test_what_is_being_sent_is_deleted_and_an_answer_about_it_does_no_harm(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    box.seal_chunk(chunk(1), payloads(1))
    items = box.claim(10)
    box.seal_erase(WISH)
    box.merged(items[:1])
    box.refused(items[1], "gone")
    box.release(items)
    assert {item.record_id for item in box.claim(10)} == {WISH.erase_id}
    box.close()
    again = Outbox(memory_path / "outbox")
    assert (again.recovered.lost, again.recovered.damaged, again.failures()) == ((), (), [])
    again.close()


def test_a_refused_wish_is_sent_again_at_each_start_also_where_the_index_is_lost(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    box.seal_chunk(chunk(9), payloads(9))
    box.seal_erase(WISH)
    for item in box.claim(10):
        box.refused(item, "This server takes no 'erase' events.")
    counts = box.counts()
    assert (counts.failed, counts.failed_erasures) == (2, 1)
    box.close()
    for again in range(2):
        box = Outbox(memory_path / "outbox")
        counts = box.counts()
        assert (counts.failed, counts.failed_erasures) == (1, 0)
        (item,) = box.claim(10)
        assert item.record_id == WISH.erase_id
        box.refused(item, "This server takes no 'erase' events.")
        box.close()
        if again == 0:
            for path in box.folder.glob("index.sqlite*"):
                path.unlink()


def test_a_wish_that_waits_is_never_given_up_to_make_room(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    box.seal_chunk(chunk(9), payloads(9))
    box.seal_erase(WISH)
    assert box.prune(0).lost == (chunk(9).chunk_id,)
    assert box.evict(10**9, -1).lost == ()
    assert [item.record_id for item in box.claim(10)] == [WISH.erase_id]
    box.close()
