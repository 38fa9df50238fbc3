"""What did not change is not sent again: blocks of the models on the device are found, hashed again and used."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from device.updates.slots import current_slot
from shared import bundle
from shared.bundle import BLOCK_BYTES, BLOCKS_NAME
from tests.device.updates.house import Device, Server
from tests.shared.bundle.bundles import contents, flip_byte, make_bundle

SIZES = {"vision_encoder.onnx": 900_000, "decoder_model_merged.onnx": 1_000_000, "tokenizer.json": 5_000}


def changed(data: bytes, *numbers: int) -> bytes:
    """With the first byte of these blocks altered."""
    out = bytearray(data)
    for number in numbers:
        out[number * BLOCK_BYTES] ^= 1
    return bytes(out)


def installed(server: Server, device: Device) -> dict[str, bytes]:
    files = contents(SIZES)
    server.register("m1", files)
    device.install("m1")
    device.carried.clear()
    return files


def test_of_a_changed_file_only_the_changed_blocks_are_fetched(server: Server, device: Device) -> None:
    files = installed(server, device)
    decoder = "decoder_model_merged.onnx"
    second = server.register("m2", files | {decoder: changed(files[decoder], 3, 9)})
    device.install("m2")
    entry = second.entry(decoder)
    assert entry is not None
    assert device.carried[entry.sha256] == 2 * BLOCK_BYTES
    assert device.current == "m2"
    report = device.updater.reports[-1]
    assert report.copied_bytes == sum(SIZES.values()) - 2 * BLOCK_BYTES
    assert report.fetched_bytes == device.carried.total()


def test_blocks_are_found_in_other_files_and_at_other_places(server: Server, device: Device) -> None:
    files = installed(server, device)
    vision = files["vision_encoder.onnx"]
    moved = vision[4 * BLOCK_BYTES : 8 * BLOCK_BYTES] + random.Random(5).randbytes(BLOCK_BYTES)
    second = server.register("m2", files | {"adapter.onnx": moved})
    device.install("m2")
    entry = second.entry("adapter.onnx")
    assert entry is not None
    assert device.carried[entry.sha256] == BLOCK_BYTES


def test_blocks_of_the_model_before_count_too(server: Server, device: Device) -> None:
    files = installed(server, device)
    server.register("m2", contents(SIZES, seed=2))
    device.install("m2")
    device.carried.clear()
    decoder = "decoder_model_merged.onnx"
    third = server.register("m3", files | {decoder: changed(files[decoder], 0)})
    device.install("m3")
    entry = third.entry(decoder)
    assert entry is not None
    assert device.carried[entry.sha256] == BLOCK_BYTES


def test_a_damaged_block_on_the_device_is_fetched_and_not_copied(server: Server, device: Device) -> None:
    files = installed(server, device)
    decoder = "decoder_model_merged.onnx"
    second = server.register("m2", files | {decoder: changed(files[decoder], 3)})
    slot = current_slot(device.state_dir)
    assert slot is not None
    flip_byte(slot / decoder, at=5 * BLOCK_BYTES + 7)
    device.install("m2")
    entry = second.entry(decoder)
    assert entry is not None
    assert device.carried[entry.sha256] == 2 * BLOCK_BYTES
    assert device.current == "m2"


def test_a_cut_after_the_reuse_forgets_nothing(server: Server, device: Device) -> None:
    files = installed(server, device)
    decoder = "decoder_model_merged.onnx"
    numbers = (0, 2, 4, 6, 8, 10, 12)
    second = server.register("m2", files | {decoder: changed(files[decoder], *numbers)})
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.counters["copied_bytes"] > 900_000)
    device.restart()
    device.go(lambda: device.updater.phase == "probation")
    entry = second.entry(decoder)
    assert entry is not None
    assert device.carried[entry.sha256] <= len(numbers) * BLOCK_BYTES + device.settings.window_bytes
    assert device.updater.reports[-1].copied_bytes < 900_000  # written before the cut, and not written again


def test_a_bundle_without_blocks_is_fetched_whole_as_before(server: Server, device: Device, tmp_path: Path) -> None:
    files = installed(server, device)
    made = tmp_path / "plain"
    decoder = "decoder_model_merged.onnx"
    manifest = make_bundle(made, "m2", files | {decoder: changed(files[decoder], 3)}, block_bytes=0)
    assert manifest.entry(BLOCKS_NAME) is None
    server.registry.add(made)
    device.install("m2")
    entry = manifest.entry(decoder)
    assert entry is not None
    assert device.carried[entry.sha256] == SIZES[decoder]


def test_a_list_of_blocks_that_lies_costs_bytes_and_nothing_else(
    server: Server, device: Device, tmp_path: Path
) -> None:
    files = installed(server, device)
    made = tmp_path / "lying"
    make_bundle(made, "m2", files | {"tokenizer.json": b"{}"}, block_bytes=0)
    (made / "manifest.json").unlink()
    (made / BLOCKS_NAME).write_bytes(bytes(32))  # too short for its files, and well listed
    bundle.write_bundle(made, bundle.Manifest(1, "m2", 1.0, "", "", "demo", (), {}, {}), block_bytes=0)
    server.registry.add(made)
    device.install("m2")
    assert device.current == "m2"


def test_a_disk_without_room_says_how_much_is_missing_and_tells_the_wearer_once(
    server: Server, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(server, device)
    server.register("m2", contents(SIZES, seed=2))
    free = shutil_usage(free=500_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: "too full" in device.text())
    for _ in range(300):
        device.updater.tick()
        device.clock.sleep(1)
    assert device.announced == ["Update waits. Storage is full."]
    assert "2 MB must be free" in device.text()
    assert "0 MB are" in device.text()
    monkeypatch.undo()
    device.go(lambda: device.updater.phase == "probation")
    assert device.current == "m2"


class shutil_usage:  # noqa: N801 (stands for shutil's own named tuple)
    def __init__(self, *, free: int) -> None:
        self.free = free
