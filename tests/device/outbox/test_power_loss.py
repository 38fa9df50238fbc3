"""The index is synced only before something is deleted: what a power cut takes back of it is asked for, and nothing is
lost, sent as new, or reported lost that the server has.

A process that is killed leaves its commits to the kernel; only power takes them. So the cut is played by hand: the
index as it was at its last sync is put in the place of the newer one, the folders stay, and the boot is another one.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from device.outbox.index import Index
from device.outbox.outbox import Outbox, Recovery
from tests.device.outbox.records import chunk, payloads


class Watched(Index):
    """An index that keeps a copy of itself as the disk surely holds it."""

    copy: Path

    def make_durable(self) -> None:
        super().make_durable()
        with sqlite3.connect(self.path) as source, sqlite3.connect(self.copy) as target:
            source.backup(target)
        source.close()
        target.close()


def as_it_lies(box: Outbox) -> Path:
    """The files of an open outbox, as kill -9 leaves them."""
    left = box.folder.with_name("left")
    shutil.copytree(box.folder, left)
    return left


@pytest.fixture
def cut_power(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Outbox], Outbox]:
    """Returns the outbox as it is found when the power is back."""
    Watched.copy = memory_path / "synced.sqlite"
    monkeypatch.setattr("device.outbox.index.Index", Watched)

    def cut(box: Outbox) -> Outbox:
        left = as_it_lies(box)
        for suffix in ("-wal", "-shm"):
            (left / f"index.sqlite{suffix}").unlink(missing_ok=True)
        shutil.copy(Watched.copy, left / "index.sqlite")
        box.close()
        return Outbox(left, boot="bbbbbbbb")

    return cut


def test_what_was_being_sent_is_asked_for_and_not_sent_as_new(
    memory_path: Path, cut_power: Callable[[Outbox], Outbox]
) -> None:
    box = Outbox(memory_path / "outbox", boot="aaaaaaaa")
    for number in range(3):
        box.seal_chunk(chunk(number), payloads(number))
    box.merged(box.claim(5))
    again = cut_power(box)
    items = again.claim(100)
    assert len(items) == 9  # the five merged ones, too: the server says that it has them
    assert all(item.resumed for item in items)
    assert again.recovered.lost == again.recovered.damaged == ()
    again.close()


def test_what_was_merged_and_deleted_is_not_reported_lost(
    memory_path: Path, cut_power: Callable[[Outbox], Outbox]
) -> None:
    box = Outbox(memory_path / "outbox", boot="aaaaaaaa")
    for number in range(3):
        box.seal_chunk(chunk(number), payloads(number))
    box.merged(box.claim(6))
    assert len(box.forget_merged()) == 2
    again = cut_power(box)
    assert again.recovered.lost == ()
    assert (again.counts().lost, again.counts().merged, again.counts().queued) == (0, 2, 1)
    assert not (again.folder / "lost.jsonl").exists()
    again.close()


def test_what_was_given_up_is_named_and_stays_given_up(
    memory_path: Path, cut_power: Callable[[Outbox], Outbox]
) -> None:
    box = Outbox(memory_path / "outbox", boot="aaaaaaaa")
    own = box.seal_chunk(chunk(1), payloads(1)).chunk_id
    assert box.prune(0).lost == (own,)
    again = cut_power(box)
    assert own in (again.folder / "lost.jsonl").read_text()
    assert (again.counts().lost, again.counts().queued) == (1, 0)
    again.close()


@pytest.mark.parametrize(("boot", "asked"), [("aaaaaaaa", False), ("bbbbbbbb", True)])
def test_only_another_boot_without_a_close_means_that_power_was_cut(memory_path: Path, boot: str, asked: bool) -> None:
    box = Outbox(memory_path / "outbox", boot="aaaaaaaa")
    box.seal_chunk(chunk(1), payloads(1))
    again = Outbox(as_it_lies(box), boot=boot)
    assert {item.resumed for item in again.claim(10)} == {asked}
    again.close()
    box.close()


def test_after_a_close_a_new_boot_asks_nothing(memory_path: Path) -> None:
    box = Outbox(memory_path / "outbox", boot="aaaaaaaa")
    box.seal_chunk(chunk(1), payloads(1))
    box.close()
    again = Outbox(box.folder, boot="bbbbbbbb")
    assert again.recovered == Recovery()
    assert {item.resumed for item in again.claim(10)} == {False}
    again.close()
