"""What a night changed travels as a difference: the device makes the files, and their hashes decide."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from device.updates.slots import BASES, FOLDER, current_slot
from shared import assembly
from shared.assembly import Patch, PatchedFile
from shared.bundle import DELTA_NAME
from tests.device.updates.house import Device, Server
from tests.shared.bundle.bundles import contents, delta_of, flip_byte

DECODER = "decoder_model_merged.onnx"
SIZES = {DECODER: 1_000_000, "tokenizer.json": 5_000}
BASE = contents(SIZES)


def every_block(seed: int) -> dict[int, bytes]:
    """A few bytes in each of the decoder's blocks: none of them stays."""
    return {at: random.Random(f"{seed} {at}").randbytes(40) for at in range(1000, SIZES[DECODER], 30_000)}


def night(server: Server, version: str, seed: int, *, base: bytes = BASE[DECODER]) -> str:
    """A night from the base; the SHA-256 of its decoder."""
    made, delta = delta_of(DECODER, base, every_block(seed))
    manifest = server.register(version, BASE | {DECODER: made, DELTA_NAME: delta})
    entry = manifest.entry(DECODER)
    assert entry is not None
    return entry.sha256


@pytest.fixture
def installed(server: Server, device: Device) -> Device:
    """A device with the base, which it had as its first model."""
    server.register("m1", BASE)
    device.install("m1")
    device.carried.clear()
    return device


def kept(device: Device) -> list[Path]:
    folder = device.state_dir / FOLDER / BASES
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_of_a_night_only_the_difference_is_fetched(server: Server, installed: Device) -> None:
    decoder = night(server, "m2", 2)
    installed.install("m2")
    assert installed.current == "m2"
    assert installed.carried[decoder] == 0
    assert installed.carried.total() < 10_000
    assert installed.updater.reports[-1].copied_bytes == sum(SIZES.values())


def test_the_base_stays_when_its_model_has_left_both_slots(server: Server, installed: Device) -> None:
    for number in (2, 3, 4):
        decoder = night(server, f"m{number}", number)
        installed.install(f"m{number}")
        assert installed.carried[decoder] == 0
    assert (installed.current, installed.previous) == ("m4", "m3")
    assert [path.read_bytes() for path in kept(installed)] == [BASE[DECODER]]


def test_a_night_from_another_base_is_fetched_and_takes_the_old_bases_place(server: Server, installed: Device) -> None:
    night(server, "m2", 2)
    installed.install("m2")
    other = contents(SIZES, seed=9)[DECODER]
    decoder = night(server, "m3", 3, base=other)
    installed.install("m3")
    assert installed.current == "m3"
    assert installed.carried[decoder] == SIZES[DECODER]
    assert kept(installed) == []


def test_a_damaged_base_makes_nothing_and_the_files_are_fetched(server: Server, installed: Device) -> None:
    slot = current_slot(installed.state_dir)
    assert slot is not None
    flip_byte(slot / DECODER, at=77)
    decoder = night(server, "m2", 2)
    installed.install("m2")
    assert installed.current == "m2"
    assert installed.carried[decoder] == SIZES[DECODER]


def lying(base: bytes) -> bytes:
    """A well-formed difference that makes other bytes than the manifest lists."""
    return delta_of(DECODER, base, every_block(5))[1]


def outside(base: bytes) -> bytes:
    """A patch behind the end of its file."""
    return _written([Patch("raw", len(base) - 1, 2)], [b"ab"], base)


def huge(base: bytes) -> bytes:
    """Weights that are not there."""
    return _written([Patch("float", 0, 0, rows=2**31, columns=200_000)], [], base)


def _written(patches: list[Patch], data: list[bytes], base: bytes) -> bytes:
    def change(delta: Path) -> None:
        file = assembly.read(delta).files[0]
        assembly.write(delta, [(PatchedFile(file.path, file.base_sha256, len(base), tuple(patches)), data)])

    return _with(base, change)


def _with(base: bytes, change: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DELTA_NAME
        path.write_bytes(delta_of(DECODER, base, every_block(2))[1])
        change(path)
        return path.read_bytes()


@pytest.mark.parametrize(
    "forged",
    [lying, outside, huge, lambda base: b"", lambda base: b"WCDELTA1\xff\xff\xff\xff", lambda base: bytes(9000)],
    ids=["other bytes", "outside", "huge", "empty", "long header", "noise"],
)
def test_a_difference_that_is_not_right_costs_bytes_and_nothing_else(
    server: Server, installed: Device, forged: Callable[[bytes], bytes]
) -> None:
    made, _ = delta_of(DECODER, BASE[DECODER], every_block(2))
    manifest = server.register("m2", BASE | {DECODER: made, DELTA_NAME: forged(BASE[DECODER])})
    installed.install("m2")
    entry = manifest.entry(DECODER)
    assert entry is not None
    assert installed.current == "m2"
    assert installed.carried[entry.sha256] == SIZES[DECODER]


def test_a_file_begun_by_blocks_is_made_where_the_difference_comes_later(server: Server, installed: Device) -> None:
    """As of an agent that was updated in the middle of a fetch."""
    decoder = night(server, "m2", 2)
    installed.updater.on_offer(server.offer("m2"))
    installed.spoil = lambda sha256, offset, data: None if offset == 0 else data
    for _ in range(30):
        installed.updater.tick()
        installed.deliver(1)
        installed.clock.sleep(1)
    installed.spoil = lambda sha256, offset, data: data
    installed.restart()
    installed.go(lambda: installed.updater.phase == "probation")
    assert installed.current == "m2"
    assert installed.carried[decoder] == 0


def test_a_full_disk_waits_and_then_it_is_made(
    server: Server, installed: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = night(server, "m2", 2)
    real = assembly.assemble

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(assembly, "assemble", full)
    installed.updater.on_offer(server.offer("m2"))
    installed.go(lambda: "the disk is full" in installed.text())
    monkeypatch.setattr(assembly, "assemble", real)
    installed.go(lambda: installed.updater.phase == "probation")
    assert installed.carried[decoder] == 0


def test_where_a_file_system_has_no_links_the_night_after_the_next_is_fetched(
    server: Server, installed: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    fetched = []
    for number in (2, 3, 4):
        decoder = night(server, f"m{number}", number)
        installed.install(f"m{number}")
        fetched.append(installed.carried[decoder] > 0)
    assert fetched == [False, False, True]
    assert installed.current == "m4"
