"""What the server refused can be sent again, also while an agent has the outbox open, and never half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from device.outbox import inspect
from device.outbox.outbox import Outbox
from shared import atomic
from shared.errors import MessageError
from tests.device.outbox.records import chunk, payloads


@pytest.fixture
def box(memory_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(memory_path / "outbox")
    yield outbox
    outbox.close()


def refused(box: Outbox, number: int = 1, why: str = "not ours") -> str:
    own = box.seal_chunk(chunk(number), payloads(number)).chunk_id
    items = box.claim(100)
    box.refused(next(item for item in items if item.record_id == own and item.kind == "record"), why)
    box.release(items)
    assert (box.folder / "failed" / own).is_dir()
    return own


def test_a_refused_record_waits_again_as_a_whole_and_the_server_is_asked_first(box: Outbox) -> None:
    own = refused(box)
    heard: list[int] = []
    box.on_change(lambda: heard.append(1))
    box.retry(own)
    items = box.claim(10)
    assert [item.kind for item in items] == ["record", "frame", "audio"]
    assert all(item.resumed for item in items)
    assert heard == [1]
    assert (box.counts().queued, box.counts().failed) == (1, 0)
    assert not (box.folder / own / "reason.json").exists()
    box.merged(items)
    assert box.forget_merged() == (own,)


def test_refused_again_it_goes_back_with_the_new_reason(box: Outbox) -> None:
    own = refused(box)
    box.retry(own)
    box.refused(box.claim(1)[0], "still not ours")
    assert [failure.record_id for failure in box.failures()] == [own]
    assert "still not ours" in box.failures()[0].reason


@pytest.mark.parametrize("name", ["nothing", "../escape", "", "pi-1-b0071-000001"])
def test_only_what_was_refused_can_be_retried(box: Outbox, name: str) -> None:
    box.seal_chunk(chunk(1), payloads(1))
    with pytest.raises(MessageError, match="not among the refused"):
        box.retry(name)
    assert box.counts().queued == 1


def test_a_damaged_record_stays_where_it_is(box: Outbox) -> None:
    own = refused(box)
    (box.folder / "failed" / own / "audio.wav").write_bytes(b"short")
    with pytest.raises(MessageError, match="damaged"):
        box.retry(own)
    assert box.counts().failed == 1


def test_a_note_is_taken_up_by_the_process_that_has_the_outbox_open(box: Outbox) -> None:
    own = refused(box)
    note = inspect.ask_retry(box.folder, own)
    box.retry_requested()
    assert not note.exists()
    assert box.counts().queued == 1


def test_a_note_that_nobody_took_up_is_done_at_the_next_start(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox")
    own = refused(box)
    inspect.ask_retry(box.folder, own)
    (box.folder / ".retry" / "half.part").write_bytes(b"")  # left by a crash while a note was written
    box.close()
    again = Outbox(box.folder)
    assert (again.counts().queued, again.counts().failed) == (1, 0)
    again.close()


def test_a_note_about_something_that_is_gone_does_no_harm(box: Outbox) -> None:
    own = refused(box)
    note = inspect.ask_retry(box.folder, own)
    atomic.remove_tree(box.folder / "failed" / own)
    box.retry_requested()
    assert not note.exists()
