"""Every attack on signed releases that the threat model names, and what happens where its control is missing.

"Where the control is missing" means: the same bytes, given to a device without it (no memory of what it saw, a clock
that stands still, the attacker's root). If they were refused there as well, the test would prove nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Targets, Timestamp

from server.releases import signing_keys
from server.releases.metadata_folder import LIFE_DAYS
from shared.errors import Refused, Transient
from shared.floor import BUILT_UTC_S, STEP_S
from shared.signed_files import LIMITS_BYTES, MAX_FILES
from tests.trust.stage import DAY_S, NOW_S, Device, Files, Server, offer, target

DECADE_S = 3653 * DAY_S


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server(tmp_path / "home")
    made.publish(target("m1"))
    return made


@pytest.fixture
def device(server: Server, tmp_path: Path) -> Device:
    return Device(tmp_path / "device", server.release.root_json())


def fresh(tmp_path: Path, server: Server, **more: Any) -> Device:
    """A device that never saw anything, but has the same root."""
    count = len(list(tmp_path.glob("fresh*")))
    return Device(tmp_path / f"fresh{count}", (server.home / "release/metadata/1.root.json").read_bytes(), **more)


def by_role(files: Files, role: str) -> str:
    return next(name for name in files if name.removesuffix(".json").split(".")[-1] == role)


def only(files: Files, role: str) -> Files:
    return {name: data for name, data in files.items() if name == by_role(files, role)}


def signers(server: Server) -> dict[str, CryptoSigner]:
    """All private keys of the server: what a thief of the machine has."""
    folder = server.home / "release" / "keys"
    return {
        role: signing_keys.load(signing_keys.list_keys(folder, role)[0])
        for role in ("targets", "snapshot", "timestamp")
    }


def forged(data: bytes, change: Callable[[Any], None], signer: CryptoSigner) -> bytes:
    metadata: Metadata[Any] = Metadata.from_bytes(data)
    change(metadata.signed)
    metadata.sign(signer)
    return metadata.to_bytes()


# --- what must pass ---


def test_the_assigned_model_is_accepted_again_and_again_and_over_restarts(server: Server, device: Device) -> None:
    files = server.files()
    device.check(files, "m1")
    device.check(files, "m1")
    device.restart()
    device.check(files, "m1")
    device.check(server.publish(target("m1"), target("m2", 2)), "m2")


def test_going_back_to_an_old_model_is_a_new_release(server: Server, device: Device) -> None:
    device.check(server.publish(target("m1"), target("m2", 2)), "m2")
    device.check(server.publish(target("m1", 3), target("m2", 2)), "m1")


def test_the_floor_follows_the_signed_time(server: Server, device: Device) -> None:
    server.clock.sleep(DAY_S)
    device.clock.epoch_s = 0.0
    device.restart()
    server.release.refresh(force=True)
    device.check(server.files(), "m1")
    assert device.floor.floor_s() == min(server.clock.utc_s(), BUILT_UTC_S + STEP_S)


# --- replay and roll-back ---


def test_a_replayed_old_offer_is_refused(server: Server, device: Device, tmp_path: Path) -> None:
    old = server.files()
    device.check(old, "m1")
    device.check(server.publish(target("m1"), target("m2", 2)), "m2")
    with pytest.raises(Refused, match="timestamp version"):
        device.check(old, "m1")
    device.restart()
    with pytest.raises(Refused, match="timestamp version"):
        device.check(old, "m1")
    fresh(tmp_path, server).check(old, "m1")  # a device without memory would follow it


def test_an_old_offer_under_the_newest_metadata_is_refused(server: Server, device: Device) -> None:
    files = server.publish(target("m1"), target("m2", 2))
    with pytest.raises(Refused, match="signed for anna is m2"):
        device.check(files, "m1")
    device.check(server.publish(target("m1"), target("m2", 2, percent=0)), "m1")  # it was still a release


def test_an_old_snapshot_under_a_new_timestamp_key_holder_is_refused(server: Server, device: Device) -> None:
    """The timestamp key alone was stolen: it cannot bring back an older snapshot."""
    old = server.files()
    device.check(server.publish(target("m1"), target("m2", 2)), "m2")
    newest = server.files()

    def back(stamp: Timestamp) -> None:
        stamp.version += 1
        stamp.snapshot_meta = Metadata[Timestamp].from_bytes(old["timestamp.json"]).signed.snapshot_meta

    stamp = forged(newest["timestamp.json"], back, signers(server)["timestamp"])
    with pytest.raises(Refused, match="snapshot version"):
        device.check({**old, "timestamp.json": stamp}, "m1")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_files_of_two_releases_do_not_mix(role: str, server: Server, tmp_path: Path) -> None:
    """Mix and match: one role of an older release among those of a newer."""
    old, new = server.files(), server.publish(target("m1"), target("m2", 2))
    mixed = {name: data for name, data in new.items() if name != by_role(new, role)} | only(old, role)
    with pytest.raises(Refused):
        fresh(tmp_path, server).check(mixed, "m2")
    renamed = {**new, by_role(new, role): old[by_role(old, role)]}
    with pytest.raises(Refused):
        fresh(tmp_path, server).check(renamed, "m2")
    fresh(tmp_path, server).check(new, "m2")


# --- wrong keys ---


def test_a_release_signed_by_somebody_else_is_refused(server: Server, device: Device, tmp_path: Path) -> None:
    thief = Server(tmp_path / "thief")
    files = thief.publish(target("m1"))
    with pytest.raises(Refused, match="signed by 0/1 keys"):
        device.check(files, "m1")
    device.check(server.files(), "m1")
    Device(tmp_path / "fooled", thief.release.root_json()).check(files, "m1")  # the root is the control


def test_a_root_of_somebody_else_does_not_follow_on_ours(server: Server, device: Device, tmp_path: Path) -> None:
    thief = Server(tmp_path / "thief")
    thief.release.renew_root(thief.root_key)
    files = thief.publish(target("m1"))
    assert "2.root.json" in files
    with pytest.raises(Refused, match="signed by 0/1 keys"):
        device.check(files, "m1")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_role_signed_with_another_roles_key_is_refused(role: str, server: Server, device: Device) -> None:
    other = {"timestamp": "snapshot", "snapshot": "targets", "targets": "timestamp"}[role]
    files = server.files()
    name = by_role(files, role)
    files[name] = forged(files[name], lambda signed: None, signers(server)[other])
    with pytest.raises(Refused):
        device.check(files, "m1")


def test_a_manifest_other_than_the_signed_one_is_refused(server: Server, device: Device) -> None:
    files, right = server.files(), offer("m1")
    for wrong in (
        replace(right, manifest_sha256=offer("m9").manifest_sha256),
        replace(right, manifest_size=right.manifest_size + 1),
    ):
        with pytest.raises(Refused, match="not the one that was signed"):
            device.trust.check(files, wrong, "anna")
    device.trust.check(files, offer("m1"), "anna")


def test_a_model_for_another_device_is_refused(server: Server, device: Device) -> None:
    files = server.publish(target("m1"), target("m2", 2, percent=0, devices=("ben",)))
    with pytest.raises(Refused, match="signed for anna is m1"):
        device.check(files, "m2")
    device.check(files, "m2", device="ben")


def test_a_model_that_no_release_names_is_refused(server: Server, device: Device) -> None:
    with pytest.raises(Refused, match="signed for anna is none"):
        device.check(server.publish(), "m1")


# --- frozen, and clocks ---


def test_frozen_metadata_is_refused_once_it_has_expired(server: Server, device: Device, tmp_path: Path) -> None:
    files = server.files()
    device.clock.sleep((LIFE_DAYS["timestamp"] - 1) * DAY_S)
    device.check(files, "m1")
    device.clock.sleep(2 * DAY_S)
    with pytest.raises(Transient, match="expired"):
        device.check(files, "m1")
    fresh(tmp_path, server).check(files, "m1")  # a device for which no time passed would follow it


def test_frozen_metadata_is_noticed_where_the_wall_clock_stands_still(server: Server, device: Device) -> None:
    files = server.files()
    device.check(files, "m1")
    device.clock.now_s += 20 * DAY_S
    device.clock.epoch_s -= 20 * DAY_S
    with pytest.raises(Transient, match="expired"):
        device.check(files, "m1")


def test_after_an_expiry_newer_metadata_is_followed_at_once(server: Server, device: Device) -> None:
    device.check(server.files(), "m1")
    for clock in (server.clock, device.clock):
        clock.sleep(400 * DAY_S)
    with pytest.raises(Transient):
        device.check(server.files(), "m1")
    assert server.release.refresh()
    device.check(server.files(), "m1")


def test_a_clock_ten_years_ahead_makes_updates_wait_and_leaves_no_trace(server: Server, device: Device) -> None:
    device.clock.epoch_s += DECADE_S
    with pytest.raises(Transient, match="guidance goes on"):
        device.check(server.files(), "m1")
    device.clock.epoch_s -= DECADE_S
    device.check(server.files(), "m1")


def test_a_clock_ten_years_back_does_not_bring_expired_metadata_to_life(server: Server, device: Device) -> None:
    frozen = server.files()
    device.check(frozen, "m1")
    device.clock.sleep(20 * DAY_S)
    device.floor.raise_to(device.clock.utc_s())  # as a certificate of that day would
    device.clock.epoch_s -= DECADE_S
    device.restart()
    with pytest.raises(Transient, match="expired"):
        device.check(frozen, "m1")
    (device.folder / "floor.json").unlink()
    device.restart()
    device.check(frozen, "m1")  # the floor is the control


def test_a_server_whose_clock_was_years_ahead_does_not_lock_devices_out(server: Server, device: Device) -> None:
    server.clock.epoch_s += 2 * 365 * DAY_S
    server.release.refresh()
    device.check(server.files(), "m1")
    server.clock.epoch_s -= 2 * 365 * DAY_S
    server.clock.sleep(DAY_S)
    device.clock.sleep(DAY_S)
    assert server.release.refresh()
    device.check(server.files(), "m1")


def test_a_signed_time_after_its_own_end_tells_nothing(server: Server, device: Device) -> None:
    files = server.files()

    def slip(stamp: Timestamp) -> None:
        stamp.version += 1
        stamp.unrecognized_fields["signed_at"] = int(NOW_S + DECADE_S)

    files["timestamp.json"] = forged(files["timestamp.json"], slip, signers(server)["timestamp"])
    device.check(files, "m1")
    assert device.floor.floor_s() == BUILT_UTC_S


# --- fast-forward, and what a rotation heals ---


def fast_forwarded(server: Server, role_to: int) -> Files:
    """What a thief of the server's keys can sign: every version at its top."""
    keys, files = signers(server), server.files()

    def targets_on(signed: Targets) -> None:
        signed.version = role_to

    targets = forged(files[by_role(files, "targets")], targets_on, keys["targets"])

    def snapshot_on(signed: Any) -> None:
        signed.version = role_to
        about = signed.meta["targets.json"]
        about.version, about.length, about.hashes = role_to, None, None

    snapshot = forged(files[by_role(files, "snapshot")], snapshot_on, keys["snapshot"])

    def stamp_on(signed: Timestamp) -> None:
        signed.version = role_to
        about = signed.snapshot_meta
        about.version, about.length, about.hashes = role_to, None, None

    stamp = forged(files["timestamp.json"], stamp_on, keys["timestamp"])
    return {"timestamp.json": stamp, f"{role_to}.snapshot.json": snapshot, f"{role_to}.targets.json": targets}


def test_a_fast_forward_attack_is_healed_by_new_keys(server: Server, device: Device) -> None:
    device.check(fast_forwarded(server, 2**53), "m1")
    honest = server.publish(target("m1"), target("m2", 2))
    with pytest.raises(Refused, match="timestamp version"):
        device.check(honest, "m2")
    server.release.rotate(("timestamp", "snapshot", "targets"), server.root_key)
    device.check(server.files(), "m2")


def test_stolen_keys_are_worth_nothing_once_the_rotation_was_seen(server: Server, device: Device) -> None:
    stolen = fast_forwarded(server, 2**53)
    server.release.rotate(("timestamp", "snapshot", "targets"), server.root_key)
    device.check(server.files(), "m1")
    with pytest.raises(Refused, match="signed by 0/1 keys"):
        device.check(stolen, "m1")


# --- roots ---


def test_a_device_that_slept_through_many_roots_follows_the_chain(server: Server, device: Device) -> None:
    for roles in (("targets",), ("root",), ("snapshot", "root"), ("timestamp",)):
        server.release.rotate(roles, server.root_key)
    server.release.renew_root(server.root_key)
    files = server.publish(target("m1"), target("m2", 2))
    assert len(files) == 3 + 5
    device.check(files, "m2")
    device.restart()
    device.check(server.files(), "m2")


def test_a_chain_with_a_missing_root_is_refused(server: Server, device: Device) -> None:
    server.release.rotate(("targets",), server.root_key)
    server.release.rotate(("root", "timestamp"), server.root_key)
    files = server.files()
    del files["2.root.json"]
    with pytest.raises(Refused):
        device.check(files, "m1")


def test_a_root_signed_by_the_old_key_only_or_the_new_key_only_is_refused(server: Server, tmp_path: Path) -> None:
    server.release.rotate(("root",), server.root_key)
    files = server.files()
    whole = json.loads(files["2.root.json"])
    assert len(whole["signatures"]) == 2
    for one in whole["signatures"]:
        cut = {**files, "2.root.json": json.dumps({**whole, "signatures": [one]}).encode()}
        with pytest.raises(Refused, match="signed by 0/1 keys"):
            fresh(tmp_path, server).check(cut, "m1")
    fresh(tmp_path, server).check(files, "m1")


def test_an_ended_root_makes_updates_wait_until_it_is_renewed(server: Server, device: Device) -> None:
    device.check(server.files(), "m1")
    for clock in (server.clock, device.clock):
        clock.sleep((LIFE_DAYS["root"] + 1) * DAY_S)
    with pytest.raises(Transient, match=r"root\.json is expired"):
        device.check(server.files(), "m1")
    with pytest.raises(Transient, match="renew-root"):
        server.release.refresh()
    server.release.renew_root(server.root_key)
    device.check(server.files(), "m1")


def test_enrolled_at_another_server_nothing_of_the_first_counts(server: Server, device: Device, tmp_path: Path) -> None:
    server.release.rotate(("targets",), server.root_key)
    old = server.files()
    device.check(old, "m1")
    other = Server(tmp_path / "other", now_s=NOW_S - DAY_S)
    moved = Device(device.folder, other.release.root_json())
    moved.check(other.publish(target("m2")), "m2")
    with pytest.raises(Refused):
        moved.check(old, "m1")


# --- sizes and nonsense ---


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_oversized_metadata_is_refused(role: str, server: Server, device: Device) -> None:
    files = server.files()
    name = by_role(files, role)
    files[name] = files[name] + b" " * LIMITS_BYTES[role]
    with pytest.raises(Refused, match="exceeding"):
        device.check(files, "m1")


def test_an_oversized_root_is_refused_however_well_it_is_signed(server: Server, device: Device) -> None:
    server.release.renew_root(server.root_key)
    files = server.files()
    files["2.root.json"] += b" " * LIMITS_BYTES["root"]
    with pytest.raises(Refused, match="exceeding"):
        device.check(files, "m1")


def test_too_many_files_are_refused(server: Server, device: Device) -> None:
    with pytest.raises(Refused, match="at most"):
        device.check(server.files() | {f"{n}.root.json": b"" for n in range(2, MAX_FILES + 2)}, "m1")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_missing_file_is_refused(role: str, server: Server, device: Device) -> None:
    files = server.files()
    del files[by_role(files, role)]
    with pytest.raises(Refused, match="missing"):
        device.check(files, "m1")


def test_signed_nonsense_is_refused(server: Server, device: Device) -> None:
    """The targets key signs something that no server of ours writes."""
    keys, files = signers(server), server.files()

    def nonsense(signed: Targets) -> None:
        next(iter(signed.targets.values())).unrecognized_fields["custom"] = {"percent": "all"}

    name = by_role(files, "targets")
    files[name] = forged(files[name], nonsense, keys["targets"])

    def loose(about: Any) -> None:
        about.length, about.hashes = None, None

    snapshot = by_role(files, "snapshot")
    files[snapshot] = forged(files[snapshot], lambda s: loose(s.meta["targets.json"]), keys["snapshot"])
    files["timestamp.json"] = forged(files["timestamp.json"], lambda s: loose(s.snapshot_meta), keys["timestamp"])
    with pytest.raises(Refused, match="signed, but not ours"):
        device.check(files, "m1")


def test_a_damaged_root_in_the_identity_is_refused_and_never_an_exception(server: Server, tmp_path: Path) -> None:
    for number, root in enumerate((b"", b"{}", server.release.root_json()[:-40], server.files()["timestamp.json"])):
        with pytest.raises(Refused):
            Device(tmp_path / f"damaged{number}", root).check(server.files(), "m1")


def test_damaged_files_of_the_device_are_fetched_again(server: Server, device: Device) -> None:
    device.check(server.files(), "m1")
    for path in device.folder.rglob("*.json"):
        path.write_bytes(b"\x00" * 64)
    device.restart()
    device.check(server.files(), "m1")


def test_a_disk_that_refuses_makes_updates_wait(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Transient, match="could not be kept"):
        Device(tmp_path / "file" / "trust", server.release.root_json()).check(server.files(), "m1")


junk = st.one_of(
    st.binary(max_size=200),
    st.just(b"[" * 60_000),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Files]:
    """Folders for devices, their root, and files with a newer root among them."""
    place = tmp_path_factory.mktemp("rotated")
    server = Server(place / "home")
    root = server.release.root_json()
    server.release.rotate(("targets",), server.root_key)
    return place, root, server.publish(target("m1"))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), role=st.sampled_from(["root", "timestamp", "snapshot", "targets"]))
def test_no_bytes_bring_the_check_down(data: st.DataObject, role: str, rotated: tuple[Path, bytes, Files]) -> None:
    place, root, whole = rotated
    name = by_role(whole, role)
    at = data.draw(st.integers(0, len(whole[name]) - 1))
    spoilt = data.draw(junk | st.binary(max_size=3).map(lambda few: whole[name][:at] + few + whole[name][at + 1 :]))
    with TemporaryDirectory(dir=place) as folder:
        try:
            Device(Path(folder), root).check({**whole, name: spoilt}, "m1")
        except (Refused, Transient):
            return
    assert json.loads(spoilt)["signed"] == json.loads(whole[name])["signed"]
