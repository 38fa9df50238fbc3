"""A disk that is full while a chunk is sealed: announced, counted, and guidance goes on. On a real tiny file system."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from device.moments.sealer import MOST_HELD, Parcel, Sealer, least
from device.outbox.outbox import Outbox, Pruned
from shared.messages import ChunkRecord, CorrectionRecord, EraseRecord, HelpRecord
from tests.device.agent.stage import StoryModel, film, presses, run
from tests.device.agent.test_walk import curb_then_pole
from tests.pulse import until


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """One megabyte."""
    folder = tmp_path / "state"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a file system of 1 MB needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_announced_counted_and_guidance_goes_on(tmp_path: Path, tiny_disk: Path) -> None:
    filler = tiny_disk / "filler"
    presses_at = [{"t_s": 1.0 + 2.0 * chunk, "action": "flag"} for chunk in range(10)]
    script = presses(tmp_path, *presses_at)
    walk = film(tmp_path, 20.0)
    filler.write_bytes(b"x" * 500_000)
    done = run(tmp_path, StoryModel(curb_then_pole), walk=walk, buttons__script=str(script), flags__predecessors=0)
    assert done.texts.count("Storage full.") == 1
    assert done.report["not_kept"] > 0
    assert len(done.records) + done.report["not_kept"] == 10
    assert "Caution, pole on the left." in done.texts
    assert done.report["looks"] == 80
    assert [path.name for path in (tiny_disk / "outbox").iterdir() if path.name.endswith(".sealing")] == []


class Disk:
    """Stands for the outbox on a disk that fails when asked to: only the operating system's answer is made up."""

    def __init__(self) -> None:
        self.full = 0
        self.merged: tuple[str, ...] = ()
        self.sealed: list[str] = []
        self.named: list[str] = []

    def seal_chunk(self, record: ChunkRecord, payloads: Mapping[str, bytes]) -> ChunkRecord:
        if self.full:
            raise OSError(self.full, os.strerror(self.full))
        self.sealed.append(record.chunk_id)
        return record

    def seal_correction(self, record: CorrectionRecord, wav: bytes) -> CorrectionRecord:
        raise AssertionError("no corrections here")

    def seal_erase(self, record: EraseRecord) -> EraseRecord:
        raise AssertionError("nothing is erased here")

    def seal_help(self, record: HelpRecord) -> HelpRecord:
        raise AssertionError("nobody asks for help here")

    def prune(self, limit_bytes: int) -> Pruned:
        return Pruned((), ())

    def evict(self, need_bytes: int, importance: int) -> Pruned:
        return Pruned()

    def note_lost(self, record_ids: Iterable[str], why: str) -> None:
        if self.full:
            raise OSError(self.full, os.strerror(self.full))
        self.named += record_ids

    def forget_merged(self) -> tuple[str, ...]:
        if self.merged:
            self.full = 0
        return self.merged


def parcel(number: int, payloads: Mapping[str, bytes] | None = None, *, flag: str = "wearer") -> Parcel:
    record = ChunkRecord(
        f"dev-1-boot-{number}",
        "dev-1",
        "boot",
        number,
        "dev-1-boot",
        0.0,
        2.0,
        0.0,
        False,
        (flag,),
        "",
        "",
        0.0,
        "",
        (),
    )
    return Parcel(record, payloads or {})


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "Storage full."), (errno.EIO, "Storage failed.")])
def test_what_could_not_be_sealed_is_sealed_when_the_disk_takes_it_again(number: int, said: str) -> None:
    disk, announced = Disk(), list[str]()
    sealer = Sealer(disk, announce=announced.append, answer=announced.append, sealed=lambda _: None, limit_bytes=10**9)
    sealer.start()
    disk.full = number
    for chunk in range(3):
        sealer.store(parcel(chunk))
    until(lambda: sealer.held == 3, "three held chunks")
    assert (announced, sealer.trouble) == ([said], said)
    disk.full = 0
    sealer.store(parcel(3))
    until(lambda: len(disk.sealed) == 4, "all four")
    sealer.close()
    assert disk.sealed == [f"dev-1-boot-{chunk}" for chunk in range(4)]
    assert announced == [said, "Storage is working again."]
    assert (sealer.lost, sealer.trouble) == (0, None)


def test_what_the_server_has_gives_way_to_a_new_chunk() -> None:
    disk, announced = Disk(), list[str]()
    disk.full, disk.merged = errno.ENOSPC, ("dev-1-boot-0",)
    sealer = Sealer(disk, announce=announced.append, answer=announced.append, sealed=lambda _: None, limit_bytes=10**9)
    sealer.start()
    sealer.store(parcel(1))
    until(lambda: disk.sealed == ["dev-1-boot-1"], "the new chunk")
    sealer.close()
    assert announced == []


def test_a_disk_that_stays_full_costs_no_memory_without_bound_and_all_that_is_lost_is_counted() -> None:
    disk = Disk()
    disk.full = errno.ENOSPC
    sealer = Sealer(disk, announce=lambda _: None, answer=lambda _: None, sealed=lambda _: None, limit_bytes=10**9)
    sealer.start()
    for chunk in range(MOST_HELD + 5):
        sealer.store(parcel(chunk))
    until(lambda: sealer.lost == 5, "five lost chunks")
    assert sealer.held == MOST_HELD
    sealer.close()
    assert (sealer.held, sealer.lost) == (0, MOST_HELD + 5)


def test_what_is_given_up_is_named_as_soon_as_the_disk_takes_that() -> None:
    disk = Disk()
    disk.full = errno.ENOSPC
    sealer = Sealer(disk, announce=lambda _: None, answer=lambda _: None, sealed=lambda _: None, limit_bytes=10**9)
    sealer.start()
    for chunk in range(MOST_HELD + 3):
        sealer.store(parcel(chunk))
    until(lambda: sealer.lost == 3, "three lost chunks")
    assert disk.named == []
    disk.full = 0
    sealer.store(parcel(99))
    until(lambda: len(disk.named) == 3, "their names")
    sealer.close()
    assert disk.named == [f"dev-1-boot-{chunk}" for chunk in range(3)]
    assert len(disk.sealed) == MOST_HELD + 1


def test_what_matters_least_is_given_up_first_and_of_that_the_oldest() -> None:
    held = [parcel(1), parcel(2, flag="audit"), parcel(3, flag="audit"), parcel(4)]
    order = []
    while held:
        order.append(least(held))
        held.remove(order[-1])
    assert [one.name[-1] for one in order] == ["2", "3", "1", "4"]


def test_on_a_full_disk_a_moment_of_the_wearers_takes_the_place_of_a_random_one(tiny_disk: Path) -> None:
    announced, sealed = list[str](), list[Parcel]()
    box = Outbox(tiny_disk / "outbox")
    sealer = Sealer(box, announce=announced.append, answer=announced.append, sealed=sealed.append, limit_bytes=10**9)
    sealer.start()
    for number in range(3):
        sealer.store(parcel(number, {"frame": b"x" * 250_000}, flag="audit"))
    sealer.store(parcel(9, {"frame": b"x" * 250_000}))
    until(lambda: len(sealed) == 4, "four sealed chunks")
    sealer.close()
    assert (tiny_disk / "outbox" / "dev-1-boot-9").is_dir()
    assert b"dev-1-boot-0" in (tiny_disk / "outbox" / "lost.jsonl").read_bytes()
    box.close()
    assert (sealer.lost, announced) == (1, ["Storage full. Old moments were dropped."])


def test_the_outbox_is_held_to_its_size_and_what_is_dropped_is_announced_and_counted(tmp_path: Path) -> None:
    announced, sealed = list[str](), list[Parcel]()
    box = Outbox(tmp_path / "outbox")
    sealer = Sealer(box, announce=announced.append, answer=announced.append, sealed=sealed.append, limit_bytes=300_000)
    sealer.start()
    for chunk in range(5):
        sealer.store(Parcel(parcel(chunk).record, {"frame": b"x" * 100_000}))
    until(lambda: len(sealed) == 5, "five sealed chunks")
    sealer.close()
    counts = box.counts()
    box.close()
    assert counts.queued == 2
    assert sealer.lost == 3
    assert set(announced) == {"Storage full. Old moments were dropped."}


def test_a_card_that_takes_nothing_is_logged_once_and_not_at_each_moment(caplog: pytest.LogCaptureFixture) -> None:
    disk, announced = Disk(), list[str]()
    sealer = Sealer(disk, announce=announced.append, answer=announced.append, sealed=lambda _: None, limit_bytes=10**9)
    sealer.start()
    disk.full = errno.EROFS
    for chunk in range(MOST_HELD + 30):
        sealer.store(parcel(chunk))
    until(lambda: sealer.lost == 30, "what does not fit in memory")
    assert announced == ["Storage failed."]
    assert len([line for line in caplog.records if line.levelname == "ERROR"]) == 2
    disk.full = 0
    sealer.store(parcel(200))
    until(lambda: announced == ["Storage failed.", "Storage is working again."], "the card")
    sealer.close()
    assert "30 records were lost meanwhile" in caplog.text
    assert len(disk.named) == 30


def test_a_light_that_fails_and_an_outbox_with_a_fault_do_not_end_what_keeps_moments() -> None:
    disk, announced, sealed = Disk(), list[str](), list[str]()

    def light(done: Parcel) -> None:
        sealed.append(done.name)
        raise RuntimeError("the pin is in use")

    sealer = Sealer(disk, announce=announced.append, answer=announced.append, sealed=light, limit_bytes=10**9)
    sealer.start()
    for chunk in range(2):
        sealer.store(parcel(chunk))
    until(lambda: len(sealed) == 2, "the second one")
    good, disk.sealed = disk.sealed, None  # type: ignore[assignment]
    sealer.store(parcel(2))
    until(lambda: announced == ["Storage failed."], "the fault to be said")
    disk.sealed = good
    sealer.store(parcel(3))
    until(lambda: announced[1:] == ["Storage is working again."] and len(sealed) == 4, "all of it")
    sealer.close()
    assert sealer.lost == 0
