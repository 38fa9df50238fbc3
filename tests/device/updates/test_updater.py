"""The updater on real files: fetched, checked, tested, switched, proven, or taken back.

Over 500 lines because the stage at the top (a real server side, a real disk, a clock) serves every story below it.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.updates.slots import current_slot
from device.updates.state import Settings
from device.updates.updater import UpdateReport
from server.releases.blocks import MAX_BLOCKS
from shared import bundle, messages
from shared.errors import ConfigError
from shared.messages import Offer, Want
from tests.device.updates.house import QUICK, Device, Server, offer_of
from tests.shared.bundle.bundles import SMALL, contents, flip_byte

BIG = {"vision_encoder.onnx": 4_000_000, "decoder_model_merged.onnx": 1_900_000, "tokenizer.json": 100_000}


def hashes(manifest: bundle.Manifest) -> dict[str, str]:
    return {entry.path: entry.sha256 for entry in manifest.files}


def test_the_first_model_is_fetched_tested_and_put_in_use(server: Server, device: Device) -> None:
    manifest = server.register("m1")
    assert current_slot(device.state_dir) is None
    device.standing = False  # nobody to disturb yet: the first model does not wait
    device.install("m1")
    assert device.current == "m1"
    assert device.loaded == ["m1"]
    assert device.selftests == [device.state_dir / "models" / "incoming"]
    assert device.text() == "idle"
    assert device.carried.total() == manifest.size_bytes + len(bundle.manifest_bytes(manifest))
    (report,) = device.updater.reports
    assert isinstance(report, UpdateReport)
    assert (report.from_version, report.to_version, report.copied_bytes) == ("", "m1", 0)
    assert report.fetched_bytes == device.carried.total()
    assert not (device.state_dir / "models" / "incoming").exists()


def test_the_same_offer_again_changes_nothing(server: Server, device: Device) -> None:
    server.register("m1")
    device.install("m1")
    device.updater.on_offer(server.offer("m1"))
    device.restart()
    device.updater.on_offer(server.offer("m1"))
    device.updater.tick()
    assert not device.wire
    assert (device.current, device.text(), device.loaded) == ("m1", "idle", ["m1"])
    assert device.updater.current_version == "m1"


def test_a_new_version_fetches_only_the_files_that_changed(server: Server, device: Device) -> None:
    server.register("m1")
    second = server.register("m2", contents() | {"decoder_model_merged.onnx": b"retrained" * 9000})
    device.install("m1")
    device.carried.clear()
    device.install("m2")
    changed, listed = hashes(second)["decoder_model_merged.onnx"], second.entry(bundle.BLOCKS_NAME)
    assert listed is not None
    manifest_bytes = len(bundle.manifest_bytes(second))
    assert device.carried.total() == 81_000 + manifest_bytes + listed.size_bytes
    assert device.carried[changed] == 81_000
    assert (device.current, device.previous) == ("m2", "m1")
    report = device.updater.reports[-1]
    assert (report.from_version, report.to_version) == ("m1", "m2")
    assert report.copied_bytes == sum(SMALL.values()) - SMALL["decoder_model_merged.onnx"]


def test_the_offer_of_the_previous_model_is_followed_without_fetching(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.install("m2")
    device.carried.clear()
    device.install("m1")
    assert (device.current, device.previous) == ("m1", "m2")
    assert device.carried.total() == 0


def test_an_update_waits_until_it_may_switch(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.standing = False
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "ready")
    device.clock.sleep(3600)
    device.updater.tick()
    assert (device.current, device.text()) == ("m1", "ready m2")
    device.standing = True
    device.go(lambda: device.updater.phase == "probation")
    assert (device.current, device.previous, device.loaded) == ("m2", "m1", ["m1", "m2"])


def test_an_update_that_never_found_its_moment_takes_over_at_the_next_start(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.standing = False
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "ready")
    tested = len(device.selftests)
    device.restart()
    assert (device.updater.phase, device.current, device.loaded) == ("probation", "m2", ["m1", "m2"])
    assert len(device.selftests) == tested  # the same bytes as were tested: only their hashes are checked again


def test_an_offer_that_is_said_again_writes_nothing(server: Server, device: Device) -> None:
    server.register("m1")
    device.install("m1")
    written = device.state_dir / "models" / "update.json"
    before = written.stat().st_mtime_ns
    device.crash_point = lambda name: pytest.fail(f"{name} for nothing")
    for _ in range(5):
        device.updater.on_offer(server.offer("m1"))
        device.updater.tick()
    assert written.stat().st_mtime_ns == before


def test_a_model_that_the_settings_forbid_meanwhile_does_not_take_over_at_the_start_and_is_not_denied(
    server: Server, tmp_path: Path
) -> None:
    server.register("m1", intended_use="trial")
    server.register("m2", contents(seed=2), intended_use="demo")
    device = Device(tmp_path / "state", server)
    device.install("m1")
    device.standing = False
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "ready")
    device.uses -= {"demo"}
    device.restart()
    device.go(lambda: device.updater.phase == "idle")
    assert device.current == "m1"
    assert device.text().startswith("refused: m2: Model m2 is a demonstration model")
    assert not (device.state_dir / "models" / "denied.json").exists()
    device.updater.close()


# --- cuts ---


def test_five_cuts_cost_at_most_one_window_each(server: Server, device: Device) -> None:
    manifest = server.register("m1", contents(BIG))
    device.updater.on_offer(server.offer("m1"))
    cuts, size = 0, manifest.size_bytes + len(bundle.manifest_bytes(manifest))
    while device.updater.phase != "probation":
        device.updater.tick()
        if cuts < 5 and device.carried.total() > (cuts + 1) * size // 6:
            cuts += 1
            device.deliver(most=3)  # some blocks of the window arrive and are not yet synced
            device.restart()
            continue
        device.deliver()
        device.clock.sleep(0.1)
    assert cuts == 5
    assert device.current == "m1"
    assert device.carried.total() <= size + cuts * QUICK.window_bytes


def test_a_link_that_is_down_costs_nothing_and_goes_on_at_once_when_it_is_back(server: Server, device: Device) -> None:
    manifest = server.register("m1", contents(BIG))
    device.updater.on_offer(server.offer("m1"))
    for _ in range(4):
        device.updater.tick()
        device.deliver()
    device.online = False
    device.updater.link_changed(False)
    device.wire.clear()
    for _ in range(100):
        device.clock.sleep(60)
        device.updater.tick()
    device.online = True
    device.updater.link_changed(True)
    device.updater.tick()
    assert device.wire
    device.go(lambda: device.updater.phase == "probation", step_s=0.1)
    size = manifest.size_bytes + len(bundle.manifest_bytes(manifest))
    assert device.carried.total() <= size + QUICK.window_bytes


def test_lost_blocks_are_asked_again_and_only_they(server: Server, device: Device) -> None:
    manifest = server.register("m1", contents(BIG))
    lost = {(hashes(manifest)["vision_encoder.onnx"], offset) for offset in (0, 655_360, 3_932_160)}
    pending = set(lost)

    def lose(sha256: str, offset: int, data: bytes) -> bytes | None:
        if (sha256, offset) in pending:
            pending.discard((sha256, offset))
            return None
        return data

    device.spoil = lose
    device.install("m1")
    assert not pending
    assert device.carried.total() == manifest.size_bytes + len(bundle.manifest_bytes(manifest))


def test_a_silent_server_is_asked_less_and_less_often(server: Server, device: Device) -> None:
    server.register("m1", contents(BIG))
    device.updater.on_offer(server.offer("m1"))
    asked = []
    for second in range(2000):
        device.updater.tick()
        asked += [second] * bool(device.wire)
        device.wire.clear()
        device.clock.sleep(1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert gaps[0] == 10
    assert gaps == sorted(gaps)
    assert gaps[-1] == 300


def test_no_more_is_asked_than_the_window_and_each_want_stays_small(server: Server, device: Device) -> None:
    server.register("m1", contents(BIG))
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.updater.phase == "files" and len(device.wire) > 1)  # the first: the list of blocks
    wants = [messages.decode(Want, payload) for payload in device.wire]
    total = sum(stop - start for want in wants for start, stop in want.ranges)
    assert total == QUICK.window_bytes
    for want in wants:
        assert sum(-(-(stop - start) // want.block_bytes) for start, stop in want.ranges) <= MAX_BLOCKS


# --- wrong bytes ---


def test_a_block_changed_on_the_way_is_noticed_and_only_that_block_fetched_again(
    server: Server, device: Device
) -> None:
    manifest = server.register("m1")
    wrong = hashes(manifest)["vision_encoder.onnx"]
    spoiled = 0

    def spoil(sha256: str, offset: int, data: bytes) -> bytes:
        nonlocal spoiled
        if sha256 == wrong and offset == 65_536 and spoiled < 2:
            spoiled += 1
            return bytes([data[0] ^ 1]) + data[1:]
        return data

    device.spoil = spoil
    device.install("m1")
    assert spoiled == 2
    assert device.current == "m1"
    assert device.carried[wrong] == SMALL["vision_encoder.onnx"] + 2 * 65_536
    assert device.updater.counters["wrong_blocks"] == 2


def test_a_file_that_never_arrives_right_makes_the_version_denied_by_name(server: Server, device: Device) -> None:
    server.register("m1")
    second = server.register("m2", contents(seed=2))
    device.install("m1")
    device.carried.clear()
    wrong = hashes(second)["vision_encoder.onnx"]
    device.spoil = lambda sha256, offset, data: data[:-1] + b"!" if (sha256, offset) == (wrong, 65_536) else data
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "idle")
    assert device.text() == "refused: m2: vision_encoder.onnx@65536 arrived with a wrong SHA-256, 3 times"
    assert device.carried[wrong] <= SMALL["vision_encoder.onnx"] + 2 * 65_536
    assert (device.current, device.loaded) == ("m1", ["m1"])
    assert not (device.state_dir / "models" / "incoming").exists()
    device.restart()
    device.updater.on_offer(server.offer("m2"))  # denied for good, also after a restart
    device.updater.tick()
    assert not device.wire
    assert device.text().startswith("refused: m2: vision_encoder.onnx")


def test_a_file_damaged_on_the_server_is_refused_and_the_old_model_kept(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    flip_byte(server.registry.bundle_folder("m2") / "decoder_model_merged.onnx", at=1234)
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "idle")
    assert "decoder_model_merged.onnx" in device.text()
    assert device.current == "m1"


@pytest.mark.parametrize("damaged", ["tokenizer.json", "manifest.json"])
def test_a_file_damaged_on_disk_before_the_switch_is_fetched_again(
    server: Server, device: Device, damaged: str
) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.standing = False
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "ready")
    flip_byte(device.state_dir / "models" / "incoming" / damaged)
    (device.state_dir / "models" / "incoming" / "extra.onnx").write_bytes(b"not listed")
    device.restart()
    device.standing = True
    device.go(lambda: device.updater.phase == "probation")
    assert device.current == "m2"


def test_a_manifest_that_is_not_the_offered_one_is_never_used(server: Server, device: Device) -> None:
    server.register("m1")
    other = server.register("m2", contents(seed=2))
    payload = offer_of(other, revision=9, version="m3")
    device.updater.on_offer(payload)
    device.go(lambda: device.updater.phase == "idle")
    assert device.text() == "refused: m3: its manifest names version m2"
    assert device.current == ""


def test_a_manifest_of_a_newer_format_is_refused_but_not_for_ever(server: Server, device: Device) -> None:
    data = bundle.manifest_bytes(server.register("m1")).replace(b'"format":1', b'"format":2')
    offer = Offer("m1", hashlib.sha256(data).hexdigest(), len(data), 1.0, 5)
    server.push.blocks.add_metadata({offer.manifest_sha256: data})
    device.updater.on_offer(messages.encode(offer))
    device.updater.on_block(["block", offer.manifest_sha256, "0"], data)
    device.updater.tick()
    assert device.text().startswith("refused: m1")
    assert "Update the agent" in device.text()
    assert not (device.state_dir / "models" / "denied.json").exists()


def test_a_damaged_file_in_the_slot_in_use_is_not_copied_into_the_new_bundle(server: Server, device: Device) -> None:
    server.register("m1")
    second = server.register("m2", contents() | {"tokenizer.json": b"{}"})
    device.install("m1")
    slot = current_slot(device.state_dir)
    assert slot is not None
    flip_byte(slot / "vision_encoder.onnx", at=5)
    device.carried.clear()
    device.install("m2")
    assert device.current == "m2"
    assert device.carried[hashes(second)["vision_encoder.onnx"]] == 65_536  # the block with the wrong byte


def test_two_paths_with_the_same_bytes_and_empty_files_are_fetched(server: Server, device: Device) -> None:
    server.register("m1", {"a.onnx": b"same" * 50_000, "golden/a.onnx": b"same" * 50_000, "b": b"", "c": b""})
    device.install("m1")
    assert device.current == "m1"


# --- messages that are not ours ---


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b"null", b"x" * 70_000, messages.encode(Offer("../m1", "0" * 64, 10, 1.0, 1)),
     messages.encode(Offer("m1", "0" * 64, 0, 1.0, 1)), messages.encode(Offer("m1", "0" * 64, 2**40, 1.0, 1)),
     messages.encode(Offer("m1", "zz", 10, 1.0, 1))],
)  # fmt: skip
def test_an_offer_that_is_none_is_refused_counted_and_harmless(device: Device, payload: bytes) -> None:
    device.updater.on_offer(payload)
    device.updater.tick()
    assert device.updater.counters["refused"] == 1
    assert device.updater.phase == "idle"
    assert device.text().startswith("an offer was refused")


def test_an_offer_that_was_taken_back_is_no_error(device: Device) -> None:
    device.updater.on_offer(b"")
    device.updater.tick()
    assert device.text() == "idle"


@pytest.mark.parametrize(
    "levels",
    [
        [],
        ["block"],
        ["block", "x", "0"],
        ["block", "0" * 64, "-1"],
        ["block", "0" * 64, "1" * 20],
        ["offer", "0" * 64, "0"],
    ],
)
def test_a_block_with_a_strange_topic_is_refused_and_counted(device: Device, levels: list[str]) -> None:
    device.updater.on_block(levels, b"data")
    assert device.updater.counters["refused"] == 1


def test_blocks_that_nobody_asked_for_are_not_written(server: Server, device: Device) -> None:
    manifest = server.register("m1")
    device.updater.on_block(["block", hashes(manifest)["tokenizer.json"], "0"], b"x" * 100)
    device.updater.tick()
    assert device.updater.counters["repeated_bytes"] == 100
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.updater.phase == "files")
    size = SMALL["tokenizer.json"]
    for offset, data in ((size - 10, b"y" * 11), (2**40, b"y"), (0, b""), (0, b"z" * 300_000)):
        device.updater.on_block(["block", hashes(manifest)["tokenizer.json"], str(offset)], data)
    device.go(lambda: device.updater.phase == "probation")
    assert device.current == "m1"


def test_a_model_that_this_device_may_not_run_is_refused_before_it_is_fetched(server: Server, tmp_path: Path) -> None:
    manifest = server.register("m1", contents(BIG))
    device = Device(tmp_path / "state", server, uses=bundle.FOR_WALKS)
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.text().startswith("refused: m1: Model m1 is a demonstration model"))
    assert device.carried.total() == len(bundle.manifest_bytes(manifest))
    device.uses = bundle.FOR_JUDGING  # a setting was changed: nothing had been denied
    device.restart()
    device.install("m1")
    assert device.current == "m1"
    device.updater.close()


# --- which offer counts ---


def test_an_older_offer_is_ignored_and_said_so(server: Server, device: Device) -> None:
    first, second = server.register("m1"), server.register("m2", contents(seed=2))
    device.updater.on_offer(offer_of(first, revision=5))
    device.go(lambda: device.updater.phase == "probation")
    device.prove()
    device.updater.on_offer(offer_of(second, revision=4))
    device.updater.tick()
    assert device.text() == "an older offer of m2 was ignored"
    device.restart()
    device.updater.on_offer(offer_of(second, revision=5))
    device.updater.tick()
    assert device.text() == "a second offer with revision 5 was ignored"
    assert not device.wire


def test_a_newer_offer_replaces_a_download_and_keeps_what_is_the_same(server: Server, device: Device) -> None:
    server.register("m1", contents(BIG))
    changed = contents(BIG) | {"tokenizer.json": b"{}"}
    second = server.register("m2", changed)
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.carried.total() > 3_000_000)
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "probation")
    assert device.current == "m2"
    assert device.carried[hashes(second)["vision_encoder.onnx"]] <= BIG["vision_encoder.onnx"] + QUICK.window_bytes


def test_an_offer_during_probation_is_followed_after_it(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.updater.phase == "probation")
    device.updater.on_offer(server.offer("m2"))
    device.updater.tick()
    assert device.updater.phase == "probation"
    for _ in range(3):
        device.updater.report_look_ok()
    device.go(lambda: device.current == "m2")
    device.prove()
    assert device.loaded == ["m1", "m2"]


# --- self-test ---


def test_a_model_that_fails_its_self_test_twice_is_denied_with_the_reason(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.problems = ["001.jpg: curb ahead was not seen"]
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "idle")
    assert device.text() == "refused: m2: self-test: 001.jpg: curb ahead was not seen"
    assert device.current == "m1"
    assert len(device.selftests) == 3


def test_one_self_test_disturbed_by_a_busy_processor_is_repeated(server: Server, device: Device) -> None:
    server.register("m1")
    device.problems = ["a look took 1.9 s"]
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: len(device.selftests) == 1)
    assert device.text() == "testing m1 (self-test: a look took 1.9 s)"
    device.problems = []
    device.go(lambda: device.updater.phase == "probation")
    assert device.current == "m1"


def test_a_self_test_that_breaks_the_runtime_is_a_problem_and_no_crash(
    server: Server, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    server.register("m1")

    device.broken = RuntimeError("kernel")
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.updater.phase == "idle")
    assert device.text() == "refused: m1: self-test: it broke off: RuntimeError('kernel')"
    assert "broke off" in caplog.text


def test_a_self_test_that_takes_the_agent_down_is_not_run_for_ever(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.selftests.clear()

    class Killed(BaseException):
        pass

    def die(name: str) -> None:
        if name == "self-test starts":
            raise Killed

    device.crash_point = die
    device.updater.on_offer(server.offer("m2"))
    for _ in range(3):
        with pytest.raises(Killed):
            device.go(lambda: False)
        device.restart()
        assert device.current == "m1"
    device.go(lambda: device.updater.phase == "idle")
    assert device.text() == "refused: m2: the agent did not survive its self-test 3 times"
    assert device.current == "m1"


# --- probation ---


def test_a_failure_on_probation_brings_the_old_model_back_and_denies_the_new(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "probation")
    assert device.text() == "probation m2 0/3"
    device.updater.report_look_ok("m1")  # a look that began with the old model proves nothing
    device.updater.report_failure("old news", "m1")
    device.updater.report_look_ok("m2")
    device.updater.tick()
    assert device.text() == "probation m2 1/3"
    device.updater.report_failure("a look failed: bad kernel", "m2")
    device.updater.tick()
    assert (device.current, device.loaded) == ("m1", ["m1", "m2", "m1"])
    assert device.text() == "refused: m2: a look failed: bad kernel"
    device.updater.on_offer(server.offer("m2"))
    device.restart()
    device.updater.on_offer(server.offer("m2"))
    device.updater.tick()
    assert not device.wire
    assert device.current == "m1"


def test_a_model_that_never_gets_through_its_probation_is_given_up_at_a_start(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "probation")
    for _ in range(4):
        device.restart()
        assert device.current == "m2"
    device.restart()
    assert (device.current, device.loaded[-1]) == ("m1", "m1")
    assert device.text() == "refused: m2: it did not get through 3 looks in 5 starts"


def test_the_only_model_stays_even_where_it_fails(server: Server, device: Device) -> None:
    server.register("m1")
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.updater.phase == "probation")
    device.updater.report_failure("a look failed")
    device.updater.tick()
    assert device.current == "m1"
    assert device.text() == "m1 fails (a look failed) and stays: there is no other model"


def test_a_model_damaged_after_its_probation_gives_way_and_is_fetched_again(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.install("m2")
    slot = current_slot(device.state_dir)
    assert slot is not None
    flip_byte(slot / "vision_encoder.onnx", at=99)
    device.updater.report_failure("vision_encoder.onnx was altered")
    device.updater.tick()
    assert device.loaded[-1] == "m1"
    device.go(lambda: device.updater.phase == "probation")
    device.prove()
    assert (device.current, device.loaded[-2:]) == ("m2", ["m1", "m2"])


def test_a_slot_whose_manifest_is_damaged_gives_way_at_the_next_start(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.install("m2")
    slot = current_slot(device.state_dir)
    assert slot is not None
    (slot / "manifest.json").write_bytes(b"{}")
    device.restart()
    assert device.updater.current_version == "damaged"
    device.updater.report_failure("manifest.json cannot be read", "damaged")
    device.updater.tick()
    assert device.loaded[-1] == "m1"
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.updater.phase == "probation")
    assert (device.current, device.previous) == ("m2", "m1")


def test_a_failure_of_an_unaltered_proven_model_is_only_reported(server: Server, device: Device) -> None:
    server.register("m1")
    server.register("m2", contents(seed=2))
    device.install("m1")
    device.install("m2")
    device.updater.report_failure("one look failed")
    device.updater.tick()
    assert (device.current, device.text()) == ("m2", "one look failed")


# --- disk ---


def test_a_disk_that_is_too_full_is_noticed_before_fetching_and_said(server: Server, tmp_path: Path) -> None:
    server.register("m1")
    device = Device(tmp_path / "state", server, settings=Settings(margin_bytes=2**60))
    device.updater.on_offer(server.offer("m1"))
    device.updater.tick()
    assert not device.wire
    assert "the disk is too full for this model" in device.text()
    assert device.carried.total() == 0
    device.updater.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 3 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small filesystem needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small filesystem cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill_up(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def test_a_disk_that_fills_up_while_fetching_keeps_the_old_model_and_goes_on_when_there_is_room(
    server: Server, tiny_disk: Path, request: pytest.FixtureRequest
) -> None:
    server.register("m1")
    server.register("m2", contents({"vision_encoder.onnx": 1_200_000}))
    device = Device(tiny_disk / "state", server, settings=Settings(margin_bytes=0, probation_looks=3))
    request.addfinalizer(lambda: device.updater.close())
    device.install("m1")
    device.updater.on_offer(server.offer("m2"))
    device.go(lambda: device.carried.total() > 700_000, step_s=0.1)
    fill = tiny_disk / "walk.mp4"
    fill_up(fill)
    device.go(lambda: "the disk is full; make room on it" in device.text())
    assert device.current == "m1"
    device.restart()
    device.go(lambda: "the disk is full" in device.text())
    assert device.current == "m1"
    fill.unlink()
    device.go(lambda: device.updater.phase == "probation")
    assert device.current == "m2"
    device.updater.close()


def test_an_unreadable_state_file_is_set_aside_and_the_model_stays(server: Server, device: Device) -> None:
    server.register("m1")
    device.install("m1")
    models = device.state_dir / "models"
    for name, data in (("update.json", b'{"format": 1, "phase": 7}'), ("denied.json", b"\x00" * 40)):
        (models / name).write_bytes(data)
    device.restart()
    assert (device.current, device.text()) == ("m1", "idle")
    assert {path.name for path in models.glob("*.broken")} == {"update.json.broken", "denied.json.broken"}


def test_a_second_agent_on_the_same_folder_is_refused(device: Device) -> None:
    with pytest.raises(ConfigError, match="Another waycue-device uses"):
        device.start()


def test_the_state_file_says_where_the_update_stands(server: Server, device: Device) -> None:
    manifest = server.register("m1", contents(BIG))
    device.updater.on_offer(server.offer("m1"))
    device.go(lambda: device.carried.total() > 1_000_000)
    device.updater.tick()
    saved = json.loads((device.state_dir / "models" / "update.json").read_text())
    assert saved["phase"] == "files"
    assert saved["target"]["version"] == "m1"
    path = next(iter(saved["progress"]))
    assert saved["progress"][path]["sha256"] == hashes(manifest)[path]
    part = device.state_dir / "models" / "incoming" / f"{path}.part"
    (start, stop) = saved["progress"][path]["ranges"][0]
    assert (server.registry.bundle_folder("m1") / path).read_bytes()[start:stop] == part.read_bytes()[start:stop]
