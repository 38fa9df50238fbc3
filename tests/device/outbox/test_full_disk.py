"""A disk without a free byte: what the server has can be let go, what matters more finds room, losses are named."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.outbox import reserve as outbox_reserve
from device.outbox.outbox import Outbox
from tests.device.outbox.records import chunk, correction, jpeg, wav


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 6 MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", where], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small filesystem needs root")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def fill(disk: Path) -> Path:
    """Take every free byte."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    assert shutil.disk_usage(disk).free == 0
    return filler


def seal(box: Outbox, number: int, *, flags: tuple[str, ...] = ("wearer",), size: int = 50_000) -> str:
    return box.seal_chunk(chunk(number, flags=flags), {"frame": jpeg(number, size)}).chunk_id


def test_a_full_disk_can_be_emptied(disk: Path) -> None:
    box = Outbox(disk / "outbox")
    for number in range(40):
        seal(box, number, size=3000)
    fill(disk)
    with pytest.raises(OSError, match="No space"):
        seal(box, 99)
    while items := box.claim(8):
        box.merged(items)
    assert len(box.forget_merged()) == 40
    assert (box.counts().queued, box.counts().lost) == (0, 0)
    box.close()


def test_what_is_held_back_is_not_for_sealing_and_is_taken_back(disk: Path) -> None:
    box = Outbox(disk / "outbox")
    reserve = box.folder / outbox_reserve.NAME
    seal(box, 1)
    filler = fill(disk)
    with pytest.raises(OSError, match="No space"):
        seal(box, 2)
    assert reserve.stat().st_size == outbox_reserve.SIZE_BYTES
    while items := box.claim(8):
        box.merged(items)
    filler.unlink()
    box.forget_merged()
    assert reserve.stat().st_size == outbox_reserve.SIZE_BYTES
    box.close()


def test_a_full_disk_is_opened_and_sent_from(disk: Path) -> None:
    box = Outbox(disk / "outbox")
    for number in range(20):
        seal(box, number, size=3000)
    box.close()
    fill(disk)
    again = Outbox(box.folder)
    assert len(again.claim(100)) == 40
    again.close()


def test_what_matters_more_finds_room_and_what_gave_way_is_named(disk: Path) -> None:
    box = Outbox(disk / "outbox")
    audits = [seal(box, number, flags=("audit",)) for number in range(3)]
    wearer = seal(box, 9)
    fill(disk)
    with pytest.raises(OSError, match="No space") as caught:
        box.seal_correction(correction(1), wav(1, 60_000))
    assert caught.value.errno == errno.ENOSPC
    assert box.evict(70_000, 2).lost == ()
    assert box.evict(70_000, 0).lost == tuple(audits[:2])
    spoken = box.seal_correction(correction(1), wav(1, 60_000)).correction_id
    assert {item.record_id for item in box.claim(100)} == {audits[2], wearer, spoken}
    assert [json.loads(line)["record_id"] for line in (box.folder / "lost.jsonl").read_bytes().splitlines()] == audits[
        :2
    ]
    box.close()


def test_what_never_got_in_is_named_and_counted(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox")
    box.note_lost(["pi-1-b0071-000007"], "the disk did not take it")
    assert box.counts().lost == 1
    assert json.loads((box.folder / "lost.jsonl").read_bytes())["record_id"] == "pi-1-b0071-000007"
    box.close()
